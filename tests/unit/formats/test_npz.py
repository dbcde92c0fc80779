"""npz: arrays are found where they stand, and nothing odd is believed or unpickled."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.formats import npz

DATA = np.random.default_rng(1).integers(0, 256, (50, 192), dtype=np.uint8)
LABELS = np.arange(1, 51)


def saved(save: Any = np.savez, **arrays: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def found(file: bytes) -> dict[str, npz.Array]:
    return npz.arrays(lambda at, length: file[at : at + length], len(file))


def whole(file: bytes, array: npz.Array) -> bytes:
    return b"".join(npz.contents(lambda at, length: file[at : at + length], array))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_numpys(save: Any) -> None:
    file = saved(save, data=DATA, labels=LABELS, mean=DATA.mean(axis=0))
    arrays = found(file)
    assert set(arrays) == {"data", "labels", "mean"}
    assert arrays["data"].shape == DATA.shape
    assert arrays["data"].stored == (save is np.savez)
    assert whole(file, arrays["data"]) == DATA.tobytes()
    assert whole(file, arrays["labels"]) == LABELS.tobytes()


def test_a_stored_array_stands_at_its_offset() -> None:
    file = saved(data=DATA)
    at = found(file)["data"].offset
    assert file[at : at + DATA.nbytes] == DATA.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_large_arrays_come_in_pieces(save: Any) -> None:
    data = np.zeros((1100, 12288), dtype=np.uint8)
    file = saved(save, data=data)
    pieces = list(npz.contents(lambda at, length: file[at : at + length], found(file)["data"]))
    assert max(map(len, pieces)) <= npz.PIECE
    assert b"".join(pieces) == data.tobytes()


def test_an_object_array_is_refused_and_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    file = saved(data=np.array([Trap()], dtype=object))
    with pytest.raises(ArchiveError, match="Python objects"):
        found(file)
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Trap()))
    assert (tmp_path / "ran").exists(), "the trap would have sprung"


def _zip(method: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"PK",
        b"no zip at all" * 100,
        saved(data=DATA)[:-30],
        saved(data=DATA)[1000:],
        _zip(data=b"no array"),
        _zip(data=_npy(DATA)[:-1]),
        _zip(data=_npy(DATA) + b"more"),
        _zip(zipfile.ZIP_BZIP2, data=_npy(DATA)),
        saved(data=np.asfortranarray(DATA)),
    ],
    ids=["empty", "short", "text", "cut", "headless", "npy", "less", "more", "bzip2", "fortran"],
)
def test_what_is_no_sound_npz_is_an_archive_error(file: bytes) -> None:
    with pytest.raises(ArchiveError):
        found(file)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_contents_are_never_the_end_of_an_iteration(save: Any) -> None:
    file = bytearray(saved(save, data=DATA))
    array = found(bytes(file))["data"]
    file[array.place + array.packed // 2] ^= 0xFF
    with pytest.raises(ArchiveError, match=r"damaged|inflated"):
        whole(bytes(file), array)


@pytest.mark.slow
def test_every_flipped_byte_is_noticed_or_harmless() -> None:
    good = saved(np.savez_compressed, data=DATA[:2], labels=LABELS[:2])
    for at in range(len(good)):
        file = bytearray(good)
        file[at] ^= 0x41
        try:
            arrays = found(bytes(file))
            for name, wanted in (("data", DATA[:2]), ("labels", LABELS[:2])):
                if name in arrays and arrays[name].dtype == wanted.dtype:
                    assert whole(bytes(file), arrays[name]) == wanted.tobytes()
        except ArchiveError:
            pass


@pytest.mark.parametrize("where", [0, 1, 2**31, 2**32 - 2])
@pytest.mark.parametrize("fewer", [0, 4])
def test_no_read_is_outside_the_file(where: int, fewer: int) -> None:
    """Whatever the directory says of where a member begins, and ``fewer`` bytes before it."""
    file = bytearray(saved(data=DATA))
    entry = file.rindex(b"PK\1\2")
    file[entry + 42 : entry + 46] = where.to_bytes(4, "little")
    del file[64 : 64 + fewer]

    def read_at(at: int, length: int) -> bytes:
        assert 0 <= at <= at + length <= len(file), (at, length)
        return bytes(file[at : at + length])

    if (where, fewer) == (0, 0):
        assert set(npz.arrays(read_at, len(file))) == {"data"}
        return
    with pytest.raises(ArchiveError):
        npz.arrays(read_at, len(file))
