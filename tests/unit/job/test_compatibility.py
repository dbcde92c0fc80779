"""Joining a mount: what must agree with it, and what is told to have no effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.config import Settings
from imagenetfs.errors import ExitCode
from imagenetfs.job.clients import ServerInfo
from imagenetfs.job.compatibility import OccupiedError, check_shown, without_effect
from tests.helpers.mount_table import settings_with

MOUNTPOINT = Path("/mnt/x")


def server_with(settings: Settings | None = None, **more: str) -> ServerInfo:
    said = config.texts_of_mount(settings if settings is not None else settings_with())
    return ServerInfo("/s", "/mnt/x", "run", 77, {**said, **more})


def test_what_a_server_says_is_what_its_options_take() -> None:
    said = config.texts_of_mount(
        settings_with(workers="3", view=["a=/x", "b=/y"], read_timeout="2m")
    )
    assert (said["workers"], said["view"], said["read_timeout"]) == ("3", "a=/x:b=/y", "120.0")
    assert (said["in_flight"], said["log"]) == ("", "")
    assert {"source", "run_dir", "namespace", "idle"}.isdisjoint(said)


def test_the_same_settings_agree() -> None:
    settings = settings_with(view=["a=/x"], prefer="directories", workers="3")
    check_shown(MOUNTPOINT, server_with(settings), settings)
    assert without_effect(server_with(settings), settings) is None


def test_a_view_that_is_not_shown() -> None:
    server = server_with(settings_with(view=["a=/x"]))
    check_shown(MOUNTPOINT, server, settings_with(view=["a=/x"]))
    for views in (["a=/x", "b=/x"], ["a=/other"]):
        with pytest.raises(OccupiedError) as caught:
            check_shown(MOUNTPOINT, server, settings_with(view=views))
        assert str(caught.value) == (
            f"The mount at /mnt/x does not show the view {views[-1]}: choose another place "
            f"with --at."
        )
    assert caught.value.exit_code is ExitCode.MOUNTPOINT_IN_USE


def test_a_mount_may_show_more_than_is_asked_for() -> None:
    check_shown(MOUNTPOINT, server_with(settings_with(view=["a=/x", "b=/y"])), settings_with())


def test_a_mount_that_prefers_something_else() -> None:
    server = server_with(settings_with(prefer="directories"))
    check_shown(MOUNTPOINT, server, settings_with())  # a default asks for nothing
    with pytest.raises(
        OccupiedError, match=r"\(process 77\) prefers directories, and not archives"
    ):
        check_shown(MOUNTPOINT, server, settings_with(prefer="archives"))
    check_shown(MOUNTPOINT, ServerInfo("/s", "/mnt/x", "run", 77), settings_with(prefer="archives"))


def test_views_of_a_mount_whose_server_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "views" / "a").mkdir(parents=True)
    check_shown(tmp_path, None, settings_with(view=["a=/x"]))
    with pytest.raises(OccupiedError, match="does not show the view b:"):
        check_shown(tmp_path, None, settings_with(view=["a=/x", "b=/x"]))


def test_one_option_without_effect() -> None:
    assert without_effect(server_with(), settings_with(workers="3")) == (
        "joined the mount of process 77; --workers has no effect there."
    )


def test_several_and_who_asked_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imagenetfs import config

    site = tmp_path / "site.toml"
    site.write_text("read_timeout = 7\nin_flight = 9\n")
    settings = config.resolve(
        {"workers": "3"}, {"IMAGENETFS_REVALIDATE": "5", "IMAGENETFS_SITE_CONFIG": str(site)}
    )
    sentence = without_effect(server_with(in_flight="9"), settings)
    assert sentence == (
        f"joined the mount of process 77; --workers, --read-timeout ({site}), "
        f"$IMAGENETFS_REVALIDATE have "
        "no effect there."
    )


def test_what_the_mount_has_already_is_no_loss() -> None:
    settings = settings_with(workers="3")
    assert without_effect(server_with(settings), settings) is None


def test_without_an_answer_what_was_typed_is_told() -> None:
    from imagenetfs import config

    settings = config.resolve({"workers": "3"}, {"IMAGENETFS_REVALIDATE": "5"})
    assert without_effect(None, settings) == (
        "joined a mount that is there already; --workers has no effect there."
    )
    assert without_effect(None, settings_with()) is None


def test_views_are_checked_and_not_told() -> None:
    assert without_effect(server_with(), settings_with(view=["a=/x"])) is None
