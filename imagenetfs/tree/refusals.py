"""What a source holds that cannot be served as it stands, and what to do about it: compressed tars,
tars in parts, a source one level too high or too low.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from imagenetfs.errors import (
    BrokenArchivesError,
    ImagenetfsError,
    SourceUnknownError,
    SourceUnreadableError,
)
from imagenetfs.index.archives import is_tar_name, tar_stem
from imagenetfs.index.table_builder import join_path
from imagenetfs.source.source import Source
from imagenetfs.tree.discovery import CLASS, DEVKIT, ROOTS, Discovery
from imagenetfs.tree.locate import holds_split
from imagenetfs.tree.peek import (
    plain_name,
    sentence_of_compressed,
    sentence_of_compressed_classes,
    unpack_command,
)

_HUGGING_FACE = re.compile(rb"(train_images_\d+|val(idation)?_images|test_images)\.tar(\.gz)?")
_LAYOUTS = "docs/layouts.md has what is accepted"
_MOST_NAMED = 8


def unusable(found: Discovery, source: Path) -> Iterator[str]:
    """Sentences on what is there and not served as it stands. What is there as a plain tar too is
    no loss.
    """
    yield from _compressed(found, source)
    for path, inside in found.wrapped.items():
        held = _some(inside)
        yield (
            f"{os.fsdecode(path)} holds {held}, and no split is read from there. Unpack it once, "
            f"but not what is in it ({_unpack_command(source, path)})."
        )
    for path, inside in found.deflated.items():
        if path not in found.wrapped:
            yield (
                f"{os.fsdecode(path)} holds {len(inside):,} archives of classes that are deflated "
                f"in it (first: {os.fsdecode(inside[0])}), and images cannot be read from the "
                f"middle of these: unpack it once ({_unpack_command(source, path)})."
            )
    for path, names in found.parts.items():
        yield _of_parts(source, path, names)
    yield from _of_shards_unpacked(found, source)
    yield from _of_unfinished(found)
    yield from _of_class_names(found, source)
    yield from _of_other_formats(found, source)
    yield from _of_other_forms(found, source)
    yield from _of_versions(found)


def _some(names: Sequence[bytes]) -> str:
    shown = [os.fsdecode(name) for name in names[:_MOST_NAMED]]
    more = [f"{len(names) - _MOST_NAMED:,} more"] if len(names) > _MOST_NAMED else []
    return " and ".join([*shown, *more])


def _unpack_command(source: Path, path: bytes) -> str:
    """What unpacks a tar or zip where it stands."""
    where = shlex.quote(str((source / os.fsdecode(path)).parent))
    name = shlex.quote(os.fsdecode(_last(path)))
    return f"cd {where} && {f'tar -xf {name}' if is_tar_name(path) else f'unzip {name}'}"


def _compressed(found: Discovery, source: Path) -> Iterator[str]:
    shards = [path for path in found.compressed if _HUGGING_FACE.fullmatch(_last(path))]
    if shards:
        yield _of_shards(source, shards)
    of_classes: dict[tuple[bytes, str, bytes], list[bytes]] = {}
    for path in found.compressed:
        plain = plain_name(path)
        if path in shards or (plain != path and plain in found.numbers):
            continue
        directory, _, name = path.rpartition(b"/")
        if CLASS.fullmatch(tar_stem(_last(plain))) and plain != path:
            ending = name[len(tar_stem(_last(plain))) :]
            of_classes.setdefault((directory, found.compressed[path], ending), []).append(name)
        else:
            yield sentence_of_compressed(source, path, found.compressed[path])
    for (directory, how, ending), names in of_classes.items():
        yield sentence_of_compressed_classes(source, directory, names, how, ending)


def _of_parts(source: Path, path: bytes, names: Sequence[bytes]) -> str:
    parts = " ".join(shlex.quote(os.fsdecode(name)) for name in _in_order(names))
    directory = shlex.quote(str(source / os.fsdecode(path.rpartition(b"/")[0])))
    whole = shlex.quote(os.fsdecode(_last(path)))
    command = unpack_command(path)
    then = f" && {command} {whole}" if command else ""
    return (
        f"{os.fsdecode(path)} is there in {len(names)} parts, which are not read as one: put "
        f"them together once (cd {directory} && cat {parts} > {whole}{then})."
    )


_SHARD = re.compile(rb"(?P<split>train|val|test)(idation)?_images(?P<number>_\d+)?(\.tar)?")


def _of_shards_unpacked(found: Discovery, source: Path) -> Iterator[str]:
    """On Hugging Face's archives of ILSVRC2012, no longer compressed, or unpacked each."""
    for path, names in found.names.items():
        shards = {name: m for name, _ in names if (m := _SHARD.fullmatch(name)) is not None}
        if not any(match["split"] == b"train" and match["number"] for match in shards.values()):
            continue
        moves = []
        for split in ("train", "val", "test"):
            some = sorted(name for name, m in shards.items() if m["split"] == split.encode())
            if some:
                files = " ".join(shlex.quote(os.fsdecode(name)) for name in some)
                moves.append(f"mkdir -p ILSVRC2012/{split} && mv {files} ILSVRC2012/{split}")
        where = shlex.quote(str(source / os.fsdecode(path)))
        yield (
            f"{os.fsdecode(path) or source} has Hugging Face's parts of ILSVRC2012, whose images' "
            f"names tell the classes: put those of each split together (cd {where} && "
            f"{' && '.join(moves)})."
        )


