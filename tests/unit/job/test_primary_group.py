"""A source that refuses: each reason has its sentence.

Sg is tried first, and named where it does not do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from imagenetfs.errors import ExitCode, GroupNeededError, SourceUnreadableError
from imagenetfs.job import primary_group
from imagenetfs.job.nfs_access import User
from imagenetfs.job.primary_group import (
    UNDER_VARIABLE,
    check_mount,
    consume_reexec_marker,
    reexec_under_group,
    refusal,
    usual_group,
)
from imagenetfs.system import child_call
from imagenetfs.system.mounts import MountEntry

NUMBERS = tuple(range(3_000_001, 3_000_021))
LAST = NUMBERS[-1]
SUPPORT = "write to your cluster's support."


def why(monkeypatch: pytest.MonkeyPatch, user: User, **gate: object) -> SourceUnreadableError:
    """The error for a gate as ``find_denied_path`` describes it."""
    described = {"path": "/d s", "wanted": 5, "mode": 0o750, "uid": 0, "gid": LAST, "entries": []}
    monkeypatch.setattr(
        child_call, "call_in_child", lambda question, seconds: {**described, **gate}
    )
    monkeypatch.setattr(User, "here", lambda: user)
    error = refusal(Path("/d s"))
    assert error is not None
    assert error.exit_code is ExitCode.SOURCE_UNREADABLE
    return error


def test_no_refusal(tmp_path: Path) -> None:
    assert refusal(tmp_path) is None


def test_a_hidden_group(monkeypatch: pytest.MonkeyPatch) -> None:
    error = why(monkeypatch, User(9, 9, NUMBERS))
    assert isinstance(error, GroupNeededError)
    assert error.group == str(LAST)
    assert str(error) == (
        f"/d s is open to the group {LAST}, and you are a member; but NFSv3 tells the server "
        f"only your "
        "primary group and 16 of your 20 others, and this is none of them."
    )


def test_no_member(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(why(monkeypatch, User(9, 9, NUMBERS[:3]))) == (
        f"/d s may not be read by you: it is open to the group {LAST}, of which you are no "
        "member. Ask its owner or your site for access, then log in anew; if that "
        "does not help, " + SUPPORT
    )


def test_an_access_list(monkeypatch: pytest.MonkeyPatch) -> None:
    error = why(monkeypatch, User(9, 9, ()), entries=[[4, 7, -1], [16, 0, -1]])
    assert str(error) == (
        "/d s may not be read by you: its access list decides that (getfacl, nfs4_getfacl), "
        "and not its "
        "group. Another primary group (sg) does not help; if you should have access, " + SUPPORT
    )


def test_the_owner_who_has_closed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(why(monkeypatch, User(9, 9, ()), mode=0o000, uid=9)) == (
        "/d s may not be read by you: its mode (d---------) closes it, to you who own it "
        "too. Open it: "
        "chmod u+rx '/d s'"
    )


def test_a_mode_that_lets_no_group_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(why(monkeypatch, User(9, 9, ()), mode=0o640, wanted=1)) == (
        "/d s may not be read by you: its mode (drw-r-----) closes it to you; it belongs to "
        "root. Ask root "
        "to open it (chmod +x), or " + SUPPORT
    )


def test_a_rule_of_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = str(why(monkeypatch, User(9, 9, ()), mode=0o755))
    assert "its mode would let you in, so the server has a rule of its own" in sentence
    assert sentence.endswith(f"If you should have access, {SUPPORT}")


# --- under another group --------------------------------------------------------------------------


NEED = GroupNeededError("It needs the group imagenet.", "imagenet")


def refused(arguments: list[str], *, is_again: bool = False) -> str:
    with pytest.raises(SourceUnreadableError) as caught:
        reexec_under_group(NEED, arguments, _nothing, is_again=is_again)
    return str(caught.value)


def _nothing(sentence: str) -> None:
    raise AssertionError(sentence)


@pytest.fixture
def sg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of sg, to be written by the test."""
    program = tmp_path / "bin" / "sg"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 118\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def test_a_second_time_would_not_help() -> None:
    said = refused(["run", "--", "true"], is_again=True)
    assert said == (
        f"{NEED} With that one as your primary group it is refused all the same; {SUPPORT}"
    )


