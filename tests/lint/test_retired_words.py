"""The rule about retired words refuses what it should, and the tables that it reads are sound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lint import retired_words
from tests.lint.retired_words import GLOSSARY, RENAMED, REPOSITORY, Retired, findings, load

TABLE = (
    "# a comment\nmodule\tp.old\tp.new\nmodule\tp.a\tp.b\nmodule\tp.c\tp.a\nname\tp.m.Thing\tItem\n"
)
WORDS = "| word | meaning | retired |\n|---|---|---|\n| scanner | it scans | `ring`, `team` |\n"


@pytest.fixture
def rules() -> Retired:
    return load(TABLE + "name\tp.m.ask\tprobe\n", WORDS)


def found(tmp_path: Path, rules: Retired, name: str, text: str) -> list[str]:
    package = tmp_path / "p"
    package.mkdir(exist_ok=True)
    (package / name).write_text(text)
    return list(findings(package, rules))


@pytest.mark.parametrize(
    "text",
    [
        "ring = 1",
        "def f(ring): pass",
        "class C:\n    def _team(self): pass",
        "x.ring",
        "f(team=1)",
        "def ring(): pass",
        "for _ring in (): pass",
        "text = f'{ring.x}'",
        "class _Thing: pass",
        "as_ring = 1",
        "class RingReader: pass",
        "_RINGS_PER_CPU = 2",
    ],
)
def test_a_retired_word_is_no_name(tmp_path: Path, rules: Retired, text: str) -> None:
    (line,) = found(tmp_path, rules, "n.py", text)
    assert line.startswith("p/n.py:")
    assert "scanner" in line or "Item" in line


@pytest.mark.parametrize(
    "text",
    [
        '"""Whoever asks is told."""',
        "x = 1  # nobody waits",
        "say('Meanwhile it is read.')",
        '"one\'s own"',
    ],
)
def test_a_sentence_names_who_acts(tmp_path: Path, rules: Retired, text: str) -> None:
    (line,) = found(tmp_path, rules, "n.py", text)
    assert line.startswith("p/n.py:1: ")
    assert "name the process" in line


@pytest.mark.parametrize("text", ['"""On this shelf."""', "x = 1  # as it was surveyed"])
def test_what_the_field_means_nothing_by_is_not_written_either(
    tmp_path: Path, rules: Retired, text: str
) -> None:
    (line,) = found(tmp_path, rules, "n.py", text)
    assert line.startswith("p/n.py:1: ")
    assert "in prose too" in line


def test_other_names_and_prose_are_left_alone(tmp_path: Path, rules: Retired) -> None:
    text = '"""A ring."""\nstring, scanner = "ring", 1  # the team\ndef ask(): pass\n'
    assert found(tmp_path, rules, "n.py", text) == []


def test_a_name_is_refused_in_its_module_only(tmp_path: Path, rules: Retired) -> None:
    assert found(tmp_path, rules, "m.py", "def ask(): pass") == ["p/m.py:1: ask is probe now"]


def test_a_module_does_not_come_back(tmp_path: Path, rules: Retired) -> None:
    assert found(tmp_path, rules, "old.py", "") == ["p/old.py: this module is p.new now"]


def test_a_module_name_that_another_took_is_free(tmp_path: Path, rules: Retired) -> None:
    assert found(tmp_path, rules, "a.py", "") == []


def test_a_module_named_by_a_retired_word(tmp_path: Path, rules: Retired) -> None:
    assert found(tmp_path, rules, "team.py", "") == [
        "p/team.py: team is a retired word; say scanner"
    ]


def test_a_line_that_is_no_rule_is_an_error() -> None:
    with pytest.raises(ValueError, match="neither module nor name"):
        load("shape\tp.a\tp.b\n", "")


def test_every_rule_names_what_is_there_now() -> None:
    """A new name that is gone again would send its reader nowhere."""
    rules = load(RENAMED.read_text(), GLOSSARY.read_text())
    assert len(rules.modules) > 50 and len(rules.words) > 10
    missing = [
        new
        for new in rules.modules.values()
        if new.startswith("imagenetfs.")
        and not (REPOSITORY / new.replace(".", "/")).with_suffix(".py").exists()
        and not (REPOSITORY / new.replace(".", "/") / "__init__.py").exists()
    ]
    assert missing == []


def test_a_word_of_the_glossary_is_not_retired_elsewhere_in_it() -> None:
    rows = list(retired_words.glossary_rows(GLOSSARY.read_text()))
    words = {word for word, _ in rows}
    assert words.isdisjoint(name for _, names in rows for name in names)


def test_the_command_ends_with_one_for_a_finding(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "n.py").write_text("stitch = 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "tests.lint.retired_words", str(tmp_path / "p")],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (
        1,
        "p/n.py:1: stitch is a retired word; say merge\n",
    )
