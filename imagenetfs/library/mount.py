"""A mount that ends with this interpreter: for notebooks and scripts.

A helper process starts it, as ``imagenetfs run`` would, or joins the one that the job has. Then
this process is a client of its own: it has a connection to the mount's server, that the kernel ends
with the process, whatever happens to it. A forked child gives its copy up.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imagenetfs import config, errors
from imagenetfs.errors import ExitCode, FuseRefusedError, ImagenetfsError
from imagenetfs.job import status
from imagenetfs.job.mount_handle import MountHandle, join_mount, release
from imagenetfs.job.mount_paths import MountPaths, locked
from imagenetfs.library.closable import Closable
from imagenetfs.library.settings import AnyPath, MountSettings, OpenSettings, option_texts

log = logging.getLogger(__name__)

_END_SECONDS = 30.0
_WARNING = "warning: "


class Mount(Closable):
    """A mount of this process's. Made by :func:`imagenetfs.mount`; ends with :meth:`close`, as a
    context, or with the interpreter.
    """

    def __init__(self, handle: MountHandle, source: str) -> None:
        """:func:`mount_source` makes it; ``handle`` has a client, unless another user serves it."""
        self.path = str(handle.mountpoint)
        """Where it is mounted."""
        self.source = source
        """What it shows."""
        self._handle = handle
        self._end = weakref.finalize(self, _release, handle, os.getpid())
        _mounts.add(self)

    def status(self) -> dict[str, Any]:
        """What `imagenetfs status --json` says of it. Raises NotMountedError after its end."""
        return status.collect(self.path)[0].as_json()

    @property
    def closed(self) -> bool:
        """Whether this process has given it up."""
        return not self._end.alive

    def close(self) -> None:
        """Give it up; it is unmounted, unless another process of the job uses it. Once is enough.
        Open files in it keep it until they are closed.
        """
        _mounts.discard(self)
        self._end()

    def after_fork(self) -> None:
        """In a child that has just been forked: the mount is its parent's."""
        self._end.detach()
        _mounts.discard(self)
        if self._handle.client is not None:
            self._handle.client.close()

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<imagenetfs.Mount of {self.source} at {self.path}{', closed' * self.closed}>"


def mount_source(
    source: AnyPath | None, mountpoint: AnyPath | None, given: Mapping[str, object]
) -> Mount:
    """Mount, or join the mount that the job has. Raises ImagenetfsError."""
    known = {**OpenSettings.__annotations__, **MountSettings.__annotations__}
    options = option_texts("mount", known, source, given)
    config.resolve(options, called=str)  # a wrong value is told before anything starts
    at = os.fspath(Path(mountpoint).absolute()) if mountpoint is not None else None
    helper = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "imagenetfs.library.mount_helper",
            json.dumps({"options": options, "at": at}),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        place = _place(helper)
        with locked(place):
            handle = join_mount(place, None, log.info)
        if handle is None:
            raise FuseRefusedError(f"the mount at {place.mountpoint} ended as soon as it started.")
    finally:
        _end(helper)
    shown = handle.client.identity.source if handle.client is not None else handle.entry.source
    return Mount(handle, shown)


def _place(helper: subprocess.Popen[str]) -> MountPaths:
    """Where the helper has mounted; what it says until then goes to the log."""
    assert helper.stdout is not None
    for line in helper.stdout:
        message = _message(line)
        if "error" in message:
            raise _reported(message["kind"], message["code"], message["error"])
        if "mountpoint" in message:
            return MountPaths(Path(message["mountpoint"]), Path(message["root"]))
        said = str(message["said"])
        if said.startswith(_WARNING):
            log.warning("%s", said.removeprefix(_WARNING))
        else:
            log.info("%s", said)
    raise ImagenetfsError("the process that was to mount ended without a word.")


def _message(line: str) -> dict[str, Any]:
    """What the helper says; a line that is none of its own (a site's hook of Python may print too)
    is told as it is.
    """
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    return message if isinstance(message, dict) else {"said": line.rstrip("\n")}


def _reported(kind: str, code: int, sentence: str) -> ImagenetfsError:
    """An error as another process reported it: its class, sentence and exit code."""
    found = getattr(errors, kind, ImagenetfsError)
    if found is ImagenetfsError:  # it was reported to that process by another one: code alone
        found = next((one for one in _classes() if one.exit_code == code), ImagenetfsError)
    body = {
        "__init__": lambda self: Exception.__init__(self, sentence),
        "__str__": lambda self: sentence,
        "exit_code": ExitCode(code),
        "path": None,
    }
    error = type(found.__name__, (found,), body)()
    assert isinstance(error, ImagenetfsError)
    return error


def _classes() -> Iterator[type[ImagenetfsError]]:
    """The classes of errors, each exit code's first one first."""
    for one in vars(errors).values():
        if isinstance(one, type) and issubclass(one, ImagenetfsError) and "exit_code" in vars(one):
            yield one


def _end(helper: subprocess.Popen[str]) -> None:
    """Have the helper give its own connection up, and end."""
    assert helper.stdin is not None and helper.stdout is not None
    try:
        helper.stdin.close()
        helper.stdout.close()
        helper.wait(_END_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        helper.kill()
        helper.wait()


def _release(handle: MountHandle, owner: int) -> None:
    if os.getpid() == owner:
        release(handle, log.info)


_mounts: set[Mount] = set()
"""Those that have not been closed: a caller need not keep what it does not close."""


def _after_fork_in_child() -> None:
    for one in list(_mounts):
        one.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
