"""The numbers of linux/fuse.h as they stand there, and the messages made of them."""

from __future__ import annotations

import struct

import pytest

from imagenetfs.fuse import protocol
from imagenetfs.fuse.protocol import (
    UNANSWERED,
    WRITING,
    Opcode,
    entry_notice,
    reply_header,
)

FUSE_ATTR = 88
"""sizeof(struct fuse_attr) since 7.9."""


@pytest.mark.parametrize(
    ("form", "size"),
    [
        (protocol.REQUEST, 40),  # struct fuse_in_header
        (protocol.REPLY, 16),  # struct fuse_out_header
        (protocol.READ_IN, 40),  # struct fuse_read_in
        (protocol.XATTR_IN, 8),  # struct fuse_getxattr_in
        (protocol.XATTR_OUT, 8),  # struct fuse_getxattr_out
        (protocol.ATTR, FUSE_ATTR),
        (protocol.ENTRY_HEAD, 128 - FUSE_ATTR),  # struct fuse_entry_out
        (protocol.ATTR_HEAD, 104 - FUSE_ATTR),  # struct fuse_attr_out
        (protocol.STATFS_OUT, 80),  # struct fuse_kstatfs
        (protocol.INIT_IN, 16),  # struct fuse_init_in of 7.31
        (protocol.INIT_OUT, 64),  # struct fuse_init_out
    ],
)
def test_sizes_of_the_kernels_structures(form: struct.Struct, size: int) -> None:
    assert form.size == size


def test_what_is_read_of_a_part_is_what_stands_in_the_whole() -> None:
    request = protocol.REQUEST.pack(40, 15, 77, 5, 1000, 1001, 4242, 0, 0)
    assert protocol.REQUEST_HEAD.unpack_from(request) == (40, 15, 77, 5)
    read = protocol.READ_IN.pack(1, 1 << 40, 4096, 3, 4, 5, 0)
    assert protocol.READ_RANGE.unpack_from(read) == (1 << 40, 4096)


def test_opcodes_are_the_kernels() -> None:
    """enum fuse_opcode; those that count most, and the last one."""
    kernels = {
        "LOOKUP": 1,
        "FORGET": 2,
        "GETATTR": 3,
        "READLINK": 5,
        "READ": 15,
        "STATFS": 17,
        "GETXATTR": 22,
        "LISTXATTR": 23,
        "INIT": 26,
        "DESTROY": 38,
        "BATCH_FORGET": 42,
        "READDIRPLUS": 44,
        "RENAME2": 45,
        "COPY_FILE_RANGE": 47,
        "TMPFILE": 51,
    }
    assert {name: Opcode[name] for name in kernels} == kernels


def test_nothing_that_writes_is_left_unanswered() -> None:
    assert frozenset({Opcode.FORGET, Opcode.BATCH_FORGET}) == UNANSWERED
    assert WRITING.isdisjoint(UNANSWERED)
    reads = {"LOOKUP", "GETATTR", "READLINK", "READ", "STATFS", "GETXATTR", "LISTXATTR"}
    others = {"FORGET", "BATCH_FORGET", "INIT", "DESTROY", "READDIRPLUS"}
    others |= {"OPEN", "RELEASE", "OPENDIR", "RELEASEDIR"}
    assert {opcode.name for opcode in Opcode} - {o.name for o in WRITING} == reads | others


@pytest.mark.parametrize("unique", [1, 2**64 - 1])
def test_the_header_of_an_answer(unique: int) -> None:
    assert struct.unpack("=IiQ", reply_header(unique, 100)) == (116, 0, unique)
    assert struct.unpack("=IiQ", reply_header(unique, 0, 5)) == (16, -5, unique)


@pytest.mark.parametrize("name", [b"n01440764", b"\xff" * 255])
def test_a_notice_that_a_name_is_to_be_forgotten(name: bytes) -> None:
    """struct fuse_notify_inval_entry_out: no request, so no unique; the name has its zero."""
    notice = entry_notice(1 << 61, name)
    length, code, unique = struct.unpack_from("=IiQ", notice)
    assert (length, code, unique) == (len(notice), 3, 0)
    parent, name_length, flags = struct.unpack_from("=QII", notice, 16)
    assert (parent, name_length, flags) == (1 << 61, len(name), 0)
    assert notice[32:] == name + b"\0"
