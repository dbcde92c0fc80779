"""Versions and splits: what the catalogue says is in the source, before anything is read of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from imagenetfs.errors import ImagenetfsError
from imagenetfs.tree.lost_split import LostSplit
from imagenetfs.tree.outside import Outside
from imagenetfs.tree.split_backend import UNLABELED, SplitBackend


@dataclass(frozen=True, slots=True)
class Expected:
    """What a split ought to hold, and ``by`` what that is known, for people.

    ``classes`` and ``images`` are totals, None where they are not told; ``of_class``: images a
    class, for all classes, or empty.
    """

    by: str
    classes: int | None = None
    images: int | None = None
    of_class: Mapping[bytes, int] = field(default_factory=dict)

    @classmethod
    def of_classes(cls, of_class: Mapping[bytes, int], by: str) -> Expected:
        """From the images of each class."""
        return cls(by, len(of_class), sum(of_class.values()), of_class)


@dataclass(frozen=True, slots=True)
class OtherLabels:
    """What says of images in class directories which class they are of, beside these: ``title``
    for people, ``of`` an image's name its class, or None.
    """

    title: str
    of: Callable[[bytes], bytes | None]


@dataclass(slots=True)
class Split:
    """One split of a version; ``origin`` says where its images stand, for people, ``labels_from``
    which files of the source (paths) tell the images' classes, beside its archives; ``expected``
    what a list beside the images says of them; ``outside`` looks for images that its archives hold
    in none of its classes; ``other_labels`` may say otherwise than its class directories do.
    """

    name: bytes
    backend: SplitBackend
    origin: str
    aliases: tuple[bytes, ...] = ()
    labels_from: tuple[bytes, ...] = ()
    expected: Expected | None = None
    outside: Callable[[], Outside] = Outside
    other_labels: OtherLabels | None = None

    @property
    def lost(self) -> ImagenetfsError | None:
        """Why nothing of it can be shown; None where something can."""
        return self.backend.error if isinstance(self.backend, LostSplit) else None

    @property
    def wnids(self) -> list[bytes]:
        """Its classes that are WordNet ids, sorted."""
        return [name for name in self.backend.classes if name != UNLABELED]


@dataclass(slots=True)
class Version:
    """One version of the data set: its splits, the words of its classes, directories that answer
    without being listed (name -> path in the source), and the val classes in file order.

    ``words_from`` and ``val_wnids_from``: the files of the source (paths) that tell these.
    ``classes_beside_splits``: train's classes answer beside it, where
    programs of old look for them.
    """

    name: bytes
    splits: list[Split] = field(default_factory=list)
    words: dict[bytes, str] = field(default_factory=dict)
    words_from: tuple[bytes, ...] = ()
    hidden_directories: dict[bytes, bytes] = field(default_factory=dict)
    classes_beside_splits: bool = False
    val_wnids: Callable[[], Sequence[bytes]] | None = None
    val_wnids_from: tuple[bytes, ...] = ()

    @property
    def wnids(self) -> list[bytes]:
        """The classes of all splits, sorted."""
        return sorted({wnid for split in self.splits for wnid in split.wnids})

    def split(self, name: bytes) -> Split | None:
        """The split of that name."""
        return next((split for split in self.splits if split.name == name), None)
