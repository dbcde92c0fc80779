"""What the package itself knows of the classes."""

from __future__ import annotations

import re

from imagenetfs.tree.wordnet import ilsvrc2012_wnids, words_of


def test_the_thousand_classes_sorted() -> None:
    """A label is a place in this list, for most programs: these are the published ones."""
    wnids = ilsvrc2012_wnids()
    assert len(wnids) == 1000 == len(set(wnids))
    assert list(wnids) == sorted(wnids)
    assert all(re.fullmatch(rb"n\d{8}", wnid) for wnid in wnids)
    assert (wnids[0], wnids[207], wnids[999]) == (b"n01440764", b"n02099601", b"n15075141")


def test_words_of_those_that_are_known() -> None:
    assert words_of({b"n01440764", b"n99999999"}) == {b"n01440764": "tench, Tinca tinca"}
    assert words_of(()) == {}
