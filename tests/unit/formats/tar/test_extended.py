"""Long names, pax records and sparse maps, on archives written by hand."""

from __future__ import annotations

from functools import partial

import pytest

from imagenetfs.formats.tar.walk import MemberColumns, scan
from tests.helpers.tars import END, GNU, header, member, padded, pax, scanned

# --- extended headers -----------------------------------------------------------------------------


def test_gnu_long_names_belong_to_the_next_member_and_no_other() -> None:
    name, target = b"d/" * 150 + b"x", b"t/" * 400
    archive = (
        member(b"././@LongLink", target + b"\0", b"K", magic=GNU)
        + member(b"././@LongLink", name + b"\0", b"L", magic=GNU)
        + header(name[:100], 0, b"2", link=target[:100], magic=GNU)
        + member(b"next", magic=GNU)
        + END
    )
    columns = scanned(archive)
    assert columns.names == [name, b"next"]
    assert columns.links == {0: target}
    assert columns.headers[0] == 0


def test_pax_records_belong_to_the_next_member_and_no_other() -> None:
    for kind in (b"x", b"X"):
        extended = pax(
            (b"path", "ü/long".encode()), (b"size", b"4"), (b"mtime", b"12.5"), kind=kind
        )
        columns = scanned(extended + header(b"short", 1) + padded(b"1234") + member(b"b") + END)
        assert columns.names == ["ü/long".encode(), b"b"]
        assert columns.sizes == [4, 0]
        assert columns.mtimes == [12_500_000_000, 7 * 10**9]
        assert columns.headers == [0, 2048]
        assert columns.offsets == [1536, 2560]


@pytest.mark.parametrize(
    ("record", "nanoseconds"),
    [
        (b"1.000000001", 1_000_000_001),
        (b"1.9999999999", 1_999_999_999),
        (b"5.", 5 * 10**9),
        (b"-1.5", -1_500_000_000),
        (b"-0.0000000001", -1),
        (b"0", 0),
        (b"9" * 19, 2**63 - 1),
        (b"-" + b"9" * 19, 1 - 2**63),
        (b"0" * 50 + b"5", 5 * 10**9),
        (b"1748089464.951928467a", 1748089464951928467),
        (b"1e5", 10**9),
        (b"nan", 7 * 10**9),
        (b" 5", 7 * 10**9),
        (b"9" * 5000, 7 * 10**9),
        (b"", 7 * 10**9),
    ],
)
def test_pax_times(record: bytes, nanoseconds: int) -> None:
    assert scanned(pax((b"mtime", record)) + header() + END).mtimes == [nanoseconds]


def test_pax_paths_rule_over_long_names_as_in_gnu_tar() -> None:
    long = member(b"L", b"long\0", b"L")
    for before in (long + pax((b"path", b"pax")), pax((b"path", b"pax")) + long):
        assert scanned(before + header(b"short") + END).names == [b"pax"]
    assert scanned(long + pax((b"mtime", b"1")) + header(b"short") + END).names == [b"long"]


def test_the_last_of_two_pax_headers_counts() -> None:
    archive = pax((b"path", b"one"), (b"mtime", b"1")) + pax((b"path", b"two")) + header() + END
    columns = scanned(archive)
    assert (columns.names, columns.mtimes) == ([b"two"], [7 * 10**9])


