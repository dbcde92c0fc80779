"""What a file is by its first bytes, and the command for one that is compressed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shlex
from pathlib import Path

import pytest

from imagenetfs.errors import SourceReadError
from imagenetfs.source.source import Source
from imagenetfs.tree.peek import Peek, compression, peek, plain_name, sentence_of_compressed
from tests.helpers.archives import tar_of
from tests.helpers.zips import zip_of

TAR = tar_of({"d/": b"", "d/a.JPEG": b"x", "b.JPEG": b"y", "c": b"z", "e": b"", "f": b""})


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"", Peek()),
        (b"short", Peek()),
        (b"x" * 2000, Peek()),
        (b"\0" * 1024, Peek()),
        (gzip.compress(TAR), Peek(compressed="gzip")),
        (lzma.compress(TAR), Peek(compressed="xz")),
        (bz2.compress(TAR), Peek(compressed="bzip2")),
        (b"\x28\xb5\x2f\xfd...", Peek(compressed="zstd")),
        (b"\x1f\x9d...", Peek(compressed="compress")),
        (lzma.compress(TAR, lzma.FORMAT_ALONE), Peek(compressed="lzma")),
        (tar_of({"]": b"x"}), Peek(((b"]", False),))),
        (zip_of({"a": b"x"}), Peek(is_zip=True)),
        (TAR, Peek(((b"d/", True), (b"d/a.JPEG", False), (b"b.JPEG", False), (b"c", False)))),
        (TAR[:1024] + b"broken" * 200, Peek(((b"d/", True), (b"d/a.JPEG", False)))),
    ],
    ids=range(14),
)
def test_what_a_file_begins_as(tmp_path: Path, data: bytes, seen: Peek) -> None:
    (tmp_path / "f").write_bytes(data)
    found = peek(Source(tmp_path), b"f")
    names = tuple((name.rstrip(b"/"), is_directory) for name, is_directory in found.names)
    expected = tuple((name.rstrip(b"/"), is_directory) for name, is_directory in seen.names)
    assert (names, found.compressed, found.is_zip) == (expected, seen.compressed, seen.is_zip)


def test_no_more_members_than_were_asked_for(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(TAR)
    for count in (1, 3, 6, 100):
        assert len(peek(Source(tmp_path), b"f", count).names) == min(count, 6)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceReadError):
        peek(Source(tmp_path), b"gone")


def test_bytes_that_are_too_few_to_tell() -> None:
    assert [compression(head) for head in (b"", b"\x1f", b"BZ", b"\xfd7zXZ")] == [""] * 4


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        (b"a/x.tar.gz", b"a/x.tar"),
        (b"x.tar.lzma", b"x.tar"),
        (b"x.tar.Z", b"x.tar"),
        (b"x.tar.zstd", b"x.tar"),
        (b"x.tgz", b"x.tar"),
        (b"a.gz/x.tbz2", b"a.gz/x.tar"),
        (b"x.tar", b"x.tar"),
        (b"x.gz.tar", b"x.gz.tar"),
    ],
)
def test_the_name_of_what_is_in_it(path: bytes, plain: bytes) -> None:
    assert plain_name(path) == plain


@pytest.mark.parametrize(
    ("path", "how", "words"),
    [
        (b"x.tar.gz", "gzip", "gunzip /s d/x.tar.gz"),
        (b"x.tar.zst", "zstd", "unzstd --rm /s d/x.tar.zst"),
        (b"x.tar.lzma", "lzma", "unlzma /s d/x.tar.lzma"),
        (b"x.tar.zstd", "zstd", "unzstd -c < /s d/x.tar.zstd > /s d/x.tar"),
        # gunzip takes no file of another ending
        (b"x.tgz", "gzip", "gunzip -c < /s d/x.tgz > /s d/x.tar"),
        (b"x.tar.gz", "xz", "unxz -c < /s d/x.tar.gz > /s d/x.tar"),
        (
            b"x.tar",
            "gzip",
            "gunzip -c < /s d/x.tar > /s d/x.tar.unpacked && mv /s d/x.tar.unpacked /s d/x.tar",
        ),
    ],
)
def test_the_command_that_unpacks_it(path: bytes, how: str, words: str) -> None:
    sentence = sentence_of_compressed(Path("/s d"), path, how)
    assert sentence.startswith(f"{os.fsdecode(path)} is compressed with {how}, and images cannot")
    command = sentence.partition("unpack it once (")[2].removesuffix(").")
    assert " ".join(shlex.split(command)) == words