_NEARLY_CLASS = re.compile(rb"n\d{8}(?![\d.]).*", re.IGNORECASE | re.DOTALL)


def _of_class_names(found: Discovery, source: Path) -> Iterator[str]:
    """On what is nearly called as a class: directories of wnid and words, files without ending."""
    for path in sorted({*found.names, *found.listed}):
        names = {*found.names.get(path, ()), *found.listed.get(path, ())}
        where = shlex.quote(str(source / os.fsdecode(path)))
        title = os.fsdecode(path) or str(source)
        nearly = sorted(
            name
            for name, is_directory in names
            if is_directory and _NEARLY_CLASS.fullmatch(name) and not CLASS.fullmatch(name)
        )
        if nearly:
            some = "1 directory" if len(nearly) == 1 else f"{len(nearly):,} directories"
            yield (
                f"{title} has {some} called nearly as a class (first: {os.fsdecode(nearly[0])}): a "
                f"class is called by its WordNet id alone. Rename once (cd {where} && for d in "
                '[nN]????????*; do mv -nT "$d" "n${d:1:8}"; done).'
            )
        files = sorted(n for n, is_directory in names if not is_directory and CLASS.fullmatch(n))
        if files:
            some = "1 file" if len(files) == 1 else f"{len(files):,} files"
            yield (
                f"{title} has {some} called as classes and without an ending (first: "
                f"{os.fsdecode(files[0])}). If they are tars, say so in their names (cd {where} && "
                'for f in n????????; do [ -f "$f" ] && mv -n "$f" "$f.tar"; done).'
            )


def _of_unfinished(found: Discovery) -> Iterator[str]:
    """On downloads that were not finished."""
    for path in found.unfinished:
        whole, _, ending = path.rpartition(b".")
        name = os.fsdecode(path)
        if ending.lower() == b"aria2":
            yield (
                f"{name}: aria2c has not finished {os.fsdecode(whole)}, which has its full length "
                "and holes: finish it (aria2c -c with its address)."
            )
        else:
            yield (
                f"{name} is a download that was not finished, and not read: finish it, or fetch "
                "it again (wget -c with its address)."
            )


_OTHER_FORMS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb".*\.parquet", re.I), "Parquet, as Hugging Face's datasets have it"),
    (re.compile(rb".*\.arrow", re.I), "Arrow, as save_to_disk of Hugging Face's datasets writes"),
    (re.compile(rb".*\.tfrecords?|\w+-\d{5}-of-\d{5}", re.I), "TFRecords"),
    (re.compile(rb"data\.mdb|.*\.l?mdb", re.I), "LMDB"),
    (re.compile(rb".*\.rec", re.I), "MXNet's RecordIO"),
    (re.compile(rb".*\.beton", re.I), "FFCV's"),
    (re.compile(rb".*\.(hdf5|h5)", re.I), "HDF5"),
    (re.compile(rb"(train|val)_data(_batch_\d+)?(\.pkl)?", re.I), "pickles of DownSampled"),
)
"""Names of files that are data sets in other forms, and what they are."""

