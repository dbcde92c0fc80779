"""The command ``imagenetfs``: what happens before and after a command's own work.

Nothing but the standard library's os and sys may be imported here before ``isolate`` has run.
"""

from __future__ import annotations

import os
import sys

SAVED = "_IMAGENETFS_PYTHONPATH"
KEPT = "_IMAGENETFS_PYTHONPATH_KEPT"

_NEEDED = ("numpy", "platformdirs", "pyfuse3", "rich", "scipy", "trio", "typer")


def command() -> None:
    """The console's command: :func:`main`, and the process ends.

    Python's own way out takes every object apart first, which takes 0.1 s; the
    system is through at once.
    """
    open_missing_streams()
    code = main()
    for stream in (sys.stdout, sys.stderr):
        try:  # after a success that has been done
            stream.flush()
        except (AttributeError, OSError, ValueError):
            continue
    os._exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Run one command line (``sys.argv`` by default) and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if arguments is None:
        isolate(given)

    import logging

    # What the layers below log goes to a mount's log; a command tells the same in its own words.
    logging.getLogger("imagenetfs").addHandler(logging.NullHandler())

    from imagenetfs.cli.error_report import guarded

    def work() -> int:
        from imagenetfs.cli.commands import execute

        return execute(given)

    return guarded(work, is_run=given[:1] in (["run"], ["enter"]))


# --- what the caller hands over -------------------------------------------------------------------


def open_missing_streams() -> None:
    """Open each of descriptors 0, 1 and 2 that is closed (daemons, ``<&-``) on /dev/null, for
    started programs too: the next files that are opened would get their numbers, and a pipe to a
    server be standard output.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number is given out: it is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY if fd == 0 else os.O_WRONLY), True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def isolate(arguments: list[str]) -> None:
    """Start again without PYTHONPATH if there is one; returns in the process that shall go on.
    There the environment is the user's again, for whatever command it starts.

    A PYTHONPATH full of other versions (of numpy, of typing_extensions) would be found before ours.
    Where this package, or one that it needs, is found through PYTHONPATH alone (``pip install
    --target``, a cluster's modules), it stays.
    """
    saved = os.environ.pop(SAVED, None)
    if saved is not None:
        os.environ["PYTHONPATH"] = saved
        if not _is_complete():
            _again(arguments, {KEPT: "1"})
        return
    kept = os.environ.pop(KEPT, None)
    path = os.environ.get("PYTHONPATH")
    if kept is not None or not path or sys.flags.ignore_environment or _is_found_through(path):
        return
    _again(arguments, {SAVED: path}, without_path=True)


def _again(arguments: list[str], more: dict[str, str], *, without_path: bool = False) -> None:
    environ = {**os.environ, **more}
    if without_path:
        del environ["PYTHONPATH"]
    if sys.executable:
        # -P: or else a numpy.py in the current directory would be found first.
        command = [sys.executable, "-P", "-m", "imagenetfs", *arguments]
        os.execve(sys.executable, command, environ)


def _is_found_through(path: str) -> bool:
    """Whether this package itself comes from one of PYTHONPATH's directories."""
    home = os.path.realpath(__file__).rsplit(os.sep, 3)[0]
    return any(os.path.realpath(entry) == home for entry in path.split(os.pathsep))


def _is_complete() -> bool:
    """Whether what is needed can be found; nothing is imported."""
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in _NEEDED)
