"""What a file is by its first bytes: a tar, and of what; or what it is compressed with.

One open and a few reads, for files whose name does not tell or tells something else.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar.header import is_sound
from imagenetfs.formats.tar.walk import MemberColumns, Walk
from imagenetfs.formats.zip.end import begins_as_zip
from imagenetfs.source.source import Source

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\x1f\x9d": "compress",
}
"""RFC 1952; the .xz file format 1.2, 2.1.1.1; RFC 8878, 3.1.1; bzip2's and compress's own."""

_LZMA = re.compile(rb"\x5d\0\0..\xff{8}", re.DOTALL)
"""The .lzma file format has no magic: properties and dictionary as all programs write them, and a
size that is not known, as xz and Python write it.
"""

_UNPACK = {
    "gzip": ("gunzip", ".gz"),
    "xz": ("unxz", ".xz"),
    "zstd": ("unzstd --rm", ".zst"),
    "bzip2": ("bunzip2", ".bz2"),
    "compress": ("uncompress", ".Z"),
    "lzma": ("unlzma", ".lzma"),
}
"""What is compressed so -> the command that unpacks a file once, in its place, and the ending of
the names that it takes.
"""

_ENDINGS = (b".gz", b".xz", b".zst", b".zstd", b".bz2", b".Z", b".lzma")
_SHORT = (b".tgz", b".txz", b".tbz", b".tbz2", b".tzst")

_MEMBERS = 4


@dataclass(frozen=True, slots=True)
class Peek:
    """``names``: the first members of a tar and whether they are directories; none where it is no
    tar. ``compressed``: what with, or nothing. ``is_zip``: whether it begins as a zip.
    ``problem``: what is broken among these members, or why it is no tar.
    """

    names: tuple[tuple[bytes, bool], ...] = ()
    compressed: str = ""
    is_zip: bool = False
    problem: str = ""


def compression(head: bytes) -> str:
    """What bytes that begin so are compressed with; nothing where they are not."""
    if _LZMA.match(head):
        return "lzma"
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def peek(source: Source, path: bytes, members: int = _MEMBERS) -> Peek:
    """Look at a file's first bytes, and so many headers of a tar.

    Raises SourceReadError, SourceUnreadableError.
    """
    with source.opened(path) as file:
        head = file.read_up_to(0, 512)
        if found := compression(head):
            return Peek(compressed=found)
        if begins_as_zip(head):
            return Peek(is_zip=True)
        if len(head) < 512 or not is_sound(head):
            return Peek(problem="it does not begin as a tar does")
        columns, problem = MemberColumns(), ""
        try:
            Walk(file.read_up_to, file.size, columns).until(0, file.size, members)
        except ArchiveError as error:
            problem = str(error)
    if columns.problems and not problem:
        problem = str(columns.problems[0])
    first = zip(columns.names[:members], columns.modes, strict=False)
    named = tuple((name, stat.S_ISDIR(mode)) for name, mode in first)
    return Peek(named, problem=problem)


def plain_name(path: bytes) -> bytes:
    """The path of what is in a compressed file: its own without the ending that says so."""
    lower = path.lower()
    for ending in _ENDINGS:
        if lower.endswith(ending.lower()):
            return path[: -len(ending)]
    short = (path[: -len(ending)] + b".tar" for ending in _SHORT if lower.endswith(ending))
    return next(short, path)


def unpack_command(path: bytes) -> str:
    """What unpacks a file in its place, by the ending of its name; nothing for other names."""
    for command, ending in _UNPACK.values():
        short = b".t" + ending[1:].encode()
        if path.endswith((ending.encode(), short)):
            return command
    return ""


def sentence_of_compressed(source: Path, path: bytes, how: str) -> str:
    """That a file of the source is compressed, and the command that unpacks it once."""
    command, ending = _UNPACK[how]
    file = source / os.fsdecode(path)
    target = source / os.fsdecode(plain_name(path))
    if os.fsencode(file.name).endswith(ending.encode()):
        what = f"{command} {shlex.quote(str(file))}"
    else:
        unpacked = file.with_name(f"{file.name}.unpacked") if file == target else target
        what = f"{command.partition(' ')[0]} -c < {shlex.quote(str(file))} > "
        what += shlex.quote(str(unpacked))
        if file == target:
            what += f" && mv {shlex.quote(str(unpacked))} {shlex.quote(str(file))}"
    return (
        f"{os.fsdecode(path)} is compressed with {how}, and images cannot be read from the middle "
        f"of it: unpack it once ({what})."
    )


def sentence_of_compressed_classes(
    source: Path, directory: bytes, names: Sequence[bytes], how: str, ending: bytes
) -> str:
    """The same of a directory's class tars, which may be thousands: ``ending`` is that of each."""
    command, usual = _UNPACK[how]
    where = shlex.quote(str(source / os.fsdecode(directory)))
    end = os.fsdecode(ending)
    if end.endswith(usual):
        what = f"cd {where} && {command} n????????{end}"
    else:
        plain = f"$(basename $f {end}).tar"
        what = f"cd {where} && for f in n????????{end}; do {command.partition(' ')[0]} -c < $f > "
        what += f"{plain}; done"
    held = f"{len(names):,} class {'tar' if len(names) == 1 else 'tars'}"
    title = os.fsdecode(directory) or str(source)
    return (
        f"{title} has {held} compressed with {how} (first: {os.fsdecode(min(names))}), and images "
        f"cannot be read from the middle of them: unpack them once ({what})."
    )
