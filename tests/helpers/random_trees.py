"""Random sources: a split of some version in some form, with what people's trees have in them:
droppings, duplicates, links, gaps, files that are no images, images where no class is.

``FORMS`` pack the same content as each kind of container; a new kind is one more line there.
"""

from __future__ import annotations

import io
import os
import random
import re
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

JPEG = b"\xff\xd8\xff\xe0"
APPLE_DOUBLE = b"\0\5\x16\7\0\2\0\0Mac OS X        "
WNIDS = ("n01440764", "n01443537", "n02119789", "n03126707", "n15075141")


@dataclass(frozen=True)
class Entry:
    """A file, or a symbolic or hard link, by its path relative to what it stands in."""

    path: str
    data: bytes = b""
    symlink: str = ""
    hardlink: str = ""
    sparse: bool = False  # in a tar, its zeros are holes


@dataclass(frozen=True)
class Form:
    """A kind of container; ``archived``: whether its classes lie in archives; ``flat``: whether it
    has no classes but in names; ``in_parts``: whether it is a directory of tars of classes;
    ``zipped``: whether it is a zip."""

    pack: Pack
    archived: bool = True
    flat: bool = False
    in_parts: bool = False
    zipped: bool = False


@dataclass
class Content:
    """Classes in the order in which they are packed, what stands beside them, and the directories
    above them (``a/b/``)."""

    classes: dict[str, list[Entry]]
    beside: list[Entry] = field(default_factory=list)
    above: str = ""


@dataclass(frozen=True)
class Place:
    """A split, and where the source has it as an archive (without its ending) and as a directory.

    ``flat``: whether it can be loose images without classes; ``archived``: whether it can be tars
    at all; ``in_parts``: whether a directory of tars is one set; ``within``: the directory of a
    class that has its images.
    """

    split: str
    archive: str
    directory: str
    above: Sequence[str] = ("", "", "train/", "a/", "ILSVRC/Data/CLS-LOC/train/", "./")
    flat: bool = True
    archived: bool = True
    in_parts: bool = True
    within: str = ""
    zipped: bool = False

    def takes(self, form: Form) -> bool:
        """Whether this split can have that form."""
        if (form.in_parts and not self.in_parts) or (form.zipped and not self.zipped):
            return False
        return (self.flat or not form.flat) and (self.archived or not form.archived)


PLACES = (
    Place(
        "ILSVRC2012/train",
        "ILSVRC2012/ILSVRC2012_img_train",
        "ILSVRC2012/train",
        zipped=True,
    ),
    Place(
        "ILSVRC2012/val",
        "ILSVRC2012/ILSVRC2012_img_val",
        "ILSVRC2012/val",
        ("", "", "val/", "a/", "x/y/val/"),
        zipped=True,
    ),
    Place(
        "ILSVRC2012_t3/train",
        "ILSVRC2012/ILSVRC2012_img_train_t3",
        "ILSVRC2012/train_t3",
        zipped=True,
    ),
    Place("winter21_whole/train", "winter21_whole", "winter21_whole", flat=False, zipped=True),
    Place("fall11_whole/train", "fall11_whole", "fall11_whole", flat=False, zipped=True),
    Place(
        "mine/train",
        "mine",
        "mine",
        ("", "", "mine/", "mine/train/"),
        flat=False,
        in_parts=False,
        zipped=True,
    ),
    Place(
        "tiny-imagenet-200/train",
        "",
        "tiny-imagenet-200/train",
        ("",),
        flat=False,
        archived=False,
        within="images/",
        zipped=True,
    ),
)

# --- content --------------------------------------------------------------------------------------


def _image(choose: random.Random) -> bytes:
    return JPEG + b"%016x" % choose.getrandbits(64) * choose.randrange(1, 4)


