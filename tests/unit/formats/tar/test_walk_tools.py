"""The header walk against those who know: GNU tar, bsdtar and Python's tarfile write the archives,
and what they list and extract is what scan must find."""

from __future__ import annotations

import datetime
import io
import os
import re
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar.walk import MemberColumns, scan

ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}

needs_bsdtar = pytest.mark.skipif(not shutil.which("bsdtar"), reason="bsdtar is not installed")


def run(*command: str | Path, cwd: Path, status: int = 0) -> bytes:
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, check=False)
    assert done.returncode == status, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of everything that an archive may hold."""
    root = tmp_path_factory.mktemp("tar") / "tree"
    root.mkdir()
    for size in (0, 1, 511, 512, 513, 10_240, 100_000):
        (root / f"n01440764_{size}.JPEG").write_bytes(os.urandom(size))
    deep = root / "/".join(["directory"] * 12)  # over 100 bytes, within what ustar can split
    deep.mkdir(parents=True)
    (deep / "image.JPEG").write_bytes(b"deep")
    (root / ("n" * 120)).write_bytes(b"over 100 bytes in one component")
    far = deep / "/".join(["d" * 50] * 4)
    far.mkdir(parents=True)
    (far / "image.JPEG").write_bytes(b"over 256 bytes")
    Path(os.fsdecode(os.fsencode(root) + b"/latin-\xe9")).write_bytes(b"no UTF-8")
    (root / "utf-ü").write_bytes(b"UTF-8")
    (root / "new\nline and 'quote'\\").write_bytes(b"names are bytes")
    (root / "link").symlink_to("n01440764_513.JPEG")
    (root / "link-far").symlink_to("t/" * 100)
    (root / "hard").hardlink_to(root / "n01440764_513.JPEG")
    os.mkfifo(root / "fifo")
    (root / "old").write_bytes(b"1960")
    os.utime(root / "old", ns=(0, -300_000_000_000_000_000))
    os.utime(root / "n01440764_1.JPEG", ns=(0, 1_234_567_890_987_654_321))
    with (root / "sparse").open("wb") as file:
        for i in range(60):
            file.seek(i * 262_144)
            file.write(os.urandom(5000))
        file.truncate(20_000_000)
    with (root / "hole").open("wb") as file:
        file.truncate(1_000_000)
    return root


def scanned(archive: Path) -> MemberColumns:
    columns = MemberColumns()
    with archive.open("rb") as file:
        size = archive.stat().st_size
        scan(lambda offset, length: os.pread(file.fileno(), length, offset), 0, size, columns)
    return columns


def content(archive: Path, columns: MemberColumns, i: int) -> bytes:
    """A member's bytes as a reader would see them."""
    with archive.open("rb") as file:
        file.seek(columns.offsets[i])
        if i not in columns.sparse:
            return file.read(columns.sizes[i])
        whole = bytearray(columns.sizes[i])
        for offset, length in columns.sparse[i]:
            whole[offset : offset + length] = file.read(length)
        return bytes(whole)


LINE = re.compile(
    rb"(?P<mode>[-dlphbcDVM?C][-rwxsStT]{9}) \S+ +(?P<size>\d+(?:,\d+)?) "
    rb"(?P<time>\d+-\d+-\d+ \d+:\d+:\d+(?:\.\d+)?) +(?P<name>.*)"
)
ESCAPE = re.compile(rb"\\(n|\\|[0-7]{3})")


def listed(archive: Path) -> list[tuple[str, int, int, bytes, bytes]]:
    """GNU tar's own listing: mode, size, mtime in nanoseconds, name, target."""
    options = ["--list", "--verbose", "--full-time", "--quoting-style=escape"]
    rows = []
    for line in run("tar", *options, "--file", archive, cwd=archive.parent).splitlines():
        match = LINE.fullmatch(line)
        assert match, line
        mode, name = match["mode"].decode(), match["name"]
        mode = mode.replace("C", "-")  # contiguous: a file, and GNU tar knows how it was written
        name, _, target = name.partition(b" link to " if mode[0] == "h" else b" -> ")
        second, _, fraction = match["time"].decode().partition(".")
        moment = datetime.datetime.fromisoformat(second + "+00:00")
        seconds = (moment - datetime.datetime.fromtimestamp(0, datetime.UTC)).total_seconds()
        nanoseconds = int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
        size = 0 if b"," in match["size"] or mode[0] != "-" else int(match["size"])
        rows.append((mode, size, nanoseconds, unescaped(name), unescaped(target)))
    return rows


