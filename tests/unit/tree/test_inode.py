"""Inode numbers: every field comes back, kinds never meet, bit 63 stays clear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.index.archives import OUTER
from imagenetfs.limits import MAX_ARCHIVES
from imagenetfs.tree.inode import (
    MAX_INNER,
    ROW_BITS,
    ROW_MASK,
    InodeKind,
    base,
    class_fields,
    class_inode,
    fields,
    has_row_bits,
    inode,
    kind_of,
    max_rows,
)
from tests.helpers.examples import examples

_KINDS = st.sampled_from([kind for kind in InodeKind if kind != InodeKind.FIXED])
_ARCHIVES = st.integers(0, MAX_ARCHIVES - 1)
_NUMBERS = st.one_of(
    st.integers(0, MAX_INNER - 1), st.sampled_from([0, (1 << 14) - 1, 1 << 14, MAX_INNER - 1])
)
_PLACES = (_NUMBERS | st.just(OUTER)).flatmap(
    lambda inner: st.tuples(
        st.just(inner),
        st.integers(0, max_rows(inner)) | st.sampled_from([0, 1, max_rows(inner)]),
    )
)


@pytest.mark.slow
@examples(200)
@given(_KINDS, _ARCHIVES, _PLACES)
def test_rows_that_are_the_lowest_bits(
    kind: InodeKind, archive: int, place: tuple[int, int]
) -> None:
    inner, row = place
    number = inode(kind, archive, inner, row)
    first = base(kind, archive, inner)
    stands_alone = (number >> ROW_BITS, number & ROW_MASK) == (first >> ROW_BITS, row)
    assert has_row_bits(number) == (stands_alone and (inner == OUTER or inner < 1 << 14))


@pytest.mark.slow
@examples(500)
@given(_KINDS, _ARCHIVES, _PLACES)
def test_round_trip(kind: InodeKind, archive: int, place: tuple[int, int]) -> None:
    inner, row = place
    number = inode(kind, archive, inner, row)
    assert 0 < number < 1 << 63
    assert kind_of(number) == kind
    assert fields(number) == (archive, inner, row)
    assert base(kind, archive, inner) + row == number


@examples()
@given(st.integers(0, MAX_ARCHIVES - 1), st.integers(0, (1 << 40) - 1))
def test_classes(split: int, number: int) -> None:
    directory = class_inode(split, number)
    assert kind_of(directory) == InodeKind.CLASS
    assert class_fields(directory) == (split, number)
    assert 0 < directory < 1 << 63


@examples()
@given(st.tuples(_KINDS, _ARCHIVES, _PLACES), st.tuples(_KINDS, _ARCHIVES, _PLACES))
def test_different_things_have_different_numbers(
    one: tuple[InodeKind, int, tuple[int, int]], other: tuple[InodeKind, int, tuple[int, int]]
) -> None:
    numbers = [inode(kind, archive, *place) for kind, archive, place in (one, other)]
    assert (numbers[0] == numbers[1]) == (one == other)


def test_a_row_without_a_number_has_none_of_another() -> None:
    for inner in (0, (1 << 14) - 1, 1 << 14, MAX_INNER - 1, OUTER):
        with pytest.raises(OverflowError):
            inode(InodeKind.FILE, 0, inner, max_rows(inner) + 1)
    with pytest.raises(OverflowError):
        inode(InodeKind.FILE, 0, MAX_INNER, 0)


def test_all_of_imagenet_has_numbers_within_one_inner_container() -> None:
    assert max_rows(0) > 1_281_167
    assert fields(inode(InodeKind.FILE, 0, 0, 1_281_167)) == (0, 0, 1_281_167)


def test_every_kind_fits_into_three_bits() -> None:
    assert max(InodeKind) < 8
    assert len(set(InodeKind)) == len(InodeKind)


def test_fixed_nodes_are_their_own_numbers() -> None:
    assert kind_of(1) == InodeKind.FIXED
    assert kind_of((1 << 60) - 1) == InodeKind.FIXED
