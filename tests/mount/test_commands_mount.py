"""mount, umount, status and the bare form, on real mounts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagenetfs.errors import StillBusyError
from imagenetfs.job import unmount
from imagenetfs.system import mounts
from tests.helpers.bench import Bench, is_running, server_pid, until

pytestmark = [pytest.mark.timeout(120), pytest.mark.spread]

_HANG_SECONDS = 100


def kill_server(mountpoint: Path) -> None:
    """Leave a dead mount behind, as an out-of-memory killer does."""
    pid = server_pid(mountpoint)
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: is_dead(mountpoint))


def is_dead(mountpoint: Path) -> bool:
    try:
        os.statvfs(mountpoint)
    except OSError:
        return True
    return False


def test_mounted_when_it_returns_and_gone_when_umount_does(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    done = at.call("mount", sample, mountpoint)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "ILSVRC2012" in os.listdir(mountpoint)
    entry = mounts.find_mount(mountpoint)
    assert entry is not None
    assert (entry.fstype, entry.source) == ("fuse.imagenetfs", str(sample))
    pid = server_pid(mountpoint)
    done = at.call("umount", mountpoint)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert mounts.find_mount(mountpoint) is None
    assert not is_running(pid)
    assert at.leftovers() == []
    assert mountpoint.is_dir()


def test_a_step_of_its_own_is_warned_of(at: Bench, sample: Path) -> None:
    """`srun imagenetfs mount` in the background: Slurm ends the server with the step."""
    mountpoint = at.mountpoint()
    step = {"SLURM_JOB_ID": "17", "SLURM_STEP_ID": "0"}
    done = at.call("mount", sample, mountpoint, **step)
    assert done.returncode == 0
    assert "warning: this mount belongs to the job step 17.0, and ends with it" in done.stderr
    assert at.call("umount", mountpoint).returncode == 0
    done = at.call("run", sample, "--", "true", **step)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_source_comes_from_the_settings(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", mountpoint, IMAGENETFS_SOURCE=str(sample)).returncode == 0
    assert "ILSVRC2012" in os.listdir(mountpoint)
    assert at.call("umount", mountpoint).returncode == 0


def test_the_bare_form_with_what_mount_adds(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    done = at.call(sample, mountpoint, "-o", "rw,nodev,allow_other,suid,workers=3,x-y.z")
    assert done.returncode == 0
    assert "read-only" in done.stderr
    entry = mounts.find_mount(mountpoint)
    assert entry is not None
    assert "allow_other" in entry.options
    assert "default_permissions" in entry.options
    assert entry.options.startswith("ro")
    assert at.call("umount", mountpoint).returncode == 0


@pytest.mark.skipif(
    not shutil.which("mount.fuse3", path="/sbin:/usr/sbin"), reason="no mount.fuse3"
)
def test_mount_8_and_umount_8(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    script = at.directory / "imagenetfs"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m imagenetfs "$@"\n')
    script.chmod(0o755)
    # Installed in /usr/local/bin the type would be fuse.imagenetfs: mount(8) sets a PATH of its
    # own.
    command: list[str | Path] = [
        "mount",
        "-t",
        f"fuse.{script}",
        sample,
        mountpoint,
        "-o",
        "ro,nodev,noatime",
    ]
    done = subprocess.run(command, env=at.environ(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    pid = server_pid(mountpoint)
    assert subprocess.run(["umount", mountpoint], timeout=30).returncode == 0
    assert until(lambda: not is_running(pid))
    assert until(lambda: at.leftovers() == [])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a mount namespace")
@pytest.mark.parametrize("how", ["waits", "lazy", "gives up"])
def test_umount_tells_who_has_the_mount_in_another_namespace(
    at: Bench, sample: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint).returncode == 0
    at.constants["imagenetfs.job.unmount:LOOK_SECONDS"] = 0.3
    pid = server_pid(mountpoint)
    words = ["unshare", "-m", "--propagation=private", "sh", "-c", "echo there; cat"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        if how == "gives up":
            monkeypatch.setattr(unmount, "wait_for_end", lambda pid, seconds: False)
            # Who unmounts goes to /, and this process is to come back.
            with contextlib.chdir(at.directory), pytest.raises(StillBusyError) as raised:
                unmount.unmount(str(mountpoint), lazy=False, say=lambda line: None)
            said = str(raised.value)
        else:
            umount = at.start("umount", *["--lazy"] * (how == "lazy"), mountpoint)
            assert umount.stderr is not None
            said = umount.stderr.readline()
        assert f"({holder.pid})" in said
        assert mounts.find_mount(mountpoint) is None
        assert is_running(pid)
        # The first of them: a namespace that another test makes now has the mount, too.
        assert re.search(rf"nsenter -t \d+ -m umount --lazy {mountpoint}\b", said)
        nsenter = ["nsenter", "-t", str(holder.pid), "-m", "umount", "--lazy", str(mountpoint)]
        assert subprocess.run(nsenter, timeout=30).returncode == 0
        if how != "gives up":
            assert (umount.communicate(timeout=30), umount.returncode) == (("", ""), 0)
        assert until(lambda: not is_running(pid))
        holder.communicate(timeout=30)
    assert until(lambda: at.leftovers() == [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_in_the_foreground(at: Bench, sample: Path, number: signal.Signals) -> None:
    mountpoint = at.mountpoint()
    process = at.start("mount", "-f", sample, mountpoint)
    assert process.stderr is not None
    said = ""
    while "is mounted at" not in said:
        said = process.stderr.readline()
        assert said, "the server ended"
    assert server_pid(mountpoint) == process.pid
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert at.leftovers() == []


def test_in_the_foreground_with_a_log(at: Bench, sample: Path) -> None:
    mountpoint, log = at.mountpoint(), at.directory / "logs" / "x.log"
    process = at.start(sample, mountpoint, "-o", f"foreground,log={log}")
    assert until(lambda: mounts.find_mount(mountpoint) is not None)
    assert until(lambda: log.exists() and "mounted" in log.read_text())
    assert at.call("umount", mountpoint).returncode == 0
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_over_the_source_itself(at: Bench, sample_copy: Path) -> None:
    before = sorted(os.listdir(sample_copy / "ILSVRC2012"))
    done = at.call("mount", sample_copy, sample_copy)
    assert done.returncode == 0, done.stderr
    assert len(os.listdir(sample_copy / "ILSVRC2012" / "train")) > 1
    assert sorted(os.listdir(sample_copy / "source" / "ILSVRC2012")) == before
    assert at.call("umount", sample_copy).returncode == 0
    assert sorted(os.listdir(sample_copy / "ILSVRC2012")) == before


def test_warnings_stand_on_the_terminal_and_in_status(at: Bench, sample_copy: Path) -> None:
    for path in (sample_copy / "ILSVRC2012").glob("ILSVRC2012_devkit*"):
        shutil.rmtree(path)
    mountpoint = at.mountpoint()
    done = at.call("mount", sample_copy, mountpoint)
    assert done.returncode == 0
    assert "imagenetfs: warning: " in done.stderr
    assert "warning" in at.call("status", mountpoint).stdout
    assert json.loads(at.call("status", "--json", mountpoint).stdout)[0]["warnings"]
    assert at.call("umount", mountpoint).returncode == 0


def test_a_pythonpath_full_of_other_versions(at: Bench, sample: Path) -> None:
    other = at.directory / "other"
    other.mkdir()
    for name in ("numpy", "pyfuse3", "trio", "typing_extensions", "scipy"):
        (other / f"{name}.py").write_text("raise ImportError('another version')\n")
    mountpoint = at.mountpoint()
    done = at.call("mount", sample, mountpoint, PYTHONPATH=str(other))
    assert (done.returncode, done.stderr) == (0, "")
    assert at.call("umount", mountpoint, PYTHONPATH=str(other)).returncode == 0


def test_a_sites_ceiling(at: Bench, sample: Path) -> None:
    site = at.directory / "site.toml"
    site.write_text("[ceilings]\nworkers = 1\n")
    mountpoint = at.mountpoint()
    arguments = ("mount", sample, mountpoint, "--workers", "5")
    done = at.call(*arguments, IMAGENETFS_SITE_CONFIG=str(site))
    assert done.returncode == 0
    assert "workers lowered from 5 to 1" in done.stderr
    workers = json.loads(at.call("status", "--json", mountpoint).stdout)[0]["workers"]
    assert len(workers) == 1
    assert at.call("umount", mountpoint).returncode == 0


# --- dead mounts ----------------------------------------------------------------------------------


def test_a_dead_mount_is_healed_by_mount(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint).returncode == 0
    kill_server(mountpoint)
    assert json.loads(at.call("status", "--json", mountpoint).stdout)[0]["state"] == "stale"
    assert "stale" in at.call("status", mountpoint).stdout
    done = at.call("mount", sample, mountpoint)
    assert done.returncode == 0
    assert f"took away a dead mount at {mountpoint}" in done.stderr
    assert "ILSVRC2012" in os.listdir(mountpoint)
    assert len(at.entries()) == 1
    assert at.call("umount", mountpoint).returncode == 0
    assert at.leftovers() == []


def test_a_dead_mount_is_taken_away_by_umount(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint).returncode == 0
    kill_server(mountpoint)
    done = at.call("umount", mountpoint)
    assert done.returncode == 0
    assert "took away a dead mount" in done.stderr
    assert at.leftovers() == []


# --- umount ---------------------------------------------------------------------------------------


def test_a_busy_mount_names_who_holds_it(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint).returncode == 0
    pid = server_pid(mountpoint)
    at.constants["imagenetfs.job.unmount:BUSY_SECONDS"] = 0.3
    at.constants["imagenetfs.job.unmount:LOOK_SECONDS"] = 0.2
    holder = subprocess.Popen(["cat"], cwd=mountpoint, stdin=subprocess.PIPE)
    try:
        done = at.call("umount", mountpoint)
        assert done.returncode == 26
        assert f"cat ({holder.pid})" in done.stderr
        assert "ILSVRC2012" in os.listdir(mountpoint)
        done = at.call("umount", "--lazy", mountpoint)
        assert done.returncode == 0
        assert at.entries() == []
    finally:
        holder.communicate()
    assert until(lambda: not is_running(pid))


def test_a_reader_that_is_just_ending_gets_its_time(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint).returncode == 0
    holder = subprocess.Popen(["cat"], cwd=mountpoint, stdin=subprocess.PIPE)
    umount = at.start("umount", mountpoint)
    time.sleep(0.3)  # it has found the mount busy by then, or does not find it at all
    assert umount.poll() is None
    holder.communicate()
    umount.communicate(timeout=60)
    assert umount.returncode == 0


def test_from_within_the_mount(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint).returncode == 0
    command = [sys.executable, "-P", "-m", "imagenetfs", "umount", "."]
    done = subprocess.run(
        command, cwd=mountpoint, env=at.environ(), capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")


# --- status ---------------------------------------------------------------------------------------


def test_status(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint("with space")
    assert at.call("mount", sample, mountpoint).returncode == 0
    image = next((mountpoint / "ILSVRC2012" / "train").rglob("*.JPEG"))
    size = len(image.read_bytes())
    found = json.loads(at.call("status", "--json", mountpoint).stdout)
    assert len(found) == 1
    assert found[0]["mountpoint"] == str(mountpoint)
    assert found[0]["source"] == str(sample)
    assert found[0]["state"] == "live"
    assert found[0]["counters"]["bytes_served"] >= size
    everything = json.loads(at.call("status", "--json").stdout)
    assert str(mountpoint) in [entry["mountpoint"] for entry in everything]
    shown = at.call("status").stdout
    assert str(mountpoint) in shown
    assert "\nlimit\t" in shown
    watching = at.start("status", mountpoint, "--watch", "--metrics", at.directory / "x.prom")
    try:
        assert watching.stdout is not None
        assert f" {mountpoint}: " in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=_HANG_SECONDS)
    finally:
        watching.kill()
        watching.wait()
    assert (watching.returncode, err) == (0, "")
    assert "imagenetfs_images_read_total{" in (at.directory / "x.prom").read_text()
    assert at.call("umount", mountpoint).returncode == 0


def test_a_mount_that_hangs_does_not_hang_status(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint).returncode == 0
    found = json.loads(at.call("status", "--json", mountpoint).stdout)[0]
    stopped = [found["pid"], *(worker["pid"] for worker in found["workers"])]
    at.constants["imagenetfs.job.status:ANSWER_SECONDS"] = 0.5
    at.constants["imagenetfs.job.preflight:ANSWER_SECONDS"] = 0.5
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        status = at.start("status", "--json", mountpoint)  # side by side: each waits for its answer
        done = at.call("mount", sample, mountpoint)
        assert json.loads(status.communicate(timeout=60)[0])[0]["state"] == "silent"
        assert done.returncode == 23
        assert "does not answer" in done.stderr
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    at.constants.clear()
    assert at.call("umount", mountpoint).returncode == 0


# --- life and end ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_server_in_the_background_is_told_to_end(
    at: Bench, sample: Path, number: signal.Signals
) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint).returncode == 0
    pid = json.loads(at.call("status", "--json", mountpoint).stdout)[0]["pid"]
    assert pid == server_pid(mountpoint)
    os.kill(pid, number)
    assert until(lambda: not is_running(pid))
    assert at.leftovers() == []


def test_an_unused_mount_ends_by_itself(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", "--idle", "2s", sample, mountpoint).returncode == 0
    pid = server_pid(mountpoint)
    image = next((mountpoint / "ILSVRC2012" / "train").rglob("*.JPEG"))
    ends = time.monotonic() + 3.0
    while time.monotonic() < ends:
        assert not until(lambda: at.entries() == [], 0.2), "it is in use"
        assert image.read_bytes()  # of which the kernel has all but the way to it
    holder = subprocess.Popen(["cat"], cwd=mountpoint, stdin=subprocess.PIPE)
    try:
        assert not until(lambda: at.entries() == [], 3), "somebody is in it"
    finally:
        holder.communicate()
    assert until(lambda: at.entries() == [])
    assert until(lambda: not is_running(pid))
    assert at.leftovers() == []


def test_a_mountpoint_that_is_made_goes_with_the_mount(at: Bench, sample: Path) -> None:
    mountpoint = at.directory / "made"
    assert at.call("mount", "--make", sample, mountpoint).returncode == 0
    assert "ILSVRC2012" in os.listdir(mountpoint)
    assert at.call("umount", mountpoint).returncode == 0
    assert until(lambda: not mountpoint.exists())
    there = at.mountpoint("there")
    assert at.call("mount", "--make", sample, there).returncode == 0
    assert at.call("umount", there).returncode == 0
    assert until(lambda: at.leftovers() == [])
    assert there.is_dir(), "it was there before"


def test_beneath_a_made_mountpoint_stands_what_is_the_matter(at: Bench, sample: Path) -> None:
    mountpoint = at.directory / "made"
    assert at.call("mount", "--make", sample, mountpoint).returncode == 0
    kill_server(mountpoint)
    mounts.detach(at.entries()[0], lazy=True)
    assert os.listdir(mountpoint) == ["NOT_MOUNTED"]
    assert "not mounted" in (mountpoint / "NOT_MOUNTED").read_text()
    assert at.call("mount", "--make", sample, mountpoint).returncode == 0
    kill_server(mountpoint)
    assert at.call("mount", "--make", sample, mountpoint).returncode == 0
    assert "ILSVRC2012" in os.listdir(mountpoint)
    assert at.call("umount", mountpoint).returncode == 0
    assert until(lambda: not mountpoint.exists())


def test_the_systems_log(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    if not os.path.exists("/dev/log"):
        done = at.call("mount", "--log", "syslog", sample, mountpoint)
        assert done.returncode == 27
        assert "There is no syslog here" in done.stderr
        return
    assert at.call("mount", "--log", "syslog", sample, mountpoint).returncode == 0
    assert at.call("umount", mountpoint).returncode == 0
    assert at.leftovers() == []
