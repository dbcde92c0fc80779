"""imagenetfs stage: what is brought here, and what is said where that fails."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagenetfs.cache.quota import CacheSetup, QuotaExceededError
from imagenetfs.cli.stage import _no_room, _rate, _run, _shard, _sort_out, _tell_what_is_left_out
from imagenetfs.errors import ImagenetfsError, NoSpaceError, SourceReadError, UsageError
from tests.helpers.in_process import call_forked
from tests.helpers.sources import train_and_test


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = train_and_test(tmp_path / "source")
    arguments = (source, "--cache-dir", tmp_path / "c", "--index-dir", "none")
    done = call_forked(capsys, "stage", *arguments, "ILSVRC2012/train")
    assert done.code == 0
    assert re.fullmatch(r"41\.0 kB are local, 41\.0 kB of them fetched in \d+ s\.\n", done.out)
    done = call_forked(capsys, "stage", *arguments, "ILSVRC2012")
    assert re.fullmatch(r"51\.2 kB are local, 10\.2 kB of them fetched in \d+ s\.\n", done.out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["/s"], 2, "What shall be staged? For example: imagenetfs stage ILSVRC2012/train"),
        (["ILSVRC2012"], 2, "Staging needs a cache: name a directory on this node by --cache-dir."),
        (["a", "--limit", "fast"], 2, "--limit must be bytes a second such as 500M, not 'fast'."),
        (["a", "--shard", "2"], 2, "--shard must be I/N with I from 1 to N, not '2'."),
    ],
)
def test_refusals(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    monkeypatch.delenv("SLURM_TMPDIR", raising=False)
    assert call_forked(capsys, "stage", *arguments) == (code, "", f"imagenetfs: {sentence}\n")


def test_a_version_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = train_and_test(tmp_path / "source")
    done = call_forked(capsys, "stage", source, "ILSVRC2013", "--cache-dir", tmp_path / "c")
    assert (done.code, done.out) == (2, "")
    assert "ILSVRC2013" in done.err


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (["a"], (None, ["a"])),
        (["a/train/", "/b/"[1:]], (None, ["a/train", "b"])),
        (["/s", "a"], ("/s", ["a"])),
        (["~/s", "a"], ("~/s", ["a"])),
        (["here", "a"], ("here", ["a"])),
        (["here"], (None, ["here"])),  # alone it can only be a version
    ],
)
def test_source_and_versions(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: list[str],
    expected: tuple[str | None, list[str]],
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert _sort_out(what) == expected


def test_the_source_comes_first() -> None:
    with pytest.raises(UsageError) as caught:
        _sort_out(["ILSVRC2012", "/s"])
    assert str(caught.value) == (
        "/s is a path, not a version: SOURCE comes first (imagenetfs stage /s ILSVRC2012)."
    )


@pytest.mark.parametrize(
    ("text", "rate"),
    [(None, None), ("500M", 5e8), ("500M/s", 5e8), ("1GiB", float(1 << 30)), ("7", 7.0)],
)
def test_rates(text: str | None, rate: float | None) -> None:
    assert _rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "50%", "0", "-1", "1M/h"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(UsageError, match="--limit must be bytes a second such as 500M, not "):
        _rate(text)


def test_shards() -> None:
    assert (_shard(None), _shard("1/1"), _shard("3/4")) == ((1, 1), (1, 1), (3, 4))
    for text in ("", "0/1", "5/4", "1", "a/b", "1/2/3"):
        with pytest.raises(UsageError, match="--shard must be I/N"):
            _shard(text)


# --- where it fails -------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> CacheSetup:
    (tmp_path / "c").mkdir(mode=0o700)
    return CacheSetup(tmp_path / "c", SimpleNamespace(size=1 << 30, floor=0))  # type: ignore[arg-type]


class Stager:
    """A stager that does what the test says."""

    def __init__(self, raised: BaseException | None = None, stuck: bool = False) -> None:
        self.progress = SimpleNamespace(done=3 << 20, fetched=1 << 20)
        self.left_out: dict[str, Exception] = {}
        self.is_stuck = stuck
        self._raised = raised

    def run(self, plan: object, tell: Any) -> None:
        tell(self.progress)
        if self._raised is not None:
            raise self._raised


PLAN: Any = SimpleNamespace(total=8 << 20, left_out={}, kept=lambda directory: 2 << 20)
THERE = "2.1 MB of 8.4 MB are there"


def run(stager: Stager, place: CacheSetup) -> None:
    _run(stager, PLAN, place)  # type: ignore[arg-type]


def test_all_is_there(place: CacheSetup, capsys: pytest.CaptureFixture[str]) -> None:
    run(Stager(), place)
    assert capsys.readouterr().out == "3.1 MB are local, 1.0 MB of them fetched in 0 s.\n"


def test_a_full_cache(place: CacheSetup) -> None:
    with pytest.raises(NoSpaceError) as caught:
        run(Stager(QuotaExceededError()), place)
    assert str(caught.value) == (
        f"The cache in {place.directory} is full (1 GiB at most). Clear it, or raise "
        f"--cache-size. {THERE}."
    )


def test_a_full_disk(place: CacheSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    room = SimpleNamespace(f_bavail=1000, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: room)
    full = CacheSetup(place.directory, SimpleNamespace(size=1 << 30, floor=1 << 20))  # type: ignore[arg-type]
    assert _no_room(full) == (
        f"The disk of {place.directory} is full: 4.1 MB are free, of which the cache leaves "
        f"1 MiB free. "
        "Make room there, lower --keep-free, or name another --cache-dir."
    )
    room.f_bavail = 1_000_000
    assert _no_room(full).startswith(f"The cache in {place.directory} is full")


def test_a_disk_that_fails(place: CacheSetup) -> None:
    with pytest.raises(NoSpaceError) as caught:
        run(Stager(OSError(errno.EROFS, "Read-only file system")), place)
    assert str(caught.value) == (
        f"The cache in {place.directory} cannot be written to: Read-only file system. {THERE}."
    )


def test_a_source_that_fails(place: CacheSetup) -> None:
    with pytest.raises(SourceReadError) as caught:
        run(Stager(ImagenetfsError("No answer.")), place)
    assert str(caught.value) == f"The source fails again and again: No answer. {THERE} and stay."


def test_ctrl_c(
    place: CacheSetup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    for stuck in (False, True):
        with pytest.raises(KeyboardInterrupt):
            run(Stager(KeyboardInterrupt(), stuck), place)
        assert capsys.readouterr().err.splitlines()[-1] == f"imagenetfs: {THERE} and stay."
    assert codes == [130], "threads that wait for the source are not waited for"


def test_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    _tell_what_is_left_out({})
    with pytest.raises(SourceReadError, match=r"^12 of the archives could not be read to the end"):
        _tell_what_is_left_out({f"{n}.tar": ImagenetfsError(f"no {n}") for n in range(12)})
    assert capsys.readouterr().err.splitlines() == [
        f"imagenetfs: {n}.tar is not all there: no {n}" for n in range(10)
    ]
