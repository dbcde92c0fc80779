"""What must hold of a header walk over any bytes at all, and a coverage-guided fuzzer for it.

    pip install atheris
    python tests/faults/fuzz_tar.py -max_total_time=600 [libFuzzer's options]

test_tar_broken.py runs the same checks on damage of a more ordered kind.
"""

from __future__ import annotations

import io
import random
import stat
import sys
import tarfile
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

BLOCK = 512
LARGEST_READ = (1 << 20) + BLOCK


def check(data: bytes) -> tuple[list[bytes], str | None]:
    """Scan ``data``; the members' names, and the error if there is one.

    AssertionError if a promise is broken; any exception but ArchiveError comes through.
    """
    from imagenetfs.errors import ArchiveError
    from imagenetfs.formats.tar import walk as tar
    from imagenetfs.formats.tar.batch import rest_of

    outcomes = []
    for short_way in (rest_of, lambda block: None):
        reads: list[tuple[int, int]] = []

        def read_at(offset: int, length: int, reads: list[tuple[int, int]] = reads) -> bytes:
            assert 0 <= offset <= len(data) and 0 <= length <= LARGEST_READ
            reads.append((offset, length))
            # A search reads what the walk reads again; and where a hard link's data would be is
            # looked at.
            assert len(reads) <= 3 * (len(data) // BLOCK) + 4, "many more reads than blocks"
            return data[offset : offset + length]

        columns, error = tar.MemberColumns(), None
        try:
            with mock.patch.object(tar, "rest_of", short_way):
                end = tar.scan(read_at, 0, len(data), columns)
            assert max(columns.headers, default=0) <= end <= len(data)
        except ArchiveError as caught:
            assert 0 <= caught.offset <= len(data)
            error = str(caught)
        assert sum(length for _, length in reads) <= 4 * len(data) + 4 * BLOCK
        sound(columns, len(data))
        told(columns, len(data))
        outcomes.append(([getattr(columns, c) for c in columns.__slots__], error))
    assert outcomes[0] == outcomes[1], "the short way and the long way differ"
    if len(data) >= BLOCK:
        assert by_ranges(data) == outcomes[0], "one walk and many differ"
    return columns.names, error


def by_ranges(data: bytes) -> tuple[list[Any], str | None]:
    """What the walk finds with a speculative range wherever one fits, and the error."""
    from imagenetfs.errors import ArchiveError
    from imagenetfs.formats.tar.concurrency import FixedConcurrency
    from imagenetfs.formats.tar.parallel_scan import scan_in_ranges
    from imagenetfs.formats.tar.speculation import SplitPolicy
    from imagenetfs.formats.tar.walk import MemberColumns, Walk

    columns, error = MemberColumns(), None

    def read_at(offset: int, length: int) -> bytes:
        assert 0 <= offset <= len(data) and 0 <= length <= LARGEST_READ
        return data[offset : offset + length]

    try:
        walk = Walk(read_at, len(data), columns, lambda offset, length: None)
        scan_in_ranges(walk, 0, SplitPolicy(BLOCK // 16), FixedConcurrency(7))
    except ArchiveError as caught:
        error = str(caught)
    return [getattr(columns, c) for c in columns.__slots__], error


def told(c: Any, end: int) -> None:
    """Assert that what is left out lies within the archive, in order, and holds no member's
    header."""
    behind = 0
    for offset, length, reason in c.problems:
        assert reason and 0 <= offset <= offset + length <= end
        if length:
            assert offset >= behind
            behind = offset + length
            assert not any(offset <= header < behind for header in c.headers)


def sound(c: Any, end: int) -> None:
    """Assert that every member in the columns could be served."""
    lists = (c.names, c.headers, c.offsets, c.sizes, c.mtimes, c.modes)
    assert len({len(column) for column in lists}) == 1
    assert all(a < b for a, b in pairwise(c.headers))
    for i, (name, header, data, size, mtime, mode) in enumerate(zip(*lists, strict=True)):
        assert b"\0" not in name
        assert header + BLOCK <= data <= end
        assert -(2**63) < mtime < 2**63
        assert stat.S_IFMT(mode) and mode < 2**16
        assert size == 0 or stat.S_ISREG(mode)
        if i not in c.sparse:
            assert 0 <= size <= end - data
        else:
            behind = stored = 0
            for at, length in c.sparse[i]:
                assert at >= behind and length > 0
                behind, stored = at + length, stored + length
            assert behind <= size < 2**63 and stored <= end - data
    for links in (c.links, c.hardlinks, c.sparse):
        assert all(0 <= i < len(c.names) for i in links)


def seal(block: bytes) -> bytes:
    """The block with the checksum that it should have."""
    blanked = block[:148] + b" " * 8 + block[156:]
    return blanked[:148] + b"%06o\0 " % sum(blanked) + blanked[156:]


def specimens() -> list[bytes]:
    """Small sound archives, between them of every form that the walk knows."""
    return [
        *(plain(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
        pax_sparse({"GNU.sparse.map": "0,2,9000,1,9999,0", "GNU.sparse.size": "9999"}, b"abc"),
        pax_sparse(
            {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9999"},
            b"2\n0\n2\n9000\n1\n".ljust(512, b"\0") + b"abc",
        ),
        old_sparse(),
    ]


def plain(form: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form, pax_headers={"mtime": "9"}) as archive:
        for name, kind, data in [
            ("n01440764_1.JPEG", tarfile.REGTYPE, b"a" * 600),
            ("n01440764_2.JPEG", tarfile.REGTYPE, b"b"),
            ("long/" * 30 + "name", tarfile.REGTYPE, b"c"),
            ("directory", tarfile.DIRTYPE, b""),
            ("link", tarfile.SYMTYPE, b""),
            ("hard", tarfile.LNKTYPE, b""),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime = kind, len(data), 1_338_000_000
            info.linkname = "" if data or kind == tarfile.DIRTYPE else "n01440764_1.JPEG"
            archive.addfile(info, io.BytesIO(data))
    data = file.getvalue().rstrip(b"\0")
    return data + bytes(-len(data) % BLOCK + 2 * BLOCK)


def pax_sparse(records: dict[str, str], data: bytes) -> bytes:
    info = tarfile.TarInfo("sparse")
    info.size, info.pax_headers = len(data), records
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % BLOCK)


def old_sparse() -> bytes:
    info = tarfile.TarInfo("sparse")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 5
    entries = b"".join(b"%011o\0%011o\0" % (i * 1000, 1) for i in range(5))
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:482], header[482], header[483:495] = entries[:96], 1, b"%011o\0" % 9000
    return seal(bytes(header)) + entries[96:].ljust(512, b"\0") + b"abcde".ljust(512, b"\0")


def mutated(data: bytes, random_: random.Random) -> bytes:
    """One to six small damages: bytes, whole blocks moved or doubled or gone, the end cut off."""
    damaged = bytearray(data)
    for _ in range(random_.randint(1, 6)):
        at = random_.randrange(len(damaged) or 1)
        block = at & -BLOCK
        match random_.randrange(7):
            case 0 | 1:
                damaged[at : at + 1] = random_.randbytes(1)
            case 2:
                field, length = random_.choice(
                    [(100, 8), (124, 12), (136, 12), (156, 1), (386, 96)]
                )
                digits = random_.choice([b"01234567", b"\0 08", b"\x80\xff\0\1"])
                value = bytes(random_.choices(digits, k=length))
                damaged[block + field : block + field + length] = value
            case 3:
                del damaged[block : block + BLOCK]
            case 4:
                damaged[block:block] = damaged[block : block + BLOCK]
            case 5:
                other = random_.randrange(0, len(damaged) or 1) & -BLOCK
                damaged[block : block + BLOCK] = damaged[other : other + BLOCK]
            case 6:
                del damaged[at if random_.random() < 0.2 else len(damaged) :]
    return bytes(damaged)


def resealed(data: bytes) -> bytes:
    """Every header in ``data`` with a checksum that holds, so that damage is looked at."""
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    return b"".join(
        seal(block) if len(block) == BLOCK and block[257:262] == b"ustar" else block
        for block in blocks
    )


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["imagenetfs"]):
        pass

    def one_input(data: bytes) -> None:
        check(data)
        check(resealed(data))

    with tempfile.TemporaryDirectory() as corpus:
        for i, specimen in enumerate(specimens()):
            (Path(corpus) / f"{i}.tar").write_bytes(specimen)
        atheris.Setup([*sys.argv, "-max_len=16384", corpus], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
