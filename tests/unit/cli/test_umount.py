"""imagenetfs umount: its arguments, its sentences, its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.cli import umount
from imagenetfs.errors import NotMountedError, StillBusyError
from tests.helpers.in_process import call
from tests.helpers.mount_table import MountTable


@pytest.mark.parametrize(("option", "lazy"), [([], False), (["--lazy"], True), (["-z"], True)])
def test_arguments(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: list[str],
    lazy: bool,
) -> None:
    asked: list[tuple[str, bool]] = []

    def unmount(path: str, *, lazy: bool, say: object) -> None:
        asked.append((path, lazy))

    monkeypatch.setattr(umount, "unmount", unmount)
    assert call(capsys, "umount", "/m", *option) == (0, "", "")
    assert asked == [("/m", lazy)]


@pytest.mark.parametrize(
    ("raised", "code"), [(NotMountedError("None."), 25), (StillBusyError("Busy."), 26)]
)
def test_refusals(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: Exception,
    code: int,
) -> None:
    def unmount(path: str, *, lazy: bool, say: object) -> None:
        raise raised

    monkeypatch.setattr(umount, "unmount", unmount)
    assert call(capsys, "umount", "/m") == (code, "", f"imagenetfs: {raised}\n")


def test_nothing_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    MountTable(tmp_path, monkeypatch).add(tmp_path / "x", fstype="ext4")
    done = call(capsys, "umount", tmp_path / "x")
    assert done == (
        25,
        "",
        f"imagenetfs: What is mounted at {tmp_path}/x is ext4, not imagenetfs.\n",
    )
