"""Whether a source holds what it should: sums of archives, images a class,
totals, first bytes of images.

Each part yields what is wrong as sentences, one a thing; nothing wrong, nothing said.
``OnProgress`` is called with (done, total) of the part.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np

from imagenetfs.errors import (
    ArchiveError,
    DamagedMemberError,
    HelperDiedError,
    ImagenetfsError,
    SourceChangedError,
    SourceReadError,
)
from imagenetfs.formats.zip.inflate import MOST_INFLATED
from imagenetfs.index.archives import Kind
from imagenetfs.index.container import Container
from imagenetfs.index.contents import whole_content
from imagenetfs.index.header_match import check_header
from imagenetfs.index.member_table import MemberTable
from imagenetfs.source.source import Source, SourceFile
from imagenetfs.tree import published_counts
from imagenetfs.tree.catalogue import Catalogue
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.inode import fields
from imagenetfs.tree.ledger import problems_of

OnProgress = Callable[[int, int], None]

SUMS_FILE = b"ILSVRC2012.md5"
_LINE = re.compile(rb"([0-9a-fA-F]{32})[ \t]+\*?(.+)")
_PIECE = 8 << 20
_HEADER = 512
_FIRST = 8
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_EACH = 256
"""Images that a thread looks at in one go."""


# --- sums -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sum:
    """An archive whose md5 is known: ``wanted`` by the source's own list,
    ``published`` by the publishers.
    """

    path: bytes
    size: int
    wanted: str | None
    published: str | None


def sums(source: Source, version: bytes) -> tuple[list[Sum], list[str]]:
    """What can be summed in a version's directory, and what is wrong before any is."""
    names = dict(source.names(version))
    listed: dict[bytes, str] = {}
    wrong = []
    if SUMS_FILE in names:
        for line in source.read_whole(version + b"/" + SUMS_FILE).splitlines():
            found = _LINE.fullmatch(line.strip())
            if found is not None:
                listed[found[2].rpartition(b"/")[2]] = found[1].decode().lower()
    todo = []
    for name in sorted({*listed, *published_counts.SUMS}):
        if name in names and not names[name]:
            path = version + b"/" + name
            status = source.status(path)
            size = status.st_size if status is not None else 0
            todo.append(Sum(path, size, listed.get(name), published_counts.SUMS.get(name)))
        elif name in listed and name not in names:
            wrong.append(
                f"{_text(version)}/{_text(name)} is in {_text(SUMS_FILE)}, and is not there"
            )
    return todo, wrong


def check_sums(source: Source, todo: Sequence[Sum], progress: OnProgress) -> Iterator[str]:
    """Read each archive from end to end. ``progress`` in bytes."""
    total, before = sum(one.size for one in todo), 0
    for one in todo:
        digest, done = hashlib.md5(usedforsecurity=False), 0
        try:
            with source.opened(one.path) as file:
                while piece := file.read_up_to(done, min(_PIECE, file.size - done)):
                    digest.update(piece)
                    done += len(piece)
                    progress(before + done, total)
                if done != file.size or file.has_changed():
                    raise SourceReadError(f"{_text(one.path)} changed while it was read.")
        except ImagenetfsError as error:
            yield str(error)
        else:
            yield from _judge(one, digest.hexdigest())
        before += one.size


def _judge(one: Sum, found: str) -> Iterator[str]:
    # The source's own list decides; a sample's archives are not the published ones.
    wanted, by = (one.wanted, _text(SUMS_FILE)) if one.wanted else (one.published, "its publishers")
    if wanted is not None and found != wanted:
        yield f"{_text(one.path)} has the md5 sum {found}, and {wanted} by {by}"


# --- archives -------------------------------------------------------------------------------------


def check_archives(catalogue: Catalogue) -> Iterator[str]:
    """What of each split is broken, not shown, or cannot be read; also where a
    directory takes its place.
    """
    splits = (split for version in catalogue.versions for split in version.splits)
    yield from dict.fromkeys(problem for split in splits for problem in problems_of(split))


# --- counts ---------------------------------------------------------------------------------------


def check_counts(catalogue: Catalogue) -> Iterator[str]:
    """Classes and images of each split against what is documented, and
    each class against the kit.
    """
    for version in catalogue.versions:
        kit: dict[str, dict[bytes, int]] = {}
        try:
            kit = published_counts.images_of_classes(catalogue.source, version.name)
        except HelperDiedError as error:
            name = _text(version.name)
            yield f"{name}: images a class were not compared with the devkit: {error}"
        for split in version.splits:
            yield from _check_split(version, split, kit.get(split.name.decode(), {}))


