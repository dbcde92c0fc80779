"""What is known of the classes: numbers and labels from the devkit, words from
whichever file has them.
"""

from __future__ import annotations

import re
from collections.abc import Container

from imagenetfs.errors import HelperDiedError, ImagenetfsError
from imagenetfs.source.source import Source
from imagenetfs.tree import devkit
from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.discovery import ILSVRC2012, TINY, Discovery

DEVKIT = b"ILSVRC2012_devkit_t12"
_PACKED = re.compile(rb"ILSVRC2012_devkit_t12\.(tar(\.\w+)?|tgz)")
_WORDS = b"words.txt"


def read_devkit(discovery: Discovery, source: Source) -> Devkit | None:
    """The development kit's labels, from its directory or its archive; None, with a warning where
    it is damaged, if there is none.
    """
    root = discovery.root(ILSVRC2012)
    if root is None:
        return None
    kit = root + b"/" + DEVKIT + b"/"
    packed = [name for name in discovery.files(root) if _PACKED.fullmatch(name)]
    try:
        if DEVKIT in discovery.directories(root):
            files = (
                source.read_whole(kit + devkit.META_MAT),
                source.read_whole(kit + devkit.GROUND_TRUTH),
            )
        elif packed:
            files = devkit.unpacked(source.read_whole(root + b"/" + packed[0]))
        else:
            return None
        return devkit.parse(*files)
    except HelperDiedError as error:
        discovery.warnings.append(
            f"the labels are missing in this mount: {error}. Raise the limit and mount anew."
        )
        return None
    except ImagenetfsError as error:
        discovery.warnings.append(f"the devkit cannot be used: {error}")
        return None


def read_words(
    discovery: Discovery, source: Source, kit: Devkit | None, wanted: Container[bytes]
) -> dict[bytes, str]:
    """The words of the ``wanted`` wnids: the devkit's, else tiny's, which
    has all of WordNet's nouns.
    """
    words: dict[bytes, str] = {}
    root = discovery.root(TINY)
    if root is not None and _WORDS in discovery.files(root):
        try:
            text = source.read_whole(root + b"/" + _WORDS)
        except ImagenetfsError as error:
            discovery.warnings.append(f"words.txt cannot be used: {error}")
            text = b""
        for line in text.splitlines():
            wnid, _, known = line.partition(b"\t")
            if known and wnid in wanted:
                words[wnid] = known.strip().decode("utf-8", "replace")
    if kit is not None:
        words.update({wnid: known for wnid, known in kit.words.items() if wnid in wanted})
    return words
