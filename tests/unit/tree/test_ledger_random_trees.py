"""Random trees of each kind of container: what is shown, and what the ledger says of the rest, is
what a reference has that knows nothing of ours: os.walk, tarfile, and the rule of docs/layouts.md.

``IMAGENETFS_TEST_TREES`` says how many trees there are in all.
"""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from imagenetfs.errors import BrokenArchivesError, ImagenetfsError
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.ledger import account
from imagenetfs.tree.left_out import Reason
from imagenetfs.tree.tree import Tree
from tests.helpers import layouts
from tests.helpers.archives import close
from tests.helpers.random_trees import DAMAGES, FORMS, PLACES, Place, arrays, content, damage
from tests.helpers.randomness import seeded
from tests.helpers.trees import at, tree_of

# What is odd in the trees is told in the log as well.
pytestmark = pytest.mark.expects_log(".")

TREES = int(os.environ.get("IMAGENETFS_TEST_TREES", "500"))
CASES = [(form, place) for form in FORMS for place in PLACES if place.takes(FORMS[form])]

# --- the reference --------------------------------------------------------------------------------


class Leaf(NamedTuple):
    """A file; a directory, whose path ends in a slash. ``data`` is None for a directory, and for a
    link that is not followed."""

    path: str
    data: bytes | None


def leaves_of_tar(data: bytes, counts: Counter[str]) -> list[Leaf]:
    """The files of a tar; of one path the last."""
    found: dict[str, bytes | None] = {}
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        for member in archive:
            path = os.path.normpath(member.name)
            if member.isdir():
                found[path + "/"] = None
                continue
            file = None if member.issym() else archive.extractfile(member)
            if found.pop(path, None) is not None:
                counts["same_name"] += 1
            found[path] = file.read() if file is not None else None
    return [Leaf(path, content) for path, content in found.items()]


def leaves_of_zip(data: bytes, counts: Counter[str]) -> list[Leaf]:
    """The files of a zip; of one path the last."""
    found: dict[str, bytes | None] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            path = os.path.normpath(member.filename)
            is_link = stat.S_ISLNK(member.external_attr >> 16)
            if found.pop(path, None) is not None:
                counts["same_name"] += 1
            found[path] = None if is_link else archive.read(member)
    return [Leaf(path, content) for path, content in found.items()]


ARCHIVES = {".tar": leaves_of_tar, ".zip": leaves_of_zip}
"""How the files of each kind of archive are read, by the ending of its name."""


def leaves_of_directory(top: Path) -> Iterator[Leaf]:
    """The files below a directory; links to files are followed."""
    for directory, directories, files in os.walk(top):
        yield Leaf(os.path.relpath(directory, top) + "/", None)
        for name in [*files, *(n for n in directories if os.path.islink(f"{directory}/{n}"))]:
            path = f"{directory}/{name}"
            data = Path(path).read_bytes() if os.path.isfile(path) else None
            yield Leaf(os.path.relpath(path, top), data)


def leaves_of(path: Path, counts: Counter[str]) -> list[Leaf]:
    """The files of a container."""
    if path.is_dir():
        return list(leaves_of_directory(path))
    return ARCHIVES[path.suffix](path.read_bytes(), counts)


def is_dropping(path: str) -> bool:
    rule = r"\..*|.*~|#.*#|thumbs\.db|desktop\.ini|__macosx|@eadir"
    return any(re.fullmatch(rule, part, re.IGNORECASE) for part in path.split("/"))


def is_image(path: str, data: bytes) -> bool:
    ending = os.path.splitext(path)[1].lower()
    if ending in (".jpeg", ".jpg", ".png", ".webp", ".gif", ".tiff", ".bmp"):
        return True
    return ending not in (".txt", ".xml", ".part", ".tar") and data.startswith(b"\xff\xd8\xff")


def in_classes(
    leaves: list[Leaf], counts: Counter[str]
) -> tuple[dict[str, list[Leaf]], list[Leaf]]:
    """The files of each class, by their paths in it, and those in none."""
    classes: dict[str, list[Leaf]] = {}
    others: list[Leaf] = []
    for leaf in leaves:
        found = re.match(r"(?:(.*?)/)?(n\d{8})(?:\.tar$|/(.*))", leaf.path, re.DOTALL)
        if found is None or is_dropping(found[1] or ""):
            others.append(leaf)
        elif found[3] is not None:
            own = classes.setdefault(found[2], [])
            own += [Leaf(found[3], leaf.data)] if found[3] else []
        elif leaf.data is not None:
            classes[found[2]] = leaves_of_tar(leaf.data, counts)
    return classes, others


