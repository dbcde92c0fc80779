"""Copies that an ordinary user makes from a mount of his own are whole, and he can delete them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.helpers.user_bench import There

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs an ordinary user"),
]

COPYTREE = "python3 -c 'import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2])'"
TOOLS = {
    "cp": "cp -r {one} {copy}",
    "cp -a": "cp -a {one} {copy}",
    "rsync": "rsync -r {one}/ {copy}",
    "tar": "mkdir {copy} && tar -c -C {one} . | tar -xp -C {copy}",
    "copytree": COPYTREE + " {one} {copy}",
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_copy_is_whole_and_can_be_deleted(ana: There, sample: Path, tool: str) -> None:
    if shutil.which(tool.split()[0]) is None and tool != "copytree":
        pytest.skip(f"{tool} is not installed")
    copy = ana.home / "copy"
    script = TOOLS[tool].format(one="$M/ILSVRC2012/train", copy=copy)
    script += f" && diff -r $M/ILSVRC2012/train {copy} && find {copy} -type f | wc -l"
    script += f" && rm -r {copy}"
    done = ana.call("run", sample, "--", "bash", "-c", f"umask 022; M={{mnt}}; {script}")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
    assert not copy.exists()


def test_a_walk_of_the_whole_mount_meets_each_archive_once(ana: There, sample: Path) -> None:
    """source/ answers to its name, and no listing has it."""
    script = "ls -A {mnt}; echo; ls {mnt}/source"
    done = ana.call("run", sample, "--", "bash", "-c", script)
    listed, _, within = done.stdout.partition("\n\n")
    assert "archives" in listed.split()
    assert "source" not in listed.split()
    assert "ILSVRC2012" in within.split()
