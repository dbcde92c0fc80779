"""The units of systemd/: verified, and run by a real systemd."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.bench import until
from tests.helpers.forkserver import REPOSITORY
from tests.jobs import needs
from tests.jobs.machine import Machine, launcher

pytestmark = [needs.systemd, pytest.mark.timeout(300)]

UNITS = REPOSITORY / "systemd"
SERVICE = "imagenetfs@mnt-all.service"
MOUNT = "mnt-imagenet.mount"
ACCOUNT = "imagenetfs"
USER, UID = "ana", 24001
OWN = "imagenetfs@home-ana-imagenet.service"


def accounts(name: str, lines: str) -> str:
    return Path("/etc", name).read_text().rstrip("\n") + f"\n{lines}\n"


def installed() -> dict[str, str]:
    """What docs/site.md says to install, and where."""
    mount = (UNITS / MOUNT).read_text().replace("/datashare/imagenet", "/srv/imagenet")
    return {
        "/etc/systemd/system/imagenetfs@.service": (UNITS / "imagenetfs@.service").read_text(),
        f"/etc/systemd/system/{MOUNT}": mount,
        "/usr/local/bin/imagenetfs": launcher(),
        "/usr/sbin/mount.fuse.imagenetfs": (UNITS / "mount.fuse.imagenetfs").read_text(),
        "/etc/imagenetfs.toml": 'source = "/srv/imagenet"\n[ceilings]\nworkers = 3\n',
        "/etc/fuse.conf": "user_allow_other\n",
        "/etc/passwd": accounts(
            "passwd",
            f"{ACCOUNT}:x:24003:24003::/nonexistent:/bin/false\n"
            f"{USER}:x:{UID}:{UID}::/home/{USER}:/bin/sh",
        ),
        "/etc/group": accounts("group", f"{ACCOUNT}:x:24003:\n{USER}:x:{UID}:"),
        f"/home/{USER}/.local/bin/imagenetfs": launcher(),
        f"/home/{USER}/.config/systemd/user/imagenetfs@.service": (
            UNITS / "user" / "imagenetfs@.service"
        ).read_text(),
    }


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Iterator[Machine]:
    canary = Path("/tmp") / f"imagenetfs-canary-{os.getpid()}"
    canary.touch()
    made = Machine(tmp_path_factory.mktemp("machine"), sample, installed())
    try:
        assert canary.exists(), "a systemd in the real /tmp empties it"
        canary.unlink()
        yield made
    finally:
        made.close()


# --- the service ----------------------------------------------------------------------------------


def pid(machine: Machine) -> int:
    return int(machine.properties(SERVICE, "MainPID")["MainPID"])


@pytest.fixture
def service(machine: Machine) -> Iterator[str]:
    started = machine.call("systemctl", "start", SERVICE)
    assert started.returncode == 0, machine.call("journalctl", "-u", SERVICE).stdout
    yield SERVICE
    machine.call("systemctl", "stop", SERVICE)
    machine.call("systemctl", "reset-failed", SERVICE)


def test_started_means_readable_for_everybody(machine: Machine, service: str) -> None:
    seen = machine.call(
        "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ls", "/mnt/all"
    )
    assert "ILSVRC2012" in seen.stdout.splitlines()
    owner = machine.call("stat", "-c", "%U", f"/proc/{pid(machine)}").stdout.strip()
    assert owner == ACCOUNT
    shown = machine.properties(service, "ActiveState", "StatusText")
    assert shown["ActiveState"] == "active"
    assert "is mounted at /mnt/all" in shown["StatusText"]


def test_stop_unmounts(machine: Machine, service: str) -> None:
    assert machine.mounts() == ["/mnt/all"]
    assert machine.call("systemctl", "stop", service).returncode == 0
    assert machine.mounts() == []
    assert machine.properties(service, "Result")["Result"] == "success"
    assert machine.call("pgrep", "-u", ACCOUNT).stdout == ""


def test_killed_means_started_again(machine: Machine, service: str) -> None:
    first = pid(machine)
    machine.call("kill", "-9", first)
    assert until(lambda: pid(machine) not in (0, first) and is_active(machine))
    assert "ILSVRC2012" in machine.call("ls", "/mnt/all").stdout
    assert machine.mounts() == ["/mnt/all"]


def is_active(machine: Machine) -> bool:
    return machine.properties(SERVICE, "ActiveState")["ActiveState"] == "active"


def test_a_supervisor_that_hangs_is_started_again(machine: Machine) -> None:
    edit = "[Service]\nWatchdogSec=3\nTimeoutAbortSec=2\n"
    drop_in = f"/run/systemd/system/{SERVICE}.d"
    machine.call("sh", "-c", f"mkdir -p {drop_in}; printf '{edit}' > {drop_in}/w.conf")
    machine.call("systemctl", "daemon-reload")
    try:
        assert machine.call("systemctl", "start", SERVICE).returncode == 0
        first = pid(machine)
        # Longer than the watchdog's time, and the supervisor has been heard of meanwhile.
        assert not until(lambda: pid(machine) != first, 5)
        machine.call("kill", "-STOP", first)
        assert until(lambda: pid(machine) not in (0, first) and is_active(machine))
        assert "ILSVRC2012" in machine.call("ls", "/mnt/all").stdout
    finally:
        machine.call("systemctl", "stop", SERVICE)
        machine.call("rm", "-r", drop_in)
        machine.call("systemctl", "daemon-reload")


def test_unmounted_by_hand_is_no_failure(machine: Machine, service: str) -> None:
    assert machine.call("umount", "/mnt/all").returncode == 0
    assert until(lambda: not is_active(machine))
    assert machine.properties(service, "Result")["Result"] == "success"


def test_a_source_that_is_not_there_fails_with_a_sentence(machine: Machine) -> None:
    env = "/etc/imagenetfs/mnt-all.env"
    machine.call("sh", "-c", f"mkdir -p /etc/imagenetfs; echo IMAGENETFS_SOURCE=/none > {env}")
    drop_in = f"/run/systemd/system/{SERVICE}.d"
    once = "[Service]\\nRestart=no\\nStandardError=append:/run/said\\n"
    machine.call("sh", "-c", f"mkdir -p {drop_in}; printf '{once}' > {drop_in}/once.conf")
    machine.call("systemctl", "daemon-reload")
    try:
        assert machine.call("systemctl", "start", SERVICE).returncode != 0
        shown = machine.properties(SERVICE, "ExecMainStatus", "ActiveState")
        assert shown == {"ExecMainStatus": "10", "ActiveState": "failed"}
        assert "The source /none is not there" in machine.call("cat", "/run/said").stdout
        assert machine.mounts() == []
    finally:
        machine.call("rm", "-r", drop_in, env)
        machine.call("systemctl", "daemon-reload")
        machine.call("systemctl", "reset-failed", SERVICE)


# --- one's own ------------------------------------------------------------------------------------


class Own:
    """A user's own systemd, and her commands. (No logind here, which would
    start it when she logs in.)
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._environ = {"HOME": f"/home/{USER}", "XDG_RUNTIME_DIR": f"/run/user/{UID}"}
        machine.call("chown", "-R", f"{UID}:{UID}", f"/home/{USER}")
        machine.call("install", "-d", "-m", "700", "-o", USER, "-g", USER, f"/run/user/{UID}")
        environ = [f"--setenv={name}={value}" for name, value in self._environ.items()]
        started = machine.call(
            *("systemd-run", "--unit=own", f"--uid={USER}", "--property=Delegate=yes"),
            *(*environ, "/lib/systemd/systemd", "--user"),
        )
        assert started.returncode == 0, started.stderr
        assert until(
            lambda: self.call("systemctl", "--user", "is-active", "basic.target") == "active"
        )

    def call(self, *words: str) -> str:
        """A command of hers; what it says, on both channels."""
        who = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups")
        done = self._machine.call(*who, *words, seconds=60.0, **self._environ)
        return (done.stdout + done.stderr).strip()

    def pid(self) -> int:
        return int(self.call("systemctl", "--user", "show", "--value", "-p", "MainPID", OWN))

    def is_active(self) -> bool:
        return self.call("systemctl", "--user", "is-active", OWN) == "active"


