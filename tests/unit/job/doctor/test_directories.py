"""The doctor's lines about directories of our own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from imagenetfs.job.doctor import directories
from imagenetfs.job.doctor.findings import Finding, Grade, green
from imagenetfs.system import child_call, mounts
from tests.helpers.findings import about
from tests.helpers.mount_table import MountTable, settings_with

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = directories.look_at("index", tmp_path / "file" / "index")
    assert line.grade is Grade.RED
    assert "--index-dir" in line.advice


@ROOT
def test_places_that_are_full_or_read_only(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=True)
    try:
        line = directories.look_at("index", small / "not" / "made" / "yet")
        assert line.grade is Grade.YELLOW
        assert "nearly full" in line.what
        (small / "fill").write_bytes(bytes((1 << 20) - 4096))
        assert directories.look_at("run directory", small).grade is not Grade.GREEN
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        line = directories.look_at("run directory", small)
        assert line.grade is Grade.RED
        assert "Read-only file system" in line.what
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_place_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(question: object, seconds: float) -> object:
        raise child_call.NoAnswerError

    monkeypatch.setattr(directories, "call_watched", silent)
    assert directories.look_at("log", tmp_path).grade is Grade.RED


def test_a_place_that_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "LITTLE", {"log": 0})
    monkeypatch.setattr(directories, "file_system_of", lambda path: "ext4")
    line = directories.look_at("log", tmp_path / "not" / "made" / "yet")
    assert (line.grade, line.about) == (Grade.GREEN, "log")
    assert line.facts["path"] == str(tmp_path / "not" / "made" / "yet")
    assert line.facts["type"] == "ext4"
    assert line.facts["free"] > 0
    assert line.facts["bytes_per_second"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind", "grade"),
    [
        ("index", "tmpfs", Grade.YELLOW),
        ("index", "xfs", Grade.GREEN),
        ("run directory", "tmpfs", Grade.GREEN),
    ],
)
def test_an_index_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, grade: Grade
) -> None:
    monkeypatch.setattr(directories, "call_watched", lambda question, seconds: (1 << 40, 1e9))
    monkeypatch.setattr(directories, "file_system_of", lambda path: kind)
    line = directories.look_at(name, tmp_path)
    assert line.grade is grade
    assert ("lost at a reboot" in line.what) == (grade is Grade.YELLOW)


@pytest.mark.parametrize("name", sorted(directories.LITTLE))
def test_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    little = directories.LITTLE[name]
    for free, grade in ((little - 1, Grade.YELLOW), (little, Grade.GREEN)):
        monkeypatch.setattr(directories, "call_watched", lambda *a, free=free: (free, 1e9))
        monkeypatch.setattr(directories, "file_system_of", lambda path: "ext4")
        line = directories.look_at(name, tmp_path)
        assert line.grade is grade
        assert bool(line.advice) == (grade is Grade.YELLOW)


def test_every_place_has_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Path] = {}

    def look(name: str, place: Path) -> Finding:
        asked[name] = place
        return green(name, str(place))

    monkeypatch.setattr(directories, "look_at", look)
    settings = settings_with(
        index_dir=tmp_path / "i", run_dir=tmp_path / "r", log=tmp_path / "l" / "x.log"
    )
    lines = list(directories.places(settings, {"SLURM_TMPDIR": "/local"}))
    assert asked == {
        "index": tmp_path / "i",
        "temporary files": Path("/local"),
        "run directory": tmp_path / "r",
        "log": tmp_path / "l",
    }
    assert len(lines) == 4
    lines = list(directories.places(settings_with(index_dir="none", log="syslog"), {}))
    assert about(lines, "index").grade is Grade.YELLOW
    assert asked["temporary files"] == Path(os.environ["TMPDIR"])
    assert asked["log"].name == "log"


def test_the_file_system_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = MountTable(tmp_path, monkeypatch)
    table.add(tmp_path / "a", fstype="xfs")
    inner = table.add(tmp_path / "a" / "b", fstype="nfs")
    assert directories.mount_of(tmp_path / "a" / "b" / "c") == inner
    assert directories.file_system_of(tmp_path / "a" / "bc") == "xfs"
    assert directories.file_system_of(tmp_path / "none") == "ext4"
    table.remove(mounts.read_table()[0])
    assert directories.file_system_of(tmp_path / "none") == "unknown"


def test_what_root_has_no_time_left_to_ask_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that hangs uses up root's time: the directory beside it is not called broken."""

    def unasked(question: object, seconds: float) -> object:
        error = child_call.NoAnswerError()
        error.is_asked = False
        raise error

    monkeypatch.setattr(directories, "call_watched", unasked)
    line = directories.look_at("log", tmp_path)
    assert line.grade is Grade.YELLOW
    assert line.what == f"{tmp_path}: not asked, for root has waited long enough"
