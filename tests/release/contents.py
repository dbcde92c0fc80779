"""What a distribution must hold, looked up in the wheel and in the archive of sources."""

from __future__ import annotations

import email
import email.message
import re
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from imagenetfs.cli.man_page import man_pages

SHARE = "share/doc/imagenetfs/"
"""Where pages, job scripts and units are below an environment, as they are in the repository."""

MAN = "share/man/man1/"
"""Where the man pages are."""

INSTALLED = ("README.md", "CHANGELOG.md", "LICENSE", "docs", "systemd")
FIELDS = ("Name", "Version", "Summary", "Author", "License-Expression", "Requires-Python")
_KINDS = ("Development Status", "Intended Audience", "Operating System", "Programming Language")


def metadata(wheel: Path) -> email.message.Message:
    """The wheel's METADATA."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return email.message_from_string(archive.read(name).decode())


def metadata_lacks(found: email.message.Message) -> list[str]:
    """What of the metadata is missing."""
    lacks = [field for field in FIELDS if not found[field]]
    classifiers = found.get_all("Classifier", [])
    lacks += [
        f"Classifier {kind}"
        for kind in _KINDS
        if not any(line.startswith(kind) for line in classifiers)
    ]
    if not found.get_all("Project-URL"):
        lacks.append("Project-URL")
    if not str(found.get_payload()).startswith("# imagenetfs"):
        lacks.append("the description (README.md)")
    return lacks


def has_repository(found: email.message.Message) -> bool:
    """Whether a link of the metadata leads to the source."""
    labels = [line.partition(",")[0].lower() for line in found.get_all("Project-URL", [])]
    return any(label in ("repository", "source", "source code", "homepage") for label in labels)


def wheel_lacks(names: Iterable[str], tracked: Iterable[str]) -> list[str]:
    """Which of the repository's files are not in the wheel: the package whole, and INSTALLED."""
    there = set()
    for name in names:
        # NAME-VERSION.data/data/ is what an installation puts into the environment's root.
        there.add(re.sub(r"^[^/]+\.data/data/", "", name))
    lacks = []
    for path in tracked:
        top = path.partition("/")[0]
        if top == "imagenetfs":
            wanted = path
        elif top in INSTALLED:
            wanted = SHARE + path
        else:
            continue
        if wanted not in there:
            lacks.append(wanted)
    if not any(re.search(r"\.dist-info/(licenses/)?LICENSE$", name) for name in there):
        lacks.append("LICENSE")
    return lacks


def man_pages_lacking(names: Iterable[str]) -> list[str]:
    """Which man pages are not in the wheel: they are made when it is built."""
    there = {re.sub(r"^[^/]+\.data/data/", "", name) for name in names}
    return [page for name in man_pages("") if (page := MAN + name) not in there]


def wheel_names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def sdist_names(sdist: Path) -> list[str]:
    """The archive's files, without its first directory."""
    with tarfile.open(sdist) as archive:
        return [member.name.partition("/")[2] for member in archive if member.isfile()]


def has_section(changelog: str, version: str) -> bool:
    """Whether the changelog has a section of the version, with its date."""
    pattern = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$"
    return re.search(pattern, changelog, re.MULTILINE) is not None
