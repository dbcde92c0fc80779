"""The central directory of a zip as large as Kaggle's of ILSVRC2012, parsed from memory."""

from __future__ import annotations

import io
import struct
import time
import zipfile
from functools import partial
from pathlib import Path

from imagenetfs.formats.zip.directory import parse_directory
from imagenetfs.formats.zip.end import CentralDirectory

from .results import Part
from .runner import Run, take_turns
from .systems import OURS, ZIPFILE, System

MEMBERS = 1_400_000
_IMAGE = 110_000
_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_FULL = 0xFFFFFFFF


def measure(run: Run) -> Part:
    """Python's zipfile beside it, in interleaved rounds."""
    part = run.part(members=MEMBERS)
    directory, start = central_directory(MEMBERS)
    systems = [System(name, (), Path(), None) for name in (OURS, ZIPFILE)]
    one = partial(_parse, directory, start)
    take_turns(run, part, "zips", systems, one, range(run.rounds))
    return part


def central_directory(members: int) -> tuple[bytes, int]:
    """Of train's images, stored one behind the other; and at which byte it begins. Offsets beyond 4
    GiB are in zip64 fields, and each entry has a time of its own, as Info-ZIP writes them.
    """
    entries, offset = [], 0
    for number in range(members):
        wnid = b"n%08d" % (number // 1300)
        name = b"ILSVRC/Data/CLS-LOC/train/%s/%s_%d.JPEG" % (wnid, wnid, number % 1300)
        is_far = offset >= _FULL
        extra = struct.pack("<HHQ", 1, 8, offset) if is_far else b""
        extra += struct.pack("<HHBL", 0x5455, 5, 1, 1_500_000_000 + number)
        head = (b"PK\1\2", 0x31E, 45, 0, 0, 0x5000, 0x4C21, number, _IMAGE, _IMAGE)
        lengths = (len(name), len(extra), 0, 0, 0)
        place = _FULL if is_far else offset
        entries.append(_ENTRY.pack(*head, *lengths, 0o100644 << 16, place) + name + extra)
        offset += _LOCAL.size + len(name) + _IMAGE
    return b"".join(entries), offset


def _parse(directory: bytes, start: int, system: System) -> dict[str, float]:
    began, before = time.perf_counter(), time.process_time()
    if system.name == OURS:
        where = CentralDirectory(start, start + len(directory), 0, MEMBERS, 1 << 64)
        assert len(parse_directory(directory, where, 0)) == MEMBERS
    else:
        # zipfile reads a file: one that begins with the directory, whose end record says so.
        end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, MEMBERS, MEMBERS, 0, 0)
        end = end[:40] + struct.pack("<QQ", len(directory), 0)
        end += struct.pack("<4sLQL", b"PK\6\7", 0, len(directory), 1)
        end += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, _FULL, _FULL, 0)
        assert len(zipfile.ZipFile(io.BytesIO(directory + end)).infolist()) == MEMBERS
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - before}
