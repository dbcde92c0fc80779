"""The development kit: a sound one, damaged ones, and truths with strange lines."""

from __future__ import annotations

import io
import tarfile
from typing import Literal, get_args

import numpy as np
import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.tree.devkit import Devkit, parse, unpacked
from tests.helpers.devkit import LEAVES, mat_file, meta_mat
from tests.helpers.randomness import places


def test_a_sound_kit() -> None:
    kit = parse(meta_mat(), b"1\n4\n2\n2\n3")  # no newline behind the last line, as in the real one
    assert kit.wnids == dict(enumerate(LEAVES, 1))
    assert kit.words[LEAVES[0]] == "word 0, other"
    assert len(kit.words) == 6
    assert kit.truth == (1, 4, 2, 2, 3)
    assert [kit.val_wnid(n) for n in range(1, 6)] == [LEAVES[k] for k in (0, 3, 1, 1, 2)]


def test_images_that_the_kit_does_not_know() -> None:
    kit = parse(meta_mat(), b"1\n6\n99\n0\n-1\n2")
    assert [kit.val_wnid(n) for n in (-1, 0, 7, 10**6)] == [None] * 4
    # An ancestor's ID, none at all, zero and a negative one are no classes.
    assert [kit.val_wnid(n) for n in range(1, 7)] == [LEAVES[0], None, None, None, None, LEAVES[1]]


@pytest.mark.slow
@pytest.mark.parametrize("truth", [b"", b"\n\n", b" \r\n"])
def test_an_empty_truth(truth: bytes) -> None:
    assert parse(meta_mat(), truth).truth == ()


def test_carriage_returns_and_blanks() -> None:
    assert parse(meta_mat(), b"1\r\n 2\r\n\r\n3 \r\n").truth == (1, 2, 3)


@pytest.mark.slow
@pytest.mark.parametrize("truth", [b"1\nx\n2", b"1.5", b"\xff\xfe1\n", b"\0\0\0\0", b"n00000007\n"])
def test_a_truth_that_is_none(truth: bytes) -> None:
    with pytest.raises(ArchiveError, match="ground truth"):
        parse(meta_mat(), truth)


def test_a_number_with_an_underscore_is_none() -> None:
    with pytest.raises(ArchiveError):
        parse(meta_mat(), b"1_0\n")


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"", b"MATLAB", b"\0" * 128, b"PK\x03\x04" * 100, b"x" * 10_000])
def test_a_meta_mat_that_is_none(data: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"meta\.mat"):
        parse(data, b"1\n")


def _parsed(data: bytes) -> Devkit | None:
    try:
        return parse(data, b"1\n2\n3\n4\n")
    except ArchiveError:
        return None


@pytest.mark.slow
def test_truncated_meta_mat() -> None:
    whole = meta_mat()
    for length in range(0, len(whole), 23):
        assert _parsed(whole[:length]) is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_flipped_bytes_in_a_compressed_meta_mat() -> None:
    whole = meta_mat()
    sound = _parsed(whole)
    for at in places(range(128, len(whole)), 25):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        assert _parsed(bytes(damaged)) in (None, sound)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_flipped_bytes_in_a_plain_meta_mat() -> None:
    whole = meta_mat(compress=False)
    for at in places(range(128, len(whole)), 25):
        damaged = bytearray(whole)
        damaged[at] ^= 0x20
        _parsed(bytes(damaged))


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [
        mat_file(synsets=np.arange(5)),
        mat_file(synsets="text"),
        mat_file(synsets={"WNID": "n00000001"}),
        mat_file(
            synsets=[{"WNID": "n1", "words": "w", "num_children": "many", "ILSVRC2012_ID": 1}] * 2
        ),
    ],
    ids=["numbers", "text", "no fields", "no numbers"],
)
def test_a_mat_file_of_another_shape(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        parse(data, b"1\n")


def test_a_kit_of_one_class() -> None:
    assert parse(meta_mat([b"n00000007"], ancestors=0), b"1\n").val_wnid(1) == b"n00000007"


@pytest.mark.slow
@pytest.mark.parametrize("wnid", [b"../../etc", b"n0000/007", b"", b"unlabeled", b"n7"])
def test_a_wnid_is_a_wnid(wnid: bytes) -> None:
    try:
        kit = parse(meta_mat([*LEAVES, wnid]), b"5\n")
    except ArchiveError:
        return
    assert kit.val_wnid(1) is None


Compression = Literal["w:", "w:gz", "w:bz2", "w:xz"]


def packed(compression: Compression, **files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=compression) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/data/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


TRUTH = "ILSVRC2012_validation_ground_truth.txt"


@pytest.mark.parametrize("compression", get_args(Compression))
def test_a_kit_as_it_is_downloaded(compression: Compression) -> None:
    files = {"meta.mat": b"a matrix", TRUTH: b"1\n2", "readme.txt": b"read me"}
    whole = packed(compression, **files)
    assert unpacked(whole) == (b"a matrix", b"1\n2")
    for length in (0, 10, len(whole) // 9):
        with pytest.raises(ArchiveError, match="the devkit's archive"):
            unpacked(whole[:length])
    del files[TRUTH]
    with pytest.raises(ArchiveError, match=f"the devkit's archive has no data/{TRUTH}"):
        unpacked(packed(compression, **files))
