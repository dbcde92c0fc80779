"""Where a run works: a directory of its own, an environment that leaves the user's alone."""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imagenetfs

from .children import undisturbed
from .errors import BenchmarkError


@dataclass(frozen=True, slots=True)
class Workspace:
    """Directories of one run. ``environ`` is for every process that is started."""

    root: Path
    environ: dict[str, str]

    def path(self, *names: str) -> Path:
        """A path below the root; its parent is made."""
        path = self.root.joinpath(*names)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def check_room(self, needed: int) -> None:
        """Raise BenchmarkError where the disk has not so many bytes left."""
        free = shutil.disk_usage(self.root).free
        if free < needed:
            raise BenchmarkError(
                f"The data take {needed / 1e9:.1f} GB and the disk of the temporary directory has "
                f"{free / 1e9:.1f} GB left; name another one with --work."
            )


@contextlib.contextmanager
def workspace(kept: Path | None) -> Iterator[Workspace]:
    """A temporary directory that goes with the run; or ``kept``, whose
    data stay for the next one.
    """
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield _made(kept.resolve())
        return
    root = Path(tempfile.mkdtemp(prefix="imagenetfs-bench-")).resolve()
    try:
        yield _made(root)
    finally:
        with undisturbed():
            shutil.rmtree(root, ignore_errors=True)


def _made(root: Path) -> Workspace:
    home = root / "home"
    home.mkdir(exist_ok=True)
    # As an installer does: what is measured is not how long Python compiles.
    compileall.compile_dir(Path(imagenetfs.__file__).parent, quiet=2)
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("IMAGENETFS_", "XDG_", "PYTHON")) or name == "IMAGENETFS_TEST_RUN"
    }
    environ |= {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "IMAGENETFS_RUN_DIR": str(root / "run"),
    }
    return Workspace(root, environ)
