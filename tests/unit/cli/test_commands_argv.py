"""The command line before typer: the bare form, run's command, and -o."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.cli import mount_options
from imagenetfs.cli.commands import Arranged, split_argv
from imagenetfs.errors import UsageError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], Arranged(["--help"], is_overview=True)),
        (["--version"], Arranged(["--version"])),
        (["mount", "/a", "/b"], Arranged(["mount", "/a", "/b"])),
        (["/a", "/b"], Arranged(["mount", "/a", "/b"])),
        (["/a", "/b", "-o", "ro,dev"], Arranged(["mount", "/a", "/b", "-o", "ro,dev"])),
        (["-o", "ro", "/a", "/b"], Arranged(["mount", "-o", "ro", "/a", "/b"])),
        (["-oro", "/a", "/b"], Arranged(["mount", "-oro", "/a", "/b"])),
        (["source", "mnt"], Arranged(["mount", "source", "mnt"])),
        (["run", "--", "ls", "{mnt}"], Arranged(["run"], ["ls", "{mnt}"])),
        (["run", "/a", "--", "x", "--", "y"], Arranged(["run", "/a"], ["x", "--", "y"])),
        (["run", "--help"], Arranged(["run", "--help"])),
        (["mount", "--", "/a", "/b"], Arranged(["mount", "--", "/a", "/b"])),
    ],
)
def test_arrange(given: list[str], expected: Arranged) -> None:
    assert split_argv(given) == expected


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (["moutn", "/mnt"], "Did you mean `mount`?"),
        (["frobnicate"], "There are mount, umount,"),
        (["version"], "Did you mean `imagenetfs --version`?"),
        (["unmount", "/mnt"], "`umount`"),
    ],
)
def test_a_command_that_does_not_exist(given: list[str], hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        split_argv(given)
    assert f"There is no command `{given[0]}`" in str(caught.value)
    assert hint in str(caught.value)


def test_a_source_may_be_called_like_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mounts").mkdir()
    assert split_argv(["mounts", "/mnt"]).arguments == ["mount", "mounts", "/mnt"]


def test_what_mount_and_fstab_add_is_ignored() -> None:
    words = (
        "ro,dev,suid,nodev,nosuid,exec,noexec,relatime,noatime,_netdev,nofail,auto,noauto,user,"
        "users,defaults,x-systemd.automount,x-gvfs-hide,comment=x"
    )
    options = mount_options.parse([words])
    assert options == mount_options.MountOptions()


def test_rw_is_read_only_all_the_same_and_said_so() -> None:
    options = mount_options.parse(["rw"])
    assert options.fuse == []
    assert len(options.notes) == 1
    assert "read-only" in options.notes[0]


def test_others_only_come_in_where_the_kernel_checks_modes() -> None:
    assert mount_options.parse(["allow_other"]).fuse == ["allow_other", "default_permissions"]
    assert mount_options.parse(["allow_other", "allow_other,default_permissions"]).fuse == [
        "allow_other",
        "default_permissions",
    ]
    with pytest.raises(UsageError, match="exclude each other"):
        mount_options.parse(["allow_other,allow_root"])


def test_our_own_settings() -> None:
    options = mount_options.parse(["workers=4,index-dir=/a\\,b", "foreground, ,in_flight=2"])
    assert options.settings == {"workers": "4", "index_dir": "/a,b", "in_flight": "2"}
    assert options.foreground


def test_unknown_ones_are_listed_all_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        mount_options.parse(["ro,bogus,workers,uid=5", "run_dir=/x"])
    assert "Unknown mount option: bogus, workers, uid=5, run_dir=/x." in str(caught.value)
    assert "index_dir" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["run", "ls"], "imagenetfs run -- ls"),
        (["run", "/", "python", "-c", "x"], "imagenetfs run / -- python -c x"),
        (["run", "--at", "/m", "ls"], "imagenetfs run --at /m -- ls"),
        (["run", "--at=/m", "ls"], "imagenetfs run --at=/m -- ls"),
        (["run"], "imagenetfs run -- python train.py {mnt}"),
    ],
)
def test_a_command_without_dashes_is_shown_with_them(given: list[str], meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        split_argv(given)
    assert str(caught.value) == f"Put `--` before the command: {meant}"


def test_dashes_without_a_command() -> None:
    with pytest.raises(UsageError, match="no command after"):
        split_argv(["run", "--"])


def test_three_words_are_no_bare_form() -> None:
    with pytest.raises(UsageError, match="no command `mnt`"):
        split_argv(["mnt", "a", "b"])


# --- what every command has -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "arguments", "loudness"),
    [
        (["mount", "-v", "/m"], ["mount", "/m"], ("-v",)),
        (["-q", "status"], ["status"], ("-q",)),
        (["--debug", "/s", "/m"], ["mount", "/s", "/m"], ("--debug",)),
        (["-v"], ["--help"], ("-v",)),
        (["mount", "--version"], ["--version"], ()),
        (["run", "-V", "--", "x"], ["--version"], ()),
        (["help", "mount"], ["mount", "--help"], ()),
    ],
)
def test_every_command(given: list[str], arguments: list[str], loudness: tuple[str, ...]) -> None:
    arranged = split_argv(given)
    assert (arranged.arguments, arranged.loudness) == (arguments, loudness)


def test_what_stands_behind_the_dashes_is_the_commands_own() -> None:
    arranged = split_argv(["run", "-q", "/s", "--", "train", "-v", "--debug", "--version", "help"])
    assert arranged.command == ["train", "-v", "--debug", "--version", "help"]
    assert (arranged.arguments, arranged.loudness) == (["run", "/s"], ("-q",))
