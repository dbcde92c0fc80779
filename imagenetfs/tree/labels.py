"""What is known of the classes: numbers and labels from the devkit, words from
whichever file has them.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import replace

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
            paths = kit + devkit.META_MAT, kit + devkit.GROUND_TRUTH
            files = source.read_whole(paths[0]), source.read_whole(paths[1])
        elif packed:
            paths = (root + b"/" + packed[0],) * 2
            files = devkit.unpacked(source.read_whole(paths[0]))
        else:
            return None
        return replace(devkit.parse(*files), meta_path=paths[0], truth_path=paths[1])
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
) -> tuple[dict[bytes, str], dict[bytes, bytes]]:
    """The words of the ``wanted`` wnids: the devkit's, else tiny's, which has all of WordNet's
    nouns; and the path of the file that each wnid's are from.
    """
    words: dict[bytes, str] = {}
    known_from: dict[bytes, bytes] = {}
    root = discovery.root(TINY)
    if root is not None and _WORDS in discovery.files(root):
        path = root + b"/" + _WORDS
        try:
            text = source.read_whole(path)
        except ImagenetfsError as error:
            discovery.warnings.append(f"words.txt cannot be used: {error}")
            text = b""
        for line in text.splitlines():
            wnid, _, known = line.partition(b"\t")
            if known and wnid in wanted:
                words[wnid] = known.strip().decode("utf-8", "replace")
                known_from[wnid] = path
    if kit is not None:
        named = {wnid: known for wnid, known in kit.words.items() if wnid in wanted}
        words.update(named)
        known_from.update(dict.fromkeys(named, kit.meta_path))
    return words, known_from
