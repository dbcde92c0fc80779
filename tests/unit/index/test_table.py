"""Which table a block of the index holds."""

from __future__ import annotations

import inspect

import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.index.archives import Kind
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.index.member_encoder import MemberRows, encode_member_table
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.table import Table, table_of

BLOCK = memoryview(encode_member_table(MemberRows()))


@pytest.mark.parametrize("kind", [Kind.TAR, Kind.DIRECTORY])
def test_tars_and_directories_have_member_tables(kind: Kind) -> None:
    assert type(table_of(kind, BLOCK)) is MemberTable


def test_a_member_table_is_no_array_s() -> None:
    with pytest.raises(ArchiveError):
        table_of(Kind.NPZ, BLOCK)


@pytest.mark.parametrize("implementation", [MemberTable, ArrayTable])
def test_each_answers_all_that_a_table_is_asked(implementation: type) -> None:
    """The protocol's methods, with the same arguments."""
    for name, method in inspect.getmembers(Table, inspect.isfunction):
        if name.startswith("_") and name != "__len__":
            continue
        own = inspect.signature(getattr(implementation, name))
        assert list(own.parameters) == list(inspect.signature(method).parameters), name
