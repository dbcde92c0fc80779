"""The kernel's FUSE protocol, as far as a read-only file system speaks it: what
comes in, what goes out.

Source of the format: linux/fuse.h (7.31 and later; what is used here has not changed since 7.9).
All numbers are in the machine's own byte order. A request is a header of 40 bytes and its
arguments; a reply a header of 16 bytes and its answer, written in one piece.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct


class Opcode(IntEnum):
    """The requests that are answered, or that need no reply; the rest is ENOSYS or EROFS."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    INIT = 26
    OPENDIR = 27
    RELEASEDIR = 29
    CREATE = 35
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    COPY_FILE_RANGE = 47
    TMPFILE = 51


WRITING = frozenset(
    {
        *(Opcode.SETATTR, Opcode.SYMLINK, Opcode.MKNOD, Opcode.MKDIR, Opcode.UNLINK, Opcode.RMDIR),
        *(Opcode.RENAME, Opcode.RENAME2, Opcode.LINK, Opcode.WRITE, Opcode.SETXATTR),
        *(Opcode.REMOVEXATTR, Opcode.CREATE, Opcode.FALLOCATE, Opcode.COPY_FILE_RANGE),
        Opcode.TMPFILE,
    }
)
"""What would change something: EROFS. The kernel refuses most of it by
itself on a read-only mount.
"""

UNANSWERED = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET})
"""Requests without a reply."""

REQUEST = Struct("=IIQQIIIHH")
"""len, opcode, unique, nodeid, uid, gid, pid, length of extensions (8-byte units), padding."""

REQUEST_HEAD = Struct("=IIQQ")
"""The first four of them: no answer here depends on the others."""

REPLY = Struct("=IiQ")
"""len with this header, -errno or 0, unique."""

READ_IN = Struct("=QQIIQII")
"""fh, offset, size, read_flags, lock_owner, flags, padding; READDIRPLUS asks with it too."""

READ_RANGE = Struct("=8xQI")
"""Offset and size of it, which is all that counts."""

XATTR_IN = Struct("=II")
"""Size of the reader's buffer (0: it only asks how large the value is), padding."""

XATTR_OUT = Struct("=II")
"""Size of the value, padding."""

ATTR = Struct("=QQQQQQIIIIIIIIII")
"""ino, size, blocks; atime, mtime, ctime (s), then their nanoseconds; mode, nlink, uid,
gid, rdev, blksize, flags.
"""

ENTRY_HEAD = Struct("=QQQQII")
"""nodeid, generation, seconds that name and attributes are valid, the
nanoseconds of both; then ATTR.
"""

ATTR_HEAD = Struct("=QII")
"""Seconds that the attributes are valid, nanoseconds, padding; then ATTR."""

STATFS_OUT = Struct("=QQQQQIIII24x")
"""blocks, bfree, bavail, files, ffree, bsize, namelen, frsize, padding, spare."""

BACKGROUND = 256
"""Readahead and direct reads that the kernel may have under way at once; 12 by default. What an
ordinary user gets of it, /sys/module/fuse/parameters/max_user_bgreq says.
"""

_FORGET_ENTRY = 3
"""enum fuse_notify_code; it stands where a reply has its error; it answers no request, so unique
is 0.
"""

_ENTRY_NOTICE = Struct("=QII")
"""Directory, length of the name, flags; the name follows, ended by a zero byte."""

OPEN_OUT = Struct("=QII")
"""struct fuse_open_out: a handle of the server's own, open_flags, padding."""

KEEP_CACHE, CACHE_DIRECTORY = 1 << 1, 1 << 3
"""open_flags: what the kernel holds of the file, or of the listing, is still right."""

NO_OPEN_SUPPORT, NO_OPENDIR_SUPPORT = 1 << 17, 1 << 24
"""INIT flags: the kernel does without OPEN, or OPENDIR, after one ENOSYS."""

REQUEST_BYTES = 1 << 16
"""Room for any request but writes; the kernel wants to be lent at least 8 KiB."""

# --- the first request ----------------------------------------------------------------------------

MAJOR, MINOR = 7, 31
"""The protocol's version; kernels that know more do as the older one has it."""

INIT_IN = Struct("=IIII")
"""major, minor, max_readahead in bytes, flags that the kernel offers; newer kernels say more."""

INIT_OUT = Struct("=IIIIHHIIH34x")
"""major, minor, max_readahead, flags; requests in the background at most, and from when on
readers are held up; max_write in bytes, time granularity in ns, pages of a read at most;
padding and what is not used.
"""

_ASYNC_READ, _AUTO_INVAL_DATA, _READDIRPLUS, _ASYNC_DIO = 1 << 0, 1 << 12, 1 << 13, 1 << 15
_PARALLEL_DIROPS, _MAX_PAGES = 1 << 18, 1 << 22
WANTED = _ASYNC_READ | _AUTO_INVAL_DATA | _READDIRPLUS | _ASYNC_DIO | _PARALLEL_DIROPS | _MAX_PAGES
"""Reads side by side, direct ones too; pages forgotten where a size or time is new; listings with
attributes; names of one directory looked up side by side; reads of more than 128 KiB.
"""


def reply_header(unique: int, length: int, error: int = 0) -> bytes:
    """The header of a reply with ``length`` bytes of answer; ``error`` is an errno, positive."""
    return REPLY.pack(REPLY.size + length, -error, unique)


def entry_notice(directory: int, name: bytes) -> bytes:
    """What tells the kernel to forget a name in a directory, and all that it keeps below it."""
    body = _ENTRY_NOTICE.pack(directory, len(name), 0) + name + b"\0"
    return REPLY.pack(REPLY.size + len(body), _FORGET_ENTRY, 0) + body