@pytest.fixture
def own(machine: Machine) -> Iterator[Own]:
    """Her systemd, for one test: another ends it."""
    yield Own(machine)
    machine.call("systemctl", "stop", "own")
    machine.call("systemctl", "reset-failed", "own")


def test_ones_own_mount(machine: Machine, own: Own) -> None:
    mountpoint = f"/home/{USER}/imagenet"
    assert own.call("systemctl", "--user", "start", OWN) == ""
    assert "ILSVRC2012" in own.call("ls", mountpoint).splitlines()
    assert machine.mounts() == [mountpoint]
    first = own.pid()
    machine.call("kill", "-9", first)
    assert until(lambda: own.pid() not in (0, first) and own.is_active())
    assert "ILSVRC2012" in own.call("ls", mountpoint).splitlines()
    assert machine.mounts() == [mountpoint]
    assert own.call("systemctl", "--user", "stop", OWN) == ""
    assert machine.mounts() == []
    assert "No such file" in own.call("ls", mountpoint), "made by the unit, so removed with it"
    assert own.call("pgrep", "-u", USER, "-f", "imagenetfs") == ""


def test_ones_own_mount_ends_with_the_last_session(machine: Machine, own: Own) -> None:
    assert own.call("systemctl", "--user", "start", OWN) == ""
    assert machine.mounts() == [f"/home/{USER}/imagenet"]
    assert machine.call("systemctl", "stop", "own").returncode == 0
    assert machine.mounts() == []