def opened(leaves: Iterable[Leaf], counts: Counter[str]) -> Iterator[Leaf]:
    """The same, with tars that are called as no class as if they were directories."""
    for leaf in leaves:
        is_tar = leaf.path.endswith(".tar") and not is_dropping(leaf.path)
        if leaf.data is not None and is_tar and not re.search(r"n\d{8}(\.tar$|/)", leaf.path):
            within = leaves_of_tar(leaf.data, counts)
            yield from opened((Leaf(f"{leaf.path}/{path}", data) for path, data in within), counts)
        else:
            yield leaf


def images_of(leaves: list[Leaf], counts: Counter[str]) -> dict[str, bytes]:
    """The images that a class of these files shows, by base names."""
    best: dict[str, tuple[int, bytes, bytes]] = {}
    for path, data in leaves:
        if path.endswith("/"):
            continue
        if is_dropping(path):
            counts["dropping"] += data is not None
        elif data is None:
            counts["link"] += 1
        elif not is_image(path, data):
            counts["not_an_image"] += 1
        else:
            name = os.path.basename(path)
            this = (-path.count("/"), os.fsencode(path).replace(b"/", b"\0"), data)
            other = best.get(name, this)
            if other is not this:
                counts["same_name" if other[0] == this[0] else "below_the_class"] += 1
            best[name] = max(this, other)
    return {name: data for name, (_, _, data) in best.items()}


def stray_images(leaves: list[Leaf]) -> int:
    """How many images are in no class."""
    files = [(path, data) for path, data in leaves if data is not None]
    return sum(is_image(path, data) for path, data in files if not is_dropping(path))


def class_of(name: str, labels: dict[str, str]) -> str:
    """The class of a loose image: by a list of labels, else by its name; "" for none."""
    if labels:
        return labels.get(name.partition(".")[0], "")
    found = re.fullmatch(r"(?:.*_)?(n\d{8})(?:_\d+)?\.\w+", name, re.DOTALL)
    return found[1] if found else ""


Shown = dict[str, dict[str, bytes]]


def reference(path: Path, *, flat: bool, labels: dict[str, str]) -> tuple[Shown, Counter[str]]:
    """What is shown of a container, and how much is left out by reason."""
    counts = Counter[str]()
    leaves = leaves_of(path, counts)
    if not flat:
        classes, others = in_classes(list(opened(leaves, counts)), counts)
        counts["no_class"] = stray_images(others)
        return {wnid: images_of(some, counts) for wnid, some in classes.items()}, counts
    shown: Shown = {}
    for name, data in images_of(list(opened(leaves, counts)), counts).items():
        shown.setdefault(class_of(name, labels), {})[name] = data
    without = shown.pop("", {})
    # Names that tell that they are images, but not of what, have a class of their own.
    endings = r"\.(jpe?g|png|webp|gif|tiff|bmp)$"
    if not labels and any(re.search(endings, name, re.IGNORECASE) for name in without):
        shown["unlabeled"] = without
    elif without:
        counts["no_label"] = len(without)
    return shown, counts


# --- the comparison -------------------------------------------------------------------------------


def shown_by(tree: Tree, split: str) -> Shown:
    """What the tree shows; classes in which nothing is shown are left out."""
    found = layouts.shown(tree, split)
    return {wnid: images for wnid, images in found.items() if images}


def shown_but_for_errors(tree: Tree, split: str) -> tuple[Shown, list[str]]:
    """The same of a split of which archives are broken, and the classes that fail for it: those of
    which nothing is shown.
    """
    found: Shown = {}
    failed: list[str] = []
    try:
        every = list(tree.listing(at(tree, split)).entries(0))
    except BrokenArchivesError:
        return {}, []
    for name, directory, _ in every:
        wnid = name.decode()
        try:
            entries = list(tree.listing(directory).entries(0))
        except BrokenArchivesError:
            failed.append(wnid)
            continue
        images = {os.fsdecode(n): layouts.read(tree, number) for n, number, _ in entries}
        found |= {wnid: images} if images else {}
    return found, failed


def split_of(tree: Tree, title: str) -> tuple[Version, Split]:
    name, _, split = title.encode().partition(b"/")
    version = next(version for version in tree.catalogue.versions if version.name == name)
    found = version.split(split)
    assert found is not None, title
    return version, found


