"""The doctor's lines about the node and the job."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.errors import FuseUnavailableError
from imagenetfs.job import preflight, status
from imagenetfs.job.doctor import node
from imagenetfs.job.doctor.findings import Grade
from imagenetfs.job.nfs_access import User
from imagenetfs.job.status import MountStatus
from imagenetfs.system import child_call, mounts
from tests.helpers.findings import about

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_no_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "has_namespaces", lambda: False)
    line = about(node.fuse(), "namespaces")
    assert line.grade is Grade.YELLOW
    assert "may outlive a job" in line.advice


@pytest.mark.slow
@ROOT
def test_namespaces_are_tried() -> None:
    assert node.has_namespaces()
    script = (
        "import os; os.setgroups([]); os.setgid(9); os.setuid(9)\n"
        "from imagenetfs.job.doctor.node import has_namespaces; print(has_namespaces())"
    )
    limit = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    done = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", limit, "sh", sys.executable, "-c", script.splitlines()[1]],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "False\n", done.stderr


def test_kernel_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bgreq").write_text("12\n")
    monkeypatch.setattr(node, "BACKGROUND_REQUESTS", tmp_path / "bgreq")
    line = about(node.kernel(), "kernel")
    assert (line.grade, line.facts["background"]) == (Grade.YELLOW, 12)
    (tmp_path / "bgreq").write_text("9000\n")  # the server asks for no more than 256
    assert about(node.kernel(), "kernel").what.endswith(
        "up to 256 reads of a mount are under way at once"
    )
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 64))
    line = about(node.kernel(), "open files")
    assert line.grade is Grade.RED
    assert "ulimit -n" in line.advice


def test_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("1000000000\n")
    monkeypatch.setattr(node, "CGROUP_LIMITS", (tmp_path / "none", tmp_path / "max"))
    line = about(node.job({"SLURM_JOB_ID": "7", "SLURM_TMPDIR": str(tmp_path)}), "job")
    assert line.grade is Grade.YELLOW
    assert "job 7" in line.what
    assert about(node.job({"SLURM_JOB_ID": "7"}), "local disk").grade is Grade.YELLOW
    gone = {"SLURM_JOB_ID": "7", "SLURM_TMPDIR": str(tmp_path / "none")}
    assert about(node.job(gone), "local disk").grade is Grade.RED


def test_a_node_that_can_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "check_fuse", lambda *, needs_helper: None)
    monkeypatch.setattr(node, "has_namespaces", lambda: True)
    for helper, words in (
        ("/bin/fusermount3", "fusermount3: /bin/fusermount3"),
        (None, "none, and root"),
    ):
        monkeypatch.setattr(mounts, "find_fusermount", lambda helper=helper: helper)
        lines = list(node.fuse())
        assert [line.grade for line in lines] == [Grade.GREEN, Grade.GREEN]
        assert words in about(lines, "FUSE").what


def test_an_image_whose_mounts_cannot_be_unmounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "check_fuse", lambda *, needs_helper: None)
    monkeypatch.setattr(node, "has_namespaces", lambda: True)
    monkeypatch.setattr(node, "may_mount", lambda: False)
    monkeypatch.setattr(mounts, "find_fusermount", lambda: "/bin/fusermount3")
    monkeypatch.setattr(node, "MOUNT_TABLE", tmp_path / "mtab")
    line = about(node.fuse(), "unmounting")
    assert line.grade is Grade.YELLOW
    assert f"ln -s /proc/self/mounts {tmp_path}/mtab" in line.advice
    (tmp_path / "mtab").touch()
    assert "unmounting" not in [line.about for line in node.fuse()]


def test_a_node_that_cannot_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(*, needs_helper: bool) -> None:
        raise FuseUnavailableError(f"no FUSE (helper needed: {needs_helper}).")

    monkeypatch.setattr(preflight, "check_fuse", check)
    monkeypatch.setattr(node, "may_mount", lambda: False)
    line = about(node.fuse(), "FUSE")
    assert (line.grade, line.what) == (Grade.RED, "no FUSE (helper needed: True).")


@pytest.mark.parametrize("raised", [child_call.NoAnswerError(), OSError(errno.EAGAIN, "")])
def test_namespaces_that_cannot_be_tried(
    monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def ask(question: object, seconds: float) -> None:
        raise raised

    monkeypatch.setattr(node, "call_watched", ask)
    assert not node.has_namespaces()


def test_a_kernel_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (None, "many\n"):
        if content is not None:
            (tmp_path / "bgreq").write_text(content)
        monkeypatch.setattr(node, "BACKGROUND_REQUESTS", tmp_path / "bgreq")
        line = about(node.kernel(), "kernel")
        assert (line.grade, line.facts) == (Grade.GREEN, {"background": None})


def test_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = tuple(range(101, 121))
    monkeypatch.setattr(User, "here", lambda: User(9, 9, groups))
    line = about(node.user_groups(), "groups")
    assert (line.grade, line.facts) == (Grade.YELLOW, {"hidden": [117, 118, 119, 120]})
    assert line.what.startswith(
        "you are in 20 groups; NFSv3 tells a server your primary one and 16"
    )
    monkeypatch.setattr(User, "here", lambda: User(9, 9, groups[:16]))
    assert about(node.user_groups(), "groups").grade is Grade.GREEN
    monkeypatch.setattr(User, "here", lambda: User(9, 9, ()))
    assert about(node.user_groups(), "groups").what == "you are in no groups"


def test_mounts_by_their_state(monkeypatch: pytest.MonkeyPatch) -> None:
    every = (("/a", "live"), ("/b", "stale"), ("/c", "silent"))
    states = [MountStatus(path, "/s", state) for path, state in every]
    monkeypatch.setattr(status, "collect", lambda: states)
    lines = list(node.own_mounts())
    assert [(line.grade, line.facts["mountpoint"]) for line in lines] == [
        (Grade.GREEN, "/a"),
        (Grade.RED, "/b"),
        (Grade.YELLOW, "/c"),
    ]
    assert lines[1].advice == "`imagenetfs doctor --heal`, or `imagenetfs umount /b`"
    assert lines[2].advice == "if it stays so: `imagenetfs umount --lazy /c`"
    assert lines[0].what == "/s is mounted at /a, without problems"
    states[:] = []
    [line] = node.own_mounts()
    assert (line.grade, line.what) == (Grade.GREEN, "you have none on this node")


def test_a_running_mount_with_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [MountStatus("/a", "/s", "live", {"problems": ["train has gone.", "more."]})]
    monkeypatch.setattr(status, "collect", lambda: states)
    [line] = node.own_mounts()
    assert line.grade is Grade.YELLOW
    assert line.what == "/s is mounted at /a; train has gone (and 1 more)"
    assert line.advice.startswith("`imagenetfs status /a`")


def test_memory_is_the_least_of_all_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("max\n")
    (tmp_path / "b").write_text("5000000000\n")
    (tmp_path / "c").write_text("4000000000\n")
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    paths = [tmp_path / name for name in ("a", "none", "b", "c")]
    monkeypatch.setattr(node, "CGROUP_LIMITS", paths[:2])
    assert node.memory_bytes() == machine
    monkeypatch.setattr(node, "CGROUP_LIMITS", paths)
    assert node.memory_bytes() == min(machine, 4_000_000_000)


def test_outside_of_a_job_no_local_disk_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "memory_bytes", lambda: 8 << 30)
    monkeypatch.setattr(config, "cpus", lambda: 6)
    [line] = node.job({})
    assert (line.grade, line.what) == (Grade.GREEN, "no job: 6 CPUs, 8.6 GB of memory")
    assert line.facts == {"cpus": 6, "memory": 8 << 30}
