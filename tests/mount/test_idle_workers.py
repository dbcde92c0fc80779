"""A mount that is left alone keeps one worker, and is as good as before
when somebody comes back.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.helpers.bench import until
from tests.helpers.children import children_of
from tests.helpers.mounts import Mount, Mounted

pytestmark = pytest.mark.timeout(120)

# The pool's own times are ten seconds and a minute;
# tests/unit/server/test_worker_pool.py has those.
QUICKLY = {
    "imagenetfs.server.supervisor:_IDLE_TICK": 0.05,
    "imagenetfs.server.worker_pool:_IDLE_SECONDS": 1.0,
    "imagenetfs.server.worker_pool:_QUIET_SECONDS": 1.5,
}


def workers(mounted: Mounted) -> list[int]:
    """The server's children that serve, from /proc: a look through the
    mount would be a use of it.
    """
    pid = mounted.process.pid
    return [child for child in children_of(pid) if is_worker(child)]


def is_worker(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "imagenetfs-work"
    except OSError:
        return False


def test_one_worker_is_left(sample: Path, mount: Mount) -> None:
    mounted = mount(sample, constants=QUICKLY)
    assert until(lambda: len(workers(mounted)) >= 2)
    assert until(lambda: len(workers(mounted)) == 1)
    kept = workers(mounted)
    time.sleep(1.0)
    assert workers(mounted) == kept, "and stays"
    image = next((mounted.root / "train").rglob("*.JPEG"))
    assert len(image.read_bytes()) == image.stat().st_size
    assert until(lambda: len(workers(mounted)) >= 2), "others come back with the work"
