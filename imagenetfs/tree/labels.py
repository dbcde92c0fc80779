"""What is known of the classes: numbers and labels from the devkit, words from
whichever file has them.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from functools import partial

from imagenetfs.errors import ArchiveError, HelperDiedError, ImagenetfsError, SourceReadError
from imagenetfs.index.table_builder import join_path
from imagenetfs.source.source import Source
from imagenetfs.tree import devkit
from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.discovery import ILSVRC2012, TINY, Discovery
from imagenetfs.tree.unpacked import UnpackedSource
from imagenetfs.tree.wordnet import words_of

DEVKIT = b"ILSVRC2012_devkit_t12"
DEVKIT_NAMES = re.compile(
    rb"(ILSVRC20\d\d[-_])?dev_?kit(?![-_]?t3)\d?([-_. (].*)?", re.IGNORECASE | re.DOTALL
)
_PACKED = re.compile(
    rb"(?P<stem>.*?)\.(tar|tgz|txz|tbz2?)( ?\(\d+\))?(\.(gz|xz|bz2|zst|\d+))*",
    re.IGNORECASE | re.DOTALL,
)
_DATA = b"data"
_WORDS = b"words.txt"
_MAPPING = b"LOC_synset_mapping.txt"


def read_devkit(discovery: Discovery, source: Source | UnpackedSource) -> Devkit | None:
    """The development kit's labels, from its directory or its archive, the first that is usable;
    None if there is none. A damaged one is told, and another one that says otherwise.
    """
    damaged: list[str] = []
    kits = iter(_kits(discovery))
    for path, is_directory in kits:
        title = os.fsdecode(path) or str(source.path)
        try:
            kit = _read(discovery, source, path, is_directory)
        except HelperDiedError as error:
            damaged.append(
                f"the labels are missing in this mount: {error}. Raise the limit and mount anew."
            )
            break
        except ImagenetfsError as error:
            damaged.append(f"the devkit cannot be used: {error}")
            continue
        discovery.warnings.extend(f"{told} {title} is used instead." for told in damaged)
        for other, is_another_directory in kits:
            # An archive beside the directory of its name is what that was unpacked from.
            if _called(other) != _called(path):
                with contextlib.suppress(ImagenetfsError):
                    second = _read(discovery, source, other, is_another_directory)
                    _tell_differences(discovery, title, kit, os.fsdecode(other), second)
        return kit
    discovery.warnings.extend(damaged)
    return None


def _read(
    discovery: Discovery, source: Source | UnpackedSource, path: bytes, is_directory: bool
) -> Devkit:
    file_of = _file_of(discovery)
    if is_directory:
        (meta_path, meta), (truth_path, truth) = _files(source, discovery, path)
    else:
        meta_path, truth_path = path, path
        meta, truth = devkit.unpacked(source.read_whole(path))
    return replace(
        devkit.parse(meta, truth),
        meta_path=file_of(meta_path),
        truth_path=file_of(truth_path),
        meta=partial(_meta_again, source, meta_path, not is_directory),
    )


def _tell_differences(
    discovery: Discovery, title: str, kit: Devkit, other_title: str, other: Devkit
) -> None:
    images = max(len(kit.truth), len(other.truth))
    differ = sum(kit.val_wnid(number) != other.val_wnid(number) for number in range(1, images + 1))
    if differ:
        discovery.warnings.append(
            f"{title} and {other_title} disagree about {differ:,} of {images:,} val images: "
            f"{title} is followed."
        )


def _called(path: bytes) -> bytes:
    """A kit's name, without the ending of its archive and a browser's number."""
    found = re.match(rb"\w+", path.rpartition(b"/")[2])
    return found[0].lower() if found else b""


def _meta_again(source: Source | UnpackedSource, path: bytes, is_packed: bool) -> bytes:
    """meta.mat's bytes, from where they were read before."""
    data = source.read_whole(path)
    return devkit.unpacked(data)[0] if is_packed else data


def _file_of(discovery: Discovery) -> Callable[[bytes], bytes]:
    """The path of the file that a path is read from, which may be a zip."""
    return discovery.unpacked.file_of if discovery.unpacked is not None else lambda path: path


