"""``-o opt,opt``: what mount(8), fstab and libfuse's users write."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from imagenetfs.config import table
from imagenetfs.errors import UsageError

# What mount(8) hands on or fstab holds, and what says nothing to a read-only mount of ours.
_IGNORED_WORDS = """
    ro dev nodev suid nosuid exec noexec sync async _netdev default_permissions
    atime noatime relatime norelatime strictatime diratime nodiratime lazytime nolazytime
    auto noauto nofail user users nouser owner group defaults
"""
_IGNORED = frozenset(_IGNORED_WORDS.split())
_IGNORED_PREFIXES = ("x-", "X-", "comment=", "uhelper=", "helper=")

_READ_ONLY_NOTE = "mounted read-only, although `rw` was asked for: there is nothing to write to."

# Others may only come in where the kernel checks the mode bits of each file for them: without
# that one user could read another's 0600 file.
_FUSE_OPTIONS = {
    "allow_other": ("allow_other", "default_permissions"),
    "allow_root": ("allow_root", "default_permissions"),
}


@dataclass(slots=True)
class MountOptions:
    """What ``-o`` asked for: libfuse's options, our settings by name, and notes for the user."""

    fuse: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    foreground: bool = False
    notes: list[str] = field(default_factory=list)


def parse(texts: Iterable[str]) -> MountOptions:
    """Sort out any number of ``-o`` lists; raises UsageError that names what is not known."""
    options = MountOptions()
    unknown = []
    for option in (option for text in texts for option in _split(text)):
        if not _take(option, options):
            unknown.append(option)
    if unknown:
        known = ", ".join(["allow_other", "allow_root", "foreground", *_our_names()])
        raise UsageError(
            f"Unknown mount option: {', '.join(unknown)}. Of our own there are {known}."
        )
    if "allow_other" in options.fuse and "allow_root" in options.fuse:
        raise UsageError("The mount options allow_other and allow_root exclude each other.")
    return options


def _our_names() -> list[str]:
    return [entry.name for entry in table() if entry.name not in ("run_dir", "namespace")]


def _split(text: str) -> list[str]:
    r"""At commas, but for those written ``\,`` (libfuse's way to put one into a path)."""
    pieces = re.split(r"(?<!\\),", text)
    return [piece.replace("\\,", ",").strip() for piece in pieces if piece.strip()]


def _take(option: str, options: MountOptions) -> bool:
    """Note one option; False if it is not known."""
    name, has_value, value = option.partition("=")
    setting = name.replace("-", "_")
    if option in _IGNORED or option.startswith(_IGNORED_PREFIXES):
        return True
    if option == "rw":
        options.notes.append(_READ_ONLY_NOTE)
    elif option in _FUSE_OPTIONS:
        options.fuse.extend(extra for extra in _FUSE_OPTIONS[option] if extra not in options.fuse)
    elif option == "foreground":
        options.foreground = True
    elif has_value and setting in _our_names():
        options.settings[setting] = value
    else:
        return False
    return True
