"""Where the images of a split stand: what every split backend answers, and that of flat images with
labels.

It answers with a :class:`~imagenetfs.tree.listing.Listing` a class, from tables that the index
makes when they are first asked for.
"""

from __future__ import annotations

import logging
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from imagenetfs.errors import BrokenArchivesError, ImagenetfsError
from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.index import Index
from imagenetfs.system.text import decoded
from imagenetfs.tree.class_listing import Place, images_of, rows_below
from imagenetfs.tree.class_places import parts_of_flat
from imagenetfs.tree.images import Verdict, is_dropping, judge
from imagenetfs.tree.left_out import LeftOut, Reason
from imagenetfs.tree.listing import Listing, RowsListing

log = logging.getLogger(__name__)

UNLABELED = b"unlabeled"

WNID = re.compile(rb"n\d{8}")
_NUMBER = re.compile(rb"_(\d{8})\.[A-Za-z]+$")


class SplitBackend(Protocol):
    """The images of one split."""

    @property
    def classes(self) -> Sequence[bytes]:
        """Class names, sorted: wnids, or ``unlabeled``."""
        ...

    @property
    def archives(self) -> Sequence[int]:
        """The archives of the catalogue that it reads."""
        ...

    def listing(self, number: int) -> Listing:
        """The images of class ``number``. Raises BrokenArchivesError where nothing of it can be
        shown while its archive is broken.
        """
        ...

    def places(self, number: int) -> Sequence[Place]:
        """The containers that class ``number`` is read from, as far as tables
        tell that are there already.
        """
        ...

    def directories(self, archive: int) -> Sequence[bytes]:
        """The directories of an archive in which its images stand; b"": anywhere in it."""
        ...

    def find_anywhere(self, name: bytes) -> int | None:
        """The inode of an image by name alone, where names are unique; else None."""
        ...

    def class_of(self, archive: int, inner: int, row: int) -> int | None:
        """The class in which a row of a container stands; None where it is not of this split."""
        ...

    def class_of_name(self, name: bytes) -> int | None:
        """The class in which an image of this base name must stand, if it is here at all."""
        ...

    def mtime_ns(self, number: int) -> int | None:
        """When the class's archive was made, where its archive tells."""
        ...

    def left_out(self) -> LeftOut:
        """What is not shown of all that has been listed so far; the caller does not change it."""
        ...

    def problems(self) -> Sequence[str]:
        """What of it is broken or not shown, in sentences. Indexes all of it, to know."""
        ...

    def doubts(self) -> Sequence[str]:
        """What of it may not be whole, in sentences, as far as its tables are known."""
        ...


def class_by_name(backend: SplitBackend, name: bytes) -> int | None:
    """The class of an image's name: by the wnid in front of it, else by looking it up in each."""
    classes = backend.classes
    wnid = name.partition(b"_")[0]
    if WNID.fullmatch(wnid):
        return next((k for k, known in enumerate(classes) if known == wnid), None)
    unknown: ImagenetfsError | None = None
    for number in range(len(classes)):
        try:
            if backend.listing(number).find(name) is not None:
                return number
        except ImagenetfsError as error:
            unknown = error
    if unknown is not None:
        raise unknown
    return None


def doubts(index: Index, places: Iterable[Place]) -> list[str]:
    """What of these containers may not be whole, as far as they are known, in sentences."""
    found: dict[str, None] = {}
    for archive, inner in places:
        for place in {(archive, OUTER), (archive, inner)}:
            doubt = index.container(*place).members.doubt if index.known(*place) else None
            if doubt is not None:
                found[
                    f"{index.title(*place)} ends in {doubt}, and tars are not padded so: it may "
                    "have been fetched in part. Compare its length and sum with the original's."
                ] = None
    return list(found)


def refuse_empty(index: Index, wnid: bytes, listing: Listing, places: Sequence[Place]) -> None:
    """Raise BrokenArchivesError for a class of which nothing is shown, while an archive that it is
    read from is broken: it is not empty for that.
    """
    if len(listing):
        return
    for place in places:
        problem = index.container(*place).members.problem
        if problem is not None:
            title = index.title(*place)
            raise BrokenArchivesError(
                f"nothing of {decoded(wnid)} can be read: {title} is broken: {problem}; have it "
                "replaced."
            )


def log_warning(sentence: str) -> None:
    """Tell the log alone."""
    log.warning("%s", sentence)


def troubles(index: Index, place: Place) -> list[str]:
    """What of a container is broken or not shown, in sentences."""
    members, title = index.container(*place).members, index.title(*place)
    found = []
    if members.problem is not None:
        found.append(f"{title} is broken: {members.problem}; have it replaced.")
    if members.left_out is not None:
        found.append(f"{title}: not all members are shown: {members.left_out}.")
    return found


