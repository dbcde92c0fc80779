"""``python -m imagenetfs.library.mount_helper REQUEST``: start or join a mount for another process.

The process that asks may have threads and a GPU, from which no server should be forked; this one
is new. It writes one JSON object a line: ``{"said": line}`` for each thing to be told, then
``{"mountpoint", "root"}`` or ``{"error": sentence, "kind": class, "code": exit code}``; it keeps
the mount until its standard input ends, by when the other process is a client of its own.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from imagenetfs import config
from imagenetfs.errors import ExitCode, ImagenetfsError
from imagenetfs.job import signals
from imagenetfs.job.acquire import acquire, source_to_use
from imagenetfs.job.mount_handle import release
from imagenetfs.job.requirements import check_required
from imagenetfs.job.signals import StopSignal


def _tell(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


def _say(line: str) -> None:
    _tell({"said": line})


def keep_mount(options: dict[str, object], at: Path | None) -> None:
    """Mount, tell where, and give the mount back when standard input ends."""
    settings = config.resolve({**options, "namespace": "never"})
    for note in settings.notes:
        _say(f"warning: {note}")
    if settings.require:
        check_required(source_to_use(settings, at, os.environ), settings, _say)
    handle = acquire(settings, at, os.environ, _say)
    try:
        _tell({"mountpoint": str(handle.mountpoint), "root": str(handle.paths.root)})
        sys.stdin.buffer.read()
    finally:
        release(handle, lambda line: None)


def main() -> int:
    """The process's whole life; its exit code."""
    request = json.loads(sys.argv[1])
    at = Path(request["at"]) if request["at"] is not None else None
    signals.raise_when_told_to_end()
    try:
        keep_mount(request["options"], at)
    except ImagenetfsError as error:
        kinds = (one for one in type(error).__mro__ if one.__module__ == ImagenetfsError.__module__)
        kind = next(kinds).__name__
        _tell({"error": str(error), "kind": kind, "code": int(error.exit_code)})
        return error.exit_code
    except (KeyboardInterrupt, StopSignal, BrokenPipeError):
        return ExitCode.INTERNAL
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
