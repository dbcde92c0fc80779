"""What the zips of a source hold, added to the names that discovery has found; and what those tars
hold in which a version's directory stands (Kaggle's tree, tiny-imagenet-200).

Only zips that stand in directories it has listed are looked into, and not those that are a class or
come beside the images. Their tables are made for it, or read from an index file: of a zip nothing
else tells what it holds. Of a tar the first member tells.
"""

from __future__ import annotations

import re
import stat

from imagenetfs.errors import BrokenArchivesError, ImagenetfsError, SourceUnreadableError
from imagenetfs.index.archives import OUTER, Archive, Kind, archive_stem, is_archive_name
from imagenetfs.index.index import Index
from imagenetfs.index.table import Table
from imagenetfs.index.table_builder import join_path
from imagenetfs.system.text import decoded
from imagenetfs.tree.discovery import (
    CLASS,
    DEVKIT,
    ILSVRC2012,
    ROOTS,
    SPLIT_TAR,
    Discovery,
    is_beside,
    is_of_images,
)
from imagenetfs.tree.discovery_walk import look_again
from imagenetfs.tree.images import is_dropping, is_within_dropping
from imagenetfs.tree.peek import peek
from imagenetfs.tree.split_backend import troubles
from imagenetfs.tree.unpacked import UnpackedSource, UnpackedZip, stem_of

_TOLD_BY_NAME = (
    SPLIT_TAR,
    re.compile(CLASS.pattern + rb"\.tar", re.IGNORECASE),
    re.compile(rb"(winter|fall)_?\d\d(_whole)?\.tar(\..*)?", re.IGNORECASE),
)
"""Tars whose names tell what they are."""

_PUBLISHED = re.compile(rb"ILSVRC20\d\d_img_\w+\.tar", re.IGNORECASE)
"""A tar of which one of the first members is called so holds published tars."""

_SPLIT = re.compile(
    rb"train(ing|_t3)?|val(id|idation)?|test|ILSVRC20\d\d_img_(train|val|test)\w*", re.IGNORECASE
)
"""Zips whose one directory is no set of its own, whatever it is called; those of versions too."""

_OF_2012 = re.compile(
    rb"(imagenet([-_]?(1k|1000|2012|full|raw|data))?|in1k|CLS[-_]LOC)", re.IGNORECASE
)
"""Directories in a tar that are ILSVRC2012, or the level above it."""

_MOST_LOOKED_AT = 100_000


def discover_in_zips(found: Discovery, index: Index) -> None:
    """Look at the zips' names as at those of directories. Their tables are made for it, or read
    from an index file.
    """
    chosen = [one for one in found.archives if _is_unpacked(found, index, one)]
    if not chosen:
        return
    found.unpacked = UnpackedSource(index)
    for archive in chosen:
        _unpack(found, index, archive)
    look_again(found, found.unpacked)


def _is_unpacked(found: Discovery, index: Index, archive: Archive) -> bool:
    """Whether an archive's names are looked at as those of a directory."""
    where, _, name = archive.path.rpartition(b"/")
    if archive.kind is Kind.ZIP:
        return not (CLASS.fullmatch(archive_stem(name)) or is_beside(name))
    is_root = ILSVRC2012.fullmatch(_last(where)) is not None
    if archive.kind is not Kind.TAR or not (is_root or where in (b"", found.base)):
        return False
    if any(called.fullmatch(name) for called in (*_TOLD_BY_NAME, DEVKIT)) or is_beside(name):
        return False
    try:
        first = [one for one, _ in peek(index.source, archive.path).names]
    except ImagenetfsError:  # told by what chooses it
        return False
    if any(_PUBLISHED.fullmatch(_last(one)) for one in first):
        return True
    parts = [part for one in first[:1] for part in one.split(b"/") if part not in (b"", b".")]
    is_known = bool(parts) and (_is_known(parts[0]) or _OF_2012.fullmatch(parts[0]) is not None)
    return is_known and not is_root


