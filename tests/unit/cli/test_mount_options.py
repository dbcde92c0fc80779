"""-o: what mount(8) and fstab hand on is taken, our settings are settings, the rest is named."""

from __future__ import annotations

import pytest

from imagenetfs.cli.mount_options import MountOptions, parse
from imagenetfs.errors import UsageError


def test_nothing() -> None:
    assert parse([]) == MountOptions()
    assert parse(["", ",", " , "]) == MountOptions()


def test_what_says_nothing_to_a_read_only_mount() -> None:
    text = "ro,nodev,nosuid,noexec,_netdev,defaults,noauto,user,relatime,nofail"
    assert parse([text, "x-systemd.automount,X-a,comment=b,uhelper=c,helper=d"]) == MountOptions()


@pytest.mark.parametrize("option", ["allow_other", "allow_root"])
def test_others_come_in_only_where_the_kernel_checks_modes(option: str) -> None:
    assert parse([option, f"default_permissions,{option}"]).fuse == [option, "default_permissions"]


def test_others_and_root_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="allow_other and allow_root exclude each other"):
        parse(["allow_other", "allow_root"])


def test_settings() -> None:
    asked = parse(["workers=3,index-dir=/i", "read_timeout=2m"])
    assert asked.settings == {"workers": "3", "index_dir": "/i", "read_timeout": "2m"}
    assert parse(["workers=3", "workers=4"]).settings == {"workers": "4"}, "the last one counts"


def test_a_value_may_have_commas_and_equal_signs() -> None:
    assert parse([r"source=/a\,b,view=n=/x=y"]).settings == {"source": "/a,b", "view": "n=/x=y"}
    assert parse(["source="]).settings == {"source": ""}  # an empty path is refused by its kind


def test_foreground_and_read_only() -> None:
    asked = parse(["foreground,rw"])
    assert asked.foreground
    assert asked.notes == [
        "mounted read-only, although `rw` was asked for: there is nothing to write to."
    ]


@pytest.mark.parametrize("option", ["bogus", "bogus=3", "workers", "run_dir=/x", "namespace=auto"])
def test_what_is_not_known(option: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse([f"ro,{option}"])
    said = str(caught.value)
    assert said.startswith(f"Unknown mount option: {option}. Of our own there are allow_other, ")
    assert "read_timeout" in said
    assert "namespace" not in said.partition("Of our own")[2]


def test_all_that_is_not_known_is_named() -> None:
    with pytest.raises(UsageError, match=r"Unknown mount option: a, b=1, c\."):
        parse(["a,ro,b=1", "c"])
