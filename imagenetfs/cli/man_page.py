"""Man pages, made when the package is built from manual.json beside this file.

Imports nothing of this package: where it is built, what it needs is not installed. The file holds
the pages of :mod:`imagenetfs.cli.manual`, and a test has it written anew when they change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PAGES_FILE = Path(__file__).with_name("manual.json")

_PROGRAM = "imagenetfs"
_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")

PageData = Mapping[str, Any]


def man_pages(version: str) -> dict[str, str]:
    """The text of each page by its file's name."""
    pages: Sequence[PageData] = json.loads(PAGES_FILE.read_text(encoding="utf-8"))
    return {f"{_name(page)}.1": "\n".join(_lines(page, pages, version)) + "\n" for page in pages}


def write_man_pages(directory: Path, version: str) -> list[Path]:
    """Write all pages into a directory; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in man_pages(version).items():
        path = directory / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def _name(page: PageData) -> str:
    return "-".join([_PROGRAM, *page["path"].split()])


def _lines(page: PageData, pages: Sequence[PageData], version: str) -> Iterator[str]:
    name = _name(page)
    yield f'.TH "{name.upper()}" "1" "" "{_PROGRAM} {version}" "User commands"'
    yield from (".nh", ".ad l")
    yield from (".SH NAME", f"{_plain(name)} \\- {_text(page['purpose'].rstrip('.'))}")
    yield from (".SH SYNOPSIS", _text(page["usage"]))
    yield ".SH DESCRIPTION"
    for text in (page["purpose"], *page["paragraphs"], *page["notes"]):
        yield from (".PP", _text(text))
    if page["commands"]:
        yield ".SH COMMANDS"
        for command, purpose in page["commands"]:
            yield from (".TP", f"\\fB{_plain(command)}\\fR", _text(purpose))
    for group, options in page["groups"]:
        yield f".SH {_plain(group.upper())}"
        for option in options:
            yield from (".TP", f"\\fB{_plain(option['title'])}\\fR", _text(option["text"]))
            if option["facts"]:
                yield from (".br", _text(option["facts"]))
    if page["examples"]:
        yield ".SH EXAMPLES"
        for what, command in page["examples"]:
            yield from (".PP", f"{_text(what)}:", ".PP", ".RS 4", ".nf")
            yield from (_plain(command), ".fi", ".RE")
    if page["exit_codes"]:
        yield ".SH EXIT STATUS"
        for code, meaning, todo in page["exit_codes"]:
            yield from (".TP", code, _text(f"{meaning}{'; ' if todo else ''}{todo}"))
    yield ".SH SEE ALSO"
    others = [_name(other) for other in pages if other is not page]
    near = [o for o in others if not page["path"] or o == _PROGRAM or o.startswith(f"{name}-")]
    yield ",\n".join(f"\\fB{_plain(other)}\\fR(1)" for other in near)


def _plain(text: str) -> str:
    """A text in which nothing is a request to the formatter, and hyphens can be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def _text(text: str) -> str:
    """A sentence; what is marked as code is bold, and of a link its title stays."""
    return _CODE.sub(r"\\fB\1\\fR", _plain(_LINK.sub(r"\1", text)))
