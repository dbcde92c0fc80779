"""A machine of its own for systemd's units: this one's systemd as PID 1 of namespaces, see boot.sh.

Its / is a copy of ours that lies in memory; /tmp, /run, /var/tmp, /dev are its
own; its network is empty.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.helpers.forkserver import REPOSITORY
from tests.jobs.needs import CGROUP2

BOOT_SECONDS = 60.0


class Machine:
    """Boot with the constructor, end with :meth:`close`.

    ``files``: path in the machine -> content.
    """

    def __init__(self, directory: Path, source: Path, files: dict[str, str]) -> None:
        root = directory / "root"
        root.mkdir()
        for name, content in files.items():
            path = Path(f"{root}.files") / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o755 if content.startswith("#!") else 0o644)
        self._group = _cgroup2() / f"imagenetfs-{os.getpid()}"
        self._group.mkdir()
        self._console = (directory / "console").open("wb")
        words = [
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--cgroup",
        ]
        boot = [*words, "bash", str(Path(__file__).with_name("boot.sh")), str(root), str(source)]
        into_group = f"echo $$ > {self._group}/cgroup.procs && exec " + ' "$@"'
        self._process = subprocess.Popen(
            ["sh", "-c", into_group, "sh", *boot],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=self._console,
        )
        try:
            self._wait_until_up()
        except BaseException:
            self.close()
            raise

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while self.call("systemctl", "is-active", "basic.target").stdout.strip() != "active":
            is_over = self._process.poll() is not None
            if is_over or time.monotonic() > deadline:
                raise RuntimeError(Path(self._console.name).read_text(errors="replace")[-4000:])
            time.sleep(0.2)

    @property
    def _init(self) -> int | None:
        """systemd's process, once it is there (its number is another within)."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            return int(children.read_text().split()[0])
        except (OSError, IndexError):
            return None

    def call(
        self, *words: object, seconds: float = 60.0, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine, as root."""
        front = ["nsenter", "-t", str(self._init or 0), "-m", "-p", "-n", "-i", "-u", "-C"]
        return subprocess.run(
            [*front, *map(str, words)],
            env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **environ},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """What systemctl shows of a unit."""
        shown = self.call("systemctl", "show", unit, f"--property={','.join(names)}").stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    def mounts(self) -> list[str]:
        """The mountpoints of imagenetfs there."""
        table = self.call("cat", "/proc/self/mountinfo").stdout.splitlines()
        return [line.split()[4] for line in table if " - fuse.imagenetfs " in line]

    def close(self) -> None:
        """End it: with its first process the kernel ends all others."""
        self._process.kill()
        self._process.wait()
        self._console.close()
        for _ in range(100):
            for group, _, _ in os.walk(self._group, topdown=False):
                try:
                    os.rmdir(group)
                except OSError:
                    time.sleep(0.05)
            if not self._group.exists():
                break


def _cgroup2() -> Path:
    for path in CGROUP2:
        if (path / "cgroup.procs").exists():
            return path
    raise RuntimeError("no control groups of version 2 are mounted here")


def launcher() -> str:
    """A command ``imagenetfs`` for the machine, which has this repository where it is here."""
    return f'#!/bin/sh\ncd /\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m imagenetfs "$@"\n'


assert shutil.which("nsenter"), "util-linux is needed"
