"""Whether an index can be kept.

Nothing is written to find out, and the sentence says what to do.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagenetfs.config import resolve
from imagenetfs.job.storage import ADVICE, IndexLocations, index_dir_problem, index_places
from imagenetfs.system import child_call


def test_none_is_wanted() -> None:
    assert index_dir_problem(None) is None


def test_one_that_is_there_and_one_that_can_be_made(tmp_path: Path) -> None:
    assert index_dir_problem(tmp_path) is None
    assert index_dir_problem(tmp_path / "not" / "made" / "yet") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "index"])
def test_a_file_in_its_way(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    directory = tmp_path / "file" / below
    assert index_dir_problem(directory) == (
        f"no index can be kept in {directory}, so each mount indexes anew: {tmp_path}/file is no "
        f"directory. {ADVICE}"
    )


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert f"{tmp_path}/link is no directory" in (index_dir_problem(tmp_path / "link") or "")


@pytest.mark.parametrize(
    ("flags", "words"), [(os.ST_RDONLY, "is read-only"), (0, "is not writable for you")]
)
def test_one_that_may_not_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: int, words: str
) -> None:
    monkeypatch.setattr(os, "access", lambda *path, **more: False)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=flags))
    assert f"{tmp_path} {words}. {ADVICE}" in (index_dir_problem(tmp_path / "index") or "")


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (child_call.NoAnswerError(), "its file system does not answer"),
        (OSError(errno.ESTALE, "Stale file handle"), "Stale file handle"),
    ],
)
def test_a_file_system_in_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, words: str
) -> None:
    def ask(question: object, seconds: float) -> None:
        assert seconds <= 5
        raise raised

    monkeypatch.setattr(child_call, "call_in_child", ask)
    assert f"indexes anew: {words}. {ADVICE}" in (index_dir_problem(tmp_path) or "")


def test_the_places_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = resolve({"index_dir": tmp_path, "index_path": "/site"}, {})
    assert index_places(settings) == IndexLocations(tmp_path, (Path("/site"),), None)
    assert index_places(resolve({"index_dir": "none"}, {})) == IndexLocations(None, (), None)
    monkeypatch.setattr("imagenetfs.job.storage.os.geteuid", lambda: 12345)
    others = tmp_path / "theirs"
    others.mkdir()
    os.chown(others, 54321, 54321)
    found = index_places(resolve({"index_dir": others, "index_path": "/site"}, {}))
    assert (found.written, found.path) == (None, (others, Path("/site")))
    assert found.problem is not None and "belongs to another user" in found.problem
