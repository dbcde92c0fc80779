"""The handlers: a read-only view of a directory, in which each request takes
its time and may go wrong.

An inode is the directory's own inode, and is held by an O_PATH descriptor while the
kernel knows it, as a server's file handle would: rename does not matter to it, and
another file never gets its number.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyfuse3
import trio

from tests.helpers.passthrough.behaviour import Behaviour, Fault
from tests.helpers.passthrough.clock import Clock
from tests.helpers.passthrough.permission import (
    READ,
    SEARCH,
    Caller,
    allows,
    caller,
    is_being_killed,
)

_LOOK_SECONDS = 0.05
_PAGE = 4096
_EXCHANGE = 2
_AT_FDCWD = -100


@dataclass(slots=True)
class Node:
    """A file that the kernel knows: its descriptor, one path to it, how often it was looked up, and
    what the kernel was told of its size and times.
    """

    fd: int
    path: str
    lookups: int = 0
    told: tuple[int, ...] = ()


@dataclass(slots=True)
class Handle:
    """An open file or directory."""

    fd: int
    inode: int
    who: Caller
    names: list[str]
    pid: int


class PassThrough(pyfuse3.Operations):
    """See the package."""

    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, directory: str, behaviour: Behaviour, clock: Clock) -> None:
        super().__init__()
        self.behaviour = behaviour
        self.counters: Counter[str] = Counter()
        self.released = trio.Event()
        self.hanging = 0
        self._directory = directory
        self._clock = clock
        root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._nodes = {pyfuse3.ROOT_INODE: Node(root, "", 1)}
        self._handles: dict[int, Handle] = {}
        self._next_handle = 1

    # --- what each request goes through
    # ---------------------------------------------------------------

    async def _request(
        self,
        operation: str,
        path: str,
        size: int = 0,
        at: int = 0,
        *,
        complete: bool = False,
        pid: int | None = None,
    ) -> str | None:
        """Count it, let it take its time, and let it go wrong. Returns ``short`` or ``empty``
        for a read, unless it must be ``complete``. ``pid``: who asks; a request that hangs
        ends when that is killed.
        """
        self.counters[operation] += 1
        behaviour = self.behaviour
        fault = behaviour.fault(operation, path, at, complete=complete)
        if fault is not None:
            self.counters[f"fault.{fault.kind}"] += 1
        if fault is not None and fault.kind == "hang":
            await self._hang(pid)
        await self._clock.pass_through(behaviour.latency, size, behaviour.bandwidth)
        if fault is None or fault.kind == "hang":
            return None
        if fault.kind == "swap":
            self._swap(path, fault)
            return None
        if fault.kind in ("short", "empty"):
            return fault.kind
        raise pyfuse3.FUSEError(getattr(errno, fault.kind))

    async def _hang(self, pid: int | None) -> None:
        released = self.released
        self.hanging += 1
        try:
            while not released.is_set():
                if pid is not None and is_being_killed(pid):
                    raise pyfuse3.FUSEError(errno.EINTR)
                with trio.move_on_after(_LOOK_SECONDS):
                    await released.wait()
        finally:
            self.hanging -= 1

    def release_all(self) -> None:
        """Let go of what hangs; later hangs wait for the next release."""
        self.released.set()
        self.released = trio.Event()

    def _swap(self, path: str, fault: Fault) -> None:
        old, new = (os.fsencode(os.path.join(self._directory, p)) for p in (path, fault.partner))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.renameat2(_AT_FDCWD, old, _AT_FDCWD, new, _EXCHANGE) != 0:
            raise pyfuse3.FUSEError(ctypes.get_errno())

    def _caller(self, ctx: pyfuse3.RequestContext) -> Caller:
        return caller(ctx.uid, ctx.gid, ctx.pid, self.behaviour.groups)

    def _permit(self, who: Caller, fd: int, wanted: int) -> None:
        if not allows(who, fd, wanted, squash_root=self.behaviour.squash_root):
            raise pyfuse3.FUSEError(errno.EACCES)

    # --- names and attributes
    # -------------------------------------------------------------------------

    def _attributes(self, inode: int) -> pyfuse3.EntryAttributes:
        status, entry = os.fstat(self._nodes[inode].fd), pyfuse3.EntryAttributes()
        for name in ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks"):
            setattr(entry, name, getattr(status, name))
        for name in ("st_mtime_ns", "st_ctime_ns", "st_atime_ns"):
            setattr(entry, name, getattr(status, name))
        entry.st_ino = inode
        entry.st_blksize = 1 << 20
        entry.entry_timeout, entry.attr_timeout = 0, self.behaviour.attributes
        self._nodes[inode].told = _times(status)
        return entry

    def _tell_what_is_new(self, inode: int, status: os.stat_result) -> None:
        node = self._nodes[inode]
        if node.told != _times(status):
            pyfuse3.invalidate_inode(inode, attr_only=True)
            node.told = _times(status)

    def _know(self, parent: Node, name: str) -> pyfuse3.EntryAttributes:
        """Look a name up; the kernel holds the inode from now on."""
        try:
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent.fd)
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        inode = os.fstat(fd).st_ino
        node = self._nodes.get(inode)
        if node is None:
            node = self._nodes[inode] = Node(fd, "")
        else:
            os.close(fd)
        node.path = os.path.join(parent.path, name)
        node.lookups += 1
        return self._attributes(inode)

    async def lookup(
        self, parent: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        node, decoded = self._nodes[parent], os.fsdecode(name)
        await self._request("lookup", os.path.join(node.path, decoded), pid=ctx.pid)
        self._permit(self._caller(ctx), node.fd, SEARCH)
        if decoded == "..":
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._know(node, decoded)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for inode, lookups in inode_list:
            node = self._nodes[inode]
            node.lookups -= lookups
            if node.lookups <= 0 and inode != pyfuse3.ROOT_INODE:
                os.close(self._nodes.pop(inode).fd)

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        node = self._nodes[inode]
        await self._request("getattr", node.path, pid=ctx.pid)
        if not os.fstat(node.fd).st_nlink:
            raise pyfuse3.FUSEError(errno.ESTALE)
        return self._attributes(inode)

    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        node = self._nodes[inode]
        await self._request("readlink", node.path, pid=ctx.pid)
        return os.readlink(b"", dir_fd=node.fd)

    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        node = self._nodes[inode]
        await self._request("getxattr", node.path, pid=ctx.pid)
        try:
            return os.getxattr(f"/proc/self/fd/{node.fd}", name)
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None

    async def access(self, inode: int, mode: int, ctx: pyfuse3.RequestContext) -> bool:
        behaviour, who = self.behaviour, self._caller(ctx)
        fd = self._nodes[inode].fd
        wanted = [right for right in (READ, SEARCH) if mode & right]
        return all(allows(who, fd, right, squash_root=behaviour.squash_root) for right in wanted)

    # --- directories
    # ----------------------------------------------------------------------------------

    def _open(self, inode: int, who: Caller, flags: int, pid: int) -> Handle:
        node = self._nodes[inode]
        self._permit(who, node.fd, READ)
        if not os.fstat(node.fd).st_nlink:
            raise pyfuse3.FUSEError(errno.ESTALE)
        fd = os.open(f"/proc/self/fd/{node.fd}", os.O_RDONLY | os.O_CLOEXEC | flags)
        names = sorted(os.listdir(fd)) if flags & os.O_DIRECTORY else []
        return Handle(fd, inode, who, names, pid)

    def _keep(self, handle: Handle) -> int:
        number = self._next_handle
        self._next_handle += 1
        self._handles[number] = handle
        return number

    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        who = self._caller(ctx)
        await self._request("opendir", self._nodes[inode].path, pid=ctx.pid)
        return self._keep(self._open(inode, who, os.O_DIRECTORY, ctx.pid))

    async def readdir(self, fh: int, start: int, token: pyfuse3.ReaddirToken) -> None:
        handle = self._handles[fh]
        node = self._nodes[handle.inode]
        await self._request("readdir", node.path, at=start, pid=handle.pid)
        for position in range(start, len(handle.names)):
            name = handle.names[position]
            try:
                entry = self._know(node, name)
            except pyfuse3.FUSEError:  # removed meanwhile
                continue
            if not pyfuse3.readdir_reply(token, os.fsencode(name), entry, position + 1):
                await self.forget([(entry.st_ino, 1)])
                return

    async def releasedir(self, fh: int) -> None:
        os.close(self._handles.pop(fh).fd)

    # --- files
    # ----------------------------------------------------------------------------------------

    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC):
            raise pyfuse3.FUSEError(errno.EROFS)
        who = self._caller(ctx)
        await self._request("open", self._nodes[inode].path, pid=ctx.pid)
        handle = self._keep(self._open(inode, who, 0, ctx.pid))
        return pyfuse3.FileInfo(fh=handle, direct_io=not self.behaviour.pages)

    async def read(self, fh: int, offset: int, size: int) -> bytes:
        handle = self._handles[fh]
        left = max(0, os.fstat(handle.fd).st_size - offset)
        path = self._nodes[handle.inode].path
        # The kernel's own reads of pages, on behalf of splice(2), which direct_io does not keep
        # from the page cache: a short answer to those would mean the end of the file. An NFS
        # client asks for the rest.
        complete = not (offset | size) % _PAGE
        answer = await self._request("read", path, min(size, left), offset, complete=complete)
        self._permit(handle.who, handle.fd, READ)
        status = os.fstat(handle.fd)
        self._tell_what_is_new(handle.inode, status)
        if not status.st_nlink:  # an NFSv3 server keeps nothing that has no name
            raise pyfuse3.FUSEError(errno.ESTALE)
        data = os.pread(handle.fd, size, offset)
        if answer is not None:
            part = self.behaviour.chance("short", path, offset) if answer == "short" else 0.0
            data = data[: int(len(data) * part)]
        self.counters["bytes"] += len(data)
        return data

    async def release(self, fh: int) -> None:
        os.close(self._handles.pop(fh).fd)

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        of_directory, answer = os.statvfs(self._directory), pyfuse3.StatvfsData()
        for name in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail"):
            setattr(answer, f"f_{name}", getattr(of_directory, f"f_{name}"))
        answer.f_namemax = 255
        return answer


def _times(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
