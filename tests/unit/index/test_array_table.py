"""The table of an npz: names computed from rows, classes as slices, odd arrays refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.formats import png
from imagenetfs.index.array_table import ArrayTable, encode_array_table

RNG = np.random.default_rng(5)
DATA = RNG.integers(0, 256, (300, 192), dtype=np.uint8)
LABELS = RNG.integers(1, 11, 300)


def table(
    save: Any = np.savez, path: bytes = b"d/train_data_batch_3.npz", **arrays: Any
) -> ArrayTable:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    file = buffer.getvalue()
    return ArrayTable(
        memoryview(encode_array_table(lambda at, n: file[at : at + n], len(file), path, 42))
    )


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows(save: Any) -> None:
    rows = table(save, data=DATA, labels=LABELS, mean=DATA.mean(axis=0))
    assert (len(rows), rows.side, rows.row_bytes) == (300, 8, 192)
    assert rows.name(7) == b"train_data_batch_3_000007.png"
    assert (rows.size(7), rows.mtime_ns(7)) == (png.png_size(8), 42)
    assert all(rows.find(rows.name(row)) == row for row in range(300))
    for label in range(12):
        assert rows.of_label(label).tolist() == np.flatnonzero(label == LABELS).tolist()
    assert rows.of_label(10**6).tolist() == rows.of_label(-1).tolist() == []


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b"train_data_batch_3_000300.png",
        b"train_data_batch_3_7.png",
        b"train_data_batch_3_0000007.png",
        b"train_data_batch_3_00000\xb2.png",
        b"train_data_batch_3_000007.jpg",
        b"train_data_batch_4_000007.png",
        b"train_data_batch_3_" + b"9" * 30 + b".png",
    ],
)
def test_other_names_are_nothing(name: bytes) -> None:
    assert table(data=DATA, labels=LABELS).find(name) == -1


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", ">i4", "int64"])
def test_labels_of_any_integer_type(dtype: str) -> None:
    rows = table(data=DATA, labels=LABELS.astype(dtype))
    assert rows.labels.tolist() == LABELS.tolist()


def test_labels_as_a_list_or_a_column() -> None:
    assert table(data=DATA, labels=LABELS.tolist()).labels.tolist() == LABELS.tolist()
    assert table(data=DATA, labels=LABELS[:, None]).labels.tolist() == LABELS.tolist()
    assert set(table(data=DATA).labels.tolist()) == {0}


def test_planes_as_axes() -> None:
    assert table(data=DATA.reshape(-1, 3, 8, 8), labels=LABELS).side == 8


@pytest.mark.parametrize(
    "arrays",
    [
        {"labels": LABELS},
        {"data": DATA.astype("float32"), "labels": LABELS},
        {"data": DATA[:, :191], "labels": LABELS},
        {"data": DATA.reshape(-1, 8, 8, 3), "labels": LABELS},
        {"data": DATA, "labels": LABELS[:299]},
        {"data": DATA, "labels": LABELS - 5},
        {"data": DATA, "labels": LABELS * 10_000},
        {"data": DATA, "labels": LABELS / 2},
    ],
    ids=["no data", "float", "odd", "interleaved", "few", "negative", "large", "halves"],
)
def test_what_is_no_labelled_pictures(arrays: dict[str, Any]) -> None:
    with pytest.raises(ArchiveError):
        table(**arrays)


def test_no_rows() -> None:
    rows = table(data=DATA[:0], labels=LABELS[:0])
    assert len(rows) == 0
    assert rows.of_label(1).tolist() == []
