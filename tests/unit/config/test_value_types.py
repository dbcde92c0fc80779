"""Kinds of values: what each takes, at its edges, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagenetfs.config.value_types import (
    DURATION,
    LOG,
    PATH,
    PATH_OR_NONE,
    PATHS,
    SIZE,
    STAGES,
    TEXT,
    VIEWS,
    SystemLog,
    ValueKind,
    choice,
    count,
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (count(64), "1", 1),
        (count(64), "64", 64),
        (count(64), " 7 ", 7),
        (DURATION, "0.001", 0.001),
        (DURATION, "90s", 90.0),
        (DURATION, "1.5m", 90.0),
        (DURATION, "2h", 7200.0),
        (DURATION, "999999999", 999999999.0),
        (PATH, "/a/../b", Path("/a/../b")),
        (PATH_OR_NONE, "none", None),
        (PATH_OR_NONE, "/none", Path("/none")),
        (PATHS, "", ()),
        (PATHS, "/a::/b:", (Path("/a"), Path("/b"))),
        (LOG, "syslog", SystemLog.SYSLOG),
        (LOG, "journal", SystemLog.JOURNAL),
        (LOG, "/syslog", Path("/syslog")),
        (VIEWS, "", ()),
        (VIEWS, "a=/x=y:b=/z", (("a", Path("/x=y")), ("b", Path("/z")))),
        (STAGES, "none", ()),
        (STAGES, "v/", ("v",)),
        (STAGES, "v/train:v/val:v/train", ("v/train", "v/val")),
        (choice("auto", "never"), "never", "never"),
        (TEXT, "a: b", "a: b"),
    ],
)
def test_what_is_taken(kind: ValueKind, text: str, value: Any) -> None:
    assert kind.parse(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((count(64), text) for text in ("", "0", "65", "-1", "1.0", "1e1", "many")),
        *((DURATION, text) for text in ("", "s", "0", "0s", "-1", "nan", "inf", "1e9", "1d", "m5")),
        *((PATH, text) for text in ("", "a\0b", "~no-user-of-that-name/x")),
        (PATH_OR_NONE, ""),
        (LOG, ""),
        (LOG, "-"),
        *((VIEWS, text) for text in ("a", "=x", "a=", ".a=/x", "a/b=/x", "a=/x:a=/y", "a=/x:b")),
        *((STAGES, text) for text in ("", "a::b", "/", "a/b/c", "a:")),
        *((choice("auto", "never"), text) for text in ("", "AUTO", "aut", "auto ")),
        *((TEXT, text) for text in ("", "a\nb")),
        *((SIZE, text) for text in ("", "-5", "5%%")),
    ],
)
def test_what_is_refused(kind: ValueKind, text: str) -> None:
    with pytest.raises(ValueError):
        kind.parse(text)


def test_relative_paths_are_of_the_directory_that_the_command_starts_in(tmp_path: Path) -> None:
    assert PATH.parse("x") == tmp_path / "x"
    assert PATHS.parse("x:/y") == (tmp_path / "x", Path("/y"))
    assert VIEWS.parse("a=x") == (("a", tmp_path / "x"),)


def test_a_tilde_is_the_home(tmp_path: Path) -> None:
    assert PATH.parse("~/x") == tmp_path / "home" / "x"
    assert PATH.parse("x~") == tmp_path / "x~"


def test_what_a_file_may_hold() -> None:
    assert count(5).types == (int,)
    assert {int, float, str} == {*DURATION.types}
    assert PATHS.types == (list,)
    assert (STAGES.types, VIEWS.types, SIZE.types) == ((str, list), (str, list), (int, str))


@pytest.mark.parametrize(
    ("kind", "text", "paths"),
    [
        (PATH, "a", ["a"]),
        (PATH_OR_NONE, "none", []),
        (PATH_OR_NONE, "a", ["a"]),
        (PATHS, "a::/b", ["a", "/b"]),
        (LOG, "journal", []),
        (LOG, "a.log", ["a.log"]),
        (VIEWS, "a=x:b=/y=z", ["x", "/y=z"]),
        (STAGES, "v/train", []),
        (TEXT, "a", []),
    ],
)
def test_the_paths_in_a_value(kind: ValueKind, text: str, paths: list[str]) -> None:
    assert kind.paths_in(text) == paths


def test_what_is_expected_is_said_in_words() -> None:
    assert count(64).expects == "a whole number from 1 to 64"
    assert choice("auto", "never").expects == "one of auto, never"
    for kind in (DURATION, PATH, PATH_OR_NONE, PATHS, LOG, VIEWS, STAGES, SIZE, TEXT):
        assert kind.expects
