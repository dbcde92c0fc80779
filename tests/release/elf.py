"""Which versions of a library's symbols an ELF file needs: what decides on which systems it loads.

Read by hand (64 bits, little-endian, section headers present): the section SHT_GNU_verneed holds a
list of Verneed records, one a library, each with a list of Vernaux records, one a version. ELF is
specified in the System V ABI, the version sections in the Linux Standard Base, "Symbol Versioning".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MACHINES = {62: "x86_64", 183: "aarch64"}
"""e_machine of the processors that there are wheels for."""

_VERNEED = 0x6FFFFFFE


class NotElf(Exception):
    """The bytes are no ELF file that this module reads."""


@dataclass(frozen=True)
class Needs:
    """``versions``: library -> versions of its symbols, as "GLIBC_2.14"."""

    machine: str
    versions: dict[str, frozenset[str]]

    def glibc(self) -> tuple[int, ...]:
        """The newest version of glibc that is asked for; (0,) if none."""
        names = {name for versions in self.versions.values() for name in versions}
        return max((_number(name) for name in names if name.startswith("GLIBC_2")), default=(0,))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.removeprefix("GLIBC_").split("."))


def needs(data: bytes) -> Needs:
    """What the ELF file ``data`` needs of other libraries.

    Raises NotElf for other files, and for ELF of 32 bits or of another byte order.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        raise NotElf("no ELF file of 64 bits, little-endian")
    try:
        (machine,) = struct.unpack_from("<H", data, 18)
        return Needs(MACHINES.get(machine, f"machine {machine}"), dict(_versions(data)))
    except struct.error as error:
        raise NotElf(f"an ELF file that ends too early: {error}") from None


def _versions(data: bytes) -> Iterator[tuple[str, frozenset[str]]]:
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + size * i) for i in range(count)]
    for _, kind, _, _, start, _, link, records, _, _ in sections:
        if kind != _VERNEED:
            continue
        names = sections[link][4]
        at = start
        for _ in range(records):
            _, number, file, first, following = struct.unpack_from("<HHIII", data, at)
            yield _text(data, names + file), frozenset(_aux(data, at + first, number, names))
            at += following


def _aux(data: bytes, at: int, number: int, names: int) -> Iterator[str]:
    for _ in range(number):
        _, _, _, name, following = struct.unpack_from("<IHHII", data, at)
        yield _text(data, names + name)
        at += following


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()
