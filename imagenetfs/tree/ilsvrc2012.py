"""ILSVRC2012 and ILSVRC2012_t3: train and t3 from tars of class tars, val labelled by the devkit, test
with its patch laid over it; an extracted directory takes the place of an archive that is missing or broken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from imagenetfs.errors import ArchiveError, ImagenetfsError
from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.build import Index
from imagenetfs.tree import devkit as devkit_files
from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.layout import Split, Version
from imagenetfs.tree.shelf import (
    UNLABELED,
    WNID,
    ClassContainers,
    FlatImages,
    Shelf,
    flat_containers,
    image_number,
)
from imagenetfs.tree.survey import Survey

_ROOT = re.compile(rb"ILSVRC2012|ILSVRC2012.*CLS.*", re.IGNORECASE)
_TRAIN = re.compile(rb"ILSVRC2012_img_train\.tar")
_T3 = re.compile(rb"ILSVRC2012_img_train_t3\.tar")
_VAL = re.compile(rb"ILSVRC2012_img_val\.tar")
_TEST = re.compile(rb"ILSVRC2012_img_test(?!_patch)\w*\.tar")
_PATCH = re.compile(rb"ILSVRC2012_img_test_patch\w*\.tar")
_DEVKIT = b"ILSVRC2012_devkit_t12"


class Ilsvrc2012:
    """Finds the two versions in a survey. ``prefer`` is ``archives`` or ``directories``."""

    def __init__(self, survey: Survey, index: Index, prefer: str) -> None:
        self._survey = survey
        self._index = index
        self._prefer = prefer
        roots = [name for name in survey.directories(b"") if _ROOT.fullmatch(name)]
        self._root = roots[0] if roots else None
        self._warn = survey.warnings.append

    def versions(self) -> list[Version]:
        """ILSVRC2012 and ILSVRC2012_t3, as far as they are there."""
        if self._root is None:
            return []
        kit = self._devkit()
        words = kit.words if kit else {}
        main = Version(b"ILSVRC2012", words=words)
        main.splits = [s for s in (self._train(), self._val(kit), self._test()) if s is not None]
        main.hidden_directories = {
            name: self._path(name)
            for name in self._survey.directories(self._root)
            if b"devkit" in name
        }
        if kit is not None:
            main.val_wnids = lambda: [kit.wnids.get(label, UNLABELED) for label in kit.truth]
        t3 = Version(b"ILSVRC2012_t3", words=words)
        t3.splits = [s for s in (self._t3(),) if s is not None]
        return [version for version in (main, t3) if version.splits]

    def _path(self, name: bytes) -> bytes:
        return (self._root or b"") + b"/" + name

    # --- what is there ----------------------------------------------------------------------------

    def _tars(self, pattern: re.Pattern[bytes]) -> list[int]:
        """The numbers of the tars whose name fits."""
        found = (n for n in self._survey.files(self._root or b"") if pattern.fullmatch(n))
        numbers = (self._survey.number(self._path(name), Kind.TAR) for name in found)
        return [number for number in numbers if number is not None]

    def _directory(self, *names: bytes) -> int | None:
        """The first of these directories that is there and not empty."""
        for name in names:
            number = self._survey.number(self._path(name), Kind.DIRECTORY)
            if number is not None and self._readable_entries(number):
                return number
        return None

    def _readable_entries(self, number: int) -> bool:
        try:
            return len(self._index.container(number).members) > 0
        except ImagenetfsError as error:
            self._warn(f"{error} It is not used.")
            return False

    def _choose(self, tars: list[int], directory: int | None) -> tuple[int | None, int | None]:
        """(archive to serve from, what takes its place where it is broken)."""
        if not tars or (self._prefer == "directories" and directory is not None):
            return directory, None
        name = self._index.title(tars[0])
        try:
            problem = self._index.check(tars[0])
        except ImagenetfsError as error:
            instead = "the extracted directory takes its place" if directory else "it is not shown"
            self._warn(f"{name}: {error} So {instead}.")
            return directory, None
        if problem is None:
            return tars[0], directory
        if directory is not None:
            self._warn(
                f"{name} is broken: {problem}. The extracted directory "
                f"{self._index.title(directory)} takes its place; have the archive replaced."
            )
            return directory, None
        whole = len(self._index.container(tars[0]).members)
        self._warn(
            f"{name} is broken: {problem}. Its {whole:,} whole members before that are served, and "
            "the rest is missing; have the archive replaced."
        )
        return (tars[0], None) if whole else (None, None)

    # --- splits -----------------------------------------------------------------------------------

    def _by_class(self, name: bytes, tars: list[int], directory: int | None) -> Split | None:
        archive, fallback = self._choose(tars, directory)
        if archive is None:
            return None
        shelf = ClassContainers(self._index, archive, fallback)
        return Split(name, shelf, self._index.title(archive)) if shelf.classes else None

    def _train(self) -> Split | None:
        return self._by_class(b"train", self._tars(_TRAIN), self._directory(b"train"))

    def _t3(self) -> Split | None:
        return self._by_class(b"train", self._tars(_T3), self._directory(b"train_T3", b"train_t3"))

    def _val(self, kit: Devkit | None) -> Split | None:
        directory = self._directory(b"validation", b"val")
        archive, _ = self._choose(self._tars(_VAL), directory)
        if archive is None:
            return None
        if archive == directory and self._has_classes(archive):
            shelf: Shelf = ClassContainers(self._index, archive)
        else:
            classes, label = self._val_labels(kit, directory)
            shelf = FlatImages(self._index, flat_containers(self._index, archive), classes, label)
        return Split(b"val", shelf, self._index.title(archive), aliases=(b"validation",))

    def _has_classes(self, directory: int) -> bool:
        members = self._index.container(directory).members
        return any(
            WNID.fullmatch(members.name(row)) for row in self._index.nested(directory).tolist()
        )

    def _val_labels(
        self, kit: Devkit | None, directory: int | None
    ) -> tuple[Sequence[bytes], Callable[[bytes], bytes | None] | None]:
        """The classes of val, and the label of a file name: by the devkit, else by directories."""
        if kit is not None:
            return sorted(set(kit.wnids.values())), lambda name: kit.val_wnid(image_number(name))
        if directory is not None and self._has_classes(directory):
            known = self._labels_of_directories(directory)
            self._warn(
                "the devkit is missing: val is labelled by the extracted class directories of "
                f"{self._index.title(directory)}."
            )
            return sorted({*known.values(), UNLABELED}), known.get
        self._warn(
            f"the devkit ({self._path(_DEVKIT).decode()}) is missing or damaged, so the labels of "
            "val are unknown: its images stand under val/unlabeled/."
        )
        return (UNLABELED,), None

    def _labels_of_directories(self, directory: int) -> dict[bytes, bytes]:
        shelf = ClassContainers(self._index, directory)
        return {
            name: wnid
            for number, wnid in enumerate(shelf.classes)
            for name, _, _ in shelf.listing(number).entries(0)
        }

    def _test(self) -> Split | None:
        directory = self._directory(b"test")
        archive, _ = self._choose(self._tars(_TEST), directory)
        if archive is None:
            return None
        containers = flat_containers(self._index, archive)
        if archive != directory:  # an extracted directory holds the patched images already
            containers += [
                (patch, OUTER)
                for patch in self._tars(_PATCH)
                if self._choose([patch], None)[0] is not None
            ]
        return Split(b"test", FlatImages(self._index, containers), self._index.title(archive))

    # --- labels -----------------------------------------------------------------------------------

    def _devkit(self) -> Devkit | None:
        """The development kit's labels; None, with a warning where val is shown, if there is none."""
        kit = self._path(_DEVKIT)
        if self._survey.number(kit) is None:
            return None
        try:
            return devkit_files.parse(
                self._index.source.read_whole(kit + b"/" + devkit_files.META_MAT),
                self._index.source.read_whole(kit + b"/" + devkit_files.GROUND_TRUTH),
            )
        except (ImagenetfsError, ArchiveError) as error:
            self._warn(f"the devkit cannot be used: {error}")
            return None
