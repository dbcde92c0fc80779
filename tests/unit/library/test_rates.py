"""What is counted for `imagenetfs bench`: by the processes themselves, failures told."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from imagenetfs.library.rates import (
    Images,
    NothingMeasuredError,
    ScratchDisk,
    decodable,
    of_decoding,
    of_reads,
    pillow,
    rate,
    read_file,
    torchvision,
)
from tests.helpers.leaks import descriptors, opened_since


def test_all_processes_count() -> None:
    def work(number: int, workers: int) -> Iterator[int]:
        yield from [100 + number] * 5

    before = descriptors()
    found = rate(work, 3, 60.0)
    assert found.workers == 3
    assert found.bytes / found.images == pytest.approx(101.0), "15 images of 100, 101 and 102 bytes"
    assert opened_since(before) == {}


def test_it_ends_after_the_time() -> None:
    def endless(number: int, workers: int) -> Iterator[int]:
        while True:
            time.sleep(0.001)
            yield 1

    assert rate(endless, 1, 0.01).images > 0


@pytest.mark.slow
@pytest.mark.parametrize("who", ["all", "one"])
def test_a_process_that_fails_is_no_rate(who: str, capfd: pytest.CaptureFixture[str]) -> None:
    def work(number: int, workers: int) -> Iterator[int]:
        yield 1
        if who == "all" or number == 1:
            raise ValueError("broken")

    with pytest.raises(NothingMeasuredError, match="2 processes had no image"):
        rate(work, 2, 60.0)


def test_nothing_to_do_is_no_rate() -> None:
    with pytest.raises(NothingMeasuredError):
        rate(lambda number, workers: iter(()), 1, 1.0)


def test_each_image_is_handed_out_once_before_any_comes_again() -> None:
    images = Images([str(at) for at in range(10)])
    shares = [set(islice(images.share(number, 2), 3)) for number in range(2)]
    assert not shares[0] & shares[1]
    images.went(6)
    assert not images.came_again
    later = set(islice(images.share(0, 1), 4))
    assert not later & (shares[0] | shares[1])
    images.went(5)
    assert images.came_again
    one = Images(["a"])
    assert list(islice(one.share(5, 8), 2)) == ["a", "a"], "more processes than images"


def test_files_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(3_000_000))
    assert read_file(tmp_path / "a") == 3_000_000
    work = of_reads(Images(["a"]), lambda name: read_file(tmp_path / name))
    assert next(work(0, 1)) == 3_000_000


def test_the_disk_is_written_and_read_and_given_back(tmp_path: Path) -> None:
    disk = ScratchDisk(tmp_path, 3 << 20, 60.0)
    assert disk.write_rate > 0
    assert list(islice(disk.work(1, 2, 100_000), 50)) == [100_000] * 50
    assert os.listdir(tmp_path) == []
    disk.close()


def test_a_disk_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(NothingMeasuredError, match="cannot be written to: No such file"):
        ScratchDisk(tmp_path / "none", 1, 1.0)


def test_decoding(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("L", (30, 20)).save(tmp_path / "a.jpg")
    name, decode = pillow()
    assert name.startswith("Pillow ")
    content = (tmp_path / "a.jpg").read_bytes()
    assert decodable([b"no image", content], decode) == [content]
    assert next(of_decoding([content], decode)(3, 4)) == len(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "find"), [("PIL", pillow), ("torchvision", torchvision), ("torch", torchvision)]
)
def test_what_is_not_installed_is_said(
    module: str, find: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NothingMeasuredError, match=r"(installed|imported)\."):
        assert callable(find) and find()
