"""archives/: every tar a directory, as GNU tar extracts it, whoever wrote it."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import pytest

from tests.helpers.archives import tar_of
from tests.helpers.mounts import Mount, Mounted
from tests.helpers.odd_tars import extracted, odd_tars
from tests.helpers.randomness import seeded

NOT_UTF8 = b"caf\xe9 \xff\xfe"
PAST = 1_339_500_000
ODD = odd_tars()
SHORT = [name for name in ODD if not name.startswith(("deep", "long"))]

pytestmark = pytest.mark.expects_log("unknown/odd/")
"""Whichever test comes upon an odd tar first, its log line is expected."""
"""Those whose names, with the mount's own before them, a path has room for."""


@dataclass(frozen=True)
class Seen:
    """What a walk sees of one entry. Directories' sizes and link counts are a file system's own,
    and their times change while files are extracted into them.

    Of the mode, who may execute it: nobody may write here, and everybody may read.
    """

    kind: int
    execute: int
    size: int
    mtime: float
    links: int
    contents: bytes


def walk(root: Path) -> dict[bytes, Seen]:
    found = {}
    for directory, below, names in os.walk(os.fsencode(root)):
        for name in below + names:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, os.fsencode(root))] = see(path)
    return found


def see(path: bytes) -> Seen:
    status = os.lstat(path)
    kind, contents = stat.S_IFMT(status.st_mode), b""
    execute = 0 if kind == stat.S_IFLNK else status.st_mode & 0o111
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            contents = file.read()
    elif kind == stat.S_IFLNK:
        contents = os.readlink(path)
    elif kind == stat.S_IFDIR:
        return Seen(kind, execute, 0, 0, 0, b"")
    return Seen(kind, execute, status.st_size, int(status.st_mtime), status.st_nlink, contents)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every kind of member that a tar can have."""
    root = tmp_path_factory.mktemp("members") / "tree"
    (root / "sub" / "deeper").mkdir(parents=True)
    (root / "empty directory").mkdir()
    (root / "plain").write_bytes(b"plain" * 1000)
    (root / "empty").write_bytes(b"")
    (root / "sub" / "deeper" / "file").write_bytes(os.urandom(70_000))
    (root / ("long" * 30)).write_bytes(b"a long name")
    os.link(root / "plain", root / "sub" / "hard")
    os.link(root / "plain", root / "a hard link before it")
    (root / "link").symlink_to("sub/deeper/file")
    (root / "sub" / "up").symlink_to("../plain")
    (root / "dangling").symlink_to("nowhere")
    (root / "linked directory").symlink_to("sub")
    os.link(root / "link", root / "hard link to a link", follow_symlinks=False)
    with open(os.path.join(os.fsencode(root), NOT_UTF8), "wb") as file:
        file.write(b"not UTF-8")
    os.mkfifo(root / "fifo")
    for mode in (0o755, 0o4711, 0o600, 0o777):
        (root / f"mode {mode:o}").write_bytes(b"mode")
        (root / f"mode {mode:o}").chmod(mode)
    with (root / "sparse").open("wb") as sparse:
        for at in (0, 500_000, 1_000_000):
            sparse.seek(at)
            sparse.write(b"data" * 1000)
        sparse.truncate(2_000_000)
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, (PAST, PAST), follow_symlinks=False)
    return root


WRITERS: dict[str, list[str]] = {
    **{
        f"gnu-{form}": ["tar", f"--format={form}"]
        for form in ("v7", "oldgnu", "gnu", "ustar", "posix")
    },
    "gnu-sparse": ["tar", "--format=gnu", "--sparse"],
    **{
        f"pax-sparse-{version}": ["tar", "--format=posix", "-S", f"--sparse-version={version}"]
        for version in ("0.0", "0.1", "1.0")
    },
    **{f"bsd-{form}": ["bsdtar", f"--format={form}"] for form in ("ustar", "pax", "gnutar", "v7")},
    **{name: [name, *tar] for name, tar in (("busybox", ["tar"]), ("star", [])) if which(name)},
    **{
        f"python-{form}": ["python", str(form)]
        for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    },
}


def write(writer: list[str], archive: Path, tree: Path) -> None:
    if writer[0] == "python":
        with tarfile.open(archive, "w", format=int(writer[1])) as tar:
            for path in sorted(tree.rglob("*")):
                try:
                    tar.add(path, path.relative_to(tree), recursive=False)
                except ValueError:  # ustar has no room for the name
                    assert len(path.name) > 100
        return
    # A name that does not fit the format is left out with a warning, and a bad exit code.
    subprocess.run(
        [*writer, "-cf", str(archive), "-C", str(tree), "."],
        check=False,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def odd_source(members: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source with a little ILSVRC2012, and a directory that nobody knows, full of odd tars."""
    source = tmp_path_factory.mktemp("odd") / "imagenet"
    make_version(source)
    odd = source / "unknown" / "odd"
    odd.mkdir(parents=True)
    for name, writer in WRITERS.items():
        write(writer, odd / f"{name}.tar", members)
    make_harmful(odd / "harmful.tar")
    make_repeated(odd / "repeated.tar")
    make_long_names(odd / "long names.tar")
    make_nested(odd / "nested.tar", 3)
    deep = odd / "some" / "where" / "below"
    deep.mkdir(parents=True)
    make_nested(deep / "deep.tar", 2)
    os.utime(deep / "deep.tar", (PAST, PAST))
    (deep / "link.tar").symlink_to("deep.tar")
    (odd / "no tar.tar").write_bytes(b"no tar at all" * 100)
    (odd / "packed.tar").write_bytes(b"\x1f\x8b" + bytes(600))
    (odd / "by hand").mkdir()
    for name in SHORT:
        (odd / "by hand" / f"{name}.tar").write_bytes(ODD[name])
    cut = tar_of({"f": b"1", "g": b"x" * 2000})[:1800]
    (odd / "cut.tar").write_bytes(tar_of({"whole.tar": tar_of({"f": b"1"}), "cut.tar": cut}))
    (odd / "loose.txt").write_text("loose")
    (odd / "loose link").symlink_to("loose.txt")
    return source


