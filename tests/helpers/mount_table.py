"""A mount table of a test's own, in the place of the kernel's: mounts that are nowhere mounted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagenetfs.config import Settings, resolve
from imagenetfs.system import mounts
from imagenetfs.system.mounts import OUR_TYPE, MountEntry


class MountTable:
    """Lines of mountinfo in a file.

    Which ``imagenetfs.system.mounts`` reads for the rest of the test.
    """

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = directory / "mountinfo"
        self._lines: dict[str, str] = {"/": "1 0 0:1 / / rw - ext4 /dev/x rw"}
        self._next = 900_000
        monkeypatch.setattr(mounts, "MOUNT_TABLE", self._path)
        self._write()

    def add(
        self,
        mountpoint: Path | str,
        fstype: str = OUR_TYPE,
        source: str = "/datashare",
        options: str | None = None,
    ) -> MountEntry:
        """A mount at this place; by default one of ours, made by this user under this group."""
        if options is None:
            options = f"ro,user_id={os.geteuid()},group_id={os.getegid()}"
        self._next += 1
        self._lines[str(mountpoint)] = (
            f"{self._next} 1 0:{self._next} / {mountpoint} rw - {fstype} {source} {options}"
        )
        self._write()
        return mounts.parse_line(self._lines[str(mountpoint)])

    def remove(self, entry: MountEntry) -> None:
        """The mount leaves the table."""
        del self._lines[entry.mountpoint]
        self._write()

    def _write(self) -> None:
        self._path.write_text("\n".join(self._lines.values()) + "\n")


def settings_with(**options: object) -> Settings:
    """The settings of a command with these options, without the caller's variables."""
    return resolve(options, {})
