"""The test run in the surroundings that callers have: ``python -m tests.prove.surroundings``.

Each surrounding is one whole ``make test`` (``PYTEST_ARGS`` is handed on), or several joined by
``+`` in one: ``--only nohup+umask+zone``. One table at the end says how each went.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
_BUSY_LOOPS = 4
_USER = "nobody"


@dataclass
class Caller:
    """What a surrounding changes about the call of make."""

    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    words: list[str] = field(default_factory=lambda: ["make", "test"])
    before: str = ""
    """Words of a shell that come before the call."""

    directory: Path = REPOSITORY
    loops: int = 0
    beside: bool = False


def _nohup(caller: Caller) -> None:
    caller.words = ["nohup", *caller.words]


def _umask(caller: Caller) -> None:
    caller.before += "umask 077; "


def _bare(caller: Caller) -> None:
    kept = ("PATH", "PYTEST_ARGS")
    caller.environ = {k: v for k, v in caller.environ.items() if k in kept} | {"LANG": "C"}


def _zone(caller: Caller) -> None:
    caller.environ["TZ"] = "Asia/Kathmandu"


def _closed(caller: Caller) -> None:
    caller.before += "exec 0<&-; "


def _busy(caller: Caller) -> None:
    caller.loops = _BUSY_LOOPS


def _beside(caller: Caller) -> None:
    caller.beside = True


def _space(caller: Caller) -> None:
    """A clone whose path has a space; it installs what it needs."""
    caller.directory = Path(tempfile.mkdtemp(prefix="imagenetfs surroundings ")) / "a checkout"
    words = ["git", "clone", "--quiet", str(REPOSITORY), str(caller.directory)]
    subprocess.run(words, check=True)


def _user(caller: Caller) -> None:
    """Somebody who is not root, in a clone of his own."""
    home = Path(tempfile.mkdtemp(prefix="imagenetfs-user-"))
    caller.directory = home / "checkout"
    words = ["git", "clone", "--quiet", str(REPOSITORY), str(caller.directory)]
    subprocess.run(words, check=True)
    subprocess.run(["chown", "-R", _USER, str(home)], check=True)
    caller.environ["HOME"] = str(home)
    identity = ["--reuid", _USER, "--regid", "nogroup", "--init-groups"]
    caller.words = ["setpriv", *identity, "--", *caller.words]


SURROUNDINGS = {
    "plain": lambda caller: None,
    "nohup": _nohup,
    "busy": _busy,
    "beside": _beside,
    "umask": _umask,
    "bare": _bare,
    "zone": _zone,
    "space": _space,
    "closed": _closed,
    "user": _user,
}
"""``busy``: beside four busy loops; ``beside``: two runs side by side; ``bare``: LANG=C and no
variable but PATH; ``zone``: TZ=Asia/Kathmandu; ``closed``: no standard input; ``space``: a path
with a space; ``user``: not root.
"""


@dataclass(frozen=True)
class Row:
    """How a run went."""

    name: str
    status: int
    seconds: float
    summary: str


def run(name: str, logs: Path) -> list[Row]:
    """One call of make, or two side by side, in the surroundings that ``name`` joins by ``+``."""
    caller = Caller()
    for one in name.split("+"):
        SURROUNDINGS[one](caller)
    began = time.monotonic()
    try:
        with _busy_loops(caller.loops):
            paths = [logs / f"{name}{suffix}.log" for suffix in ("", "-2")[: 1 + caller.beside]]
            processes = [_start(caller, path) for path in paths]
            rows = []
            for process, path in zip(processes, paths, strict=True):
                status = process.wait()
                rows.append(Row(path.stem, status, time.monotonic() - began, _summary(path)))
        return rows
    finally:
        if caller.directory != REPOSITORY:
            shutil.rmtree(caller.directory.parent, ignore_errors=True)


def _start(caller: Caller, log: Path) -> subprocess.Popen[bytes]:
    command = f"{caller.before}exec {shlex.join(caller.words)}"
    with log.open("wb") as output:
        return subprocess.Popen(
            ["sh", "-c", command],
            cwd=caller.directory,
            env=caller.environ,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextlib.contextmanager
def _busy_loops(count: int) -> Iterator[None]:
    loops = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.send_signal(signal.SIGKILL)
            loop.wait()


def _summary(log: Path) -> str:
    """Pytest's last line, without its frame; else the last line of all."""
    lines = log.read_text(errors="replace").strip().splitlines() or [""]
    found = [line for line in lines if re.search(r"\d+ (passed|failed).* in ", line)]
    return (found or lines)[-1].strip("= ")


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", metavar="NAME[+NAME...]")
    times = int(os.environ.get("IMAGENETFS_TEST_SURROUNDINGS", "1"))
    parser.add_argument("--times", type=int, default=times, help="how often each (default: once)")
    options = parser.parse_args()
    names = options.only or list(SURROUNDINGS)
    for unknown in {one for name in names for one in name.split("+")} - SURROUNDINGS.keys():
        parser.error(f"there is no surrounding {unknown}; there are: {', '.join(SURROUNDINGS)}")
    logs = REPOSITORY / "build" / "surroundings"
    logs.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for _ in range(options.times):
        for name in names:
            rows += run(name, logs)
            row = rows[-1]
            print(f"{row.name:24} {row.status:6} {row.seconds:7.0f} s  {row.summary}", flush=True)
    red = [row.name for row in rows if row.status]
    print(f"PROVED: {len(rows)} runs")
    if red:
        print(f"not green: {', '.join(red)} (logs in {logs})")
    return bool(red)


if __name__ == "__main__":
    sys.exit(main())
