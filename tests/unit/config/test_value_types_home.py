"""The user's home, also where $HOME names another user's."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.config import value_types as home


def test_the_home_of_another_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (tmp_path / "theirs").mkdir()
    entry = pwd.struct_passwd(("ana", "x", os.geteuid(), 1, "", str(own), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: entry)
    monkeypatch.setenv("HOME", str(tmp_path / "theirs"))
    inner = tmp_path / "theirs" / ".config" / "x"
    assert home.at_home(inner) == inner, "a home of one's own, if not the one in passwd"
    monkeypatch.setattr(os, "geteuid", lambda: 24001)
    monkeypatch.setattr(os, "access", lambda *a, **k: False)
    assert home.at_home(inner) == own / ".config" / "x"
    monkeypatch.setattr(config, "SITE_CONFIG", tmp_path / "none")
    assert config.resolve({"log": "~/x.log"}, {}).log == own / "x.log"
    assert home.at_home(Path("/etc/x")) == Path("/etc/x")
    own.rmdir()
    assert home.at_home(inner) == inner, "there is no better one"


def _other_home(monkeypatch: pytest.MonkeyPatch, own: Path, given: Path) -> None:
    entry = pwd.struct_passwd(("ana", "x", os.geteuid(), 1, "", str(own), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: entry)
    monkeypatch.setenv("HOME", str(given))


def test_a_home_that_may_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A $HOME that is not there yet is the one that is meant."""
    _other_home(monkeypatch, tmp_path, tmp_path / "not" / "there")
    path = tmp_path / "not" / "there" / "x"
    assert home.at_home(path) == path


def test_a_home_that_cannot_be_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    _other_home(monkeypatch, tmp_path, tmp_path / "file" / "below")
    assert home.at_home(tmp_path / "file" / "below" / "x") == tmp_path / "x"


def test_another_users_home_that_is_open_for_writing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    _other_home(monkeypatch, tmp_path, tmp_path / "theirs")
    monkeypatch.setattr(os, "geteuid", lambda: 24001)
    monkeypatch.setattr(os, "access", lambda *a, **k: True)
    assert home.at_home(tmp_path / "theirs" / "x") == tmp_path / "theirs" / "x"


def test_a_user_whom_the_system_does_not_know(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert home.at_home(tmp_path / "x") == tmp_path / "x"
