"""Why a source may not be read.

By mode, by group, by access list, or by a rule of the server's own.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from imagenetfs.job import nfs_access
from imagenetfs.job.nfs_access import (
    DenialReason,
    DeniedPath,
    User,
    explain,
    find_denied_path,
    group_name,
    parse_denied_path,
    user_name,
)


def _gate(**more: object) -> DeniedPath:
    given = {"path": "/d", "wanted": 5, "mode": 0o750, "uid": 0, "gid": 118, **more}
    return DeniedPath(**given)  # type: ignore[arg-type]


NUMBERS = tuple(range(101, 121))


@pytest.mark.parametrize(
    ("gate", "user", "expected"),
    [
        (_gate(), User(9, 9, NUMBERS), (DenialReason.HIDDEN_GROUP, 118)),
        (_gate(), User(9, 118, NUMBERS), (DenialReason.SERVER, None)),
        (_gate(), User(9, 9, NUMBERS[4:]), (DenialReason.SERVER, None)),
        (_gate(), User(9, 9, NUMBERS[:16]), (DenialReason.NOT_A_MEMBER, 118)),
        (_gate(mode=0o700), User(9, 9, NUMBERS), (DenialReason.MODE, None)),
        (_gate(mode=0o710), User(9, 9, NUMBERS), (DenialReason.MODE, None)),
        (_gate(mode=0o710), User(9, 118, NUMBERS), (DenialReason.MODE, None)),
        (_gate(mode=0o057, uid=9), User(9, 118, NUMBERS), (DenialReason.MODE, None)),
        (_gate(mode=0o705, gid=9), User(8, 9, NUMBERS), (DenialReason.MODE, None)),
        (_gate(mode=0o710, wanted=1), User(9, 9, NUMBERS), (DenialReason.HIDDEN_GROUP, 118)),
        (_gate(mode=0o755, gid=3), User(9, 9, NUMBERS), (DenialReason.SERVER, None)),
        (_gate(uid=9), User(9, 9, NUMBERS), (DenialReason.SERVER, None)),
        (_gate(is_foreign=True, gid=3), User(9, 9, NUMBERS), (DenialReason.ACCESS_LIST, None)),
        (
            _gate(entries=((4, 7, -1), (16, 0, -1))),
            User(9, 9, NUMBERS),
            (DenialReason.ACCESS_LIST, None),
        ),
    ],
)
def test_explain(gate: DeniedPath, user: User, expected: tuple[DenialReason, int | None]) -> None:
    assert explain(gate, user) == expected


def test_sixteen_groups_are_told() -> None:
    user = User(9, 50, NUMBERS)
    assert user.sent == {50, *range(101, 117)}
    assert user.hidden == {117, 118, 119, 120}
    assert User(9, 118, NUMBERS).hidden == {117, 119, 120}
    assert User(9, 50, NUMBERS[:16]).hidden == frozenset()


def test_the_user_of_this_process() -> None:
    assert User.here() == User(os.geteuid(), os.getegid(), tuple(os.getgroups()))


@pytest.mark.parametrize(
    ("more", "opening"),
    [
        ({"mode": 0o750}, {118}),
        ({"mode": 0o740}, set()),
        ({"mode": 0o740, "wanted": 4}, {118}),
        # An access list: the owning group (4) and named groups (8), both under the mask (16).
        ({"entries": ((4, 5, -1), (8, 7, 3), (16, 5, -1))}, {118, 3}),
        ({"entries": ((4, 4, -1), (8, 5, 3), (16, 7, -1))}, {3}),
        ({"entries": ((4, 7, -1), (8, 7, 3), (16, 4, -1))}, set()),
        ({"entries": ((4, 5, -1), (2, 7, 9))}, {118}),
    ],
)
def test_the_groups_that_open_a_path(more: dict[str, object], opening: set[int]) -> None:
    assert _gate(**more).opens_for() == opening


def test_letters() -> None:
    assert [_gate(wanted=wanted).wanted_letters for wanted in (5, 4, 1)] == ["rx", "r", "x"]
    assert _gate(wanted=5, mode=0o750).mode_letters == "drwxr-x---"
    assert _gate(wanted=4, mode=0o640).mode_letters == "-rw-r-----"


def test_names_of_users_and_groups() -> None:
    assert (group_name(0), user_name(0)) == ("root", "root")
    assert (group_name(3_999_999_998), user_name(3_999_999_998)) == ("3999999998", "3999999998")


# --- looking for what refuses ---------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("ILSVRC2012", "winter21_whole"):
        (tmp_path / "imagenet" / name).mkdir(parents=True)
        (tmp_path / "imagenet" / name / "x.tar").touch(0o640)
    return tmp_path / "imagenet"


def refuse(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    """Root may read everything: what is refused here, an ordinary user could not read."""
    closed, opened, asked = {str(path) for path in paths}, os.open, os.stat

    def try_open(path: str | Path, *arguments: int, **more: int) -> int:
        if str(path) in closed:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **more)

    def try_stat(path: str | Path, **more: bool) -> os.stat_result:
        if str(path).endswith(nfs_access._ABSENT) and os.path.dirname(path) in closed:
            raise PermissionError(13, "Permission denied")
        return asked(path, **more)

    monkeypatch.setattr(os, "open", try_open)
    monkeypatch.setattr(os, "stat", try_stat)


def test_a_source_that_may_be_read(source: Path) -> None:
    assert find_denied_path(source) is None


@pytest.mark.parametrize(
    ("name", "wanted"), [("", 5), ("winter21_whole", 5), ("ILSVRC2012/x.tar", 4), ("..", 1)]
)
def test_what_refuses_is_named(
    source: Path, monkeypatch: pytest.MonkeyPatch, name: str, wanted: int
) -> None:
    path = source.parent if name == ".." else source / name if name else source
    refuse(monkeypatch, path)
    described = find_denied_path(source)
    assert described is not None
    gate = parse_denied_path(json.loads(json.dumps(described)))
    assert (gate.path, gate.wanted, gate.uid) == (str(path), wanted, os.geteuid())
    assert gate.mode == path.stat().st_mode & 0o777
    assert (gate.entries, gate.is_foreign) == ((), False)


def test_the_first_on_the_way_is_named(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, source / "ILSVRC2012", source, source / "winter21_whole")
    assert (find_denied_path(source) or {})["path"] == str(source)


def test_other_troubles_are_no_refusal(source: Path) -> None:
    assert find_denied_path(source / "none") is None


def test_an_access_list_is_read(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [(1, 7, 2**32 - 1), (8, 5, 118), (16, 5, 2**32 - 1)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    held = {"system.posix_acl_access": value, "system.nfs4_acl": b"x"}
    refuse(monkeypatch, source)
    monkeypatch.setattr(os, "getxattr", lambda path, name: held[name])
    gate = parse_denied_path(json.loads(json.dumps(find_denied_path(source))))
    assert gate.entries == tuple(entries)
    assert gate.is_foreign
    held["system.posix_acl_access"] = value[:-1]  # no list that is known
    assert parse_denied_path(find_denied_path(source) or {}).entries == ()
