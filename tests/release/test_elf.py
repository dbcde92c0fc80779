"""What an ELF file needs: a file made here byte by byte, and the interpreter's own libraries."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy
import pytest

from tests.helpers.elf import elf
from tests.release.elf import Needs, NotElf, needs


def test_versions_of_a_library() -> None:
    found = needs(elf(183, "libc.so.6", ["GLIBC_2.17", "GLIBC_2.4", "OTHER_9"]))
    expected = {"libc.so.6": frozenset({"GLIBC_2.17", "GLIBC_2.4", "OTHER_9"})}
    assert found == Needs("aarch64", expected)
    assert found.glibc() == (2, 17)


def test_glibc_of_a_file_that_asks_for_none() -> None:
    assert needs(elf(62, "libc.so.6", ["GLIBC_PRIVATE"])).glibc() == (0,)
    assert needs(elf(40, "libc.so.6", ["GLIBC_2.2.5"])).machine == "machine 40"


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(60)])
def test_other_files(data: bytes) -> None:
    with pytest.raises(NotElf):
        needs(data)


def test_a_file_that_was_cut_off() -> None:
    whole = elf(62, "libc.so.6", ["GLIBC_2.14"])
    with pytest.raises(NotElf, match="ends too early"):
        needs(whole[:-30])


@pytest.mark.skipif(sys.maxsize < 2**32, reason="this module reads ELF of 64 bits")
def test_a_real_library() -> None:
    path = next(Path(numpy.__file__).parent.glob("_core/_multiarray_umath*.so"), None)
    if path is None:
        pytest.skip("numpy has its modules elsewhere")
    found = needs(path.read_bytes())
    assert "libc.so.6" in found.versions
    assert (2, 2) <= found.glibc() < (3,)
