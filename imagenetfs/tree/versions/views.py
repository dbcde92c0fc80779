"""Views: parts of a version, by class or by file, from a list. The same inodes, no copy.

A list has one entry a line: a wnid or a word of a class (all images of that class), or the name of
an image. ``split/``
in front limits it to that split, and ``version/split/`` says which version is meant; a class
directory in between (``train/n01440764/n01440764_10026.JPEG``) may stand there, and a label behind
it, as in meta/train.txt. ``#`` begins a comment.

What a list names and is not there is told: at mount what can be known by names alone, the rest when
a class of the view is first listed, for its images are known only then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from imagenetfs.errors import UsageError
from imagenetfs.system.files import open_regular
from imagenetfs.system.text import decoded
from imagenetfs.tree.class_listing import Place
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.directory_split import DirectorySplit
from imagenetfs.tree.images import is_image_name
from imagenetfs.tree.left_out import LeftOut
from imagenetfs.tree.listing import Attributes, Entry, FixedListing, Listing
from imagenetfs.tree.per_class_split import PerClassSplit
from imagenetfs.tree.split_backend import UNLABELED, WNID, FlatSplit, SplitBackend
from imagenetfs.tree.words import WordIndex, listed

_LABELED = re.compile(rb"(.*(?:\.\w+|n\d{8}|unlabeled))[ \t]+\d+", re.DOTALL)
"""An entry and a label behind it; a name may have spaces and digits in it."""

Tell = Callable[[str], None]


def read_list(name: str, path: Path) -> bytes:
    """The text of a view's list. Raises UsageError where it cannot be read."""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(
            f"the list of the view {name} cannot be read: {error.strerror} ({path})."
        ) from None


@dataclass(slots=True)
class WantedImages:
    """What a list asks of one split: whole classes, and single files."""

    classes: set[bytes] = field(default_factory=set)
    files: set[bytes] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.classes) + len(self.files)


@dataclass(slots=True)
class ParsedView:
    """A list, sorted out: (version or None, split or None) -> what is wanted of it."""

    wanted: dict[tuple[bytes | None, bytes | None], WantedImages] = field(default_factory=dict)


def parse(name: str, text: bytes, versions: Sequence[Version]) -> ParsedView:
    """Sort the lines of a view's list out. Raises UsageError for a word of several classes."""
    indexes = {version.name: _Words(version) for version in versions}
    parsed = ParsedView()
    for line in text.splitlines():
        entry = line.partition(b"#")[0].strip()
        labeled = _LABELED.fullmatch(entry)
        parts = [part for part in (labeled[1] if labeled else entry).split(b"/") if part]
        if not parts:
            continue
        version = parts.pop(0) if parts[0] in indexes and len(parts) > 1 else None
        split = parts[0] if len(parts) > 1 and not WNID.fullmatch(parts[0]) else None
        wanted = parsed.wanted.setdefault((version, split), WantedImages())
        if WNID.fullmatch(parts[-1]) or parts[-1] == UNLABELED:
            wanted.classes.add(parts[-1])
            continue
        named = [indexes[version]] if version is not None else list(indexes.values())
        wnid = None if is_image_name(parts[-1]) else _class_of_word(name, parts[-1], named)
        if wnid is None:
            wanted.files.add(parts[-1])
        else:
            wanted.classes.add(wnid)
    return parsed


def _class_of_word(name: str, entry: bytes, versions: Sequence[_Words]) -> bytes | None:
    """The class that has this synonym, in the first of the versions in which one has."""
    word = os.fsdecode(entry)
    for version in versions:
        found = version.index.named(word)
        if len(found) > 1:
            raise UsageError(
                f"the view {name}: `{decoded(entry)}` in its list means {len(found)} classes: "
                f"{listed(found, version.words)}. Write the WordNet id of the one that you want."
            )
        if found:
            return found[0]
    return None


class _Words:
    """A version's classes by their words, sorted when first asked for."""

    def __init__(self, version: Version) -> None:
        self.words = version.words
        self._version = version

    @cached_property
    def index(self) -> WordIndex:
        return WordIndex(self.words, self._version.wnids)


