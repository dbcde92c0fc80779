"""ELF files made byte by byte, with as much as says which symbols they need."""

from __future__ import annotations

import struct


def elf(machine: int, library: str, versions: list[str]) -> bytes:
    """A file with a header, a string table, and one library in its SHT_GNU_verneed."""
    strings = bytearray(b"\0")
    places = {}
    for name in (library, *versions):
        places[name] = len(strings)
        strings += name.encode() + b"\0"
    records = struct.pack("<HHIII", 1, len(versions), places[library], 16, 0)
    for number, version in enumerate(versions):
        following = 16 if number + 1 < len(versions) else 0
        records += struct.pack("<IHHII", 0, 0, 2, places[version], following)
    header = 64
    table = header + len(strings) + len(records)
    section = struct.Struct("<IIQQQQIIQQ")
    sections = section.pack(0, 3, 0, 0, header, len(strings), 0, 0, 1, 0)
    start = header + len(strings)
    sections += section.pack(0, 0x6FFFFFFE, 0, 0, start, len(records), 0, 1, 4, 0)
    first = struct.pack(
        "<6s10xHHIQQQIHHHHHH",
        *(b"\x7fELF\x02\x01", 3, machine, 1, 0, 0, table, 0),
        *(64, 0, 0, section.size, 2, 0),
    )
    return first + strings + records + sections