_NPZ_ZIP = re.compile(rb"imagenet(8|16|32|64)_(train|val).*npz.*\.zip", re.IGNORECASE)


def _of_other_forms(found: Discovery, source: Path) -> Iterator[str]:
    """On data sets in forms of which no image can be read, in directories without anything else."""
    told: set[str] = set()
    for directory in sorted({*found.names, *found.listed}):
        names = [*found.names.get(directory, ()), *found.listed.get(directory, ())]
        files = [name for name, is_directory in names if not is_directory]
        for pattern, what in _OTHER_FORMS:
            some = sorted(set(filter(pattern.fullmatch, files)))
            if not some or what in told:
                continue
            told.add(what)
            where = os.fsdecode(join_path(directory, some[0]))
            advice = (
                "fetch the npz form (Imagenet32_train_npz.zip) and unzip it"
                if "pickles" in what
                else "the same images as tars, zips or directories of classes are"
            )
            yield (
                f"{where}{f' and {len(some) - 1:,} more' if len(some) > 1 else ''}: images in this "
                f"form ({what}) are not read; {advice}."
            )
        for name in filter(_NPZ_ZIP.fullmatch, files):
            where = shlex.quote(str(source / os.fsdecode(directory)))
            yield (
                f"{os.fsdecode(join_path(directory, name))} is not read as a zip: unpack it once "
                f"into a directory of its name (cd {where} && unzip -d "
                f"{shlex.quote(os.fsdecode(name[:-4]))} {shlex.quote(os.fsdecode(name))})."
            )


_OTHER_FORMATS = {b".7z": "7z x", b".rar": "unrar x"}
_OF_IMAGENET = re.compile(
    rb"n\d{8}|.*(imagenet|image[-_]net|ilsvrc|winter_?21|fall_?11).*|train\w*|val\w*|test\w*|archive",
    re.IGNORECASE,
)


def _of_other_formats(found: Discovery, source: Path) -> Iterator[str]:
    """On archives of formats from which no single file can be read."""
    for directory, names in found.names.items():
        for name, is_directory in names:
            stem, dot, ending = name.rpartition(b".")
            command = _OTHER_FORMATS.get((dot + ending).lower())
            if command is None or is_directory or not _OF_IMAGENET.fullmatch(stem):
                continue
            where = shlex.quote(str(source / os.fsdecode(directory)))
            path = os.fsdecode(join_path(directory, name))
            yield (
                f"{path} is an archive of a kind that is not read ({os.fsdecode(ending)}): unpack "
                f"it once (cd {where} && {command} {shlex.quote(os.fsdecode(name))})."
            )


def _of_versions(found: Discovery) -> Iterator[str]:
    """On what is called as a version's directory, and is not where that version is read from."""
    for pattern in ROOTS:
        root = found.root(pattern)
        for name in found.directories(found.base):
            path = join_path(found.base, name)
            if not pattern.fullmatch(name) or root is None or not found.names.get(path):
                continue
            names = [*found.files(path), *found.directories(path)]
            is_kit = any(map(DEVKIT.fullmatch, names)) and not holds_split(found, path)
            if root != path and not root.startswith(path + b"/") and not is_kit:
                yield (
                    f"{os.fsdecode(path)} is not used: {os.fsdecode(root)} is taken for the same "
                    "version. Put what belongs together into one directory."
                )
        for name in found.files(found.base):
            if pattern.fullmatch(name):
                shown = os.fsdecode(join_path(found.base, name))
                yield f"{shown} is no directory, but a file or a link that leads nowhere."


def _in_order(names: Iterable[bytes]) -> list[bytes]:
    """The pieces of an archive in the order of their numbers (x.tar.2 before x.tar.10), else of
    their letters.
    """
    parts = {name: re.split(rb"(\d+)", name) for name in names}
    return sorted(
        parts, key=lambda name: [(int(p), p) if p.isdigit() else (0, p) for p in parts[name]]
    )


