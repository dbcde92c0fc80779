"""The limit of what any FUSE server can reach here: one in C that only splices
(bound.c, compiled for the run).

What it is behind the extracted files is the price of FUSE; what imagenetfs is behind
it, that of all the rest.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from . import children
from .data import Data
from .errors import BenchmarkError
from .systems import BOUND, System
from .workspace import Workspace

_FROM = Path(__file__).with_name("bound.c")
_SECONDS = 60


def bound(data: Data, workspace: Workspace) -> System:
    """The server over the same tar. Raises BenchmarkError where it cannot be had."""
    if os.geteuid() != 0:
        raise BenchmarkError("only root can mount it.")
    program, images = workspace.path("bin", "bound"), workspace.path("bound-images")
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise BenchmarkError("there is no C compiler.")
    log = workspace.path("logs", "cc")
    children.run([compiler, "-O2", _FROM, "-o", program], workspace.environ, log, _SECONDS)
    images.write_text("".join(_lines(data.tar)))
    workers = str(os.cpu_count() or 1)
    command = (program, images, data.tar, "{mnt}", workers)
    return System(BOUND, command, Path(), data.tar)


def _lines(tar: Path) -> Iterator[str]:
    """CLASS/NAME, offset and size of each image in a tar of class tars."""
    with tarfile.open(tar, "r:") as outer:
        for one in outer:
            wnid = one.name.removesuffix(".tar")
            with tarfile.open(fileobj=outer.extractfile(one), mode="r:") as inner:
                for image in inner:
                    at = one.offset_data + image.offset_data
                    yield f"{wnid}/{image.name}\t{at}\t{image.size}\n"