def unescaped(name: bytes) -> bytes:
    def byte(match: re.Match[bytes]) -> bytes:
        return {b"n": b"\n", b"\\": b"\\"}.get(match[1]) or bytes([int(match[1], 8)])

    return ESCAPE.sub(byte, name)


def rows_of(columns: MemberColumns) -> list[tuple[str, int, int, bytes, bytes]]:
    """The columns in the form of ``listed``."""
    rows = []
    for i, name in enumerate(columns.names):
        mode = stat.filemode(columns.modes[i])
        if i in columns.hardlinks:
            mode = "h" + mode[1:]
        target = columns.links.get(i) or columns.hardlinks.get(i) or b""
        rows.append((mode, columns.sizes[i], columns.mtimes[i], name, target))
    return rows


def agree_with_gnu_tar(archive: Path, tree: Path) -> MemberColumns:
    columns = scanned(archive)
    assert rows_of(columns) == listed(archive)
    for i, name in enumerate(columns.names):
        if stat.S_ISREG(columns.modes[i]) and i not in columns.hardlinks:
            original = Path(os.fsdecode(os.fsencode(tree.parent) + b"/" + name))
            assert content(archive, columns, i) == original.read_bytes(), name
    return columns


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        "--format=v7",
        "--format=ustar",
        "--format=oldgnu",
        "--format=gnu",
        "--format=posix",
        "--format=gnu --sparse",
        "--format=oldgnu --sparse",
        "--format=posix --sparse --sparse-version=0.0",
        "--format=posix --sparse --sparse-version=0.1",
        "--format=posix --sparse --sparse-version=1.0",
        "--format=posix --pax-option=mtime:=981173106.7",
        "--format=posix --pax-option=globexthdr.name=g,comment=c",
        "--format=gnu --label=ImageNet",
        "--format=gnu --blocking-factor=1 --owner=someone:2097152",
    ],
)
def test_gnu_tar(tree: Path, tmp_path: Path, options: str) -> None:
    archive = tmp_path / "a.tar"
    limited = "v7" in options or "ustar" in options  # cannot hold all names, and says so
    status = 2 if limited else 0
    run("tar", *options.split(), "-cf", archive, tree.name, cwd=tree.parent, status=status)
    if "--label" in options:
        columns = scanned(archive)
        assert rows_of(columns) == listed(archive)[1:]
    else:
        columns = agree_with_gnu_tar(archive, tree)
    members = sum(1 for _ in tree.rglob("*")) + 1
    assert len(columns) > members // 2 if limited else len(columns) == members
    assert bool(columns.sparse) == ("--sparse" in options)


