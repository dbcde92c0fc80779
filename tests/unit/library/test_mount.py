"""A mount of this interpreter's: what the helper says, the client, forked children, the end."""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from imagenetfs import errors
from imagenetfs.errors import ExitCode, ImagenetfsError, UsageError
from imagenetfs.job.clients import MountClient
from imagenetfs.job.mount_handle import MountHandle
from imagenetfs.job.mount_paths import MountPaths
from imagenetfs.library import mount
from imagenetfs.library.mount import Mount, mount_source
from imagenetfs.system.mounts import MountEntry
from tests.helpers.children import ended, in_child

ENTRY = MountEntry(1, "0:1", "/m", "fuse.imagenetfs", "imagenetfs", "ro")


def saying(*lines: object) -> subprocess.Popen[str]:
    """A helper that says this, and ends."""
    text = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines)
    pipe = subprocess.PIPE
    return subprocess.Popen(["printf", "%s", text], stdin=pipe, stdout=pipe, text=True)


def place(*lines: object) -> MountPaths:
    helper = saying(*lines)
    try:
        return mount._place(helper)
    finally:
        mount._end(helper)


MOUNTED = {"mountpoint": "/m", "root": "/r"}


@pytest.mark.expects_log("it is slow")
def test_where_it_is_mounted_and_what_is_said_before(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "imagenetfs"):
        found = place(
            {"said": "warning: it is slow"}, {"said": "joined"}, "a hook's line", "[1]", MOUNTED
        )
    assert found == MountPaths(Path("/m"), Path("/r"))
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("WARNING", "it is slow"),
        ("INFO", "joined"),
        ("INFO", "a hook's line"),
        ("INFO", "[1]"),
    ]


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [
        ("SourceMissingError", 10, errors.SourceMissingError),
        ("ImagenetfsError", 22, errors.MountpointNotEmptyError),  # told by code alone
        ("ImagenetfsError", 1, ImagenetfsError),
        ("ALaterError", 32, errors.NoSpaceError),
        ("GroupNeededError", 11, errors.GroupNeededError),
        ("ArchiveError", 13, errors.ArchiveError),
    ],
)
def test_an_error_of_the_helper_is_raised_as_what_it_was(
    kind: str, code: int, expected: type[ImagenetfsError]
) -> None:
    with pytest.raises(expected) as caught:
        place({"error": "It is so.", "kind": kind, "code": code}, MOUNTED)
    assert (str(caught.value), caught.value.exit_code) == ("It is so.", ExitCode(code))
    assert type(caught.value).__name__ == expected.__name__


def test_a_helper_that_ends_without_a_word() -> None:
    with pytest.raises(ImagenetfsError, match="ended without a word"):
        place({"said": "I begin"})


def test_a_helper_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount, "_END_SECONDS", 0.01)
    pipe = subprocess.PIPE
    helper = subprocess.Popen(["sleep", "1000"], stdin=pipe, stdout=pipe, text=True)
    mount._end(helper)
    assert helper.returncode == -9


def test_a_wrong_setting_is_told_before_a_process_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("nothing is started"))
    for given in ({"workers": 0}, {"worker": 1}):
        with pytest.raises(UsageError):
            mount_source("/s", None, given)


# --- a mount that is there ------------------------------------------------------------------------


class FakeClient:
    """A client's connection."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> list[MountHandle]:
    found: list[MountHandle] = []
    monkeypatch.setattr(mount, "release", lambda handle, say: found.append(handle))
    return found


def made(client: FakeClient | None = None) -> Mount:
    paths = MountPaths(Path("/m"), Path("/r"))
    return Mount(MountHandle(paths, ENTRY, cast(MountClient, client)), "/s")


def test_it_is_given_up_once(released: list[MountHandle]) -> None:
    one = made()
    assert (one.path, one.source, os.fspath(one), one.closed) == ("/m", "/s", "/m", False)
    assert repr(one) == "<imagenetfs.Mount of /s at /m>"
    with one:
        pass
    one.close()
    assert (len(released), one.closed) == (1, True)
    assert repr(one) == "<imagenetfs.Mount of /s at /m, closed>"
    assert one not in mount._mounts


def test_one_that_is_not_kept_stays(released: list[MountHandle]) -> None:
    """`imagenetfs.mount(...)` alone on a line: until the interpreter ends."""
    made()
    gc.collect()
    assert released == []
    [one] = mount._mounts
    one.close()
    assert len(released) == 1


def test_a_forked_child_has_none(released: list[MountHandle]) -> None:
    client = FakeClient()
    one = made(client)

    def see() -> None:
        assert (one.closed, client.closed, mount._mounts) == (True, True, set())
        one.close()
        assert released == []

    assert ended(in_child(see)) == 0
    assert (one.closed, client.closed) == (False, False)
    one.close()
    assert len(released) == 1


def test_the_process_that_made_it_alone_gives_it_up(released: list[MountHandle]) -> None:
    handle: Any = object()
    mount._release(handle, os.getpid() + 1)
    assert released == []
    mount._release(handle, os.getpid())
    assert released == [handle]