def solution(choose: random.Random, labels: dict[str, str], root: Path) -> dict[str, str]:
    """Kaggle's list of val's labels, not always with all of them."""
    known = {stem: wnid for stem, wnid in labels.items() if choose.random() < 0.9}
    if not known:
        known = labels
    lines = [f"{stem},{wnid} 1 2 3 4\n" for stem, wnid in known.items()]
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(lines))
    return known


def make(
    choose: random.Random, root: Path, form: str, place: Place, *, holes: bool = True
) -> tuple[Path, dict[str, str]]:
    """A random tree: the container, and the labels of its images by their stems."""
    kind = FORMS[form]
    made = content(choose, place, archived=kind.archived)
    if not holes:
        made.classes = {w: [replace(e, sparse=False) for e in es] for w, es in made.classes.items()}
    path = kind.pack(choose, root, place, made)
    if not kind.flat or not place.split.endswith("/val"):
        return path, {}
    names = [(entry.path, wnid) for wnid, some in made.classes.items() for entry in some]
    stems = {n[:-5]: w for n, w in names if re.fullmatch(r"ILSVRC2012_val_\d{8}.JPEG", n)}
    return path, solution(choose, stems, root)


def check(choose: random.Random, root: Path, form: str, place: Place) -> None:
    """Make one tree, and compare."""
    path, labels = make(choose, root, form, place)
    is_flat = FORMS[form].flat
    shown, counts = reference(path, flat=is_flat, labels=labels)
    tree = tree_of(root)
    try:
        assert shown_by(tree, place.split) == {w: images for w, images in shown.items() if images}
        ledger = account(*split_of(tree, place.split))
        assert not ledger.problems or counts["no_label"]
        assert ledger.images == sum(map(len, shown.values()))
        told = {reason.value: count for reason, count in ledger.left_out.counts.items()}
        # A directory of droppings counts as one where it is not looked into.
        assert ("dropping" in told) == (counts.pop("dropping", 0) > 0)
        told.pop("dropping", None)
        assert told == {reason: count for reason, count in counts.items() if count}
        if not is_flat:
            assert set(ledger.empty) == {wnid for wnid, images in shown.items() if not images}
    finally:
        close(tree.catalogue.index)


def every_file(path: Path) -> Iterator[bytes]:
    """The contents of all files, also of those in tars in tars, and of those that a later file of
    the same name replaces: where that is damaged, the earlier one is shown.
    """
    for name, data in leaves_of_directory(path) if path.is_dir() else [(path.name, None)]:
        content = path.read_bytes() if path.is_file() else data
        if content is not None:
            yield from _contents(name, content)


def _contents(name: str, data: bytes) -> Iterator[bytes]:
    if not name.endswith(".tar") or is_dropping(name):
        yield data
        return
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        for member in archive:
            if member.isreg() and (file := archive.extractfile(member)) is not None:
                yield from _contents(os.path.normpath(member.name), file.read())


def sizes_of(shown: Shown) -> dict[tuple[str, str], int]:
    """The size of each image."""
    return {(w, name): len(data) for w, images in shown.items() for name, data in images.items()}


