"""Sixteen groups: a member is let in under the right one, and everybody else is told what to do."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.bench import COMMAND
from tests.helpers.passthrough import SlowSource, slow_source
from tests.helpers.passthrough.permission import ACCESS_LIST
from tests.helpers.user_bench import Make, There
from tests.helpers.users import HIDDEN, MANY, TOLD, USERS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")

VAL = "ILSVRC2012/val"


@pytest.fixture
def tree(sample: Path, base: Path) -> Path:
    """A small source of our own: ILSVRC2012's validation images, open to one group."""
    directory = base / "imagenet"
    (directory / "ILSVRC2012").mkdir(parents=True)
    for name in ("ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12"):
        source = sample / "ILSVRC2012" / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, directory / "ILSVRC2012" / name)
    return directory


def _open_to(path: Path, group: str, mode: int = 0o750) -> None:
    os.chown(path, 0, MANY[group])
    path.chmod(mode)


@pytest.fixture
def source(tree: Path, base: Path) -> Iterator[SlowSource]:
    with slow_source(tree, below=base) as slow:
        yield slow


@pytest.fixture
def member(source: SlowSource, make: Make) -> There:
    return make("max")  # made last: what is mounted later is not seen there


COUNT = ["sh", "-c", 'find "$0" -name "*.JPEG" | wc -l', "{mnt}/" + VAL]


def test_a_hidden_group_is_made_primary(source: SlowSource, tree: Path, member: There) -> None:
    """S11: refused by plain ls, and in by run."""
    _open_to(tree, HIDDEN)
    assert "Permission denied" in member.command("ls", str(source.path)).stderr
    done = member.call("run", source.path, "--", *COUNT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
    assert f"open to the group {HIDDEN}, and you are a member" in done.stderr
    assert f"Starting again with that one as the primary group (sg {HIDDEN})" in done.stderr


def test_the_command_keeps_its_exit_code_and_its_environment(
    source: SlowSource, tree: Path, member: There
) -> None:
    """S12: and its arguments."""
    _open_to(tree, HIDDEN)
    command = [
        "sh",
        "-c",
        'env | grep -c _IMAGENETFS; printf "%s\n" "$@"; exit 7',
        "sh",
        "a b",
        "$x",
    ]
    done = member.call("run", source.path, "--", *command)
    assert done.returncode == 7, done.stderr
    assert done.stdout == "0\na b\n$x\n"


def test_mount_does_so_too(source: SlowSource, tree: Path, member: There) -> None:
    """S11 S12: the shell beside it reads the mount."""
    _open_to(tree, HIDDEN)
    at = member.home / "mnt"
    script = (
        'mkdir "$1" && $2 mount "$0" "$1" && find "$1"/ILSVRC2012/val -name "*.JPEG" | wc -l;'
        ' $2 umount "$1"'
    )
    done = member.command("sh", "-c", script, str(source.path), str(at), " ".join(COMMAND))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[0]) > 0  # read by a shell under the usual group


def test_runs_side_by_side_share_it(source: SlowSource, tree: Path, member: There) -> None:
    """The second one joins a mount that is shown to the first one's group only."""
    _open_to(tree, HIDDEN)
    second = " ".join([*COMMAND, "run", str(source.path), "--", "echo", "{mnt}"])
    done = member.call("run", source.path, "--", "sh", "-c", f"echo {{mnt}}; {second}")
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.splitlines())) == 1
    ended = member.home / "ended"
    wait = f"until [ -e {ended} ]; do sleep 0.05; done"
    first = f"$0 run {source.path} -- sh -c 'echo {{mnt}}; {wait}'"
    script = f"(sleep 0.2; {second}; touch {ended}) & {first}; wait"
    done = member.command("sh", "-c", script.replace("$0", " ".join(COMMAND)))
    assert len(done.stdout.splitlines()) == 2, done.stderr
    assert len(set(done.stdout.splitlines())) == 1, done.stderr


