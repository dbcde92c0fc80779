"""A coarse hierarchy over the 1,000 classes, for the devkit's rows above the leaves.

The names are WordNet's; who stands under whom is simplified to ranges of wnids, which follow
WordNet's tree closely for animals and loosely elsewhere (860 ancestors there, 30 here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ROOT = "n00001740"

# (ancestor, its parent, ranges of leaves under it): a leaf's parent is the last row that fits.
_RANGES: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("n00004475", ROOT, ()),
    ("n00021939", ROOT, (("n02666196", "n04999999"),)),
    ("n00021265", ROOT, (("n07000000", "n07999999"),)),
    ("n09287968", ROOT, (("n09193705", "n09472597"),)),
    ("n00007846", "n00004475", (("n09835506", "n10565667"),)),
    ("n00017222", "n00004475", (("n11879895", "n13133613"),)),
    ("n12992868", "n00004475", (("n12985857", "n13054560"),)),
    ("n00015388", "n00004475", (("n01440764", "n02655020"),)),
    ("n01471682", "n00015388", ()),
    ("n02512053", "n01471682", (("n01440764", "n01498041"), ("n02514041", "n02655020"))),
    (
        "n01503061",
        "n01471682",
        (("n01514668", "n01622779"), ("n01795545", "n01860187"), ("n02002556", "n02058221")),
    ),
    ("n01627424", "n01471682", (("n01629819", "n01644900"),)),
    ("n01661091", "n01471682", (("n01664065", "n01756291"),)),
    ("n01674464", "n01661091", (("n01675722", "n01695060"),)),
    ("n01726692", "n01661091", (("n01728572", "n01756291"),)),
    ("n01905661", "n00015388", (("n01910747", "n01968897"), ("n02317335", "n02321529"))),
    ("n01767661", "n00015388", (("n01768244", "n01784675"), ("n01978287", "n01990800"))),
    ("n02159955", "n01767661", (("n02165105", "n02281787"),)),
    (
        "n01861778",
        "n01471682",
        (("n01871265", "n01883070"), ("n02066245", "n02138441"), ("n02325366", "n02510455")),
    ),
    ("n02062744", "n01861778", (("n02066245", "n02071294"),)),
    ("n02370806", "n01861778", (("n02389026", "n02437616"),)),
    ("n02469914", "n01861778", (("n02480495", "n02500267"),)),
    (
        "n02075296",
        "n01861778",
        (("n02083346", "n02138441"), ("n02441942", "n02447366"), ("n02509815", "n02510455")),
    ),
    ("n02083346", "n02075296", (("n02085620", "n02120505"),)),
    ("n02084071", "n02083346", (("n02085620", "n02113978"),)),
    ("n02118333", "n02083346", (("n02119022", "n02120505"),)),
    ("n02120997", "n02075296", (("n02123045", "n02130308"),)),
    ("n02121620", "n02120997", (("n02123045", "n02124075"),)),
    ("n02131653", "n02075296", (("n02132136", "n02134418"),)),
)


@dataclass(frozen=True, slots=True)
class HierarchyNode:
    """One node above the leaves: the wnids directly under it, and its greatest distance to a
    leaf in edges."""

    wnid: str
    children: tuple[str, ...]
    height: int


def _parent_of_leaf(wnid: str) -> str:
    parent = ROOT
    for ancestor, _, ranges in _RANGES:
        if any(first <= wnid <= last for first, last in ranges):
            parent = ancestor
    return parent


def ancestors_of(leaves: Sequence[str]) -> list[HierarchyNode]:
    """The nodes above these leaves, the root last; nodes without a leaf under them are left out."""
    children: dict[str, list[str]] = {}
    height = dict.fromkeys(leaves, 0)
    for leaf in leaves:
        children.setdefault(_parent_of_leaf(leaf), []).append(leaf)
    nodes = []
    # A parent stands before its children in the table, so backwards every child is known in time.
    for ancestor, parent in [*((row[0], row[1]) for row in reversed(_RANGES)), (ROOT, "")]:
        below = children.get(ancestor)
        if not below:
            continue
        height[ancestor] = 1 + max(height[child] for child in below)
        nodes.append(HierarchyNode(ancestor, tuple(sorted(below)), height[ancestor]))
        children.setdefault(parent, []).append(ancestor)
    return nodes
