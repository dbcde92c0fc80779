"""Walk a tar on a mount of NFS, by hints, by threads, one header after the
other; each from a cold cache.

    scan.py EXPORTED MOUNTED

For the virtual machine of guest.sh: makes a tar in the exported directory, and walks it in the
mounted one. A line for each way: seconds, and the READ requests that the kernel's NFS client sent.
"""

from __future__ import annotations

import os
import re
import sys
import tarfile
import time
from pathlib import Path

from imagenetfs.formats.tar.parallel_scan import scan_parallel
from imagenetfs.formats.tar.readahead_scanner import readahead_works
from imagenetfs.formats.tar.walk import MemberColumns
from imagenetfs.source.source import Source

NAME = "large.tar"
MEMBERS, BYTES = 3000, 110_080


def make(path: Path) -> None:
    """Headers, and holes for the images."""
    with path.open("wb") as file:
        for number in range(MEMBERS):
            info = tarfile.TarInfo(f"ILSVRC2012_val_{number:08d}.JPEG")
            info.size = BYTES
            file.write(info.tobuf(tarfile.USTAR_FORMAT))
            file.seek(BYTES, os.SEEK_CUR)
        file.truncate(file.tell() + 1024)


def requests(directory: Path) -> int:
    """READ requests sent for the mount so far."""
    text = Path("/proc/self/mountstats").read_text()
    mount = text.split(f" mounted on {directory} ", 1)[1]
    found = re.search(r"^\s*READ: (\d+)", mount, re.MULTILINE)
    return int(found[1]) if found else 0


def main(exported: Path, directory: Path) -> None:
    """Print what each way takes."""
    make(exported / NAME)
    source = Source(directory)
    for way, in_flight, hinted in (
        ("64 by hints", 64, True),
        ("by itself", None, True),
        ("16 by threads", 16, False),
        ("one after the other", 1, False),
    ):
        with source.opened(os.fsencode(NAME)) as file:
            os.posix_fadvise(file.fd, 0, 0, os.POSIX_FADV_DONTNEED)
            before, start, columns = requests(directory), time.monotonic(), MemberColumns()
            hint = file.hint if hinted else None
            scan_parallel(file.read_up_to, 0, file.size, columns, hint, in_flight=in_flight)
            seconds, sent = time.monotonic() - start, requests(directory) - before
            print(f"{way}: {len(columns):,} members, {seconds:.1f} s, {sent:,} READ requests")
    with source.opened(os.fsencode(NAME)) as file:
        os.posix_fadvise(file.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.monotonic()
        file.read_up_to(file.size // 2, 512)
        alone = time.monotonic() - start
        heeded = readahead_works(file.read_up_to, file.hint, 0, file.size)
        print(
            f"a request takes {1000 * alone:.1f} ms; hints are heeded: {'yes' if heeded else 'no'}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
