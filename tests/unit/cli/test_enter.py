"""imagenetfs enter: a shell, or a command, where a namespaced mount can be seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from imagenetfs.cli import enter
from imagenetfs.errors import NotMountedError
from imagenetfs.job import command as command_module
from imagenetfs.job import signals
from tests.helpers.in_process import call


class Session:
    """A mount in use."""

    def __init__(self) -> None:
        self.mountpoint = Path("/mnt/x")
        self.variables = {"IMAGENETFS_MOUNT": str(self.mountpoint)}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was done, in order."""
    seen: list[object] = []

    def enter_namespace(job: str | None, environ: Mapping[str, str], say: object) -> Session:
        seen.append(f"enter {job}")
        if job == "none":
            raise NotMountedError("There is no such job here.")
        return Session()

    def run(command: list[str], environ: Mapping[str, str]) -> int:
        seen.append(command)
        assert environ["IMAGENETFS_MOUNT"] == "/mnt/x"
        return 3

    monkeypatch.setattr(signals, "raise_when_told_to_end", lambda: None)
    monkeypatch.setattr(enter, "enter_namespace", enter_namespace)
    monkeypatch.setattr(command_module, "run", run)
    monkeypatch.setattr(enter, "release", lambda session, say: seen.append("release"))
    return seen


def test_a_command(steps: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "enter", "7.0", "--", "ls", "{mnt}") == (3, "", "")
    assert steps == ["enter 7.0", ["ls", "/mnt/x"], "release"]


@pytest.mark.parametrize(("shell", "command"), [("/bin/zsh", "/bin/zsh"), ("", "/bin/sh")])
def test_a_shell(
    steps: list[object],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    shell: str,
    command: str,
) -> None:
    monkeypatch.setenv("SHELL", shell)
    call(capsys, "enter")
    assert steps == ["enter None", [command], "release"]


def test_a_failure_of_our_own_is_125(
    steps: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    done = call(capsys, "enter", "none")
    assert done == (125, "", "imagenetfs: There is no such job here.\n")
    assert steps == ["enter none"]
