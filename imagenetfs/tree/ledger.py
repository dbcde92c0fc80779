"""The ledger of a split: what it shows, what is left out and why, and what ought to be there.

Every image that a source holds is shown in its class or counted here. What does not add up becomes
one warning with both numbers, the first names, and what to do: at mount as far as the names of
classes tell, when the first class with something wrong is listed, and for the whole split once it
is indexed.

What ought to be there is, in this order: what a list beside the images says (the devkit's counts
and labels, tiny's annotations), else the published totals, but those only where at least half of
them is there: a subset made on purpose is no broken data set.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from imagenetfs.errors import BrokenArchivesError, ImagenetfsError
from imagenetfs.system.text import decoded
from imagenetfs.tree import published_counts
from imagenetfs.tree.class_places import wnid_of_name
from imagenetfs.tree.dataset import Expected, Split, Version
from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.left_out import FIRST_NAMES, LeftOut, Reason
from imagenetfs.tree.listing import FlatListing, Listing
from imagenetfs.tree.split_backend import UNLABELED

Tell = Callable[[str, str], None]
"""``tell(sentence, about)``: a later sentence about the same replaces an earlier one."""


_PUBLISHED_HOLLOW = ("winter21_whole", "fall11_whole")
"""Versions that have images of 0 bytes as they were published: no reason to fetch them again."""


def title_of(version: Version, split: Split) -> str:
    """``ILSVRC2012/train``."""
    return os.fsdecode(version.name + b"/" + split.name)


def expect(versions: Sequence[Version], kit: Devkit | None) -> None:
    """Note for each split what the devkit says of it, where nothing nearer is known."""
    for version in versions:
        if kit is None or version.name != b"ILSVRC2012":
            continue
        known = {
            b"train": Expected.of_classes(kit.train_images, "the devkit")
            if kit.train_images
            else Expected("the devkit", classes=len(kit.wnids)),
            b"val": Expected.of_classes(
                Counter(kit.wnids[number] for number in kit.truth if number in kit.wnids),
                "the devkit",
            ),
        }
        for split in version.splits:
            split.expected = split.expected or known.get(split.name)


def published(version: Version, split: Split) -> Expected | None:
    """What is published of a split, if anything is."""
    totals = published_counts.TOTALS.get((os.fsdecode(version.name), os.fsdecode(split.name)))
    return Expected("what is published", *totals) if totals is not None else None


@dataclass(slots=True)
class Ledger:
    """The accounts of one split. ``images`` and all that follows from listings is None or empty
    where only the names of classes have been looked at.
    """

    title: str
    classes: int
    expected: Expected | None
    images: int | None = None
    bytes: int | None = None
    missing: list[str] = field(default_factory=list)
    """Classes that ought to be there, and are not."""
    surplus: list[str] = field(default_factory=list)
    """Classes that are there, and ought not to be."""
    empty: list[str] = field(default_factory=list)
    """Classes without an image."""
    hollow: list[str] = field(default_factory=list)
    """Images of 0 bytes, which are shown: ``class/name``."""
    off: list[str] = field(default_factory=list)
    """Classes with fewer or more images than they ought to have, each with both numbers."""
    labelled_otherwise: list[str] = field(default_factory=list)
    """Images in class directories of which ``labelled_by`` says that they are of another class."""
    labelled_by: str = ""
    named_otherwise: list[str] = field(default_factory=list)
    """Images in a class whose names say another one: ``class/name``."""
    left_out: LeftOut = field(default_factory=LeftOut)
    problems: list[str] = field(default_factory=list)
    """What is broken or cannot be read, in sentences."""
    doubts: list[str] = field(default_factory=list)
    """What may not be whole, in sentences: told, and no reason to refuse anything."""

    @property
    def adds_up(self) -> bool:
        """Whether all is shown that is there, and all is there that ought to be."""
        return not (self.problems or any(True for _ in self.differences()))

    @property
    def note(self) -> str | None:
        """What is to be known of a split that adds up."""
        if not self.hollow or self.title.partition("/")[0] not in _PUBLISHED_HOLLOW:
            return None
        return f"{self.title} has {self._of_0_bytes()}, as it was published: skip them."

    def _of_0_bytes(self) -> str:
        noun = "image" if len(self.hollow) == 1 else "images"
        return f"{len(self.hollow):,} {noun} of 0 bytes ({_some(self.hollow)})"

    def differences(self) -> Iterator[str]:
        """What does not add up, each in a few words."""
        expected = self.expected
        wrong = expected is not None and expected.classes not in (None, self.classes)
        if expected is not None and (wrong or self.missing or self.surplus):
            named = [f"{_some(self.missing)} not there"] if self.missing else []
            named += [f"{_some(self.surplus)} not expected"] if self.surplus else []
            which = f" ({'; '.join(named)})" if named else ""
            yield f"{self.classes:,} of {expected.classes:,} classes{which}"
        if expected is not None and self.images is not None:
            off = f" ({_some(self.off)})" if self.off else ""
            if expected.images not in (None, self.images):
                yield f"{self.images:,} of {expected.images:,} images{off}"
            elif off:
                yield f"{len(self.off):,} classes with another number of images{off}"
        if self.empty:
            noun = "class" if len(self.empty) == 1 else "classes"
            yield f"{len(self.empty):,} {noun} without an image ({_some(self.empty)})"
        if self.labelled_otherwise:
            several = len(self.labelled_otherwise)
            yield (
                f"{several:,} {'image' if several == 1 else 'images'} in another class than "
                f"{self.labelled_by} has ({_some(self.labelled_otherwise)}), the class directories "
                "are followed"
            )
        if self.named_otherwise:
            several = len(self.named_otherwise)
            yield (
                f"{several:,} {'image' if several == 1 else 'images'} whose names say another "
                f"class than they stand in ({_some(self.named_otherwise)})"
            )
        if self.images == 0 and not self.empty and not self.problems:
            yield "no image at all"
        if self.hollow and self.note is None:
            yield self._of_0_bytes()
        for reason in self.left_out.to_tell:
            yield self.left_out.phrase(reason)

    def sentence(self, source: str) -> str | None:
        """What does not add up, both numbers, and what to do; None where all does."""
        found = list(self.differences())
        if not found:
            return None
        by = f", by {self.expected.by}" if self.expected is not None else ""
        told = f"{self.title} does not add up{by}: {'; '.join(found)}."
        return " ".join([told, *self._advice(source)])

    @property
    def _is_short(self) -> bool:
        """Whether something must be fetched again."""
        expected = self.expected
        if self.off or self.missing or expected is None:
            return bool(self.off or self.missing)
        counts = ((expected.classes, self.classes), (expected.images, self.images))
        return any(wanted not in (None, there) for wanted, there in counts if there is not None)

    def _advice(self, source: str) -> Iterator[str]:
        quoted = shlex.quote(source)
        reasons = set(self.left_out.to_tell)
        if self._is_short:
            yield f"`imagenetfs verify {quoted}` says what is damaged: have that fetched again."
        if self.empty:
            yield "torchvision's ImageFolder refuses a class without images: fill or remove it."
        if reasons & {Reason.SAME_NAME, Reason.BELOW}:
            yield "Give files of one name names of their own, or take the wrong ones away."
        if self.hollow and self.note is None:
            yield "What has 0 bytes ends an epoch in its middle: replace it, or take it away."
        if Reason.LINK in reasons:
            yield "See where the links lead."
        if Reason.UNREADABLE in reasons:
            yield "Make what you own readable: chmod u+r."
        if self.images is None:
            yield f"`imagenetfs info {quoted}` counts the images too."

    def as_json(self) -> dict[str, object]:
        """The accounts for programs; lists of names are whole."""
        expected = self.expected
        return {
            "shown": {"classes": self.classes, "images": self.images},
            "expected": None
            if expected is None
            else {"classes": expected.classes, "images": expected.images, "by": expected.by},
            "left_out": self.left_out.as_json(),
            "missing_classes": self.missing,
            "surplus_classes": self.surplus,
            "empty_classes": self.empty,
            "classes_off": self.off,
            "labelled_otherwise": self.labelled_otherwise,
            "named_otherwise": self.named_otherwise,
            "images_of_0_bytes": len(self.hollow),
            "named_of_0_bytes": self.hollow,
            "broken": self.problems,
            "doubtful": self.doubts,
            "adds_up": self.adds_up if self.images is not None else None,
        }


def _some(names: Sequence[str]) -> str:
    more = len(names) - FIRST_NAMES
    return ", ".join(names[:FIRST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def preview(version: Version, split: Split, *, strict: bool = False) -> Ledger:
    """The ledger as far as the names of the classes tell. Nothing is read for it.

    ``strict``: the published totals count however little is there.
    """
    if split.lost is not None:
        return Ledger(title_of(version, split), 0, None)
    classes = split.wnids
    expected = split.expected or published(version, split)
    if split.expected is None and expected is not None and not strict:
        whole = expected.classes is None or len(classes) * 2 > expected.classes
        expected = expected if whole else None
    of_class = expected.of_class if expected is not None else {}
    ledger = Ledger(title_of(version, split), len(classes), expected)
    if of_class:
        ledger.missing = [os.fsdecode(wnid) for wnid in sorted(of_class.keys() - set(classes))]
        ledger.surplus = [os.fsdecode(wnid) for wnid in classes if wnid not in of_class]
    return ledger


def account(version: Version, split: Split, *, strict: bool = False) -> Ledger:
    """The whole ledger. Indexes the split."""
    ledger = preview(version, split, strict=strict)
    of_class = ledger.expected.of_class if ledger.expected is not None else {}
    images = size = 0
    problems: dict[str, None] = {}
    for number, name in enumerate(split.backend.classes):
        try:
            listing = split.backend.listing(number)
        except BrokenArchivesError:  # among the problems of the backend
            ledger.empty.append(os.fsdecode(name))
            continue
        except ImagenetfsError as error:
            problems[str(error)] = None
            continue
        images += len(listing)
        size += int(listing.sizes().sum())
        _note_hollow(ledger, name, listing)
        _note_class(ledger, name, len(listing), of_class.get(name))
        _note_labels(ledger, split, name, listing)
        _note_names(ledger, version, split, name, listing)
    problems |= dict.fromkeys(problems_of(split))
    ledger.images, ledger.bytes, ledger.problems = images, size, list(problems)
    ledger.doubts = list(split.backend.doubts())
    ledger.left_out.add_all(split.backend.left_out())
    outside = split.outside()
    ledger.left_out.add_all(outside.left_out)
    ledger.problems += [told for told in outside.problems if told not in problems]
    if split.expected is None and not strict and ledger.expected is not None:
        wanted = ledger.expected.images
        if wanted is not None and images * 2 <= wanted:
            ledger.expected, ledger.missing = None, []
    return ledger


def problems_of(split: Split) -> Sequence[str]:
    """What of a split is broken, not shown, or cannot be read. Indexes all of it, to know."""
    try:
        return split.backend.problems()
    except ImagenetfsError as error:
        return (str(error),)


def _note_class(ledger: Ledger, name: bytes, images: int, wanted: int | None) -> None:
    text = os.fsdecode(name)
    if images == 0 and name != UNLABELED:
        ledger.empty.append(text)
    elif wanted not in (None, images):
        ledger.off.append(f"{text} has {images:,} of {wanted:,}")


def _note_hollow(ledger: Ledger, wnid: bytes, listing: Listing) -> None:
    """Note the images of a class that have no byte."""
    for at in np.flatnonzero(listing.sizes() == 0).tolist():
        name = next(iter(listing.entries(at)))[0]
        ledger.hollow.append(decoded(wnid + b"/" + name))


def _note_labels(ledger: Ledger, split: Split, wnid: bytes, listing: Listing) -> None:
    """Note the images of a class of which something else says that they are of another one."""
    other = split.other_labels
    if other is not None:
        ledger.labelled_by = other.title
        for name, _, _ in listing.entries(0):
            if (other.of(name) or wnid) != wnid:
                ledger.labelled_otherwise.append(os.fsencode(name).decode("utf-8", "replace"))


def _note_names(
    ledger: Ledger, version: Version, split: Split, wnid: bytes, listing: Listing
) -> None:
    """Note the images of a class whose names begin or end with another wnid. In a set that is no
    version, classes may be put together: there only those of other classes of the split count.
    """
    if wnid == UNLABELED:
        return
    if listing.columns(0, 1).prefix.startswith(wnid + b"_"):
        return
    every = listing.columns(0, len(listing))
    known = None if os.fsdecode(version.name) in published_counts.VERSIONS else split.wnids
    blob, start = every.middles.tobytes(), 0
    for end in every.ends.tolist():
        name = every.prefix + blob[start:end] + every.suffix
        start = end
        said = wnid_of_name(name)
        if said not in (None, wnid) and (known is None or said in known):
            ledger.named_otherwise.append(decoded(wnid + b"/" + name))


class LedgerWatch:
    """Tells what does not add up as soon as it shows, a sentence a split. Make it before forking.

    What forked processes have told is kept in memory that they share: one of them speaks of what
    is found first, and no one any more once the whole ledger is told.
    """

    def __init__(self, source: str, tell: Tell) -> None:
        self._source = source
        self._tell = tell
        self._told = mmap.mmap(-1, mmap.PAGESIZE)
        self._numbers: dict[str, int] = {}

    def watch(self, version: Version, split: Split) -> None:
        """Know a split; before forking."""
        self._numbers.setdefault(title_of(version, split), len(self._numbers))

    def listed(self, version: Version, split: Split, member: int, listing: Listing) -> None:
        """A class was listed for the first time in this process."""
        number = self._numbers.get(title_of(version, split))
        if number is None or number >= len(self._told) or self._told[number]:
            return
        name = split.backend.classes[member]
        wanted = split.expected.of_class.get(name) if split.expected is not None else None
        found = Ledger(title_of(version, split), 1, None, left_out=split.backend.left_out())
        _note_class(found, name, len(listing), wanted)
        _note_labels(found, split, name, listing)
        _note_hollow(found, name, listing)
        if isinstance(listing, FlatListing):  # others cost time for each name
            _note_names(found, version, split, name, listing)
        told = [*found.off, *(f"{name} has no image" for name in found.empty)]
        found.off, found.empty = [], []
        told += found.differences()
        if told:
            self._told[number] = 1
            self._tell(
                f"{found.title} does not add up, as far as it has been looked at: "
                f"{'; '.join(told)}. `imagenetfs info {shlex.quote(self._source)}` counts all "
                "of it.",
                found.title,
            )

    def complete(self, version: Version, split: Split) -> None:
        """Take stock of a split that has been indexed; nothing is told where it adds up."""
        title = title_of(version, split)
        with contextlib.suppress(ImagenetfsError):
            sentence = account(version, split).sentence(self._source)
            if sentence is not None:
                number = self._numbers.get(title)
                if number is not None and number < len(self._told):
                    self._told[number] = 1
                self._tell(sentence, title)
