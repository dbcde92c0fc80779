"""What is not shown: numbers by reason, the first names, and how it is told."""

from __future__ import annotations

import pytest

from imagenetfs.tree.left_out import PHRASES, QUIET, LeftOut, Reason


def test_numbers_and_the_first_names_of_each_reason() -> None:
    one = LeftOut()
    assert not one
    for name in (b"a", b"b\xff", b"c", b"d"):
        one.add(Reason.REFUSED, name)
    one.add(Reason.LINK, b"l", 7)
    assert one
    assert one.counts == {Reason.REFUSED: 4, Reason.LINK: 7}
    assert one.first == {Reason.REFUSED: ["a", r"b\xff", "c"], Reason.LINK: ["l"]}


def test_those_of_another_are_added_and_not_shared() -> None:
    one, other = LeftOut(), LeftOut()
    one.add(Reason.LINK, b"a")
    other.add(Reason.LINK, b"b", 2)
    other.add(Reason.BELOW, b"x")
    for _ in range(3):
        one.add_all(other)
    assert one.counts == {Reason.LINK: 7, Reason.BELOW: 3}
    assert one.first == {Reason.LINK: ["a", "b", "b"], Reason.BELOW: ["x", "x", "x"]}
    one.add(Reason.BELOW, b"y")
    assert (other.counts, other.first[Reason.BELOW]) == ({Reason.LINK: 2, Reason.BELOW: 1}, ["x"])


def test_what_the_ledger_tells_in_the_order_of_the_reasons() -> None:
    one = LeftOut()
    for reason in reversed(Reason):
        one.add(reason, b"x")
    assert one.to_tell == [reason for reason in Reason if reason not in QUIET]
    assert list(one.as_json()) == [reason.value for reason in Reason]
    assert one.as_json()["link"] == {"files": 1, "first": ["x"]}


@pytest.mark.parametrize(
    ("reason", "count", "phrase"),
    [
        (Reason.NO_LABEL, 13, "13 files without a label (first: a)"),
        (Reason.NO_LABEL, 1, "1 file without a label (first: a)"),
        (Reason.LINK, 1, "1 file behind symbolic links that are not followed (first: a)"),
        (Reason.UNREADABLE, 12_345, "12,345 files not readable (first: a)"),
    ],
)
def test_a_phrase(reason: Reason, count: int, phrase: str) -> None:
    one = LeftOut()
    one.add(reason, b"a", count)
    assert one.phrase(reason) == phrase


def test_each_reason_can_be_told() -> None:
    assert set(PHRASES) == set(Reason)
