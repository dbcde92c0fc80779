"""What a word of the user means in an opened source: a class, an image, a split, a version."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from imagenetfs.errors import (
    ImagenetfsError,
    NoEntryError,
    NotDirectoryError,
    UsageError,
    did_you_mean,
)
from imagenetfs.library.opened import OpenedSource
from imagenetfs.library.paths import text_of
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.devkit import KitSynset, synsets
from imagenetfs.tree.images import is_image_name
from imagenetfs.tree.inode import InodeKind, kind_of
from imagenetfs.tree.split_backend import WNID
from imagenetfs.tree.wordnet import all_words
from imagenetfs.tree.words import WordIndex, listed

ShownSplit = tuple[str, Version, Split]
"""``VERSION/SPLIT``, and both."""


@dataclass(frozen=True, slots=True)
class Match:
    """What a word of the user means: ``kind`` is version, split, class or image; ``wnid`` of a
    class, ``inode`` of an image; ``splits``: those that a class or version is looked at in.
    """

    kind: str
    title: str
    splits: tuple[ShownSplit, ...] = ()
    wnid: bytes = b""
    inode: int = 0


class TreeSearch:
    """Finds what stands in an opened source."""

    def __init__(self, opened: OpenedSource) -> None:
        self._opened = opened
        with opened.locked() as parts:
            self._walker = parts.walker
            self._devkit_meta = parts.catalogue.devkit_meta
            shown = [("", version) for version in parts.catalogue.versions]
            shown += [("views/", view) for view in parts.catalogue.views]
        self.versions = {above + os.fsdecode(version.name): version for above, version in shown}
        self._splits = {
            f"{title}/{os.fsdecode(split.name)}": (version, split)
            for title, version in self.versions.items()
            for split in version.splits
        }

    # --- what is meant ----------------------------------------------------------------------------

    def find(self, what: str) -> list[Match]:
        """What is meant by a path of the tree, a WordNet id, an image's name, or a word; several
        where a word is ambiguous. Raises UsageError where nothing is.
        """
        path = text_of(what)
        if path in self.versions:
            return [Match("version", path, self._splits_of(path))]
        if path in self._splits:
            return [Match("split", path, ((path, *self._splits[path]),))]
        found = self._class_at(path) or self._image_at(path) or self._images_named(path)
        if found:
            return found
        if WNID.fullmatch(os.fsencode(path)):
            wnid = os.fsencode(path)
            below = [] if self._places_of(wnid) else self._below([wnid])
            return [self._class(one) for one in below or [wnid]]
        known = all_words()
        wnids = self._words.find(what) or self._below(WordIndex(known, known).named(what))
        if not wnids:
            raise UsageError(self._nothing(what, path))
        return [self._class(wnid) for wnid in wnids]

    def _splits_of(self, version: str) -> tuple[ShownSplit, ...]:
        above = version + "/"
        return tuple((t, *both) for t, both in self._splits.items() if t.startswith(above))

    def _places_of(self, wnid: bytes) -> list[ShownSplit]:
        return [(t, v, s) for t, (v, s) in self._splits.items() if wnid in s.backend.classes]

    def _below(self, above: Iterable[bytes]) -> list[bytes]:
        """The classes that are shown below others in WordNet (dog: all breeds), as far as the
        devkit has the hierarchy.
        """
        todo, seen = list(above), set[bytes]()
        while todo:
            wnid = todo.pop()
            if wnid not in seen:
                seen.add(wnid)
                todo += self.kit[wnid].children if wnid in self.kit else ()
        return sorted(wnid for wnid in seen if self._places_of(wnid))

    @cached_property
    def kit(self) -> dict[bytes, KitSynset]:
        """The devkit's rows; empty where there is none that can be read."""
        if self._devkit_meta is None:
            return {}
        with contextlib.suppress(ImagenetfsError):  # the catalogue's warnings have it
            return synsets(self._devkit_meta())
        return {}

    def _class(self, wnid: bytes) -> Match:
        """A class wherever it is. Raises UsageError where it is nowhere."""
        places = self._places_of(wnid)
        if not places:
            words = all_words().get(wnid)
            named = f"{wnid.decode()} ({words})" if words else wnid.decode()
            raise UsageError(
                f"{self._opened.spec.source} has no images of {named}: the classes of a version "
                "stand in its wnids.txt."
            )
        return Match("class", wnid.decode(), tuple(places), wnid)

    def _class_at(self, path: str) -> list[Match]:
        """VERSION/SPLIT/CLASS, or VERSION/CLASS; the class may be a word."""
        above, _, name = path.rpartition("/")
        chosen = (
            ((above, *self._splits[above]),) if above in self._splits else self._splits_of(above)
        )
        if not above or not chosen:
            return []
        wnids = [os.fsencode(name)]
        if not any(wnids[0] in split.backend.classes for _, _, split in chosen):
            known = {wnid for _, _, split in chosen for wnid in split.wnids}
            wnids = [] if is_image_name(wnids[0]) else WordIndex(self.words, known).find(name)
        found = []
        for wnid in wnids:
            places = tuple(one for one in chosen if wnid in one[2].backend.classes)
            found.append(Match("class", f"{above}/{os.fsdecode(wnid)}", places, wnid))
        return found

    def _image_at(self, path: str) -> list[Match]:
        try:
            with self._opened.locked():
                inode = self._walker.find(path)
        except (NoEntryError, NotDirectoryError):
            return []
        return [self._image(path, inode)] if kind_of(inode) == InodeKind.FILE else []

    def _images_named(self, name: str) -> list[Match]:
        """The images of a bare name, in all splits."""
        if "/" in name or not is_image_name(os.fsencode(name)):
            return []
        found = []
        for title, (version, split) in self._splits.items():
            wnid_and_inode = self._named_in(split, os.fsencode(name))
            if wnid_and_inode is not None:
                wnid, inode = wnid_and_inode
                path = f"{title}/{os.fsdecode(wnid)}/{name}"
                found.append(Match("image", path, ((title, version, split),), inode=inode))
        return found

    def _named_in(self, split: Split, name: bytes) -> tuple[bytes, int] | None:
        """(class, inode) of the image of that name in a split."""
        with contextlib.suppress(ImagenetfsError), self._opened.locked():
            number = split.backend.class_of_name(name)
            inode = None if number is None else split.backend.listing(number).find(name)
            return (
                None if number is None or inode is None else (split.backend.classes[number], inode)
            )
        return None  # the archive is broken: it has it not

    def _image(self, path: str, inode: int) -> Match:
        parts = path.split("/")
        title = next(
            (t for t in ("/".join(parts[:2]), "/".join(parts[:3])) if t in self._splits), ""
        )
        if not title:
            return Match("image", path, inode=inode)
        return Match("image", path, ((title, *self._splits[title]),), inode=inode)

    def _nothing(self, what: str, path: str) -> str:
        source = self._opened.spec.source
        known = all_words()
        wnid, word = self._example()
        elsewhere = WordIndex(known, known).named(what)
        if elsewhere:
            return (
                f"{source} has no images of {what}, which is {listed(elsewhere, known)}. It has "
                f"images of '{word}', for example."
            )
        near = self._words.near(what) or did_you_mean(path, [*self.versions, *self._splits])
        some = next(iter(self._splits), "ILSVRC2012/train")
        return (
            f"{source} has nothing called {what}: give a WordNet id ({wnid}), a word "
            f"('{word}'), a split ({some}), or an image's path or name.{near}"
        )

    def _example(self) -> tuple[str, str]:
        """(WordNet id, first word) of a class that is here."""
        for version in self.versions.values():
            for wnid in version.wnids:
                if wnid in version.words:
                    return os.fsdecode(wnid), version.words[wnid].partition(",")[0]
        return "n02119789", "kit fox"

    # --- words ------------------------------------------------------------------------------------

    @cached_property
    def words(self) -> dict[bytes, str]:
        """The words of the classes of all versions."""
        return {
            w: words for version in self.versions.values() for w, words in version.words.items()
        }

    @cached_property
    def _words(self) -> WordIndex:
        return WordIndex(self.words, {w for v in self.versions.values() for w in v.wnids})
