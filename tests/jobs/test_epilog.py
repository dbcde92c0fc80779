"""The epilog: what it takes away, and that no user's file system makes root wait.

Run as Slurm runs it, in a mount namespace of the test's own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers.bench import until
from tests.helpers.forkserver import REPOSITORY
from tests.helpers.hangfs import hanging
from tests.helpers.user_bench import There
from tests.helpers.users import GROUP, USERS

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="an epilog is root's"),
]

EPILOG = REPOSITORY / "systemd" / "slurm-epilog"
PROMISED_SECONDS = 10.0
JOB = "77"


def epilog(at: There, *, seconds: float | None = None) -> str:
    """Run it for ana's job 77; what it said."""
    environ = at.environ(SLURM_JOB_UID=str(USERS["ana"]), SLURM_JOB_ID=JOB)
    started = time.monotonic()
    done = subprocess.run(
        [*at.elsewhere.front("root"), "sh", str(EPILOG)],
        env={**environ, "SLURM_JOB_GID": str(GROUP)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if seconds is not None:
        assert time.monotonic() - started < seconds
    assert (done.returncode, done.stdout) == (0, "")
    return done.stderr


def kill_all(at: There) -> None:
    """End all processes of job 77 at once: its mount stays, dead."""
    stopped: set[int] = set()
    while found := processes_of_job(at) - stopped:
        for pid in found:  # or the server would have time to unmount
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        stopped |= found
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes_of_job(at: There) -> set[int]:
    """Those whose environment has this place and job 77."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environ = (path / "environ").read_bytes()
            if os.fsencode(at.directory) in environ and f"SLURM_JOB_ID={JOB}".encode() in environ:
                found.add(int(path.name))
    return found


def dead_mount(at: There, sample: Path) -> Path:
    """A mount of job 77 that was killed with all its processes."""
    front = at.start(
        "run",
        sample,
        "--",
        "sh",
        "-c",
        "ls {mnt} >/dev/null && echo ready && sleep 100",
        environ={"SLURM_JOB_ID": JOB},
    )
    assert front.stdout is not None
    assert front.stdout.readline() == "ready\n", front.communicate()
    kill_all(at)
    front.communicate(timeout=30)
    assert f" {at.run_root}/{JOB} " in at.elsewhere.mount_table()
    return at.run_root / JOB


def test_a_killed_jobs_mount_goes_with_its_files(ana: There, sample: Path) -> None:
    dead_mount(ana, sample)
    assert epilog(ana) == ""
    assert ana.leftovers() == []


def test_awkward_names_are_unmounted(ana: There) -> None:
    # The servers are dead: nothing answers there.
    for name in ("a\n", "b\n\n", "c d\t", "\\040", "$(e)", "-f", "g' \"x", "h - fuse.imagenetfs x"):
        place = ana.directory / "home" / name
        place.mkdir()
        with hanging(
            place,
            f"--user-id={USERS['ana']}",
            f"--group-id={GROUP}",
            "--type=fuse.imagenetfs",
            "--leave-dead",
            front=ana.elsewhere.front("root"),
        ):
            pass
    assert ana.elsewhere.mount_table().count("fuse.imagenetfs hangfs") == 8
    epilog(ana)
    assert ana.elsewhere.mount_table().count("fuse.imagenetfs hangfs") == 0


def test_a_server_that_never_answers_holds_nothing_up(ana: There, sample: Path) -> None:
    """S18: the epilog ends, and does its work."""
    place = ana.directory / "home" / "hung"
    place.mkdir()
    with hanging(
        place,
        f"--user-id={USERS['ana']}",
        f"--group-id={GROUP}",
        "--type=fuse.imagenetfs",
        front=ana.elsewhere.front("root"),
    ):
        dead_mount(ana, sample)
        said = epilog(ana, seconds=2 * PROMISED_SECONDS)  # the machine may be busy
        assert "do not answer" in said
        assert f" {ana.run_root}/{JOB} " not in ana.elsewhere.mount_table()
    assert ana.leftovers() == []


@pytest.mark.parametrize("where", ["", JOB, ".run"])
@pytest.mark.parametrize("whose", ["ana", "ben"])
def test_a_file_system_in_the_place_of_ours(ana: There, where: str, whose: str) -> None:
    # As `allow_other` shows it: root's own look would hang, and nothing ends a process that does.
    place = ana.run_root / where
    place.mkdir(exist_ok=True)
    with hanging(
        place, f"--user-id={USERS[whose]}", "--allow-other", front=ana.elsewhere.front("root")
    ):
        said = epilog(ana, seconds=2 * PROMISED_SECONDS)
        assert f"something is mounted at or below {ana.run_root}" in said


def test_another_job_of_the_user_is_left_alone(ana: There, sample: Path) -> None:
    front = ana.start(
        "run",
        sample,
        "--",
        "sh",
        "-c",
        "ls {mnt} >/dev/null && echo ready && cat",
        stdin=subprocess.PIPE,
        environ={"SLURM_JOB_ID": "78"},
    )
    assert front.stdout is not None
    assert front.stdout.readline() == "ready\n", front.communicate()
    dead_mount(ana, sample)
    assert epilog(ana) == ""
    assert f" {ana.run_root}/78 " in ana.elsewhere.mount_table()
    assert f" {ana.run_root}/{JOB} " not in ana.elsewhere.mount_table()
    _, said = front.communicate(timeout=60)
    assert (front.returncode, said) == (0, "")
    assert until(lambda: ana.leftovers() == [])
