"""What a class, an image, a split or a version of an opened source is, for people and programs.

Each description is plain data, as JSON has it. Nothing is read but what is described: the tables of
the classes that are counted, the bytes of the image that is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from imagenetfs.errors import BrokenArchivesError
from imagenetfs.formats.image_header import image_header
from imagenetfs.index.archives import Kind
from imagenetfs.library.find import Match, TreeSearch
from imagenetfs.library.opened import OpenedSource
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.devkit import KitSynset
from imagenetfs.tree.inode import fields
from imagenetfs.tree.ledger import account
from imagenetfs.tree.split_backend import UNLABELED
from imagenetfs.tree.wordnet import gloss_of, words_of

Description = dict[str, Any]


class Describer:
    """Describes what a :class:`TreeSearch` has found."""

    def __init__(self, opened: OpenedSource, finder: TreeSearch) -> None:
        self._opened = opened
        self._finder = finder
        with opened.locked() as parts:
            self._catalogue, self._nodes = parts.catalogue, parts.nodes

    # --- words ------------------------------------------------------------------------------------

    @property
    def _kit(self) -> dict[bytes, KitSynset]:
        return self._finder.kit

    @cached_property
    def _parents(self) -> dict[bytes, list[bytes]]:
        found: dict[bytes, list[bytes]] = {}
        for wnid, row in self._kit.items():
            for child in row.children:
                found.setdefault(child, []).append(wnid)
        return found

    def words(self, wnid: bytes) -> str:
        """A class's words; empty where they are not known."""
        found = self._finder.words.get(wnid) or (self._kit[wnid].words if wnid in self._kit else "")
        return found or words_of({wnid}).get(wnid, "")

    def gloss(self, wnid: bytes) -> str:
        """A class's definition; empty where it is not known."""
        kit = self._kit.get(wnid)
        return (kit.gloss if kit else "") or gloss_of(wnid)

    def _named(self, wnids: Sequence[bytes]) -> list[Description]:
        return [{"wnid": wnid.decode(), "words": self.words(wnid)} for wnid in wnids]

    def _ancestors(self, wnid: bytes) -> list[bytes]:
        """From the class's parent up to the root, by the first parent of each."""
        chain: list[bytes] = []
        while (above := self._parents.get(wnid)) and above[0] not in chain:
            wnid = above[0]
            chain.append(wnid)
        return chain

    def _labels(self, wnid: bytes) -> dict[str, int]:
        found = {}
        for title, version in self._finder.versions.items():
            wnids = version.wnids
            if wnid in wnids:
                found[title] = wnids.index(wnid)
        return found

    def in_short(self, wnid: bytes) -> str:
        """A class's words and its definition, as far as they are known."""
        return ": ".join(filter(None, (self.words(wnid), self.gloss(wnid))))

    def caption(self, wnid: bytes) -> str:
        """A class in a few words: its first synonym, or what there is instead."""
        if wnid == UNLABELED:
            return "unlabeled"
        return self.words(wnid).partition(",")[0] or os.fsdecode(wnid)

    # --- descriptions -----------------------------------------------------------------------------

    def describe(self, place: Match) -> Description:
        """All that is known of it. Indexes what is counted."""
        with self._opened.locked(place.title):
            if place.kind == "class":
                return self._describe_class(place)
            if place.kind == "image":
                return self._describe_image(place)
            return {
                "kind": place.kind,
                "name": place.title,
                "splits": [self._describe_split(*one) for one in place.splits],
            }

    def _describe_class(self, place: Match) -> Description:
        wnid, kit = place.wnid, self._kit.get(place.wnid)
        return {
            "kind": "class",
            "name": place.title,
            "wnid": os.fsdecode(wnid),
            "words": self.words(wnid),
            "gloss": self.gloss(wnid),
            "parents": self._named(self._parents.get(wnid, [])),
            "ancestors": self._named(self._ancestors(wnid)),
            "labels": self._labels(wnid),
            "devkit_id": kit.number if kit else None,
            "splits": [self._class_in(wnid, *one) for one in place.splits],
        }

    def _class_in(self, wnid: bytes, title: str, version: Version, split: Split) -> Description:
        number = list(split.backend.classes).index(wnid)
        try:
            images = len(split.backend.listing(number))
        except BrokenArchivesError as error:  # as a listing of it has it
            return {"split": title, "images": 0, "from": [], "problem": str(error)}
        places = split.backend.places(number)
        titles = [self._catalogue.index.title(*place) for place in places]
        return {"split": title, "images": images, "from": list(dict.fromkeys(titles))}

    def _describe_split(self, title: str, version: Version, split: Split) -> Description:
        ledger = account(version, split)
        return {
            "split": title,
            "classes": len(split.backend.classes),
            "images": ledger.images,
            "bytes": ledger.bytes,
            "from": split.origin,
            "labels_from": [os.fsdecode(path) for path in split.labels_from],
            "problems": list(ledger.problems),
        }

    def _describe_image(self, place: Match) -> Description:
        inode, path = place.inode, place.title
        archive, inner, row = fields(inode)
        container = self._catalogue.index.container(archive, inner)
        file, offset, _ = container.locate(row)
        data = self._opened.read(inode, path)
        header = image_header(data)
        known = {k.rpartition(b".")[2]: v for k, v in self._nodes.extended(inode).items()}
        wnid = known.get(b"wnid", b"")
        member = container.members.name(row)
        is_npz = container.extent.kind is Kind.NPZ
        return {
            "kind": "image",
            "name": path,
            "wnid": os.fsdecode(wnid) or None,
            "words": self.words(wnid) if wnid else "",
            "labels": self._labels(wnid) if wnid else {},
            "bytes": len(data),
            "format": header.format if header else None,
            "width": header.width if header and header.width else None,
            "height": header.height if header and header.height else None,
            "mode": header.mode if header and header.mode else None,
            "file": os.fsdecode(container.extent.path if is_npz else file),
            "inner": os.fsdecode(container.extent.name) or None,
            "member": f"row {row}" if is_npz else os.fsdecode(member),
            "offset": None if is_npz and b"offset" not in known else offset,
        }
