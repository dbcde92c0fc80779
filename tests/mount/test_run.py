"""run: mount, run, unmount, on every way out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagenetfs.system import mounts
from tests.helpers.bench import (
    COMMAND,
    Bench,
    Terminal,
    finish,
    is_running,
    server_pid,
    until,
    waiting,
)
from tests.helpers.randomness import seeded

pytestmark = [pytest.mark.timeout(180), pytest.mark.spread]

STATUS = ("cat", "{mnt}/.imagenetfs/status.json")


# --- the plain case -------------------------------------------------------------------------------


def test_mount_run_unmount(at: Bench, sample: Path) -> None:
    script = 'echo "$IMAGENETFS_MOUNT" {mnt} "$0"; ls {mnt}; cat; exit 7'
    done = subprocess.run(
        [*COMMAND, "run", str(sample), "--", "sh", "-c", script, "{mnt}/x"],
        env=at.environ(),
        input="from stdin\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    first, *listing, last = done.stdout.splitlines()
    assert first == f"{at.default} {at.default} {at.default}/x"
    assert "ILSVRC2012" in listing
    assert last == "from stdin"
    assert (done.returncode, done.stderr) == (7, "")
    assert at.leftovers() == []


def test_the_commands_surroundings_are_the_users(at: Bench, sample: Path, tmp_path: Path) -> None:
    script = (
        "import os, sys; print(os.getcwd(), os.environ.get('PYTHONPATH'), os.umask(0o22),"
        " sorted(os.listdir('/proc/self/fd')), [k for k in os.environ if '_IMAGENETFS' in k])"
    )
    command = [sys.executable, "-c", script]
    outcomes = []
    for front in ([], [*COMMAND, "run", str(sample), "--"]):
        done = subprocess.run(
            [*front, *command],
            env=at.environ(PYTHONPATH="/some/where"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        outcomes.append(done.stdout)
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["no-such-command-here"], 127),
        (["/etc/passwd"], 126),
        (["{mnt}"], 126),
    ],
)
def test_exit_codes(at: Bench, sample: Path, command: list[str], code: int) -> None:
    done = at.call("run", sample, "--", *command)
    assert done.returncode == code
    assert done.stdout == ""
    assert at.leftovers() == []


def test_at_a_place_of_ones_own(at: Bench, sample: Path) -> None:
    new = at.directory / "new"
    done = at.call("run", sample, "--at", new, "--", "ls", "{mnt}")
    assert done.returncode == 0
    assert "ILSVRC2012" in done.stdout
    assert not new.exists(), "made by run, so removed by it"
    there = at.mountpoint("there")
    assert at.call("run", sample, "--at", there, "--", "ls", "{mnt}").returncode == 0
    assert there.is_dir()
    assert at.leftovers() == []


def test_the_name_of_a_job(at: Bench, sample: Path) -> None:
    environ = {"SLURM_JOB_ID": "4711", "IMAGENETFS_SOURCE": str(sample)}
    done = at.call("run", "--", "echo", "{mnt}", **environ)
    assert done.stdout == f"{at.run_root}/4711\n"
    done = at.call("run", "--", "echo", "{mnt}", SLURM_STEP_ID="0", **environ)
    assert done.stdout == f"{at.run_root}/4711.0\n"
    assert at.leftovers() == []


# --- sharing --------------------------------------------------------------------------------------


def test_a_second_run_joins_and_the_last_one_out_unmounts(at: Bench, sample: Path) -> None:
    first = waiting(at, sample)
    pid = server_pid(at.default)
    second = waiting(at, sample)
    assert len(at.entries()) == 1
    assert finish(first) == (7, "")
    assert server_pid(at.default) == pid
    assert finish(second) == (7, "")
    assert at.leftovers() == []
    assert not is_running(pid)


def test_many_that_start_at_once_share_one_mount(at: Bench, sample: Path) -> None:
    count = 50
    here = at.mountpoint("here")
    script = f"{' '.join(STATUS)}; : > {here}/$0; cat > /dev/null; ls {{mnt}} >&2; exit $0"
    command = ("run", sample, "--", "sh", "-c", script)
    fronts = [at.start(*command, n, stdin=subprocess.PIPE) for n in range(count)]
    assert until(lambda: len(os.listdir(here)) == count, 120)
    pids = set()
    for number, front in enumerate(fronts):
        out, err = front.communicate(timeout=150)
        assert front.returncode == number, err
        assert "ILSVRC2012" in err
        pids.add(json.loads(out)["pid"])
    assert len(pids) == 1
    assert at.leftovers() == []
    assert not is_running(pids.pop())


def test_coming_and_going(at: Bench, sample: Path) -> None:
    # Starts, joins and ends meet at random: every command must see a mount all the time it runs.
    script = (
        "for i in 1 2 3 4 5; do ls {mnt}/ILSVRC2012/train > /dev/null || exit 1; sleep 0.0$0; done"
    )
    for _ in range(3):
        fronts = [at.start("run", sample, "--", "sh", "-c", script, n) for n in range(1, 10)]
        for front in fronts:
            assert front.communicate(timeout=120) == ("", "")
            assert front.returncode == 0
    assert at.leftovers() == []


def test_a_run_within_a_run_joins_it(at: Bench, sample: Path) -> None:
    inner = [*COMMAND, "run", "--", "echo", "{mnt} $IMAGENETFS_MOUNT"]
    # The outer run fills {mnt} in for both.
    done = at.call("run", sample, "--at", at.directory / "own", "--", *inner)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == str(at.directory / "own")
    assert at.leftovers() == []


def test_the_last_run_of_a_mount_says_what_was_read(at: Bench, sample: Path) -> None:
    inner = f"{' '.join(COMMAND)} run --summary -- true"
    read = "cat {mnt}/ILSVRC2012/val/*/* > /dev/null"
    done = at.call("run", sample, "--summary", "--", "sh", "-c", f"{read}; {inner}")
    images = len(list((sample / "ILSVRC2012" / "validation").rglob("*.JPEG")))
    assert done.returncode == 0
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"imagenetfs: summary: {images} images read, ")
    around = "with headers and what lies around the images"
    assert sentence.endswith(f" from {sample}, {around}); no problems.")
    assert at.leftovers() == []


def test_a_run_in_a_mount_that_stays_says_what_was_read(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint).returncode == 0
    done = at.call("run", "--at", mountpoint, sample, "--summary", "--", "true")
    assert done.stderr.startswith("imagenetfs: summary: 0 images read, ")
    assert at.call("umount", mountpoint).returncode == 0


def test_a_mount_made_by_mount_is_joined_and_stays(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint).returncode == 0
    pid = server_pid(mountpoint)
    for arguments, environ in (
        (("--at", mountpoint, sample), {}),
        ((), {"IMAGENETFS_MOUNT": str(mountpoint)}),
    ):
        done = at.call("run", *arguments, "--", *STATUS, **environ)
        assert (done.returncode, json.loads(done.stdout)["pid"], done.stderr) == (0, pid, "")
    assert server_pid(mountpoint) == pid
    assert at.call("umount", mountpoint).returncode == 0
    assert at.leftovers() == []


def test_a_mount_without_a_lease_is_used_and_left_alone(at: Bench, sample: Path) -> None:
    # As one that the node's administrator made for all: there is no socket of this user's.
    at.constants["imagenetfs.job.mount_handle:FOREIGN_SECONDS"] = 0.3
    mountpoint = at.mountpoint()
    other = {"IMAGENETFS_RUN_DIR": str(at.directory / "other")}
    assert at.call("mount", sample, mountpoint, **other).returncode == 0
    done = at.call("run", "--", "ls", "{mnt}", IMAGENETFS_MOUNT=str(mountpoint))
    assert done.returncode == 0
    assert "ILSVRC2012" in done.stdout
    assert mounts.find_mount(mountpoint) is not None
    assert at.call("umount", mountpoint, **other).returncode == 0


def test_a_name_of_a_mount_that_is_no_more(at: Bench, sample: Path) -> None:
    for name in ("/no/such", "/proc", str(at.mountpoint())):
        done = at.call("run", sample, "--", "echo", "{mnt}", IMAGENETFS_MOUNT=name)
        assert done.stdout == f"{at.default}\n"


def test_another_source_gets_another_name(at: Bench, sample: Path, sample_copy: Path) -> None:
    first = waiting(at, sample)
    second = at.call("run", sample_copy, "--", "echo", "{mnt}")
    assert second.returncode == 0
    assert second.stdout.startswith(f"{at.default}-")
    done = at.call("run", sample_copy, "--at", at.default, "--", "true")
    assert done.returncode == 125
    assert "--at" in done.stderr
    assert finish(first) == (7, "")
    assert at.leftovers() == []


def test_the_same_source_by_another_name_is_the_same(at: Bench, sample: Path) -> None:
    (at.directory / "link").symlink_to(sample)
    first = waiting(at, sample)
    second = waiting(at, at.directory / "link")
    assert len(at.entries()) == 1
    assert finish(first) == (7, "")
    assert finish(second) == (7, "")


# --- others at the same mount ---------------------------------------------------------------------


def test_umount_does_not_take_it_from_under_a_run(at: Bench, sample: Path) -> None:
    front = waiting(at, sample)  # its command has nothing open in the mount
    done = at.call("umount", at.default)
    assert done.returncode == 26
    assert f"in use by a run (process {front.pid})" in done.stderr
    assert "--lazy" in done.stderr
    assert "ILSVRC2012" in os.listdir(at.default)
    assert finish(front) == (7, "")
    assert at.leftovers() == []


def test_umount_of_a_mount_that_runs_have_joined(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint).returncode == 0
    fronts = [waiting(at, sample, "--at", mountpoint) for _ in range(2)]
    done = at.call("umount", mountpoint)
    assert done.returncode == 26
    pids = ", ".join(str(pid) for pid in sorted(front.pid for front in fronts))
    assert f"2 runs (process {pids})" in done.stderr
    assert finish(fronts[0]) == (7, "")
    assert finish(fronts[1]) == (7, "")
    assert at.call("umount", mountpoint).returncode == 0
    assert at.leftovers() == []


def test_lazily_it_goes_all_the_same(at: Bench, sample: Path) -> None:
    front = waiting(at, sample)
    assert at.call("umount", "--lazy", at.default).returncode == 0
    assert at.entries() == []
    assert finish(front)[0] == 7
    assert at.leftovers() == []


def test_options_that_have_no_effect_are_told(at: Bench, sample: Path) -> None:
    cache = at.directory / "cache"
    first = waiting(at, sample, "--workers", "3", "--revalidate", "30")
    pid = server_pid(at.default)
    same = at.call("run", sample, "--workers", "3", "--", "echo", "{mnt}")
    assert (same.stdout, same.stderr) == (f"{at.default}\n", "")
    other = {"IMAGENETFS_REVALIDATE": "20"}
    done = at.call(
        "run", sample, "--workers=1", "--cache-dir", cache, "--", "echo", "{mnt}", **other
    )
    assert done.stdout == f"{at.default}\n"
    names = "--workers, --cache-dir, $IMAGENETFS_REVALIDATE"
    assert done.stderr == (
        f"imagenetfs: joined the mount of process {pid}; {names} have no effect there.\n"
    )
    assert finish(first) == (7, "")


def test_what_is_shown_otherwise_is_another_mount(at: Bench, sample: Path) -> None:
    first = waiting(at, sample)
    asked = ("run", sample, "--prefer", "directories")
    done = at.call(*asked, "--at", at.default, "--", "true")
    assert done.returncode == 125
    assert "prefers archives, and not directories" in done.stderr
    assert "--at" in done.stderr
    done = at.call(*asked, "--", "echo", "{mnt}")
    assert done.stdout.startswith(f"{at.default}-")
    assert finish(first) == (7, "")
    assert at.leftovers() == []


# --- every way out --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_a_signal_to_the_front_is_the_commands(at: Bench, sample: Path, name: str) -> None:
    script = f"trap 'echo got; exit 3' {name[3:]}; echo ready; while :; do sleep 0.1; done"
    front = at.start("run", sample, "--", "sh", "-c", script)
    assert front.stdout is not None
    assert front.stdout.readline() == "ready\n"
    front.send_signal(getattr(signal, name))
    out, err = front.communicate(timeout=60)
    assert (front.returncode, out, err) == (3, "got\n", "")
    assert at.leftovers() == []


def test_a_command_that_dies_of_the_signal(at: Bench, sample: Path) -> None:
    front = at.start("run", sample, "--", "sh", "-c", "echo ready; exec sleep 60")
    assert front.stdout is not None
    assert front.stdout.readline() == "ready\n"
    front.terminate()
    front.communicate(timeout=60)
    assert front.returncode == 143
    assert at.leftovers() == []


def log_of(mountpoint: Path) -> str:
    return (mountpoint / ".imagenetfs" / "log").read_text()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_to_the_server_does_not_end_it_under_its_command(
    at: Bench, sample: Path, name: str
) -> None:
    front = waiting(at, sample)
    pid = server_pid(at.default)
    os.kill(pid, getattr(signal, name))
    assert until(lambda: f"{name} is not heeded" in log_of(at.default))
    assert server_pid(at.default) == pid
    assert finish(front) == (7, "")
    assert at.leftovers() == []
    assert not is_running(pid)


SAVES = """
import os, pathlib, signal
told = []
signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
print("ready", flush=True)
while not told:
    signal.pause()
