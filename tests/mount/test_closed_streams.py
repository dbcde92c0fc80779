"""Commands that are started without standard input, output or error, as daemons start them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.bench import COMMAND, Bench

pytestmark = pytest.mark.timeout(180)

CLOSED = [(0,), (1,), (2,), (0, 1, 2)]
"""Each of them, and all; which descriptors a later file gets is a unit test's (tests/unit/system).
"""


def call_without(at: Bench, closed: tuple[int, ...], *words: object) -> tuple[int, bytes]:
    """A command with these streams closed: its exit code, and what it wrote to the others."""
    reader, writer = os.pipe()

    def close() -> None:
        for fd in closed:
            os.close(fd)

    process = subprocess.Popen(
        [*COMMAND, *map(str, words)],
        env=at.environ(),
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer,
        preexec_fn=close,
    )
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    return process.wait(timeout=60), said


@pytest.mark.parametrize("closed", CLOSED)
def test_run(at: Bench, sample: Path, tmp_path: Path, closed: tuple[int, ...]) -> None:
    # The command writes a file; what is closed for the front is nothing, and open, for the command.
    result = tmp_path / "result"
    script = f"ls {{mnt}}/ILSVRC2012 >{result} && ls -l /proc/self/fd >>{result}; exit 7"
    code, said = call_without(at, closed, "run", sample, "--", "sh", "-c", script)
    assert (code, said) == (7, b"")
    assert "train" in result.read_text()
    for fd in closed:
        assert fd == 1 or f" {fd} -> /dev/null" in result.read_text()
    assert at.leftovers() == []


@pytest.mark.parametrize("closed", [(0,), (1, 2), (0, 1, 2)])
def test_mount_and_umount(at: Bench, sample: Path, closed: tuple[int, ...]) -> None:
    mountpoint = at.mountpoint()
    code, said = call_without(at, closed, "mount", sample, mountpoint)
    assert (code, said) == (0, b"")
    assert (mountpoint / "ILSVRC2012" / "train").is_dir()
    assert call_without(at, closed, "status")[0] == 0
    assert call_without(at, closed, "umount", mountpoint)[0] == 0
    assert at.leftovers() == []


@pytest.mark.parametrize(
    "words", [["--version"], ["settings"], ["info"], ["status"], ["doctor", "/no"], ["nonsense"]]
)
def test_every_command_ends_without_any_stream(at: Bench, sample: Path, words: list[str]) -> None:
    with_streams = at.call(*words, IMAGENETFS_SOURCE=str(sample))
    os.environ["IMAGENETFS_SOURCE"] = str(sample)
    try:
        code, _ = call_without(at, (0, 1, 2), *words)
    finally:
        del os.environ["IMAGENETFS_SOURCE"]
    assert code == with_streams.returncode