def test_global_records_hold_until_they_are_replaced_or_taken_away() -> None:
    archive = (
        header(b"before")
        + pax((b"mtime", b"100"), (b"comment", b"none of ours"), kind=b"g")
        + header(b"one") * 2
        + pax((b"mtime", b"5"))
        + header(b"own")
        + pax((b"mtime", b""))
        + header(b"without")
        + pax((b"comment", b"adds nothing"), kind=b"g")
        + header(b"still")
        + pax((b"mtime", b""), kind=b"g")
        + header(b"after") * 2
        + END
    )
    seconds = [mtime // 10**9 for mtime in scanned(archive).mtimes]
    assert seconds == [7, 100, 100, 5, 7, 100, 7, 7]


def test_names_end_at_their_first_nul() -> None:
    assert scanned(pax((b"path", b"ab\0cd")) + header() + END).names == [b"ab"]
    assert scanned(member(b"L", b"ab\0cd\0", b"L") + header() + END).names == [b"ab"]


@pytest.mark.parametrize(
    "payload",
    [
        b"99 path=a\n",
        b"9 path=a",
        b"path=a\n",
        b"9 path:a\n",
        b"x path=a\n",
        b"0 path=a\n",
        b"-9 path=a\n",
        b"1" * 5000 + b" path=a\n",
        b"8 path=a\n",
    ],
)
@pytest.mark.parametrize("kind", [b"x", b"g"])
def test_pax_records_out_of_form_do_not_count_and_are_told(payload: bytes, kind: bytes) -> None:
    """As in GNU tar: the records before them do, and the member is there."""
    before = b"12 mtime=99\n"
    columns = scanned(member(b"x", before + payload, kind) + header() + member(b"next") + END)
    assert columns.names == [b"a.JPEG", b"next"]
    assert columns.mtimes[0] == 99 * 10**9
    assert [(problem.offset, problem.length) for problem in columns.problems] == [(0, 0)]
    assert "pax record" in columns.problems[0].reason


@pytest.mark.parametrize(
    "payload",
    [
        b"9\tpath=b\n",
        b"  12 path=b\n",
        b"11  path=b\n",
        b"9 path=b\n   ",
        b"9 path=b\n\t ",
        b"9 path=b\n\0garbage",
        b"0" * 24 + b"34 path=b\n",
    ],
)
def test_pax_records_in_a_loose_form(payload: bytes) -> None:
    columns = scanned(member(b"x", payload, b"x") + header() + END)
    assert (columns.names, columns.problems) == ([b"b"], [])


@pytest.mark.parametrize("size", [b"-1", b"x", b"1.5", b"9" * 19, b"9" * 6000])
def test_of_pax_sizes_that_are_none_the_headers_counts(size: bytes) -> None:
    columns = scanned(pax((b"size", size)) + member(b"a", b"abc") + member(b"next") + END)
    assert (columns.names, columns.sizes) == ([b"a", b"next"], [3, 0])
    assert [str(problem) for problem in columns.problems] == [
        "pax size that is no number (at byte 0)"
    ]


@pytest.mark.parametrize("size", [b"0004", b"0" * 16 + b"0004", b"0" * 5000 + b"4"])
def test_pax_sizes_with_zeros_before_them(size: bytes) -> None:
    columns = scanned(pax((b"size", size)) + member(b"a", b"data") + member(b"next") + END)
    assert (columns.names, columns.sizes, columns.problems) == ([b"a", b"next"], [4, 0], [])


@pytest.mark.parametrize("kind", [b"x", b"g", b"X"])
def test_records_that_are_not_needed_are_stepped_over_however_long(kind: bytes) -> None:
    records = [
        (b"mtime", b"5"),
        (b"SCHILY.xattr.user.x", b"q" * 1_100_000),
        (b"path", b"new"),
        (b"SCHILY.xattr.user.y", b"=\n9 path=no\n" * 300_000),
        (b"k" * 1000, b"v"),
        (b"size", b"4"),
    ]
    archive = member(b"before") + pax(*records, kind=kind) + header(b"old", 0) + padded(b"data")
    archive += pax((b"size", b""), (b"path", b"z")) + member(b"old", b"last") + END
    read, largest = 0, 0

    def read_at(offset: int, length: int) -> bytes:
        nonlocal read, largest
        read, largest = read + length, max(largest, length)
        return archive[offset : offset + length]

    columns = MemberColumns()
    scan(read_at, 0, len(archive), columns)
    assert columns.names == [b"before", b"new", b"z"]
    assert columns.sizes == [0, 4, 4]
    assert columns.mtimes[1] == 5 * 10**9
    assert columns.problems == []
    assert read < 400_000
    assert largest <= 1 << 16


@pytest.mark.parametrize("kind", [b"L", b"K"])
def test_a_name_over_1_mib_is_kept_as_far_as_it_takes_to_know_that(kind: bytes) -> None:
    long = b"n" * (1 << 21)
    columns = scanned(member(b"x", long + b"\0", kind) + header(b"a", 0, b"2", link=b"b") + END)
    shown = {b"L": columns.names[0], b"K": columns.links[0]}[kind]
    assert 4096 <= len(shown) < 5000
    records = scanned(pax((b"path", long)) + header(b"a") + member(b"next") + END)
    assert records.names == [shown[:4096] if kind == b"L" else b"n" * 4096, b"next"]
    assert records.problems == []


# --- sparse members -------------------------------------------------------------------------------


def old_sparse(runs: list[tuple[int, int]], size: int) -> bytes:
    """A member of type S: four entries in its header, 21 in each block behind it."""
    entries = [b"%011o\0%011o\0" % run for run in runs]
    blocks = [entries[i : i + 21] for i in range(4, len(entries), 21)]
    stored = sum(length for _, length in runs)
    fields = {386: b"".join(entries[:4]), 482: bytes([bool(blocks)]), 483: b"%011o\0" % size}
    archive = header(b"sparse", stored, b"S", magic=GNU, fields=fields)
    for i, block in enumerate(blocks):
        archive += b"".join(block).ljust(504, b"\0") + bytes([i + 1 < len(blocks)]) + b"\0" * 7
    return archive + padded(b"d" * stored)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 24, 25, 26, 46, 47, 200])
def test_old_sparse_members(count: int) -> None:
    runs = [(i * 1000, 7) for i in range(count)]
    size = count * 1000
    archive = old_sparse([*runs, (size, 0)], size)
    columns = scanned(archive + member(b"next") + END)
    assert columns.names == [b"sparse", b"next"]
    assert columns.sizes == [size, 0]
    assert columns.sparse == {0: tuple(runs)}
    assert archive[columns.offsets[0] :] == padded(b"d" * 7 * count)


