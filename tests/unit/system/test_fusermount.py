"""Mounting under another group, with programs of the test's own for sg and fusermount3."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from imagenetfs.errors import FuseRefusedError
from imagenetfs.system import fusermount
from imagenetfs.system.fusermount import may_let_others_in, mount_for
from tests.helpers.leaks import descriptors, opened_since

_SG = """#!/bin/sh
printf '%s\\n' "$1" "$2" > "$SAID/group"
exec /bin/sh -c "$3"
"""

_FUSERMOUNT = """#!{python} -IS
import os, socket, sys
with open(os.environ["SAID"] + "/fusermount", "w") as file:
    file.write("\\n".join(sys.argv[1:]))
{act}
"""

_SENDS = """
with socket.socket(fileno=int(os.environ["_FUSE_COMMFD"])) as one:
    socket.send_fds(one, [b"x"], [os.open(os.environ["SAID"] + "/device", os.O_RDONLY)])
"""


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the two programs leave what they were told."""
    monkeypatch.setenv("SAID", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "device").write_bytes(b"the device")
    _program(tmp_path / "sg", _SG)
    return tmp_path


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _fusermount(said: Path, act: str) -> None:
    _program(said / "fusermount3", _FUSERMOUNT.format(python=sys.executable, act=act))


def test_the_device_comes_back(said: Path) -> None:
    _fusermount(said, _SENDS)
    fd = mount_for("imagenet", Path("/a place/it's"), {"ro", "fsname=b\\,c"})
    assert os.read(fd, 100) == b"the device"
    assert not os.get_inheritable(fd)
    os.close(fd)
    assert (said / "group").read_text().splitlines() == ["imagenet", "-c"]
    assert (said / "fusermount").read_text().splitlines() == [
        "-o",
        "fsname=b\\,c,ro",
        "--",
        "/a place/it's",
    ]


def test_a_refusal_says_what_fusermount_said(said: Path) -> None:
    _fusermount(said, "sys.exit('fusermount3: user has no write access to mountpoint /m')")
    with pytest.raises(FuseRefusedError, match="user has no write access to mountpoint /m") as why:
        mount_for("imagenet", Path("/m"), ["ro"])
    assert "imagenet" in str(why.value)
    assert "/m was refused" in str(why.value)


def test_a_refusal_without_a_word(said: Path) -> None:
    _fusermount(said, "sys.exit(3)")
    with pytest.raises(FuseRefusedError, match="fusermount3 ended with 3"):
        mount_for("imagenet", Path("/m"), ["ro"])


def test_a_success_that_sends_nothing_is_not_waited_for(said: Path) -> None:
    _fusermount(said, "")
    with pytest.raises(FuseRefusedError, match="no descriptor came back"):
        mount_for("imagenet", Path("/m"), ["ro"])


def test_a_message_without_a_descriptor(said: Path) -> None:
    _fusermount(said, "os.write(int(os.environ['_FUSE_COMMFD']), b'x')")
    with pytest.raises(FuseRefusedError, match="no descriptor came back"):
        mount_for("imagenet", Path("/m"), ["ro"])


def test_nothing_is_left_open(said: Path) -> None:
    _fusermount(said, "sys.exit(1)")
    before = descriptors()
    with pytest.raises(FuseRefusedError):
        mount_for("imagenet", Path("/m"), ["ro"])
    assert opened_since(before) == {}


def test_one_that_does_not_come_back(said: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusermount, "_SECONDS", 0.05)
    _program(said / "sg", "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(FuseRefusedError, match="timed out"):
        mount_for("imagenet", Path("/m"), ["ro"])


def test_no_sg_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FuseRefusedError, match="No such file or directory: 'sg'"):
        mount_for("imagenet", Path("/m"), ["ro"])


@pytest.mark.parametrize(
    ("text", "may"),
    [
        (b"user_allow_other\n", True),
        (b"# comment\nmount_max = 1000\n  user_allow_other \n", True),
        (b"\xff\xfe\nuser_allow_other", True),
        (b"#user_allow_other\n", False),
        (b"user_allow_others\n", False),
        (b"", False),
    ],
)
def test_whether_others_may_be_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, may: bool
) -> None:
    monkeypatch.setattr(fusermount, "FUSE_CONF", tmp_path / "fuse.conf")
    assert not may_let_others_in()
    (tmp_path / "fuse.conf").write_bytes(text)
    assert may_let_others_in() is may
