"""The files of a development kit, written by scipy."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.io import savemat

LEAVES = [b"n%08d" % n for n in (7, 3, 9, 5)]


def meta_mat(
    wnids: Sequence[bytes] = LEAVES, ancestors: int = 2, compress: bool = True, **fields: Any
) -> bytes:
    """A meta.mat as the kit has it: leaves with IDs from 1, then their ancestors."""
    names = ("ILSVRC2012_ID", "WNID", "words", "num_children")
    rows = np.empty((len(wnids) + ancestors, 1), dtype=[(name, object) for name in names])
    for at in range(len(rows)):
        leaf = at < len(wnids)
        wnid = wnids[at].decode() if leaf else f"n1000000{at}"
        rows[at, 0] = (float(at + 1), wnid, f"word {at}, other", 0.0 if leaf else 3.0)
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": rows, **fields}, do_compression=compress)
    return buffer.getvalue()


def mat_file(**variables: Any) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, variables)
    return buffer.getvalue()
