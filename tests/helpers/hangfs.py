"""A FUSE file system that takes every request and never answers, as another user's may.

``python -m tests.helpers.hangfs PLACE [--seconds N] [--user-id N] [--group-id N] [--type T]
[--allow-other]`` prints READY, and ends with its input, after N seconds at the latest. Whatever
happens, the mount is taken away then and all that waits on it is let go: its connection is aborted.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from imagenetfs.system import mounts

_REPOSITORY = Path(__file__).parents[2]
_INIT_REPLY = struct.Struct("=IiQ IIIIHHIIHH 8I")
"""fuse_out_header, fuse_init_out (linux/fuse.h)."""

_MNT_DETACH = 2


@contextlib.contextmanager
def hanging(
    place: Path, *options: object, front: Sequence[str] = (), seconds: float = 60.0
) -> Iterator[None]:
    """Such a mount for the block's duration. ``front``: what leads to another namespace."""
    words = [sys.executable, "-m", "tests.helpers.hangfs", str(place), f"--seconds={seconds}"]
    process = subprocess.Popen(
        [*front, *words, *map(str, options)],
        cwd=_REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"READY\n"
        yield
    finally:
        process.communicate(timeout=seconds + 30)


def _mount(place: Path, device: int, asked: argparse.Namespace) -> None:
    options = f"fd={device},rootmode=40000,user_id={asked.user_id},group_id={asked.group_id}"
    if asked.allow_other:
        options += ",allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(word) for word in ("hangfs", str(place), asked.type)]
    if libc.mount(*words, ctypes.c_ulong(6), options.encode()) != 0:  # nosuid, nodev
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(place))


def _minor(place: Path) -> int:
    entry = mounts.find_mount(place)
    assert entry is not None
    return int(entry.device.partition(":")[2])


def _serve(device: int, deadline: float) -> None:
    """Answer the first request, which every mount needs, and no other."""
    request = os.read(device, 1 << 17)
    unique = struct.unpack_from("=Q", request, 8)[0]
    body = (7, 31, 1 << 17, 0, 12, 9, 1 << 12, 1, 0, 0, *[0] * 8)
    os.write(device, _INIT_REPLY.pack(_INIT_REPLY.size, 0, unique, *body))
    print("READY", flush=True)
    poller = select.poll()
    poller.register(device, select.POLLIN)
    poller.register(0, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        for fd, _ in poller.poll(left * 1000):
            if fd == 0 or not os.read(device, 1 << 17):
                return


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("place", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--user-id", type=int, default=0)
    parser.add_argument("--group-id", type=int, default=0)
    parser.add_argument("--type", default="fuse.hangfs")
    parser.add_argument("--allow-other", action="store_true")
    parser.add_argument(
        "--leave-dead", action="store_true", help="the mount stays without its server"
    )
    asked = parser.parse_args()
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    _mount(asked.place, device, asked)
    minor = _minor(asked.place)
    try:
        with contextlib.suppress(OSError):
            _serve(device, time.monotonic() + asked.seconds)
    finally:
        with contextlib.suppress(OSError):
            Path(f"/sys/fs/fuse/connections/{minor}/abort").write_text("1")
        os.close(device)  # the last one: this ends the connection too
        if not asked.leave_dead:
            ctypes.CDLL(None).umount2(os.fsencode(asked.place), _MNT_DETACH)


if __name__ == "__main__":
    main()
