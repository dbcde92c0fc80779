"""Every command once from end to end: the installed entry point, in a new interpreter.

Elsewhere commands run in forks of a process that has their imports behind it (see
helpers/forkserver.py).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from imagenetfs.cli.commands import COMMANDS
from tests.helpers.bench import INSTALLED, Bench

pytestmark = [pytest.mark.timeout(300), pytest.mark.spread]


class Installed:
    """The installed command, and which of its commands have been called."""

    def __init__(self, at: Bench) -> None:
        self._at = at
        self.called: set[str] = set()

    def __call__(self, *words: object, codes: tuple[int, ...] = (0,)) -> str:
        done = self._at.call_installed(*words)
        assert done.returncode in codes, done.stderr
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stdout + done.stderr, "no terminal, no colours"
        self.called.add(str(words[0]))
        return done.stdout


@pytest.fixture
def installed(at: Bench) -> Installed:
    return Installed(at)


def test_every_command(at: Bench, installed: Installed, sample: Path, tmp_path: Path) -> None:
    at.surroundings["IMAGENETFS_INDEX_DIR"] = str(tmp_path / "index")
    at.surroundings["IMAGENETFS_SOURCE"] = str(sample)
    cache, mountpoint = ("--cache-dir", tmp_path / "cache"), at.mountpoint()
    installed("sample", tmp_path / "small", "--classes", 2, "--images", 4)
    assert (tmp_path / "small" / "ILSVRC2012").is_dir()
    assert "ILSVRC2012_img_val: " in installed("index", "ILSVRC2012/val")
    assert "ILSVRC2012/ILSVRC2012_img_val.tar" in installed("info", "--quick")
    assert "100 images in 10 classes" in installed("show", sample, "ILSVRC2012/val")
    small = tmp_path / "small"
    measured = installed("bench", small, "--seconds", 1, "--processes", 1, "--json")
    assert json.loads(measured)
    assert installed("stage", sample, "ILSVRC2012/val", *cache)
    assert "ILSVRC2012_img_val.tar" in installed("cache", "ls", *cache)
    settings = json.loads(installed("settings", "--json"))
    assert str(sample) in json.dumps(settings)
    installed("mount", mountpoint)
    assert "ILSVRC2012" in os.listdir(mountpoint)
    assert str(mountpoint) in installed("status", mountpoint)
    installed("umount", mountpoint)
    assert "ILSVRC2012" in installed("run", "--", "ls", "{mnt}")
    assert json.loads(installed("verify", small, "--quick", "--json", codes=(42,)))
    # Red is also a dead mount of another test, which there may be just now.
    installed("doctor", small, "--json", codes=(0, 40, 41))
    installed("enter", "--", "true", codes=(125,))
    assert installed.called == set(COMMANDS)
    assert at.leftovers() == []


def test_the_bare_form_help_and_version(at: Bench, installed: Installed, sample: Path) -> None:
    mountpoint = at.mountpoint()
    installed(sample, mountpoint, "-o", "ro,workers=2")
    installed("umount", mountpoint)
    assert "mount" in installed("--help")
    assert installed("--version").startswith("imagenetfs ")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a mount namespace")
def test_enter(at: Bench, installed: Installed, sample: Path) -> None:
    words = [*INSTALLED, "run", "--namespace", str(sample), "--", "sh", "-c", "echo ready; cat"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, env=at.environ(SLURM_JOB_ID="4711"), stdin=pipe, stdout=pipe, text=True
    ) as front:
        assert front.stdout is not None
        assert front.stdout.readline() == "ready\n"
        listed = installed("enter", "4711", "--", "sh", "-c", "ls $IMAGENETFS_MOUNT")
        assert "ILSVRC2012" in listed
        front.communicate()
    assert front.returncode == 0
