"""One key a mountpoint, one holder a lock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagenetfs.errors import StillBusyError
from imagenetfs.job.mount_paths import MountPaths, locked


def test_one_key_a_mountpoint(tmp_path: Path) -> None:
    keys = {MountPaths(Path(path), tmp_path).key for path in ("/a", "/b", "/a/b")}
    assert len(keys) == 3
    assert all(len(key) == 16 for key in keys)


def test_one_holder_at_a_time(place: MountPaths) -> None:
    with locked(place), pytest.raises(StillBusyError, match="/mnt/x"), locked(place, 0.05):
        pass
    with locked(place, 0.05):
        pass


def test_a_child_keeps_the_lock_until_it_unlocks(place: MountPaths) -> None:
    ready, go = os.pipe(), os.pipe()
    with locked(place) as lock:
        child = os.fork()
        if child == 0:
            os.read(go[0], 1)
            lock.release()
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            os._exit(0)
    with pytest.raises(StillBusyError), locked(place, 0.05):
        pass
    os.write(go[1], b"x")
    os.read(ready[0], 1)
    # Given back, though the child still has the descriptor open.
    with locked(place, 0.05):
        pass
    os.write(go[1], b"x")
    os.waitpid(child, 0)
    for fd in (*ready, *go):
        os.close(fd)