def test_gnu_tars_incremental_archives(tree: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    options: list[str | Path] = ["--format=gnu", "--listed-incremental", tmp_path / "state"]
    run("tar", *options, "-cf", archive, tree.name, cwd=tree.parent)
    columns = agree_with_gnu_tar(archive, tree)
    assert any(map(stat.S_ISDIR, columns.modes))


def test_gnu_tars_volumes(tmp_path: Path) -> None:
    names = [f"{i}.JPEG" for i in range(4)]
    for name in names:
        (tmp_path / name).write_bytes(os.urandom(15_000))
    volumes = [tmp_path / f"volume{i}" for i in range(3)]
    files = [option for volume in volumes for option in ("-f", volume)]
    run("tar", "-cM", "-L30", *files, *names, cwd=tmp_path)
    first = MemberColumns()
    data = volumes[0].read_bytes()
    with pytest.raises(ArchiveError, match="cut of"):
        scan(lambda offset, length: data[offset : offset + length], 0, len(data), first)
    assert first.names == [b"0.JPEG"]
    # The rest of a member that began on the first volume is none; what follows is there.
    second = MemberColumns()
    data = volumes[1].read_bytes()
    with pytest.raises(ArchiveError, match="cut of"):
        scan(lambda offset, length: data[offset : offset + length], 0, len(data), second)
    assert second.names == [b"2.JPEG"]
    third = scanned(volumes[2])
    assert third.names == []


@pytest.mark.slow
@needs_bsdtar
@pytest.mark.parametrize("form", ["ustar", "pax", "gnutar", "v7", "pax --read-sparse"])
def test_bsdtar_writes(tree: Path, tmp_path: Path, form: str) -> None:
    archive = tmp_path / "a.tar"
    form, *options = form.split()
    command = ["bsdtar", f"--format={form}", *options, "-cf", str(archive), tree.name]
    done = subprocess.run(command, cwd=tree.parent, env=ENVIRONMENT, capture_output=True)
    assert done.returncode == 0 or form == "ustar", done.stderr
    agree_with_gnu_tar(archive, tree)


OTHERS = [writer for writer in ("busybox tar", "star") if shutil.which(writer.split()[0])]


@pytest.mark.parametrize("writer", OTHERS)
def test_others_write(tree: Path, tmp_path: Path, writer: str) -> None:
    archive = tmp_path / "a.tar"
    command = [*writer.split(), "-cf", str(archive), tree.name]
    subprocess.run(command, cwd=tree.parent, env=ENVIRONMENT, capture_output=True, check=False)
    columns = agree_with_gnu_tar(archive, tree)
    assert len(columns) > sum(1 for _ in tree.rglob("*")) // 2


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_type_of_member(tmp_path: Path, form: int) -> None:
    archive = tmp_path / "a.tar"
    types = {
        "old": tarfile.AREGTYPE,
        "regular": tarfile.REGTYPE,
        "contiguous": tarfile.CONTTYPE,
        "hard": tarfile.LNKTYPE,
        "symbolic": tarfile.SYMTYPE,
        "fifo": tarfile.FIFOTYPE,
        "character": tarfile.CHRTYPE,
        "block": tarfile.BLKTYPE,
        "directory/": tarfile.DIRTYPE,
    }
    with tarfile.open(archive, "w", format=form) as tar:
        for name, kind in types.items():
            info = tarfile.TarInfo(name)
            info.type, info.devmajor, info.devminor = kind, 1, 3
            info.linkname = "regular" if name in ("hard", "symbolic") else ""
            data = name.encode() if kind in tarfile.REGULAR_TYPES else b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    columns = scanned(archive)
    assert rows_of(columns) == listed(archive)
    for at, mode in enumerate(columns.modes):
        if stat.S_ISREG(mode) and at not in columns.hardlinks:
            assert content(archive, columns, at) == columns.names[at]


@pytest.mark.slow
@needs_bsdtar
@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "oldgnu", "posix"])
def test_bsdtar_lists(tree: Path, tmp_path: Path, form: str) -> None:
    archive = tmp_path / "a.tar"
    skip = ["--exclude=new*", "--exclude=latin*", "--exclude=utf*"]  # bsdtar has its own quoting
    command = ["tar", f"--format={form}", *skip, "-cf", str(archive), tree.name]
    subprocess.run(command, cwd=tree.parent, env=ENVIRONMENT, capture_output=True, check=False)
    assert scanned(archive).names == run("bsdtar", "-tf", archive, cwd=tmp_path).splitlines()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tarfile(tmp_path: Path, form: int) -> None:
    archive = tmp_path / "a.tar"
    contents = {f"n01440764_{i}.JPEG": os.urandom(i * 100) for i in range(30)}
    contents |= {"d" * 90 + "/" + "f" * 90: b"prefix", "ü.JPEG": b"not ASCII"}
    if form != tarfile.USTAR_FORMAT:
        contents |= {"long/" * 80 + "name": b"beyond any prefix"}
    with tarfile.open(archive, "w", format=form) as tar:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_338_000_000
            tar.addfile(info, io.BytesIO(data))
    columns = scanned(archive)
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    assert columns.names == [os.fsencode(member.name) for member in members]
    assert columns.headers == [member.offset for member in members]
    assert columns.offsets == [member.offset_data for member in members]
    assert columns.sizes == [member.size for member in members]
    assert columns.mtimes == [member.mtime * 10**9 for member in members]
    assert [content(archive, columns, i) for i in range(len(columns))] == list(contents.values())
