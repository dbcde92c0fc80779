"""What another user can put in the way of `run`, `mount`, `doctor`, and what happens then."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.bench import until
from tests.helpers.hangfs import hanging
from tests.helpers.user_bench import Make, There
from tests.helpers.users import GROUP, USERS

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs other users"),
]


@pytest.fixture
def ana(make: Make) -> There:
    """Where the site's run directory stands for /tmp, and ana has a directory in /run/user."""
    at = make("ana")
    shared = at.directory / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (at.directory / "site.toml").write_text(f'run_dir = "{shared}"\n')
    runtime = at.directory / "runtime"
    runtime.mkdir(mode=0o700)
    os.chown(runtime, USERS["ana"], GROUP)
    at.surroundings |= {"IMAGENETFS_RUN_DIR": "", "XDG_RUNTIME_DIR": str(runtime)}
    return at


def usual(at: There) -> Path:
    return at.directory / "shared" / f"imagenetfs-{USERS['ana']}"


def taken_by_ben(at: There) -> None:
    usual(at).mkdir()
    os.chown(usual(at), USERS["ben"], GROUP)


def works_elsewhere(at: There, sample: Path, place: Path) -> None:
    """Every command works, in another place, and says which."""
    done = at.call("run", sample, "--", "echo", "{mnt}")
    assert (done.returncode, done.stdout) == (0, f"{place}/imagenet\n"), done.stderr
    assert str(usual(at)) in done.stderr
    assert f"{place} is used" in done.stderr
    mountpoint = at.directory / "home" / "mnt"
    mountpoint.mkdir()
    os.chown(mountpoint, USERS["ana"], GROUP)
    done = at.call("mount", sample, mountpoint)
    assert done.returncode == 0, done.stderr
    assert at.call("run", "--at", mountpoint, sample, "--", "ls", "{mnt}").returncode == 0
    assert at.call("umount", mountpoint).returncode == 0
    done = at.call("doctor", sample)
    assert done.returncode in (0, 40), done.stdout
    assert f"run directory: {place}" in done.stdout
    assert not place.exists()


def test_the_usual_place_is_a_file_system_that_never_answers(ana: There, sample: Path) -> None:
    """S18: another user's file system in the place of ours."""
    taken_by_ben(ana)
    front = ana.elsewhere.front("root")
    with hanging(
        usual(ana), f"--user-id={USERS['ben']}", "--allow-other", front=front, seconds=150
    ):
        works_elsewhere(ana, sample, ana.directory / "runtime" / "imagenetfs")


def test_the_usual_place_belongs_to_another(ana: There, sample: Path) -> None:
    taken_by_ben(ana)
    works_elsewhere(ana, sample, ana.directory / "runtime" / "imagenetfs")


def _is_made(file: Path) -> bool:
    """Whether this call made it."""
    with contextlib.suppress(OSError):
        file.rmdir()  # a directory that an earlier run has left empty
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def test_where_every_place_is_taken_run_gets_a_namespace(ana: There, sample: Path) -> None:
    taken_by_ben(ana)
    default = Path(f"/tmp/imagenetfs-{USERS['ana']}")
    assert until(lambda: _is_made(default)), f"{default} is not free"  # of another run's ana
    try:
        done = ana.call("run", sample, "--", "echo", "{mnt}", XDG_RUNTIME_DIR="")
        assert done.returncode == 0, done.stderr
        assert "belongs to another user" in done.stderr
        assert "So it gets a namespace of its own." in done.stderr
        mountpoint = ana.mountpoint()
        done = ana.call("mount", sample, mountpoint, XDG_RUNTIME_DIR="")
        assert done.returncode == 27
        assert "belongs to another user" in done.stderr
    finally:
        default.unlink()


@pytest.mark.parametrize(("mode", "code"), [(0o1777, 0), (0o2775, 125), (0o755, 0)])
def test_a_run_directory_that_exists_is_left_as_it_is(
    make: Make, sample: Path, mode: int, code: int
) -> None:
    """S18: no mode is changed."""
    at = make("root")
    shared = at.directory / "shared"
    shared.mkdir()
    shared.chmod(mode)
    done = at.call("run", sample, "--", "true", IMAGENETFS_RUN_DIR=str(shared))
    assert done.returncode == code, done.stderr
    assert stat.S_IMODE(shared.stat().st_mode) == mode
    assert code == 0 or "can be written to by others" in done.stderr


def test_one_directory_of_the_site_for_all_its_users(make: Make, sample: Path) -> None:
    shared = None
    for user in ("ana", "ben", "root"):
        at = make(user)
        shared = shared or at.directory / "shared"
        if not shared.exists():
            shared.mkdir()
            shared.chmod(0o1777)
        (at.directory / "site.toml").write_text(f'run_dir = "{shared}"\n')
        done = at.call("run", sample, "--", "echo", "{mnt}", IMAGENETFS_RUN_DIR="")
        part = shared / f"imagenetfs-{USERS.get(user, 0)}"
        assert (done.returncode, done.stdout) == (0, f"{part}/imagenet\n"), done.stderr
        assert done.stderr == ""
    assert shared is not None
    assert list(shared.iterdir()) == []
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777


