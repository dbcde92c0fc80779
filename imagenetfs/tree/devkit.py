"""The development kit's label files: which class has which number, and what is on each val image.

``data/meta.mat`` (MATLAB 5): ``synsets``, an (N, 1) struct array with the fields ILSVRC2012_ID, WNID,
words, gloss, num_children, children, wordnet_height, num_train_images; the leaves (no children) have the
IDs 1..1000. ``data/ILSVRC2012_validation_ground_truth.txt``: one ILSVRC2012_ID a line, in ascending order
of the val images' names. Formats as in the kit's own readme.txt.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from imagenetfs.errors import ArchiveError

META_MAT = b"data/meta.mat"
GROUND_TRUTH = b"data/ILSVRC2012_validation_ground_truth.txt"


@dataclass(frozen=True, slots=True)
class Devkit:
    """``wnids``: ILSVRC2012_ID -> wnid of the leaves; ``words``: wnid -> words, ancestors included;
    ``truth``: the ILSVRC2012_ID of val image number k at position k - 1."""

    wnids: dict[int, bytes]
    words: dict[bytes, str]
    truth: tuple[int, ...]

    def val_wnid(self, number: int) -> bytes | None:
        """The class of val image ``number`` (from 1), or None where the kit does not say."""
        if 1 <= number <= len(self.truth):
            return self.wnids.get(self.truth[number - 1])
        return None


def parse(meta_mat: bytes, ground_truth: bytes) -> Devkit:
    """The kit's contents. Raises ArchiveError where a file is not what it should be."""
    wnids: dict[int, bytes] = {}
    words: dict[bytes, str] = {}
    for row in _synsets(meta_mat):
        wnid = str(row["WNID"]).encode()
        words[wnid] = str(row["words"])
        if int(row["num_children"]) == 0:
            wnids[int(row["ILSVRC2012_ID"])] = wnid
    try:
        truth = tuple(int(line) for line in ground_truth.split())
    except ValueError as error:
        raise ArchiveError(f"the devkit's ground truth is no list of numbers ({error})") from None
    return Devkit(wnids, words, truth)


def _synsets(meta_mat: bytes) -> Any:
    from scipy.io import loadmat  # a third of a second, and needed only while a catalogue is built

    try:
        return loadmat(io.BytesIO(meta_mat), squeeze_me=True)["synsets"]
    except Exception as error:  # scipy documents no closed set of errors for a damaged file
        raise ArchiveError(f"the devkit's meta.mat cannot be read ({error})") from None
