"""The form of all tables of the index: what is packed comes back, what is damaged is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.errors import ArchiveError
from imagenetfs.index.columns import pack, smallest, unpack
from tests.helpers.examples import examples

_TYPES = [np.uint8, np.uint16, np.uint32, np.uint64, np.int64]


def _column(dtype: type) -> st.SearchStrategy[Any]:
    bounds = np.iinfo(dtype)
    values = st.integers(int(bounds.min), int(bounds.max))
    return st.lists(values, max_size=20).map(lambda v: np.array(v, dtype=dtype))


@pytest.mark.slow
@examples()
@given(
    st.dictionaries(st.text(max_size=8), st.sampled_from(_TYPES).flatmap(_column), max_size=6),
    st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=4),
)
def test_round_trip(columns: dict[str, Any], meta: dict[str, Any]) -> None:
    block = pack(columns, meta)
    found, found_meta = unpack(memoryview(block))
    assert found_meta == meta
    assert list(found) == list(columns)
    for name, column in columns.items():
        assert found[name].dtype == column.dtype
        assert found[name].tolist() == column.tolist()


def test_columns_are_aligned_and_little_endian() -> None:
    big = np.array([1, 2, 3], dtype=">u4")
    block = pack({"a": np.array([1], dtype=np.uint8), "b": big}, {})
    columns, _ = unpack(memoryview(block))
    assert columns["b"].dtype.str == "<u4"
    assert columns["b"].tolist() == [1, 2, 3]
    start = block.index((1).to_bytes(4, "little") + (2).to_bytes(4, "little"))
    assert start % 8 == 0


def test_strided_columns_are_packed() -> None:
    column = np.arange(20, dtype=np.uint64)[::3]
    columns, _ = unpack(memoryview(pack({"a": column}, {})))
    assert columns["a"].tolist() == column.tolist()


def _small() -> bytes:
    return pack(
        {"names": np.arange(7, dtype=np.uint8), "ends": np.arange(300, 305, dtype=np.uint16)},
        {"rows": 5, "prefix": "6162"},
    )


def test_every_cut_is_refused() -> None:
    block = _small()
    whole = unpack(memoryview(block))[0]
    for length in range(len(block)):
        try:
            columns, _ = unpack(memoryview(block[:length]))
        except ArchiveError:
            continue
        # Only the padding behind the last column may be missing.
        assert {n: c.tolist() for n, c in columns.items()} == {
            n: c.tolist() for n, c in whole.items()
        }


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_every_flipped_byte_is_refused_or_stays_inside(mask: int) -> None:
    block = _small()
    for at in range(len(block)):
        damaged = bytearray(block)
        damaged[at] ^= mask
        try:
            columns, _ = unpack(memoryview(damaged))
        except ArchiveError:
            continue
        low = np.frombuffer(damaged, dtype=np.uint8).__array_interface__["data"][0]
        for column in columns.values():
            first = column.__array_interface__["data"][0]
            assert not len(column) or low <= first <= first + column.nbytes <= low + len(damaged)


def _block(header: object) -> memoryview:
    text = json.dumps(header).encode()
    text += b" " * (-(12 + len(text)) % 8)
    return memoryview(b"INFSCOL1" + len(text).to_bytes(4, "little") + text + bytes(64))


@pytest.mark.parametrize(
    "columns",
    [
        {"a": ["<u4", 0, 17]},
        {"a": ["<u4", 64, 1]},
        {"a": ["<u4", -1000, 1]},
        {"a": ["<f8", 0, 1]},
        {"a": ["|O", 0, 1]},
        {"a": [["<u4"], 0, 1]},
        {"a": ["<u4", 0.5, 1]},
        {"a": ["<u4", 0]},
        {"a": 3},
        {"a": None},
    ],
)
def test_columns_that_do_not_lie_within_the_block(columns: object) -> None:
    with pytest.raises(ArchiveError):
        unpack(_block({"meta": {}, "columns": columns}))


@pytest.mark.parametrize("header", [[], 3, None, {}, {"meta": {}}, {"columns": {}}])
def test_headers_that_are_none(header: object) -> None:
    with pytest.raises(ArchiveError):
        unpack(_block(header))


@pytest.mark.parametrize("columns", [[], 7, {"a": ["<u4", 0, 1 << 70]}, {"a": ["<u4", 1 << 70, 1]}])
def test_headers_of_a_wrong_shape(columns: object) -> None:
    with pytest.raises(ArchiveError):
        unpack(_block({"meta": {}, "columns": columns}))


@examples()
@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=10))
def test_smallest_keeps_every_value(values: list[int]) -> None:
    column = smallest(np.array(values, dtype=np.uint64))
    assert column.tolist() == values
    top = max(values, default=0)
    assert column.itemsize == next(n for n in (1, 2, 4, 8) if top < 1 << 8 * n)
