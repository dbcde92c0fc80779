"""An archive that may not be read any more: new opens are refused, whatever the
kernel or a cache has of it.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.server import access_monitor
from imagenetfs.source.source import Source
from imagenetfs.tree.catalogue import build_catalogue
from imagenetfs.tree.source_paths import SourcePaths
from imagenetfs.tree.tree import Tree
from tests.helpers.bench import until
from tests.helpers.imagenet_tars import TRAIN, VAL
from tests.helpers.mounts import Mount
from tests.helpers.passthrough import SlowSource, slow_source

Images = dict[str, bytes]

REVALIDATE = 1.0


@pytest.fixture
def source(sample_copy: Path) -> Iterator[SlowSource]:
    """Root has no more rights there than others."""
    for path in sample_copy.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with slow_source(sample_copy, squash_root=True) as slow:
        yield slow


def _answer(path: Path | str, directory: int | None = None) -> int:
    """What opening and reading a byte says: 0 or an errno."""
    try:
        fd = os.open(path, os.O_RDONLY, dir_fd=directory)
    except OSError as error:
        return error.errno or -1
    try:
        if not os.path.isdir(f"/proc/self/fd/{fd}"):
            os.pread(fd, 1, 0)
    except OSError as error:
        return error.errno or -1
    finally:
        os.close(fd)
    return 0


def _all_answer(wanted: int, *paths: Path) -> bool:
    """Whether all of them come to answer so; how soon, the unit tests of the monitor say."""
    return until(lambda: all(_answer(path) == wanted for path in paths))


def _in_pairs(split: Path) -> Iterator[tuple[Path, Path]]:
    """Two images of each class."""
    for wnid in sorted(split.iterdir()):
        first, second, *_ = sorted(wnid.iterdir())
        yield first, second


@pytest.mark.expects_log("until you may, it is refused")
@pytest.mark.parametrize("cached", [False, True], ids=["uncached", "cached"])
def test_new_opens_are_refused(
    sample_copy: Path,
    source: SlowSource,
    images: Images,
    mount: Mount,
    tmp_path: Path,
    cached: bool,
) -> None:
    """S8: also of images that were looked up, listed, and read into the
    cache; and given again later.
    """
    (tmp_path / "cache").mkdir(mode=0o700)
    keep = {"cache_dir": tmp_path / "cache", "cache_size": 1 << 30} if cached else {}
    one = mount(source.path, revalidate=REVALIDATE, **keep)
    val = {name: data for name, data in images.items() if name.startswith("val/")}
    train = {name: data for name, data in images.items() if name.startswith("train/")}
    for wnid in os.listdir(one.root / "val"):
        for image in os.scandir(one.root / "val" / wnid):
            assert Path(image).read_bytes() == val[f"val/{image.name}"]
    in_class, beside = next(iter(_in_pairs(one.root / "val")))
    by_number = one.root / next(iter(val))
    ways = [
        in_class,
        by_number,
        one.mountpoint / "source" / "ILSVRC2012" / VAL,
        one.mountpoint / "archives" / "ILSVRC2012" / VAL / in_class.name,
    ]
    for path in ways:
        assert _answer(path) == 0
    archive = sample_copy / "ILSVRC2012" / VAL
    held = os.open(in_class.parent, os.O_PATH)
    kept = os.open(in_class, os.O_RDONLY)
    held_pages = mmap.mmap(kept, 0, mmap.MAP_SHARED | mmap.MAP_POPULATE, mmap.PROT_READ)
    try:
        archive.chmod(0o600)
        assert _all_answer(errno.EACCES, *ways)
        assert _answer(beside.name, held) == errno.EACCES  # a directory that somebody works in
        assert _answer(in_class.parent) == errno.EACCES
        assert held_pages[:] == val[f"val/{in_class.name}"]  # the kernel has them
        assert os.pread(kept, 1 << 20, 0) == held_pages[:]
        for name, data in train.items():
            assert (one.root / name).read_bytes() == data
        archive.chmod(0o644)
        assert _all_answer(0, *ways)
        assert _answer(beside.name, held) == 0
        for name, data in val.items():
            assert (one.root / name).read_bytes() == data
    finally:
        held_pages.close()
        os.close(held)
        os.close(kept)
    said = one.log.read_text()
    assert said.count("you may no longer read") == said.count("may be read again") == 1


@pytest.mark.expects_log("until you may, it is refused")
@pytest.mark.parametrize(
    ("closed", "made"),
    [
        (f"ILSVRC2012/{TRAIN}", ["meta/train.txt"]),
        (f"ILSVRC2012/{VAL}", ["meta/val.txt"]),
        (
            "ILSVRC2012/ILSVRC2012_devkit_t12/data/meta.mat",
            ["words.txt", "labels.txt", "meta.bin", "meta/val.txt"],
        ),
    ],
)
def test_files_that_are_made_are_refused(
    sample_copy: Path, source: SlowSource, mount: Mount, closed: str, made: list[str]
) -> None:
    """S8: lists and labels are what the archives and the devkit hold; kept pages do not help."""
    one = mount(source.path, revalidate=REVALIDATE)
    every = ["wnids.txt", "words.txt", "labels.txt", "meta.bin", "meta/train.txt", "meta/val.txt"]
    before = {name: (one.root / name).read_bytes() for name in every}
    held = os.open(one.root / made[-1], os.O_RDONLY)  # the kernel keeps its pages meanwhile
    try:
        (sample_copy / closed).chmod(0o600)
        paths = [one.root / name for name in made]
        assert _all_answer(errno.EACCES, *paths)
        open_ones = {name: before[name] for name in every if name not in made}
        assert {name: (one.root / name).read_bytes() for name in open_ones} == open_ones
        (sample_copy / closed).chmod(0o644)
        assert _all_answer(0, *paths)
    finally:
        os.close(held)
    assert {name: (one.root / name).read_bytes() for name in every} == before


@pytest.mark.expects_log(
    "` says what is damaged: have that fetched again",
    "cannot be indexed: you may no longer read",
    "cannot be indexed: you may not read",
    "until you may, it is refused",
)
def test_attributes_are_refused_with_what_they_are_of(
    sample_copy: Path, source: SlowSource, mount: Mount
) -> None:
    """S8: an image's extended attributes with its archive, the words of its class with theirs."""
    one = mount(source.path, revalidate=REVALIDATE)
    image = next(next((one.root / "train").iterdir()).iterdir())
    assert os.getxattr(image, "user.imagenetfs.words")
    held = os.open(image, os.O_RDONLY)
    try:
        meta = sample_copy / "ILSVRC2012" / "ILSVRC2012_devkit_t12" / "data" / "meta.mat"
        meta.chmod(0o600)
        assert _all_answer(errno.EACCES, one.root / "words.txt")
        with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
            os.getxattr(held, "user.imagenetfs.words")
        assert os.getxattr(held, "user.imagenetfs.wnid").decode() == image.parent.name
        (sample_copy / "ILSVRC2012" / TRAIN).chmod(0o600)
        assert _all_answer(errno.EACCES, image.parent)  # refused, not only unread
        for name in ("source", "offset", "wnid"):
            with pytest.raises(PermissionError):
                os.getxattr(held, f"user.imagenetfs.{name}")
        with pytest.raises(PermissionError):
            os.listxattr(held)
    finally:
        os.close(held)


