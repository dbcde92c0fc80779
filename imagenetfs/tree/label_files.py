"""The label files beside a version's splits, in the forms that loaders and frameworks look for.

wnids.txt, words.txt (``wnid<TAB>words``), labels.txt (``wnid,name``), LOC_synset_mapping.txt
(``wnid words``, Kaggle's), imagenet_class_index.json (Keras's: sorted wnid order, first word,
spaces as underscores), meta.bin (torchvision's), meta/{train,val}.txt (``path label``).
"""

from __future__ import annotations

import io
import itertools
import json
import pickle
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping

from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.listing import name_bytes
from imagenetfs.tree.split_backend import UNLABELED


def first_word(words: str) -> str:
    """``tench, Tinca tinca`` -> ``tench``."""
    return words.split(",")[0].strip()


def label_files(version: Version) -> dict[bytes, Callable[[], bytes]]:
    """Name -> a call that makes the contents. Nothing is made before it is asked for.

    None where no class is known: an empty list would be taken for an answer.
    """
    if not version.wnids:
        return {}
    files: dict[bytes, Callable[[], bytes]] = {
        b"wnids.txt": lambda: _lines(wnid.decode() for wnid in version.wnids),
        b"words.txt": lambda: _lines(f"{w}\t{_words(version, w)}" for w in _text(version)),
        b"labels.txt": lambda: _lines(f"{w},{_name(version, w)}" for w in _text(version)),
        b"LOC_synset_mapping.txt": lambda: _lines(
            f"{w} {_words(version, w)}" for w in _text(version)
        ),
        b"imagenet_class_index.json": lambda: _class_index(version),
    }
    if version.val_wnids is not None:
        files[b"meta.bin"] = lambda: meta_bin(version)
    return files


def label_file_sources(version: Version, name: bytes) -> tuple[bytes, ...]:
    """The paths in the source of what one of these files is made of, beside the names of classes,
    which all may see who may enter the source.
    """
    if name == b"wnids.txt":
        return ()
    more = version.val_wnids_from if name == b"meta.bin" else ()
    return tuple(dict.fromkeys((*version.words_from, *more)))


def _text(version: Version) -> list[str]:
    return [wnid.decode() for wnid in version.wnids]


def _words(version: Version, wnid: str) -> str:
    return version.words.get(wnid.encode(), wnid)


def _name(version: Version, wnid: str) -> str:
    return first_word(_words(version, wnid))


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _class_index(version: Version) -> bytes:
    index = {
        str(number): [wnid, _name(version, wnid).replace(" ", "_")]
        for number, wnid in enumerate(_text(version))
    }
    return json.dumps(index).encode()


def meta_bin(version: Version) -> bytes:
    """What torchvision.datasets.ImageNet loads: torch's zip format around a pickle at protocol 2 of
    (dict: wnid -> tuple of names, list of the val wnids in file order). Needs no torch."""
    assert version.val_wnids is not None
    names = {
        wnid: tuple(part.strip() for part in _words(version, wnid).split(","))
        for wnid in _text(version)
    }
    order = [wnid.decode() for wnid in version.val_wnids()]
    # One object a class, so that the pickle refers back to it instead of repeating it.
    unique = {wnid: wnid for wnid in names}
    contents = pickle.dumps((names, [unique.get(wnid, wnid) for wnid in order]), protocol=2)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in (("data.pkl", contents), ("version", b"3\n")):
            archive.writestr(zipfile.ZipInfo(f"meta/{name}", (1980, 1, 1, 0, 0, 0)), data)
    return buffer.getvalue()


class PathLabels:
    """meta/train.txt and meta/val.txt: ``<class>/<image> <label>`` a line, labels by sorted wnid.

    ImageNet's train list has 46 MB; it is made class by class as it is read, and only the
    classes' lengths are kept. Those are had from the member tables, for every process
    that is asked needs them.
    """

    def __init__(self, split: Split, labels: Mapping[bytes, int], above: bytes = b"") -> None:
        """``above`` stands before each path: ``train/``."""
        self._backend = split.backend
        self._above = above
        self._labels = labels
        self._ends: list[int] | None = None
        self._last: tuple[int, bytes] = (-1, b"")

    def _around(self, number: int) -> tuple[bytes, bytes]:
        """What stands before and behind each name of a class in its line."""
        wnid = self._backend.classes[number]
        return self._above + wnid + b"/", b" %d\n" % self._labels.get(wnid, -1)

    def _text(self, number: int) -> bytes:
        if self._last[0] != number:
            head, tail = self._around(number)
            names = self._backend.listing(number).entries(0)
            self._last = (number, b"".join([head + name + tail for name, _, _ in names]))
        return self._last[1]

    def _length(self, number: int) -> int:
        if self._backend.classes[number] == UNLABELED:
            return 0
        listing = self._backend.listing(number)
        return name_bytes(listing) + len(listing) * len(b"".join(self._around(number)))

    def size(self) -> int:
        """Bytes in all. Indexes the whole split the first time."""
        if self._ends is None:
            lengths = map(self._length, range(len(self._backend.classes)))
            self._ends = list(itertools.accumulate(lengths))
        return self._ends[-1] if self._ends else 0

    def read(self, offset: int, length: int) -> bytes:
        """The bytes [offset, offset + length), fewer at the end."""
        self.size()
        ends = self._ends or []
        number, parts, wanted = bisect_right(ends, offset), [], length
        while wanted > 0 and number < len(ends):
            first = ends[number - 1] if number else 0
            if ends[number] == first:  # unlabeled/, or a class without images
                number += 1
                continue
            text = self._text(number)
            start = offset - first
            piece = text[start : start + wanted]
            parts.append(piece)
            offset, wanted, number = offset + len(piece), wanted - len(piece), number + 1
        return b"".join(parts)
