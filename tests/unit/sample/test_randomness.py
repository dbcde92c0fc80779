"""Random numbers that depend on the seed and a name alone."""

from __future__ import annotations

import pytest

from imagenetfs.sample.randomness import generator, image_numbers, shuffled, spread_counts


@pytest.mark.parametrize("mean", [4, 5, 80])
@pytest.mark.parametrize("parts", [1, 2, 7, 100])
def test_counts_add_up(mean: int, parts: int) -> None:
    counts = spread_counts(mean, parts, generator(0, mean, parts))
    assert sum(counts) == mean * parts
    assert min(counts) >= 1


def test_shuffled_is_never_sorted() -> None:
    for draw in range(50):
        assert shuffled([1, 2], generator(0, draw)) == [2, 1]
        assert sorted(shuffled([1, 2, 3], generator(0, draw))) == [1, 2, 3]
    assert shuffled([1], generator(0)) == [1]


def test_image_numbers_are_distinct() -> None:
    numbers = image_numbers(20_000, generator(0))
    assert len(set(numbers)) == 20_000
    assert min(numbers) >= 1


def test_a_generator_depends_on_its_seed_and_names_alone() -> None:
    draws = [
        generator(*words).integers(0, 1 << 62) for words in ((1, "a"), (1, "a"), (2, "a"), (1, "b"))
    ]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3
    assert generator(0, 8).random() == generator(0, "8").random()
    assert generator(0, "a", "b").random() != generator(0, "ab").random()


def test_nothing_to_shuffle() -> None:
    assert shuffled([], generator(0)) == []


def test_many_numbers_need_a_higher_limit() -> None:
    numbers = image_numbers(20_000, generator(0), limit=10)
    assert len(set(numbers)) == 20_000
    assert max(numbers) <= 80_000
    assert image_numbers(5, generator(0), limit=3) != sorted(
        image_numbers(5, generator(0), limit=3)
    )
