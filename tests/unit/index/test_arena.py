"""The arena under several builders, killed builders, growth and a full disk."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from imagenetfs.errors import NoSpaceError
from imagenetfs.index import arena as arena_module
from imagenetfs.index.arena import Arena
from tests.helpers.children import ended, in_child


def test_blocks_come_back() -> None:
    arena = Arena(5)
    blocks = {number: os.urandom(number * 1000) for number in range(5)}
    for number, block in blocks.items():
        assert arena.get(arena.slot(number)) is None
        with arena.locked(arena.slot(number)):
            assert bytes(arena.put(arena.slot(number), block)) == block
    for number, block in blocks.items():
        view = arena.get(arena.slot(number))
        assert view is not None
        assert bytes(view) == block
        assert view.readonly


def test_children_have_slots_of_their_own() -> None:
    arena = Arena(2)
    arena.put(arena.slot(0), b"outer" * 20, children=300)
    slots = [arena.child_slot(arena.slot(0), child) for child in range(300)]
    assert all(arena.get(slot) is None for slot in slots)
    for child, slot in enumerate(slots):
        arena.put(slot, b"%d" % child)
    assert [bytes(arena.get(slot) or b"") for slot in slots] == [b"%d" % c for c in range(300)]
    assert bytes(arena.get(arena.slot(0)) or b"") == b"outer" * 20
    assert arena.get(arena.slot(1)) is None


def test_blocks_begin_at_multiples_of_8() -> None:
    arena = Arena(3)
    for number in range(3):
        arena.put(arena.slot(number), b"x" * (number + 1), children=number)
    for number in range(3):
        column = np.frombuffer(arena.get(arena.slot(number)) or b"", dtype=np.uint8)
        assert column.__array_interface__["data"][0] % 8 == 0


@pytest.fixture
def small_mappings(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(arena_module, "_MAPPING", 1 << 16)
    return 1 << 16


def test_growth_over_mapping_borders(small_mappings: int) -> None:
    arena = Arena(200)
    blocks = [os.urandom(1 + 331 * number % 9000) for number in range(200)]
    for number, block in enumerate(blocks):
        arena.put(arena.slot(number), block)
    assert arena.used > 10 * small_mappings
    for number, block in enumerate(blocks):
        assert bytes(arena.get(arena.slot(number)) or b"") == block


@pytest.mark.parametrize("extra", [-64, 0, 1, 70_000, 200_000])
def test_a_block_as_large_as_a_mapping_or_larger(small_mappings: int, extra: int) -> None:
    arena = Arena(3)
    large = os.urandom(small_mappings + extra)
    arena.put(arena.slot(0), b"before")
    arena.put(arena.slot(1), large, children=5)
    arena.put(arena.slot(2), b"behind")
    assert bytes(arena.get(arena.slot(1)) or b"") == large
    assert bytes(arena.get(arena.slot(2)) or b"") == b"behind"
    assert arena.get(arena.child_slot(arena.slot(1), 4)) is None


def test_more_children_than_a_mapping_has_room_for(small_mappings: int) -> None:
    arena = Arena(1)
    arena.put(arena.slot(0), b"outer", children=5000)
    for child in (0, 1, 2046, 2047, 2048, 4999):
        slot = arena.child_slot(arena.slot(0), child)
        assert arena.get(slot) is None
        arena.put(slot, b"%d" % child)
        assert bytes(arena.get(slot) or b"") == b"%d" % child


def test_a_mapping_more_than_an_older_process_has_seen(small_mappings: int) -> None:
    arena = Arena(4)
    arena.put(arena.slot(0), b"mine")

    def build() -> None:
        arena.after_fork()
        arena.put(arena.slot(1), b"theirs" * 30_000)

    assert ended(in_child(build)) == 0
    assert bytes(arena.get(arena.slot(1)) or b"") == b"theirs" * 30_000


# --- several processes ----------------------------------------------------------------------------


def _build(arena: Arena, slots: list[int], log: int, name: int) -> None:
    arena.after_fork()
    for slot in slots:
        if arena.get(slot) is None:
            with arena.locked(slot):
                if arena.get(slot) is None:
                    os.write(log, b"%d\n" % slot)
                    arena.put(slot, b"%d by %d" % (slot, name) + bytes(slot % 500))


@pytest.mark.slow
def test_each_container_is_built_once(small_mappings: int, tmp_path: Path) -> None:
    arena = Arena(120)
    slots = [arena.slot(number) for number in range(120)]
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    children = []
    for name in range(4):
        turned = slots[name * 10 :] + slots[: name * 10]
        children.append(in_child(partial(_build, arena, turned, log, name)))
    assert [ended(pid) for pid in children] == [0] * 4
    os.close(log)
    built = (tmp_path / "log").read_text().split()
    assert sorted(map(int, built)) == slots
    for slot in slots:
        block = bytes(arena.get(slot) or b"")
        assert block.startswith(b"%d by " % slot)
        assert len(block) == len(b"%d by 0" % slot) + slot % 500


def test_the_next_one_builds_when_the_builder_is_killed() -> None:
    arena = Arena(1)
    slot, (reader, writer) = arena.slot(0), os.pipe()

    def build_and_stop() -> None:
        arena.after_fork()
        with arena.locked(slot):
            # All but the state is written when it dies.
            offset = arena._reserve(100)
            arena._write(offset, b"half" * 25)
            arena._write(slot + 8, offset.to_bytes(8, "little") + (100).to_bytes(8, "little"))
            os.write(writer, b"x")
            signal.pause()

    def build() -> None:
        arena.after_fork()
        os.write(writer, b"y")
        with arena.locked(slot):
            assert arena.get(slot) is None
            arena.put(slot, b"whole")

    first = in_child(build_and_stop)
    assert os.read(reader, 1) == b"x"
    second = in_child(build)
    assert os.read(reader, 1) == b"y"
    assert arena.get(slot) is None
    os.kill(first, signal.SIGKILL)
    assert ended(first) == -signal.SIGKILL
    assert ended(second) == 0
    assert bytes(arena.get(slot) or b"") == b"whole"
    os.close(reader)
    os.close(writer)


@pytest.mark.slow
def test_kill_at_any_moment(small_mappings: int, tmp_path: Path) -> None:
    """Whatever is published is whole, and what is not can be built."""
    arena = Arena(400)
    slots = [arena.slot(number) for number in range(400)]
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for moment in range(12):
        pid = in_child(lambda: _build(arena, slots, log, 9))
        time.sleep(0.001 + moment * 0.0007)  # the moment is what is tried, nothing is awaited
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        for slot in slots:
            block = arena.get(slot)
            assert block is None or bytes(block) == b"%d by 9" % slot + bytes(slot % 500)
    assert ended(in_child(lambda: _build(arena, slots, log, 9))) == 0
    assert all(arena.get(slot) is not None for slot in slots)
    os.close(log)


def test_a_lock_excludes_processes_after_fork_only() -> None:
    """A child that has not opened the file anew shares its parent's locks:
    after_fork is what helps.
    """
    arena = Arena(1)
    slot = arena.slot(0)

    def take(own: bool) -> None:
        if own:
            arena.after_fork()
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with arena.locked(slot):
            pass

    with arena.locked(slot):
        assert ended(in_child(lambda: take(own=True))) == -signal.SIGALRM
        assert ended(in_child(lambda: take(own=False))) == 0
    assert ended(in_child(lambda: take(own=True))) == 0


def test_descriptors_do_not_reach_other_programs() -> None:
    arena = Arena(1)
    arena.after_fork()
    assert not os.get_inheritable(arena._fd)


# --- a full disk ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that holds no more than a few hundred kilobytes, and is not taken for full."""
    monkeypatch.setattr(arena_module, "_LEAST_SPACE", 0)
    directory = tmp_path / "small"
    directory.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k", "none", str(directory)]
    if os.geteuid() or subprocess.run(["mount", *options], check=False).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def _fill(directory: Path) -> None:
    with contextlib.suppress(OSError), (directory / "full").open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