# --- mount units, fstab ---------------------------------------------------------------------------


def test_a_mount_unit(machine: Machine) -> None:
    started = machine.call("systemctl", "start", MOUNT)
    assert started.returncode == 0, machine.call("systemctl", "status", MOUNT).stdout
    seen = machine.call(
        "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ls", "/mnt/imagenet"
    )
    assert "ILSVRC2012" in seen.stdout.splitlines()
    assert machine.call("systemctl", "stop", MOUNT).returncode == 0
    assert machine.mounts() == []
    assert until(lambda: machine.call("pgrep", "-f", "imagenetfs-work").stdout == "")


@pytest.mark.parametrize("helper", [True, False])
def test_a_line_of_fstab(machine: Machine, helper: bool) -> None:
    line = "/srv/imagenet /mnt/fstab fuse.imagenetfs ro,allow_other,_netdev,nofail 0 0"
    machine.call("sh", "-c", f"mkdir -p /mnt/fstab; echo '{line}' > /etc/fstab")
    path, aside = "/usr/sbin/mount.fuse.imagenetfs", "/run/aside"
    if not helper:  # then fuse3's own helper finds the command
        machine.call("mv", path, aside)
    try:
        mounted = machine.call("mount", "/mnt/fstab")
        assert (mounted.returncode, mounted.stderr) == (0, "")
        assert machine.mounts() == ["/mnt/fstab"]
        assert "ILSVRC2012" in machine.call("ls", "/mnt/fstab").stdout
        assert machine.call("umount", "/mnt/fstab").returncode == 0
        assert machine.mounts() == []
    finally:
        if not helper:
            machine.call("mv", aside, path)


# --- without running them -------------------------------------------------------------------------


def test_the_units_are_well_formed(tmp_path: Path) -> None:
    command = tmp_path / "imagenetfs"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    for path, name, scope in (
        (UNITS / "imagenetfs@.service", SERVICE, "--system"),
        (UNITS / MOUNT, MOUNT, "--system"),
        (UNITS / "user" / "imagenetfs@.service", SERVICE, "--user"),
    ):
        unit = tmp_path / scope.strip("-") / name
        unit.parent.mkdir(exist_ok=True)
        unit.write_text(path.read_text().replace("ExecStart=imagenetfs ", f"ExecStart={command} "))
        done = subprocess.run(
            ["systemd-analyze", scope, "verify", "--man=no", unit],
            env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), path