def _odd_entries(choose: random.Random, name: str) -> list[Entry]:
    """What may lie in a class, beside an image ``name``."""
    stem = name.rpartition(".")[0]
    junk = b"junk %d" % choose.randrange(1000)
    return [
        Entry("._" + name, APPLE_DOUBLE),
        Entry(".DS_Store", b"\0\0\0\1Bud1"),
        Entry("Thumbs.db", junk),
        Entry("desktop.ini", junk),
        Entry(f".ipynb_checkpoints/{stem}-checkpoint.JPEG", _image(choose)),
        Entry(f"@eaDir/{name}/SYNOFILE_THUMB_M.jpg", _image(choose)),
        Entry(f"__MACOSX/._{name}", APPLE_DOUBLE),
        Entry(f".nfs{choose.randrange(1 << 32):016x}", _image(choose)),
        Entry(name + "~", _image(choose)),
        Entry(f".{name}.swp", junk),
        Entry(f"thumbs/{name}", b"small"),
        Entry(f"thumbs/deep/{name}", b"smaller"),
        Entry(f"crops/{stem}_crop.png", _image(choose)),
        Entry(f"other/{stem}_crop.png", _image(choose)),
        Entry("notes.txt", junk),
        Entry(f"{stem}.xml", b"<annotation/>"),
        Entry(f"{name}.part", _image(choose)),
        Entry(f"{stem}_a", _image(choose)),
        Entry(f"{stem}_b", junk),
        Entry(f"{stem}.v2", choose.choice((_image(choose), junk))),
        Entry(f"{stem}_empty.JPEG", b""),
        Entry(f"{stem}_c.jpg", _image(choose)),
        Entry(f"{stem}_d.PNG", b"\x89PNG\r\n\x1a\n" + junk),
        Entry(f"{stem} copy.JPEG", _image(choose)),
        Entry(f"{stem}_\udce4.JPEG", _image(choose)),  # a byte that is no UTF-8
        Entry(f"{stem}_\u00e9.JPEG", _image(choose)),  # composed
        Entry(f"{stem}_e\u0301.JPEG", _image(choose)),  # decomposed
        Entry(f"{stem}_{'long' * 50}.JPEG", _image(choose)),
        Entry(f"{'deep/' * 30}{stem}_deep.JPEG", _image(choose)),
        Entry(name.upper(), _image(choose)),
        Entry(name.lower(), _image(choose)),
        Entry(f"{stem}_f.JpEg", _image(choose)),
        Entry(f"{stem}_g.txt", _image(choose)),  # is one, and its name says that it is none
        Entry(f"{stem}_h.webp", junk),
        Entry(f"{stem}_i.gif", junk),
        Entry(f"{stem}_j.tiff", junk),
        Entry(f"{stem}_k.bmp", junk),
        Entry(f"{stem}_l.JPEG", _image(choose) + bytes(8192) + junk, sparse=True),
        Entry(f"{stem}_m", _image(choose) + bytes(4096) + junk, sparse=True),
        Entry(f"#{name}#", _image(choose)),
        Entry(".directory/x.JPEG", _image(choose)),
    ]


def _tar_entries(choose: random.Random, name: str, first: str) -> list[Entry]:
    """What only an archive may have."""
    return [
        Entry(name, _image(choose)),  # twice
        Entry("./" + name, _image(choose)),
        Entry("notes.txt", b"again"),
        Entry("linked_" + name, symlink=name),
        Entry("dangling_" + name, symlink="nowhere.JPEG"),
        Entry("hard_" + name, hardlink=first),
    ]


def _directory_entries(choose: random.Random, name: str) -> list[Entry]:
    """What only a directory may have."""
    return [
        Entry("linked_" + name, symlink=name),
        Entry("dangling_" + name, symlink="nowhere.JPEG"),
        Entry("circle_" + name, symlink="circle_" + name),
        Entry("up_" + name, symlink=".."),
        Entry("more_" + name, symlink="crops/../" + name),
        Entry("hard_" + name, hardlink=name),
    ]


