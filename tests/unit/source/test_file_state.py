"""The source under change: retries, what is looked at again, and one verdict for
all processes of a mount.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from imagenetfs.counters import SINCE
from imagenetfs.errors import (
    SourceChangedError,
    SourceReadError,
    SourceReplacedError,
    SourceUnreadableError,
)
from imagenetfs.source import retry
from imagenetfs.source.file_state import FileIdentity, SharedFileState
from imagenetfs.source.source import Source, SourceFile
from tests.helpers.archives import forget_files
from tests.helpers.clocks import FakeClock
from tests.helpers.system_calls import failing, patch_os

OLD, NEW = bytes(range(256)) * 40, bytes(reversed(range(256))) * 40


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a.tar").write_bytes(OLD)
    (tmp_path / "b.tar").write_bytes(OLD)
    return tmp_path


def _by_first_bytes(file: SourceFile) -> bool | None:
    if stat.S_ISDIR(file.mode):
        return None  # no archive is known to be there
    return file.size == len(OLD) and file.read(0, 16) == OLD[:16]


def _source(root: Path, revalidate: float = 60.0, clock: FakeClock | None = None) -> Source:
    source = Source(root, revalidate=revalidate, clock=clock or FakeClock())
    source.recognise = _by_first_bytes
    return source


# --- retries --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("times", [1, 3])
def test_errors_that_pass_are_waited_for(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int, times: int
) -> None:
    """S2: so is a server that forgot its handles."""
    clock = FakeClock()
    source = _source(root, clock=clock)
    file = source.open(b"a.tar")
    asked = failing(monkeypatch, "imagenetfs.source", "pread", number, times)
    assert file.read(100, 1000) == OLD[100:1100]
    assert asked() == times + 1
    assert clock.pauses == list(retry.PAUSES[:times])
    assert source.meter[SINCE] == 0


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_they_are_not_waited_for_for_ever(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    clock = FakeClock()
    file = _source(root, clock=clock).open(b"a.tar")
    asked = failing(monkeypatch, "imagenetfs.source", "pread", number, 1000)
    with pytest.raises(SourceReadError, match=r"cannot read a\.tar at byte 100"):
        file.read(100, 1000)
    assert asked() == 4
    assert clock.pauses == list(retry.PAUSES)


@pytest.mark.parametrize("call", ["pread", "open"])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_mount_that_has_waited_itself_is_not_asked_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str, is_late: bool
) -> None:
    clock = FakeClock()
    source = _source(root, clock=clock)
    file, asked = source.open(b"a.tar"), []

    def fail(*arguments: object, **more: object) -> int:
        asked.append(1)
        clock.advance(retry.GIVE_UP_AFTER + (0.1 if is_late else 0.0))
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    patch_os(monkeypatch, "imagenetfs.source", **{call: fail})
    with pytest.raises(SourceReadError):
        file.read(100, 1000) if call == "pread" else source.open(b"b.tar")
    assert len(asked) == (1 if is_late else 2)
    assert source.meter[SINCE] == 0


def test_no_permission_is_no_matter_of_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S2: EACCES is the answer."""
    source = _source(root)
    file = source.open(b"a.tar")
    asked = failing(monkeypatch, "imagenetfs.source", "pread", errno.EACCES, 1000)
    with pytest.raises(SourceUnreadableError, match=r"you may no longer read a\.tar"):
        file.read(100, 1000)
    assert asked() == 1
    asked = failing(monkeypatch, "imagenetfs.source", "open", errno.EACCES, 1000)
    with pytest.raises(SourceUnreadableError, match=r"you may not read .*/b\.tar"):
        source.open(b"b.tar")
    assert asked() == 1


