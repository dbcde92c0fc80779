"""imagenetfs cache: what is kept, what is damaged, and what is thrown away."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path

import pytest

from imagenetfs.cache import inventory
from imagenetfs.cache.inventory import VolumeUsage
from imagenetfs.cli.cache import _line
from tests.helpers.in_process import call_forked
from tests.helpers.sources import TEST, TRAIN, train_and_test


@pytest.fixture
def cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A cache that holds a small train and test."""
    source = train_and_test(tmp_path / "source")
    done = call_forked(
        capsys, "stage", source, "ILSVRC2012", "--cache-dir", tmp_path / "c", "--index-dir", "none"
    )
    assert done.code == 0
    return tmp_path / "c"


@pytest.mark.slow
def test_what_is_kept(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call_forked(capsys, "cache", "ls", "--cache-dir", cache)
    assert done.code == 0
    head, *rows = (line.split("\t") for line in done.out.splitlines())
    assert head == ["version", "archive", "kept", "part", "hits", "misses", "saved", "last used"]
    assert [row[:4] for row in rows] == [
        ["ILSVRC2012", TEST, "10.2 kB", "100 %"],
        ["ILSVRC2012", TRAIN, "41.0 kB", "100 %"],
    ]
    assert re.fullmatch(rf"imagenetfs: [\d.]+ kB in {cache}\. Hits and .* every 10 s.*\n", done.err)
    done = call_forked(capsys, "cache", "ls", "--json", "--cache-dir", cache)
    assert [one["bytes"] for one in json.loads(done.out)] == [10_240, 40_960]
    assert done.err == ""


def test_a_line_of_a_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagenetfs.cli.cache.time.time", lambda: 1060.0)
    one = VolumeUsage("/s", "v", "a.tar", 4096, 1024, 8192, 1000.0, 12345, 7, 1 << 20)
    assert _line(one) == (
        *("v", "a.tar", "1.0 kB", "25 %", "12,345", "7", "1.0 MB"),
        "1 min 00 s ago",
    )
    one.size = 0
    assert _line(one)[3] == "-"


@pytest.mark.slow
def test_blocks_that_are_right_and_damaged(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call_forked(capsys, "cache", "verify", "--cache-dir", cache)
    assert (done.code, done.out) == (0, "2 blocks are right, 0 were damaged and are gone.\n")
    segment = max(cache.iterdir(), key=lambda path: path.stat().st_blocks)
    with segment.open("r+b") as file:
        at = segment.read_bytes().index(b"n00000001")
        file.seek(at)
        file.write(b"X")
    done = call_forked(capsys, "cache", "verify", "--cache-dir", cache)
    assert (done.code, done.out) == (0, "1 blocks are right, 1 were damaged and are gone.\n")


@pytest.mark.slow
def test_throwing_away(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call_forked(capsys, "cache", "clear", "winter21_whole", "--cache-dir", cache)
    assert (done.code, done.out) == (0, f"0 B freed in {cache}.\n")
    done = call_forked(capsys, "cache", "clear", "ILSVRC2012", "--cache-dir", cache)
    assert re.fullmatch(rf"[1-9][\d.]* kB freed in {cache}\.\n", done.out)
    done = call_forked(capsys, "cache", "ls", "--json", "--cache-dir", cache)
    assert json.loads(done.out) == []


def test_a_version_that_is_none(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call_forked(capsys, "cache", "clear", "ILSVRC20", "--cache-dir", cache)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("imagenetfs: There is no version ILSVRC20: there are ILSVRC2012, ")
    assert done.err.endswith(" Did you mean ILSVRC2012?\n")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["ls", "verify", "clear"])
def test_no_cache(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    monkeypatch.delenv("SLURM_TMPDIR", raising=False)
    assert call_forked(capsys, "cache", command) == (
        *(2, ""),
        "imagenetfs: No cache is set: name its directory by --cache-dir.\n",
    )
    place = tmp_path / "none"
    assert call_forked(capsys, "cache", command, "--cache-dir", place) == (
        *(2, ""),
        f"imagenetfs: There is no cache in {place}: nothing has been kept there yet.\n",
    )
    (tmp_path / "link").symlink_to("nowhere")
    assert call_forked(capsys, "cache", command, "--cache-dir", tmp_path / "link").code == 27


def test_a_disk_that_fails(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(directory: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(inventory, "list_volumes", fail)
    assert call_forked(capsys, "cache", "ls", "--cache-dir", cache) == (
        *(32, ""),
        f"imagenetfs: The cache in {cache} cannot be used: Input/output error.\n",
    )