def _class(choose: random.Random, name: str, *, archived: bool) -> list[Entry]:
    """``name``: of its images, with a number to fill in."""
    names = [name % k for k in range(1, 1 + choose.choice((0, 1, 2, 4)))]
    entries = [Entry(name, _image(choose)) for name in names]
    if not names:
        return choose.choice(([], [Entry(".DS_Store", b"\0\0\0\1Bud1")]))
    for _ in range(choose.choice((0, 0, 1, 3, 6))):
        name = choose.choice(names)
        odd = _odd_entries(choose, name)
        odd += (
            _tar_entries(choose, name, names[0]) if archived else _directory_entries(choose, name)
        )
        entries.append(choose.choice(odd))
    if not archived:
        entries = list({entry.path: entry for entry in entries}.values())
    return entries


def _beside(choose: random.Random, wnids: Sequence[str]) -> list[Entry]:
    """What may stand between the classes."""
    wnid = choose.choice(wnids)
    name = f"{wnid}_99.JPEG"
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        info = tarfile.TarInfo(f"{name}")
        info.size = 4
        archive.addfile(info, io.BytesIO(JPEG))
    every = [
        Entry("README.txt", b"read me"),
        Entry(".DS_Store", b"\0\0\0\1Bud1"),
        Entry(f"._{wnid}.tar", APPLE_DOUBLE),
        Entry(f"._{wnid}", APPLE_DOUBLE),
        Entry(f".ipynb_checkpoints/{wnid}/{name}", _image(choose)),
        Entry(f"__MACOSX/{wnid}/._{name}", APPLE_DOUBLE),
        Entry(f"@eaDir/{wnid}/{name}", _image(choose)),
        Entry(f"stray/{name}", _image(choose)),
        Entry("stray/no name", _image(choose)),
        Entry("stray/notes.txt", b"notes"),
        Entry("extra.tar", inner.getvalue()),
    ]
    chosen = [choose.choice(every) for _ in range(choose.choice((0, 0, 1, 3)))]
    return list({entry.path: entry for entry in chosen}.values())


def content(choose: random.Random, place: Place, *, archived: bool) -> Content:
    """Random classes; at least one of them has an image."""
    wnids = choose.sample(WNIDS, choose.randrange(1, len(WNIDS) + 1))
    is_val = place.split.endswith("/val")
    images = {
        wnid: f"ILSVRC2012_val_0000{k}%03d.JPEG" if is_val else f"{wnid}_%d.JPEG"
        for k, wnid in enumerate(wnids)
    }
    while True:
        classes = {wnid: _class(choose, images[wnid], archived=archived) for wnid in wnids}
        if any(entry.path == images[w] % 1 for w, some in classes.items() for entry in some):
            return Content(classes, _beside(choose, wnids), choose.choice(place.above))


# --- packing --------------------------------------------------------------------------------------


def tar(choose: random.Random, entries: Sequence[Entry], directories: bool = True) -> bytes:
    """A tar of these in their order, in one of the formats, with or without directory entries."""
    form = choose.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    if form == tarfile.USTAR_FORMAT and any(len(os.fsencode(e.path)) > 100 for e in entries):
        form = tarfile.GNU_FORMAT
    buffer, made = io.BytesIO(), set[str]()
    directories = directories and choose.random() < 0.5
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape") as archive:
        for entry in entries:
            for parent in reversed(Path(entry.path).parents) if directories else ():
                if str(parent) not in made and str(parent) != ".":
                    made.add(str(parent))
                    info = tarfile.TarInfo(str(parent))
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(info)
            info = tarfile.TarInfo(entry.path)
            if entry.symlink or entry.hardlink:
                info.type = tarfile.SYMTYPE if entry.symlink else tarfile.LNKTYPE
                info.linkname = entry.symlink or entry.hardlink
            elif entry.sparse and form == tarfile.PAX_FORMAT:
                data = _make_sparse(info, entry.data)
                archive.addfile(info, io.BytesIO(data))
                continue
            else:
                info.size = len(entry.data)
            archive.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()


