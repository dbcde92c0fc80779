"""The mount in a container: bound into it, with `run` around it, and made within
it, as an ordinary user.

Apptainer is in few distributions; bubblewrap stands in for it where it is not installed: both make
a user and a mount namespace, and bind directories into it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.helpers.bench import COMMAND
from tests.helpers.forkserver import REPOSITORY
from tests.helpers.user_bench import There

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
pytestmark = [ROOT, pytest.mark.timeout(180)]

LINKS = ("bin", "sbin", "lib", "lib64")
DIRECTORIES = ("usr", "etc", "dev", "proc", "sys", "tmp", "data", "media", "srv", "mnt", "root")
SUM = "cd /data/ILSVRC2012; cat train/*/*.JPEG val/*/*.JPEG | sha256sum"


def image(directory: Path) -> Path:
    """A root directory as a container has it; programs and libraries come by a bind of /usr."""
    for name in DIRECTORIES:
        (directory / name).mkdir(parents=True)
    for name in LINKS:
        (directory / name).symlink_to(f"usr/{name}")
    for name in ("passwd", "group"):
        (directory / "etc" / name).touch()
    return directory


class Apptainer:
    """apptainer exec, as docs/site.md has it, with an image in a file (SIF)."""

    program = "apptainer"

    def __init__(self, at: There) -> None:
        self._file = at.home / "image.sif"
        done = at.command("apptainer", "build", self._file, image(at.directory / "image"))
        assert done.returncode == 0, done.stderr

    def words(self, binds: dict[str, str]) -> list[str]:
        """What to put before a command; ``binds``: path here -> path there."""
        pairs = [f"--bind={here}:{there}" for here, there in binds.items()]
        return ["apptainer", "--silent", "exec", "--bind=/usr", *pairs, str(self._file)]


class Bubblewrap:
    """The same by bwrap."""

    program = "bwrap"

    def __init__(self, at: There) -> None:
        self._root = image(at.directory / "image")

    def words(self, binds: dict[str, str]) -> list[str]:
        """What to put before a command; ``binds``: path here -> path there."""
        pairs = {"/usr": "/usr", **binds}
        bound = [w for here, there in pairs.items() for w in ("--ro-bind", here, there)]
        links = [w for name in LINKS for w in ("--symlink", f"usr/{name}", f"/{name}")]
        devices = ["--dev", "/dev", "--dev-bind", "/dev/fuse", "/dev/fuse", "--proc", "/proc"]
        empty = [w for name in ("media", "srv", "mnt", "tmp") for w in ("--dir", f"/{name}")]
        return ["bwrap", "--unshare-user", *links, *devices, *empty, *bound]


Container = Apptainer | Bubblewrap


@pytest.fixture(params=[Apptainer, Bubblewrap], ids=lambda kind: kind.program)
def container(request: pytest.FixtureRequest, ana: There) -> Container:
    kind: type[Container] = request.param
    if shutil.which(kind.program) is None:
        pytest.skip(f"needs {kind.program}")
    return kind(ana)


def expected(ana: There, sample: Path) -> str:
    """The sum of all images, without a container."""
    words = ("sh", "-c", SUM.replace("/data", "{mnt}"))
    done = ana.call("run", sample, "--", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("options", [(), ("--namespace",)], ids=["plain", "namespace"])
def test_run_around_a_container(
    ana: There, sample: Path, container: Container, options: tuple[str, ...]
) -> None:
    words = [*container.words({"{mnt}": "/data"}), "sh", "-c", f"{SUM}; exit 7"]
    done = ana.call("run", *options, sample, "--", *words)
    assert (done.returncode, done.stdout) == (7, expected(ana, sample)), done.stderr
    assert ana.leftovers() == []


@pytest.mark.parametrize("container", [Apptainer], ids=["apptainer"], indirect=True)
@pytest.mark.parametrize("options", [(), ("--namespace",)], ids=["plain", "namespace"])
def test_a_signal_reaches_the_command_in_the_container(
    ana: There, sample: Path, container: Container, options: tuple[str, ...]
) -> None:
    """bubblewrap passes none on; Apptainer does."""
    script = f"trap '{SUM}; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    words = [*container.words({"{mnt}": "/data"}), "sh", "-c", script]
    front = ana.start("run", *options, sample, "--", *words)
    assert front.stdout is not None
    assert front.stdout.readline() == "ready\n"
    front.send_signal(signal.SIGTERM)
    out, err = front.communicate(timeout=60)
    assert (front.returncode, out) == (5, expected(ana, sample)), err
    assert ana.leftovers() == []


def test_a_mount_is_bound_into_a_container(ana: There, sample: Path, container: Container) -> None:
    mountpoint = ana.home / "mnt"
    assert ana.call("mount", "--make", sample, mountpoint).returncode == 0
    try:
        done = ana.command(*container.words({str(mountpoint): "/data"}), "sh", "-c", SUM)
    finally:
        assert ana.call("umount", mountpoint).returncode == 0
    assert (done.returncode, done.stdout) == (0, expected(ana, sample)), done.stderr


def test_a_mount_is_made_within_a_container(ana: There, sample: Path, container: Container) -> None:
    """With imagenetfs in the image, as a bind puts it there."""
    binds = {str(path): str(path) for path in {sys.base_prefix, str(REPOSITORY), *sys.path}}
    binds = {path: there for path, there in binds.items() if Path(path).is_dir()}
    binds[str(sample)] = "/srv/imagenet"
    words = [*container.words(binds), "env", f"PYTHONPATH={REPOSITORY}", *COMMAND]
    script = SUM.replace("/data", "{mnt}")
    done = ana.command(*words, "run", "/srv/imagenet", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, expected(ana, sample)), done.stderr
    assert ana.leftovers() == []