def view(
    name: str, text: bytes, versions: Sequence[Version], tell: Tell
) -> tuple[Version, list[str]]:
    """The view as a version of its own, and warnings. Reads no archive; ``tell`` hears later
    what is found missing then.
    """
    parsed = parse(name, text, versions)
    shown = Version(name.encode())
    warnings: list[str] = []
    if not parsed.wanted:
        return shown, [f"the view {name} is empty: its list has no entries."]

    def tell_of_view(what: str) -> None:
        tell(f"the view {name}: {what}")

    for (version_name, split_name), wanted in parsed.wanted.items():
        base = _version(version_name, wanted, versions)
        splits = [s for s in base.splits if split_name in (None, s.name, *s.aliases)]
        shown.words.update(base.words)
        shown.words_from = tuple(dict.fromkeys((*shown.words_from, *base.words_from)))
        parts = [
            (split, ViewSplit(split.name, split.backend, wanted, tell_of_view)) for split in splits
        ]
        lost = _lost(wanted, [backend for _, backend in parts])
        if lost:
            where = b"/".join(filter(None, (base.name, split_name))).decode(errors="replace")
            warnings.append(
                f"the view {name}: {len(lost):,} of {len(wanted):,} entries of its list name "
                f"nothing in {where} (first: {decoded(min(lost))}).{_hint(min(lost), base)}"
            )
        for split, backend in parts:
            _add(shown, split, backend)
    shown.splits = [
        s for s in shown.splits if isinstance(s.backend, ViewSplit) and s.backend.may_have
    ]
    if not shown.splits:
        warnings.append(f"the view {name} is empty: nothing of its list is here.")
    return shown, warnings


def _lost(wanted: WantedImages, backends: Sequence[ViewSplit]) -> set[bytes]:
    """The entries that none of these splits has, as far as names tell."""
    classes = wanted.classes.difference(*(backend.base.classes for backend in backends))
    return classes | {
        name for name in wanted.files if not any(backend.can_have(name) for backend in backends)
    }


def _hint(lost: bytes, base: Version) -> str:
    """The classes that a lost entry may mean, or the word; empty where there is none."""
    if is_image_name(lost) or WNID.fullmatch(lost):
        return ""
    index = WordIndex(base.words, base.wnids)
    found = index.find(os.fsdecode(lost))
    if found:
        return f" It is in the words of {listed(found, base.words, most=3)}."
    return index.near(os.fsdecode(lost))


def _version(name: bytes | None, wanted: WantedImages, versions: Sequence[Version]) -> Version:
    """The version that is meant: the first of those that know the most of the list's classes."""
    if name is not None:
        return next(version for version in versions if version.name == name)
    asked = wanted.classes | {file.partition(b"_")[0] for file in wanted.files}
    wnids = {wnid for wnid in asked if WNID.fullmatch(wnid)}
    return max(versions, key=lambda version: len(wnids.intersection(version.wnids)))


def _add(shown: Version, split: Split, backend: ViewSplit) -> None:
    """Show a part of a split, together with what is shown of one of that name already."""
    present = shown.split(split.name)
    if present is None:
        shown.splits.append(Split(split.name, backend, split.origin, split.aliases))
    elif isinstance(present.backend, ViewSplit) and present.backend.base is split.backend:
        present.backend.want(backend.wanted)