def _make_sparse(info: tarfile.TarInfo, data: bytes) -> bytes:
    """What is stored of a member whose longest zeros are a hole: the map, and what is around it
    (version 1.0 of GNU tar's sparse forms).
    """
    size = max(map(len, re.findall(rb"\0+", data)))
    start = data.index(bytes(size))
    runs = (0, start), (start + size, len(data) - start - size)
    numbers = [len(runs), *(number for run in runs for number in run)]
    head = "".join(f"{number}\n" for number in numbers).encode().ljust(BLOCK, b"\0")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": info.name,
        "GNU.sparse.realsize": str(len(data)),
    }
    stored = head + data[:start] + data[start + size :]
    info.size = len(stored)
    return stored


def zip_of(choose: random.Random, entries: Sequence[Entry]) -> bytes:
    """A zip of these in their order, stored and deflated; it has no hard links."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a name that is there twice
        for entry in entries:
            if entry.hardlink:
                continue
            info = zipfile.ZipInfo(os.fsencode(entry.path).decode("utf-8", "replace"))
            if choose.random() < 0.5 and not entry.path.endswith(".tar"):
                info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFLNK | 0o777 if entry.symlink else 0o100644) << 16
            archive.writestr(info, entry.symlink.encode() if entry.symlink else entry.data)
    return buffer.getvalue()


def below(above: str, entries: Sequence[Entry]) -> list[Entry]:
    """The same entries below a directory."""
    return [
        Entry(
            above + entry.path,
            entry.data,
            entry.symlink,
            above + entry.hardlink if entry.hardlink else "",
            entry.sparse,
        )
        for entry in entries
    ]


def write(top: Path, entries: Sequence[Entry]) -> None:
    """Write files and links below a directory."""
    for entry in entries:
        path = os.fsencode(top / entry.path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if entry.symlink:
            os.symlink(entry.symlink, path)
        elif entry.hardlink:
            os.link(os.fsencode(top / entry.hardlink), path)
        else:
            with open(path, "wb") as file:
                file.write(entry.data)


def _flattened(made: Content) -> list[Entry]:
    """All files of all classes beside one another, and nothing else."""
    return [entry for entries in made.classes.values() for entry in entries]


def _of_directories(made: Content) -> list[Entry]:
    return [e for wnid, entries in made.classes.items() for e in below(f"{wnid}/", entries)]


def _of_tars(choose: random.Random, made: Content) -> list[Entry]:
    return [Entry(f"{wnid}.tar", tar(choose, some)) for wnid, some in made.classes.items()]


def _put(root: Path, place: Place, suffix: str, data: bytes) -> Path:
    path = root / (place.archive + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def zip_of_directories(choose: random.Random, root: Path, place: Place, made: Content) -> Path:
    """One zip, a directory a class in it."""
    entries = [
        *(e for w, some in made.classes.items() for e in below(f"{w}/{place.within}", some)),
        *made.beside,
    ]
    path = root / (place.directory + ".zip")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zip_of(choose, below(made.above, entries)))
    return path


Pack = Callable[[random.Random, Path, Place, Content], Path]
"""Writes content as one kind of container; the path of that."""


def tar_of_tars(choose: random.Random, root: Path, place: Place, made: Content) -> Path:
    """One tar, a tar a class in it."""
    entries = below(made.above, [*_of_tars(choose, made), *made.beside])
    return _put(root, place, ".tar", tar(choose, entries))


def tar_of_directories(choose: random.Random, root: Path, place: Place, made: Content) -> Path:
    """One tar, a directory a class in it."""
    entries = below(made.above, [*_of_directories(made), *made.beside])
    return _put(root, place, ".tar", tar(choose, entries))


def flat_tar(choose: random.Random, root: Path, place: Place, made: Content) -> Path:
    """One tar of all images, whose names tell the classes."""
    return _put(root, place, ".tar", tar(choose, below(made.above, _flattened(made))))


def directory(choose: random.Random, root: Path, place: Place, made: Content) -> Path:
    """A directory of class directories."""
    top = root / place.directory / made.above
    for wnid, entries in made.classes.items():
        (top / wnid).mkdir(parents=True)
        write(top / wnid / place.within, entries)
    write(top, made.beside)
    return root / place.directory


def directory_of_tars(choose: random.Random, root: Path, place: Place, made: Content) -> Path:
    """A directory of class tars."""
    write(root / place.directory / made.above, [*_of_tars(choose, made), *made.beside])
    return root / place.directory


def flat_directory(choose: random.Random, root: Path, place: Place, made: Content) -> Path:
    """A directory of all images, whose names tell the classes."""
    unique = {entry.path: entry for entry in _flattened(made)}
    write(root / place.directory / made.above, list(unique.values()))
    return root / place.directory


def _parts(choose: random.Random, made: Content) -> list[Content]:
    """The classes in two parts."""
    wnids = list(made.classes)
    at = choose.randrange(1, len(wnids)) if len(wnids) > 1 else 1
    some = [{w: made.classes[w] for w in part} for part in (wnids[:at], wnids[at:]) if part]
    return [Content(part) for part in some]


def tar_of_tars_of_directories(
    choose: random.Random, root: Path, place: Place, made: Content
) -> Path:
    """One tar of tars, each with the directories of some classes."""
    parts = [
        Entry(f"part{k}.tar", tar(choose, below("some/", _of_directories(part))))
        for k, part in enumerate(_parts(choose, made))
    ]
    return _put(root, place, ".tar", tar(choose, below(made.above, [*parts, *made.beside])))


def tar_of_tars_of_tars(choose: random.Random, root: Path, place: Place, made: Content) -> Path:
    """One tar of tars, each with the tars of some classes; sometimes a level more."""
    parts = [
        Entry(f"part{k}.tar", tar(choose, below("some/", _of_tars(choose, part))))
        for k, part in enumerate(_parts(choose, made))
    ]
    if choose.random() < 0.5:
        parts = [Entry("all.tar", tar(choose, parts))]
    return _put(root, place, ".tar", tar(choose, below(made.above, [*parts, *made.beside])))


def flat_tar_of_tars(choose: random.Random, root: Path, place: Place, made: Content) -> Path:
    """One tar of tars of images, whose names tell the classes."""
    parts = [
        Entry(f"part{k}.tar", tar(choose, _flattened(part)))
        for k, part in enumerate(_parts(choose, made))
    ]
    return _put(root, place, ".tar", tar(choose, below(made.above, parts)))


def directory_of_tars_of(of: Callable[[random.Random, Content], list[Entry]]) -> Pack:
    """A directory of tars, each with some classes."""

    def pack(choose: random.Random, root: Path, place: Place, made: Content) -> Path:
        parts = [
            Entry(f"part{k}.tar", tar(choose, of(choose, part)))
            for k, part in enumerate(_parts(choose, made))
        ]
        write(root / place.directory / made.above, [*parts, *made.beside])
        return root / place.directory

    return pack


FORMS = {
    "zip of directories": Form(zip_of_directories, archived=False, zipped=True),
    "tar of tars": Form(tar_of_tars),
    "tar of directories": Form(tar_of_directories),
    "flat tar": Form(flat_tar, flat=True),
    "directory": Form(directory, archived=False),
    "directory of tars": Form(directory_of_tars),
    "flat directory": Form(flat_directory, archived=False, flat=True),
    "tar of tars of directories": Form(tar_of_tars_of_directories),
    "tar of tars of tars": Form(tar_of_tars_of_tars),
    "flat tar of tars": Form(flat_tar_of_tars, flat=True),
    "directory of tars of tars": Form(directory_of_tars_of(_of_tars), in_parts=True),
    "directory of tars of directories": Form(
        directory_of_tars_of(lambda _, made: _of_directories(made)), in_parts=True
    ),
}


# --- arrays ---------------------------------------------------------------------------------------

SIDES = (8, 16)


def arrays(choose: random.Random, root: Path, labels: Sequence[int]) -> None:
    """DownSampled/: the npz files of some sizes and splits, in batches, some labels of which are
    none of these, and what may lie beside them.
    """
    for side in choose.sample(SIDES, choose.randrange(1, len(SIDES) + 1)):
        for split in choose.sample(("train", "val"), choose.randrange(1, 3)):
            odd = choose.choice((f"Imagenet{side}_{split}_npz", f"imagenet{side}_{split}"))
            directory = root / "DownSampled" / odd
            directory.mkdir(parents=True)
            for number in choose.sample(range(1, 12), choose.randrange(1, 4)):
                _batch(choose, directory / f"{split}_data_batch_{number}.npz", side, labels)
            odd_ones = [
                ("._train_data_batch_1.npz", APPLE_DOUBLE),
                ("README.txt", b"read me"),
                (".DS_Store", b"\0\0\0\1Bud1"),
            ]
            for name, data in choose.sample(odd_ones, choose.randrange(3)):
                (directory / name).write_bytes(data)


def _batch(choose: random.Random, path: Path, side: int, labels: Sequence[int]) -> None:
    rows = choose.choice((1, 2, 7))
    made = np.random.default_rng(choose.getrandbits(32))
    data = made.integers(0, 256, (rows, 3 * side * side), dtype=np.uint8)
    own = [choose.choice((*labels, max(labels) + 7)) for _ in range(rows)]
    kind = choose.choice((np.int64, np.uint8, np.int32))
    np.savez(path, data=data, labels=np.array(own, dtype=kind))


# --- damage ---------------------------------------------------------------------------------------

BLOCK = 512


def _headers(data: bytes) -> list[int]:
    """Where the members' headers stand in a tar."""
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        return [member.offset for member in archive]


