"""Images a second that some work brings, by one to many processes: what `imagenetfs bench` says.

Each process is forked for its measurement and counts for itself; the time is that of the slowest.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path

Work = Callable[[int, int], Iterator[int]]
"""``work(number, processes)``: what one of so many processes does; yields the bytes of each
image.
"""

Decode = Callable[[bytes], object]

_RESULT = struct.Struct("<QQd")
_PIECE = 1 << 20


class NothingMeasuredError(Exception):
    """A measurement that could not be made, and why, as a sentence."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Images and bytes a second by so many processes."""

    workers: int
    images: float
    bytes: float


def rate(work: Work, workers: int, seconds: float) -> Rate:
    """Have processes work for so many seconds. Raises NothingMeasuredError where one fails, or
    none has done anything.
    """
    reader, writer = os.pipe()
    try:
        children = [_fork(work, number, workers, seconds, writer) for number in range(workers)]
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb") as results:
        told = results.read()
    for child in children:
        os.waitpid(child, 0)
    parts = list(_RESULT.iter_unpack(told[: len(told) // _RESULT.size * _RESULT.size]))
    images, size = (sum(part[at] for part in parts) for at in (0, 1))
    if len(parts) < workers or not images:  # one that fails says nothing
        raise NothingMeasuredError(f"{workers} processes had no image in {seconds:.1f} s.")
    took = max(part[2] for part in parts)
    return Rate(workers, images / took, size / took)


def _fork(work: Work, number: int, workers: int, seconds: float, writer: int) -> int:
    child = os.fork()
    if child:
        return child
    images = size = 0
    failed = True
    try:
        begin = time.monotonic()
        for length in work(number, workers):
            images, size = images + 1, size + length
            if time.monotonic() - begin >= seconds:
                break
        took = max(time.monotonic() - begin, 1e-6)
        failed = False
        os.write(writer, _RESULT.pack(images, size, took))
    finally:
        os._exit(int(failed))


class Images:
    """Images in an order in which each is handed out once before any comes again."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._next = 0
        self.came_again = False

    def share(self, number: int, workers: int) -> Iterator[str]:
        """Those of one of so many processes, without an end, from where :meth:`went` says."""
        rest = self.names[self._next :] + self.names[: self._next]
        return cycle(rest[number::workers] or rest)

    def went(self, images: float) -> None:
        """So many were handed out."""
        self.came_again = self.came_again or images > len(self.names) - self._next
        self._next = int(self._next + images) % max(1, len(self.names))


def of_reads(images: Images, read: Callable[[str], int]) -> Work:
    """Read whole images by name; ``read`` returns how many bytes it had."""
    return lambda number, workers: map(read, images.share(number, workers))


def read_file(path: Path) -> int:
    """Read a file whole, and have the kernel forget it."""
    total = 0
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while piece := os.read(fd, _PIECE):
            total += len(piece)
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    return total


def of_decoding(contents: Sequence[bytes], decode: Decode) -> Work:
    """Decode images that are in memory."""

    def work(number: int, workers: int) -> Iterator[int]:
        for content in islice(cycle(contents), number, None):
            decode(content)
            yield len(content)

    return work


def pillow() -> tuple[str, Decode]:
    """Pillow's decoder to RGB, and what to call it. Raises NothingMeasuredError without Pillow."""
    try:
        import PIL
        from PIL import Image
    except ImportError as error:
        raise NothingMeasuredError("Pillow is not installed.") from error

    def decode(content: bytes) -> object:
        with Image.open(io.BytesIO(content)) as image:
            return image.convert("RGB")

    return f"Pillow {PIL.__version__}", decode


def torchvision() -> tuple[str, Decode]:
    """The same of torchvision's; it takes seconds to be imported."""
    try:
        import torch
        from torchvision import __version__, io
    except Exception as error:  # it fails in many ways where it does not fit its torch
        raise NothingMeasuredError("torchvision cannot be imported.") from error
    torch.set_num_threads(1)

    def decode(content: bytes) -> object:
        data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return io.decode_image(data, mode=io.ImageReadMode.RGB)

    return f"torchvision {__version__}", decode


def decodable(contents: Iterable[bytes], decode: Decode) -> list[bytes]:
    """Those that can be decoded at all."""
    found = []
    for content in contents:
        with contextlib.suppress(Exception):  # a decoder raises whatever it likes
            decode(content)
            found.append(content)
    return found


# --- the cache's disk -----------------------------------------------------------------------------


class ScratchDisk:
    """A file without a name on the cache's disk, of about so many bytes; it goes when closed."""

    def __init__(self, directory: Path, size: int, seconds: float) -> None:
        """Fills it, for so many seconds at most. Raises NothingMeasuredError where that fails."""
        data, written = os.urandom(_PIECE), 0
        try:
            self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 (close)
            begin = time.monotonic()
            while written < size and time.monotonic() - begin < seconds:
                written += os.pwrite(self._file.fileno(), data, written)
            os.fdatasync(self._file.fileno())
        except OSError as error:
            raise NothingMeasuredError(
                f"{directory} cannot be written to: {error.strerror}."
            ) from error
        self.write_rate = written / max(time.monotonic() - begin, 1e-6)
        """Bytes a second."""
        self._size = written

    def close(self) -> None:
        """Give its space back."""
        self._file.close()

    def work(self, number: int, workers: int, image: int) -> Iterator[int]:
        """Read pieces as large as an image, no two of which lie beside each other."""
        fd = self._file.fileno()
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        pieces = max(1, self._size // image)
        for at in count(number, workers):
            offset = at * 7919 % pieces * image
            data = os.pread(fd, image, offset)
            with contextlib.suppress(OSError):
                os.posix_fadvise(fd, offset, image, os.POSIX_FADV_DONTNEED)
            yield len(data)
