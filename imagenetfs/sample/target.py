"""The directory that a sample is made in: empty at first, and complete or empty at the end.

Everything is written into a hidden directory inside the target, so on the same file system, and
moved up when it is whole. Whatever goes wrong on the way, nothing is left under a final name.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from imagenetfs import errors

OnProgress = Callable[[str, float], None]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_STAGING = ".partial-"


def no_progress(_step: str, _fraction: float) -> None:
    """What is called where progress is not shown."""


@contextmanager
def building(directory: Path) -> Iterator[Path]:
    """Give a staging directory whose content becomes ``directory``'s when the block ends well.

    Raises errors.UsageError where the directory is not empty or cannot be written, and
    errors.NoSpaceError where the disk fills up (or a quota is reached) on the way.
    """
    made = _claim(directory)
    staging = directory / f"{_STAGING}{os.getpid()}"
    try:
        staging.mkdir()
        yield staging
        for child in sorted(staging.iterdir()):
            child.rename(directory / child.name)
    except OSError as error:
        raise _as_ours(error, directory) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made and not any(directory.iterdir()):
            directory.rmdir()


def _claim(directory: Path) -> bool:
    """Make the directory or find it empty; whether it was made."""
    try:
        directory.mkdir(parents=True)
    except FileExistsError:
        if not directory.is_dir():
            raise errors.UsageError(
                f"{directory} is a file; name a directory for the sample."
            ) from None
    except OSError as error:
        raise _as_ours(error, directory) from error
    else:
        return True
    try:
        present = [entry.name for entry in directory.iterdir()]
    except OSError as error:
        raise _as_ours(error, directory) from error
    left = [name for name in present if name.startswith(_STAGING)]
    if present and len(left) == len(present):
        raise errors.UsageError(
            f"{directory} has what is left of a sample that was killed: remove "
            f"{directory / left[0]}."
        )
    if present:
        raise errors.UsageError(
            f"{directory} is not empty, and a sample never overwrites anything: "
            "name a directory that is empty or not there yet."
        )
    return False


def _as_ours(error: OSError, directory: Path) -> errors.ImagenetfsError:
    if error.errno in _FULL:
        return errors.NoSpaceError(
            f"There is not enough space in {directory} for the sample; "
            "what was written has been taken away again."
        )
    return errors.UsageError(f"The sample cannot be written to {directory}: {error.strerror}.")


def settle(directory: Path, mtime: int) -> None:
    """Give every directory of the tree its mode and a modification time (s since the epoch).

    Files keep theirs. To be called last, because every new entry touches its directory.
    """
    for path, _, _ in os.walk(directory, topdown=False):
        Path(path).chmod(0o755)
        os.utime(path, (mtime, mtime))