class FlatSplit:
    """All images in one archive, or in several laid over one another, told apart by a label.

    ``label(name)`` gives the class of a base name, or None. The images of the archives behind the
    first one take the place of its images of the same names (test's patch).
    """

    def __init__(
        self,
        index: Index,
        archives: Sequence[int],
        classes: Sequence[bytes] = (UNLABELED,),
        label: Callable[[bytes], bytes | None] | None = None,
        *,
        below: bytes = b"",
        tell: Callable[[str], None] = log_warning,
    ) -> None:
        """``below``: the directory of the archive (one tar or zip) in which the images stand.
        ``tell`` hears what is broken or not shown when it is first listed.
        """
        self._index = index
        self._tell = tell
        self.archives = archives
        self.classes = sorted(classes)
        self._numbers = {name: number for number, name in enumerate(self.classes)}
        self._label = label
        self._below = below
        self._places: list[Place] | None = None
        self._every: RowsListing | None = None
        self._by_class: list[Listing] | None = None
        self._problems: list[str] = []
        self._left_out = LeftOut()

    def _containers(self) -> list[Place]:
        """The archives' containers: a tar itself; a directory, and those within it."""
        if self._places is None:
            self._places = []
            for archive in self.archives:
                self._places.append((archive, OUTER))
                if self._index.archives[archive].kind is Kind.DIRECTORY:
                    members = self._index.container(archive).members
                    for inner, row in enumerate(self._index.nested(archive).tolist()):
                        if is_dropping(members.name(row)):
                            self._left_out.add(Reason.DROPPING, members.name(row))
                            continue
                        own = None
                        if not stat.S_ISDIR(members.mode(row)):
                            own = self._index.promoted(archive, row)
                        self._places.append((archive, inner) if own is None else (own, OUTER))
                elif not self._below:
                    self._places += parts_of_flat(self._index, archive)
        return self._places

    def _all(self) -> RowsListing:
        if self._every is None:
            places, over = self._containers(), frozenset(self.archives[1:])
            self._every = images_of(
                self._index, places, self._left_out, overlaid=over, below=self._below
            )
            for place in places:
                self._problems += troubles(self._index, place)
            for told in (*self._problems, *doubts(self._index, places)):
                self._tell(told)
        return self._every

    def listing(self, number: int) -> Listing:
        listing: Listing = self._all()
        if self._label is not None:
            if self._by_class is None:
                self._by_class = self._divide()
            listing = self._by_class[number]
        refuse_empty(self._index, self.classes[number], listing, self._containers())
        return listing

    def places(self, number: int) -> Sequence[Place]:
        if all(self._index.known(archive) for archive in self.archives):
            return self._containers()
        return [(archive, OUTER) for archive in self.archives]

    def directories(self, archive: int) -> Sequence[bytes]:
        return (self._below,)

    def _number(self, name: bytes) -> int:
        """The class of a base name; -1 where it has none that is shown."""
        wnid = self._label(name) if self._label is not None else None
        number = self._numbers.get(wnid or UNLABELED)
        return self._numbers.get(UNLABELED, -1) if number is None else number

    def _divide(self) -> list[Listing]:
        every = self._all()
        of_class = np.array(
            [self._number(every.name(at)) for at in range(len(every))], dtype=np.int64
        )
        lost = int(np.count_nonzero(of_class < 0))
        if lost:
            first = every.name(int(np.argmax(of_class < 0)))
            self._left_out.add(Reason.NO_LABEL, first, lost)
            title = self._index.title(self.archives[0])
            self._problems.append(
                f"{lost:,} images of {title} have no label and stand in no class; they answer to "
                "their names in the split."
            )
            self._tell(self._problems[-1])
        order = np.argsort(of_class, kind="stable")
        ends = np.searchsorted(of_class[order], np.arange(len(self.classes) + 1))
        return [every.part(np.sort(order[ends[k] : ends[k + 1]])) for k in range(len(self.classes))]

    def find_anywhere(self, name: bytes) -> int | None:
        # What is no image's name must not make anyone index the archive.
        if self._every is None and judge(name) is not Verdict.IMAGE:
            return None
        return self._all().find(name)

    def class_of(self, archive: int, inner: int, row: int) -> int | None:
        if archive not in self.archives or (archive, inner) not in self._containers():
            return None
        members = self._index.container(archive, inner).members
        if row not in rows_below(members, self._below):
            return None
        return self.class_of_name(members.base_name(row))

    def class_of_name(self, name: bytes) -> int | None:
        number = self._number(name) if self.find_anywhere(name) is not None else -1
        return number if number >= 0 else None

    def mtime_ns(self, number: int) -> int | None:
        return None

    def left_out(self) -> LeftOut:
        return self._left_out

    def problems(self) -> Sequence[str]:
        if self._label is not None and self._by_class is None:
            self._by_class = self._divide()
        self._all()
        return self._problems

    def doubts(self) -> Sequence[str]:
        return doubts(self._index, self._containers())


def image_number(name: bytes) -> int:
    """The eight-digit number at the end of ILSVRC2012_val_00000001.JPEG; 0 where there is none."""
    found = _NUMBER.search(name)
    return int(found[1]) if found else 0
