"""The process that mounts for another: what it says, and how long it keeps the mount."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagenetfs.errors import ExitCode, GroupNeededError, ImagenetfsError, NoSpaceError
from imagenetfs.job import signals
from imagenetfs.job.daemon import reported_error
from imagenetfs.job.mount_paths import MountPaths
from imagenetfs.job.signals import StopSignal
from imagenetfs.library import mount_helper

HANDLE = SimpleNamespace(mountpoint=Path("/m"), paths=MountPaths(Path("/m"), Path("/r")))


class Helper:
    """The helper's life in this process; ``released``: what was given back, when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.stdin = io.BytesIO(b"until here")
        self.released: list[bool] = []
        self.required: list[object] = []
        self.raised: BaseException | None = None
        monkeypatch.setattr(signals, "raise_when_told_to_end", lambda: None)
        monkeypatch.setattr(mount_helper, "acquire", self._acquire)
        monkeypatch.setattr(mount_helper, "release", self._release)
        monkeypatch.setattr(
            mount_helper, "check_required", lambda source, *_: self.required.append(source)
        )
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=self.stdin))

    def _acquire(self, settings: Any, at: Path | None, environ: object, say: Any) -> object:
        self.settings, self.at = settings, at
        say("joined")
        if self.raised is not None:
            raise self.raised
        return HANDLE

    def _release(self, handle: object, say: object) -> None:
        assert handle is HANDLE
        self.released.append(self.stdin.read() == b"")

    def main(
        self, capsys: pytest.CaptureFixture[str], at: str | None = None, **options: object
    ) -> int:
        request = json.dumps({"options": options, "at": at})
        self._patch.setattr(sys, "argv", ["helper", request])
        code = mount_helper.main()
        self.said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return code


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> Helper:
    return Helper(monkeypatch)


def test_it_keeps_the_mount_until_its_input_ends(
    helper: Helper, capsys: pytest.CaptureFixture[str]
) -> None:
    assert helper.main(capsys, "/m", source="/s\udcff") == ExitCode.OK
    assert helper.said == [{"said": "joined"}, {"mountpoint": "/m", "root": "/r"}]
    assert helper.released == [True]
    assert (helper.at, str(helper.settings.source)) == (Path("/m"), "/s\udcff")
    assert helper.settings.namespace == "never"
    assert helper.required == []


def test_notes_on_the_settings_and_what_is_required(
    helper: Helper, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGENETFS_WORKRES", "3")
    assert helper.main(capsys, source="/s", require=["ILSVRC2012/train"]) == ExitCode.OK
    [note, *_] = helper.said
    assert note["said"].startswith("warning: $IMAGENETFS_WORKRES is no setting")
    assert helper.required == [Path("/s")]
    assert helper.at is None


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (NoSpaceError("It is full."), "NoSpaceError", 32),
        (GroupNeededError("Not yours.", "g"), "GroupNeededError", 11),
        (reported_error("It is broken.", ExitCode.ARCHIVE_BROKEN), "ImagenetfsError", 13),
    ],
)
def test_an_error_is_told_with_its_kind_and_code(
    helper: Helper,
    capsys: pytest.CaptureFixture[str],
    error: ImagenetfsError,
    kind: str,
    code: int,
) -> None:
    helper.raised = error
    assert helper.main(capsys, source="/s") == code
    assert helper.said[-1] == {"error": str(error), "kind": kind, "code": code}
    assert helper.released == []


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), StopSignal(15), BrokenPipeError()])
def test_one_that_is_told_to_end_says_nothing(
    helper: Helper, capsys: pytest.CaptureFixture[str], raised: BaseException
) -> None:
    helper.raised = raised
    assert helper.main(capsys, source="/s") == ExitCode.INTERNAL
    assert helper.said == [{"said": "joined"}]
