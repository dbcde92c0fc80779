"""A slow archive that counts its readers, for the tests of the parallel scanners."""

from __future__ import annotations

import os
import threading
import time
from itertools import accumulate

from tests.helpers.tars import header


class Source:
    """An archive of members of the given sizes, of which only the headers are kept, behind a
    latency; it counts who reads how much, and how many reads are under way at once."""

    def __init__(self, sizes: list[int], *, seconds: float = 0.001, end: int = 1024) -> None:
        steps = [512 + size + (-size & 511) for size in sizes]
        self.headers = list(accumulate(steps, initial=0))
        self.behind = self.headers.pop()
        self.blocks = {
            offset: header(b"%d.JPEG" % i, size)
            for i, (offset, size) in enumerate(zip(self.headers, sizes, strict=True))
        }
        self.end = self.behind + end
        self.seconds = seconds
        self.reads = self.bytes = self.confirmed = self.under_way = self.most = 0
        self.main = threading.current_thread()
        self.lock = threading.Lock()

    def read_at(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.end
        with self.lock:
            self.reads += 1
            self.bytes += length
            self.confirmed += threading.current_thread() is self.main
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        time.sleep(self.seconds)
        with self.lock:
            self.under_way -= 1
        return self.content(offset, length)

    def content(self, offset: int, length: int) -> bytes:
        piece = bytearray((b"\xff" if offset < self.behind else b"\0") * length)
        for at in range(offset, offset + length, 512):
            piece[at - offset : at - offset + 512] = self.blocks.get(at, b"\xff" * 512)
        return bytes(piece) if offset < self.behind else bytes(length)


def images(count: int) -> list[int]:
    return [60_000 + i * 7919 % 100_000 for i in range(count)]


def threads() -> list[str]:
    """The process's threads as the kernel sees them, which is how fork does."""
    return os.listdir("/proc/self/task")
