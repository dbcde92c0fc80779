"""What is staged, in which pieces: from names to byte ranges of volumes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from imagenetfs.byte_range import ByteRange, ByteRanges
from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.cache.quota import QuotaExceededError
from imagenetfs.errors import ArchiveError, SourceReadError, UsageError
from imagenetfs.index.index import Index
from imagenetfs.read.cache_backend import FileOrigin, Volumes
from imagenetfs.read.recent_parts import RecentParts, part_of
from imagenetfs.server import stage_plan
from imagenetfs.server.stage_plan import StagePlan, _NotTaken, _OwnFiles, splits_of
from imagenetfs.tree.catalogue import Catalogue
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.split_backend import SplitBackend
from tests.helpers.archives import index_of, tar_of
from tests.helpers.zips import Member, raw_zip


@dataclass
class Shelf:
    archives: list[int] = field(default_factory=list)
    below: tuple[bytes, ...] = (b"",)

    def directories(self, archive: int) -> tuple[bytes, ...]:
        return self.below


def split(name: bytes, *archives: int, below: tuple[bytes, ...] = (b"",)) -> Split:
    return Split(name, cast(SplitBackend, Shelf(list(archives), below)), "")


@dataclass
class Known:
    """As much of a catalogue as is asked for."""

    versions: list[Version] = field(default_factory=list)
    index: Index | None = None

    @property
    def source(self) -> object:
        assert self.index is not None
        return self.index.source


def known(*versions: Version, index: Index | None = None) -> Catalogue:
    return cast(Catalogue, Known(list(versions), index))


# --- by name --------------------------------------------------------------------------------------

CATALOGUE = known(
    Version(b"ILSVRC2012", [split(b"train", 0), split(b"val", 1)]),
    Version(b"Imagenet64", [split(b"train", 2)]),
)


@pytest.mark.parametrize(
    ("names", "archives"),
    [
        ([], []),
        (["ILSVRC2012"], [[0], [1]]),
        (["ILSVRC2012/val"], [[1]]),
        (["Imagenet64", "ILSVRC2012/train"], [[2], [0]]),
        (["ILSVRC2012/"], [[0], [1]]),
    ],
)
def test_the_splits_that_are_named(names: list[str], archives: list[list[int]]) -> None:
    assert [one.backend.archives for one in splits_of(CATALOGUE, names)] == archives


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ILSVRC2013", "no version ILSVRC2013: there are ILSVRC2012, Imagenet64"),
        ("ILSVRC2012/vall", "ILSVRC2012 has no split vall: it has train, val"),
        ("Imagenet64/val", "Imagenet64 has no split val: it has train"),
    ],
)
def test_a_name_that_is_not_there(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        splits_of(CATALOGUE, ["ILSVRC2012", name])


# --- a plan ---------------------------------------------------------------------------------------

SIZES = [70_000, 1, 0, 200_000]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    (tmp_path / "t.tar").write_bytes(tar_of({f"{n}.JPEG": bytes(90_000) for n in range(20)}))
    (tmp_path / "d").mkdir()
    for number, size in enumerate(SIZES):
        (tmp_path / "d" / f"{number}.JPEG").write_bytes(bytes([number]) * size)
    return index_of(tmp_path, "t.tar", "d", "gone.tar")


def plan_of(index: Index, *archives: int, shard: tuple[int, int] = (1, 1)) -> StagePlan:
    volumes = Volumes(index, index.source, {})
    splits = [split(b"x", archive) for archive in archives]
    return StagePlan(known(index=index), volumes, splits, cast(InflatedArrays, None), shard)


def covered(plan: StagePlan) -> list[tuple[bytes, int, int]]:
    """(volume, start, end), pieces that follow each other joined."""
    found: list[tuple[bytes, int, int]] = []
    for piece in plan:
        key = piece.volume.key
        if found and found[-1][0] == key and found[-1][2] == piece.start:
            found[-1] = (key, found[-1][1], piece.end)
        else:
            found.append((key, piece.start, piece.end))
    return found


def test_all_of_a_tar(index: Index, tmp_path: Path) -> None:
    plan, size = plan_of(index, 0), (tmp_path / "t.tar").stat().st_size
    assert plan.total == size
    assert [(start, end) for _, start, end in covered(plan)] == [(0, size)]
    assert all(piece.limit == size for piece in plan)


@pytest.mark.parametrize("method", [0, 8])
def test_of_a_zip_that_holds_other_splits_too_only_its_part(tmp_path: Path, method: int) -> None:
    members = [
        Member(b"%s/%d.JPEG" % (name, n), os.urandom(90_000), method=method)
        for name in (b"boxes", b"train", b"val")
        for n in range(3)
    ]
    data = raw_zip(members)
    (tmp_path / "x.zip").write_bytes(data)
    index, end = index_of(tmp_path, "x.zip"), data.index(b"PK\1\2")

    def part(*below: bytes) -> list[tuple[int, int]]:
        splits = [split(b"x", 0, below=below)]
        volumes = Volumes(index, index.source, {})
        plan = StagePlan(known(index=index), volumes, splits, cast(InflatedArrays, None))
        found = [(start, stop) for _, start, stop in covered(plan)]
        assert plan.total == sum(stop - start for start, stop in found)
        return found

    assert part(b"val") == [(members[6].offset, end)]
    assert part(b"train") == [(members[3].offset, members[6].offset)]
    assert part(b"boxes", b"val") == part(b"") == [(0, end)]


def test_all_files_of_a_directory(index: Index) -> None:
    """Each from a block of its own on in their volume; one without content has nothing to fetch."""
    plan = plan_of(index, 1)
    assert plan.total == sum(SIZES)
    block = 1 << 16
    assert [(start, end) for _, start, end in covered(plan)] == [
        (0, 70_000),
        (2 * block, 2 * block + 1),
        (3 * block, 3 * block + 200_000),
    ]


def test_archives_in_their_order_each_once(index: Index) -> None:
    plan = plan_of(index, 1, 0, 1)
    assert plan.total == sum(SIZES) + plan_of(index, 0).total
    keys = [key for key, _, _ in covered(plan)]
    assert len(set(keys)) == 2
    assert keys[0] == keys[1]


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shards_are_all_of_it_and_nothing_twice(index: Index, parts: int) -> None:
    plans = [plan_of(index, 0, 1, shard=(number, parts)) for number in range(1, parts + 1)]
    whole = plan_of(index, 0, 1)
    assert sum(plan.total for plan in plans) == whole.total
    assert max(plan.total for plan in plans) - min(plan.total for plan in plans) <= 1
    pieces = sorted(piece for plan in plans for piece in covered(plan))
    joined: list[tuple[bytes, int, int]] = []
    for key, start, end in pieces:
        if joined and joined[-1][0] == key and joined[-1][2] == start:
            joined[-1] = (key, joined[-1][1], end)
        else:
            joined.append((key, start, end))
    assert joined == sorted(covered(whole))


def test_what_cannot_be_read_is_left_out_and_the_rest_is_not(index: Index) -> None:
    plan = plan_of(index, 2, 0)
    plan._items[0] = stage_plan._Item(2, -1, 1000)
    plan._high += 1000
    assert covered(plan) == covered(plan_of(index, 0))
    assert list(plan.left_out) == ["gone.tar"]
    assert isinstance(plan.left_out["gone.tar"], SourceReadError)


def test_what_will_never_be_better_is_not_asked_for_again(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, asked = plan_of(index, 0), list[int]()
    errors = iter([SourceReadError("later"), ArchiveError("broken")])

    def fail(archive: int) -> None:
        asked.append(archive)
        raise next(errors)

    monkeypatch.setattr(plan._volumes, "of_archive", fail)
    for _ in range(4):
        assert list(plan) == []
    assert asked == [0, 0]
    assert isinstance(plan.left_out["t.tar"], ArchiveError)


def test_an_archive_that_is_not_there_has_no_bytes(index: Index) -> None:
    assert plan_of(index, 2).total == 0


def test_each_piece_is_read_by_its_threads_own_descriptor(index: Index) -> None:
    piece = next(iter(plan_of(index, 1)))
    shared = index.source.open(b"d/0.JPEG").fd
    held: list[tuple[bytes, int]] = []

    def read() -> None:
        origin = cast(FileOrigin, piece.origin())
        held.append((origin.read(piece.start, 10), origin.open(origin.path).fd))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [data for data, _ in held] == [bytes(10)] * 2
    assert shared not in [fd for _, fd in held]


def descriptors_of(name: str) -> int:
    """How many this process has of files of such a name."""
    links = (fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())
    return sum(os.readlink(fd).endswith(name) for fd in links)


def test_a_thread_keeps_the_last_file_only(index: Index) -> None:
    own = _OwnFiles(index.source)
    first = own._open(b"t.tar")
    assert own._open(b"t.tar") is first
    opened = descriptors_of("/t.tar")
    second = own._open(b"d/0.JPEG")
    assert second is not first
    assert descriptors_of("/t.tar") == opened - 1
    with pytest.raises(SourceReadError):
        own._open(b"gone.tar")
    assert own._open(b"d/0.JPEG").read(0, 1) == b"\0"
    own._own.stack.close()


def test_what_is_not_taken_whole_is_not_read() -> None:
    with pytest.raises(QuotaExceededError):
        _NotTaken().read(0, 1)
    assert _NotTaken().is_same()


# --- what is read next ----------------------------------------------------------------------------


@pytest.fixture
def nested(tmp_path: Path) -> Index:
    """An archive of three classes, and a flat one."""
    images = {f"{n}.JPEG": bytes(3_000_000) for n in range(3)}
    (tmp_path / "train.tar").write_bytes(tar_of({f"{n}.tar": tar_of(images) for n in range(3)}))
    (tmp_path / "val.tar").write_bytes(tar_of(images))
    return index_of(tmp_path, "train.tar", "val.tar")


def order(plan: StagePlan, at_piece: dict[int, Callable[[], None]] | None = None) -> list[str]:
    """Which class of the first archive, or the other one ("val"), each new stretch is of."""
    found: list[str] = []
    classes = [part_of(0, n, plan._index.container(0, n)) for n in range(3)]
    keys = [plan._volumes.of_archive(n)[0].key for n in range(2)]
    given: dict[bytes, ByteRanges] = {key: ByteRanges() for key in keys}
    for number, piece in enumerate(plan):
        whole = ByteRange(piece.start, piece.end)
        assert given[piece.volume.key].gaps(whole) == [whole], "it is staged once"
        given[piece.volume.key].add(whole)
        middle = (piece.start + piece.end) // 2
        names = [str(n) for n, part in enumerate(classes) if part.start <= middle < part.end]
        names = ["val"] if piece.volume.key == keys[1] else names  # none: headers between classes
        found += names if found[-1:] != names else []
        (at_piece or {}).get(number, lambda: None)()
    for archive, key in enumerate(keys):
        assert given[key].gaps(ByteRange(0, plan._items[archive].size)) == []
    return found


@pytest.mark.slow
def test_what_is_listed_is_staged_first(nested: Index) -> None:
    plan = plan_of(nested, 0, 1)
    assert order(plan) == ["0", "1", "2", "val"]
    plan.recent = recent = RecentParts()
    assert order(plan) == ["0", "1", "2", "val"]
    for archive, inner in ((1, -1), (0, 2)):
        recent.note_listed(archive, inner, nested.container(archive, inner))
    assert order(plan) == ["val", "2", "0", "1"]


def test_what_is_read_comes_before_what_is_listed(nested: Index) -> None:
    plan = plan_of(nested, 0, 1)
    plan.recent = recent = RecentParts()
    recent.note_listed(0, 1, nested.container(0, 1))
    recent.note_read(part_of(1, -1, nested.container(1)))
    assert order(plan) == ["val", "1", "0", "2"]


@pytest.mark.slow
def test_what_is_listed_meanwhile_is_next(nested: Index) -> None:
    plan = plan_of(nested, 0, 1)
    plan.recent = recent = RecentParts()
    later = {0: lambda: recent.note_listed(1, -1, nested.container(1))}
    assert order(plan, later) == ["0", "val", "0", "1", "2"]


def test_a_large_part_makes_way(nested: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_plan, "_MOST_AHEAD", 1)
    plan = plan_of(nested, 0, 1)
    plan.recent = recent = RecentParts()
    recent.note_listed(1, -1, nested.container(1))
    later = {0: lambda: recent.note_read(part_of(0, 2, nested.container(0, 2)))}
    assert order(plan, later)[:3] == ["val", "2", "val"]


@pytest.mark.slow
def test_of_what_is_read_a_shard_has_its_own(nested: Index) -> None:
    recent = RecentParts()
    recent.note_listed(0, 2, nested.container(0, 2))
    plans = [plan_of(nested, 0, 1, shard=(number, 2)) for number in (1, 2)]
    for plan in plans:
        plan.recent = recent
    pieces = sorted(piece for plan in plans for piece in covered(plan))
    whole = sorted(covered(plan_of(nested, 0, 1)))
    lengths = [sum(end - start for _, start, end in found) for found in (pieces, whole)]
    assert lengths[0] == lengths[1]
    for plan in plans:
        assert sum(end - start for _, start, end in covered(plan)) == plan.total


def test_files_of_a_directory_that_is_listed(index: Index) -> None:
    plan = plan_of(index, 0, 1)
    plan.recent = recent = RecentParts()
    recent.note_listed(1, -1, index.container(1))
    found = covered(plan)
    assert found[0][1:] == (0, 70_000)
    assert sorted(found) == sorted(covered(plan_of(index, 0, 1)))
