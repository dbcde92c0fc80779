"""Keep the user's PYTHONPATH out of our own process, and give it back to the user's command.

A PYTHONPATH full of other versions (of numpy, of typing_extensions) would be found before ours. So
the command starts itself again without it, before anything but os and sys is imported. Where this
package, or one that it needs, is found through PYTHONPATH alone (``pip install --target``, a
cluster's modules), it stays.
"""

from __future__ import annotations

import os
import sys

SAVED = "_IMAGENETFS_PYTHONPATH"
KEPT = "_IMAGENETFS_PYTHONPATH_KEPT"

_NEEDED = ("numpy", "platformdirs", "pyfuse3", "rich", "scipy", "trio", "typer")


def isolate(arguments: list[str]) -> None:
    """Start again without PYTHONPATH if there is one; returns in the process that shall go on.

    There the environment is the user's again, for whatever command it starts.
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
