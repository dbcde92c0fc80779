"""A description as lines for people: name and value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imagenetfs.units import in_bytes

_MOST_FILES = 2


def lines_of(what: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The lines of one description of :class:`imagenetfs.library.describe.Describer`."""
    make = {"class": _of_class, "image": _of_image}.get(what["kind"], _of_splits)
    return [(name, value) for name, value in make(what) if value]


def _of_class(what: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "class", what["wnid"]
    yield "words", what["words"] or "not known: neither the devkit nor a words.txt has them"
    yield "meaning", what["gloss"]
    chain = [one["words"].partition(",")[0] or one["wnid"] for one in what["ancestors"]]
    yield "is a", " > ".join(chain)
    others = [f"{one['words']} ({one['wnid']})" for one in what["parents"][1:]]
    yield "and also a", ", ".join(others)
    yield "label", _labels(what["labels"])
    if what["devkit_id"] is not None:
        yield "devkit's id", str(what["devkit_id"])
    for one in what["splits"]:
        if "problem" in one:
            yield one["split"], one["problem"]
        else:
            yield one["split"], f"{_images(one['images'])} from {_files(one['from'])}"


def _of_image(what: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "image", what["name"]
    if what["wnid"]:
        yield "class", f"{what['wnid']}  {what['words']}".rstrip()
        yield "label", _labels(what["labels"])
    yield "size", _size(what)
    yield "from", what["file"]
    member = " > ".join(part for part in (what["inner"], what["member"]) if part)
    yield "member", member if member != what["file"] else ""
    if what["offset"]:
        yield "at byte", f"{what['offset']:,}"


def _size(what: Mapping[str, Any]) -> str:
    parts = [what["format"] or "no image that is known"]
    if what["width"]:
        parts.append(f"{what['width']} x {what['height']} pixels")
    parts += [what["mode"]] if what["mode"] else []
    return ", ".join([*parts, f"{what['bytes']:,} bytes"])


def _of_splits(what: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield what["kind"], what["name"]
    for one in what["splits"]:
        name = one["split"] if what["kind"] == "version" else "holds"
        classes = f"{one['classes']:,} class{'es' * (one['classes'] != 1)}"
        size = f", {in_bytes(one['bytes'])}" if one["bytes"] is not None else ""
        yield name, f"{_images(one['images'])} in {classes}{size}"
        yield "from", one["from"]
        yield "labels from", ", ".join(one["labels_from"])
        for problem in one["problems"]:
            yield "problem", problem


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"


def _files(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_FILES:,} more" if len(names) > _MOST_FILES else ""
    return " and ".join(names[:_MOST_FILES]) + more


def _labels(labels: Mapping[str, int]) -> str:
    """By number: versions that agree in one."""
    by_label: dict[int, list[str]] = {}
    for version, label in labels.items():
        by_label.setdefault(label, []).append(version)
    return "; ".join(f"{label} in {', '.join(names)}" for label, names in by_label.items())
