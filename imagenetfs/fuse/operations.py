"""The FUSE handlers: they translate and never decide. What is where, the tree and the index know.

A handler is a plain function of an inode and the request's arguments (see
:mod:`imagenetfs.fuse.protocol`); it returns the answer's bytes.
:meth:`Operations.answer` counts it, turns the project's errors into errno and anything
else, an answer of a wrong type too, into EIO.

There is no open state: OPEN and OPENDIR get ENOSYS, so that the kernel stops asking and a file that
is read again costs no request at all (Linux 3.12 and later). A live file (status.json) is another
inode each time it is looked up, so that the chunks of one reader fit together.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Mapping

from imagenetfs.counters import Counter
from imagenetfs.errors import ImagenetfsError, SourceChangedError, TreeError
from imagenetfs.fuse.attributes import AttributePacker
from imagenetfs.fuse.channel import Buffer, Channel
from imagenetfs.fuse.errnos import errno_of, was_logged
from imagenetfs.fuse.protocol import (
    CACHE_DIRECTORY,
    KEEP_CACHE,
    OPEN_OUT,
    READ_IN,
    READ_RANGE,
    STATFS_OUT,
    UNANSWERED,
    WRITING,
    XATTR_IN,
    XATTR_OUT,
    Opcode,
)
from imagenetfs.fuse.reply_pipe import SplicedReply
from imagenetfs.fuse.stats import REQUESTS, SharedStats
from imagenetfs.fuse.status_files import StatusFiles
from imagenetfs.read.access_guard import AccessGuard
from imagenetfs.read.backend import MIN_SPLICE_BYTES, FileExtent
from imagenetfs.read.reader import Reader
from imagenetfs.tree.inode import KIND_SHIFT, InodeKind, kind_of, live_handle, live_inode
from imagenetfs.tree.listing import FILE_MODE, Attributes
from imagenetfs.tree.node import FixedFile
from imagenetfs.tree.tree import Tree

log = logging.getLogger(__name__)

Handler = Callable[[int, memoryview], Buffer | SplicedReply]

_ANSWERS = (bytes, memoryview, SplicedReply)

_BLOCK = 4096
_NAME_MAX = 255

# Looked up once: with each request, that would cost more than what is done with them.
_BUSY_SINCE, _READ_SINCE = Counter.BUSY_SINCE, Counter.READ_SINCE
_IMAGES, _BYTES = Counter.IMAGES, Counter.BYTES
_FILE = InodeKind.FILE


class Refused(Exception):
    """An answer that only the protocol knows: an errno."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


