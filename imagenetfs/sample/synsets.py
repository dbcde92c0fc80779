"""The classes of ILSVRC2012: WordNet ids, words and glosses, and the order of their IDs.

The data file ``synsets.tsv`` holds facts of WordNet 3.0, sorted by wnid. What is public here of
the order of ILSVRC2012_IDs is 1 to 10 and 1000; IDs 11 to 15 are given to classes with a trap
of their own (two named "crane", two "maillot", and the one with the PNG named .JPEG), and the
others are put into a shuffled order that depends on their wnids alone. So an ID is never the
place in sorted order, as it is not in the real data, but only eleven IDs are the real ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

FIRST_TEN = (
    "n02119789",  # kit fox
    "n02100735",  # English setter
    "n02110185",  # Siberian husky
    "n02096294",  # Australian terrier
    "n02102040",  # English springer
    "n02066245",  # grey whale
    "n02509815",  # lesser panda
    "n02124075",  # Egyptian cat
    "n02417914",  # ibex
    "n02123394",  # Persian cat
)
CRANES = ("n02012849", "n03126707")
MAILLOTS = ("n03710637", "n03710721")
SHETLAND_SHEEPDOG = "n02105855"
DUMBBELL = "n03255030"  # ILSVRC2012_ID 1000

LEAVES = 1000

# The dog classes lie in one stretch of WordNet, and three wild dogs after it. They make 121; the
# fine-grained task is said to have 120, and which one it lacks is not known here.
DOGS = ("n02085620", "n02113978")
WILD_DOGS = frozenset({"n02115641", "n02115913", "n02116738"})


@dataclass(frozen=True, slots=True)
class Synset:
    """One row of WordNet: ``words`` separated by ", ", the first one the usual name."""

    wnid: str
    kind: str
    words: str
    gloss: str


@cache
def table() -> dict[str, Synset]:
    """All synsets of the data file by wnid, in sorted order."""
    text = resources.files(__package__).joinpath("synsets.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return {wnid: Synset(wnid, kind, words, gloss) for wnid, kind, words, gloss in rows}


@cache
def imagenet_order() -> tuple[str, ...]:
    """The 1,000 wnids; place i has ILSVRC2012_ID i + 1 (see the module's docstring)."""
    known = (*FIRST_TEN, *CRANES, *MAILLOTS, SHETLAND_SHEEPDOG)
    fixed = {*known, DUMBBELL}
    others = [row.wnid for row in table().values() if row.kind == "leaf" and row.wnid not in fixed]
    others.sort(key=lambda wnid: hashlib.sha256(wnid.encode("ascii")).digest())
    return (*known, *others, DUMBBELL)


def is_dog(wnid: str) -> bool:
    """Whether the class belongs to the fine-grained task (t3)."""
    return DOGS[0] <= wnid <= DOGS[1] or wnid in WILD_DOGS
