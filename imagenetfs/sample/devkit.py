"""The development kits: meta.mat, the ground truth of val, and the words around them.

meta.mat is MATLAB's level 5 format, written by scipy.io.savemat: ``synsets`` is an (N, 1) struct
array with the fields in the order below. Leaves come first, ILSVRC2012_ID 1 to K, then the nodes
above them. The header's text is fixed, because savemat would put the time of day into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagenetfs.sample import hierarchy, members, synsets

_FIELDS = (
    "ILSVRC2012_ID",
    "WNID",
    "words",
    "gloss",
    "num_children",
    "children",
    "wordnet_height",
    "num_train_images",
)
_HEADER = b"MATLAB 5.0 MAT-file, Platform: GLNXA64, Created on: Fri Jun 08 12:00:00 2012"
_HEADER_SIZE = 116  # bytes of text at the start of a level 5 MAT-file

_README = """\
ILSVRC2012 development kit, as `imagenetfs sample` makes it: the layout is that of the real one,
the images it speaks of are drawn, and IDs other than 1 to 10 and 1000 are not the real ones.

data/meta.mat
    `synsets`: one row a synset; the {classes} classes have ILSVRC2012_ID 1 to {classes} and no
    children, the rows after them are synsets above the classes.
{truth}"""
_TRUTH = """\
data/ILSVRC2012_validation_ground_truth.txt
    One ILSVRC2012_ID a line, in ascending order of the names of the validation images.
"""
_EVALUATION = """\
% ILSVRC2012: flat error of five guesses an image, against the ground truth.
function error = eval_flat(guesses, truth)
    error = mean(all(guesses(:, 1:5) ~= truth, 2));
end
"""


def write_devkit(
    directory: Path, train_counts: Mapping[str, int], ground_truth: Sequence[int] | None
) -> None:
    """Write a kit: ``train_counts`` maps wnid to number of train images, in the order of the
    IDs; ``ground_truth`` holds one ID a val image (without it no such file is written)."""
    data = directory / "data"
    data.mkdir(parents=True)
    _write_meta(data / "meta.mat", train_counts)
    truth = "" if ground_truth is None else _TRUTH
    readme = _README.format(classes=len(train_counts), truth=truth)
    members.write_file(directory / "readme.txt", readme.encode())
    members.write_file(directory / "evaluation" / "eval_flat.m", _EVALUATION.encode())
    if ground_truth is not None:
        # No newline after the last line: so it is in the real kit.
        text = "\n".join(str(each) for each in ground_truth)
        members.write_file(data / "ILSVRC2012_validation_ground_truth.txt", text.encode())


def _write_meta(path: Path, train_counts: Mapping[str, int]) -> None:
    from scipy import io

    with path.open("wb") as file:
        io.savemat(file, {"synsets": _rows(train_counts)}, do_compression=True, oned_as="row")
        file.seek(0)
        file.write(_HEADER.ljust(_HEADER_SIZE))
    members.stamp(path, members.JUNE_2012)


def _rows(train_counts: Mapping[str, int]) -> np.ndarray[Any, np.dtype[np.object_]]:
    """The (N, 1) struct array: every field an object, numbers as MATLAB's doubles."""
    above = hierarchy.ancestors_of(list(train_counts))
    order = [*train_counts, *(node.wnid for node in above)]
    ids = {wnid: place + 1 for place, wnid in enumerate(order)}
    below = {node.wnid: sorted(ids[child] for child in node.children) for node in above}
    height = {node.wnid: node.height for node in above}
    rows = np.empty((len(order), 1), dtype=[(field, object) for field in _FIELDS])
    for place, wnid in enumerate(order):
        synset = synsets.table()[wnid]
        children = np.array(below.get(wnid, []), dtype=np.float64)
        rows[place, 0] = (
            float(place + 1),
            wnid,
            synset.words,
            synset.gloss,
            float(len(children)),
            children.reshape(1, -1) if len(children) else np.empty((0, 0)),
            float(height.get(wnid, 0)),
            float(train_counts.get(wnid, 0)),
        )
    return rows
