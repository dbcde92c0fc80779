"""What is broken as a whole is neither absent nor empty: the split is there, and fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagenetfs.errors import (
    BrokenArchivesError,
    ImagenetfsError,
    RequirementError,
    SourceReadError,
)
from imagenetfs.job import requirements
from imagenetfs.tree.ledger import account
from imagenetfs.tree.lost_split import LostSplit
from imagenetfs.tree.tree import Tree
from tests.helpers.archives import close
from tests.helpers.layouts import (
    by_directory,
    class_tars,
    devkit_files,
    documented,
    flat,
    packed,
    shown,
    train_images,
    val_images,
    versions,
    without,
    write,
)
from tests.helpers.trees import at, tree_of
from tests.helpers.zips import zip_of

pytestmark = pytest.mark.expects_log(".")

TRAIN, VAL = train_images(), val_images()
D = "ILSVRC2012/"
TRAIN_TAR, VAL_TAR = f"{D}ILSVRC2012_img_train.tar", f"{D}ILSVRC2012_img_val.tar"
NO_TAR, NO_ZIP = b"\x7fELF" + bytes(range(1, 256)) * 20, b"PK\3\4" + b"x" * 3000
CUT = packed({"n01440764.tar": packed(flat(TRAIN))})[:1500]


@contextmanager
def tree_over(source: Path) -> Iterator[Tree]:
    tree = tree_of(source)
    try:
        yield tree
    finally:
        close(tree.catalogue.index)


LOST: dict[str, tuple[Mapping[str, bytes], str, str]] = {
    "train, no tar": ({TRAIN_TAR: NO_TAR}, "ILSVRC2012/train", "ILSVRC2012/val"),
    "train, of no byte": ({TRAIN_TAR: b""}, "ILSVRC2012/train", "ILSVRC2012/val"),
    "train, cut in its first class": ({TRAIN_TAR: CUT}, "ILSVRC2012/train", "ILSVRC2012/val"),
    "train, an end marker alone": ({TRAIN_TAR: packed({})}, "ILSVRC2012/train", "ILSVRC2012/val"),
    "val, no tar": ({VAL_TAR: NO_TAR}, "ILSVRC2012/val", "ILSVRC2012/train"),
    "val, an end marker alone": ({VAL_TAR: packed({})}, "ILSVRC2012/val", "ILSVRC2012/train"),
    "val.tar": ({VAL_TAR: b"", f"{D}val.tar": NO_TAR}, "ILSVRC2012/val", "ILSVRC2012/train"),
    "val.zip": ({VAL_TAR: b"", f"{D}val.zip": NO_ZIP}, "ILSVRC2012/val", "ILSVRC2012/train"),
    "val.zip, empty": (
        {VAL_TAR: b"", f"{D}val.zip": zip_of({})},
        "ILSVRC2012/val",
        "ILSVRC2012/train",
    ),
    "test": (
        {f"{D}ILSVRC2012_img_test_v10102019.tar": NO_TAR},
        "ILSVRC2012/test",
        "ILSVRC2012/train",
    ),
    "t3": ({f"{D}ILSVRC2012_img_train_t3.tar": b""}, "ILSVRC2012_t3/train", "ILSVRC2012/train"),
    "all parts of train": (
        {TRAIN_TAR: b"", f"{D}train/part1.tar": NO_TAR, f"{D}train/part2.tar": NO_TAR},
        "ILSVRC2012/train",
        "ILSVRC2012/val",
    ),
    "winter21": ({"winter21_whole.tar": NO_TAR}, "winter21_whole/train", "ILSVRC2012/train"),
    "fall11 in a directory": (
        {"fall11_whole/fall11_whole.tar": CUT},
        "fall11_whole/train",
        "ILSVRC2012/train",
    ),
    "a set's tar": (
        {"mine/train.tar": packed(by_directory(TRAIN)), "mine/val.tar": NO_TAR},
        "mine/val",
        "mine/train",
    ),
    "a set's tar of loose images": (
        {"mine/train.tar": packed(flat(TRAIN)), "mine/val.tar": NO_TAR},
        "mine/val",
        "mine/train",
    ),
    "a set's zip": (
        {"mine/train.zip": zip_of(by_directory(TRAIN)), "mine/val.zip": NO_ZIP},
        "mine/val",
        "mine/train",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", LOST)
def test_a_split_is_there_and_fails_where_nothing_of_it_is_whole(tmp_path: Path, form: str) -> None:
    files, lost, whole = LOST[form]
    source = write(documented(tmp_path), files)
    for path in [path for path in files if not files[path] and len(files) > 1]:
        without(source, path)  # another one stands in for it
    with tree_over(source) as tree:
        assert lost in [f"{v}/{s}" for v, splits in versions(tree).items() for s in splits]
        images = VAL if whole.endswith("val") else TRAIN
        assert shown(tree, whole) == images
        directory = at(tree, lost)
        for ask in (lambda: tree.listing(directory), lambda: tree.lookup(directory, b"n01440764")):
            with pytest.raises(BrokenArchivesError):
                ask()
        version, _, name = lost.encode().partition(b"/")
        [found] = [v for v in tree.catalogue.versions if v.name == version]
        split = found.split(name)
        assert split is not None
        ledger = account(found, split)
        assert not ledger.adds_up
        assert any(str(split.lost) in warning for warning in tree.catalogue.warnings)
        assert ledger.problems == [str(split.lost)]
        with pytest.raises(RequirementError, match="nothing of it can be shown"):
            requirements._check(tree.catalogue, lost, lambda numbers: None)
        requirements._check(tree.catalogue, whole, lambda numbers: None)


def test_a_tar_that_cannot_be_asked_fails_so_too(tmp_path: Path) -> None:
    source = documented(tmp_path)
    without(source, VAL_TAR)
    (source / VAL_TAR).symlink_to("nowhere")
    with tree_over(source) as tree, pytest.raises(SourceReadError, match="nowhere"):
        tree.listing(at(tree, "ILSVRC2012/val"))


def test_where_nothing_at_all_can_be_shown_there_is_no_mount(tmp_path: Path) -> None:
    source = write(documented(tmp_path), {TRAIN_TAR: NO_TAR, VAL_TAR: NO_TAR})
    with pytest.raises(BrokenArchivesError, match="shows nothing"):
        tree_of(source)


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "no tar": lambda data: NO_TAR,
    "of no byte": lambda data: b"",
    "cut in its first image": lambda data: data[:520],
    "no zip": lambda data: NO_ZIP,
}
CLASS = "n01440764"


def broken_class(form: str, place: str) -> dict[str, bytes]:
    """Class tars or zips, the first of them broken."""
    if form == "no zip":
        tars = {f"{wnid}.zip": zip_of(images) for wnid, images in TRAIN.items()}
    else:
        tars = class_tars(TRAIN)
    first = f"{CLASS}.{'zip' if form == 'no zip' else 'tar'}"
    tars[first] = BROKEN[form](tars[first])
    if place.endswith(".tar"):
        return {place: packed(tars)}
    return {f"{place}/{name}": data for name, data in tars.items()}


@pytest.mark.slow
@pytest.mark.parametrize("form", BROKEN)
@pytest.mark.parametrize(
    ("place", "split"),
    [
        (TRAIN_TAR, "ILSVRC2012/train"),
        (f"{D}train", "ILSVRC2012/train"),
        ("winter21_whole", "winter21_whole/train"),
        ("mine", "mine/train"),
        ("mine.tar", "mine/train"),
    ],
)
def test_a_class_fails_where_nothing_of_it_is_whole(
    tmp_path: Path, form: str, place: str, split: str
) -> None:
    if form == "no zip" and place == "winter21_whole":
        return  # its classes are tars
    source = write(tmp_path, broken_class(form, place))
    with tree_over(source) as tree:
        directory = at(tree, split)
        with pytest.raises(BrokenArchivesError, match=f"nothing of {CLASS} can be read"):
            tree.listing(tree.lookup(directory, CLASS.encode()))
        rest = [wnid for wnid, _, _ in tree.listing(directory).entries(0)][1:]
        for wnid in rest:
            names = tree.listing(tree.lookup(directory, wnid)).entries(0)
            assert [name.decode() for name, _, _ in names] == sorted(TRAIN[wnid.decode()])
        [version] = tree.catalogue.versions
        ledger = account(version, version.splits[0])
        assert (ledger.empty, ledger.adds_up) == ([CLASS], False)
        # An image that stands in another class is found all the same.
        name = f"{rest[0].decode()}_1.JPEG".encode()
        assert version.splits[0].backend.class_of_name(name) == 1


def test_classes_in_a_tar_that_is_cut_before_them(tmp_path: Path) -> None:
    """Directories in one tar, and images that a list labels."""
    first, *rest = sorted(by_directory(TRAIN, "train/").items())
    wnids = {f"train/{wnid}/._": b"" for wnid in TRAIN}  # the directories' entries come first
    train = packed({**wnids, first[0]: first[1], **dict(rest)}, directories=True)
    source = documented(tmp_path)
    for path, data in ((TRAIN_TAR, train), (VAL_TAR, packed(flat(VAL)))):
        write(source, {path: data[: data.index(b"\xff\xd8\xff", len(data) // 4) + 10]})
    with tree_over(source) as tree:
        for name in ("train", "val"):
            directory = at(tree, f"ILSVRC2012/{name}")
            failed = []
            for wnid, number, _ in tree.listing(directory).entries(0):
                try:
                    assert len(tree.listing(number))
                except ImagenetfsError as error:
                    failed.append(wnid)
                    assert "is broken" in str(error)
            assert failed


def test_a_class_that_is_empty_in_a_sound_tar_is_told_and_no_error(tmp_path: Path) -> None:
    tars = class_tars(TRAIN) | {f"{CLASS}.tar": packed({})}
    with tree_over(write(tmp_path, {TRAIN_TAR: packed(tars)})) as tree:
        assert shown(tree, "ILSVRC2012/train") == {w: i for w, i in TRAIN.items() if w != CLASS}
        assert any(f"{CLASS} has no image" in told for told in tree.catalogue.late_warnings.all())


def test_what_a_lost_split_answers() -> None:
    split = LostSplit(BrokenArchivesError("x.tar is broken."))
    assert (split.classes, split.archives, split.places(0), split.directories(0)) == ((),) * 4
    assert (split.class_of(0, 0, 0), split.mtime_ns(0)) == (None, None)
    assert not split.left_out()
    assert split.problems() == ("x.tar is broken.",)
    with pytest.raises(BrokenArchivesError):
        split.listing(0)
    for ask in (split.find_anywhere, split.class_of_name):
        with pytest.raises(BrokenArchivesError):
            ask(b"a.JPEG")


def test_the_kit_is_read_though_val_is_lost(tmp_path: Path) -> None:
    source = write(documented(tmp_path), {VAL_TAR: NO_TAR, **devkit_files(f"{D}devkit/")})
    with tree_over(source) as tree:
        assert shown(tree, "ILSVRC2012/train") == TRAIN


@pytest.mark.parametrize("place", [TRAIN_TAR, f"{D}train", "winter21_whole", VAL_TAR])
def test_more_zeros_than_padding_are_told_and_refuse_nothing(tmp_path: Path, place: str) -> None:
    """All images are shown, and nothing takes the tar's place: there is no more than a doubt."""
    zeros = bytes(11 * 10_240)
    if place == VAL_TAR:
        source = write(documented(tmp_path), {VAL_TAR: packed(flat(VAL)) + zeros})
        title, split, images = VAL_TAR, "ILSVRC2012/val", VAL
    else:
        tars = class_tars(TRAIN)
        tars[f"{CLASS}.tar"] += zeros
        is_tar = place.endswith(".tar")
        files = {f"{place}/{name}": data for name, data in tars.items()}
        source = write(tmp_path, {place: packed(tars)} if is_tar else files)
        title = f"{place}{'/' if place.startswith('winter') else ': '}{CLASS}.tar"
        split, images = f"{place.partition('/')[0]}/train", TRAIN
    with tree_over(source) as tree:
        assert shown(tree, split) == images
        name = split.partition("/")[2].encode()
        [version] = tree.catalogue.versions
        found = version.split(name)
        assert found is not None
        ledger = account(version, found)
        assert ledger.adds_up
        [doubt] = ledger.doubts
        assert doubt.startswith(f"{title} ends in ")
        assert " bytes of zeros, from byte " in doubt
        assert doubt in [*tree.catalogue.warnings, *tree.catalogue.late_warnings.all()]