def _hole(choose: random.Random, data: bytes) -> bytes:
    """Zeros where a download in pieces has none of its bytes."""
    last = _headers(data)[-1]  # with nothing behind it, it would be the end of the tar
    if not last:
        return _broken_header(choose, data)
    start = choose.randrange(last // BLOCK) * BLOCK
    length = min(choose.randrange(1, 12) * BLOCK, last - start)
    damaged = data[:start] + bytes(length) + data[start + length :]
    for at, end in _tars_within(data):
        behind = (at + header for header in _headers(data[at:end]))
        if at <= start < end and not any(header >= start + length for header in behind):
            return _broken_header(choose, data)  # the same within: it would be that tar's end
    return damaged


def _tars_within(data: bytes, start: int = 0) -> Iterator[tuple[int, int]]:
    """Where the tars in a tar begin and end, and those in these."""
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        tars = [m for m in archive if m.isreg() and re.search(r"(?:^|/)[^./][^/]*\.tar$", m.name)]
    for member in tars:
        at, end = member.offset_data, member.offset_data + member.size
        yield start + at, start + end
        yield from _tars_within(data[at:end], start + at)


def _broken_header(choose: random.Random, data: bytes) -> bytes:
    """One header's checksum does not hold."""
    at = choose.choice(_headers(data)) + choose.randrange(100)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _cut(choose: random.Random, data: bytes) -> bytes:
    """The end is missing, from within a header or a file on; a tar may end behind a file."""
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        member = choose.choice(list(archive))
    places = [member.offset + choose.randrange(1, BLOCK)]
    if member.isreg() and member.size > 1:
        places.append(member.offset_data + choose.randrange(member.size))
    return data[: choose.choice(places)]


def _joined(choose: random.Random, data: bytes) -> bytes:
    """Another tar behind it, by cat."""
    wnid = choose.choice(WNIDS)
    more = tar(choose, [Entry(f"{wnid}/{wnid}_77.JPEG", _image(choose))])
    return data + more


DAMAGES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "hole": _hole,
    "broken header": _broken_header,
    "cut": _cut,
    "joined": _joined,
}


def damage(choose: random.Random, how: str, path: Path) -> Path | None:
    """Damage a tar, or one in a directory; the one that was, None where there is none."""
    tars = [path] if path.is_file() else sorted(path.rglob("[!.]*.tar"))
    tars = [one for one in tars if _headers(one.read_bytes())]
    if not tars:
        return None
    chosen = choose.choice(tars)
    chosen.write_bytes(DAMAGES[how](choose, chosen.read_bytes()))
    return chosen