def _kits(discovery: Discovery) -> Iterator[tuple[bytes, bool]]:
    """(path, whether it is a directory) of what is called as a devkit, or has the files of one: in
    the version's directory, then above it, then wherever discovery has looked; the one of 2012
    first, directories before archives.
    """
    directory = discovery.root(ILSVRC2012)
    found: list[bytes] = []
    for where in dict.fromkeys((*_above(discovery, directory), *sorted(discovery.names))):
        if any(where == kit or where.startswith(kit + b"/") for kit in found if kit):
            continue
        directories = [n for n in discovery.directories(where) if DEVKIT_NAMES.fullmatch(n)]
        packed = [
            name
            for name in discovery.files(where)
            if (match := _PACKED.fullmatch(name)) and DEVKIT_NAMES.fullmatch(match["stem"])
        ]
        kits = [(join_path(where, name), True) for name in sorted(directories, key=_preferred)]
        kits += [(join_path(where, name), False) for name in sorted(packed, key=_preferred)]
        if _has_meta(discovery, where) or _has_meta(discovery, join_path(where, _DATA)):
            kits.append((where, True))
        for kit in kits:
            found.append(kit[0])
            yield kit


def _has_meta(discovery: Discovery, directory: bytes) -> bool:
    return any(name in discovery.files(directory) for name in devkit.META_NAMES)


def _above(discovery: Discovery, directory: bytes | None) -> Iterator[bytes]:
    while directory:
        yield directory
        directory = directory.rpartition(b"/")[0]
    yield discovery.base
    yield b""
    # The devkit alone may stand in the directory that is called as the version.
    yield from filter(None, [discovery.named(ILSVRC2012)])


def _preferred(name: bytes) -> tuple[bool, bytes]:
    return not name.startswith(DEVKIT), name


_FileContents = tuple[bytes, bytes]
"""Path and contents."""


def _files(
    source: Source | UnpackedSource, discovery: Discovery, kit: bytes
) -> tuple[_FileContents, _FileContents]:
    """meta.mat and ground truth of a devkit's directory, or of the one within it."""
    nested = [n for n in discovery.directories(kit) if DEVKIT_NAMES.fullmatch(n)]
    is_nested = nested and _DATA not in discovery.directories(kit)
    data = join_path(join_path(kit, nested[0]) if is_nested else kit, _DATA)
    data = kit if _has_meta(discovery, kit) else data
    if kit in discovery.names and not discovery.names[kit]:
        raise ArchiveError(f"{os.fsdecode(kit)} is empty")
    wanted = (devkit.META_NAMES, devkit.TRUTH_NAMES)
    first, second = (_first(source, data, names) for names in wanted)
    return first, second


def _first(
    source: Source | UnpackedSource, directory: bytes, names: tuple[bytes, ...]
) -> _FileContents:
    """The first of these files that is there."""
    missing: ImagenetfsError | None = None
    for name in names:
        path = join_path(directory, name)
        try:
            return path, source.read_whole(path)
        except SourceReadError as error:
            missing = missing or error
    assert missing is not None
    raise missing


def read_words(
    discovery: Discovery,
    source: Source | UnpackedSource,
    kit: Devkit | None,
    wanted: Container[bytes],
) -> tuple[dict[bytes, str], dict[bytes, bytes]]:
    """The words of the ``wanted`` wnids: the devkit's, else Kaggle's, else tiny's, which has all
    of WordNet's nouns, else those that the package has; and the path of the file that each wnid's
    are from.
    """
    words: dict[bytes, str] = {}
    known_from: dict[bytes, bytes] = {}

    def take(path: bytes, found: dict[bytes, str]) -> None:
        words.update(found)
        known_from.update(dict.fromkeys(found, _file_of(discovery)(path)))

    root = discovery.root(TINY)
    if root is not None and _WORDS in discovery.files(root):
        path = join_path(root, _WORDS)
        take(path, _read_words(discovery, source, path, b"\t", wanted))
    for where in dict.fromkeys(_above(discovery, discovery.root(ILSVRC2012))):
        if _MAPPING in discovery.files(where):
            path = join_path(where, _MAPPING)
            take(path, _read_words(discovery, source, path, b" ", wanted))
            break
    if kit is None:
        return words_of(wanted) | words, known_from
    take(kit.meta_path, {wnid: known for wnid, known in kit.words.items() if wnid in wanted})
    return words, known_from


def _read_words(
    discovery: Discovery,
    source: Source | UnpackedSource,
    path: bytes,
    separator: bytes,
    wanted: Container[bytes],
) -> dict[bytes, str]:
    try:
        text = source.read_whole(path)
    except ImagenetfsError as error:
        discovery.warnings.append(f"{os.fsdecode(path)} cannot be used: {error}")
        return {}
    pairs = (line.partition(separator) for line in text.splitlines())
    return {
        wnid: known.strip().decode("utf-8", "replace")
        for wnid, _, known in pairs
        if known and wnid in wanted
    }
