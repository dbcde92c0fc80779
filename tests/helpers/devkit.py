"""The files of a development kit, written by scipy."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.io import savemat

LEAVES = [b"n%08d" % n for n in (7, 3, 9, 5)]


def meta_mat(
    wnids: Sequence[bytes] = LEAVES,
    ancestors: int = 2,
    compress: bool = True,
    above: bool = False,
    **fields: Any,
) -> bytes:
    """A meta.mat as the kit has it: leaves with IDs from 1, then their ancestors. ``above``: with
    glosses and children; the first ancestor has all leaves, and each other the one before it.
    """
    names: tuple[str, ...] = ("ILSVRC2012_ID", "WNID", "words", "num_children")
    names += ("gloss", "children") if above else ()
    rows = np.empty((len(wnids) + ancestors, 1), dtype=[(name, object) for name in names])
    for at in range(len(rows)):
        leaf = at < len(wnids)
        wnid = wnids[at].decode() if leaf else f"n1000000{at}"
        below = [] if leaf else [*range(1, len(wnids) + 1)] if at == len(wnids) else [at]
        count = float(len(below)) if above else 0.0 if leaf else 3.0
        row = (float(at + 1), wnid, f"word {at}, other", count)
        rows[at, 0] = (*row, f"gloss {at}", np.array(below, float)) if above else row
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": rows, **fields}, do_compression=compress)
    return buffer.getvalue()


def mat_file(**variables: Any) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, variables)
    return buffer.getvalue()
