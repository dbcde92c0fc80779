"""The files of segments in their directory: opening one that is sound, and making one.

What stands in the file is in :mod:`imagenetfs.cache.segment` alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from imagenetfs.cache.segment import (
    Segment,
    SegmentPath,
    Verified,
    file_bytes,
    first_page,
    length_in,
    read_head,
)
from imagenetfs.system.files import write_all


def open_segment(path: SegmentPath, verified: Verified) -> Segment | None:
    """The segment at a path; None where there is none that is sound.

    For reading where it may not be written. Raises OSError.
    """
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    writable = True
    try:
        fd = os.open(path.name, os.O_RDWR | flags, dir_fd=path.directory)
    except FileNotFoundError:
        return None
    except OSError:  # the disk has become read-only
        fd = os.open(path.name, os.O_RDONLY | flags, dir_fd=path.directory)
        writable = False
    try:
        segment = Segment(fd, read_head(fd), verified, writable)
        if segment.is_of(path) and segment.is_current():
            return segment
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def length_of(directory: int, name: str) -> int:
    """The bytes of data that a segment's head says it is for; 0 for what is no segment.

    Raises OSError.
    """
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory)
    try:
        return length_in(read_head(fd))
    finally:
        os.close(fd)


def make_segment(path: SegmentPath, about: Mapping[str, Any], verified: Verified) -> Segment:
    """The segment at a path, made where there is none that is sound. Raises OSError."""
    found = open_segment(path, verified)
    if found is not None:
        return found
    # Whole or not at all, and only one of several that make it at once: written aside, then linked.
    temporary = f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600, dir_fd=path.directory)
    try:
        os.ftruncate(fd, file_bytes(path))
        write_all(fd, first_page(path, about), 0)
        _take_name(path, temporary, verified)
    finally:
        os.close(fd)
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=path.directory)
    made = open_segment(path, verified)
    if made is None:
        raise FileNotFoundError(f"{path.name} has gone as soon as it was made")
    return made


def _take_name(path: SegmentPath, temporary: str, verified: Verified) -> None:
    directory = path.directory
    for _ in range(2):
        try:
            os.link(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except FileExistsError:
            other = open_segment(path, verified)
            if other is not None:  # another process was quicker
                other.close()
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path.name, dir_fd=directory)  # damaged
        else:
            return