def pax_sparse(version: str, runs: list[tuple[int, int]], size: int) -> bytes:
    numbers = [b"%d" % number for run in runs for number in run]
    data = b"d" * sum(length for _, length in runs)
    records = [(b"GNU.sparse.size", b"%d" % size)]
    if version == "0.0":
        keys = [b"GNU.sparse.offset", b"GNU.sparse.numbytes"] * len(runs)
        records += zip(keys, numbers, strict=True)
    elif version == "0.1":
        records += [(b"GNU.sparse.name", b"true"), (b"GNU.sparse.map", b",".join(numbers))]
    else:
        records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")]
        records += [(b"GNU.sparse.name", b"true"), (b"GNU.sparse.realsize", b"%d" % size)]
        data = padded(b"".join(b"%s\n" % number for number in [b"%d" % len(runs), *numbers])) + data
    return pax(*records, (b"path", b"made/up")) + member(b"short", data)


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
@pytest.mark.parametrize("count", [0, 1, 100])
def test_pax_sparse_members(version: str, count: int) -> None:
    runs = [(i * 1000, 7) for i in range(count)]
    size = count * 1000
    archive = pax_sparse(version, [*runs, (size, 0)], size)
    columns = scanned(archive + member(b"next") + END)
    assert columns.names == [b"made/up" if version == "0.0" else b"true", b"next"]
    assert columns.sizes == [size, 0]
    assert columns.sparse == {0: tuple(runs)}
    assert archive[columns.offsets[0] :] == padded(b"d" * 7 * count)


@pytest.mark.parametrize(
    "build", [old_sparse, *(partial(pax_sparse, version) for version in ("0.0", "0.1", "1.0"))]
)
@pytest.mark.parametrize(
    ("runs", "size"),
    [([(0, 10), (5, 10)], 100), ([(50, 10), (0, 10)], 100), ([(95, 10)], 100), ([(0, 10)], 5)],
)
def test_sparse_maps_that_do_not_fit(build: object, runs: list[tuple[int, int]], size: int) -> None:
    archive = build(runs, size)  # type: ignore[operator]
    columns = scanned(archive + member(b"next") + END)
    assert columns.names == [b"next"]
    assert [problem[:2] for problem in columns.problems] == [(0, len(archive))]
    assert "sparse" in columns.problems[0].reason


@pytest.mark.parametrize(
    "records",
    [
        [(b"GNU.sparse.size", b"x")],
        [(b"GNU.sparse.map", b"0,1")],
        [(b"GNU.sparse.size", b"5"), (b"GNU.sparse.map", b"0")],
        [(b"GNU.sparse.size", b"5"), (b"GNU.sparse.map", b"0,,1")],
        [(b"GNU.sparse.size", b"5"), (b"GNU.sparse.numbytes", b"0")],
        [(b"GNU.sparse.size", b"5"), (b"GNU.sparse.offset", b"0")],
        [(b"GNU.sparse.size", b"5"), (b"GNU.sparse.map", b"0,5")],  # 5 bytes from 3
        [(b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0")],
        [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.realsize", b"5")],  # b"abc" is no map
    ],
)
def test_sparse_records_that_make_no_sense(records: list[tuple[bytes, bytes]]) -> None:
    archive = pax(*records) + member(b"x", b"abc")
    columns = scanned(archive + member(b"next") + END)
    assert columns.names == [b"next"]
    assert [problem[:2] for problem in columns.problems] == [(0, len(archive))]


@pytest.mark.parametrize("size", [0, 1, 3, 5, 1000])
def test_a_sparse_size_without_a_map(size: int) -> None:
    """What is stored stands at the beginning, and the rest is a hole, as far as the size goes."""
    archive = pax((b"GNU.sparse.size", b"%d" % size)) + member(b"x", b"abc") + member(b"next") + END
    columns = scanned(archive)
    assert (columns.names, columns.sizes) == ([b"x", b"next"], [size, 0])
    assert columns.sparse == {0: ((0, min(size, 3)),) if size else ()}


def test_type_s_without_gnus_magic_is_a_file_with_its_data() -> None:
    """star's own sparse form too: GNU tar and bsdtar show its stored bytes."""
    for magic in (b"ustar\00000", b"\0" * 8):
        columns = scanned(member(b"sp", b"hello", b"S", magic=magic) + member(b"z") + END)
        assert (columns.names, columns.sizes, columns.sparse) == ([b"sp", b"z"], [5, 0], {})
    fields = {356: b"%011o\0%011o\0" % (0, 5), 483: b"%011o\0" % 9000, 508: b"tar\0"}
    columns = scanned(member(b"sp", b"hello", b"S", fields=fields) + member(b"z") + END)
    assert (columns.names, columns.sizes) == ([b"sp", b"z"], [5, 0])
