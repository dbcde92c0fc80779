"""The faces of a tree that the state machine asks: the library in this process, and a mount."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import random
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import imagenetfs
from tests.helpers.bench import is_running, until
from tests.helpers.capabilities import without_override
from tests.helpers.children import kill
from tests.helpers.mounts import mounted

REVALIDATE = 0.05
PREFIX = "user.imagenetfs."
_GETDENTS64 = {"x86_64": 217, "aarch64": 61}
_libc = ctypes.CDLL(None, use_errno=True)


class Seen(NamedTuple):
    """What stat says."""

    kind: int
    size: int
    mtime: float


class Face(Protocol):
    """Every failure is an OSError with an errno."""

    def names(self, path: str, choose: random.Random) -> list[str]: ...

    def read(self, path: str, offset: int, length: int) -> bytes: ...

    def stat(self, path: str) -> Seen: ...

    def attributes(self, path: str) -> dict[str, bytes] | None: ...

    def link(self, path: str) -> bytes | None: ...

    def forget(self, path: str) -> None: ...

    def kill(self, choose: random.Random) -> None: ...

    def close(self) -> None: ...


@contextlib.contextmanager
def _as_errno() -> Iterator[None]:
    """The library's errors as the errno that a mount has for them (docs/semantics.md)."""
    try:
        yield
    except PermissionError as error:
        raise OSError(errno.EACCES, str(error)) from error
    except FileNotFoundError as error:
        raise OSError(errno.ENOENT, str(error)) from error
    except imagenetfs.ImagenetfsError as error:
        raise OSError(errno.EIO, str(error)) from error


class Library:
    """``imagenetfs.open``. It has the rights that modes give, though the test be root's."""

    def __init__(self, source: Path, cache: Path | None) -> None:
        more = {"cache_dir": cache, "cache_size": "16M", "keep_free": "0"} if cache else {}
        with without_override():
            self._tree = imagenetfs.open(
                source,
                index_dir="none",
                revalidate=REVALIDATE,
                **more,  # type: ignore[arg-type]  # they are settings of it
            )

    def names(self, path: str, choose: random.Random) -> list[str]:
        with _as_errno(), without_override():
            if choose.random() < 0.5:
                return [entry.name for entry in self._tree.entries(path)]
            return self._tree.listdir(path)

    def read(self, path: str, offset: int, length: int) -> bytes:
        with _as_errno(), without_override():
            if offset % 2:
                return self._tree.read_ranges([(path, offset, length)])[0]
            with self._tree.open(path) as file:
                file.seek(offset)
                return file.read(length)

    def stat(self, path: str) -> Seen:
        with _as_errno(), without_override():
            status = self._tree.stat(path, follow_symlinks=False)
            return Seen(stat.S_IFMT(status.st_mode), status.st_size, status.st_mtime)

    def attributes(self, path: str) -> None:
        return None

    def link(self, path: str) -> None:
        return None

    def forget(self, path: str) -> None:
        return None

    def kill(self, choose: random.Random) -> None:
        return None

    def close(self) -> None:
        self._tree.close()


class Mount:
    """A mount of two workers, whose server has the rights that modes give."""

    def __init__(self, source: Path, mountpoint: Path, cache: Path | None) -> None:
        plan: dict[str, Any] = {"workers": 2, "revalidate": REVALIDATE}
        if cache:
            plan |= {"cache_dir": cache, "cache_size": 16 << 20}
        if os.geteuid() == 0:
            plan["before"] = "from tests.helpers.capabilities import drop_override as d; d()"
        self.one = mounted(source, mountpoint, **plan)

    def _at(self, path: str) -> Path:
        return self.one.mountpoint / path

    def names(self, path: str, choose: random.Random) -> list[str]:
        if choose.random() < 0.3:
            return self._shown(path, os.listdir(self._at(path)))
        size = choose.choice([300, 320, 700, 2000, 20_000])
        fd = os.open(self._at(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            places = list(_entries(fd, size))
            for _ in range(2):  # from a place within it the rest comes, and nothing else
                at = choose.randrange(len(places))
                os.lseek(fd, places[at][1], os.SEEK_SET)
                again = list(_entries(fd, choose.choice([300, 5000])))
                assert again == places[at + 1 :], (path, size, at)
        finally:
            os.close(fd)
        found = [os.fsdecode(name) for name, _ in places if name not in (b".", b"..")]
        return self._shown(path, found)

    @staticmethod
    def _shown(path: str, names: list[str]) -> list[str]:
        return [name for name in names if path or name != ".imagenetfs"]

    def read(self, path: str, offset: int, length: int) -> bytes:
        fd = os.open(self._at(path), os.O_RDONLY)
        try:
            data = b""
            while len(data) < length:  # as read(2) may give less within a file
                part = os.pread(fd, length - len(data), offset + len(data))
                if not part:
                    break
                data += part
            return data
        finally:
            os.close(fd)

    def stat(self, path: str) -> Seen:
        status = os.lstat(self._at(path))
        return Seen(stat.S_IFMT(status.st_mode), status.st_size, status.st_mtime)

    def attributes(self, path: str) -> dict[str, bytes]:
        at = self._at(path)
        names = os.listxattr(at, follow_symlinks=False)
        return {name.removeprefix(PREFIX): os.getxattr(at, name) for name in names}

    def link(self, path: str) -> bytes:
        return os.fsencode(os.readlink(self._at(path)))

    def forget(self, path: str) -> None:
        fd = os.open(self._at(path), os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    def kill(self, choose: random.Random) -> None:
        """A request that a dying worker has taken is aborted: it is dead before the next one."""
        pid = choose.choice(self.one.worker_pids())
        kill(pid)
        assert until(lambda: not is_running(pid))

    def close(self) -> None:
        assert self.one.close() == 0


def _entries(fd: int, size: int) -> Iterator[tuple[bytes, int]]:
    """Name and cookie of each entry from where the directory stands, by a buffer of ``size``."""
    buffer = ctypes.create_string_buffer(size)
    while True:
        got = _libc.syscall(_GETDENTS64[platform.machine()], fd, buffer, size)
        if got < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        if got == 0:
            return
        at = 0
        while at < got:
            _, cookie, length, _ = struct.unpack_from("<QqHB", buffer.raw, at)
            yield buffer.raw[at + 19 : at + length].split(b"\0", 1)[0], cookie
            at += length
