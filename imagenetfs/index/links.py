"""Which symbolic links of a directory of loose files are followed when its table is made.

A link that is called as an image and leads to a file is that file; one that is called as a class,
or a class's tar, and leads to a directory or a file, is that. Subsets and splits are made of such
links. All others stay links, and so do those that lead nowhere, in a circle, or where the user may
not go. Below a class no directory is entered through a link: a walk never goes in circles, and
never out into a whole file system.
"""

from __future__ import annotations

import re
import stat

from imagenetfs.errors import ImagenetfsError
from imagenetfs.source.source import DirectoryEntry, Source

_FILE = re.compile(
    rb".*\.(jpe?g|jpe|jfif|png|ppm|bmp|pgm|tiff?|webp|gif)|n\d{8}\.tar", re.IGNORECASE | re.DOTALL
)
_DIRECTORY = re.compile(rb"n\d{8}")


def followed(source: Source, path: bytes, entry: DirectoryEntry) -> DirectoryEntry | None:
    """What the link ``entry`` at ``path`` leads to, under its own name; None where it stays one."""
    is_file, is_directory = _FILE.fullmatch(entry.name), _DIRECTORY.fullmatch(entry.name)
    if not is_file and not is_directory:
        return None
    try:
        status = source.status(path)
    except ImagenetfsError:  # in a circle, or not ours to read
        return None
    if status is None or not (
        (is_file and stat.S_ISREG(status.st_mode))
        or (is_directory and stat.S_ISDIR(status.st_mode))
    ):
        return None
    return DirectoryEntry(
        entry.name,
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_uid,
        status.st_gid,
    )
