"""Archives as odd as people have them, each the smallest of its kind, and what GNU tar makes of
one."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.helpers.tars import END, GNU, V7, header, member, padded, pax

Z = member(b"z", b"last")


def long(name: bytes, kind: bytes = b"L") -> bytes:
    """GNU's header for a name, or with K for a link's target, that its own field has no room
    for."""
    return member(b"././@LongLink", name + b"\0", kind, magic=GNU)


def flipped(block: bytes) -> bytes:
    """The same with one bit of its header's name changed, so that the checksum does not hold."""
    return bytes([block[0] ^ 1]) + block[1:]


def raw_pax(payload: bytes) -> bytes:
    """An extended header with these records, right or wrong."""
    return member(b"PaxHeaders/x", payload, b"x")


def sparse_member(name: bytes, data: bytes, form: str, block: int = 4096) -> bytes:
    """A member whose blocks of zeros are not stored, as ``tar -S`` writes it. ``form``: ``old``, or
    the version of the pax form."""
    blocks = [(at, data[at : at + block]) for at in range(0, len(data), block)]
    runs = [(at, len(piece)) for at, piece in blocks if any(piece)]
    runs.append((len(data), 0))
    stored = b"".join(piece for _, piece in blocks if any(piece))
    if form == "old":
        entries = [b"%011o\0%011o\0" % run for run in runs]
        more = [entries[i : i + 21] for i in range(4, len(entries), 21)]
        fields = {386: b"".join(entries[:4]), 482: bytes([bool(more)])}
        fields[483] = b"%011o\0" % len(data)
        blob = header(name, len(stored), b"S", magic=GNU, fields=fields)
        for i, some in enumerate(more):
            blob += (b"".join(some).ljust(504, b"\0") + bytes([i + 1 < len(more)])).ljust(
                512, b"\0"
            )
        return blob + padded(stored)
    numbers = [b"%d" % number for run in runs for number in run]
    records = [(b"GNU.sparse.name", name), (b"GNU.sparse.size", b"%d" % len(data))]
    if form == "0.1":
        records.append((b"GNU.sparse.numblocks", b"%d" % len(runs)))
        records.append((b"GNU.sparse.map", b",".join(numbers)))
    else:
        records[1] = b"GNU.sparse.realsize", b"%d" % len(data)
        records += [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")]
        stored = padded(b"".join(b"%s\n" % n for n in (b"%d" % len(runs), *numbers))) + stored
    return pax(*records, (b"path", b"made/up")) + member(name, stored)


def tar_with_holes(form: str = "old") -> bytes:
    """A tar within a tar that has holes: within a member, and where its end marker is; more behind
    it."""
    big = b"B" * 4096 + bytes(1 << 20) + b"E" * 4096
    later = bytes(4096) + b"L" * 5000 + bytes(8192) + b"M" * 100
    inner = member(b"big", big) + Z + sparse_member(b"sp", later, "old") + member(b"y", b"yes")
    inner += bytes(-len(inner) % 4096 + 65_536)
    return sparse_member(b"inner.tar", inner, form) + member(b"later", b"S" * (1 << 21)) + END


def _links() -> dict[str, bytes]:
    d, lib = member(b"d/x", b"1"), header(b"lib", 0, b"2", link=b"usr")
    y, x_y, x_file = member(b"l/y", b"1"), member(b"x/y", b"1"), member(b"x", b"file")
    x_dir, hard = header(b"x/", 0, b"5"), header(b"h", 0, b"1", link=b"lib/b")
    return {
        "usrmerge": header(b"usr/", 0, b"5") + lib + member(b"lib/b", b"1") + hard,
        "link of links": header(b"usr/", 0, b"5")
        + lib
        + header(b"l", 0, b"2", link=b"lib")
        + member(b"l/deep/er", b"1"),
        "link to nothing": header(b"l", 0, b"2", link=b"nothing") + y,
        "link to itself": header(b"l", 0, b"2", link=b"l") + y,
        "link to a file": member(b"f", b"1") + header(b"l", 0, b"2", link=b"f") + y,
        "directory over link": d + header(b"l", 0, b"2", link=b"d") + header(b"l/", 0, b"5") + y,
        "file over link": d + header(b"l", 0, b"2", link=b"d") + member(b"l", b"file") + y,
        "below a file": x_file + x_y,
        "file over directory": x_y + x_file,
        "file over empty directory": x_dir + x_file,
        "link over directory": x_dir + x_y + header(b"x", 0, b"2", link=b"z"),
        "directory over file": x_file + x_dir + x_y,
        "hard link over file": member(b"a", b"1")
        + member(b"h", b"22")
        + header(b"h", 0, b"1", link=b"a"),
        "hard link over directory": member(b"a", b"1") + x_y + header(b"x", 0, b"1", link=b"a"),
        "hard link to itself": member(b"a", b"1") + header(b"a", 0, b"1", link=b"a"),
        "hard link to nothing": header(b"a", 0, b"1", link=b"nothing") + y,
        "hard link to a directory": x_y + header(b"a", 0, b"1", link=b"x"),
        "empty target": header(b"a", 0, b"2"),
        "long target": long(b"x" * 4096, b"K") + header(b"l", 0, b"2", link=b"x"),
        "longest target": long(b"t/" * 2047 + b"x", b"K") + header(b"l", 0, b"2", link=b"x"),
    }


def _names() -> dict[str, bytes]:
    return {
        "dot dot": member(b"f", b"right") + member(b"x/../f", b"wrong") + member(b"../up", b"1"),
        "dot dot directory": header(b"a/../b/", 0, b"5") + member(b"/abs", b"1"),
        "longest name": long((b"a" * 200 + b"/") * 20 + b"f" * 75) + member(b"a", b"1"),
        "long name": long((b"a" * 200 + b"/") * 20 + b"f" * 76) + member(b"a", b"1"),
        "deep name": long(b"a/" * 10_000 + b"f") + member(b"a", b"1"),
        "long part": long(b"m" * 256) + member(b"m", b"1"),
        "no name": header(b"", 0) + member(b"a", b"1"),
        "twice": member(b"a", b"1") + member(b"./a", b"22") + member(b"a", b"333"),
    }


def _headers() -> dict[str, bytes]:
    one = member(b"one", b"1")
    many = b"".join(member(b"f%03d" % i, b"1") for i in range(100))
    return {
        "symlink with a size": header(b"s", 6, b"2", link=b"target") + one,
        "symlink with a large size": header(b"s", 600, b"2", link=b"target") + one,
        "fifo with a size": header(b"p", 512, b"6") + one,
        "version 7 directory": header(b"one/", 1, b"\0", magic=V7)
        + member(b"two/", b"", b"\0", magic=V7),
        "contiguous directory": header(b"a/", 512, b"7") + one,
        "hard link with a pax size": one
        + pax((b"size", b"5"))
        + header(b"h", 0, b"1", link=b"one")
        + Z,
        "large header": member(b"before", b"1")
        + pax((b"SCHILY.xattr.user.x", b"q" * 1_100_000))
        + one,
        "size with zeros": pax((b"size", b"0" * 19 + b"4")) + member(b"one", b"data"),
        "size that is none": pax((b"size", b"x"), (b"path", b"p")) + member(b"one", b"abc"),
        "times": pax((b"mtime", b"1748089464.951928467a"))
        + member(b"one", b"1")
        + pax((b"mtime", b"0" * 19 + b"5"))
        + member(b"two", b"1")
        + pax((b"mtime", b"1e5"))
        + member(b"three", b"1"),
        "blanks": raw_pax(b"12 path=new\n   ") + member(b"orig", b"1"),
        "record out of form": member(b"a", b"1")
        + raw_pax(b"12 path=new\n99 comment=x\n")
        + one
        + many,
        "sparse size alone": pax((b"GNU.sparse.size", b"5")) + member(b"sp", b"abc"),
        "type S without magic": member(b"sp", b"hello", b"S"),
        "unknown type": member(b"sp", b"hello", b"Z"),
        "flipped bit": member(b"a", b"1") + flipped(member(b"bad", b"1")) + many,
        "first flipped": flipped(member(b"bad", b"1")) + many,
        "hole": member(b"a", b"1") + bytes(4096) + many,
        "two put together": member(b"a", b"1") + END + bytes(9216) + one + END,
        "negative size": header(b"bad", b"\xff" * 12) + one,
    }


def odd_tars() -> dict[str, bytes]:
    """All of them, by what is odd; each of them ends in a member z."""
    found = {**_links(), **_names(), **_headers()}
    every = {name: data + Z + END for name, data in found.items()}
    return {**every, **{f"holes {form}": tar_with_holes(form) for form in ("old", "0.1", "1.0")}}


class Entry(NamedTuple):
    """What an entry is: its kind, its bytes or its target, and which names are one file."""

    kind: int
    contents: bytes
    names: frozenset[bytes]


def extracted(archive: Path, into: Path) -> dict[bytes, Entry]:
    """What GNU tar makes of an archive in ``into``; zeros do not end it."""
    into.mkdir()
    command = ["tar", "--ignore-zeros", "-xf", str(archive), "-C", str(into)]
    subprocess.run(command, check=False, capture_output=True)
    found = dict(_walk(into))
    same: dict[int, set[bytes]] = {}
    for name, (number, _, _) in found.items():
        same.setdefault(number, set()).add(name)
    return {n: Entry(kind, data, frozenset(same[i])) for n, (i, kind, data) in found.items()}


def _walk(root: Path) -> Iterator[tuple[bytes, tuple[int, int, bytes]]]:
    """By directory descriptors: a path may be as long as the kernel takes, and the root is before
    it."""
    for directory, below, names, at in os.fwalk(os.fsencode(root)):
        for name in below + names:
            status = os.lstat(name, dir_fd=at)
            kind, data = stat.S_IFMT(status.st_mode), b""
            if kind == stat.S_IFREG:
                with open(os.open(name, os.O_RDONLY, dir_fd=at), "rb") as file:
                    data = file.read()
            elif kind == stat.S_IFLNK:
                data = os.readlink(name, dir_fd=at)
            path = os.path.relpath(os.path.join(directory, name), os.fsencode(root))
            yield path, (status.st_ino, kind, data)
