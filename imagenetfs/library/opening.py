"""Opening a tree: the settings, the source, and what is to be told about them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from imagenetfs.library.settings import AnyPath, resolve_spec
from imagenetfs.library.tree import Tree

log = logging.getLogger(__name__)


def open_tree(source: AnyPath | None, settings: Mapping[str, object]) -> Tree:
    """The tree of a source. Its warnings go to the log, once; another process that opens the same
    tree by its pickle does not say them again.
    """
    tree = Tree(resolve_spec(source, settings))
    for warning in tree.warnings:
        log.warning("%s", warning)
    return tree
