"""What a first mount, and a first listing, ask of the source of the documented tree, file by file:
the published tars, the devkit, and winter21's class tars.

The numbers are those of commit 48d1d0f, before anything was looked for that people's own trees have
(counted there by the same code), but for one read a tar that is scanned: that of the block behind
its end marker, whether anything follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.source.source import Source
from imagenetfs.tree.catalogue import build_catalogue
from imagenetfs.tree.tree import Tree
from tests.helpers.archives import close
from tests.helpers.layouts import CLASSES, class_tars, documented, train_images, write
from tests.helpers.request_count import RequestCount
from tests.helpers.trees import at

D = "ILSVRC2012/"
TRAIN, VAL, KIT = (
    f"{D}ILSVRC2012_img_train.tar",
    f"{D}ILSVRC2012_img_val.tar",
    f"{D}ILSVRC2012_devkit_t12",
)
WINTER = 20
"""More classes than tars are held open."""

CLASS, IMAGES, VAL_IMAGES = CLASSES[0].decode(), 3, 8
END = 1
"""A read of what stands behind an end marker: new since 48d1d0f."""


class Asked(NamedTuple):
    """The most that a file may be asked for."""

    open: int = 0
    stat: int = 0
    list: int = 0
    read: int = 0


DISCOVERY = {
    # The root: its own descriptor, its names, and once its attributes for the mount's.
    ".": Asked(open=2, stat=1, list=1),
    # The names in each directory, and no attributes.
    "ILSVRC2012": Asked(open=1, list=1),
    KIT: Asked(open=1, list=1),
    "winter21_whole": Asked(open=1, list=1),
    # Two small files, each read whole.
    f"{KIT}/data/meta.mat": Asked(open=1, read=1),
    f"{KIT}/data/ILSVRC2012_validation_ground_truth.txt": Asked(open=1, read=1),
    # train: its end and its first header (2), then its table: a header a class and the end marker,
    # and 16 headers at most by which it is known again. It is opened to look, to scan and to stay
    # open; its size goes into what statfs says.
    TRAIN: Asked(open=3, stat=1, read=2 + len(CLASSES) + 1 + len(CLASSES) + END),
    # val: its end and its first header, which tells that its images are flat. Nothing is scanned.
    VAL: Asked(open=2, stat=1, read=2),
    # No tar of winter21.
}

FIRST_CLASS = {
    # The class's headers and the end marker, 2 headers by which it is known again (of 3 images),
    # and at the first table within train its 4 outer headers once more.
    TRAIN: Asked(open=1, read=IMAGES + 1 + 2 + len(CLASSES) + END),
}
NEXT_CLASS = {TRAIN: Asked(open=1, read=IMAGES + 1 + 2 + END)}
FIRST_OF_VAL = {
    # All headers and the end marker: val is one table. Then those by which it is known again.
    VAL: Asked(open=1, read=VAL_IMAGES + 1 + VAL_IMAGES + END),
}
CLASS_OF_WINTER = {
    # Opened to know its size, and to scan it; headers, end marker, those by which it is known.
    "winter21_whole/n00000003.tar": Asked(open=2, read=IMAGES + 1 + IMAGES + END),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    images = list(train_images()[CLASS].values())
    classes = {
        wnid: {f"{wnid}_{at}.JPEG": data for at, data in enumerate(images)}
        for wnid in (f"n{number:08d}" for number in range(WINTER))
    }
    return write(documented(tmp_path), class_tars(classes, "winter21_whole/"))


@pytest.fixture
def requests(source: Path, monkeypatch: pytest.MonkeyPatch) -> RequestCount:
    return RequestCount(monkeypatch, source)


@pytest.fixture
def tree(source: Path, requests: RequestCount) -> Iterator[Tree]:
    places = IndexSearchPath(None, source)
    made = Tree(build_catalogue(Source(source), places=places), "1")
    yield made
    close(made.catalogue.index)


def check(requests: RequestCount, allowed: dict[str, Asked]) -> None:
    """See that no file is asked for more, and no other file at all."""
    asked = {path: Asked(**counts) for path, counts in requests.taken().items()}
    assert asked.keys() <= allowed.keys()
    for path, counts in asked.items():
        assert all(have <= most for have, most in zip(counts, allowed[path], strict=True)), (
            f"{path}: {counts}, and {allowed[path]} at most"
        )


def test_the_first_mount(tree: Tree, requests: RequestCount) -> None:
    assert [version.name for version in tree.catalogue.versions] == [
        *(b"ILSVRC2012", b"winter21_whole"),
    ]
    check(requests, DISCOVERY)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (f"ILSVRC2012/train/{CLASS}", FIRST_CLASS),
        (f"ILSVRC2012/val/{CLASS}", FIRST_OF_VAL),
        ("winter21_whole/train/n00000003", CLASS_OF_WINTER),
    ],
)
def test_the_first_listing_of_a_class(
    tree: Tree, requests: RequestCount, path: str, allowed: dict[str, Asked]
) -> None:
    requests.taken()
    assert len(tree.listing(at(tree, path)))
    check(requests, allowed)
    assert len(tree.listing(at(tree, path)))
    assert requests.taken() == {}


def test_listings_after_the_first(tree: Tree, requests: RequestCount) -> None:
    """Another class costs its own headers; one of val nothing, for its table is made."""
    for split in ("ILSVRC2012/train", "ILSVRC2012/val", "winter21_whole/train"):
        assert len(tree.listing(at(tree, split)))
    for path in (f"ILSVRC2012/train/{CLASS}", f"ILSVRC2012/val/{CLASS}"):
        assert len(tree.listing(at(tree, path)))
    requests.taken()
    other = CLASSES[1].decode()
    assert len(tree.listing(at(tree, f"ILSVRC2012/train/{other}")))
    check(requests, NEXT_CLASS)
    assert len(tree.listing(at(tree, f"ILSVRC2012/val/{other}")))
    check(requests, {})


def test_names_alone_tell_all_classes(tree: Tree, requests: RequestCount) -> None:
    """`ls` of a split asks for nothing."""
    requests.taken()
    assert len(tree.listing(at(tree, "winter21_whole/train"))) == WINTER
    assert len(tree.listing(at(tree, "ILSVRC2012/train"))) == len(CLASSES)
    check(requests, {})


def test_a_request_more_is_seen(source: Path, requests: RequestCount) -> None:
    with Source(source).opened(VAL.encode()) as file:
        file.read(0, 512)
    with pytest.raises(AssertionError, match=r"img_val\.tar"):
        check(requests, {".": DISCOVERY["."], VAL: Asked(open=1)})
