"""The tree in the process: the mount's paths, Python's errors, closing, pickling."""

from __future__ import annotations

import errno
import os
import pickle
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagenetfs
from imagenetfs import errors
from imagenetfs.errors import NoEntryError, SourceChangedError, TreeClosedError
from tests.helpers.archives import image
from tests.helpers.sources import TRAIN, train_and_test, write

IMAGE = "ILSVRC2012/train/n00000001/n00000001_0.JPEG"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return train_and_test(tmp_path / "imagenet")


@pytest.fixture
def tree(source: Path) -> Iterator[imagenetfs.Tree]:
    with imagenetfs.open(source, index_dir="none") as opened:
        yield opened


def first_image(tree: imagenetfs.Tree) -> str:
    return tree["ILSVRC2012/train"].path(0)


def test_what_there_is(tree: imagenetfs.Tree, source: Path) -> None:
    assert tree.versions == ["ILSVRC2012"]
    assert tree.splits == ["ILSVRC2012/train", "ILSVRC2012/test"]
    assert tree.source == str(source)
    assert {"ILSVRC2012", "archives"} <= set(tree.listdir())
    assert "train" in tree.listdir("/ILSVRC2012/")
    assert str(source) in repr(tree)


def test_a_file_by_its_path(tree: imagenetfs.Tree) -> None:
    path = first_image(tree)
    data = tree.read(path)
    assert data == tree.read(f"//{path}") == tree.read(os.fsencode(path)) == tree.read(Path(path))
    assert tree.stat(path).st_size == len(data) == len(image(100, 600))
    with tree.open(path) as file:
        assert file.name == path
        assert (file.read(5), file.tell()) == (data[:5], 5)
        assert file.seek(-7, os.SEEK_END) == len(data) - 7
        assert file.read() == data[-7:]
    assert tree.read_ranges([(path, 3, 4), (path, len(data) - 2, 9), (path, 1 << 20, 1)]) == [
        data[3:7],
        data[-2:],
        b"",
    ]