class ViewSplit:
    """The part of a split that a list asks for."""

    def __init__(self, split: bytes, base: SplitBackend, wanted: WantedImages, tell: Tell) -> None:
        """``tell`` hears what is wanted and, once a class is listed, not found."""
        self.base = base
        self.wanted = WantedImages(set(wanted.classes), set(wanted.files))
        self._tell = tell
        self._split = split
        # An image called <wnid>_... stands in that class of train, unseen.
        by_class = isinstance(base, PerClassSplit | DirectorySplit | FlatSplit)
        self._named_by_class = split == b"train" and by_class
        self.missing: set[bytes] = set()
        """Images that the list names and that are not there, of the classes that were listed."""
        self._numbers: list[int] | None = None
        self._classes: list[bytes] | None = None
        self._files: dict[int, list[bytes]] = {}

    def want(self, more: WantedImages) -> None:
        """Show this too; before anything is asked for."""
        self.wanted.classes |= more.classes
        self.wanted.files |= more.files

    @property
    def may_have(self) -> bool:
        """Whether there can be anything of the list in this split."""
        if self.wanted.classes.intersection(self.base.classes):
            return True
        return any(self.can_have(name) for name in self.wanted.files)

    def can_have(self, name: bytes) -> bool:
        """Whether an image of this name can be here, as far as its name and the classes tell."""
        if not self._fits(name):
            return False
        return not self._named_by_class or name.partition(b"_")[0] in self._base_classes

    @cached_property
    def _base_classes(self) -> frozenset[bytes]:
        return frozenset(self.base.classes)

    def _fits(self, name: bytes) -> bool:
        """Whether an image of this name can be here, as far as its name tells."""
        if WNID.fullmatch(name.partition(b"_")[0]):
            return self._named_by_class
        return not self._named_by_class and self._split in name.lower()

    def _chosen(self) -> list[int]:
        """The base's numbers of the classes that are shown; files are given their classes."""
        if self._numbers is None:
            numbers = {name: k for k, name in enumerate(self.base.classes)}
            files: dict[int, list[bytes]] = {}
            fitting = [name for name in self.wanted.files if self.can_have(name)]
            lost = []
            for name in fitting:
                number = self._class_of(name, numbers)
                if number is not None:
                    files.setdefault(number, []).append(name)
                else:
                    lost.append(name)
            self._tell_lost(lost, len(fitting), self._split)
            whole = {numbers[name] for name in self.wanted.classes if name in numbers}
            self._files = {k: names for k, names in files.items() if k not in whole}
            self._numbers = sorted(whole | files.keys())
        return self._numbers

    def _class_of(self, name: bytes, numbers: Mapping[bytes, int]) -> int | None:
        if self._named_by_class:
            return numbers.get(name.partition(b"_")[0])
        return self.base.class_of_name(name)

    @property
    def classes(self) -> Sequence[bytes]:
        if self._classes is None:
            self._classes = [self.base.classes[k] for k in self._chosen()]
        return self._classes

    @property
    def archives(self) -> Sequence[int]:
        return self.base.archives

    def listing(self, number: int) -> Listing:
        base = self._chosen()[number]
        every = self.base.listing(base)
        names = self._files.get(base)
        if names is None:
            return every
        lost = [name for name in names if every.find(name) is None]
        self._tell_lost(lost, len(names), self.base.classes[base])
        return _chosen_listing(every, frozenset(names))

    def _tell_lost(self, lost: Sequence[bytes], of: int, where: bytes) -> None:
        if lost:
            self.missing.update(lost)
            self._tell(
                f"{len(lost):,} of {of:,} names in {decoded(where)} are not there "
                f"(first: {decoded(min(lost))})."
            )

    def places(self, number: int) -> Sequence[Place]:
        return self.base.places(self._chosen()[number])

    def directories(self, archive: int) -> Sequence[bytes]:
        return self.base.directories(archive)

    def find_anywhere(self, name: bytes) -> int | None:
        return None

    def class_of(self, archive: int, inner: int, row: int) -> int | None:
        return None

    def class_of_name(self, name: bytes) -> int | None:
        return None

    def mtime_ns(self, number: int) -> int | None:
        return self.base.mtime_ns(self._chosen()[number])

    def left_out(self) -> LeftOut:
        return LeftOut()  # the split's own ledger has it

    def problems(self) -> Sequence[str]:
        return ()

    def doubts(self) -> Sequence[str]:
        return ()


def _chosen_listing(every: Listing, names: frozenset[bytes]) -> Listing:
    found: dict[int, Attributes] = {}
    children: list[tuple[bytes, int]] = []
    for name, number, attributes in _only(every, names):
        found[number] = attributes
        children.append((name, number))
    return FixedListing(children, found.__getitem__)


def _only(every: Listing, names: frozenset[bytes]) -> Iterator[Entry]:
    return (entry for entry in every.entries(0) if entry[0] in names)
