"""Files that are opened by a name: what another user may have laid there is refused, and nothing
waits.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from imagenetfs.system.files import is_in_memory, open_regular, open_to_append, write_all
from imagenetfs.system.mounts import mount_of_descriptor

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")


def append(path: Path, text: bytes, *, truncate: bool = False) -> None:
    fd = open_to_append(path, truncate=truncate)
    os.write(fd, text)
    os.close(fd)


def test_a_file_is_made_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, b"one")
    append(path, b"two")
    assert path.read_bytes() == b"onetwo"
    assert path.stat().st_mode & 0o777 == 0o600
    append(path, b"three", truncate=True)
    assert path.read_bytes() == b"three"


def test_own_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/other")
    (tmp_path / "there" / "other").symlink_to(tmp_path / "log")
    append(tmp_path / "link", b"one")
    assert (tmp_path / "log").read_bytes() == b"one"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError) as caught:
        open_to_append(tmp_path / "loop")
    assert caught.value.errno == errno.ELOOP


def test_a_device_is_taken() -> None:
    append(Path("/dev/null"), b"x")


@as_root
def test_links_and_files_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    os.chown(tmp_path / "link", 65534, 65534, follow_symlinks=False)
    with pytest.raises(PermissionError, match="symbolic link of another user"):
        open_to_append(tmp_path / "link")
    assert not (tmp_path / "victim").exists()
    (tmp_path / "theirs").write_text("theirs")
    os.chown(tmp_path / "theirs", 65534, 65534)
    with pytest.raises(PermissionError, match="belongs to another user"):
        open_to_append(tmp_path / "theirs", truncate=True)
    assert (tmp_path / "theirs").read_text() == "theirs"
    os.close(open_regular(tmp_path / "theirs"))  # to read it does no harm


@pytest.mark.timeout(20)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="no regular file"):
        open_regular(tmp_path / "fifo")
    with pytest.raises(OSError, match="no regular file"):
        open_to_append(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OSError, match="no regular file"):
        open_to_append(tmp_path / "fifo")
    os.close(reader)
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(tmp_path / "socket"))
        for opened in (open_regular, open_to_append):
            with pytest.raises(OSError):
                opened(tmp_path / "socket")
    with pytest.raises(OSError, match="no regular file"):
        open_regular(tmp_path)
    with pytest.raises(IsADirectoryError):
        open_to_append(tmp_path)


def test_all_is_written_however_little_the_disk_takes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pwrite = tmp_path / "file", os.pwrite
    path.write_bytes(b"0123456789")
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:3], at))
    with path.open("r+b") as file:
        write_all(file.fileno(), b"abcdefg", 2)
    assert path.read_bytes() == b"01abcdefg9"


def test_whether_a_file_is_in_memory(tmp_path: Path) -> None:
    """What the kernel's table of mounts says of it; a memory file is one, a pipe is none."""
    fd = os.memfd_create("some")
    assert is_in_memory(fd)
    os.close(fd)
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("rb") as file:
        mount = mount_of_descriptor(file.fileno())
        assert mount is not None
        assert is_in_memory(file.fileno()) == (mount.fstype in ("tmpfs", "ramfs"))
    ends = os.pipe()
    assert not is_in_memory(ends[0])
    for end in ends:
        os.close(end)
    assert not is_in_memory(-1)
