"""Random damage to zips and npz files, for a time: ``python -m tests.prove.fuzz_zip --seconds N``.

Each is read, or refused by ArchiveError; and nothing is asked for that lies outside of the file.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable

from imagenetfs.errors import ArchiveError
from imagenetfs.formats import npz
from imagenetfs.formats.zip.directory import read_directory
from imagenetfs.formats.zip.places import find_places
from tests.prove import world

NUMBERS = (b"\0\0\0\0", b"\xff\xff", b"\xff\xff\xff\xff", b"\xff" * 8, b"\x7f\xff\xff\xff")


def within(data: bytes) -> Callable[[int, int], bytes]:
    """A ``read_at`` over bytes that fails for a range outside of them."""

    def read_at(offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= len(data), (offset, length, len(data))
        return data[offset : offset + length]

    return read_at


def check(data: bytes, is_npz: bool) -> bool:
    """Whether it is read; AssertionError, or any error but ArchiveError, where a promise breaks."""
    read_at = within(data)
    try:
        if is_npz:
            for array in npz.arrays(read_at, len(data)).values():
                assert sum(map(len, npz.contents(read_at, array))) == array.size
        else:
            find_places(read_at, read_directory(read_at, 0, len(data)))
    except ArchiveError:
        return False
    return True


def damaged(data: bytes, choose: random.Random) -> bytes:
    """Bytes and numbers changed, left out, cut off: most of them near the end, at the directory."""
    changed = bytearray(data)
    for _ in range(choose.choice([1, 1, 2, 5])):
        last = len(changed) - 1
        if last < 0:
            break
        near_end = last - min(last, int(choose.expovariate(1 / 300)))
        at = near_end if choose.random() < 0.7 else choose.randrange(last + 1)
        match choose.randrange(4):
            case 0:
                changed[at] = choose.randrange(256)
            case 1:
                number = choose.choice(NUMBERS)
                changed[at : at + len(number)] = number
            case 2:
                del changed[at : at + choose.choice([1, 4, 100])]
            case _:
                del changed[at:]
    return bytes(changed)


def one(number: int) -> bool:
    """One input, which follows from its number; see :func:`check`."""
    choose = random.Random(number)
    is_npz = choose.random() < 0.5
    path = world.ARRAY if is_npz else world.ZIP
    return check(damaged(world.archive(path, choose.randrange(6)), choose), is_npz)


def main(words: list[str]) -> int:
    """Run until the time is over; the number of an input that breaks a promise is said."""
    parser = argparse.ArgumentParser("tests.prove.fuzz_zip")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    arguments = parser.parse_args(words)
    number, end = arguments.seed << 32, time.monotonic() + arguments.seconds
    first = number
    while time.monotonic() < end:
        try:
            one(number)
        except Exception:
            print(f"tests.prove.fuzz_zip.one({number}) breaks a promise", flush=True)
            raise
        number += 1
    print(f"PROVED: {number - first:,} inputs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