def _unpack(found: Discovery, index: Index, archive: Archive) -> None:
    """Show what a zip holds among the names of the directory that it stands in."""
    title = index.title(archive.number)
    try:
        members = index.container(archive.number).members
    except ImagenetfsError as error:
        found.unread[archive.path] = SourceUnreadableError(f"{title}: {error} It is not shown.")
        found.lose(found.unread[archive.path])
        return
    for sentence in troubles(index, (archive.number, OUTER)):
        if members.problem is not None and members.problem in sentence:
            found.lose(BrokenArchivesError(sentence))
        else:
            found.warnings.append(sentence)
    if not len(members) and members.problem is None and members.left_out is None:
        found.lose(BrokenArchivesError(f"{title} is empty: have it replaced."))
    if not len(members):
        refused = f"{title}: not all members are shown: {members.left_out}."
        is_refused = members.problem is None and members.left_out is not None
        found.unread[archive.path] = BrokenArchivesError(refused) if is_refused else found.lost[-1]
    where = archive.path.rpartition(b"/")[0]
    tops = [(members.base_name(row), stat.S_ISDIR(members.mode(row))) for row in members.children()]
    own = [(name, is_directory) for name, is_directory in tops if not is_dropping(name)]
    if not own:
        return
    directories = [name for name, is_directory in own if is_directory]
    _note_deflated(found, archive.path, members)
    stem = _last(stem_of(archive.path))
    called = next((pattern for pattern in (_SPLIT, *ROOTS) if pattern.fullmatch(stem)), None)
    if called is not None:  # it is the split, or the version: what it holds is a part of that
        beside = any(map(called.fullmatch, directories)) and called is not _SPLIT
    else:
        is_one = len(own) == 1 and len(directories) == 1 and not is_of_images(directories[0])
        beside = is_one or any(map(_is_known, directories))
    if not beside:
        own = [(stem, True)]
        _add_names(found, index, UnpackedZip(archive.number, stem_of(archive.path)), where, own)
        return
    there = {name for name, _ in found.names.get(where, ())}
    new = frozenset(name for name, _ in own if name not in there)
    _add_names(found, index, UnpackedZip(archive.number, where, new), where, own)


def _note_deflated(found: Discovery, path: bytes, members: Table) -> None:
    """Note the archives in a zip that cannot be served from it: those of splits and classes that
    are deflated.
    """
    if len(members) > _MOST_LOOKED_AT:
        return  # of images: what holds archives holds few
    rows = members.regular().tolist()
    names = {row: members.name(row) for row in rows if is_archive_name(members.name(row))}
    nested = set(members.nested.tolist())
    deflated = [n for row, n in names.items() if row not in nested and not is_within_dropping(n)]
    for noted, fits in ((found.wrapped, _is_split), (found.deflated, _is_class)):
        some = list(filter(fits, deflated))
        if some:
            noted[path] = some


def _add_archives(
    found: Discovery, index: Index, unpacked: UnpackedZip, where: bytes
) -> set[bytes]:
    """Have the tars of splits that are in an archive stand where it has them, if nothing of that
    name is there; the paths of them. What stands in ``where`` is added to its names with the rest.
    """
    number, added = unpacked.number, set[bytes]()
    path = index.archives[number].path
    members = index.container(number).members
    for inner, row in enumerate(index.nested(number).tolist()):
        name = members.name(row)
        if not _is_split(name) or is_within_dropping(name):
            continue
        shown = join_path(unpacked.below, name)
        directory, _, base = shown.rpartition(b"/")
        there = found.names.get(directory)
        inner_tars = found.inner_tars.setdefault(path, {})
        if shown in found.numbers or (there is not None and base in {n for n, _ in there}):
            continue
        own = index.promote(number, inner)
        if own is None:
            continue
        found.archives += index.archives[len(found.archives) :]
        found.numbers[shown] = own
        inner_tars[own] = name
        if there is not None and directory != where:
            found.names[directory] = [*there, (base, False)]
        added.add(shown)
    return added


def _is_split(name: bytes) -> bool:
    return SPLIT_TAR.fullmatch(_last(name)) is not None


def _is_class(name: bytes) -> bool:
    return CLASS.fullmatch(archive_stem(_last(name))) is not None


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
    added = _add_archives(found, index, unpacked, where)
    members = index.container(unpacked.number).members
    is_all = len(added) == len(members.regular())
    if len(kept) < len(own) and not is_all:
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
