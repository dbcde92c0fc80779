"""The development kit's label files: which class has which number, and what is on each val image.

``data/meta.mat`` (MATLAB 5): ``synsets``, an (N, 1) struct array with the fields ILSVRC2012_ID,
WNID, words, gloss, num_children, children, wordnet_height, num_train_images; the leaves (no
children) have the IDs 1..1000. ``data/ILSVRC2012_validation_ground_truth.txt``: one ILSVRC2012_ID a
line, in ascending order of the val images' names. Formats as in the kit's own readme.txt.
"""

from __future__ import annotations

import io
import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imagenetfs.errors import ArchiveError, HelperDiedError
from imagenetfs.system.confined_call import call_confined

_NUMBER = re.compile(rb"-?\d{1,9}")
_WNID = re.compile(r"n\d{8}")
_ID = re.compile(r"ILSVRC20\d\d_ID")

_LARGEST = 1 << 26
"""Bytes; the real files have 140 KB and less."""

META_NAMES = (b"meta.mat", b"meta_clsloc.mat")
TRUTH_NAMES = (
    b"ILSVRC2012_validation_ground_truth.txt",
    b"ILSVRC2014_clsloc_validation_ground_truth.txt",
    b"ILSVRC2013_clsloc_validation_ground_truth.txt",
    b"ILSVRC2015_clsloc_validation_ground_truth.txt",
)
"""In data/: as the kit of 2012 has them, then those of later years, with the same val images."""

META_MAT = b"data/" + META_NAMES[0]
GROUND_TRUTH = b"data/" + TRUTH_NAMES[0]


@dataclass(frozen=True, slots=True)
class Devkit:
    """``wnids``: ILSVRC2012_ID -> wnid of the leaves; ``words``: wnid -> words, ancestors included;
    ``truth``: the ILSVRC2012_ID of val image number k at position k - 1; ``train_images``: the
    number of train images of each leaf, empty where the kit does not say; ``meta``: reads meta.mat
    once more, for what is not kept (:func:`synsets`)."""

    wnids: dict[int, bytes]
    words: dict[bytes, str]
    truth: tuple[int, ...]
    meta_path: bytes = b""
    truth_path: bytes = b""
    """Where the source has the two files: one path where it has the kit's archive."""
    train_images: Mapping[bytes, int] = field(default_factory=dict)
    meta: Callable[[], bytes] | None = None

    @property
    def paths(self) -> tuple[bytes, ...]:
        """Both paths, or the one."""
        return tuple(dict.fromkeys((self.meta_path, self.truth_path)))

    def val_wnid(self, number: int) -> bytes | None:
        """The class of val image ``number`` (from 1), or None where the kit does not say."""
        if 1 <= number <= len(self.truth):
            return self.wnids.get(self.truth[number - 1])
        return None


@dataclass(frozen=True, slots=True)
class KitSynset:
    """A row of the kit: ``number`` is its ILSVRC2012_ID, ``children`` are wnids."""

    number: int
    words: str
    gloss: str
    children: tuple[bytes, ...]


def synsets(meta_mat: bytes) -> dict[bytes, KitSynset]:
    """All rows by wnid, those above the leaves too. Raises what :func:`parse` raises."""
    rows = _read_rows(lambda: _long_rows(meta_mat))
    wnids = {number: wnid.encode() for number, wnid, *_ in rows}
    return {
        wnid.encode(): KitSynset(
            number, words, gloss, tuple(wnids[child] for child in children if child in wnids)
        )
        for number, wnid, words, gloss, children in rows
    }


def parse(meta_mat: bytes, ground_truth: bytes) -> Devkit:
    """The kit's contents. Raises ArchiveError where a file is not what it should be,
    HelperDiedError where the process that reads it cannot work.
    """
    wnids, words, train_images = _classes(meta_mat)
    lines = ground_truth.split()
    kinds = set(lines)  # there are 1,000 classes and 50,000 lines
    if not all(map(_NUMBER.fullmatch, kinds)):
        raise ArchiveError("the devkit's ground truth is no list of numbers")
    numbers = {line: int(line) for line in kinds}
    truth = tuple(map(numbers.__getitem__, lines))
    counted = set(numbers.values())
    if 0 in counted and 0 not in wnids and counted - {0} <= wnids.keys():
        raise ArchiveError("the devkit's ground truth counts classes from 0, its meta.mat from 1")
    return Devkit(wnids, words, truth, train_images=train_images)


