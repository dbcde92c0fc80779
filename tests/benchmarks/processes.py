"""What a server and its children cost, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds of a process and all below it (those that have ended
    included), and how many live.
    """

    seconds: float
    processes: int


def usage(pid: int | None) -> Usage:
    """The CPU time that the process tree has used so far; nothing for no process."""
    seconds, found = 0.0, 0
    for each in tree(pid) if pid else ():
        fields = _stat(each)
        if fields:
            seconds += sum(int(field) for field in fields[11:15]) / _TICKS
            found += 1
    return Usage(seconds, found)


def pss(pid: int | None) -> int:
    """Bytes of memory of the process tree, shared pages counted once (proportional set size)."""
    total = 0
    for each in tree(pid) if pid else ():
        try:
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(
            int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")
        )
    return total


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found.extend(children.get(each, ()))
    return found


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the state on (proc(5) numbers that one 3)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    return text.rpartition(b")")[2].split()