def test_a_whole_file_is_one_request(
    tree: imagenetfs.Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    read = type(tree._opened).read

    def counted(self: object, inode: int, path: str, offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return read(tree._opened, inode, path, offset, length)

    path = first_image(tree)
    monkeypatch.setattr(type(tree._opened), "read", counted)
    with tree.open(path) as file:
        data = file.read()
    assert asked == [(0, len(data))]


def test_files_that_are_made(tree: imagenetfs.Tree) -> None:
    listed = tree.read("ILSVRC2012/meta/train.txt").decode().splitlines()
    assert len(listed) == len(tree["ILSVRC2012/train"])
    assert tree.stat("ILSVRC2012/meta/train.txt").st_size == len(
        tree.read("ILSVRC2012/meta/train.txt")
    )
    sizes = {name: what.size for name, what in tree.entries("ILSVRC2012/meta")}
    assert sizes["train.txt"] == tree.stat("ILSVRC2012/meta/train.txt").st_size
    assert tree.read(".imagenetfs/version").decode().strip() == imagenetfs.__version__


def test_stat_is_that_of_a_mount(tree: imagenetfs.Tree) -> None:
    found = tree.stat(first_image(tree))
    assert stat.S_ISREG(found.st_mode) and not found.st_mode & 0o222
    assert (found.st_uid, found.st_gid, found.st_nlink) == (os.geteuid(), os.getegid(), 1)
    assert found.st_mtime_ns == found.st_mtime * 1e9 == 7 * 10**9
    assert stat.S_ISDIR(tree.stat("ILSVRC2012").st_mode)
    assert tree.stat().st_nlink == 2 + len(tree.listdir())


@pytest.mark.parametrize(
    ("path", "kind", "number"),
    [
        ("nope", FileNotFoundError, errno.ENOENT),
        ("ILSVRC2012/train/n00000009", FileNotFoundError, errno.ENOENT),
        (".imagenetfs/status.json", FileNotFoundError, errno.ENOENT),
        ("ILSVRC2012/train", IsADirectoryError, errno.EISDIR),
        ("ILSVRC2012/meta/train.txt/x", NotADirectoryError, errno.ENOTDIR),
    ],
)
def test_paths_that_cannot_be_read(
    tree: imagenetfs.Tree, path: str, kind: type[OSError], number: int
) -> None:
    for ask in (tree.read, tree.open):
        with pytest.raises(kind) as caught:
            ask(path)
        assert isinstance(caught.value, errors.TreeError)
        assert (caught.value.errno, caught.value.filename) == (number, path)
    assert tree.exists(path) is (kind is IsADirectoryError)


def test_listing_a_file(tree: imagenetfs.Tree) -> None:
    with pytest.raises(NotADirectoryError):
        tree.listdir(first_image(tree))


def test_a_split_that_is_not_there(tree: imagenetfs.Tree) -> None:
    with pytest.raises(KeyError, match=r"has no split `ILSVRC2012/trian`; it has .*Did you mean"):
        tree["ILSVRC2012/trian"]
    for no_split in ("ILSVRC2012", first_image(tree), "ILSVRC2012/meta", "source"):
        with pytest.raises(NoEntryError):
            tree[no_split]


def test_what_may_not_be_read(tree: imagenetfs.Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """S23: the server refuses; the tests may run as root, whom it does not."""
    path = first_image(tree)

    def refuse(*arguments: object, **options: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("imagenetfs.source.source.Source._open_now", refuse)
    with pytest.raises(PermissionError, match="you may not read") as caught:
        tree.read(path)
    assert isinstance(caught.value, errors.SourceUnreadableError)
    assert caught.value.filename == path


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
def test_an_archive_that_was_cut(tree: imagenetfs.Tree, source: Path) -> None:
    split = tree["ILSVRC2012/train"]
    assert split.read(0)
    os.truncate(source / TRAIN, 3000)
    with pytest.raises(SourceChangedError):
        split.read(len(split) - 1)
    with pytest.raises(SourceChangedError):
        split.read_many(range(len(split)))


def test_bad_settings(source: Path) -> None:
    with pytest.raises(errors.UsageError, match=r"no setting cachedir.*Did you mean cache_dir"):
        imagenetfs.open(source, cachedir="/x")  # type: ignore[call-arg]  # that is the test
    with pytest.raises(errors.UsageError, match=r"^prefer must be"):
        imagenetfs.open(source, prefer="neither")
    with pytest.raises(errors.SourceMissingError, match="does not exist"):
        imagenetfs.open(source / "nowhere")
    with pytest.raises(errors.SourceUnknownError):
        (source / "empty").mkdir()
        imagenetfs.open(source / "empty")


def test_views(source: Path, tmp_path: Path) -> None:
    wanted = write(tmp_path / "list.txt", b"train/n00000002\n")
    with imagenetfs.open(source, view={"small": wanted}, index_dir="none") as tree:
        assert "views/small/train" in tree.splits
        split = tree["views/small/train"]
        assert split.classes == ["n00000002"]
        assert split.read(0) == tree.read(split.path(0))
        other = pickle.loads(pickle.dumps(split))
        assert other.read(0) == split.read(0)
        other.tree.close()
    with pytest.raises(errors.UsageError, match="cannot be read"):
        imagenetfs.open(source, view={"small": tmp_path / "none"}, index_dir="none")


def test_after_the_end(source: Path) -> None:
    tree = imagenetfs.open(source, index_dir="none")
    split, path = tree["ILSVRC2012/train"], first_image(tree)
    file = tree.open(path)
    tree.close()
    tree.close()
    assert tree.closed and "closed" in repr(tree)
    for ask in (
        lambda: tree.versions,
        lambda: tree.read(path),
        lambda: tree.listdir(),
        lambda: tree["ILSVRC2012/train"],
        lambda: len(split),
        lambda: split.read(0),
        lambda: split.read_many([0]),
        file.read,
        lambda: pickle.dumps(tree),
    ):
        with pytest.raises(TreeClosedError, match="was closed"):
            ask()
    file.close()


def test_it_pickles_by_source_and_settings(tree: imagenetfs.Tree) -> None:
    split = tree["ILSVRC2012/train"]
    data = pickle.dumps((tree, split, tree["ILSVRC2012/test"]))
    assert len(data) < 2000
    other, its_split, test = pickle.loads(data)
    assert its_split.tree is other is test.tree
    assert its_split.read_many(range(9)) == split.read_many(range(9))
    other.close()
    assert split.read(0)


def test_links(source: Path) -> None:
    (source / "ILSVRC2012" / "inside").symlink_to("ILSVRC2012_img_test_v10102019.tar")
    (source / "ILSVRC2012" / "outside").symlink_to("/etc/hostname")
    (source / "ILSVRC2012" / "circle").symlink_to("circle")
    with imagenetfs.open(source, index_dir="none") as tree:
        below = "source/ILSVRC2012"
        whole = tree.read(f"{below}/ILSVRC2012_img_test_v10102019.tar")
        assert tree.read(f"{below}/inside") == tree.read(f"{below}/../ILSVRC2012/inside") == whole
        assert stat.S_ISLNK(tree.stat(f"{below}/inside", follow_symlinks=False).st_mode)
        with pytest.raises(FileNotFoundError, match="out of the tree, to /etc/hostname"):
            tree.read(f"{below}/outside")
        with pytest.raises(OSError) as caught:
            tree.read(f"{below}/circle")
        assert caught.value.errno == errno.ELOOP
