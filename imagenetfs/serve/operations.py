"""The FUSE handlers: they translate and never decide. What is where, the tree and the index know.

Handlers are plain functions; :func:`_handler` makes them the coroutines that pyfuse3 wants, counts them,
turns the project's errors into errno and anything else, a wrong answer's type too, into EIO.
File handles are inode numbers (there is no open state), but for the live files, whose handle is a slot.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any

import pyfuse3

from imagenetfs.errors import ImagenetfsError, SourceChangedError
from imagenetfs.serve.attributes import AttributeFiller
from imagenetfs.serve.board import REQUESTS, Board, Cell
from imagenetfs.serve.errnos import EXPECTED, errno_of
from imagenetfs.serve.live import LiveFiles
from imagenetfs.serve.reader import Reader
from imagenetfs.tree.inode import InodeKind, kind_of
from imagenetfs.tree.node import FixedFile, LiveFile
from imagenetfs.tree.tree import Tree

log = logging.getLogger(__name__)

Method = Callable[..., Any]

_LIVE = 1 << 63
"""Marks a file handle as a text of the board; no inode has this bit."""


def _handler(counted: str, answer: type | None = None) -> Callable[[Method], Any]:
    """The coroutine that pyfuse3 awaits, around a plain method that answers with an ``answer``."""
    cell = Cell.FIRST_REQUEST + REQUESTS.index(counted)

    def decorate(method: Method) -> Callable[..., Coroutine[Any, Any, Any]]:
        @wraps(method)
        async def shell(self: Operations, *arguments: Any) -> Any:
            row = self.row
            try:
                row[cell] += 1
                row[Cell.BUSY_SINCE] = time.monotonic_ns()
                result = method(self, *arguments)
                row[Cell.BUSY_SINCE] = 0
            except Exception as error:
                row[Cell.BUSY_SINCE] = 0
                raise self.refusal(method.__name__, arguments, error) from None
            if answer is not None and type(result) is not answer:
                row[Cell.ERRORS] += 1
                log.error("%s%r answered with %r", method.__name__, arguments[:3], type(result))
                raise pyfuse3.FUSEError(errno.EIO)
            return result

        return shell

    return decorate


class Operations(pyfuse3.Operations):
    """One worker's handlers."""

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, tree: Tree, reader: Reader, live: LiveFiles, board: Board) -> None:
        super().__init__()
        self._tree = tree
        self._reader = reader
        self._live = live
        self._board = board
        self._filler = AttributeFiller()
        self.serve_as(0)

    def serve_as(self, worker: int) -> None:
        """Be worker number ``worker``: write to its row of the board."""
        self._worker = worker
        self.row = self._board.row(worker)

    def refusal(self, name: str, arguments: Sequence[Any], error: Exception) -> pyfuse3.FUSEError:
        """The errno of an error; logged unless it is an ordinary answer."""
        if isinstance(error, pyfuse3.FUSEError):
            return error
        if not isinstance(error, ImagenetfsError):
            self.row[Cell.ERRORS] += 1
            log.error("%s%r failed", name, tuple(arguments[:3]), exc_info=error)
            return pyfuse3.FUSEError(errno.EIO)
        number = errno_of(error)
        if not isinstance(error, EXPECTED):
            self.row[Cell.ERRORS] += 1
            log.warning("%s%r: %s (%s)", name, tuple(arguments[:2]), error, os.strerror(number))
        return pyfuse3.FUSEError(number)

    # --- names and attributes ---------------------------------------------------------------------

    @_handler("lookup", pyfuse3.EntryAttributes)
    def lookup(self, parent: int, name: bytes, ctx: object = None) -> pyfuse3.EntryAttributes:
        if kind_of(parent) == InodeKind.CLASS:
            self._touch(parent)
        inode = self._tree.lookup(parent, name)
        keep = not self._tree.is_live(inode)
        return self._filler.fill(inode, self._tree.attributes(inode), keep)

    @_handler("getattr", pyfuse3.EntryAttributes)
    def getattr(self, inode: int, ctx: object = None) -> pyfuse3.EntryAttributes:
        keep = not self._tree.is_live(inode)
        return self._filler.fill(inode, self._tree.attributes(inode), keep)

    @_handler("readlink", bytes)
    def readlink(self, inode: int, ctx: object = None) -> bytes:
        return self._tree.link_target(inode)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Nothing is kept for an inode, so there is nothing to forget; nor would anybody hear why not."""
        try:
            self._forgotten(inode_list)
        except Exception:
            log.exception("forget failed")

    def _forgotten(self, inode_list: Sequence[tuple[int, int]]) -> None:
        self.row[_FORGET] += 1

    # --- directories ------------------------------------------------------------------------------

    @_handler("opendir", int)
    def opendir(self, inode: int, ctx: object = None) -> int:
        if kind_of(inode) == InodeKind.CLASS:
            self._touch(inode)
        self._tree.listing(inode)  # builds the class's index now, so that errors show at opendir
        return inode

    def _touch(self, inode: int) -> None:
        found = self._tree.class_of(inode)
        if found is not None:
            self._board.touch(found[0])

    @_handler("readdir", type(None))
    def readdir(self, inode: int, start: int, token: pyfuse3.ReaddirToken) -> None:
        fill, is_lazy, position = self._filler.fill, self._tree.is_lazy, start
        for name, number, attributes in self._tree.listing(inode).entries(start):
            position += 1
            keep = number >= _FIRST_MEMBER or not is_lazy(number)
            if not pyfuse3.readdir_reply(token, name, fill(number, attributes, keep), position):
                return

    @_handler("releasedir", type(None))
    def releasedir(self, fh: int) -> None:
        pass

    # --- files ------------------------------------------------------------------------------------

    @_handler("open", pyfuse3.FileInfo)
    def open(self, inode: int, flags: int, ctx: object = None) -> pyfuse3.FileInfo:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC):
            raise pyfuse3.FUSEError(errno.EROFS)
        node = self._tree.file(inode)
        if isinstance(node, LiveFile):
            handle = self._board.keep_text(self._worker, self._live.contents(node.name))
            return pyfuse3.FileInfo(fh=_LIVE | handle, direct_io=True)
        if node is None:
            self._reader.check(inode)
            self.row[Cell.IMAGES] += 1
        return pyfuse3.FileInfo(fh=inode, keep_cache=True)

    @_handler("read", bytes)
    def read(self, fh: int, offset: int, size: int) -> bytes:
        if kind_of(fh) == InodeKind.FILE:
            data = self._reader.read(fh, offset, size)
        elif fh & _LIVE:
            return self._board.text(fh ^ _LIVE, offset, size)
        else:
            node = self._tree.file(fh)
            assert isinstance(node, FixedFile)
            data = node.contents.read(offset, size)
            # The kernel asks up to the page that holds the end; anything shorter would be a short read.
            if len(data) != max(0, min(size, node.contents.size() - offset)):
                raise SourceChangedError(f"a generated file changed its length ({fh}).")
        self.row[Cell.BYTES] += len(data)
        return data

    @_handler("release", type(None))
    def release(self, fh: int) -> None:
        pass

    async def flush(self, fh: int) -> None:
        """Nothing is ever written; ENOSYS makes the kernel stop asking."""
        raise pyfuse3.FUSEError(errno.ENOSYS)

    # --- the rest ---------------------------------------------------------------------------------

    @_handler("statfs", pyfuse3.StatvfsData)
    def statfs(self, ctx: object = None) -> pyfuse3.StatvfsData:
        answer = pyfuse3.StatvfsData()
        answer.f_bsize = answer.f_frsize = 4096
        answer.f_blocks = -(-self._tree.bytes_of_archives() // 4096)
        answer.f_bfree = answer.f_bavail = 0
        answer.f_files = self._tree.archive_count()
        answer.f_ffree = answer.f_favail = 0
        answer.f_namemax = 255
        return answer

    @_handler("xattr", bytes)
    def getxattr(self, inode: int, name: bytes, ctx: object = None) -> bytes:
        return self._tree.extended_value(inode, name)

    @_handler("xattr", list)
    def listxattr(self, inode: int, ctx: object = None) -> list[bytes]:
        return list(self._tree.extended(inode))

    @_handler("other", bool)
    def access(self, inode: int, mode: int, ctx: object = None) -> bool:
        return not mode & os.W_OK


_FORGET = Cell.FIRST_REQUEST + REQUESTS.index("forget")
_FIRST_MEMBER = InodeKind.FILE << 60


def _read_only(name: str) -> Any:
    async def refuse(self: Operations, *arguments: Any) -> Any:
        raise pyfuse3.FUSEError(errno.EROFS)

    refuse.__name__ = name
    refuse.__doc__ = "EROFS: the mount is read-only."
    return refuse


_WRITING = (
    *("setattr", "mknod", "mkdir", "unlink", "rmdir", "symlink", "rename", "link"),
    *("create", "write", "fsync", "setxattr", "removexattr"),
)
for _name in _WRITING:
    setattr(Operations, _name, _read_only(_name))
