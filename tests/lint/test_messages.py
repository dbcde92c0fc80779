"""No sentence is missing in docs/messages.md: each is followed to where it is written, and what the
commands say is one of them.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from imagenetfs.errors import ExitCode, TreeError
from tests.helpers.in_process import call
from tests.lint import messages
from tests.lint.messages import HANDED_ON, Collected, Message, collect, error_classes, pattern_of

NO_ERROR = {
    *(ExitCode.OK, ExitCode.DOCTOR_YELLOW, ExitCode.DOCTOR_RED, ExitCode.VERIFY_FAILED),
    ExitCode.RUN_FAILED,
}
"""Codes of commands that end without an error of their own."""

HANDED = {"PathRefusedError", "RunDirRefusedError"}
"""Classes that are made of another error's sentence alone."""


@pytest.fixture(scope="module")
def collected() -> Collected:
    return collect()


@pytest.mark.slow
def test_every_sentence_is_followed_to_where_it_is_written(collected: Collected) -> None:
    assert collected.lost == HANDED_ON, "follow it, or say in HANDED_ON why it is none"


@pytest.mark.slow
def test_every_code_and_every_class_of_errors_has_sentences(collected: Collected) -> None:
    codes = {message.code for message in collected.messages}
    assert codes >= set(ExitCode) - NO_ERROR
    kinds = {message.kind for message in collected.messages}
    bases = {base for one in error_classes().values() for base in one.__mro__[1:]}
    unused = {name for name, one in error_classes().items() if one not in bases} - kinds
    assert {name for name in unused if not issubclass(error_classes()[name], TreeError)} == HANDED


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["mount", "/no/such", "/no/such/mnt"],
        ["mount", "a", "b", "c"],
        ["mount", "/a", "/b", "--workers", "none"],
        ["mount", "/a", "/b", "-o", "bogus"],
        ["umount", "/no/such"],
        ["umount", "/proc"],
        ["status", "/no/such"],
        ["moutn", "x"],
        ["cache", "ls", "--cache-dir", "/no/such"],
        ["stage", "/etc", "ILSVRC2012", "--cache-dir", "none"],
        ["stage", "x", "--shard", "3/2"],
        ["info", "/no/such"],
        ["info", "/etc/passwd"],
        ["show", "/etc", "goldfish"],
        ["sample", "/tmp", "--full-size", "--classes", "2"],
        ["run", "--"],
        ["run", "ls"],
    ],
)
def test_what_is_said_is_one_of_them(
    collected: Collected, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    done = call(capsys, *words)
    said = done.err.removeprefix("imagenetfs: ").strip()
    known = [m for m in collected.messages if m.code and pattern_of(m.text).fullmatch(said)]
    codes = {int(message.code) for message in known if message.code is not None}
    assert done.code in codes | ({125} if words[0] == "run" else set()), said
    assert known, said


# --- how sentences are followed -------------------------------------------------------------------


def collected_from(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collected:
    (tmp_path / "job.py").write_text(text)
    monkeypatch.setattr(messages, "PACKAGE", tmp_path)
    return collect()


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ('    raise UsageError(f"no {a.b} of {c!r} and {len(d)}")', {"no {b} of {c} and {d}"}),
        ("    raise UsageError(ONE)", {"one thing"}),
        (
            '    raise UsageError("this is " + ("good" if x else f"{x}, bad"))',
            {"this is good", "this is {x}, bad"},
        ),
        ("    text = made()\n    raise UsageError(text)", {"made of {x}", "another one"}),
        ('    kind = UsageError if x else NoSpaceError\n    raise kind("both are")', {"both are"}),
        ('    a, text = 1, "of two"\n    say(text)', {"of two"}),
        ('    say(x or "else this")', {"else this"}),
        ("    for one in made():\n        say(one)", {"made of {x}", "another one"}),
        ('    warnings.append("a warning")', {"a warning"}),
        (
            '    found = []\n    found.append("put in")\n    for f in found:\n        tell(f)',
            {"put in"},
        ),
        ('    yield red("x", f"{y} is red", "do it")', {"{y} is red"}),
    ],
)
def test_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, texts: set[str]
) -> None:
    text = (
        'ONE = "one thing"\n\n'
        'def made():\n    if x:\n        return f"made of {x}"\n    return "another one"\n\n'
        f"def f(x):\n{body}\n"
    )
    ast.parse(text)
    found = collected_from(text, tmp_path, monkeypatch)
    assert {message.text for message in found.messages} == texts
    assert found.lost == set()


def test_what_cannot_be_followed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def f(x):\n    raise UsageError(x.y)\n"
    found = collected_from(text, tmp_path, monkeypatch)
    assert (found.messages, found.lost) == (set(), {"job.py: f"})


def test_a_pattern() -> None:
    assert pattern_of("no {b} (here)").fullmatch("no bread\nat all (here)")
    assert not pattern_of("no {b} (here)").fullmatch("no bread here")
    assert Message("x", "NoEntryError").in_python and not Message("x", "UsageError").in_python
