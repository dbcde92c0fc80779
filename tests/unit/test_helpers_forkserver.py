"""The fork server of the tests: its children are what new interpreters would be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import forkserver
from tests.helpers.forkserver import ForkServer, Identity

DESCRIBE = "tests.helpers.forkserver:describe"


@pytest.fixture(scope="module")
def server() -> ForkServer:
    return forkserver.shared()


def test_a_child_is_what_a_new_interpreter_would_be(server: ForkServer, tmp_path: Path) -> None:
    environ = {**os.environ, "ONE": "müll \udcff"}
    command = [sys.executable, "-c", "from tests.helpers import forkserver; forkserver.describe()"]
    fresh = subprocess.run(
        command,
        env={**environ, "PYTHONPATH": str(forkserver.REPOSITORY)},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    expected = json.loads(fresh.stdout)
    del expected["environ"]["PYTHONPATH"]
    done = server.run(DESCRIBE, environ=environ, cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert json.loads(done.stdout) == expected, done.stderr
    assert expected["environ"]["ONE"] == environ["ONE"]
    assert expected["directory"] == str(tmp_path)
    assert expected["threads"] == 1


@pytest.mark.parametrize(
    ("function", "words", "code"),
    [
        ("sys:exit", [], 0),
        ("tests.helpers.forkserver:execute", ["sh", "-c", "exit 7"], 7),
        ("tests.helpers.forkserver:execute", ["sh", "-c", "kill -9 $$"], -signal.SIGKILL),
        ("tests.helpers.forkserver:raise_interrupt", [], -signal.SIGINT),
        (forkserver.COMMAND_LINE, ["no-such-command"], 2),
        ("json:no_such_function", [], 70),
    ],
)
def test_how_it_ends(server: ForkServer, function: str, words: list[str], code: int) -> None:
    assert server.run(function, words).returncode == code


def test_it_has_no_descriptor_but_its_streams(server: ForkServer, tmp_path: Path) -> None:
    with (tmp_path / "open").open("w"):
        done = server.run("tests.helpers.forkserver:execute", ["ls", "/proc/self/fd"])
    assert done.stdout.split() == ["0", "1", "2", "3"]  # the last is the directory that ls reads


def test_it_hears_of_signals_and_time_runs_out(server: ForkServer) -> None:
    process = server.popen("signal:pause", stdout=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    assert process.poll() is None
    process.terminate()
    assert process.wait(30) == -signal.SIGTERM
    process.communicate()


def test_proc_shows_its_own_words_and_variables(server: ForkServer) -> None:
    with server.popen(
        "signal:pause", ["a word"], environ={**os.environ, "SEEN": "here"}, stdout=subprocess.PIPE
    ) as process:
        directory = Path(f"/proc/{process.pid}")
        words = (directory / "cmdline").read_bytes().strip(b"\0").split(b"\0")
        variables = (directory / "environ").read_bytes().strip(b"\0").split(b"\0")
        process.kill()
    assert words[1:] == [b"signal:pause", b"a word"]
    assert b"SEEN=here" in variables
    assert {v.partition(b"=")[0] for v in variables} == {*map(os.fsencode, os.environ), b"SEEN"}


def test_constants_are_its_own(server: ForkServer) -> None:
    name = "imagenetfs.job.unmount:BUSY_SECONDS"
    shown = "tests.helpers.forkserver:show_busy_seconds"
    assert server.run(shown, constants={name: 0.25}).stdout == "0.25\n"
    assert server.run(shown).stdout != "0.25\n"
    gone = server.run(shown, constants={"imagenetfs.job.unmount:NO_SUCH": 1.0})
    assert (gone.returncode, "NO_SUCH" in gone.stderr) == (70, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_another_user(server: ForkServer) -> None:
    identity = Identity(numbers=(24001, 24000, (24100,)))
    done = server.run("tests.helpers.forkserver:execute", ["id", "-G"], identity=identity)
    assert done.stdout.split() == ["24000", "24100"]
    caps = ["grep", "CapEff", "/proc/self/status"]
    done = server.run("tests.helpers.forkserver:execute", caps, identity=identity)
    assert set(done.stdout.split()[1]) == {"0"}


def test_what_is_read_at_the_start_is_refused(server: ForkServer) -> None:
    for name in ("PYTHONPATH", "LD_PRELOAD", "LC_ALL"):
        assert not server.can_give({**os.environ, name: "/other"})
        with pytest.raises(ValueError, match="interpreter"):
            server.popen(DESCRIBE, environ={**os.environ, name: "/other"})


@pytest.fixture
def own() -> Iterator[ForkServer]:
    made = ForkServer.start()
    try:
        yield made
    finally:
        made.close()


@pytest.mark.slow
def test_a_server_that_is_gone_is_said(own: ForkServer) -> None:
    process = own.popen("signal:pause")
    own._process.kill()
    own._process.wait()
    with pytest.raises(RuntimeError, match="has ended"):
        process.wait(30)
    with pytest.raises((RuntimeError, BrokenPipeError, ConnectionError)):
        own.popen("signal:pause")
    os.kill(process.pid, signal.SIGKILL)