def check_damaged(choose: random.Random, root: Path, form: str, place: Place) -> None:
    """Make a tree, and damage a tar of it: no byte is shown that was none, and what is not as it
    was is told.
    """
    # A sparse member behind a damaged header is what is stored of it, map and all, as for GNU tar.
    path, labels = make(choose, root, form, place, holes=False)
    is_flat = FORMS[form].flat
    shown, counts = reference(path, flat=is_flat, labels=labels)
    sizes = set(map(len, every_file(path)))
    how = choose.choice(list(DAMAGES))
    damage(choose, how, path)
    try:
        tree = tree_of(root)
    except ImagenetfsError as error:
        assert "no version of ImageNet" not in str(error) or "cut" in how, error
        return
    try:
        title = place.split.encode().partition(b"/")[0]
        splits = [v.split(b"train") or v.split(b"val") for v in tree.catalogue.versions]
        told = [*tree.catalogue.warnings]
        found: Shown = {}
        ledger = None
        if any(v.name == title for v in tree.catalogue.versions) and any(splits):
            found, failed = shown_but_for_errors(tree, place.split)
            ledger = account(*split_of(tree, place.split))
            told += ledger.problems
            assert len(failed) == len(set(ledger.empty) & set(failed))
        told += tree.catalogue.late_warnings.all()
        # Zeros within an image are the archive's own bytes: nothing can tell. What its first bytes
        # alone told to be one is counted among what is none.
        same = sizes_of(found) == sizes_of(shown) and how != "joined"
        lost = sum(map(len, shown.values())) - sum(map(len, found.values()))
        others = ledger.left_out.counts.get(Reason.NOT_IMAGE, 0) if ledger is not None else 0
        counted = how == "hole" and 0 < lost == others - counts["not_an_image"]
        assert same or told or counted or (ledger is not None and not ledger.adds_up), how
        for images in found.values():
            for name, data in images.items():
                assert len(data) in sizes or how == "joined", (how, name)
    finally:
        close(tree.catalogue.index)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "place"), [pytest.param(*case, id=f"{case[0]}, {case[1].split}") for case in CASES]
)
def test_no_image_is_unaccounted_for(tmp_path: Path, form: str, place: Place) -> None:
    schedule = seeded("trees", form, place.split)
    for number in range(-(-TREES // len(CASES))):
        seed = schedule.randrange(1 << 32)
        root = tmp_path / str(number)
        root.mkdir()
        try:
            check(random.Random(seed), root, form, place)
        except BaseException:
            print(f"tree {number} of this schedule, in {root}")
            raise
        shutil.rmtree(root)


def rows_of(root: Path, split: str) -> list[tuple[int, bytes]]:
    """(label, pixels) of all rows of ``Imagenet8/train``, in the order of their batches."""
    side, name = re.fullmatch(r"Imagenet(\d+)/(\w+)", split).groups()  # type: ignore[union-attr]
    found = []
    for path in root.glob("DownSampled/*/[!.]*.npz"):
        if path.parent.name.lower().startswith(f"imagenet{side}_{name}"):
            with np.load(path) as loaded:
                order = int(re.findall(r"\d+", path.name)[-1])
                pairs = zip(loaded["labels"].tolist(), loaded["data"], strict=True)
                found.append((order, [(label, row.tobytes()) for label, row in pairs]))
    return [row for _, rows in sorted(found) for row in rows]


def pixels_of(png: bytes) -> bytes:
    """The pixels of a PNG as a row of such an array has them: all of red, green, blue."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image).transpose(2, 0, 1).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("has_kit", [True, False])
def test_no_row_of_an_array_is_unaccounted_for(tmp_path: Path, has_kit: bool) -> None:
    schedule = seeded("arrays", has_kit)
    wnids = {number: wnid.decode() for number, wnid in enumerate(layouts.CLASSES[::-1], 1)}
    for number in range(-(-TREES // 40)):
        root = tmp_path / str(number)
        arrays(random.Random(schedule.randrange(1 << 32)), root, list(wnids))
        if has_kit:
            layouts.write(root, layouts.devkit_files("ILSVRC2012/ILSVRC2012_devkit_t12/"))
        tree = tree_of(root)
        for version in tree.catalogue.versions:
            for split in version.splits:
                title = f"{version.name.decode()}/{split.name.decode()}"
                wanted: dict[str, list[bytes]] = {}
                for label, row in rows_of(root, title):
                    wnid = wnids.get(label, "") if has_kit else "unlabeled"
                    wanted.setdefault(wnid, []).append(row)
                lost = len(wanted.pop("", ()))
                shown = layouts.shown(tree, title)
                found = {wnid: list(map(pixels_of, some.values())) for wnid, some in shown.items()}
                assert found == wanted
                ledger = account(version, split)
                assert ledger.images == sum(map(len, wanted.values()))
                assert ledger.left_out.counts == ({Reason.NO_LABEL: lost} if lost else {})
        close(tree.catalogue.index)
        shutil.rmtree(root)


@pytest.mark.slow
@pytest.mark.parametrize("form", [form for form in FORMS if FORMS[form].archived])
def test_what_is_damaged_is_told(tmp_path: Path, form: str) -> None:
    schedule = seeded("damaged trees", form)
    places = [place for place in PLACES if place.takes(FORMS[form])]
    for number in range(-(-TREES // 40)):
        seed, root = schedule.randrange(1 << 32), tmp_path / str(number)
        root.mkdir()
        try:
            check_damaged(random.Random(seed), root, form, schedule.choice(places))
        except BaseException:
            print(f"tree {number} of this schedule, in {root}")
            raise
        shutil.rmtree(root)


def test_how_many_trees_there_are() -> None:
    print(f"\nPROVED: {-(-TREES // len(CASES)) * len(CASES):,} trees")