@pytest.mark.expects_log("until you may, it is refused")
@pytest.mark.parametrize(
    ("version", "split", "closed"),
    [
        ("winter21_whole", "train", "winter21_whole/tars/{}.tar"),
        ("tiny-imagenet-200", "train", "tiny-imagenet-200/train/{}"),
    ],
)
def test_one_class_of_many(
    sample: Path, mount: Mount, version: str, split: str, closed: str
) -> None:
    """S8: what is closed is refused, a tar or a directory of loose images; the
    classes beside it are not.
    """
    with slow_source(sample) as source:
        one = mount(source.path, revalidate=REVALIDATE)
        classes = sorted((one.mountpoint / version / split).iterdir())
        images = [next(directory.iterdir()) for directory in classes[:3]]
        assert [_answer(image) for image in images] == [0, 0, 0]
        source.fault("EACCES", ["open", "opendir"], paths=closed.format(classes[2].name))
        assert _all_answer(errno.EACCES, images[2], classes[2])
        assert [_answer(image) for image in images] == [0, 0, errno.EACCES]
        source.clear()
        assert _all_answer(0, images[2])
        one.close()  # before its source: the other classes are being indexed


def test_of_many_in_a_directory_only_what_is_new_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing tells which ones: their ctime is another.

    A link says nothing of what it leads to.
    """
    monkeypatch.setattr(access_monitor, "_MANY", 3)
    paths = [b"tars/%d.tar" % number for number in range(5)]
    (tmp_path / "tars").mkdir()
    for path in paths[:4]:
        (tmp_path / os.fsdecode(path)).touch()
    (tmp_path / "tars" / "4.tar").symlink_to("0.tar")
    source = Source(tmp_path)

    def asked() -> list[bytes]:
        some = list(access_monitor.paths_to_probe(source, paths))
        for path, ctime in some:
            if access_monitor.probe(source, path) is not None and ctime is not None:
                source.known.note_permitted(path, ctime)
        return [path for path, _ in some]

    assert asked() == paths
    assert asked() == [paths[4]]
    (tmp_path / "tars" / "2.tar").chmod(0o600)
    assert asked() == [paths[2], paths[4]]
    assert source.known.refuse(paths[1])  # asked each time until it may be read
    assert asked() == [paths[1], paths[4]]
    assert not source.known.is_refused(paths[1])
    assert asked() == [paths[4]]
    monkeypatch.setattr(access_monitor, "_MANY", 5)
    assert asked() == paths
    source.close()


def test_a_directory_of_many_that_is_closed_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S14: though nothing about what lies in it is new."""
    monkeypatch.setattr(access_monitor, "_MANY", 1)
    (tmp_path / "tars").mkdir()
    for number in range(3):
        (tmp_path / "tars" / f"{number}.tar").touch()

    class Shown:
        def shown(self) -> Iterator[bytes]:
            yield from (b"tars/%d.tar" % number for number in range(3))

    source = Source(tmp_path)
    watch = access_monitor.AccessMonitor(source, Shown(), 1.0, rights=True)  # type: ignore[arg-type]
    for bits in (0o755, 0o750):
        (tmp_path / "tars").chmod(bits)
        watch._probe_all()
        assert (source.known.rights(b"tars") or (0, 0, 0))[2] == bits
    source.close()


