"""The classes: facts of WordNet, and the order of their IDs."""

from __future__ import annotations

from imagenetfs.sample import (
    synsets,
)


def test_order_of_ids() -> None:
    order = synsets.imagenet_order()
    leaves = {row.wnid for row in synsets.table().values() if row.kind == "leaf"}
    assert len(order) == len(set(order)) == 1_000
    assert set(order) == leaves
    assert list(order[:2]) == ["n02119789", "n02100735"]
    assert order[999] == "n03255030"
    # IDs 1..10 are these places in sorted order, as keras and torchvision number them.
    places = [sorted(order).index(wnid) for wnid in order[:10]]
    assert places == [278, 212, 250, 193, 217, 147, 387, 285, 350, 283]
    assert len([wnid for wnid in order if synsets.is_dog(wnid)]) == 121


def test_two_pairs_of_classes_share_their_name() -> None:
    first = [row.words.split(", ")[0] for row in synsets.table().values() if row.kind == "leaf"]
    assert sorted(name for name in set(first) if first.count(name) > 1) == ["crane", "maillot"]


def test_what_a_synset_says() -> None:
    fox = synsets.table()["n02119789"]
    assert (fox.kind, fox.words) == ("leaf", "kit fox, Vulpes macrotis")
    assert fox.gloss
    assert list(synsets.table()) == sorted(synsets.table())


def test_dogs() -> None:
    dogs = ("n02085620", "n02113978", "n02115641", "n02116738")
    others = ("n02085619", "n02113979", "n02119789", "n02115642")
    assert all(map(synsets.is_dog, dogs))
    assert not any(map(synsets.is_dog, others))
