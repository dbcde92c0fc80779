"""An archive that goes away under the mount, in every way and form; and that comes back.

A reader has EIO. The log says so once, `errors` counts, status and the end of `run` have the
sentence.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.helpers.bench import until
from tests.helpers.mounts import Mounted
from tests.helpers.zips import Packing, zip_of

Mount = Callable[..., Mounted]

pytestmark = pytest.mark.expects_log("is no longer there", "another file now", "cannot read")


def _dangling(path: Path) -> None:
    path.rename(path.with_name("aside"))
    path.symlink_to("nothing")


def _directory(path: Path) -> None:
    path.rename(path.with_name("aside"))
    path.mkdir()


def _fifo(path: Path) -> None:
    path.rename(path.with_name("aside"))
    os.mkfifo(path)


GOING: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "renamed": lambda path: path.rename(path.with_name("aside")),
    "its directory renamed": lambda path: path.parent.rename(
        path.parent.with_name(f"{path.parent.name} aside")
    ),
    "a dangling link": _dangling,
    "a directory": _directory,
    "a FIFO": _fifo,
    "cut to nothing": lambda path: os.truncate(path, 0),
}

FORMS = {
    "ILSVRC2012/ILSVRC2012_img_val.tar": "ILSVRC2012/val",
    "winter21_whole/tars": "winter21_whole/train",
    "DownSampled/Imagenet8_val_npz/val_data.npz": "Imagenet8/val",
    "DownSampled/Imagenet16_val_npz/val_data.npz": "Imagenet16/val",
    "stored/train.zip": "stored/train",
    "deflated/train.zip": "deflated/train",
}


@pytest.fixture(scope="module")
def forms(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar, a class tar, npz files and zips stored and deflated, and the devkit."""
    source = tmp_path_factory.mktemp("forms") / "imagenet"
    for path in FORMS:
        if path.endswith("/tars"):
            first = sorted((sample / path).glob("*.tar"))[0]
            (source / path).mkdir(parents=True)
            shutil.copy2(first, source / path)
        elif path.endswith(".zip"):
            images = {f"n01440764/{n}.JPEG": b"\xff\xd8%d" % n * 3000 for n in range(20)}
            way: Packing = "deflated" if "deflated" in path else "stored"
            (source / path).parent.mkdir(parents=True)
            (source / path).write_bytes(zip_of(images, way))
        else:
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(sample / path, source / path)
    kit = "ILSVRC2012/ILSVRC2012_devkit_t12"
    shutil.copytree(sample / kit, source / kit)
    return source