def test_opening_and_listing_are_tried_again_too(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _source(root)
    for work in (
        lambda: source.open(b"a.tar"),
        lambda: source.names(b""),
        lambda: source.entries(b""),
        lambda: source.has_entries(b""),
        lambda: source.read_whole(b"b.tar"),
    ):
        asked = failing(monkeypatch, "imagenetfs.source", "open", errno.ESTALE, 2)
        assert work()
        assert asked() >= 3
        monkeypatch.undo()
    failing(monkeypatch, "imagenetfs.source", "stat", errno.ESTALE, 2)
    assert source.status(b"a.tar") is not None


def test_an_empty_answer_is_no_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _source(root).open(b"a.tar")
    answers = iter([b"", OLD[100:150], b"", OLD[100:200], OLD[200:400]])
    patch_os(monkeypatch, "imagenetfs.source", pread=lambda fd, length, offset: next(answers))
    assert file.read(100, 300) == OLD[100:400]
    patch_os(monkeypatch, "imagenetfs.source", pread=lambda fd, length, offset: b"")
    with pytest.raises(SourceReadError, match="Input/output"):
        file.read_up_to(100, 300)


def test_a_stale_descriptor_is_opened_anew(root: Path) -> None:
    """The same file under a new handle: as after a server's restart."""
    source = _source(root)
    file = source.open(b"a.tar")
    bad = os.open("/proc/self/mem", os.O_RDONLY)  # pread at 0 of it is EIO
    os.dup2(bad, file.fd)
    os.close(bad)
    assert file.read(0, 1000) == OLD[:1000]
    assert os.readlink(f"/proc/self/fd/{file.fd}") == str(root / "a.tar")


# --- another file ---------------------------------------------------------------------------------


def _replace(root: Path, data: bytes) -> None:
    (root / "new").write_bytes(data)
    os.replace(root / "new", root / "a.tar")


def _overwrite(root: Path, data: bytes) -> None:
    with open(root / "a.tar", "r+b") as file:
        file.write(data)


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
@pytest.mark.parametrize(
    "change",
    [
        lambda root: _replace(root, NEW),
        lambda root: _replace(root, OLD + OLD),
        lambda root: _overwrite(root, NEW),
        lambda root: os.truncate(root / "a.tar", 5000),
        lambda root: (root / "a.tar").unlink(),
    ],
    ids=["replaced", "replaced by a longer one", "overwritten", "cut", "removed"],
)
@pytest.mark.parametrize("is_open", [True, False], ids=["open", "not open"])
def test_another_file_is_refused(
    root: Path, change: Callable[[Path], None], is_open: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """S4 S9: at the first read that shows it."""
    source = _source(root)
    file: SourceFile | None = source.open(b"a.tar")
    change(root)
    if not is_open:
        forget_files(source)
        file = None
    for _ in range(3):
        with pytest.raises(SourceReadError):
            (file or source.open(b"a.tar")).read(0, 1000)
    assert caplog.text.count("a.tar is another file now") <= 1
    assert source.open(b"b.tar").read(0, 1000) == OLD[:1000]
    again = _source(root)  # as after a remount
    again.recognise = None
    if (root / "a.tar").exists():
        now = (root / "a.tar").read_bytes()
        assert again.open(b"a.tar").read(0, len(now)) == now


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
def test_the_log_tells_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = _source(root)
    source.open(b"a.tar")
    _replace(root, NEW)
    for _ in range(3):
        with pytest.raises(SourceReplacedError, match="unmount and mount again"):
            source.open(b"a.tar").read(0, 1000)
        with pytest.raises(SourceReplacedError), source.opened(b"a.tar"):
            pass
        forget_files(source)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
def test_one_process_tells_all(root: Path) -> None:
    source = _source(root)
    source.open(b"a.tar")
    source.open(b"b.tar")
    pid = os.fork()
    if pid == 0:
        _replace(root, NEW)
        try:
            source.open(b"a.tar").read(0, 100)
        except SourceReplacedError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    source.recognise = lambda file: True  # whatever this process would think
    with pytest.raises(SourceReplacedError):
        source.open(b"a.tar")
    source.open(b"b.tar")


def test_a_touch_changes_nothing(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = _source(root)
    file = source.open(b"a.tar")
    os.utime(root / "a.tar", (1, 1))
    assert file.read(0, 1000) == OLD[:1000]
    (root / "a.tar").chmod(0o640)
    assert source.open(b"a.tar").read(5, 1000) == OLD[5:1005]
    _replace(root, OLD)  # another inode, the same contents
    assert source.open(b"a.tar").read(5, 1000) == OLD[5:1005]
    assert caplog.text == ""


def test_what_was_found_right_is_not_looked_at_twice(root: Path) -> None:
    source, looks = _source(root), list[bytes]()

    def recognise(file: SourceFile) -> bool:
        looks.append(file.path)
        return True

    source.recognise = recognise
    for _ in range(5):
        source.open(b"a.tar").read(0, 10)
        with source.opened(b"a.tar") as file:
            file.read(0, 10)
        forget_files(source)
    assert looks == [b"a.tar"]


def test_a_file_that_is_read_through_is_one_file(root: Path) -> None:
    """Nobody can recognise what has no table yet."""
    source = Source(root)
    with source.opened(b"a.tar") as file:
        assert not file.has_changed()
        _overwrite(root, NEW)
        assert file.has_changed()
        with pytest.raises(SourceChangedError, match="was written to"):
            file.read(0, 10)
    _replace(root, OLD)
    with source.opened(b"a.tar") as file:
        assert file.read(0, 10) == OLD[:10]


def test_a_loose_file_is_known_by_its_size(root: Path) -> None:
    """S10: nothing else is known of it."""
    source = Source(root)
    file = source.open(b"a.tar")
    _replace(root, NEW)
    assert file.read(0, 1000) == OLD[:1000]  # read before that showed
    assert file.read(0, 1000) == NEW[:1000]
    _replace(root, NEW[:-1])
    with pytest.raises(SourceChangedError):
        file.read(0, 1000)


# --- asked again ----------------------------------------------------------------------------------


def test_paths_are_looked_at_again_after_a_while(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    source = _source(root, revalidate=60.0, clock=clock)
    source.open(b"a.tar")
    asked = failing(monkeypatch, "imagenetfs.source", "open", errno.EACCES, 1)
    clock.advance(59.9)
    source.check_access(b"a.tar")
    assert asked() == 0
    clock.advance(0.2)
    with pytest.raises(SourceUnreadableError, match=r"you may not read .*/a\.tar"):
        source.check_access(b"a.tar")
    source.check_access(b"a.tar")  # it may again
    assert asked() == 2
    source.check_access(b"a.tar")
    assert asked() == 2


def test_directories_may_change(root: Path) -> None:
    clock = FakeClock()
    source = _source(root, revalidate=60.0, clock=clock)
    source.check_access(b"")
    (root / "more").write_bytes(b"")
    clock.advance(61)
    source.check_access(b"")
    (root / "d").mkdir()
    source.check_access(b"d")
    (root / "d").rmdir()
    clock.advance(61)
    with pytest.raises(SourceChangedError, match="no longer there"):
        source.check_access(b"d")


# --- what is known --------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_known_against_a_dictionary() -> None:
    known = SharedFileState()
    expected: dict[bytes, FileIdentity | str] = {}
    for n in range(3000):
        path, identity = b"tars/n%08d.tar" % (n % 1000), (n, n, n, n)
        if n % 7 == 0:
            assert known.found_changed(path) is (expected.get(path) != "changed")
            expected[path] = "changed"
        else:
            known.found_right(path, identity)
            if expected.get(path) != "changed":
                expected[path] = identity
    for path, what in expected.items():
        assert known.has_changed(path) is (what == "changed")
        for identity in ((n, n, n, n) for n in range(0, 3000, 97)):
            assert known.is_right(path, identity) is (what == identity)
    assert not known.has_changed(b"another")
    known.close()


@pytest.mark.slow
def test_one_is_the_first() -> None:
    known, children = SharedFileState(), []
    ready, go = os.pipe()
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            os.close(go)
            os.read(ready, 1)
            os._exit(known.found_changed(b"a.tar"))
        children.append(pid)
    os.close(go)
    assert sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children) == 1
    os.close(ready)
    first: list[bool] = []
    threads = [
        threading.Thread(target=lambda: first.append(known.found_changed(b"b"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(first) == 1
    known.close()


def test_what_may_not_be_read_any_more() -> None:
    known = SharedFileState()
    assert not known.some_refused
    assert known.permit(b"a") is False
    assert [known.refuse(path) for path in (b"a", b"b", b"a")] == [True, True, False]
    known.found_right(b"a", (1, 2, 3, 4))
    assert known.is_refused(b"a")
    assert not known.is_refused(b"c")
    assert known.is_right(b"a", (1, 2, 3, 4))
    assert [known.permit(path) for path in (b"a", b"a")] == [True, False]
    assert known.some_refused
    assert known.permit(b"b")
    assert not known.some_refused
    known.close()


@pytest.mark.slow
def test_more_files_than_the_first_level_has_slots() -> None:
    """Each is known for itself, however many there are, and none is said to be new twice."""
    known, count = SharedFileState(), 80_000
    paths = [b"%d.tar" % number for number in range(count)]
    assert all(known.found_changed(path) for path in paths[::1000])
    for path in paths:
        known.note_permitted(path, 7)
    assert all(known.is_permitted(path, 7) for path in paths)
    assert not known.is_permitted(b"another", 7)
    assert not any(known.found_changed(path) for path in paths[::1000])
    assert [known.has_changed(path) for path in paths[:1001:500]] == [True, False, True]
    known.close()
