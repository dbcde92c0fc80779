"""Names and link targets that cannot lead out of their archive. Pure functions over bytes."""

from __future__ import annotations

from collections.abc import Mapping

NAME_MAX = 255
"""Bytes of one part of a path (limits.h); the kernel refuses a whole
listing for a name far beyond.
"""

PATH_MAX = 4096
"""Bytes of a path with the NUL behind it (limits.h). No file system call takes more."""

MOST_LINKS = 40
"""Links that are followed in one path; the kernel has the same limit."""


def sanitize_name(name: bytes) -> bytes:
    """A member's name as a relative path that cannot leave its archive; b"" where nothing is left.

    What stands before and with the last ``..`` is dropped, as GNU tar does with a hard link's
    target (members of such names are left out, see :mod:`imagenetfs.index.extraction`), as are
    leading slashes and parts that are empty or ``.``. Nothing is left of a name that no file system
    can hold.
    """
    if b"/" not in name and name not in (b".", b".."):
        return name if len(name) <= NAME_MAX else b""
    parts = name.split(b"/")
    if b".." in parts:
        parts = parts[len(parts) - parts[::-1].index(b"..") :]
    if len(name) > NAME_MAX and max(map(len, parts)) > NAME_MAX:
        return b""
    return b"/".join(part for part in parts if part not in (b"", b"."))


def confine_link(name: bytes, target: bytes, links: Mapping[bytes, bytes]) -> bytes:
    """The target of the symbolic link ``name``, if need be changed so that it stays in its archive.

    The archive's root is taken for ``/``, as chroot(2) does. ``links`` are the archive's symbolic
    links by full name: one in the middle of a path may lead up before a ``..`` does. A target that
    stays inside anyway is left as it is.
    """
    here = name.split(b"/")[:-1]
    path = [] if target.startswith(b"/") else list(here)
    leaves, followed = target.startswith(b"/"), 0
    parts = target.split(b"/")[::-1]
    while parts:
        part = parts.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            leaves = leaves or not path or followed > 0
            del path[-1:]
            continue
        path.append(part)
        further = links.get(b"/".join(path)) if parts else None
        if further is not None and followed < MOST_LINKS:
            followed += 1
            path = [] if further.startswith(b"/") else path[:-1]
            parts += further.split(b"/")[::-1]
    return _relative(here, path) if leaves else target


def _relative(here: list[bytes], path: list[bytes]) -> bytes:
    """The way from the directory ``here`` to ``path``, both from the archive's root."""
    common = 0
    while common < min(len(here), len(path)) and here[common] == path[common]:
        common += 1
    return b"/".join([b".."] * (len(here) - common) + path[common:]) or b"."
