"""What a split shows, leaves out and lacks; what is told of it, and when."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.errors import ArchiveError, ImagenetfsError, SourceUnreadableError
from imagenetfs.index.archives import OUTER
from imagenetfs.tree.class_listing import Place
from imagenetfs.tree.dataset import Expected, Split, Version
from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.ledger import LedgerWatch, account, expect, preview, problems_of
from imagenetfs.tree.left_out import LeftOut
from imagenetfs.tree.listing import Attributes, FixedListing, Listing
from imagenetfs.tree.per_class_split import PerClassSplit
from imagenetfs.tree.split_backend import FlatSplit
from tests.helpers.archives import class_tar, image, index_of, tar_of
from tests.helpers.sources import write
from tests.helpers.splits import by_class

WNIDS = [b"n%08d" % n for n in (1, 2, 3)]


def train(directory: Path, tars: dict[str, bytes], expected: Expected | None = None) -> Split:
    (directory / "t.tar").write_bytes(tar_of(tars))
    backend = by_class(index_of(directory, "t.tar"), 0)
    return Split(b"train", backend, "t.tar", expected=expected)


def whole(images: int = 3) -> dict[str, bytes]:
    return {f"{wnid.decode()}.tar": class_tar(n + 1, images) for n, wnid in enumerate(WNIDS)}


KIT = Expected.of_classes(dict.fromkeys(WNIDS, 3), "the devkit")
VERSION = Version(b"ILSVRC2012")


class Backend:
    """A backend of listings, or of errors in their place."""

    def __init__(self, *listings: Listing | ImagenetfsError, problems: Any = ()) -> None:
        self.classes = [b"n%08d" % number for number in range(len(listings))]
        self._listings, self._problems = listings, problems

    def listing(self, number: int) -> Listing:
        found = self._listings[number]
        if isinstance(found, ImagenetfsError):
            raise found
        return found

    def left_out(self) -> LeftOut:
        return LeftOut()

    def problems(self) -> Sequence[str]:
        if isinstance(self._problems, ImagenetfsError):
            raise self._problems
        return list(self._problems)

    def doubts(self) -> Sequence[str]:
        return ("it may not be whole.",)


def listing(*sizes: int) -> Listing:
    names = [(b"%d" % number, number) for number in range(len(sizes))]
    return FixedListing(names, lambda number: Attributes(0o100444, sizes[number], 0, 1))


def split_of(*listings: Listing | ImagenetfsError, problems: Any = ()) -> Split:
    return Split(b"train", Backend(*listings, problems=problems), "x")  # type: ignore[arg-type]  # what a ledger asks of a backend


def test_images_and_bytes() -> None:
    found = account(VERSION, split_of(listing(1, 0, 3), listing(), listing(10)))
    assert (found.classes, found.images, found.bytes) == (3, 4, 14)
    assert found.empty == ["n00000001"]
    assert found.doubts == found.as_json()["doubtful"] == ["it may not be whole."]
    assert account(VERSION, split_of()).images == 0


def test_images_of_0_bytes_are_told_with_their_names() -> None:
    found = account(VERSION, split_of(listing(1, 0, 3), listing(0, 0, 7, 0)))
    assert found.hollow == ["n00000000/1", "n00000001/0", "n00000001/1", "n00000001/3"]
    assert found.sentence("/s") == (
        "ILSVRC2012/train does not add up: 4 images of 0 bytes (n00000000/1, n00000001/0, "
        "n00000001/1 and 1 more). What has 0 bytes ends an epoch in its middle: replace it, or "
        "take it away."
    )
    assert not found.adds_up
    assert found.as_json()["images_of_0_bytes"] == 4
    assert found.as_json()["named_of_0_bytes"] == found.hollow


def test_images_of_0_bytes_as_they_were_published() -> None:
    """winter21 has some: it is complete."""
    found = account(Version(b"winter21_whole"), split_of(listing(1, 0)))
    assert found.note == (
        "winter21_whole/train has 1 image of 0 bytes (n00000000/1), as it was published: skip them."
    )
    assert found.sentence("/s") is None
    assert found.adds_up


def test_what_cannot_be_read_is_left_out_and_told_once() -> None:
    broken = ArchiveError("cut", 512)
    found = account(VERSION, split_of(listing(5), broken, problems=[str(broken), "another"]))
    assert (found.classes, found.images, found.bytes) == (2, 1, 5)
    assert found.problems == ["cut (at byte 512)", "another"]


def test_problems_that_cannot_be_asked_for() -> None:
    refused = SourceUnreadableError("you may not read it.")
    assert problems_of(split_of(problems=refused)) == ("you may not read it.",)
    assert account(VERSION, split_of(listing(1), problems=refused)).problems == [str(refused)]


def test_what_adds_up(tmp_path: Path) -> None:
    ledger = account(VERSION, train(tmp_path, whole(), KIT))
    assert ledger.adds_up
    assert ledger.sentence("/s") is None
    assert ledger.as_json()["shown"] == {"classes": 3, "images": 9}
    assert ledger.as_json()["expected"] == {"classes": 3, "images": 9, "by": "the devkit"}


def test_a_class_that_is_missing_is_known_from_the_names(tmp_path: Path) -> None:
    tars = whole()
    del tars["n00000002.tar"]
    split = train(tmp_path, tars, KIT)
    ledger = preview(VERSION, split)
    assert ledger.sentence("/s x") == (
        "ILSVRC2012/train does not add up, by the devkit: 2 of 3 classes (n00000002 not there). "
        "`imagenetfs verify '/s x'` says what is damaged: have that fetched again. "
        "`imagenetfs info '/s x'` counts the images too."
    )
    assert not any(split.backend._index.known(0, inner) for inner in range(2))  # type: ignore[attr-defined]  # nothing was read for it


def test_a_class_that_ought_not_to_be_there(tmp_path: Path) -> None:
    tars = whole() | {"n00000009.tar": class_tar(9)}
    sentence = preview(VERSION, train(tmp_path, tars, KIT)).sentence("/s")
    assert sentence is not None
    assert "4 of 3 classes (n00000009 not expected)" in sentence
    del tars["n00000002.tar"]
    sentence = preview(VERSION, train(tmp_path, tars, KIT)).sentence("/s")
    assert sentence is not None
    assert "3 of 3 classes (n00000002 not there; n00000009 not expected)" in sentence


def test_images_that_are_missing_and_surplus(tmp_path: Path) -> None:
    tars = whole() | {"n00000001.tar": class_tar(1, 2), "n00000003.tar": class_tar(3, 4)}
    sentence = account(VERSION, train(tmp_path, tars, KIT)).sentence("/s")
    assert sentence is not None
    assert "2 classes with another number of images" in sentence
    assert "(n00000001 has 2 of 3, n00000003 has 4 of 3)" in sentence


def test_a_class_without_images(tmp_path: Path) -> None:
    tars = whole() | {"n00000001.tar": tar_of({})}
    for expected in (KIT, None):
        ledger = account(VERSION, train(tmp_path, tars, expected))
        sentence = ledger.sentence("/s")
        assert sentence is not None
        assert "1 class without an image (n00000001)" in sentence
        assert "ImageFolder refuses" in sentence
        assert ("6 of 9 images" in sentence) == (expected is not None)
        assert not ledger.adds_up


def test_droppings_are_counted_and_not_warned_of(tmp_path: Path) -> None:
    tars = whole() | {
        "n00000001.tar": tar_of(
            [(f"._n00000001_{k}.JPEG", b"mac") for k in range(3)]
            + [(f"n00000001_{k}.JPEG", image(k)) for k in range(3)]
        )
    }
    ledger = account(VERSION, train(tmp_path, tars, KIT))
    assert ledger.adds_up
    assert ledger.as_json()["left_out"] == {
        "dropping": {
            "files": 3,
            "first": ["._n00000001_0.JPEG", "._n00000001_1.JPEG", "._n00000001_2.JPEG"],
        }
    }


@pytest.mark.expects_log(
    "is broken: no tar header here: its checksum does",
    "no tar header here: its checksum does not hold;",
)
def test_a_class_tar_that_is_none_is_a_problem_of_the_ledger(tmp_path: Path) -> None:
    ledger = account(VERSION, train(tmp_path, whole() | {"n00000002.tar": b"no tar" * 300}, KIT))
    assert not ledger.adds_up
    [problem] = ledger.problems
    assert "n00000002.tar" in problem
    assert ledger.as_json()["broken"] == [problem]


@pytest.mark.expects_log("have no label and stand in no class; they")
def test_labels_of_flat_images(tmp_path: Path) -> None:
    (tmp_path / "v.tar").write_bytes(tar_of({f"{n}.JPEG": b"x" for n in range(5)}))
    labels = {b"0.JPEG": b"n1", b"1.JPEG": b"n1", b"2.JPEG": b"n2"}
    backend = FlatSplit(index_of(tmp_path, "v.tar"), (0,), (b"n1", b"n2"), labels.get)
    ledger = account(VERSION, Split(b"val", backend, "v.tar"))
    assert (ledger.classes, ledger.images) == (2, 3)
    assert ledger.left_out.as_json() == {"no_label": {"files": 2, "first": ["3.JPEG"]}}
    assert not ledger.adds_up


def test_the_devkit_says_what_ought_to_be_there(tmp_path: Path) -> None:
    counts = dict.fromkeys(WNIDS, 9)
    kit = Devkit(dict(enumerate(WNIDS, 1)), {}, (1, 1, 3, 2), train_images=counts)
    version = Version(b"ILSVRC2012", [train(tmp_path, whole()), train(tmp_path, whole())])
    version.splits[1].name = b"val"
    expect([version], kit)
    of_train, of_val = (split.expected for split in version.splits)
    assert of_train is not None
    assert of_val is not None
    assert (of_train.classes, of_train.images) == (3, 27)
    assert of_val.of_class == {WNIDS[0]: 2, WNIDS[1]: 1, WNIDS[2]: 1}


@pytest.mark.parametrize(
    ("classes", "told"), [(1_000, False), (999, True), (501, True), (9, False)]
)
def test_published_totals_count_where_most_is_there(
    tmp_path: Path, classes: int, told: bool
) -> None:
    (tmp_path / "t.tar").write_bytes(tar_of({"n.tar": class_tar(1)}))
    places: dict[bytes, Place] = {b"n%08d" % n: (0, OUTER) for n in range(classes)}
    backend = PerClassSplit(index_of(tmp_path, "t.tar"), places)
    split = Split(b"train", backend, "t.tar")
    sentence = preview(VERSION, split).sentence("/s")
    assert (sentence is not None) == told
    if sentence is not None:
        assert f"{classes:,} of 1,000 classes" in sentence
    # Whoever asks for all of it is told of a subset too.
    assert preview(VERSION, split, strict=True).adds_up == (classes == 1_000)


def watched(directory: Path, tars: dict[str, bytes]) -> tuple[LedgerWatch, Split, dict[str, str]]:
    told: dict[str, str] = {}
    watch = LedgerWatch("/s", lambda sentence, about: told.update({about: sentence}))
    split = train(directory, tars, KIT)
    watch.watch(VERSION, split)
    return watch, split, told


def test_the_first_class_with_something_wrong_is_told(tmp_path: Path) -> None:
    bad = tar_of([(name, image(n)) for n, name in enumerate(["a.JPEG", "a.JPEG", "b.JPEG"])])
    watch, split, told = watched(tmp_path, whole() | {"n00000002.tar": bad})
    for member in range(3):
        watch.listed(VERSION, split, member, split.backend.listing(member))
        assert len(told) == (member > 0)
    [sentence] = told.values()
    assert "n00000002 has 2 of 3" in sentence
    assert "1 file replaced by a later file of the same name (first: a.JPEG)" in sentence


def test_the_whole_ledger_takes_the_place_of_the_first_sentence(tmp_path: Path) -> None:
    watch, split, told = watched(tmp_path, whole() | {"n00000003.tar": tar_of({})})
    watch.listed(VERSION, split, 2, split.backend.listing(2))
    [first] = told.values()
    assert "b'" not in first
    assert "n00000003 has no image" in first
    watch.complete(VERSION, split)
    [sentence] = told.values()
    assert "6 of 9 images" in sentence
    watch.listed(VERSION, split, 2, split.backend.listing(2))
    assert list(told.values()) == [sentence]


def test_one_process_speaks_for_all(tmp_path: Path) -> None:
    watch, split, told = watched(tmp_path, whole() | {"n00000003.tar": tar_of({})})
    pid = os.fork()
    if pid == 0:
        watch.listed(VERSION, split, 2, split.backend.listing(2))
        os._exit(len(told))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    watch.listed(VERSION, split, 2, split.backend.listing(2))
    assert told == {}


def test_nothing_is_told_of_what_adds_up(tmp_path: Path) -> None:
    watch, split, told = watched(tmp_path, whole())
    for member in range(3):
        watch.listed(VERSION, split, member, split.backend.listing(member))
    watch.complete(VERSION, split)
    assert told == {}


# --- every file of a source is shown or counted ---------------------------------------------------


NAMES = ["a.JPEG", "b.jpg", "._a.JPEG", "a", "n.txt", "b.jpg~", "c.PNG", ".DS_Store", "d.JPEG"]
FOLDERS = ["", "", "", "thumbs/", "x/y/", ".ipynb_checkpoints/", "@eaDir/"]
JPEG = b"\xff\xd8\xff\xe0 of one"


def random_files(choose: random.Random) -> dict[str, bytes]:
    """Paths below a class, each once, and what stands there."""
    paths = {choose.choice(FOLDERS) + choose.choice(NAMES) for _ in range(choose.randrange(20))}
    return {path: choose.choice((JPEG, b"none of them")) for path in sorted(paths)}


def images_by_hand(files: dict[str, bytes]) -> set[str]:
    """The base names that a class with these files shows."""
    found = set()
    for path, data in files.items():
        *above, name = path.split("/")
        if any(part in (".ipynb_checkpoints", "@eaDir") for part in above):
            continue
        if name in ("a.JPEG", "b.jpg", "c.PNG", "d.JPEG") or (name == "a" and data == JPEG):
            found.add(name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("form", ["tar of tars", "directories"])
@pytest.mark.parametrize("seed", range(25))
def test_every_file_of_a_random_source_is_shown_or_counted(
    tmp_path: Path, form: str, seed: int
) -> None:
    choose = random.Random(f"{seed} {form}")
    classes = {wnid.decode(): random_files(choose) for wnid in WNIDS}
    if form == "tar of tars":
        tars = {f"{wnid}.tar": tar_of(list(files.items())) for wnid, files in classes.items()}
        split = train(tmp_path, tars)
    else:
        for wnid, files in classes.items():
            (tmp_path / "train" / wnid).mkdir(parents=True)
            for path, data in files.items():
                write(tmp_path / "train" / wnid / path, data)
        split = Split(b"train", by_class(index_of(tmp_path, "train"), 0), "train")
    ledger = account(VERSION, split)
    shown = {
        name.decode(): {os.fsdecode(each) for each, _, _ in split.backend.listing(k).entries(0)}
        for k, name in enumerate(split.backend.classes)
    }
    assert shown == {wnid: images_by_hand(files) for wnid, files in classes.items()}
    assert ledger.images == sum(map(len, shown.values()))
    assert ledger.empty == [wnid for wnid, names in shown.items() if not names]
    there = sum(map(len, classes.values()))
    assert ledger.images + sum(ledger.left_out.counts.values()) == there
