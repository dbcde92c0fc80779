"""ImageNet's archives as they stand: ``<version>/<split>/<class>/<image>``, without extraction.

``open`` has the tree in this process, ``mount`` as a file system that ends with it; ``imagenetfs``
on the command line has mounts that live on. See docs/python.md.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Unpack

from imagenetfs.errors import ImagenetfsError
from imagenetfs.version import __version__

if TYPE_CHECKING:
    from imagenetfs.library.mount import Mount
    from imagenetfs.library.settings import MountSettings, OpenSettings
    from imagenetfs.library.split import Split
    from imagenetfs.library.tree import Tree

__all__ = ["ImagenetfsError", "Mount", "Split", "Tree", "__version__", "mount", "open"]


def open(source: str | os.PathLike[str] | None = None, **settings: Unpack[OpenSettings]) -> Tree:
    """The tree of a source, in this process: no FUSE, no root, no other process.

    ``source``: the directory that holds ImageNet's archives; None: that of $IMAGENETFS_SOURCE, the
    user's or the site's file, else the usual place. ``settings`` are options of ``imagenetfs
    mount`` by name: in_flight, index_dir, index_path, cache_dir, cache_size, keep_free, revalidate,
    prefer, view (a mapping of names to lists).

    Raises ImagenetfsError with a sentence that says what is wrong and what to do.
    """
    from imagenetfs.library.opening import open_tree

    return open_tree(source, settings)


def mount(
    source: str | os.PathLike[str] | None = None,
    mountpoint: str | os.PathLike[str] | None = None,
    **settings: Unpack[MountSettings],
) -> Mount:
    """Mount a source for as long as this interpreter lives, or until :meth:`Mount.close`.

    ``mountpoint``: an empty directory; None: one that is made and removed. ``settings`` as of
    :func:`open`, and workers, read_timeout, stage, require, log. Processes of one job that mount
    the same source share the mount.

    Raises ImagenetfsError; nothing is mounted then.
    """
    from imagenetfs.library.mount import mount_source

    return mount_source(source, mountpoint, settings)


def __getattr__(name: str) -> object:
    """The public classes, imported when they are first asked for."""
    if name == "Mount":
        from imagenetfs.library.mount import Mount

        return Mount
    if name == "Split":
        from imagenetfs.library.split import Split

        return Split
    if name == "Tree":
        from imagenetfs.library.tree import Tree

        return Tree
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
