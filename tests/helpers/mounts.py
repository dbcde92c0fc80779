"""Mounts for tests: a server in a process of its own, started and always taken away.

That process is a child of the fork server, or ``python -m tests.helpers.mounts PLAN`` where it
needs an interpreter of its own; it serves in the foreground and prints READY.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.helpers import forkserver, log_watch
from tests.helpers.bench import settled
from tests.helpers.forkserver import REPOSITORY, Constants

if TYPE_CHECKING:
    from imagenetfs.server.mount_plan import MountPlan

READY_SECONDS = 60.0
END_SECONDS = 20.0


@dataclass
class Mounted:
    """A running mount. ``log`` is the server's log file."""

    mountpoint: Path
    log: Path
    process: subprocess.Popen[str]
    warnings: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """ILSVRC2012 in the mount."""
        return self.mountpoint / "ILSVRC2012"

    def status(self) -> dict[str, Any]:
        """status.json, read through the mount."""
        text = (self.mountpoint / ".imagenetfs" / "status.json").read_text()
        status: dict[str, Any] = json.loads(text)
        return status

    def source_bytes(self) -> int:
        """Bytes read from the source, once that has settled."""
        return settled(lambda: int(self.status()["counters"]["source_bytes"]))

    def worker_pids(self) -> list[int]:
        """The processes that serve now."""
        return [worker["pid"] for worker in self.status()["workers"]]

    def close(self) -> int:
        """End the server; returns its exit code. Never leaves the mount behind."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            return self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()
            if mounts_below(self.mountpoint):
                detach(self.mountpoint)


Mount = Callable[..., Mounted]
"""The fixture ``mount``: ``mount(source, **plan)`` mounts for the rest of the test."""


def mounted(
    source: Path, mountpoint: Path, constants: Constants | None = None, **plan: object
) -> Mounted:
    """Start a server and wait until the mount can be read.

    Raises RuntimeError with what it said.
    """
    mountpoint.mkdir(parents=True, exist_ok=True)
    log = mountpoint.with_name(mountpoint.name + ".log")
    log_watch.watch(log)
    described = {
        "source": str(source),
        "mountpoint": str(mountpoint),
        "log_path": str(log),
        "index_dir": None,
        "workers": 8,
        "in_flight": None,
        "read_timeout": 60.0,
        **{name: str(v) if isinstance(v, Path) else v for name, v in plan.items()},
    }
    process = _start(json.dumps(described), constants)
    line = _first_line(process)
    if not line.startswith("READY "):
        process.kill()
        process.wait()
        detach(mountpoint)
        raise RuntimeError(line or log.read_text() if log.exists() else "the server said nothing")
    return Mounted(mountpoint, log, process, json.loads(line.removeprefix("READY ")))


def _start(plan: str, constants: Constants | None) -> subprocess.Popen[str]:
    server = forkserver.shared()
    if server.can_give(os.environ):
        return server.popen(
            "tests.helpers.mounts:main",
            [plan],
            constants=constants,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    assert not constants, "only a fork can have other constants"
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.mounts", plan],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=REPOSITORY,
    )


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    poller = select.poll()  # select() takes no descriptor above 1,023: many tests, many files
    poller.register(process.stdout, select.POLLIN)
    return process.stdout.readline() if poller.poll(1000 * READY_SECONDS) else ""


def mounts_below(directory: Path) -> list[str]:
    """The mountpoints at or below a directory, from the mount table (nothing is touched)."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        path = line.split()[4].encode().decode("unicode_escape")
        if path == str(directory) or path.startswith(f"{directory}/"):
            found.append(path)
    return found


def detach(mountpoint: Path) -> None:
    """Take a mount away, whatever state it is in."""
    subprocess.run(
        ["fusermount3", "-uz", str(mountpoint)], check=False, stderr=subprocess.DEVNULL, timeout=30
    )


def unmount_all(directory: Path) -> None:
    """Take every mount at or below a directory away."""
    for path in reversed(mounts_below(directory)):
        detach(Path(path))


def processes_marked(name: str, value: str, seconds: float = 5.0) -> list[str]:
    """Living processes whose environment has ``name=value``, this one and its parents left out.

    They are given ``seconds`` to end."""
    own, pid = set(), os.getpid()
    while pid > 1:
        own.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    wanted = f"{name}={value}".encode()

    def look() -> list[str]:
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int(directory.name) in own:
                    continue
                if wanted in (directory / "environ").read_bytes().split(b"\0"):
                    command = (directory / "cmdline").read_bytes().replace(b"\0", b" ")
                    found.append(f"{directory.name} {command.decode(errors='replace')[:200]}")
        return found

    return what_stays(look, seconds)  # what was told to end may need a moment


def what_stays(look: Callable[[], list[str]], seconds: float) -> list[str]:
    """What is still found after so many seconds; nothing, as soon as nothing is found."""
    deadline = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def below(root: Path) -> dict[str, bytes]:
    """Path below ``root`` -> bytes of every file."""
    return {
        os.path.relpath(Path(directory) / name, root): (Path(directory) / name).read_bytes()
        for directory, _, names in os.walk(root)
        for name in names
    }


def of_split(mounted: Mounted, split: str) -> dict[str, bytes]:
    """Class/image -> bytes of a split in a mount."""
    return below(mounted.mountpoint / split)


def main() -> None:
    """The server's process: its plan is the first argument."""
    _serve(json.loads(sys.argv[1]))


def _plan(described: dict[str, Any]) -> MountPlan:
    """A plan from one flat table; ``cache_dir``, ``cache_size`` and ``keep_free`` are its cache."""
    from dataclasses import fields

    from imagenetfs.cache.quota import CacheSetup, Limits
    from imagenetfs.server.mount_plan import MountPlan, ServerSettings

    paths = ("source", "mountpoint", "log_path", "index_dir", "cache_dir")
    given: dict[str, Any] = {
        k: Path(v) if k in paths and v is not None else v for k, v in described.items()
    }
    for name in ("fuse_options", "stage"):
        given[name] = tuple(given.get(name, ()))
    given["view"] = tuple((name, Path(path)) for name, path in given.pop("views", ()))
    limits = Limits(given.pop("cache_size", 0), given.pop("keep_free", 0))
    directory = given.pop("cache_dir", None)
    names = {field.name for field in fields(ServerSettings)} & given.keys()
    settings = ServerSettings(**{name: given.pop(name) for name in names})
    cache = None if directory is None else CacheSetup(directory, limits)
    return MountPlan(settings=settings, cache=cache, **given)


def _serve(described: dict[str, Any]) -> None:
    import logging

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    before = described.pop("before", None)
    plan = _plan(described)
    logging.basicConfig(
        filename=plan.log_path, level=logging.INFO, format="%(levelname)s %(message)s"
    )
    from imagenetfs.errors import ImagenetfsError
    from imagenetfs.server.supervisor import serve

    if before is not None:  # a test's own code, to break something in this process alone
        exec(before, {})
    try:
        serve(plan, ready=lambda w: print("READY", json.dumps(w), flush=True))
    except ImagenetfsError as error:
        print(f"ERROR {int(error.exit_code)} {error}", flush=True)
        sys.exit(int(error.exit_code))


if __name__ == "__main__":
    main()
