"""The kernel's side of the mount: its number, its limits, its end (/sys/fs/fuse/connections)."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from imagenetfs.errors import ImagenetfsError, NotMountedError
from imagenetfs.system import mounts

log = logging.getLogger(__name__)

READ_AHEAD_KB = 256
"""What a reader gets in one request, where we may say so (root); by default 128 KiB,
less than many an image.
"""

_READ_AHEAD = Path("/sys/class/bdi")
CONNECTIONS = Path("/sys/fs/fuse/connections")
FUSECTL_ADVICE = f"an administrator: mount -t fusectl none {CONNECTIONS}"


class Connection:
    """The connection of the mount that lies at ``mountpoint`` now."""

    def __init__(self, mountpoint: Path) -> None:
        self.entry = mounts.find_mount(mountpoint)
        device = self.entry.device if self.entry else "none"
        self._directory = CONNECTIONS / device.rpartition(":")[2]
        self._read_ahead = _READ_AHEAD / device / "read_ahead_kb"

    def raise_limits(self) -> None:
        """Let readers have more in one request, where the system lets us say so."""
        with contextlib.suppress(OSError):
            self._read_ahead.write_text(str(READ_AHEAD_KB))

    def detach(self) -> None:
        """Take the mount out of the mount table at once; open files stay readable."""
        if self.entry is None or not self.mounted():
            return
        with contextlib.suppress(NotMountedError):  # another process was quicker
            mounts.detach(self.entry, lazy=True)

    def unmount_if_free(self) -> None:
        """Unmount unless a process has a file or a working directory in the mount."""
        if self.entry is not None and self.mounted():
            try:
                mounts.detach(self.entry, lazy=False)
                log.info("the mount was not used for long: it is unmounted")
            except ImagenetfsError as error:
                log.info("unused for long, but not free: %s", error)

    def mounted(self) -> bool:
        """Whether this very mount is still in the mount table."""
        entry = self.entry
        return entry is not None and any(
            other.mount_id == entry.mount_id for other in mounts.read_table()
        )

    def abort(self) -> None:
        """End every request that is still waiting; needed only where a worker had to be killed."""
        try:
            (self._directory / "abort").write_text("1")
        except OSError as error:
            advice = f" ({FUSECTL_ADVICE})" if mounts.find_mount(CONNECTIONS) is None else ""
            log.info("the connection could not be aborted: %s%s", error.strerror, advice)