class Operations:
    """One worker's handlers."""

    def __init__(
        self,
        tree: Tree,
        reader: Reader,
        live: StatusFiles,
        stats: SharedStats,
        permission: AccessGuard,
        packer: AttributePacker | None = None,
    ) -> None:
        self._tree = tree
        self._reader = reader
        self._live = live
        self._failures = live.failures
        self._stats = stats
        self._permit = permission.check
        self._refusals = permission.refusals
        self._packer = AttributePacker() if packer is None else packer
        self._entries = self._packer.for_directories()
        counted: Mapping[Opcode, tuple[Handler, str]] = {
            Opcode.LOOKUP: (self.lookup, "lookup"),
            Opcode.GETATTR: (self.getattr, "getattr"),
            Opcode.READLINK: (self.readlink, "readlink"),
            Opcode.READ: (self.read, "read"),
            Opcode.READDIRPLUS: (self.readdirplus, "readdir"),
            Opcode.STATFS: (self.statfs, "statfs"),
            Opcode.GETXATTR: (self.getxattr, "xattr"),
            Opcode.LISTXATTR: (self.listxattr, "xattr"),
            Opcode.DESTROY: (self.destroy, "other"),
        }
        self._handlers: dict[int, tuple[Handler, int]] = {
            opcode: (handler, _counter(name)) for opcode, (handler, name) in counted.items()
        }
        self.serve_as(0)

    def answer_opens(self, files: bool, directories: bool) -> None:
        """Answer OPEN or OPENDIR, for a kernel that takes ENOSYS for an error of theirs."""
        if files:
            self._handlers[Opcode.OPEN] = (self.open, _OTHER)
            self._handlers[Opcode.RELEASE] = (self.release, _OTHER)
        if directories:
            self._handlers[Opcode.OPENDIR] = (self.opendir, _OTHER)
            self._handlers[Opcode.RELEASEDIR] = (self.release, _OTHER)

    def serve_as(self, worker: int, channel: Channel | None = None) -> None:
        """Be worker number ``worker``: write to its row of the statistics, and
        answer through its channel.
        """
        self._worker = worker
        self._channel = channel
        self.row = self._stats.row(worker)

    def answer(
        self, opcode: int, inode: int, arguments: memoryview
    ) -> Buffer | SplicedReply | int | None:
        """The answer to a request, an errno, or None where no reply is expected."""
        row = self.row
        found = self._handlers.get(opcode)
        if found is None:
            return self._answer_without_handler(opcode)
        handler, cell = found
        row[cell] += 1
        row[_BUSY_SINCE] = time.monotonic_ns()
        try:
            result = handler(inode, arguments)
        except Refused as refused:
            return refused.number
        except Exception as error:
            return self._refusal(handler, inode, error)
        finally:
            row[_BUSY_SINCE] = row[_READ_SINCE] = 0
        if type(result) not in _ANSWERS:
            row[Counter.ERRORS] += 1
            log.error("%s(%#x) answered with %r", handler.__name__, inode, type(result))
            return errno.EIO
        return result

    def _answer_without_handler(self, opcode: int) -> int | None:
        if opcode in UNANSWERED:  # nothing is kept for an inode, so there is nothing to forget
            self.row[_FORGET] += 1
            return None
        self.row[_OTHER] += 1
        return errno.EROFS if opcode in WRITING else errno.ENOSYS

    def _refusal(self, handler: Handler, inode: int, error: Exception) -> int:
        """The errno of an error; logged unless it is an ordinary answer."""
        name = handler.__name__
        if not isinstance(error, ImagenetfsError):
            self.row[Counter.ERRORS] += 1
            log.error("%s(%#x) failed", name, inode, exc_info=error)
            return errno.EIO
        number = errno_of(error)
        if isinstance(error, TreeError):
            return number
        self.row[Counter.ERRORS] += 1
        path = getattr(error, "path", None)
        is_new = path is None or self._failures.note(path, type(error).__name__, str(error))
        if is_new and not was_logged(error):
            log.warning("%s(%#x): %s (%s)", name, inode, error, os.strerror(number))
        return number

    # --- names and attributes ---------------------------------------------------------------------

    def lookup(self, parent: int, arguments: memoryview) -> bytes:
        """struct fuse_entry_out; the arguments are the name, ended by a zero byte."""
        if len(arguments) - 1 > _NAME_MAX:
            raise Refused(errno.ENAMETOOLONG)
        self._permit(parent)
        try:
            inode = self._tree.lookup(parent, bytes(arguments[:-1]))
        finally:
            if kind_of(parent) == InodeKind.CLASS:
                self._touch(parent)
        self._permit(inode)
        live = self._tree.live_file(inode)
        if live is None:
            return self._packer.entry(inode, self._tree.attributes(inode))
        handle = self._stats.keep_text(self._worker, self._live.contents(live.name))
        inode = live_inode(handle)
        return self._packer.entry(inode, self._attributes(inode), keep=False)

    def getattr(self, inode: int, arguments: memoryview) -> bytes:
        """struct fuse_attr_out."""
        keep = self._tree.live_file(inode) is None
        return self._packer.attributes(inode, self._attributes(inode), keep)

    def _attributes(self, inode: int) -> Attributes:
        if kind_of(inode) == InodeKind.LIVE:
            size = len(self._stats.text(live_handle(inode)))
            return Attributes(FILE_MODE, size, time.time_ns(), 1)
        return self._tree.attributes(inode)

    def readlink(self, inode: int, arguments: memoryview) -> bytes:
        """The target."""
        return self._tree.link_target(inode)

    # --- directories ------------------------------------------------------------------------------

    def _touch(self, inode: int) -> None:
        """Have the rest of its split indexed; not before the class that a reader waits for is."""
        found = self._tree.class_of(inode)
        if found is not None:
            self._stats.touch(found[0])

    def readdirplus(self, inode: int, arguments: memoryview) -> memoryview:
        """Several struct fuse_direntplus; none at the end."""
        _, position, size, *_ = READ_IN.unpack_from(arguments)
        self._permit(inode)
        try:
            listing = self._tree.listing(inode)
        finally:
            if position == 0 and kind_of(inode) == InodeKind.CLASS:
                self._touch(inode)
        return self._entries.entries(inode, listing, position, size)

    # --- files ------------------------------------------------------------------------------------

    def read(self, inode: int, arguments: memoryview) -> Buffer | SplicedReply:
        """Exactly the bytes that lie within the file."""
        offset, size = READ_RANGE.unpack_from(arguments)
        row = self.row
        kind = inode >> KIND_SHIFT
        if kind == _FILE:
            found = self._read_member(inode, offset, size)
            if isinstance(found, SplicedReply):
                return found
        elif kind == InodeKind.LIVE:
            found = self._stats.text(live_handle(inode))[offset : offset + size]
        else:
            found = self._read_generated(inode, offset, size)
        row[_BYTES] += len(found)
        return found

    def _read_member(self, inode: int, offset: int, size: int) -> Buffer | SplicedReply:
        row = self.row
        row[_READ_SINCE] = row[_BUSY_SINCE]
        if self._refusals[0]:
            self._permit(inode)
        found = self._reader.find(inode, offset, size)
        data: Buffer | SplicedReply | None = None
        if not isinstance(found, FileExtent):
            data = found
        else:
            file, start, length = found
            channel = self._channel
            if length >= MIN_SPLICE_BYTES and channel is not None:
                data = channel.reply_pipe.fill(channel.unique, file, start, length)
                if data is not None:
                    row[_BYTES] += length
            if data is None:
                data = found.read()
        if offset == 0:
            row[_IMAGES] += 1
        return data

    def _read_generated(self, inode: int, offset: int, size: int) -> bytes:
        self._permit(inode)
        node = self._tree.file(inode)
        if not isinstance(node, FixedFile):  # a live file is another inode once it is looked up
            raise TypeError(f"inode {inode:#x} is {node!r}")
        data = node.contents.read(offset, size)
        # The kernel asks up to the page that holds the end; anything shorter would be a short read.
        if len(data) != max(0, min(size, node.contents.size() - offset)):
            raise SourceChangedError(f"a generated file changed its length ({inode:#x}).")
        return data

    # --- opening, for old kernels alone -----------------------------------------------------------

    def open(self, inode: int, arguments: memoryview) -> bytes:
        """struct fuse_open_out; there is nothing to open, so every handle is 0."""
        return OPEN_OUT.pack(0, KEEP_CACHE, 0)

    def opendir(self, inode: int, arguments: memoryview) -> bytes:
        """struct fuse_open_out."""
        return OPEN_OUT.pack(0, KEEP_CACHE | CACHE_DIRECTORY, 0)

    def release(self, inode: int, arguments: memoryview) -> bytes:
        """Nothing was opened."""
        return b""

    # --- the rest ---------------------------------------------------------------------------------

    def statfs(self, inode: int, arguments: memoryview) -> bytes:
        """struct fuse_statfs_out: the archives' bytes, nothing free."""
        blocks = -(-self._tree.bytes_of_archives() // _BLOCK)
        return STATFS_OUT.pack(blocks, 0, 0, self._tree.archive_count(), 0, _BLOCK, 255, _BLOCK, 0)

    def getxattr(self, inode: int, arguments: memoryview) -> bytes:
        """The value; its size where the reader's buffer is of 0 bytes."""
        self._permit(inode)
        room, _ = XATTR_IN.unpack_from(arguments)
        name = bytes(arguments[XATTR_IN.size : -1])
        return _sized(self._tree.extended_value(inode, name), room)

    def listxattr(self, inode: int, arguments: memoryview) -> bytes:
        """The names, each ended by a zero byte; their size where the buffer is of 0 bytes."""
        self._permit(inode)
        room, _ = XATTR_IN.unpack_from(arguments)
        return _sized(b"".join(name + b"\0" for name in self._tree.extended(inode)), room)

    def destroy(self, inode: int, arguments: memoryview) -> bytes:
        """The kernel's last word."""
        return b""


def _counter(name: str) -> int:
    return Counter.FIRST_REQUEST + REQUESTS.index(name)


_FORGET, _OTHER = _counter("forget"), _counter("other")


def _sized(value: bytes, room: int) -> bytes:
    if not room:
        return XATTR_OUT.pack(len(value), 0)
    if len(value) > room:
        raise Refused(errno.ERANGE)
    return value