val = pathlib.Path(os.environ["IMAGENETFS_MOUNT"], "ILSVRC2012", "val")
print(sum(len(path.read_bytes()) for path in val.glob("*/*") for _ in range(20)))
raise SystemExit(5)
"""


def test_a_signal_to_every_process_lets_the_command_finish(at: Bench, sample: Path) -> None:
    # As Slurm does where it follows a job's processes by their parents (proctrack/linuxproc).
    done = at.call("run", sample, "--", "sh", "-c", "cat {mnt}/ILSVRC2012/val/*/* | wc -c")
    expected = int(done.stdout) * 20
    front = at.start("run", sample, "--", sys.executable, "-c", SAVES)
    assert front.stdout is not None
    assert front.stdout.readline() == "ready\n"
    status = json.loads((at.default / ".imagenetfs" / "status.json").read_text())
    servers = [status["pid"], *(worker["pid"] for worker in status["workers"])]
    for pid in (front.pid, *servers):  # the front passes it on to the command
        os.kill(pid, signal.SIGTERM)
    out, err = front.communicate(timeout=60)
    assert (front.returncode, out, err) == (5, f"{expected}\n", "")
    assert at.leftovers() == []
    assert not any(is_running(pid) for pid in servers)


def test_a_front_that_is_killed(at: Bench, sample: Path) -> None:
    front = waiting(at, sample)
    pid = server_pid(at.default)
    front.kill()
    assert until(lambda: at.leftovers() == [])
    assert until(lambda: not is_running(pid))
    front.communicate(timeout=30)


def test_a_command_that_outlives_its_front_loses_the_mount(at: Bench, sample: Path) -> None:
    at.constants["imagenetfs.server.supervisor:_GRACE_SECONDS"] = 0.5
    script = "cd {mnt}; echo ready; cat > /dev/null; ls ILSVRC2012 2>&1 || echo gone"
    front = at.start("run", sample, "--", "sh", "-c", script, stdin=subprocess.PIPE)
    assert front.stdout is not None
    assert front.stdout.readline() == "ready\n"
    pid = server_pid(at.default)
    front.kill()
    assert until(lambda: at.entries() == [])
    assert until(lambda: not is_running(pid)), "what is open gets some seconds, and no more"
    out, _ = front.communicate(timeout=30)
    assert out.endswith("gone\n")
    assert until(lambda: at.leftovers() == [])


def test_a_server_that_is_killed(at: Bench, sample: Path) -> None:
    front = waiting(at, sample)
    os.kill(server_pid(at.default), signal.SIGKILL)
    code, said = finish(front)
    assert code == 7
    assert "took away a dead mount" in said
    assert at.entries() == []
    # What the server could not tidy up is no obstacle to the next one, which does it instead.
    assert at.leftovers() == []
    assert at.call("run", sample, "--", "ls", "{mnt}").returncode == 0
    assert not at.default.exists()


def test_everything_killed_is_healed_by_the_next_start(at: Bench, sample: Path) -> None:
    front = waiting(at, sample)
    os.kill(server_pid(at.default), signal.SIGKILL)
    front.kill()
    front.communicate(timeout=30)
    assert len(at.entries()) == 1
    done = at.call("run", sample, "--", "ls", "{mnt}")
    assert done.returncode == 0
    assert "ILSVRC2012" in done.stdout
    assert "took away a dead mount" in done.stderr
    assert at.leftovers() == []


@pytest.mark.expects_log(
    "the command that started this mount has gone", r"the lines above say why\. Try `fusermount"
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_end_at_any_moment_of_the_start(at: Bench, sample: Path, number: signal.Signals) -> None:
    draw = seeded("an end while it starts", number)

    def is_excused(left: str) -> bool:
        """A front that is killed while it starts may leave an empty directory and its lock, which
        the next start takes over.
        """
        return number == signal.SIGKILL and (left == str(at.default) or left.endswith(".lock"))

    whole = 0.0
    for _ in range(2):  # the first call may wait for the fork server's imports
        began = time.monotonic()
        assert at.call("run", sample, "--", "true").returncode == 0
        whole = min(time.monotonic() - began, 1.5)  # less than the command takes
    for _ in range(12):
        # Short: a command that has started outlives its front when that is killed.
        front = at.start("run", sample, "--", "sleep", "2")
        time.sleep(draw.uniform(0.0, whole))
        front.send_signal(number)
        if number == signal.SIGINT:
            # Once the command runs, the terminal would have sent it there as well.
            time.sleep(0.1)
            front.send_signal(signal.SIGTERM)
        front.communicate(timeout=60)
        assert front.returncode != 0
        assert until(lambda: all(map(is_excused, at.leftovers()))), at.leftovers()
        assert at.entries() == []
    assert at.call("run", sample, "--", "true").returncode == 0
    assert until(lambda: at.leftovers() == []), at.leftovers()


def test_open_files_do_not_keep_the_mount(at: Bench, sample: Path) -> None:
    # A process that the command leaves behind must not hold the job's end up.
    at.constants["imagenetfs.server.supervisor:_GRACE_SECONDS"] = 0.5
    script = "(cd {mnt}; exec sleep 3600 > /dev/null 2>&1) & echo $!"
    done = at.call("run", sample, "--", "sh", "-c", script)
    assert done.returncode == 0
    assert at.entries() == []
    os.kill(int(done.stdout), signal.SIGKILL)
    assert until(lambda: at.leftovers() == [])


# --- terminals ------------------------------------------------------------------------------------


def test_ctrl_c(at: Bench, sample: Path) -> None:
    script = (
        "import time\n"
        "try: print('ready', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt: raise SystemExit(9)"
    )
    terminal = Terminal(at, "run", sample, "--", sys.executable, "-c", script)
    terminal.see("ready")
    terminal.type("\x03")
    assert terminal.end() == 9
    terminal.hang_up()
    assert at.leftovers() == []


def test_ctrl_z_and_fg(at: Bench, sample: Path) -> None:
    terminal = Terminal(at, "run", sample, "--", "sh", "-c", "echo ready; cat; exit 4")
    os.waitpid(terminal.pid, os.WNOHANG)
    terminal.see("ready")
    # The terminal stops the whole group only where a shell with job control is its session's
    # leader: an orphaned group ignores it. So what the shell would do is done here.
    os.killpg(terminal.pid, signal.SIGSTOP)
    _, status = os.waitpid(terminal.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert len(at.entries()) == 1
    os.killpg(terminal.pid, signal.SIGCONT)
    terminal.type("still here\n")
    terminal.see("still here\r\nstill here")
    terminal.type("\x04")
    assert terminal.end() == 4
    terminal.hang_up()
    assert at.leftovers() == []


def test_an_interactive_shell(at: Bench, sample: Path) -> None:
    terminal = Terminal(at, "run", sample, "--", "bash", "--norc", "--noprofile", "-i")
    terminal.type("PS1=; ls $IMAGENETFS_MOUNT; sleep 60\n")
    terminal.see("ILSVRC2012_t3")
    time.sleep(0.5)
    terminal.type("\x1a")  # bash stops its job, not itself
    terminal.see("Stopped")  # so bash asks twice whether it shall end
    terminal.type("exit 6\nexit 6\n")
    assert terminal.end() == 6
    terminal.hang_up()
    assert at.leftovers() == []


def test_a_terminal_that_goes_away(at: Bench, sample: Path) -> None:
    terminal = Terminal(at, "run", sample, "--", "sh", "-c", "echo ready; sleep 60")
    terminal.see("ready")
    terminal.hang_up()
    terminal.end()
    assert until(lambda: at.leftovers() == [])


def test_the_next_start_heals_what_another_job_has_left(at: Bench, sample: Path) -> None:
    front = waiting(at, sample, environ={"SLURM_JOB_ID": "4711"})
    living = waiting(at, sample, environ={"SLURM_JOB_ID": "4712"})
    os.kill(server_pid(at.run_root / "4711"), signal.SIGKILL)
    front.kill()
    front.communicate(timeout=30)
    assert len(at.entries()) == 2
    theirs = at.mountpoint("run/theirs")
    done = at.call("run", sample, "--", "ls", at.run_root)
    assert done.returncode == 0
    assert done.stderr.count("took away a dead mount") == 1
    assert set(done.stdout.split()) == {"4712", "imagenet", "theirs"}
    assert finish(living) == (7, "")
    theirs.rmdir()
    assert at.leftovers() == []