def unpacked(archive: bytes) -> tuple[bytes, bytes]:
    """(meta.mat, ground truth) from the kit as it is downloaded, a tar, compressed or not.

    Raises ArchiveError where it is none, or has them not.
    """
    found: dict[bytes, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                parts = member.name.encode("utf-8", "surrogateescape").split(b"/")
                is_wanted = parts[-2:-1] == [b"data"] and parts[-1] in (*META_NAMES, *TRUTH_NAMES)
                file = tar.extractfile(member) if is_wanted and member.isreg() else None
                if file is not None and member.size <= _LARGEST:
                    found[parts[-1]] = file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ArchiveError(f"the devkit's archive cannot be read: {error}") from None
    first, second = (
        next((found[name] for name in names if name in found), None)
        for names in (META_NAMES, TRUTH_NAMES)
    )
    if first is None or second is None:
        missing = META_MAT if first is None else GROUND_TRUTH
        raise ArchiveError(f"the devkit's archive has no {missing.decode()}")
    return first, second


def _classes(meta_mat: bytes) -> tuple[dict[int, bytes], dict[bytes, str], dict[bytes, int]]:
    """(ILSVRC2012_ID -> wnid of the leaves, wnid -> words of all, wnid -> train images)."""
    rows = _read_rows(lambda: _rows(meta_mat))
    leaves = [row for row in rows if row[3] == 0]
    wnids = {number: wnid.encode() for number, wnid, *_ in leaves}
    if not wnids:
        raise ArchiveError("the devkit's meta.mat names no classes")
    counts = {wnid.encode(): images for _, wnid, _, _, images in leaves if images > 0}
    words = {wnid.encode(): words for _, wnid, words, *_ in rows}
    return wnids, words, counts if len(counts) == len(wnids) else {}


def _read_rows(read: Callable[[], bytes]) -> list[Any]:
    """The JSON that ``read`` makes of meta.mat in a process of its own."""
    try:
        found: list[Any] = json.loads(call_confined(read))
    except ArchiveError as error:
        raise ArchiveError(f"the devkit's meta.mat cannot be read: {error.reason}") from None
    except HelperDiedError as error:
        raise HelperDiedError(f"the devkit's meta.mat was not read: {error}") from None
    return found


def _long_rows(meta_mat: bytes) -> bytes:
    """JSON of [ILSVRC2012_ID, wnid, words, gloss, children's IDs] a row. In a process of its
    own.
    """
    from scipy.io import loadmat

    found = []
    for row in np.atleast_1d(loadmat(io.BytesIO(meta_mat), squeeze_me=True)["synsets"]):
        fields = row.dtype.names
        number = next(name for name in fields if _ID.fullmatch(name))
        gloss = str(row["gloss"]) if "gloss" in fields else ""
        count = int(row["num_children"]) if "num_children" in fields else 0
        below = np.atleast_1d(row["children"]).ravel()[:count] if count else ()
        children = [int(child) for child in below]
        found.append([int(row[number]), str(row["WNID"]), str(row["words"]), gloss, children])
    return json.dumps(found).encode()


def _rows(meta_mat: bytes) -> bytes:
    """JSON of [ILSVRC2012_ID, wnid, words, number of children, of train images (-1 where that is
    not told)] a row. In a process of its own.
    """
    from scipy.io import loadmat

    found = []
    rows = np.atleast_1d(loadmat(io.BytesIO(meta_mat), squeeze_me=True)["synsets"])
    counts = "num_train_images" in (rows.dtype.names or ())
    for row in rows:
        wnid = str(row["WNID"])
        if not _WNID.fullmatch(wnid):
            raise ValueError(f"{wnid!r} is no WordNet id")
        fields = row.dtype.names
        number = next(name for name in fields if _ID.fullmatch(name))
        children = int(row["num_children"]) if "num_children" in fields else 0
        images = int(row["num_train_images"]) if counts else -1
        found.append([int(row[number]), wnid, str(row["words"]), children, images])
    return json.dumps(found).encode()
