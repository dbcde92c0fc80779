"""What the zips of a source hold, added to the names that discovery has found.

Only zips that stand in directories it has listed are looked into, and not those that are a class or
come beside the images. Their tables are made for it, or read from an index file: of a zip nothing
else tells what it holds.
"""

from __future__ import annotations

import stat

from imagenetfs.errors import BrokenArchivesError, ImagenetfsError, SourceUnreadableError
from imagenetfs.index.archives import OUTER, Archive, Kind, archive_stem
from imagenetfs.index.index import Index
from imagenetfs.index.table_builder import join_path
from imagenetfs.system.text import decoded
from imagenetfs.tree.discovery import (
    CLASS,
    ROOTS,
    Discovery,
    is_beside,
    is_of_images,
    look_again,
)
from imagenetfs.tree.images import is_dropping
from imagenetfs.tree.split_backend import troubles
from imagenetfs.tree.unpacked import UnpackedSource, UnpackedZip, stem_of


def discover_in_zips(found: Discovery, index: Index) -> None:
    """Look at the zips' names as at those of directories. Their tables are made for it, or read
    from an index file.
    """
    zips = [archive for archive in found.archives if archive.kind is Kind.ZIP]
    if not zips:
        return
    found.unpacked = UnpackedSource(index)
    for archive in zips:
        if not (
            CLASS.fullmatch(archive_stem(_last(archive.path))) or is_beside(_last(archive.path))
        ):
            _unpack(found, index, archive)
    look_again(found, found.unpacked)


def _unpack(found: Discovery, index: Index, archive: Archive) -> None:
    """Show what a zip holds among the names of the directory that it stands in."""
    title = index.title(archive.number)
    try:
        members = index.container(archive.number).members
    except ImagenetfsError as error:
        found.lose(SourceUnreadableError(f"{title}: {error} It is not shown."))
        return
    for sentence in troubles(index, (archive.number, OUTER)):
        if members.problem is not None and members.problem in sentence:
            found.lose(BrokenArchivesError(sentence))
        else:
            found.warnings.append(sentence)
    where = archive.path.rpartition(b"/")[0]
    tops = [(members.base_name(row), stat.S_ISDIR(members.mode(row))) for row in members.children()]
    own = [(name, is_directory) for name, is_directory in tops if not is_dropping(name)]
    if not own:
        return
    directories = [name for name, is_directory in own if is_directory]
    is_one = len(own) == 1 and len(directories) == 1 and not is_of_images(directories[0])
    if not is_one and not any(map(_is_known, directories)):
        own = [(_last(stem_of(archive.path)), True)]
        _add_names(found, index, UnpackedZip(archive.number, stem_of(archive.path)), where, own)
        return
    there = {name for name, _ in found.names.get(where, ())}
    new = frozenset(name for name, _ in own if name not in there)
    _add_names(found, index, UnpackedZip(archive.number, where, new), where, own)


def _add_names(
    found: Discovery,
    index: Index,
    unpacked: UnpackedZip,
    where: bytes,
    own: list[tuple[bytes, bool]],
) -> None:
    assert found.unpacked is not None
    there = {name for name, _ in found.names.get(where, ())}
    kept = [one for one in own if one[0] not in there]
    if len(kept) < len(own):
        taken = " and ".join(decoded(join_path(where, name)) for name, _ in own if name in there)
        found.warnings.append(
            f"{taken} of {index.title(unpacked.number)} is not used: it stands there unpacked, or "
            "in another zip."
        )
    if kept:
        found.names[where] = [*found.names.get(where, ()), *kept]
        found.unpacked.zips.append(unpacked)


def _is_known(name: bytes) -> bool:
    """Whether a directory is called as a version, or as the level above one in Kaggle's tree."""
    return name == b"ILSVRC" or any(pattern.fullmatch(name) for pattern in ROOTS)


def _last(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]
