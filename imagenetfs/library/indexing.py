"""A large split that is in no index yet is indexed by ``imagenetfs index``, a process that ends
with its work, before it is listed here: many archives at once, once for all who share the index.

Not by forks of this process: the caller's may have threads, and a GPU.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

from imagenetfs.index.archives import Kind
from imagenetfs.index.records import is_complete
from imagenetfs.library.settings import TreeSpec
from imagenetfs.tree.catalogue import Catalogue
from imagenetfs.tree.dataset import Split

log = logging.getLogger(__name__)

LARGE = 1 << 30
"""Bytes of tars that are worth a process."""

MANY = 64
"""Archives that are."""

_PROGRAM = """
import sys
from imagenetfs.system.process import INDEXER, set_parent_death_signal
set_parent_death_signal(int(sys.argv.pop(1)), INDEXER)
from imagenetfs.cli.app import command
command()
"""
"""It ends with the process that waits for it, whatever happens to that."""


def index_ahead(spec: TreeSpec, catalogue: Catalogue, split: Split) -> None:
    """Have the tables of a split made, where that is worth a process and they can be kept; else,
    or where that fails, they are made one by one when they are listed.
    """
    index, archives = catalogue.index, list(split.backend.archives)
    if spec.index_dir is None or is_complete(index, archives) or not _is_large(catalogue, archives):
        return
    names = list(_titles(catalogue, archives))
    log.info("indexing %s of %s", ", ".join(names), spec.source)
    arguments = ["index", "--source", str(spec.source), "--index-dir", str(spec.index_dir), *names]
    command = [sys.executable, "-c", _PROGRAM, str(os.getpid()), *arguments]
    options = {"IMAGENETFS_PREFER": spec.prefer}
    try:
        ended = subprocess.run(
            command,
            env={**os.environ, **options},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        log.warning("%s is indexed one archive after the other: %s", names[0], error.strerror)
        return
    if ended.returncode:
        said = ended.stderr.strip().splitlines()[-1:] or [f"exit code {ended.returncode}"]
        log.warning("%s is indexed one archive after the other: %s", names[0], said[0])
    index.persisted.refresh(archives)


def _is_large(catalogue: Catalogue, archives: Sequence[int]) -> bool:
    if len(archives) > MANY:
        return True
    size = 0
    for number in archives:
        archive = catalogue.index.archives[number]
        status = catalogue.source.status(archive.file) if archive.kind is Kind.TAR else None
        size += status.st_size if status is not None else 0
    return size > LARGE


def _titles(catalogue: Catalogue, archives: Sequence[int]) -> Iterator[str]:
    """The splits that the archives belong to, as ``imagenetfs index`` has their names; those of a
    view are its version's.
    """
    wanted = set(archives)
    for version in catalogue.versions:
        for split in version.splits:
            if wanted & set(split.backend.archives):
                yield os.fsdecode(version.name + b"/" + split.name)
