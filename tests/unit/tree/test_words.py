"""Classes by their words."""

from __future__ import annotations

from imagenetfs.tree.words import WordIndex, listed, synonyms

WORDS = {
    b"n1": "great white shark, white shark, man-eater",
    b"n2": "tiger shark, Galeocerdo cuvieri",
    b"n3": "crane",
    b"n4": "crane",
    b"n5": "sharkskin",
}
INDEX = WordIndex(WORDS, WORDS)


def test_a_synonym_means_its_class_alone() -> None:
    assert INDEX.find("white shark") == [b"n1"]
    assert INDEX.find("Galeocerdo_cuvieri ") == [b"n2"]
    assert INDEX.find("CRANE") == [b"n3", b"n4"]


def test_a_word_within_synonyms() -> None:
    assert INDEX.find("shark") == [b"n1", b"n2"]
    assert INDEX.named("shark") == []
    assert INDEX.find("eater") == [b"n1"]


def test_nothing() -> None:
    assert INDEX.find("") == []
    assert INDEX.find("(") == []
    assert INDEX.find("shar") == []
    assert INDEX.near("cranes") == " Did you mean crane?"
    assert WordIndex(WORDS, [b"n3", b"n9"]).find("crane") == [b"n3"]


def test_for_a_sentence() -> None:
    assert synonyms("a, b c,, ") == ["a", "b c"]
    assert listed([b"n3", b"n9"], WORDS) == "n3 (crane); n9 (?)"
    assert listed([b"n3"] * 5, WORDS, most=1) == "n3 (crane) and 4 more"
