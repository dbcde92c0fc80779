"""The table of an npz: one row a picture, its name and its place computed from its number.

A row is ``<npz stem>_<row>.png``, six digits from 000000, and its file is a PNG of fixed
size. Stored are only the labels, 2 bytes a row, and the rows in the order of their labels, so
that a class is a slice.

Columns: ``labels``; ``order``, the rows sorted by label, then by number; ``starts``, where label k
begins in ``order``. meta: ``stem`` (hex), ``side`` in pixels, ``mtime`` in ns, and where the pixels
are: ``stored``, ``place``, ``packed``, ``header``, ``size``, ``crc`` as in
:class:`imagenetfs.formats.npz.Array`.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from imagenetfs.errors import ArchiveError
from imagenetfs.formats import npz, png
from imagenetfs.index.columns import Array, pack, smallest, unpack

_NONE: Array = np.zeros(0, dtype=np.int64)
_MODE = stat.S_IFREG | 0o444
_SUFFIX = b".png"
_MOST_LABEL = 0xFFFF
_MOST_LABEL_BYTES = 1 << 26


def encode_array_table(
    read_at: npz.ReadAt,
    size: int,
    path: bytes,
    mtime_ns: int,
    seen: Mapping[str, int] | None = None,
) -> bytes:
    """The block of the npz at ``path``; ``seen`` is how it is known again.

    Raises ArchiveError where it holds no labelled pictures.
    """
    arrays = npz.arrays(read_at, size)
    data, side = _pictures(arrays)
    rows = data.shape[0]
    labels = _labels(read_at, arrays.get("labels"), rows)
    order = np.argsort(labels, kind="stable")
    top = int(labels.max()) + 1 if rows else 0
    starts = np.searchsorted(labels[order], np.arange(top + 1))
    meta = {
        "rows": rows,
        "stem": path.rpartition(b"/")[2].removesuffix(b".npz").hex(),
        "side": side,
        "mtime": mtime_ns,
        "stored": data.stored,
        "place": data.place,
        "packed": data.packed,
        "header": data.header,
        "size": data.size,
        "crc": data.crc,
        **(seen or {}),
    }
    columns = {"labels": labels, "order": smallest(order), "starts": smallest(starts)}
    return pack(columns, meta)


def _pictures(arrays: dict[str, npz.Array]) -> tuple[npz.Array, int]:
    """The array ``data``, and the side of its pictures in pixels."""
    data = arrays.get("data")
    if data is None:
        raise ArchiveError("there is no array `data` in it")
    per_row = math.prod(data.shape[1:])
    side = math.isqrt(per_row // 3)
    planes = data.shape[1:] in ((3 * side * side,), (3, side, side))
    if data.dtype != np.uint8 or not planes or not 1 <= side <= png.MAX_SIDE:
        raise ArchiveError(
            f"`data` is {data.dtype} of shape {data.shape}, and no rows of square RGB pictures"
        )
    return data, side


def _labels(read_at: npz.ReadAt, array: npz.Array | None, rows: int) -> Array:
    """The labels as u2; zeros, which no class has, where there are none."""
    if array is None:
        return np.zeros(rows, dtype=np.uint16)
    if array.dtype.kind not in "iu" or math.prod(array.shape) != rows:
        raise ArchiveError(f"`labels` is {array.dtype} of shape {array.shape} for {rows:,} rows")
    if array.size > _MOST_LABEL_BYTES:
        raise ArchiveError(f"`labels` has {array.size:,} bytes, more than labels can have")
    labels = np.frombuffer(b"".join(npz.contents(read_at, array)), dtype=array.dtype)
    if rows and not 0 <= labels.min() <= labels.max() <= _MOST_LABEL:
        raise ArchiveError(f"`labels` are from {labels.min()} to {labels.max()}")
    return labels.astype(np.uint16)


class ArrayTable:
    """The table as it lies in memory: see :class:`imagenetfs.index.table.Table`."""

    __slots__ = (
        "_mtime_ns",
        "_png_size",
        "_prefix",
        "data",
        "labels",
        "order",
        "rows",
        "side",
        "starts",
    )

    nested: Array = _NONE
    links: dict[int, bytes] = {}  # noqa: RUF012
    sparse: dict[int, tuple[tuple[int, int], ...]] = {}  # noqa: RUF012
    problem: str | None = None
    left_out: str | None = None
    doubt: str | None = None

    def __init__(self, block: memoryview) -> None:
        """Raises ArchiveError where the block is no array's table."""
        columns, meta = unpack(block)
        try:
            self._take(columns, meta)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArchiveError(f"a block of the index is damaged ({error})") from None

    def _take(self, columns: dict[str, Array], meta: dict[str, Any]) -> None:
        self.labels, self.order, self.starts = (columns[c] for c in ("labels", "order", "starts"))
        self.rows: int = meta["rows"]
        if len(self.labels) != self.rows or len(self.order) != self.rows:
            raise ArchiveError("a block of the index is damaged (columns of unequal length)")
        self.side: int = meta["side"]
        self.data = _data(meta)
        self._prefix = bytes.fromhex(meta["stem"]) + b"_"
        self._mtime_ns: int = meta["mtime"]
        self._png_size = png.png_size(self.side)

    def __len__(self) -> int:
        return self.rows

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of ``data``."""
        return 3 * self.side * self.side

    def name(self, row: int) -> bytes:
        return self._prefix + b"%06d" % row + _SUFFIX

    def base_name(self, row: int) -> bytes:
        return self.name(row)

    def child(self, row: int, name: bytes) -> int:
        return self.find(name)

    def offset(self, row: int) -> int:
        """Where the row's pixels are in the file, in bytes, if the array is stored."""
        return self.data.offset + row * self.row_bytes

    def size(self, row: int) -> int:
        return self._png_size

    def mtime_ns(self, row: int) -> int:
        return self._mtime_ns

    def mode(self, row: int) -> int:
        return _MODE

    def owner(self, row: int) -> int:
        return row

    def links_to(self, row: int) -> int:
        return 1

    def children(self, row: int = -1) -> Iterator[int]:
        return iter(range(self.rows))

    def within(self, row: int) -> range:
        return range(row + 1, row + 1)

    def directories(self) -> Array:
        return _NONE

    def regular(self) -> Array:
        return np.arange(self.rows, dtype=np.int64)

    def find(self, name: bytes) -> int:
        digits = name[len(self._prefix) : -len(_SUFFIX)]
        if not digits.isdigit() or len(digits) > 18:
            return -1
        row = int(digits)
        return row if row < self.rows and self.name(row) == name else -1

    def of_label(self, label: int) -> Array:
        """The rows with this label, ascending."""
        if not 0 <= label < len(self.starts) - 1:
            return self.order[:0]
        return self.order[int(self.starts[label]) : int(self.starts[label + 1])]


def _data(meta: dict[str, Any]) -> npz.Array:
    return npz.Array(
        "data",
        np.dtype(np.uint8),
        (meta["rows"], 3 * meta["side"] ** 2),
        meta["stored"],
        meta["place"],
        meta["packed"],
        meta["header"],
        meta["size"],
        meta["crc"],
    )
