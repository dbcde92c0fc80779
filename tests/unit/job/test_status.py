"""What mounts say of themselves, and what is said of those that say nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import pytest

from imagenetfs.errors import ExitCode, NotMountedError
from imagenetfs.job import status
from imagenetfs.job.status import collect, read_status, source_of
from imagenetfs.system import child_call
from tests.helpers.mount_table import MountTable


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MountTable:
    return MountTable(tmp_path, monkeypatch)


def says(mountpoint: Path, content: bytes | dict[str, object]) -> Path:
    """A directory that answers as a mount does."""
    (mountpoint / ".imagenetfs").mkdir(parents=True)
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (mountpoint / ".imagenetfs" / "status.json").write_bytes(data)
    return mountpoint


def test_an_answer(tmp_path: Path) -> None:
    assert read_status(str(says(tmp_path / "m", {"pid": 7}))) == {"pid": 7}


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"[]", b'"pid"', b"{", b"\xff\xfe"])
def test_answers_that_make_no_sense(tmp_path: Path, content: bytes) -> None:
    assert read_status(str(says(tmp_path / "m", content))) is None


def test_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_status(str(tmp_path)) is None

    def silent(question: object, seconds: float) -> None:
        raise child_call.NoAnswerError

    monkeypatch.setattr(child_call, "call_in_child", silent)
    assert read_status(str(says(tmp_path / "m", {"pid": 7}))) is None


def test_the_source_is_the_servers(tmp_path: Path, table: MountTable) -> None:
    """The mount table has question marks where a name is no ASCII."""
    entry = table.add(says(tmp_path / "m", {"source": "/müll"}), source="/m?ll")
    assert source_of(entry) == "/müll"
    assert source_of(table.add(tmp_path / "silent", source="/m?ll")) == "/m?ll"


def test_mounts_of_this_user(tmp_path: Path, table: MountTable) -> None:
    table.add(says(tmp_path / "live", {"pid": 7, "source": "/s", "state": "odd"}))
    table.add(tmp_path / "theirs", options=f"ro,user_id={os.geteuid() + 1}")
    table.add(tmp_path / "other", fstype="fuse.sshfs")
    [one] = collect()
    assert (one.mountpoint, one.source, one.state) == (str(tmp_path / "live"), "/s", "live")
    assert one.as_json() == {
        "pid": 7,
        "source": "/s",
        "state": "live",
        "mountpoint": str(tmp_path / "live"),
    }


@pytest.mark.slow
def test_mounts_that_say_nothing(
    tmp_path: Path, table: MountTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many do not answer, they are waited for once."""
    errors = {"gone": errno.ENOTCONN, "aborted": errno.ECONNABORTED, "other": errno.EIO}
    asked: list[str] = []

    def read(mountpoint: str) -> str:
        name = Path(mountpoint).name
        if name in errors:
            raise OSError(errors[name], "")
        while True:
            signal.pause()

    monkeypatch.setattr(status, "_read", read)
    monkeypatch.setattr(status, "ANSWER_SECONDS", 0.2)
    states = {"gone": "stale", "aborted": "stale", "other": "silent"}
    states |= {f"never{number}": "silent" for number in range(5)}
    for name in states:
        table.add(tmp_path / name, source="/s")
    answer = child_call.ChildCall.answer

    def noted(call: child_call.ChildCall, deadline: float) -> object:
        asked.append(str(deadline))
        return answer(call, deadline)

    monkeypatch.setattr(child_call.ChildCall, "answer", noted)
    assert {Path(one.mountpoint).name: one.state for one in collect()} == states
    assert len(asked) == len(states)
    assert len(set(asked)) == 1, "one deadline for all"


def test_one_mount(tmp_path: Path, table: MountTable, monkeypatch: pytest.MonkeyPatch) -> None:
    mountpoint = says(tmp_path / "m", {"pid": 7})
    table.add(mountpoint, options="ro,user_id=4242")  # another user's may be asked for by name
    (tmp_path / "link").symlink_to(mountpoint)
    monkeypatch.chdir(tmp_path)
    assert [one.details["pid"] for one in collect("link")] == [7]


@pytest.mark.parametrize("fstype", [None, "nfs"])
def test_no_mount_of_ours(tmp_path: Path, table: MountTable, fstype: str | None) -> None:
    if fstype is not None:
        table.add(tmp_path / "m", fstype=fstype)
    with pytest.raises(NotMountedError) as caught:
        collect(str(tmp_path / "m"))
    assert str(caught.value) == (
        f"No mount of imagenetfs is at {tmp_path}/m on this node: `imagenetfs status` lists your "
        "mounts here. A mount is seen on no other node than its own; make one here: "
        f"imagenetfs mount SOURCE {tmp_path}/m"
    )
    assert caught.value.exit_code is ExitCode.NOT_MOUNTED
