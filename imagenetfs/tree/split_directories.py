"""The directories of ILSVRC2012's splits: by the names that they are published and commonly known
by, else by the one whose name speaks of the split (``train_256``, ``val_images``). What else stands
beside them and holds classes or images is told: nothing is passed over in silence.

Only names are looked at that discovery has read.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterator, Sequence

from imagenetfs.index.archives import archive_stem
from imagenetfs.tree.discovery import CLASS, DEVKIT, is_beside
from imagenetfs.tree.images import is_dropping, is_image_name
from imagenetfs.tree.locate import holds_classes
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.unpacked import DirectoryPlace

NAMES = {
    "train": (b"train", b"ILSVRC2012_img_train", b"training"),
    "train_t3": (b"train_T3", b"train_t3", b"ILSVRC2012_img_train_t3"),
    "val": (b"validation", b"val", b"ILSVRC2012_img_val", b"valid"),
    "test": (b"test", b"ILSVRC2012_img_test", b"ILSVRC2012_img_test_v10102019"),
}
_EVERY = frozenset(name.lower() for names in NAMES.values() for name in names)

SPEAKING = re.compile(rb"(?:^|[^a-z])(train|val|test|t3|patch)(?:set)?(?![a-hj-z])", re.IGNORECASE)
"""What a name says of the split that it is."""


class SplitDirectories:
    """Finds the directory of each split below a version's directory, and remembers which."""

    def __init__(self, finder: ArchiveSelector) -> None:
        self._finder = finder
        self._found: dict[str, DirectoryPlace | None] = {}

    def find(self, role: str) -> DirectoryPlace | None:
        """The directory of a split. Where there is none, and classes stand right in the version's
        directory, those are train.
        """
        if role not in self._found:
            self._found[role] = self._find(role)
        return self._found[role]

    def _find(self, role: str) -> DirectoryPlace | None:
        finder = self._finder
        found = finder.directory(*NAMES[role]) or self._speaking(role)
        if found is None and role == "train" and holds_classes(finder.discovery, finder.root):
            return finder.discovery.place(finder.root)
        return found

    def _speaking(self, role: str) -> DirectoryPlace | None:
        """The one directory whose name speaks of a split, if it holds classes or images."""
        finder = self._finder
        names = [name for name in self._others() if _spoken(name) == role and self._holds(name)]
        if not names:
            return None
        titles = " and ".join(os.fsdecode(finder.path(name)) for name in names)
        if len(names) > 1:
            finder.warn(
                f"{titles} all look like {role}, and none is used: name the right one {role} "
                f"(mv, or ln -s). If they are its parts, move them into a directory {role}."
            )
            return None
        finder.warn(f"{titles} is taken for {role}, by its name.")
        return finder.discovery.place(finder.path(names[0]))

    def tell_unused(self, shown: Collection[str]) -> None:
        """Tell what else there is: ``shown`` are the splits that are."""
        finder = self._finder
        used = {place for place in self._found.values() if place is not None}
        for role, names in NAMES.items():
            self._tell_twice(role, used)
            if role not in shown:
                self._tell_empty(names, role)
        for name in self._others():
            place = finder.discovery.place(finder.path(name))
            if place in used or not self._holds(name):
                continue
            path, spoken = os.fsdecode(finder.path(name)), _spoken(name)
            other = self._found.get(spoken) if spoken is not None else None
            if other is not None:
                finder.warn(f"{path} is not used: {spoken} is read from {finder.title(other)}.")
            elif spoken is None:
                roles = ("train", "val") if "classes" in self._content(name) else ("val", "train")
                free = next((role for role in roles if role not in shown), roles[0])
                link = shlex.quote(os.fsdecode(finder.path(free.encode())))
                finder.warn(
                    f"{path} is not used: it holds {self._content(name)}, and is not called as a "
                    "split. If it is one, name it so (cd "
                    f"{shlex.quote(str(finder.index.source.path))} && ln -s "
                    f"{shlex.quote(os.fsdecode(name))} {link}), or put it into a directory of its "
                    "own beside this one."
                )

    def _tell_twice(self, role: str, used: Collection[DirectoryPlace]) -> None:
        finder, chosen = self._finder, self._found.get(role)
        if chosen is None:
            return
        for name in finder.named(*NAMES[role]):
            place = finder.discovery.place(finder.path(name))
            if place is not None and place not in used and not finder.is_empty(place):
                path = os.fsdecode(finder.path(name))
                finder.warn(f"{path} is not used: {role} is read from {finder.title(chosen)}.")

    def _tell_empty(self, names: Sequence[bytes], role: str) -> None:
        finder = self._finder
        for name in finder.named(*names):
            place = finder.discovery.place(finder.path(name))
            if place is not None and finder.is_empty(place):
                finder.warn(f"{os.fsdecode(finder.path(name))} is empty: there is no {role}.")
        known = {name.lower() for name in names}
        for name in finder.discovery.files(finder.root):
            if name.lower() in known:
                finder.warn(
                    f"{os.fsdecode(finder.path(name))} is no directory, but a file or a link that "
                    f"leads nowhere: there is no {role}."
                )

    def _others(self) -> Iterator[bytes]:
        """The directories of the version that are called by none of the known names."""
        for name in self._finder.discovery.directories(self._finder.root):
            is_other = CLASS.fullmatch(name) or DEVKIT.fullmatch(name) or is_beside(name)
            if not (is_other or is_dropping(name) or name.lower() in _EVERY):
                yield name

    def _holds(self, name: bytes) -> bool:
        """Whether classes or images stand right in a directory, as far as its names are known."""
        every = self._finder.discovery.names.get(self._finder.path(name), ())
        return any(
            CLASS.fullmatch(archive_stem(one)) or (not is_directory and is_image_name(one))
            for one, is_directory in every
        )

    def _content(self, name: bytes) -> str:
        every = self._finder.discovery.names[self._finder.path(name)]
        classes = sum(CLASS.fullmatch(archive_stem(one)) is not None for one, _ in every)
        images = sum(is_image_name(one) for one, is_directory in every if not is_directory)
        return f"{classes:,} classes" if classes else f"{images:,} images"


def role_of(name: bytes) -> str | None:
    """The split that a directory is, by its name alone; None where that does not say it."""
    known = (role for role, names in NAMES.items() if name.lower() in map(bytes.lower, names))
    return next(known, None) or _spoken(name)


def _spoken(name: bytes) -> str | None:
    """The split that a directory's name speaks of; None for none, and for several."""
    words: set[bytes] = {word.lower() for word in SPEAKING.findall(name)}
    if b"t3" in words:
        return "train_t3"
    if len(words) != 1 or b"patch" in words:
        return None
    return words.pop().decode()
