"""The nodes above the classes."""

from __future__ import annotations

import pytest

from imagenetfs.sample import (
    DEFAULT_CLASSES,
    hierarchy,
    synsets,
)


@pytest.mark.parametrize("count", [1, DEFAULT_CLASSES, 1_000])
def test_every_leaf_is_below_the_root_once(count: int) -> None:
    leaves = synsets.imagenet_order()[:count]
    nodes = {node.wnid: node for node in hierarchy.ancestors_of(leaves)}
    seen: list[str] = []

    def walk(wnid: str) -> int:
        if wnid not in nodes:
            seen.append(wnid)
            return 0
        height = 1 + max(walk(child) for child in nodes[wnid].children)
        assert nodes[wnid].height == height
        return height

    walk(hierarchy.ROOT)
    assert sorted(seen) == sorted(leaves)
    assert nodes.keys() <= synsets.table().keys()


def test_no_classes_have_nothing_above_them() -> None:
    assert hierarchy.ancestors_of([]) == []


def test_one_class_and_its_line_of_ancestors() -> None:
    nodes = hierarchy.ancestors_of(["n02119789"])
    assert nodes[-1].wnid == hierarchy.ROOT
    assert [node.height for node in nodes] == list(range(1, len(nodes) + 1))
    assert [node.children for node in nodes] == [
        (below,) for below in ("n02119789", *(node.wnid for node in nodes[:-1]))
    ]


def test_a_node_that_no_range_holds_stands_below_the_root() -> None:
    [root] = hierarchy.ancestors_of(["n99999999"])
    assert (root.wnid, root.children, root.height) == (hierarchy.ROOT, ("n99999999",), 1)