@pytest.mark.parametrize("below", ["ILSVRC2012", "ILSVRC2012/ILSVRC2012_img_val.tar"])
def test_a_part_of_the_source_counts(
    source: SlowSource, tree: Path, member: There, below: str
) -> None:
    _open_to(tree / below, HIDDEN)
    done = member.call("run", source.path, "--", *COUNT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
    assert below in done.stderr


def test_a_group_that_is_told_needs_nothing(source: SlowSource, tree: Path, member: There) -> None:
    _open_to(tree, TOLD)
    done = member.call("run", source.path, "--", *COUNT)
    assert done.returncode == 0, done.stderr
    assert "sg" not in done.stderr


def test_a_signal_to_sg_reaches_the_command(source: SlowSource, tree: Path, member: There) -> None:
    _open_to(tree, HIDDEN)
    told = member.home / "told"
    script = f"trap 'echo told > {told}; exit 0' TERM; echo READY; while :; do sleep 0.05; done"
    process = member.start("run", str(source.path), "--", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "READY\n"
    process.send_signal(signal.SIGTERM)  # setpriv, then imagenetfs, then sg have been this process
    deadline = time.monotonic() + 30
    while not told.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.communicate(timeout=60)


def test_where_sg_does_not_do_it(source: SlowSource, tree: Path, make: Make, member: There) -> None:
    """S13: what it says can be typed as it stands."""
    _open_to(tree, HIDDEN)
    without = make("max", broken={"sg": "refused"})
    done = without.call("run", source.path, "--", "echo", "it's")
    assert done.returncode == 125
    assert "Type it yourself" in done.stderr
    said = done.stderr.strip().splitlines()[-1]
    typed = said.rpartition("): ")[2]
    assert typed.startswith(f"sg {HIDDEN} -c ")
    program = member.home / "bin"
    program.mkdir()
    (program / "imagenetfs").write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    (program / "imagenetfs").chmod(0o755)
    again = member.command("sh", "-c", f"PATH={program}:$PATH; {typed}")
    assert (again.returncode, again.stdout) == (0, "it's\n"), again.stderr


def test_no_member(source: SlowSource, tree: Path, make: Make) -> None:
    """S13: with the addresses from the configuration."""
    others = [name for name in MANY if name != HIDDEN]
    member = make("max", member_of=others)
    _open_to(tree, HIDDEN)
    config = member.directory / "config" / "imagenetfs"
    done = member.call("mount", source.path, member.home)
    assert done.returncode == 11
    for words in (
        f"open to the group {HIDDEN}, of which you are no member",
        "Ask its owner or your site for access",
        "write to your cluster's support",
    ):
        assert words in done.stderr
    config.mkdir(parents=True)
    (config / "config.toml").write_text(
        "opt_in_page = 'http://in.example'\nsupport_address = 'a@b.example'\nsupport_subject = "
        "'S'\n"
    )
    done = member.call("mount", source.path, member.home)
    assert "http://in.example" in done.stderr
    assert "a@b.example (subject: S)" in done.stderr


def test_a_closed_mode(tree: Path, member: There) -> None:
    tree.chmod(0o000)
    done = member.call("mount", tree, member.home)
    assert done.returncode == 11
    assert "its mode (d---------) closes it to you; it belongs to root" in done.stderr
    assert "Ask root to open it (chmod +rx), or write to" in done.stderr
    os.chown(tree, USERS["max"], -1)
    done = member.call("mount", tree, member.home)
    assert done.returncode == 11
    assert (
        f"(d---------) closes it, to you who own it too. Open it: chmod u+rx {tree}" in done.stderr
    )
    tree.chmod(0o700)


def _access_list(path: Path, *entries: tuple[int, int, int]) -> None:
    every = [(1, 7, -1), *entries, (32, 0, -1)]
    value = b"".join(struct.pack("<HHi", *entry) for entry in every)
    os.setxattr(path, ACCESS_LIST, struct.pack("<I", 2) + value)


def test_an_access_list_that_the_group_is_not_in(
    source: SlowSource, tree: Path, member: There
) -> None:
    """S13: the mode shows the mask, not the group."""
    _open_to(tree, HIDDEN, 0o700)
    # Some other user may read; the owning group may not, whatever the mode's mask says.
    _access_list(tree, (2, 5, USERS["max"] + 1), (4, 0, -1), (16, 5, -1))
    assert tree.stat().st_mode & 0o777 == 0o750
    done = member.call("mount", source.path, member.home)
    assert done.returncode == 11
    assert "its access list decides that" in done.stderr
    assert "Another primary group (sg) does not help" in done.stderr


def test_an_access_list_with_a_hidden_group(source: SlowSource, tree: Path, member: There) -> None:
    tree.chmod(0o700)
    _access_list(tree, (4, 0, -1), (8, 5, MANY[HIDDEN]), (16, 5, -1))
    done = member.call("run", source.path, "--", *COUNT)
    assert done.returncode == 0, done.stderr


def test_a_source_that_is_not_here(member: There) -> None:
    done = member.call("run", "/datashare/imagenet", "--", "true")
    assert done.returncode == 125
    assert "its file system is not mounted on this node" in done.stderr
