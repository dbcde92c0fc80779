"""Fixed nodes: a generated file is made once, when it is asked for."""

from __future__ import annotations

from imagenetfs.tree.node import FixedDirectory, GeneratedFile


def test_a_file_is_made_once_and_late() -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"0123456789"

    file = GeneratedFile(make)
    assert made == []
    assert (file.size(), file.read(0, 4), file.read(8, 10)) == (10, b"0123", b"89")
    assert file.read(10, 5) == file.read(99, 1) == file.read(3, 0) == b""
    assert made == [1]


def test_an_empty_file_is_made_once_too() -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b""

    file = GeneratedFile(make)
    assert (file.size(), file.read(0, 9), made) == (0, b"", [1])


def test_directories_share_nothing() -> None:
    one, other = FixedDirectory(), FixedDirectory()
    one.children[b"x"] = 7
    assert (other.children, other.hidden) == ({}, {})
