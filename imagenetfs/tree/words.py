"""Classes by their words: "goldfish" is n01443537.

A class's words are the synonyms of its WordNet synset, separated by commas. A word means the
classes that have it as a synonym; where none has, those in whose synonyms it stands as a word of
its own ("shark" in "great white shark"). Large and small letters are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from imagenetfs.errors import did_you_mean

_SEPARATOR = re.compile(r"[\s_]+")


def _plain(text: str) -> str:
    return _SEPARATOR.sub(" ", text).strip().casefold()


def synonyms(words: str) -> list[str]:
    """``"goldfish, Carassius auratus"`` -> both."""
    return [one for one in (part.strip() for part in words.split(",")) if one]


class WordIndex:
    """The classes of a version, or of several, by their words. ``_`` may stand for a space."""

    def __init__(self, words: Mapping[bytes, str], wnids: Iterable[bytes]) -> None:
        self._words = words
        self._wnids = sorted(set(wnids))
        self._synonyms: dict[str, list[bytes]] = {}
        for wnid in self._wnids:
            for one in dict.fromkeys(map(_plain, synonyms(words.get(wnid, "")))):
                self._synonyms.setdefault(one, []).append(wnid)

    def named(self, word: str) -> list[bytes]:
        """The classes that have this synonym, sorted."""
        return self._synonyms.get(_plain(word), [])

    def find(self, word: str) -> list[bytes]:
        """The classes that a word means, sorted."""
        wanted = _plain(word)
        if wanted in self._synonyms or not wanted:
            return self.named(word)
        within = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)")
        found = {w for one, wnids in self._synonyms.items() if within.search(one) for w in wnids}
        return sorted(found)

    def near(self, word: str) -> str:
        """A question that names the synonym that is most like a word; empty where none is."""
        return did_you_mean(word, self._synonyms)


def listed(wnids: Iterable[bytes], words: Mapping[bytes, str], most: int = 10) -> str:
    """Classes with their words, for a sentence; of many the first ones."""
    every = list(wnids)
    named = [f"{wnid.decode()} ({words.get(wnid, '?')})" for wnid in every[:most]]
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return "; ".join(named) + more