# --- files that are named -------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--log", "--view", "config"])
def test_a_fifo_in_the_place_of_a_file_is_refused(
    make: Make, sample: Path, tmp_path: Path, option: str
) -> None:
    at = make("ana")
    fifo = at.directory / "home" / "fifo"
    os.mkfifo(fifo, 0o666)
    os.chown(fifo, USERS["ana"], GROUP)
    words = {"--log": ["--log", str(fifo)], "--view": ["--view", f"x={fifo}"]}.get(option, [])
    site = {"IMAGENETFS_SITE_CONFIG": str(fifo)} if option == "config" else {}
    done = at.call("run", *words, sample, "--", "true", **site)
    assert done.returncode == 125
    assert "no regular file" in done.stderr
    assert at.leftovers() == []


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_an_index_directory_of_another_is_not_written_to(
    make: Make, sample: Path, kind: str
) -> None:
    at = make("ana")
    theirs = at.directory / "theirs"
    theirs.mkdir()
    os.chown(theirs, USERS["ben"], GROUP)
    theirs.chmod(0o777)
    given = theirs
    if kind == "link":
        given = at.directory / "link"
        given.symlink_to(theirs)
        os.chown(given, USERS["ben"], GROUP, follow_symlinks=False)
    done = at.call("run", "--index-dir", given, sample, "--", "ls", "{mnt}/ILSVRC2012/train")
    assert done.returncode == 0, done.stderr
    assert "no index can be kept in" in done.stderr
    assert "another user" in done.stderr
    assert list(theirs.iterdir()) == []


def test_escape_sequences_in_names_are_not_printed(make: Make, sample: Path) -> None:
    """S19: of a file that a command names."""
    at = make("ana")
    hostile = "\x1b]0;PWN\x07\x1b[31m\nx"
    view = at.directory / "home" / "view"
    view.write_text(f"{hostile[:-2]}.JPEG\n")
    done = at.call("run", "--view", f"v={view}", sample, "--", "true")
    assert r"\x1b]0;PWN\x07" in done.stderr
    missing = at.call("run", f"/nonexistent/{hostile}", "--", "true")
    assert r"\x1b]0;PWN\x07\x1b[31m\nx" in missing.stderr
    assert "\x1b" not in done.stderr + missing.stderr


# --- what root waits for --------------------------------------------------------------------------

ROOT_SECONDS = 10.0
"""Nothing of root's waits longer than this, in all, for what a user's program serves."""


def helper(at: There, *words: object) -> tuple[int, str]:
    """mount(8)'s helper as root, within its bound; its exit code and what it said."""
    script = Path(__file__).parents[2] / "systemd" / "mount.fuse.imagenetfs"
    command = at.directory / "imagenetfs"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m imagenetfs "$@"\n')
    command.chmod(0o755)
    process = subprocess.Popen(
        [*at.elsewhere.front("root"), "sh", str(script), *map(str, words)],
        env=at.environ(IMAGENETFS_COMMAND=str(command)),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    begun = time.monotonic()
    try:
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    # A bound that the product promises, and ten times what this takes: no measure of speed.
    assert time.monotonic() - begun < ROOT_SECONDS
    return process.returncode, said


@pytest.fixture
def hostile(make: Make) -> Iterator[tuple[There, Path]]:
    """Where root mounts, and the directory of ben's program, which takes requests for good."""
    at = make("root")
    served = at.directory / "of ben"
    served.mkdir()
    os.chown(served, USERS["ben"], GROUP)
    front = at.elsewhere.front("root")
    options = (f"--user-id={USERS['ben']}", "--allow-other")
    with hanging(served, *options, front=front, seconds=150):
        yield at, served


def test_root_mounts_on_nothing_that_a_user_serves(
    hostile: tuple[There, Path], sample: Path
) -> None:
    """H3, H4: fstab's helper asks nothing of a mountpoint below another user's program, and follows
    no link into it.
    """
    at, served = hostile
    link = at.directory / "link"
    link.symlink_to(served / "to" / "mnt")
    for mountpoint in (served / "mnt", link):
        code, said = helper(at, sample, mountpoint, "-o", "rw,allow_other")
        assert (code, "a program of another user serves" in said) == (27, True), said
        assert str(served) in said


def test_root_mounts_nothing_that_a_user_serves(hostile: tuple[There, Path]) -> None:
    at, served = hostile
    code, said = helper(at, served / "imagenet", at.mountpoint())
    assert (code, "root waits for no such program" in said) == (11, True), said


def test_root_keeps_nothing_where_a_user_serves(hostile: tuple[There, Path], sample: Path) -> None:
    at, served = hostile
    code, said = helper(at, sample, at.mountpoint(), "-o", f"cache_dir={served / 'cache'}")
    assert (code, f"The cache directory {served / 'cache'}" in said) == (27, True), said


def test_a_mount_of_ours_that_does_not_answer_is_left_in_time(make: Make, sample: Path) -> None:
    """A user's program may call itself by our name."""
    at = make("root")
    mountpoint = at.mountpoint()
    options = (f"--user-id={USERS['ben']}", "--allow-other", "--type=fuse.imagenetfs")
    with hanging(mountpoint, *options, front=at.elsewhere.front("root"), seconds=150):
        code, said = helper(at, sample, mountpoint)
        assert (code, "does not answer" in said) == (23, True), said