def test_there_is_no_sg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refused(["run", "/a b", "--", "ls", "{mnt}"]) == (
        f"{NEED} There is no sg on this node; where there is one: sg imagenet -c 'imagenetfs run "
        "'\"'\"'/a b'\"'\"' -- ls '\"'\"'{mnt}'\"'\"''"
    )


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo Password: >&2; exit 1", "sg asks for more than it can be given here (Password:)"),
        ("exit 1", "(it said nothing)"),
        ("echo hello", "(it said nothing)"),
        ("echo one >&2; echo two >&2; exit 1", "(two)"),
    ],
)
def test_an_sg_that_asks_for_more(sg: Path, script: str, words: str) -> None:
    sg.write_text(f"#!/bin/sh\n{script}\n")
    said = refused(["mount", "/s", "/m"])
    assert said.startswith(f"{NEED} Type it yourself, for ")
    assert words in said
    assert said.endswith(": sg imagenet -c 'imagenetfs mount /s /m'")


def test_an_sg_that_cannot_be_started(sg: Path) -> None:
    sg.write_text("#!/no/such/shell\n")
    assert "sg could not be started (No such file or directory)" in refused(["status"])


def test_an_sg_that_does_not_come_back(sg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primary_group, "SG_SECONDS", 0.05)
    sg.write_text("#!/bin/sh\nexec sleep 60\n")
    assert "sg did not come back within 0 s" in refused(["status"])


def test_starting_again(sg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    seen: list[tuple[str, list[str], dict[str, str]]] = []

    class Gone(BaseException):
        pass

    def execve(program: str, arguments: list[str], environ: dict[str, str]) -> None:
        seen.append((program, arguments, environ))
        raise Gone

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(os, "getgid", lambda: 0)
    with pytest.raises(Gone):
        reexec_under_group(NEED, ["run", "/a b", "--", "ls"], said.append, is_again=False)
    [(program, arguments, environ)] = seen
    assert program == str(sg)
    assert arguments == [
        *("sg", "imagenet", "-c"),
        f"exec {sys.executable} -P -m imagenetfs run '/a b' -- ls",
    ]
    assert environ[UNDER_VARIABLE] == "root"
    assert said == [f"{NEED} Starting again with that one as the primary group (sg imagenet)."]


def test_a_process_that_was_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primary_group, "_usual_groups", [])
    monkeypatch.setenv(UNDER_VARIABLE, "users")
    assert consume_reexec_marker()
    assert usual_group() == "users"
    assert UNDER_VARIABLE not in os.environ, "a command that it starts is not started again"
    assert not consume_reexec_marker()
    assert usual_group() is None


def _entry(options: str) -> MountEntry:
    return MountEntry(1, "0:1", "/mnt/x", "fuse.imagenetfs", "/s", options)


def test_a_mount_that_is_shown_to_another_group() -> None:
    uid, gid = os.geteuid(), os.getegid()
    check_mount(_entry(f"ro,user_id={uid},group_id={gid}"))
    check_mount(_entry(f"ro,user_id={uid + 1},group_id={LAST}"))  # another user's: no group helps
    check_mount(_entry(f"ro,user_id={uid},group_id={LAST},allow_other"))
    with pytest.raises(GroupNeededError) as caught:
        check_mount(_entry(f"ro,user_id={uid},group_id={LAST}"))
    assert caught.value.group == str(LAST)
    assert str(caught.value) == (
        f"The mount at /mnt/x was made under the group {LAST}, and is shown to no other."
    )