def test_the_kernel_is_told_no_more_than_it_must(sample: Path) -> None:
    """The names that stand for an archive, of all that a tree has."""
    source = Source(sample)
    tree = Tree(build_catalogue(source, places=IndexSearchPath(None, sample)), "1")
    backing, index = SourcePaths(tree), tree.catalogue.index
    path = f"ILSVRC2012/{VAL}".encode()
    assert path not in backing.shown()
    assert {name for _, name in backing.names([path])} == {b"val.txt", b"val_list.txt"}
    archive = tree.catalogue.numbers[path]
    for number in (tree.catalogue.numbers[b""], tree.catalogue.numbers[b"ILSVRC2012"], archive):
        index.container(number)
    assert path in backing.shown()
    version = next(v for v in tree.catalogue.versions if v.name == b"ILSVRC2012")
    val = version.split(b"val")
    assert val is not None
    names = [name for _, name in backing.names([path])]
    for made in (b"val.txt", b"val.txt", b"val_list.txt"):  # of meta/ and meta_data/
        names.remove(made)
    # val and its other name, as a directory of split: each with its classes; then
    # source/ and archives/.
    assert sorted(names) == sorted(
        [
            *val.backend.classes,
            b"val",
            *val.backend.classes,
            b"validation",
            VAL.encode(),
            VAL.encode(),
        ]
    )
    image = val.backend.listing(0).entries(0).__next__()[1]
    assert list(backing.paths(image)) == [path]
    source.close()
