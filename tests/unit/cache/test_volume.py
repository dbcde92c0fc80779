"""By what a file is known again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagenetfs.cache.volume import Identity, Volume

ONE = Identity(b"ILSVRC2012/t.tar", 1 << 37, 1_300_000_000_000_000_000, 77, 12345)


def test_the_same_file_has_the_same_key() -> None:
    assert len(ONE.key) == 32
    assert replace(ONE).key == ONE.key


def test_a_key_outlives_the_version_that_made_it() -> None:
    """Another key for the same file would make every cache cold, and leave what it held behind."""
    known = "de341bceef98115e7c5f41e020f8734af508199ce950d7cd3e5c885315feb930"
    assert ONE.key.hex() == known


@pytest.mark.parametrize(
    "other",
    [
        replace(ONE, path=b"ILSVRC2012/u.tar"),
        replace(ONE, size=ONE.size + 1),
        replace(ONE, mtime_ns=ONE.mtime_ns + 1),
        replace(ONE, inode=78),
        replace(ONE, sample=12346),
        replace(ONE, form="unpacked"),
        replace(ONE, size=ONE.inode, inode=ONE.size),
        replace(ONE, path=b""),
    ],
)
def test_another_file_has_another(other: Identity) -> None:
    assert other.key != ONE.key


def test_a_volume_is_itself_and_no_other_of_the_same_key() -> None:
    """Each process counts, and has its segments open, for itself."""
    first, second = Volume(ONE.key, 5, {}), Volume(ONE.key, 5, {})
    assert first != second
    first.segments.clear()
    first.tally[0] = [1, 2, 3]
    assert second.tally == {}
