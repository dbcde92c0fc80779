"""The short form of tests/prove/fuzz_zip.py."""

from __future__ import annotations

from tests.prove import fuzz_zip


def test_damaged_zips_are_read_or_refused() -> None:
    """S1: and no range outside of the file is asked for."""
    read = [fuzz_zip.one(number) for number in range(150)]
    assert True in read
    assert False in read