def _last(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _of_shards(source: Path, shards: list[bytes]) -> str:
    files = [shlex.quote(str(source / os.fsdecode(path))) for path in sorted(shards)]
    names = ", ".join(os.fsdecode(path) for path in sorted(shards))
    commands = []
    for split, prefix in (("train", "train_"), ("val", "val"), ("test", "test_")):
        some = [
            file
            for file, path in zip(files, sorted(shards), strict=True)
            if _last(path).startswith(prefix.encode())
        ]
        if some:
            commands.append(
                f'mkdir -p ILSVRC2012/{split} && for f in {" ".join(some)}; do tar -xzf "$f" '
                f"-C ILSVRC2012/{split}; done"
            )
    return (
        f"{names}: these are Hugging Face's archives of ILSVRC2012, compressed; unpack them once, "
        f"where there is room ({'; '.join(commands)}), and give the directory that then holds "
        "ILSVRC2012. Their images' names tell the classes."
    )


def nothing_known(source: Source, found: Discovery) -> ImagenetfsError:
    """Why no version is shown: what cannot be read or is broken, or what the directory is instead,
    and what to give.
    """
    if found.lost:
        broken = any(isinstance(error, BrokenArchivesError) for error in found.lost)
        kind = BrokenArchivesError if broken else SourceUnreadableError
        return kind(f"{source.path} shows nothing: {' '.join(map(str, found.lost))}")
    nothing = f"{source.path} holds no version of ImageNet that is known here"
    told = [_sentence(warning) for warning in found.warnings]
    instead = [*unusable(found, source.path), *_elsewhere(source, found)]
    # A closed directory beside says nothing of what to give.
    if instead or (told and not found.refused):
        return SourceUnknownError(f"{nothing}. {' '.join(dict.fromkeys([*told, *instead]))}")
    seen = f". {' '.join(dict.fromkeys(told))}" if told else f": {_seen(found)}."
    return SourceUnknownError(
        f"{nothing}{seen} Give the directory that holds ILSVRC2012/ and the others, or "
        "the tars themselves; classes are directories or tars that are called as n01440764 is "
        f"({_LAYOUTS})."
    )


def _sentence(text: str) -> str:
    """A warning as a sentence among others."""
    plain = ("the ", "several ", "you ")
    return text[:1].upper() + text[1:] if text.startswith(plain) else text


def _elsewhere(source: Source, found: Discovery) -> Iterator[str]:
    """The directories around that hold something: which to give instead."""
    if any("give one of them" in told for told in found.warnings):
        return
    roots = map(found.root, ROOTS)
    tried = {found.base, *(join_path(found.base, n) for n in found.directories(found.base))}
    tried |= {root for root in roots if root is not None}
    below = [
        path
        for path in found.names
        if path not in tried and _holds_something(found, path) and not _is_in_zip(found, path)
    ]
    if below:
        paths = " or ".join(str(source.path / os.fsdecode(path)) for path in sorted(below)[:3])
        yield f"But {paths} does: give that."
        return
    if any(pattern.fullmatch(os.fsencode(source.path.parent.name)) for pattern in ROOTS):
        yield (
            f"It is a part of {source.path.parent}: give that, or {source.path.parent.parent}, "
            "which holds all versions."
        )


def _is_in_zip(found: Discovery, path: bytes) -> bool:
    return found.unpacked is not None and found.unpacked.directory(path) is not None


def _holds_something(found: Discovery, path: bytes) -> bool:
    names = found.directories(path)
    return holds_split(found, path) or any(p.fullmatch(name) for p in ROOTS for name in names)


def _seen(found: Discovery) -> str:
    """What stands in the source, in words: of a directory that stands alone what is in it."""
    shown, path = _names(found, b""), b""
    if not shown:
        return "it is empty, as a mountpoint is while nothing is mounted on this node"
    below = shown
    while len(below) == 1 and found.directories(path):
        path = join_path(path, found.directories(path)[0])
        below = _names(found, path)
        if below:
            shown = [f"{os.fsdecode(path)}/{name}" for name in below]
    more = f" and {len(shown) - _MOST_NAMED:,} more" if len(shown) > _MOST_NAMED else ""
    return f"it has {', '.join(shown[:_MOST_NAMED])}{more}"


def _names(found: Discovery, path: bytes) -> list[str]:
    every = found.names.get(path, ())
    return [os.fsdecode(name) + ("/" if is_directory else "") for name, is_directory in every]
