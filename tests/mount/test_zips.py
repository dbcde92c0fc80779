"""Zips through a mount: the bytes that Python's zipfile reads, from the source and from a cache."""

from __future__ import annotations

import os
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.archives import tar_of
from tests.helpers.bench import Bench
from tests.helpers.cache import PLENTY
from tests.helpers.mounts import Mount, Mounted
from tests.helpers.randomness import seeded
from tests.helpers.zip_layouts import KAGGLE, kaggle
from tests.helpers.zips import Member, contents_of, raw_zip, zip_directory, zip_of

pytestmark = [pytest.mark.timeout(180), pytest.mark.spread]

CLS = "ILSVRC/Data/CLS-LOC/"


def large(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same, with images as long as ImageNet's, and longer than a request; half of each can be
    deflated."""
    random = seeded("zips")
    found = {}
    for number, (path, data) in enumerate(files.items()):
        if path.endswith(".JPEG"):
            size = (300, 17_000, 110_000, 1_300_000)[number % 4]
            data += random.randbytes(size // 2) + bytes(size // 2)
        found[path] = data
    return found


@pytest.fixture(params=["source", "cache"])
def options(request: pytest.FixtureRequest, cache_dir: Path) -> dict[str, object]:
    """How it is mounted."""
    return {"cache_dir": cache_dir, "cache_size": PLENTY} if request.param == "cache" else {}


def read(paths: dict[Path, bytes]) -> None:
    """Read the files side by side, in any order, and see that each has these bytes."""
    every = list(paths.items())
    seeded("read").shuffle(every)
    with ThreadPoolExecutor(8) as pool:
        for (path, data), found in zip(
            every, pool.map(lambda one: one[0].read_bytes(), every), strict=True
        ):
            assert found == data, path


def test_kaggle_s_zip(tmp_path: Path, mount: Mount, options: dict[str, object]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    file = source / KAGGLE
    file.write_bytes(zip_of(large(kaggle())))
    one = mount(source, **options)
    members, labels = contents_of(file), {}
    for line in members["LOC_val_solution.csv"].decode().splitlines()[1:]:
        name, _, prediction = line.partition(",")
        labels[name] = prediction.split()[0]
    expected: dict[Path, bytes] = {}
    for path, data in members.items():
        name = path.rpartition("/")[2]
        if path.startswith(f"{CLS}train/"):
            expected[one.root / path.removeprefix(CLS)] = data
        elif path.startswith(f"{CLS}val/"):
            expected[one.root / "val" / labels[name[:-5]] / name] = data
        elif path.startswith(f"{CLS}test/"):
            expected[one.root / "test" / "unlabeled" / name] = data
        expected[one.mountpoint / "archives" / KAGGLE / path] = data
    assert len(expected) > len(members)
    read(expected)
    read(expected)
    for split in ("train", "val"):
        shown = {p.relative_to(one.root) for p in (one.root / split).glob("*/*")}
        assert shown == {
            path.relative_to(one.root) for path in expected if path.is_relative_to(one.root / split)
        }
    assert (one.mountpoint / "source" / KAGGLE).read_bytes() == file.read_bytes()
    same = os.stat(one.root / "train" / "n01440764" / "n01440764_1.JPEG")
    other = one.mountpoint / "archives" / KAGGLE / CLS / "train" / "n01440764" / "n01440764_1.JPEG"
    assert os.stat(other).st_ino == same.st_ino
    assert one.warnings == []
    assert one.status()["counters"]["errors"] == 0


def test_tiny_imagenet_200_zip(
    sample: Path, sample_mount: Mounted, tmp_path: Path, mount: Mount, options: dict[str, object]
) -> None:
    """Exactly as the directory that it was made from is served."""
    source = tmp_path / "source"
    source.mkdir()
    name = "tiny-imagenet-200"
    zip_directory(sample / name, source / f"{name}.zip", above=f"{name}/")
    with zipfile.ZipFile(source / f"{name}.zip") as archive:
        assert {info.compress_type for info in archive.infolist()} == {0, 8}
    one = mount(source, **options)
    unpacked, zipped = (m.mountpoint / name for m in (sample_mount, one))
    paths = {p.relative_to(unpacked) for p in unpacked.rglob("*") if p.is_file()}
    assert {p.relative_to(zipped) for p in zipped.rglob("*") if p.is_file()} == paths
    read({zipped / path: (unpacked / path).read_bytes() for path in paths})


def test_parts_of_deflated_images(tmp_path: Path, mount: Mount) -> None:
    """At any offset, by any number of bytes, by several processes that share no memory."""
    source = tmp_path / "source"
    source.mkdir()
    random = seeded("parts")
    data = random.randbytes(700_000) + bytes(2_000_000) + random.randbytes(70_001)
    (source / KAGGLE).write_bytes(zip_of(large(kaggle())))
    (source / "x.zip").write_bytes(zip_of({"a/x.bin": data}, "deflated"))
    one = mount(source)
    path = one.mountpoint / "archives" / "x.zip" / "a" / "x.bin"

    def part(_: int) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        try:
            offset = random.randrange(len(data) // 4096) * 4096
            assert os.pread(fd, 128 * 1024, offset) == data[offset : offset + 128 * 1024]
        finally:
            os.close(fd)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(part, range(100)))


@pytest.mark.expects_log("cannot be read:")
@pytest.mark.expects_log("not all members are shown")
def test_hostile_members_fail_and_all_others_are_read(tmp_path: Path, mount: Mount) -> None:
    """S28: those that only show when they are read: other data than the directory says."""
    source = tmp_path / "source"
    source.mkdir()
    sound = {f"d/{n}.JPEG": os.urandom(20_000 * n) for n in range(5)}
    text = b"text " * 5000
    bad = [
        Member(b"d/wrong-sum.JPEG", text, method=8, told_crc=1, local_crc=1),
        Member(b"d/longer.JPEG", text, method=8, told_size=len(text) - 1),
        Member(b"d/other-name.JPEG", text, local_name=b"d/other_name.JPEG"),
        Member(b"d/other-method.JPEG", text, local_method=8),
        Member(b"d/other-sum.JPEG", text, local_crc=5),
        Member(b"d/no-deflate.JPEG", text, method=8, packed=b"\xff" * 99),
    ]
    members = [Member(name.encode(), data) for name, data in sound.items()]
    every = [*members[:2], *bad[:3], *members[2:4], *bad[3:], members[4]]
    secret = Member(b"d/secret.JPEG", b"x", flags=1)
    (source / "x.zip").write_bytes(raw_zip([*every, secret]))
    (source / KAGGLE).write_bytes(zip_of(kaggle()))
    one = mount(source)
    where = one.mountpoint / "archives" / "x.zip"
    assert not (where / "d" / "secret.JPEG").exists()
    refused = 0
    for member in bad:
        path = where / member.name.decode()
        if path.exists():
            with pytest.raises(OSError, match="Input/output error"):
                path.read_bytes()
            refused += 1
    assert refused >= 4  # the others are not shown, as the mount's log says
    read({where / name: data for name, data in sound.items()})
    status = one.status()
    assert status["counters"]["errors"] >= refused
    assert any("x.zip: not all members are shown" in line for line in one.warnings)


def test_archives_within_a_zip_and_zips_within_archives(tmp_path: Path, mount: Mount) -> None:
    source = tmp_path / "source"
    source.mkdir()
    tar, inner = tar_of({"a": b"in a tar"}), zip_of({"b": b"in a zip", "c": b"x" * 999})
    (source / KAGGLE).write_bytes(zip_of(kaggle()))
    (source / "x.zip").write_bytes(zip_of({"t.tar": tar, "z.zip": inner}, "stored"))
    (source / "y.tar").write_bytes(tar_of({"d/z.zip": inner}))
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / "z.zip").write_bytes(inner)
    (source / "packed.zip").write_bytes(zip_of({"t.tar": tar + bytes(9999)}, "deflated"))
    one = mount(source)
    archives = one.mountpoint / "archives"
    assert (archives / "x.zip" / "t.tar" / "a").read_bytes() == b"in a tar"
    for where in ("x.zip/z.zip", "y.tar/d/z.zip", "deep/er/z.zip"):
        assert (archives / where / "b").read_bytes() == b"in a zip"
        assert (archives / where / "c").read_bytes() == b"x" * 999
    # What is deflated is no place to read from the middle of: it stays a file.
    assert (archives / "packed.zip" / "t.tar").read_bytes() == tar + bytes(9999)


@pytest.mark.expects_log("is another file now")
def test_another_zip_takes_its_place(tmp_path: Path, mount: Mount) -> None:
    """In place, of the same length: nothing of it is shown under the old names."""
    source = tmp_path / "source"
    source.mkdir()
    file = source / KAGGLE
    files = large(kaggle())
    file.write_bytes(zip_of(files))
    one = mount(source, revalidate=0.0)
    path = one.root / "train" / "n01440764" / "n01440764_1.JPEG"
    assert path.read_bytes() == files[f"{CLS}train/n01440764/n01440764_1.JPEG"]
    other = {name: data[::-1] for name, data in files.items()}
    file.write_bytes(zip_of(other).ljust(file.stat().st_size, b"\0")[: file.stat().st_size])
    with pytest.raises(OSError, match="Input/output error"):
        (one.root / "train" / "n01440764" / "n01440764_2.JPEG").read_bytes()


@pytest.mark.parametrize("level", ["-0", "-9"])
@pytest.mark.skipif(
    subprocess.run(["which", "zip"], capture_output=True, check=False).returncode != 0,
    reason="there is no zip here",
)
def test_as_info_zip_packs_it(tmp_path: Path, mount: Mount, level: str) -> None:
    files = large(kaggle())
    for path, data in files.items():
        (tmp_path / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / path).write_bytes(data)
    source = tmp_path / "source"
    source.mkdir()
    command = ["zip", "-q", "-r", level, str(source / KAGGLE), "ILSVRC"]
    tops = [name for name in os.listdir(tmp_path / "tree") if name.startswith("LOC_")]
    subprocess.run([*command, *tops], cwd=tmp_path / "tree", check=True)
    one = mount(source)
    archives = one.mountpoint / "archives" / KAGGLE
    read({archives / path: data for path, data in files.items()})
    for path in files:
        assert (archives / path).stat().st_mtime == int((tmp_path / "tree" / path).stat().st_mtime)


# --- commands -------------------------------------------------------------------------------------


def test_commands(at: Bench, tmp_path: Path) -> None:
    """index, info, verify and stage take a zip as they take a tar."""
    source = tmp_path / "source"
    source.mkdir()
    (source / KAGGLE).write_bytes(zip_of(large(kaggle())))
    place = ("--index-dir", tmp_path / "index")
    done = at.call("index", source, *place)
    assert done.returncode == 0, done.stderr
    assert f"{KAGGLE}: " in done.stdout
    assert f"{KAGGLE}.idx" in {path.name for path in (tmp_path / "index").rglob("*")}
    again = at.call("index", source, *place)
    assert "all indexed before" in again.stdout
    checked = at.call("index", "check", "--source", source, *place)
    assert checked.returncode == 0, checked.stderr
    told = at.call("info", source, *place)
    assert told.returncode == 0, told.stderr
    assert "ILSVRC/Data/CLS-LOC/train" in told.stdout
    exported = at.call("index", "export", tmp_path / "x.idx", "--source", source, *place)
    assert exported.returncode == 0, exported.stderr
    there = ("--source", source, "--index-dir", tmp_path / "two")
    taken = at.call("index", "import", tmp_path / "x.idx", *there)
    assert taken.returncode == 0, taken.stderr
    staged = at.call("stage", source, "ILSVRC2012/val", "--cache-dir", tmp_path / "cache", *place)
    assert staged.returncode == 0, staged.stderr
    listed = at.call("cache", "ls", "--cache-dir", tmp_path / "cache")
    assert KAGGLE in listed.stdout


def test_verify_tells_what_is_damaged(at: Bench, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    file, name = source / "imagenette2.zip", "train/n01440764/n01440764_1.JPEG"
    images = {path.removeprefix(CLS): data for path, data in kaggle().items() if "train/" in path}
    file.write_bytes(zip_of({p: d for p, d in images.items() if p.endswith(".JPEG")}, "deflated"))
    sound = at.call("verify", source)
    assert sound.returncode == 0, sound.stdout + sound.stderr
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo(name)
    data = bytearray(file.read_bytes())
    data[info.header_offset + 30 + len(name) + 5] ^= 0xFF
    file.write_bytes(bytes(data))
    damaged = at.call("verify", source)
    assert damaged.returncode == 42, damaged.stdout + damaged.stderr
    assert f"imagenette2.zip: {name} is damaged" in damaged.stdout + damaged.stderr
