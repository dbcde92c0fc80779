"""In which order a dataset's samples stand in their archives, where that can be known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

ATTRIBUTE = "user.imagenetfs.order"
"""Of a class's directory in a mount: which of its images, by their place in the order of names,
stands first in the archives, which second, ...: 16 bits each, little-endian.
"""


def stored_order(dataset: Any) -> Numbers | None:
    """The numbers of the samples, class by class, in the order in which they stand in the archives.

    None where it is not known: the dataset is neither a folder of classes of a mount, by our
    ImageFolder or torchvision's, nor one over a split. Every rank has the same answer where every
    rank reads by the same way.
    """
    samples, targets = getattr(dataset, "samples", None), getattr(dataset, "targets", None)
    if not isinstance(samples, Sequence) or not isinstance(targets, Sequence):
        return None
    if not len(samples) == len(targets) == len(dataset) > 0:
        return None
    told = getattr(getattr(dataset, "split", None), "stored_order", None)  # torchvision's is a name
    if told is not None:
        order: Numbers = told()
        return order if len(order) == len(dataset) else None
    labels = np.asarray(targets)
    if bool(np.any(labels[1:] < labels[:-1])):
        return None
    starts = [0, *(np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist(), len(labels)]
    parts = []
    for start, stop in pairwise(starts):
        part = _order_of_class(samples[start], stop - start)
        if part is None:
            return None
        parts.append(start + part)
    return np.concatenate(parts)


def _order_of_class(sample: Sequence[Any], count: int) -> Numbers | None:
    """The order of a class, told by the directory of its first sample."""
    try:
        value = os.getxattr(Path(sample[0]).parent, ATTRIBUTE)
    except (OSError, TypeError, ValueError):  # no mount of ours, or no path
        return None
    order = np.frombuffer(value, dtype="<u2").astype(np.int64)
    return order if np.array_equal(np.sort(order), np.arange(count)) else None
