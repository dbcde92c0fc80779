"""What a source holds that cannot be served as it stands, and what to do about it: compressed tars,
tars in parts, a source one level too high or too low.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from imagenetfs.errors import (
    BrokenArchivesError,
    ImagenetfsError,
    SourceUnknownError,
    SourceUnreadableError,
)
from imagenetfs.source.source import Source
from imagenetfs.tree.discovery import ROOTS, Discovery
from imagenetfs.tree.locate import holds_split
from imagenetfs.tree.peek import plain_name, sentence_of_compressed

_HUGGING_FACE = re.compile(rb"(train_images_\d+|val(idation)?_images|test_images)\.tar(\.gz)?")
_LAYOUTS = "docs/layouts.md has what is accepted"
_MOST_NAMED = 8


def unusable(found: Discovery, source: Path) -> Iterator[str]:
    """Sentences on what is there and not served as it stands. What is there as a plain tar too is
    no loss.
    """
    shards = [path for path in found.compressed if _HUGGING_FACE.fullmatch(_last(path))]
    if shards:
        yield _of_shards(source, shards)
    others = [path for path in found.compressed if path not in shards]
    for path in others:
        plain = plain_name(path)
        if plain == path or plain not in found.numbers:
            yield sentence_of_compressed(source, path, found.compressed[path])
    for path, inside in found.wrapped.items():
        where = shlex.quote(str((source / os.fsdecode(path)).parent))
        held = " and ".join(os.fsdecode(name) for name in inside)
        command = f"cd {where} && tar -xf {shlex.quote(os.fsdecode(_last(path)))}"
        yield (
            f"{os.fsdecode(path)} holds {held}: a tar of tars of tars is not read. Unpack it once, "
            f"but not what is in it ({command})."
        )
    for path, names in found.parts.items():
        parts = " ".join(shlex.quote(os.fsdecode(name)) for name in _in_order(names))
        directory = shlex.quote(str(source / os.fsdecode(path.rpartition(b"/")[0])))
        whole = shlex.quote(os.fsdecode(_last(path)))
        yield (
            f"{os.fsdecode(path)} is there in {len(names)} parts, which are not read as one: put "
            f"them together once (cd {directory} && cat {parts} > {whole})."
        )


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
    told = [*unusable(found, source.path), *_elsewhere(source, found)]
    if told:
        return SourceUnknownError(f"{nothing}. {' '.join(told)}")
    return SourceUnknownError(
        f"{nothing}: {_seen(found)}. Give the directory that holds ILSVRC2012/ and the others, or "
        f"the tars themselves ({_LAYOUTS})."
    )


def _elsewhere(source: Source, found: Discovery) -> Iterator[str]:
    """The directories around that hold something: which to give instead."""
    several = [told for told in found.warnings if "give one of them" in told]
    yield from several
    if several:
        return
    below = [path for path in found.names if path and _holds_something(found, path)]
    if below:
        paths = " or ".join(str(source.path / os.fsdecode(path)) for path in sorted(below)[:3])
        yield f"But {paths} does: give that."
        return
    if any(pattern.fullmatch(os.fsencode(source.path.parent.name)) for pattern in ROOTS):
        yield (
            f"It is a part of {source.path.parent}: give that, or {source.path.parent.parent}, "
            "which holds all versions."
        )


def _holds_something(found: Discovery, path: bytes) -> bool:
    names = found.directories(path)
    return holds_split(found, path) or any(p.fullmatch(name) for p in ROOTS for name in names)


def _seen(found: Discovery) -> str:
    """What stands in the source, in words."""
    names = [
        os.fsdecode(name) + ("/" if is_directory else "") for name, is_directory in found.names[b""]
    ]
    if not names:
        return "it is empty"
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return f"it has {', '.join(names[:_MOST_NAMED])}{more}"
