"""Sources of which nothing can be shown: why, and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imagenetfs.errors import (
    BrokenArchivesError,
    ExitCode,
    ImagenetfsError,
    SourceUnknownError,
    SourceUnreadableError,
)
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.source.source import Source
from imagenetfs.tree.catalogue import Catalogue, build_catalogue
from tests.helpers.archives import class_tar, tar_of

TRAIN = "ILSVRC2012/ILSVRC2012_img_train.tar"


def look(source: Path) -> Catalogue:
    return build_catalogue(Source(source), places=IndexSearchPath(None, source))


def why(source: Path) -> ImagenetfsError:
    with pytest.raises(ImagenetfsError) as caught:
        look(source)
    return caught.value


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Root may read everything: what is refused here, an ordinary user could not open."""

    def make(refused: bytes) -> None:
        real = os.open

        def opened(path: str | bytes, *arguments: int, **more: int) -> int:
            if path == refused:
                raise PermissionError(13, "Permission denied")
            return real(path, *arguments, **more)

        monkeypatch.setattr(os, "open", opened)

    return make


def test_a_version_that_is_closed(tmp_path: Path, refuse: Callable[[bytes], None]) -> None:
    write(tmp_path / TRAIN, b"")
    refuse(b"ILSVRC2012")
    error = why(tmp_path)
    assert isinstance(error, SourceUnreadableError)
    assert error.exit_code is ExitCode.SOURCE_UNREADABLE
    assert str(error) == (
        f"{tmp_path} shows nothing: you may not read {tmp_path}/ILSVRC2012. It is not shown."
    )


def test_an_archive_that_is_closed(tmp_path: Path, refuse: Callable[[bytes], None]) -> None:
    write(tmp_path / TRAIN, b"")
    refuse(TRAIN.encode())
    error = why(tmp_path)
    assert isinstance(error, SourceUnreadableError)
    assert f"{TRAIN}: you may not read {tmp_path}/{TRAIN}. So it is not shown." in str(error)


def test_something_else_that_is_closed(tmp_path: Path, refuse: Callable[[bytes], None]) -> None:
    (tmp_path / "lost+found").mkdir()
    refuse(b"lost+found")
    assert isinstance(why(tmp_path), SourceUnknownError)


@pytest.mark.expects_log(
    "bytes are no tar archive, it has", "no tar header here: its checksum does not hold;"
)
@pytest.mark.parametrize("data", [b"", b"abc", b"garbage" * 1000])
def test_an_archive_that_is_none(tmp_path: Path, data: bytes) -> None:
    write(tmp_path / TRAIN, data)
    error = why(tmp_path)
    assert isinstance(error, BrokenArchivesError)
    assert error.exit_code is ExitCode.ARCHIVE_BROKEN
    assert f"{TRAIN} is broken: " in str(error)
    assert "Nothing of it can be served; have the archive replaced." in str(error)


@pytest.mark.expects_log("bytes, cut off by the end; whole before that")
@pytest.mark.parametrize(("classes", "words"), [(4, "4 classes"), (1, "1 class")])
def test_what_is_whole_of_a_cut_train_tar(tmp_path: Path, classes: int, words: str) -> None:
    every = tar_of({f"n{n:08d}.tar": class_tar(n) for n in range(5)})
    at = every.index(f"n{classes:08d}.tar".encode())
    write(tmp_path / TRAIN, every[: at + 700])
    catalogue = look(tmp_path)
    assert len(catalogue.versions[0].splits[0].backend.classes) == classes
    [warning] = catalogue.warnings
    assert f"What is whole of it is served ({words}), and the rest is missing" in warning
    assert catalogue.lost == [warning]


@pytest.mark.expects_log("bytes, cut off by the end; whole before that")
def test_what_is_whole_of_a_cut_val_tar(tmp_path: Path) -> None:
    every = tar_of({f"ILSVRC2012_val_{n:08d}.JPEG": b"x" * 600 for n in range(1, 6)})
    write(tmp_path / "ILSVRC2012" / "ILSVRC2012_img_val.tar", every[: 3 * 1536 + 600])
    assert "is served (3 members)" in look(tmp_path).warnings[0]


@pytest.mark.expects_log("no tar header here: its checksum does not hold;")
def test_a_directory_in_the_place_of_an_archive_loses_nothing(tmp_path: Path) -> None:
    write(tmp_path / TRAIN, b"garbage" * 1000)
    write(tmp_path / "ILSVRC2012" / "train" / "n00000001" / "n00000001_1.JPEG", b"x")
    catalogue = look(tmp_path)
    assert "takes its place" in catalogue.warnings[0]
    assert catalogue.lost == []


def test_the_tars_themselves(tmp_path: Path) -> None:
    """SOURCE is what should be called ILSVRC2012, or is called so: it is shown as it stands."""
    loose = tmp_path / "my tars"
    write(loose / "ILSVRC2012_img_train.tar", tar_of({"n00000001.tar": class_tar(1)}))
    for name in ("my tars", "ILSVRC2012"):
        loose = loose.rename(tmp_path / name)
        catalogue = look(loose)
        assert [version.name for version in catalogue.versions] == [b"ILSVRC2012"]
        assert catalogue.warnings == []


def test_links_are_followed(tmp_path: Path) -> None:
    """To a version, to an archive, to an extracted directory."""
    real = write(tmp_path / "real" / "t.tar", tar_of({"n00000001.tar": class_tar(1)}))
    image = write(tmp_path / "real" / "val" / "n00000001" / "x.JPEG", b"x")
    source = tmp_path / "source"
    (tmp_path / "beside").mkdir()
    source.mkdir()
    (source / "ILSVRC2012").symlink_to("../beside")
    (tmp_path / "beside" / "ILSVRC2012_img_train.tar").symlink_to(real)
    (tmp_path / "beside" / "val").symlink_to(image.parent.parent)
    [version] = look(source).versions
    assert [split.name for split in version.splits] == [b"train", b"val"]
    assert [len(split.backend.listing(0)) for split in version.splits] == [3, 1]


@pytest.mark.expects_log("is broken at byte")
@pytest.mark.parametrize("name", ["mine.tar", "ILSVRC2012/train.tar", "ILSVRC2012/my val.tar"])
@pytest.mark.parametrize("before", [0, 1])
def test_a_tar_of_another_name_that_is_broken_where_its_classes_begin(
    tmp_path: Path, name: str, before: int
) -> None:
    """The header of its only class tar is none any more: nothing tells what it is."""
    members = {"README.txt": b"read me"} if before else {}
    whole = tar_of({**members, "n01440764.tar": b"x" * 700})
    at = 1024 * before
    at = 1024 * before
    write(tmp_path / name, whole[:at] + b"\xff" * 300 + whole[at + 300 :])
    told = str(why(tmp_path))
    assert name in told
    assert "header" in told or "begin as a tar" in told