def test_a_full_disk_is_an_error(small_disk: Path) -> None:
    arena = Arena(3, small_disk)
    arena.put(arena.slot(0), b"small")
    with arena.locked(arena.slot(1)), pytest.raises(NoSpaceError, match="TMPDIR"):
        arena.put(arena.slot(1), bytes(1 << 20))
    assert bytes(arena.get(arena.slot(0)) or b"") == b"small"
    assert arena.get(arena.slot(1)) is None


def test_no_disk_at_all_means_memory(tmp_path: Path) -> None:
    arena = Arena(2, tmp_path / "nowhere")
    arena.put(arena.slot(1), b"kept")
    arena.after_fork()
    assert bytes(arena.get(arena.slot(1)) or b"") == b"kept"


def test_a_full_disk_means_memory_too(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    arena = Arena(3, small_disk)
    _fill(small_disk)
    arena.put(arena.slot(1), bytes(1 << 20))
    assert bytes(arena.get(arena.slot(1)) or b"") == bytes(1 << 20)


def test_looking_at_a_slot_on_a_full_tmpfs(small_disk: Path) -> None:
    try:
        arena = Arena(2000, small_disk)
        arena.put(arena.slot(0), b"outer", children=1000)
    except NoSpaceError:
        return
    _fill(small_disk)

    def look() -> None:
        for number in range(2000):
            arena.get(arena.slot(number))
        for child in range(1000):
            arena.get(arena.child_slot(arena.slot(0), child))

    assert ended(in_child(look)) == 0


def test_a_limit_on_file_sizes_is_no_space(small_mappings: int) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    arena = Arena(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (small_mappings, limits[1]))
    try:
        with pytest.raises(NoSpaceError):
            arena.put(arena.slot(0), bytes(3 * small_mappings))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_nothing_is_left_in_the_directory(tmp_path: Path) -> None:
    Arena(3, tmp_path)
    assert list(tmp_path.iterdir()) == []