def _check_split(version: Version, split: Split, of_class: dict[bytes, int]) -> Iterator[str]:
    title = f"{_text(version.name)}/{_text(split.name)}"
    counts: dict[bytes, int] = {}
    for number, name in enumerate(split.backend.classes):
        with contextlib.suppress(ImagenetfsError):  # check_archives names it
            counts[name] = len(split.backend.listing(number))
    classes, images = published_counts.TOTALS.get(
        (_text(version.name), _text(split.name)), (None, None)
    )
    if classes is not None and len(split.wnids) != classes:
        yield f"{title} has {len(split.wnids):,} classes, and should have {classes:,}"
    if images is not None and sum(counts.values()) != images:
        yield f"{title} has {sum(counts.values()):,} images, and should have {images:,}"
    for wnid, count in sorted(of_class.items()):
        if counts.get(wnid, 0) != count:
            there = counts.get(wnid, 0)
            yield f"{title}/{_text(wnid)} has {there:,} images, and {count:,} by the devkit"


# --- first bytes ----------------------------------------------------------------------------------


class Batch(NamedTuple):
    """Some images of one container."""

    archive: int
    inner: int
    rows: list[int]


def check_images(catalogue: Catalogue, threads: int, progress: OnProgress) -> Iterator[str]:
    """Look at the first bytes of every image, and at the header before it; of one in a zip at all
    bytes, for a zip has their sums.

    ``progress`` in images.
    """
    index, batches = catalogue.index, deque(_batches(catalogue))
    total, done = sum(len(batch.rows) for batch in batches), 0
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[tuple[int, Future[list[str]]]] = deque()
        while batches or pending:
            while batches and len(pending) < 2 * threads:
                archive, inner, rows = batches.popleft()
                container = index.container(archive, inner)
                pending.append((len(rows), pool.submit(_look, index.source, container, rows)))
            count, result = pending.popleft()
            yield from result.result()
            done += count
            progress(done, total)


def _batches(catalogue: Catalogue) -> Iterator[Batch]:
    """All images by container, each image once; rows of npz are made, not read."""
    for container, inodes in groupby(_inodes(catalogue), lambda inode: fields(inode)[:2]):
        if catalogue.index.archives[container[0]].kind is not Kind.NPZ:
            rows = (fields(inode)[2] for inode in inodes)
            while batch := list(islice(rows, _EACH)):
                yield Batch(*container, batch)


def _inodes(catalogue: Catalogue) -> Iterator[int]:
    """The inodes of all images, ascending: 8 bytes each, and there are fourteen million."""
    found = [np.zeros(0, dtype=np.int64)]
    for version in catalogue.versions:
        for split in version.splits:
            for number in range(len(split.backend.classes)):
                try:
                    entries = split.backend.listing(number).entries(0)
                except ImagenetfsError:  # check_archives names it
                    continue
                found.append(np.fromiter((inode for _, inode, _ in entries), dtype=np.int64))
    return map(int, np.unique(np.concatenate(found)))


def _look(source: Source, container: Container, rows: Sequence[int]) -> list[str]:
    """What is wrong with these images of a container."""
    if container.extent.kind is Kind.DIRECTORY:
        return [said for row in rows for said in _look_at_file(source, container, row)]
    try:
        with source.opened(container.extent.path) as file:
            return [said for row in rows for said in _look_at_member(file, container, row)]
    except ImagenetfsError as error:
        return [str(error)]


def _look_at_member(file: SourceFile, container: Container, row: int) -> Iterator[str]:
    _, offset, size = container.locate(row)
    members = container.members
    assert isinstance(members, MemberTable)
    before = 0 if row in members.sparse else members.lead(row)
    try:
        if members.crc(row) is not None:  # a zip's members have sums: stored ones too
            yield from _judge_first(
                container, row, whole_content(file, container, row, MOST_INFLATED)
            )
            return
        data = file.read(offset - before, before + min(_FIRST, size))
        if before:
            check_header(data[:before], container, row)
    except (SourceChangedError, DamagedMemberError) as error:
        yield str(error)
    except ArchiveError as error:
        path = container.extent.path
        yield f"{_text(path)}: {_text(members.name(row))} is damaged: {error.reason}"
    else:
        yield from _judge_first(container, row, data[before:])


def _look_at_file(source: Source, container: Container, row: int) -> Iterator[str]:
    path, _, size = container.locate(row)
    try:
        with source.opened(path) as file:
            first = file.read(0, min(_FIRST, size))
    except ImagenetfsError as error:
        yield str(error)
    else:
        yield from _judge_first(container, row, first)


def _judge_first(container: Container, row: int, first: bytes) -> Iterator[str]:
    if not first.startswith((_JPEG, _PNG)):
        yield (
            f"{_text(container.extent.path)}: {_text(container.members.name(row))} is no JPEG and "
            f"no PNG: it begins with {first.hex(' ') or 'nothing'}"
        )


def _text(name: bytes) -> str:
    return os.fsdecode(name)
