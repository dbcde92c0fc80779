"""torchvision's ImageFolder, over a mount's path, a split without a mount, or a plain directory.

The same samples in the same order, the same errors; a whole batch is announced before it is read.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from imagenetfs.library.split import Split
from imagenetfs.library.tree import Tree
from imagenetfs.torch.samples import ChosenPaths, DirectoryPaths, Paths, Samples, Targets

IMG_EXTENSIONS = (
    *(".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm"),
    *(".tif", ".tiff", ".webp"),
)
"""Those of torchvision."""

_MOST_ANNOUNCED = 128 * 1024
"""Bytes: the kernel cuts a longer announcement off at the file system's read-ahead."""

Loader = Callable[[Any], Any]
IsValidFile = Callable[[str], bool]


def pil_loader(file: str | os.PathLike[str] | BinaryIO) -> Any:
    """An image in RGB, by Pillow, from a path or an open file."""
    from PIL import Image

    if isinstance(file, str | os.PathLike):
        with Path(file).open("rb") as opened:
            return Image.open(opened).convert("RGB")
    return Image.open(file).convert("RGB")


class _NamedBytes(io.BytesIO):
    """The contents of a file of a tree; ``name`` is its path."""

    name: str


class ImageFolder(Dataset[tuple[Any, Any]]):
    """A drop-in for ``torchvision.datasets.ImageFolder``.

    ``classes``, ``class_to_idx``, ``samples`` (also ``imgs``), ``targets``, ``root``, ``loader``,
    ``transform`` and ``target_transform`` are as there; ``samples`` and ``targets`` are sequences
    over arrays, and may be replaced by lists.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | Split,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        loader: Loader = pil_loader,
        is_valid_file: IsValidFile | None = None,
        allow_empty: bool = False,
    ) -> None:
        """``root``: a directory of class directories, as of a mount, or a split of a tree.

        ``loader`` is called with a file's path; where ``root`` is a split, which has none outside
        this process, with a binary file, whose ``name`` is the path in the tree. ``is_valid_file``
        is called with the path; by default the extensions of torchvision decide. ``allow_empty``:
        a class without a file is no error. Raises FileNotFoundError as torchvision does, TypeError
        for a whole tree.
        """
        if isinstance(root, Tree):
            raise TypeError(
                "ImageFolder takes a split of the tree, such as "
                f"tree[{next(iter(root.splits), 'ILSVRC2012/train')!r}], not the tree itself. It "
                f"has {', '.join(root.splits)}."
            )
        self.split = root if isinstance(root, Split) else None
        self.root = root.name if isinstance(root, Split) else os.fspath(root)
        self.transform = transform
        self.target_transform = target_transform
        self.loader = loader
        self.extensions = IMG_EXTENSIONS if is_valid_file is None else None
        self._numbers: NDArray[np.int64] | None = None
        paths: Paths
        if self.split is not None:
            self.classes = self.split.classes
            self._numbers = _chosen(self.split, is_valid_file)
            paths, labels = self.split, self.split.labels
            if self._numbers is not None:
                paths, labels = ChosenPaths(self.split, self._numbers), labels[self._numbers]
        else:
            self.classes = _find_classes(self.root)
            names = (_names(self.root, name, is_valid_file) for name in self.classes)
            paths = DirectoryPaths(self.root, self.classes, names)
            labels = paths.labels
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}
        if not allow_empty:
            _refuse_empty(self.classes, labels, self.extensions)
        self._samples = Samples(paths, labels)
        self.samples: Sequence[tuple[str, int]] = self._samples
        self.imgs: Sequence[tuple[str, int]] = self._samples
        self.targets: Sequence[int] = Targets(labels)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """(the sample, the target), each transformed."""
        return self._items([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        """A batch: all its files are asked for before the first one is read."""
        return self._items(indices)

    def _items(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        wanted = [self.samples[index] for index in indices]
        files: Iterator[Any]
        if self.split is None:
            if len(wanted) > 1:
                for path, _ in wanted:
                    _announce(path)
            files = (path for path, _ in wanted)
        else:
            files = map(_named, self._read(indices, wanted), wanted)
        return [self._item(file, target) for file, (_, target) in zip(files, wanted, strict=True)]

    def _read(self, indices: Sequence[int], wanted: Sequence[tuple[str, int]]) -> list[bytes]:
        split = self.split
        assert split is not None
        if self.samples is not self._samples:  # replaced by the user: by path, then
            return [split.read_path(path) for path, _ in wanted]
        if self._numbers is not None:
            indices = self._numbers[np.asarray(indices)].tolist()
        return [split.read(indices[0])] if len(indices) == 1 else split.read_many(indices)

    def _item(self, file: Any, target: int) -> tuple[Any, Any]:
        sample = self.loader(file)
        if self.transform is not None:
            sample = self.transform(sample)
        return sample, target if self.target_transform is None else self.target_transform(target)

    def __repr__(self) -> str:
        lines = [
            f"Dataset {type(self).__name__}",
            f"    Number of datapoints: {len(self)}",
            f"    Root location: {self.root}",
        ]
        return "\n".join(lines)


def _named(data: bytes, sample: tuple[str, int]) -> _NamedBytes:
    file = _NamedBytes(data)
    file.name = sample[0]
    return file


def _announce(path: str) -> None:
    """Have the kernel ask for a file's bytes; what is wrong with it, the read says."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for at in range(0, os.fstat(fd).st_size, _MOST_ANNOUNCED):
            os.posix_fadvise(fd, at, _MOST_ANNOUNCED, os.POSIX_FADV_WILLNEED)
    except OSError:
        return
    finally:
        os.close(fd)


def _chosen(split: Split, is_valid_file: IsValidFile | None) -> NDArray[np.int64] | None:
    """The numbers of the images to show; None for all."""
    if is_valid_file is None:
        return split.with_extensions(IMG_EXTENSIONS)
    valid = [number for number in range(len(split)) if is_valid_file(split.path(number))]
    return np.array(valid, dtype=np.int64)


def _find_classes(root: str) -> list[str]:
    with os.scandir(root) as entries:
        classes = sorted(entry.name for entry in entries if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {root}.")
    return classes


def _names(root: str, name: str, is_valid_file: IsValidFile | None) -> list[str]:
    """A class's files, by their names below its directory, in torchvision's order."""
    top = f"{root.rstrip('/')}/{name}"
    found = []
    for directory, _, names in sorted(os.walk(top, followlinks=True)):
        below = f"{directory[len(top) + 1 :]}/" if directory != top else ""
        for one in sorted(names):
            if is_valid_file is None:
                valid = one.lower().endswith(IMG_EXTENSIONS)
            else:
                valid = is_valid_file(f"{directory}/{one}")
            if valid:
                found.append(below + one)
    return found


def _refuse_empty(
    classes: Sequence[str], labels: NDArray[np.int32], extensions: tuple[str, ...] | None
) -> None:
    counts = np.bincount(labels, minlength=len(classes))
    empty = [name for name, count in zip(classes, counts.tolist(), strict=True) if not count]
    if not empty:
        return
    message = f"Found no valid file for the classes {', '.join(sorted(empty))}. "
    if extensions is not None:
        message += f"Supported extensions are: {', '.join(extensions)}"
    raise FileNotFoundError(message)
