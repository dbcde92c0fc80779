"""run --namespace and enter: as root, and as an ordinary user with fusermount3 and without."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.bench import COMMAND, Terminal, until
from tests.helpers.mounts import processes_marked
from tests.helpers.user_bench import MARK, Make, There
from tests.helpers.users import GROUP, USERS

pytestmark = [pytest.mark.timeout(180), pytest.mark.spread]

NAMESPACE = "readlink /proc/self/ns/mnt"
STATUS = "cat {mnt}/.imagenetfs/status.json"


@pytest.fixture(params=["root", "ana"])
def at(request: pytest.FixtureRequest, make: Make) -> There:
    return make(request.param)


def waiting(
    at: There, sample: Path, script: str, **options: Any
) -> tuple[subprocess.Popen[str], str]:
    """A namespaced run whose command prints one line by ``script``, and
    waits for its input to end.
    """
    whole = f"{script}; cat > /dev/null; exit 7"
    front = at.start(
        "run", "--namespace", sample, "--", "sh", "-c", whole, stdin=subprocess.PIPE, **options
    )
    assert front.stdout is not None
    line = front.stdout.readline()
    assert line, front.communicate()[1]
    return front, line.strip()


def finish(front: subprocess.Popen[str]) -> int:
    front.communicate(timeout=60)
    return front.returncode


# --- the plain case -------------------------------------------------------------------------------


def test_mount_run_and_nothing_left(at: There, sample: Path) -> None:
    script = 'echo "$IMAGENETFS_MOUNT" {mnt} "$0"; ls {mnt}; cat; exit 7'
    done = subprocess.run(
        [*at.front, "run", "--namespace", str(sample), "--", "sh", "-c", script, "{mnt}/x"],
        env=at.environ(),
        input="from stdin\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    first, *listing, last = done.stdout.splitlines()
    mountpoint = first.split()[0]
    assert first == f"{mountpoint} {mountpoint} {mountpoint}/x"
    assert "ILSVRC2012" in listing
    assert last == "from stdin"
    assert done.returncode == 7
    assert at.leftovers() == []


def test_the_command_is_who_and_where_it_was(make: Make, sample: Path) -> None:
    at = make("ana")
    directory = at.directory / "home"
    script = (
        "import os; print(os.getresuid(), os.getresgid(), GROUP in os.getgroups(), os.getcwd(),"
        "os.umask(0), sorted(os.listdir('/proc/self/fd')),"
        "[l for l in open('/proc/self/status') if l.startswith(('CapPrm', 'CapEff', 'CapInh'))])"
    ).replace("GROUP", str(GROUP))
    outcomes = []
    for words in (
        [*at.elsewhere.front("ana")],
        [*at.front, "run", "--namespace", str(sample), "--"],
    ):
        outcomes.append(
            subprocess.run(
                [
                    "sh",
                    "-c",
                    'cd "$0"; exec "$@"',
                    str(directory),
                    *words,
                    sys.executable,
                    "-c",
                    script,
                ],
                env={**at.environ(), "PYTHONPATH": ":".join(sys.path)},
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
        )
    assert outcomes[0].stdout == outcomes[1].stdout
    assert str(USERS["ana"]) in outcomes[0].stdout
    assert f"{directory}" in outcomes[0].stdout
    assert outcomes[0].stdout.count("0000000000000000") == 3
    assert outcomes[1].stderr.count("in a namespace of its own") == 1


def test_a_group_beyond_the_own_one_still_opens_doors(make: Make, sample: Path) -> None:
    at = make("ana")
    secret = at.directory / "home" / "secret"
    secret.write_text("read by the group")
    secret.chmod(0o040)
    os.chown(secret, 0, USERS["ana"])
    done = at.call("run", "--namespace", sample, "--", "cat", secret)
    assert (done.returncode, done.stdout) == (0, "read by the group")


def test_what_the_page_says_does_not_work(make: Make, sample: Path) -> None:
    at = make("ana")
    own = at.directory / "home" / "own"
    own.touch()
    os.chown(own, USERS["ana"], GROUP)
    words = ["chgrp", str(USERS["ana"]), str(own)]
    plain = subprocess.run([*at.elsewhere.front("ana"), *words], timeout=60)
    assert plain.returncode == 0
    os.chown(own, USERS["ana"], GROUP)
    done = at.call("run", "--namespace", sample, "--", *words)
    assert done.returncode != 0
    assert "namespace.md" in done.stderr


def test_root_keeps_what_root_has(make: Make, sample: Path) -> None:
    at = make("root")
    done = at.call("run", "--namespace", sample, "--", "sh", "-c", "readlink /proc/self/ns/user")
    assert done.stdout.strip() == str(Path("/proc/self/ns/user").readlink())
    assert done.stderr == ""


# --- when it is taken -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fusermount", "sentence"),
    [("missing", "there is no fusermount3 here"), ("refused", "not today")],
)
def test_by_itself_where_fusermount_does_not_work(
    make: Make, sample: Path, fusermount: str, sentence: str
) -> None:
    at = make("ana", broken={"fusermount3": fusermount})
    done = at.call("run", sample, "--", "ls", "{mnt}")
    assert done.returncode == 0, done.stderr
    assert "ILSVRC2012" in done.stdout
    assert sentence in done.stderr
    assert "in a namespace of its own" in done.stderr
    done = at.call("run", "--no-namespace", sample, "--", "ls", "{mnt}")
    assert done.returncode == 125
    assert done.stdout == ""


def test_not_where_fusermount_works(make: Make, sample: Path) -> None:
    at = make("ana")
    done = at.call("run", sample, "--", "echo", "{mnt}")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{at.default}\n", "")


def test_a_site_may_ask_for_it(make: Make, sample: Path) -> None:
    at = make("ana")
    (at.directory / "site.toml").write_text('namespace = "always"\n')
    done = at.call("run", sample, "--", "sh", "-c", f"ls {{mnt}}; {NAMESPACE}")
    assert "ILSVRC2012" in done.stdout
    assert at.leftovers() == []


def test_at_a_place_of_ones_own(ana: There, sample: Path) -> None:
    there = ana.directory / "home" / "here"
    done = ana.call("run", "--namespace", sample, "--at", there, "--", "ls", there)
    assert "ILSVRC2012" in done.stdout
    assert not there.exists()
    assert ana.leftovers() == []


# --- sharing --------------------------------------------------------------------------------------


def test_later_runs_join_and_the_last_one_out_ends_it(at: There, sample: Path) -> None:
    first, seen = waiting(at, sample, NAMESPACE)
    second, seen_by_second = waiting(at, sample, NAMESPACE)
    assert seen == seen_by_second
    assert seen != str(Path("/proc/self/ns/mnt").readlink())
    assert finish(first) == 7
    done = at.call("run", "--namespace", sample, "--", "sh", "-c", f"{NAMESPACE}; ls {{mnt}}")
    assert done.stdout.splitlines()[0] == seen
    assert "ILSVRC2012" in done.stdout
    assert done.stderr == "", "said once, by the run that made it"
    assert finish(second) == 7
    assert at.leftovers() == []


def test_many_that_start_at_once_share_one_namespace(make: Make, sample: Path) -> None:
    at, count = make("ana"), 50
    here = at.directory / "home"
    script = f"{NAMESPACE}; : > {here}/$0; cat > /dev/null; ls {{mnt}} >&2; exit $0"
    words = ("run", "--namespace", sample, "--", "sh", "-c", script)
    fronts = [at.start(*words, number, stdin=subprocess.PIPE) for number in range(count)]
    assert until(lambda: len(os.listdir(here)) == count, 150)
    seen = set()
    for number, front in enumerate(fronts):
        out, err = front.communicate(timeout=170)
        assert front.returncode == number, err
        assert "ILSVRC2012" in err
        seen.add(out)
    assert len(seen) == 1
    assert at.leftovers() == []


def test_coming_and_going(ana: There, sample: Path) -> None:
    script = "for i in 1 2 3; do ls {mnt}/ILSVRC2012/train > /dev/null || exit 1; sleep 0.0$0; done"
    words = ("run", "--namespace", sample, "--", "sh", "-c", script)
    for _ in range(2):
        for front in [ana.start(*words, number) for number in range(1, 10)]:
            _, said = front.communicate(timeout=120)
            assert front.returncode == 0, said
    assert ana.leftovers() == []


def test_a_run_within_joins_and_keeps_it(ana: There, sample: Path) -> None:
    inner = " ".join([*COMMAND, "run", "--", "sh", "-c", f"'{NAMESPACE}; ls {{mnt}}' >&2"])
    outer, seen = waiting(ana, sample, f"{NAMESPACE}; {inner}")
    _, said = outer.communicate(timeout=60)
    assert {seen, "ILSVRC2012"} <= set(said.splitlines())
    assert ana.leftovers() == []


def test_another_source_gets_another_namespace(ana: There, sample: Path, sample_copy: Path) -> None:
    os.chmod(sample_copy, 0o755)
    first, seen = waiting(ana, sample, NAMESPACE)
    done = ana.call("run", "--namespace", sample_copy, "--", "sh", "-c", NAMESPACE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() != seen
    assert finish(first) == 7


def test_a_step_uses_what_its_jobs_script_has_made(ana: There, sample: Path) -> None:
    job = {"SLURM_JOB_ID": "4711"}
    script, seen = waiting(ana, sample, NAMESPACE, environ=job)
    words = ("run", "--namespace", sample, "--", "sh", "-c", NAMESPACE)
    assert ana.call(*words, **job, SLURM_STEP_ID="0").stdout.strip() == seen
    assert ana.call(*words, SLURM_JOB_ID="4712").stdout.strip() != seen
    assert finish(script) == 7


# --- enter ----------------------------------------------------------------------------------------


def test_enter(at: There, sample: Path) -> None:
    first, seen = waiting(at, sample, NAMESPACE, environ={"SLURM_JOB_ID": "4711"})
    for words in (("enter", "--"), ("enter", "4711", "--")):
        done = at.call(*words, "sh", "-c", f"{NAMESPACE}; ls {{mnt}}; pwd; exit 3")
        lines = done.stdout.splitlines()
        assert (done.returncode, lines[0], lines[-1]) == (3, seen, os.getcwd()), done.stderr
        assert "ILSVRC2012" in lines
    second, other = waiting(at, sample, NAMESPACE, environ={"SLURM_JOB_ID": "4712"})
    assert other != seen
    done = at.call("enter", "--", "true")
    assert (done.returncode, done.stdout) == (125, "")
    assert "4711, 4712" in done.stderr
    assert at.call("enter", "4712", "--", "sh", "-c", NAMESPACE).stdout.strip() == other
    assert finish(first) == 7
    assert finish(second) == 7
    done = at.call("enter", "4711", "--", "true")
    assert done.returncode == 125
    assert "No namespace of the job 4711" in done.stderr
    assert at.leftovers() == []


def test_enter_opens_a_shell_and_keeps_the_mount(ana: There, sample: Path) -> None:
    first, _ = waiting(ana, sample, NAMESPACE)
    ana.surroundings["SHELL"] = "/bin/sh"
    terminal = Terminal(ana, "enter")
    terminal.type("PS1=; echo $((40+2))\n")
    terminal.see("42")
    assert finish(first) == 7
    terminal.type("ls $IMAGENETFS_MOUNT\n")
    terminal.see("ILSVRC2012")
    terminal.type("exit 6\n")
    assert terminal.end() == 6
    terminal.hang_up()
    assert ana.leftovers() == []


def test_mount_within_says_why_it_is_refused(ana: There, sample: Path) -> None:
    inner = " ".join([*COMMAND, "mount", "--make", str(sample), str(ana.home / "mnt")])
    done = ana.call("run", "--namespace", sample, "--", "sh", "-c", f"{inner}; echo $?")
    assert done.stdout == "31\n"
    assert "in a user namespace" in done.stderr
    assert not (ana.home / "mnt").exists()
    assert ana.leftovers() == []


# --- every way out --------------------------------------------------------------------------------


def test_a_signal_to_the_front_is_the_commands(ana: There, sample: Path) -> None:
    script = "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    front = ana.start("run", "--namespace", sample, "--", "sh", "-c", script)
    assert front.stdout is not None
    assert front.stdout.readline() == "ready\n"
    front.send_signal(signal.SIGTERM)
    out, _ = front.communicate(timeout=60)
    assert (front.returncode, out) == (3, "got\n")
    assert ana.leftovers() == []


def test_ctrl_c(ana: There, sample: Path) -> None:
    script = "trap 'exit 9' INT; echo ready; while :; do sleep 0.1; done"
    terminal = Terminal(ana, "run", "--namespace", sample, "--", "sh", "-c", script)
    terminal.see("ready")
    terminal.type("\x03")
    assert terminal.end() == 9
    terminal.hang_up()
    assert ana.leftovers() == []


@pytest.mark.parametrize("whom", ["front", "server", "all"])
def test_killed(at: There, sample: Path, whom: str) -> None:
    front, text = waiting(at, sample, STATUS + " | tr -d '\\n'; echo")
    if whom in ("server", "all"):
        os.kill(json.loads(text)["pid"], signal.SIGKILL)
    if whom in ("front", "all"):
        front.kill()
    if whom == "all":
        for line in processes_marked(MARK, str(at.directory), seconds=0.0):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGKILL)
    front.communicate(timeout=60)
    assert until(lambda: at.leftovers() == []), at.leftovers()
    done = at.call("run", "--namespace", sample, "--", "ls", "{mnt}")
    assert done.returncode == 0
    assert "ILSVRC2012" in done.stdout


def test_a_start_that_fails_leaves_the_next_one_free(ana: There, sample: Path) -> None:
    nowhere = ana.directory / "nowhere"
    done = ana.call("run", "--namespace", nowhere, "--", "true")
    assert done.returncode == 125
    assert "is not there" in done.stderr
    assert done.stderr.count("\n") == 1
    assert ana.leftovers() == []
    assert ana.call("run", "--namespace", sample, "--", "true").returncode == 0
