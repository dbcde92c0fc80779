"""imagenetfs run: the mount is released whatever way the command ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagenetfs.cli import run
from imagenetfs.errors import SourceMissingError
from imagenetfs.job import command as command_module
from imagenetfs.job import signals
from imagenetfs.job.command import CommandNotFoundError
from tests.helpers.in_process import call


class Session:
    """A mount in use."""

    def __init__(self) -> None:
        self.mountpoint = Path("/mnt/x")
        self.variables = {"IMAGENETFS_MOUNT": str(self.mountpoint)}


class Played:
    """A mount and a command that are played; ``steps`` says in which order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.settings: Any = None
        self.at: Path | None = None
        self.command: list[str] = []
        self.environ: dict[str, str] = {}
        self.ends: int | BaseException = 0
        self.mounts: BaseException | None = None
        monkeypatch.setattr(signals, "raise_when_told_to_end", lambda: self.steps.append("heed"))
        monkeypatch.setattr(run, "acquire", self._acquire)
        monkeypatch.setattr(command_module, "run", self._run)
        self.status: dict[str, Any] | None = None
        self.others = False
        monkeypatch.setattr(run, "read_status", lambda mountpoint: self.status)
        monkeypatch.setattr(run, "release", self._release)

    def _release(self, session: Session, say: object) -> bool:
        self.steps.append("release")
        return self.others

    def _acquire(self, settings: Any, at: Path | None, environ: object, say: object) -> Session:
        self.steps.append("acquire")
        self.settings, self.at = settings, at
        if self.mounts is not None:
            raise self.mounts
        return Session()

    def _run(self, command: list[str], environ: dict[str, str]) -> int:
        self.steps.append("run")
        self.command, self.environ = command, environ
        if isinstance(self.ends, BaseException):
            raise self.ends
        return self.ends


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    return Played(monkeypatch)


def test_the_command_has_the_mount_and_its_own_code(
    played: Played, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "kept")
    played.ends = 7
    assert call(capsys, "run", "/s", "--", "ls", "{mnt}/x", "{mnt}", "--", "-h") == (7, "", "")
    assert played.command == ["ls", "/mnt/x/x", "/mnt/x", "--", "-h"]
    assert (played.environ["IMAGENETFS_MOUNT"], played.environ["MINE"]) == ("/mnt/x", "kept")
    assert played.steps == ["heed", "acquire", "run", "release"]
    assert (played.settings.source, played.at) == (Path("/s"), None)


@pytest.mark.parametrize(
    ("ends", "code"), [(CommandNotFoundError("No x."), 127), (ValueError("odd"), 125)]
)
def test_the_mount_is_released_after_a_failure_too(
    played: Played, capsys: pytest.CaptureFixture[str], ends: BaseException, code: int
) -> None:
    played.ends = ends
    assert call(capsys, "run", "--", "x").code == code
    assert played.steps[-1] == "release"


def test_a_mount_that_fails_is_125(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    played.mounts = SourceMissingError("It is not there.")
    done = call(capsys, "run", "--", "x")
    assert (done.code, done.err) == (125, "imagenetfs: It is not there.\n")
    assert played.steps == ["heed", "acquire"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "namespace"),
    [([], "auto"), (["--namespace"], "always"), (["--no-namespace"], "never")],
)
def test_namespaces(
    played: Played, capsys: pytest.CaptureFixture[str], options: list[str], namespace: str
) -> None:
    call(capsys, "run", *options, "--at", "/m", "--", "x")
    assert (played.settings.namespace, played.at) == (namespace, Path("/m"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Put `--` before the command: imagenetfs run -- python train.py {mnt}"),
        (["--"], "There is no command after `--`."),
        (
            ["/s", "--source", "/t", "--", "x"],
            "SOURCE is given twice, as an argument and by --source.",
        ),
        (["--workers", "0", "--", "x"], "--workers must be a whole number from 1 to 64, not '0'."),
    ],
)
def test_refusals(
    played: Played, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert call(capsys, "run", *arguments) == (125, "", f"imagenetfs: {sentence}\n")
    assert played.steps == []


STATUS: dict[str, Any] = {
    "source": "/datashare/imagenet",
    "problems": [],
    "counters": {
        "images_read": 1_281_167,
        "bytes_served": 3 * 10**9,
        "source_bytes": 2 * 10**9,
        "cache_bytes": 1 * 10**9,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (
            STATUS,
            "1,281,167 images read, 3.0 GB served (2.0 GB from /datashare/imagenet, 1.0 GB from "
            "the read cache); no problems.",
        ),
        (
            {**STATUS, "problems": ["x"], "counters": {**STATUS["counters"], "cache_bytes": 0}},
            "1,281,167 images read, 3.0 GB served (2.0 GB from /datashare/imagenet); 1 problem, "
            "said above.",
        ),
        (
            {**STATUS, "problems": ["x", "y"], "counters": {}},
            "0 images read, 0 B served (0 B from /datashare/imagenet); 2 problems, said above.",
        ),
        (
            {**STATUS, "counters": {**STATUS["counters"], "source_bytes": 4 * 10**9}},
            "1,281,167 images read, 3.0 GB served (4.0 GB from /datashare/imagenet, with headers "
            "and what lies around the images, 1.0 GB from the read cache); no problems.",
        ),
        (None, "none, for the mount does not answer. Its log may say why."),
    ],
)
def test_a_summary_after_the_command(
    played: Played,
    capsys: pytest.CaptureFixture[str],
    status: dict[str, Any] | None,
    sentence: str,
) -> None:
    played.status, played.ends = status, 3
    done = call(capsys, "run", "--summary", "--", "x")
    assert (done.code, done.err) == (3, f"imagenetfs: summary: {sentence}\n")


def test_no_summary_while_others_use_the_mount(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    played.status, played.others = STATUS, True
    assert call(capsys, "run", "--summary", "--", "x") == (0, "", "")
