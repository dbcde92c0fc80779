"""Mounts with a cache: bytes cross the network once, the next mount finds them,
and every byte is right.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from imagenetfs.cache.directory import prepare
from tests.helpers.cache import PLENTY, epoch, files, make_train, sums
from tests.helpers.mounts import Mount, Mounted
from tests.helpers.passthrough import slow_source


def counters(mounted: Mounted) -> dict[str, int]:
    """The counters that concern the cache and the source."""
    found: dict[str, int] = mounted.status()["counters"]
    return found


def test_every_file_is_the_same_with_a_cache(
    sample: Path, sample_mount: Mounted, mount: Mount, cache_dir: Path
) -> None:
    """The whole tree, every kind of archive, by a cold cache, and after a remount."""
    plain = files(sample_mount.mountpoint)
    expected = sums(sample_mount.mountpoint, plain)
    first = mount(sample, cache_dir=cache_dir, cache_size=PLENTY)
    assert sums(first.mountpoint, files(first.mountpoint)) == expected
    first.close()
    later = mount(sample, cache_dir=cache_dir, cache_size=PLENTY)
    assert sums(later.mountpoint, files(later.mountpoint)) == expected
    assert counters(later)["cache_misses"] == 0
    assert counters(later)["cache_hits"] > 0.5 * len(expected)  # of two names of a file one is read
    assert counters(later)["errors"] == 0


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A source with images of 110 KB, and the bytes of all of them."""
    source = tmp_path_factory.mktemp("train")
    return source, make_train(source)


def test_bytes_cross_the_network_once(
    train: tuple[Path, int], mount: Mount, cache_dir: Path
) -> None:
    directory, total = train
    with slow_source(directory, latency=0.001) as source:
        plan = {"cache_dir": cache_dir, "cache_size": PLENTY}
        first = mount(source.path, **plan)
        images = files(first.root / "train")
        before = source.counters()
        assert epoch(images, seed=1) == total
        after = source.counters()
        came = (after["bytes"] - before["bytes"]) / total
        print(f"\nthe first epoch reads {came:.3f} of the data")
        assert came <= 1.05
        epoch(images, seed=2)
        assert source.counters()["bytes"] == after["bytes"], "nothing in the second epoch"
        first.close()
        later = mount(source.path, **plan)
        images = files(later.root / "train")
        before = source.counters()
        epoch(images, seed=3)
        assert source.counters()["bytes"] == before["bytes"], "nor after a remount"


def test_requests_are_one_an_image(train: tuple[Path, int], mount: Mount, cache_dir: Path) -> None:
    mounted = mount(train[0], cache_dir=cache_dir, cache_size=PLENTY)
    images = files(mounted.root / "train")
    before = counters(mounted)["source_requests"]
    epoch(images, seed=1)
    requests = (counters(mounted)["source_requests"] - before) / len(images)
    print(f"\n{requests:.3f} requests an image")
    assert requests <= 1.1


def test_requests_are_few_where_each_takes_a_while(
    train: tuple[Path, int], mount: Mount, cache_dir: Path
) -> None:
    """One for each range of a MiB or so: nothing on this machine is as slow as 20 ms."""
    directory, total = train
    with slow_source(directory, latency=0.02) as source:
        mounted = mount(source.path, cache_dir=cache_dir, cache_size=PLENTY)
        images = files(mounted.root / "train")
        before, asked = source.counters(), counters(mounted)["source_requests"]
        assert epoch(images, seed=1) == total
        came = (source.counters()["bytes"] - before["bytes"]) / total
        requests = (counters(mounted)["source_requests"] - asked) / len(images)
        print(f"\n{requests:.3f} requests an image, {came:.3f} of the bytes")
        assert requests <= 0.25
        assert came <= 1.05


def test_a_quarter_of_the_room(train: tuple[Path, int], mount: Mount, cache_dir: Path) -> None:
    directory, total = train
    mounted = mount(directory, cache_dir=cache_dir, cache_size=total // 4)
    paths = files(mounted.root / "train")
    epoch(paths, seed=1)
    for seed in (2, 3):
        before = counters(mounted)
        epoch(paths, seed=seed)
        after = counters(mounted)
        came = (after["source_bytes"] - before["source_bytes"]) / total
        saved = (after["cache_bytes"] - before["cache_bytes"]) / total
        print(f"\nwith 25 % of room {saved:.3f} from the cache, {came:.3f} from the source")
        assert came <= 0.80
        assert abs(saved - 0.25) <= 0.02, "the hit rate is cache by data"


def test_a_class_tar_read_as_a_file(train: tuple[Path, int], mount: Mount, cache_dir: Path) -> None:
    """From end to end, through ``source``: no byte twice, though it is too
    large to be fetched whole.
    """
    directory, _ = train
    tar = directory / "ILSVRC2012" / "ILSVRC2012_img_train.tar"
    mounted = mount(directory, cache_dir=cache_dir, cache_size=PLENTY)
    shown = mounted.mountpoint / "source" / "ILSVRC2012" / tar.name
    before = mounted.source_bytes()
    assert shown.read_bytes() == tar.read_bytes()
    assert mounted.source_bytes() - before <= tar.stat().st_size


def test_another_archive_gets_no_old_block(
    sample_copy: Path, mount: Mount, cache_dir: Path
) -> None:
    """The archive is replaced by one with the same members, sizes, and times, but other images."""
    plan = {"cache_dir": cache_dir, "cache_size": PLENTY}
    tar = sample_copy / "ILSVRC2012" / "ILSVRC2012_img_train.tar"
    first = mount(sample_copy, **plan)
    names = [p.relative_to(first.root) for p in files(first.root / "train")][:40]
    old = [(first.root / name).read_bytes() for name in names]
    first.close()
    data = bytearray(tar.read_bytes())
    for content in old:
        at = data.index(content)
        data[at : at + len(content)] = content[::-1]
    status = tar.stat()
    tar.with_suffix(".new").write_bytes(data)
    os.utime(tar.with_suffix(".new"), ns=(status.st_atime_ns, status.st_mtime_ns))
    tar.with_suffix(".new").rename(tar)
    later = mount(sample_copy, **plan)
    assert [(later.root / name).read_bytes() for name in names] == [c[::-1] for c in old]


def test_a_loose_file_that_was_changed(sample: Path, mount: Mount, tmp_path: Path) -> None:
    copy, cache = tmp_path / "imagenet", tmp_path / "cache"
    prepare(cache)
    shutil.copytree(sample / "tiny-imagenet-200", copy / "tiny-imagenet-200")
    plan = {"cache_dir": cache, "cache_size": PLENTY}
    first = mount(copy, **plan)
    image = files(first.mountpoint / "tiny-imagenet-200" / "train")[0]
    name, old = image.name, image.read_bytes()
    first.close()
    loose = next(copy.rglob(name))
    loose.write_bytes(old[::-1])
    later = mount(copy, **plan)
    assert (later.mountpoint / image.relative_to(first.mountpoint)).read_bytes() == old[::-1]


def test_status_tells_of_the_cache(sample: Path, mount: Mount, cache_dir: Path) -> None:
    mounted = mount(sample, cache_dir=cache_dir, cache_size=PLENTY)
    epoch(files(mounted.root / "val"), seed=1)
    status = mounted.status()
    assert status["cache"] == {"directory": str(cache_dir), "size": PLENTY, "steps_aside": None}
    assert status["counters"]["cache_misses"] > 0
    assert mount(sample).status()["cache"] is None