def _is_refused(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError as error:
        assert error.errno == errno.EIO
        return True
    return False


def _is_refused_direct(path: Path) -> bool:
    """Whether the mount refuses an image to a reader who leaves out the kernel's pages."""
    fd = -1
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        os.preadv(fd, [mmap.mmap(-1, mmap.PAGESIZE)], 0)
    except OSError as error:
        assert error.errno == errno.EIO
        return True
    finally:
        if fd >= 0:
            os.close(fd)
    return False


def _are_refused(images: list[Path]) -> bool:
    return all(_is_refused_direct(image) for image in images)


def _until_refused(images: Iterator[Path]) -> bool:
    """Images that were not read yet, one after the other, until one is refused."""
    return until(lambda: _is_refused(next(images)))


@pytest.mark.expects_log("is unpacked for this mount alone, into")
@pytest.mark.parametrize("cached", [False, True], ids=["source", "cache"])
@pytest.mark.parametrize("how", GOING)
def test_an_archive_that_goes_away(
    forms: Path, tmp_path: Path, mount: Mount, how: str, cached: bool
) -> None:
    """S4 S5: EIO, counted, said once in the log and in status, whatever the form and the cache."""
    source = tmp_path / "imagenet"
    shutil.copytree(forms, source, symlinks=True)
    (tmp_path / "cache").mkdir(mode=0o700)
    more = {"cache_dir": tmp_path / "cache"} if cached else {}
    one = mount(source, revalidate=0.2, **more)
    gone: dict[str, list[Path]] = {}
    for form, shown in FORMS.items():
        images = sorted(p for p in (one.mountpoint / shown).rglob("*") if p.is_file())
        assert images[0].read_bytes()
        gone[form] = images[1:]
    for form, images in gone.items():
        path = source / form
        path = next(path.glob("*.tar")) if path.name == "tars" else path
        GOING[how](path)
        # Each worker looks again within `revalidate`, so that one refuses while another serves yet.
        # What the kernel has already, it gives: past its pages the same images can be asked again.
        assert until(partial(_are_refused, images[:6])), form
        status = one.status()
        went = path.parent if how == "its directory renamed" else path
        name = str(went.relative_to(source))
        problems = [p for p in status["problems"] if name in p]
        assert len(problems) == 1, (form, status["problems"])
        assert name in "\n".join(status["warnings"])
    assert one.status()["counters"]["errors"] >= 6 * len(FORMS)
    lines = one.log.read_text().splitlines()
    for problem in one.status()["failures"]:
        assert sum(problem["problem"].rstrip(".") in line for line in lines) == 1


def test_a_directory_of_images_goes_away_as_one(sample: Path, tmp_path: Path, mount: Mount) -> None:
    """S3 S5: it is told once for all of its images, and that it is back."""
    source = tmp_path / "imagenet"
    shutil.copytree(sample / "tiny-imagenet-200", source / "tiny-imagenet-200")
    one = mount(source, revalidate=0.1)
    images = sorted((one.mountpoint / "tiny-imagenet-200/train").rglob("*.JPEG"))
    wnid = images[0].parent.name
    images = [image for image in images if image.parent.name == wnid][:8]
    assert len(images) == 8 and images[0].read_bytes()
    directory = source / "tiny-imagenet-200/train" / wnid
    directory.rename(directory.with_name("aside"))
    assert until(partial(_are_refused, images))
    failures = one.status()["failures"]
    # One for what was open already, one for what is opened now.
    assert 1 <= len(failures) <= 2, failures
    assert all(f"/train/{wnid}" in f["problem"] for f in failures)
    assert not any(".JPEG" in f["problem"] for f in failures)
    assert sum(f["requests"] for f in failures) >= 8
    directory.with_name("aside").rename(directory)
    assert until(lambda: not any(map(_is_refused_direct, images)))
    assert until(lambda: "can be read again" in one.log.read_text())


def test_an_archive_that_comes_back(forms: Path, tmp_path: Path, mount: Mount) -> None:
    """S3: what was renamed away and back is served again, and both are said."""
    source = tmp_path / "imagenet"
    shutil.copytree(forms, source, symlinks=True)
    one = mount(source, revalidate=0.1)
    images = sorted((one.mountpoint / "ILSVRC2012/val").rglob("*.JPEG"))
    assert images[0].read_bytes()
    archive = source / "ILSVRC2012/ILSVRC2012_img_val.tar"
    archive.rename(archive.with_name("aside"))
    left = iter(images[1:])
    assert _until_refused(left)
    archive.with_name("aside").rename(archive)
    # Each worker finds that for itself: the image is asked for until the one that failed has.
    assert until(
        lambda: (
            not _is_refused_direct(images[1])
            and "it can be read again" in one.status()["problems"][0]
        )
    )
    assert "can be read again" in one.log.read_text()


def test_the_end_of_run_says_it(sample: Path, tmp_path: Path) -> None:
    """A training job whose reads failed is told why where its user looks."""
    from tests.helpers.bench import Bench

    source = tmp_path / "imagenet"
    shutil.copytree(sample / "ILSVRC2012", source / "ILSVRC2012", symlinks=True)
    script = (
        'cat "$1"/ILSVRC2012/val/n*/*1.JPEG >/dev/null; rm "$2"; sleep .5; '
        'cat "$1"/ILSVRC2012/val/n*/*.JPEG >/dev/null; exit 7'
    )
    archive = source / "ILSVRC2012/ILSVRC2012_img_val.tar"
    words = [
        "run",
        "--revalidate",
        "0.1s",
        source,
        "--",
        "sh",
        "-c",
        script,
        "sh",
        "{mnt}",
        archive,
    ]
    done = Bench(tmp_path).call(*words)
    assert done.returncode == 7
    assert "ILSVRC2012_img_val.tar is no longer there" in done.stderr
    assert "requests failed" in done.stderr