def make_version(source: Path) -> None:
    (source / "ILSVRC2012").mkdir(parents=True)
    with tarfile.open(source / "ILSVRC2012" / "ILSVRC2012_img_val.tar", "w") as tar:
        add(tar, "ILSVRC2012_val_00000001.JPEG", b"an image")


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime = len(data), PAST
    for field, value in fields.items():
        setattr(member, field, value)
    tar.addfile(member, io.BytesIO(data))


def make_harmful(path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        add(tar, "/absolute", b"absolute")
        add(tar, "../../up", b"up")
        add(tar, "inside/../across", b"across")
        links = {
            "passwd": "/etc/passwd",
            "out": "../../../../../../etc/passwd",
            "here": ".",
            "trick": "here/../../../../../../../etc/passwd",
            "inside/fine": "../absolute",
            "inside/root": "/absolute",
        }
        for name, target in links.items():
            add(tar, name, type=tarfile.SYMTYPE, linkname=target)
        add(tar, "device", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
        add(tar, "set user", b"x", mode=0o6755)


def make_repeated(path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        add(tar, "file", b"first")
        add(tar, "link to the first", type=tarfile.LNKTYPE, linkname="file")
        add(tar, "file", b"second, and longer")
        add(tar, "link to the second", type=tarfile.LNKTYPE, linkname="file")
        add(tar, "link to a link", type=tarfile.LNKTYPE, linkname="link to the second")
        add(tar, "link to nothing", type=tarfile.LNKTYPE, linkname="nothing")


def make_long_names(path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "first", b"first")
        add(tar, "l" * 255, b"the longest")
        for length in (256, 1000, 1025, 5000):
            add(tar, "l" * length, b"no file system holds it")
            add(tar, f"{'d' * length}/below", b"nor this")
        add(tar, "deep/" * 500 + "file", b"more than a page in all")
        add(tar, "last", b"last")


def make_nested(path: Path, depth: int) -> None:
    with tarfile.open(path, "w") as tar:
        add(tar, "directory/file", b"depth %d" % depth)
        if depth:
            inner = path.with_name(f"inner{depth}.tar")
            make_nested(inner, depth - 1)
            tar.add(inner, f"directory/level{depth - 1}.tar")
            inner.unlink()


@pytest.fixture(scope="module")
def odd_mount(odd_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    from tests.helpers.mounts import mounted

    one = mounted(odd_source, tmp_path_factory.mktemp("oddmount") / "mnt")
    try:
        yield one
    finally:
        one.close()


@pytest.fixture(scope="module")
def odd(odd_mount: Mounted) -> Path:
    return odd_mount.mountpoint


def extract(archive: Path, into: Path) -> dict[bytes, Seen]:
    into.mkdir()
    subprocess.run(
        ["tar", "-xf", str(archive), "-C", str(into)], check=False, stderr=subprocess.DEVNULL
    )
    return walk(into)


@pytest.mark.parametrize("name", WRITERS)
def test_as_gnu_tar_extracts(odd: Path, odd_source: Path, tmp_path: Path, name: str) -> None:
    expected = extract(odd_source / "unknown" / "odd" / f"{name}.tar", tmp_path / "x")
    assert len(expected) >= 14, "the writer wrote nothing to compare"
    shown = odd / "archives" / "unknown" / "odd" / f"{name}.tar"
    assert walk(shown) == expected
    every = [os.lstat(path) for path in shown.rglob("*") if not path.is_symlink()]
    for found in every:
        written = 0o200 if stat.S_ISDIR(found.st_mode) else 0  # decision 21
        assert found.st_mode & 0o7666 == 0o444 | written
    assert {int(found.st_mtime) for found in every if stat.S_ISDIR(found.st_mode)} == {PAST}


@pytest.mark.parametrize("name", SHORT)
def test_odd_tars_as_gnu_tar_extracts(
    odd: Path, odd_source: Path, tmp_path: Path, name: str
) -> None:
    expected = extracted(odd_source / "unknown" / "odd" / "by hand" / f"{name}.tar", tmp_path / "x")
    shown = walk(odd / "archives" / "unknown" / "odd" / "by hand" / f"{name}.tar")
    inner = {n for n in shown if n.startswith(b"inner.tar")}  # a directory here
    assert set(shown) - inner == set(expected) - inner
    for path in set(expected) - inner:
        assert (shown[path].kind, shown[path].contents) == expected[path][:2]


@pytest.mark.parametrize("form", ["old", "0.1", "1.0"])
def test_a_tar_with_holes_within_a_tar(
    odd: Path, odd_source: Path, tmp_path: Path, form: str
) -> None:
    name = f"unknown/odd/by hand/holes {form}.tar"
    extracted(odd_source / name, tmp_path / "x")
    expected = extracted(tmp_path / "x" / "inner.tar", tmp_path / "y")
    shown = walk(odd / "archives" / name / "inner.tar")
    assert {n: (s.kind, s.contents) for n, s in shown.items()} == {
        n: entry[:2] for n, entry in expected.items()
    }


def test_what_is_wrong_is_told_by_its_name(odd_mount: Mounted) -> None:
    root = odd_mount.mountpoint / "archives" / "unknown" / "odd"
    assert os.listdir(root / "cut.tar" / "cut.tar") == ["f"]
    assert os.listdir(root / "packed.tar") == os.listdir(root / "no tar.tar") == []
    os.listdir(root / "by hand" / "dot dot.tar")
    told = "\n".join(
        json.loads((odd_mount.mountpoint / ".imagenetfs" / "status.json").read_text())["warnings"]
    )
    log = odd_mount.log.read_text()
    for text in (told, log):
        assert "unknown/odd/cut.tar: cut.tar is broken" in text
        assert "compressed with gzip: decompress it once" in text
        assert "dot dot.tar: not all members are shown: 2 left out, for its name has '..'" in text
    assert "cut.tar: cut.tar is broken at byte 1,024 (byte " in log
    assert "Traceback" not in log


def test_hard_links_are_one_inode(odd: Path) -> None:
    root = odd / "archives" / "unknown" / "odd" / "gnu-gnu.tar"
    names = ["plain", "sub/hard", "a hard link before it"]
    assert len({(root / name).stat().st_ino for name in names}) == 1
    assert (root / "empty").stat().st_nlink == 1
    assert (root / "plain").stat().st_ino != (root / "empty").stat().st_ino


def test_duplicates_as_extracted(odd: Path, odd_source: Path, tmp_path: Path) -> None:
    root = odd / "archives" / "unknown" / "odd" / "repeated.tar"
    expected = extract(odd_source / "unknown" / "odd" / "repeated.tar", tmp_path / "x")
    assert walk(root) == expected
    assert (root / "link to the first").read_bytes() == b"first"
    assert (root / "file").stat().st_nlink == 3


def test_names_that_no_file_system_holds_hide_no_others(
    odd: Path, odd_source: Path, tmp_path: Path
) -> None:
    tar = Path("unknown/odd/long names.tar")
    expected = extract(odd_source / tar, tmp_path / "x")
    assert {b"first", b"l" * 255, b"last", b"deep/" * 500 + b"file"} <= set(expected)
    assert walk(odd / "archives" / tar) == expected


def test_nothing_leads_outside(odd: Path) -> None:
    root = odd / "archives" / "unknown" / "odd" / "harmful.tar"
    assert (root / "absolute").read_bytes() == b"absolute"
    assert not {"up", "across"} & {path.name for path in root.rglob("*")}
    for name in ("passwd", "out", "trick", "inside/fine", "inside/root", "here"):
        target = (root / name).resolve()
        assert target == root or root in target.parents, name
    assert (root / "inside" / "fine").readlink() == Path("../absolute")
    assert (root / "inside" / "root").read_bytes() == b"absolute"
    assert not (root / "passwd").exists()
    assert (root / "set user").stat().st_mode == stat.S_IFREG | 0o555
    assert stat.S_ISCHR((root / "device").stat().st_mode)


def test_two_levels_are_directories_and_deeper_ones_files(odd: Path) -> None:
    outer = odd / "archives" / "unknown" / "odd" / "nested.tar"
    inner = outer / "directory" / "level2.tar"
    assert (outer / "directory" / "file").read_bytes() == b"depth 3"
    assert (inner / "directory" / "file").read_bytes() == b"depth 2"
    deepest = inner / "directory" / "level1.tar"
    with tarfile.open(deepest) as tar:
        assert tar.getnames() == ["directory/file", "directory/level0.tar"]


def test_tars_in_deep_directories(odd: Path, odd_source: Path) -> None:
    place = Path("unknown/odd/some/where/below/deep.tar")
    outer = odd / "archives" / place
    assert sorted(os.listdir(outer.parent)) == ["deep.tar", "link.tar"]
    assert (outer / "directory" / "file").read_bytes() == b"depth 2"
    assert (outer / "directory" / "level1.tar" / "directory" / "file").read_bytes() == b"depth 1"
    assert (outer / "directory" / "level1.tar" / "directory" / "level0.tar").is_file()
    assert (outer.parent / "link.tar").readlink() == Path("deep.tar")
    assert (odd / "source" / place).read_bytes() == (odd_source / place).read_bytes()
    [entry] = (entry for entry in os.scandir(outer.parent) if entry.name == "deep.tar")
    assert entry.stat().st_mtime == outer.stat().st_mtime == PAST


def inodes(root: Path) -> dict[str, int]:
    every = (os.path.join(path, n) for path, below, names in os.walk(root) for n in below + names)
    return {os.path.relpath(path, root): os.lstat(path).st_ino for path in every}


def test_inodes_are_the_same_at_every_mount(odd: Path, odd_source: Path, mount: Mount) -> None:
    """But those in tars below the second level, which stay as they are while the mount lives."""
    expected = inodes(odd / "archives")
    assert len(set(expected.values())) > len(expected) // 2
    assert inodes(odd / "archives") == expected
    other = mount(odd_source).mountpoint / "archives"
    deepest = "unknown/odd/some/where/below/deep.tar/directory/level1.tar/directory/file"
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: (other / deepest).stat().st_ino, range(32)))
    assert len(found) == 1
    later = inodes(other)
    assert later.keys() == expected.keys()
    assert later[deepest] in found
    below = ("unknown/odd/some/where/below/deep.tar", "unknown/odd/by hand/")
    upper = {path for path in expected if not path.startswith(below)}
    assert {path: later[path] for path in upper} == {path: expected[path] for path in upper}


MANY = 1500


def ticks(pid: int) -> int:
    """CPU time of a process, in hundredths of a second."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


@pytest.fixture(scope="module")
def many_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3,000 tars in one deep directory, each with a tar in it."""
    source = tmp_path_factory.mktemp("many") / "source"
    make_version(source)
    deep = source / "site" / "a" / "b" / "c"
    deep.mkdir(parents=True)
    for number in range(MANY):
        inner = io.BytesIO()
        with tarfile.open(fileobj=inner, mode="w") as tar:
            add(tar, "below", b"%d below" % number)
        with tarfile.open(deep / f"{number:04}.tar", "w") as tar:
            add(tar, f"file {number}", b"%d" % number)
            add(tar, "inner.tar", inner.getvalue()[:2048])
    return source


def test_thousands_of_tars_in_one_deep_directory(
    many_source: Path, tmp_path: Path, mount: Mount
) -> None:
    """Come upon one by one in a shuffled order by several workers, each before
    the directory is listed.
    """
    one = mount(many_source)
    shown = one.mountpoint / "archives" / "site" / "a" / "b" / "c"
    order = list(range(MANY))
    seeded("order of tars").shuffle(order)

    def read(number: int) -> tuple[bytes, bytes, int]:
        tar = shown / f"{number:04}.tar"
        below = tar / "inner.tar" / "below"
        return (tar / f"file {number}").read_bytes(), below.read_bytes(), tar.stat().st_ino

    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(order, pool.map(read, order), strict=True))
    for number, (file, below, _) in found.items():
        assert (file, below) == (b"%d" % number, b"%d below" % number)
    assert len({inode for _, _, inode in found.values()}) == MANY
    at_work = [ticks(pid) > 10 for pid in one.worker_pids()]
    assert sum(at_work) > 1, "several workers came upon them"
    listed = {entry.name: entry for entry in os.scandir(shown)}
    assert len(listed) == MANY
    for number, (_, _, inode) in found.items():
        entry = listed[f"{number:04}.tar"]
        assert entry.is_dir()
        assert entry.inode() == inode
    for number in (0, 1234, MANY - 1):
        origin = many_source / "site" / "a" / "b" / "c" / f"{number:04}.tar"
        expected = extract(origin, tmp_path / f"x{number}")
        assert expected.pop(b"inner.tar").kind == stat.S_IFREG
        seen = walk(shown / origin.name)
        assert seen.pop(b"inner.tar").kind == stat.S_IFDIR
        assert seen.pop(b"inner.tar/below").contents == b"%d below" % number
        assert seen == expected
    assert one.status()["counters"]["errors"] == 0


def test_files_are_passed_through(odd: Path, odd_source: Path) -> None:
    root = odd / "archives" / "unknown"
    assert (root / "odd" / "loose.txt").read_text() == "loose"
    assert (root / "odd" / "loose link").readlink() == Path("loose.txt")
    assert os.listdir(root / "odd" / "no tar.tar") == []
    source = odd / "source" / "unknown" / "odd" / "no tar.tar"
    assert source.read_bytes() == (odd_source / "unknown" / "odd" / "no tar.tar").read_bytes()


def test_unknown_directories_stand_under_archives_and_source_alone(odd: Path) -> None:
    assert sorted(os.listdir(odd)) == ["ILSVRC2012", "archives"]
    assert sorted(os.listdir(odd / "archives")) == ["ILSVRC2012", "unknown"]


def test_times_are_the_same_listed_and_looked_up(odd: Path, odd_source: Path) -> None:
    for directory in (odd / "archives" / "unknown" / "odd", odd / "source" / "unknown"):
        for entry in os.scandir(directory):
            assert entry.stat(follow_symlinks=False).st_mtime == os.lstat(entry.path).st_mtime
    for name in ("harmful.tar", "nested.tar"):
        shown = odd / "archives" / "unknown" / "odd" / name
        origin = odd_source / "unknown" / "odd" / name
        assert shown.stat().st_mtime_ns == origin.stat().st_mtime_ns


def test_one_inode_with_the_class_directories(sample_mount: Mounted) -> None:
    root = sample_mount.mountpoint
    tar = root / "archives" / "ILSVRC2012" / "ILSVRC2012_img_train.tar"
    for directory in (root / "ILSVRC2012" / "train").iterdir():
        below = tar / f"{directory.name}.tar"
        assert below.stat().st_ino != directory.stat().st_ino
        assert {p.name: p.stat().st_ino for p in below.iterdir()} == {
            p.name: p.stat().st_ino for p in directory.iterdir()
        }
    winter = root / "archives" / "winter21_whole" / "tars"
    for tar in winter.iterdir():
        for path in tar.iterdir():
            same = root / "winter21_whole" / "train" / tar.stem / path.name
            assert path.stat().st_ino == same.stat().st_ino
