"""Partial local shuffling: whose samples are whose, in each epoch, and how many move."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from imagenetfs.cache.source_pace import LARGEST_RANGE, SMALLEST_RANGE
from tests.helpers.late_imports import late_imports

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from imagenetfs.torch import NodeLocalSampler

_late = late_imports("torch", NodeLocalSampler="imagenetfs.torch:NodeLocalSampler")


class Data:
    """A dataset of so many samples; ``targets`` where there are any."""

    def __init__(self, samples: int, targets: list[int] | None = None) -> None:
        self.samples = samples
        if targets is not None:
            self.targets = targets

    def __len__(self) -> int:
        return self.samples


SORTED = Data(4_000, [n // 400 for n in range(4_000)])
ODD = Data(1_003, [n // 101 for n in range(1_003)])
UNSORTED = Data(1_000, [n % 7 for n in range(1_000)])
BARE = Data(1_000)


def ranks(
    data: Data | Stored, nodes: int, per_node: int = 2, **options: object
) -> list[NodeLocalSampler]:
    count = nodes * per_node
    return [
        NodeLocalSampler(data, count, rank, ranks_per_node=per_node, **options)  # type: ignore[arg-type]  # as given
        for rank in range(count)
    ]


def epoch(samplers: list[NodeLocalSampler], number: int) -> list[list[int]]:
    for one in samplers:
        one.set_epoch(number)
    return [list(one) for one in samplers]


@pytest.mark.parametrize("data", [SORTED, ODD, UNSORTED, BARE])
@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_have_the_same_length_and_cover_all(data: Data, drop_last: bool) -> None:
    samplers = ranks(data, nodes=3, drop_last=drop_last, unit=8)
    for number in (0, 1, 5):
        found = epoch(samplers, number)
        assert {len(one) for one in found} == {len(samplers[0])} == {samplers[0].num_samples}
        counts = Counter(sample for one in found for sample in one)
        if drop_last:
            assert max(counts.values()) == 1 and len(counts) > 0.97 * len(data)
        else:
            assert set(counts) == set(range(len(data)))
            assert sum(counts.values()) < 1.05 * len(data)


def shares(samplers: list[NodeLocalSampler], number: int) -> list[set[int]]:
    epoch(samplers, number)
    return [set(one.share().tolist()) for one in samplers[::2]]


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 1.0])
def test_a_node_exchanges_its_part_of_its_share(part: float) -> None:
    samplers = ranks(SORTED, nodes=4, exchange=part, unit=10)
    every = [shares(samplers, number) for number in range(4)]
    for now in every:
        assert set().union(*now) == set(range(4_000)) and {len(one) for one in now} == {1_000}
    for before, after in pairwise(every):
        for one, other in zip(before, after, strict=True):
            new = len(other - one) / 1_000
            assert new <= part
            assert part == 0 or new > part / 3  # some go to the node that they came from


def test_three_epochs_read_little_more_than_the_data() -> None:
    """What nodes come to have in three epochs, in units: once all, and twice the part Q."""
    samplers, seen = ranks(SORTED, nodes=2, exchange=0.1, unit=10), [set[int](), set[int]()]
    for number in range(3):
        for known, share in zip(seen, shares(samplers, number), strict=True):
            known |= share
    assert sum(map(len, seen)) <= (1 + 2 * 0.1) * 4_000


def test_each_node_has_its_part_of_each_class() -> None:
    samplers = ranks(SORTED, nodes=4)
    for share in shares(samplers, 0):
        assert Counter(n // 400 for n in share) == dict.fromkeys(range(10), 100)


def test_neighbours_stay_together() -> None:
    """Runs of an archive, for a cache keeps whole blocks."""
    for share in shares(ranks(SORTED, nodes=4, exchange=0.3, unit=20), 6):
        starts = [n for n in share if n - 1 not in share]
        assert len(starts) <= len(share) / 20


class Stored:
    """Samples that stand in their archives in another order than that of their numbers, as those of
    an ImageFolder over a split do.
    """

    def __init__(self, classes: int, images: int) -> None:
        self.targets = [n // images for n in range(classes * images)]
        self.samples = [("", target) for target in self.targets]
        self.split = self
        rng = np.random.default_rng(3)
        self.order = np.concatenate(
            [images * one + rng.permutation(images) for one in range(classes)]
        )

    def __len__(self) -> int:
        return len(self.samples)

    def stored_order(self) -> NDArray[np.int64]:
        return self.order


def test_neighbours_are_those_in_the_archive() -> None:
    data = Stored(10, 400)
    place = np.empty(len(data), dtype=np.int64)
    place[data.order] = np.arange(len(data))
    every = shares(ranks(data, nodes=4, exchange=0.3, unit=20), 6)
    assert set().union(*every) == set(range(len(data)))
    for share in every:
        places = {int(place[n]) for n in share}
        assert sum(at - 1 not in places for at in places) <= len(share) / 20
        classes = Counter(n // 400 for n in share)
        assert len(classes) == 10


def fetched(data: Stored, nodes: int, part: float, piece: int) -> list[float]:
    """What all nodes together have fetched after each of three epochs, as a part of the data. Each
    has a cache of its own, for which a miss brings the aligned pieces that the image lies in.
    """
    rng = np.random.default_rng(5)
    sizes = np.empty(len(data), dtype=np.int64)
    sizes[:] = 10_000 + rng.gamma(4, 25_000, len(data))  # of ImageNet's: 110 KB on average
    ends = np.empty(len(data), dtype=np.int64)
    ends[data.order] = np.cumsum(512 + sizes[data.order])
    pieces = -(-int(ends.max()) // piece)
    samplers = ranks(data, nodes, 1, exchange=part)
    kept = [np.zeros(pieces + 1, dtype=bool) for _ in range(nodes)]
    parts = []
    for number in range(3):
        epoch(samplers, number)
        for sampler, cache in zip(samplers, kept, strict=True):
            mine = sampler.share()
            edges = np.zeros(pieces + 1, dtype=np.int64)
            np.add.at(edges, (ends - sizes)[mine] // piece, 1)
            np.add.at(edges, -(-ends[mine] // piece), -1)
            cache |= np.cumsum(edges) > 0
        parts.append(sum(int(cache.sum()) for cache in kept) * piece / int(ends.max()))
    return parts


@pytest.mark.parametrize("part", [0.1, 0.3])
@pytest.mark.parametrize(
    ("nodes", "piece"), [(2, LARGEST_RANGE), (4, LARGEST_RANGE), (8, SMALLEST_RANGE)]
)
def test_three_epochs_fetch_the_data_once_and_twice_what_is_exchanged(
    nodes: int, piece: int, part: float
) -> None:
    """In bytes, with all that a cache fetches around an image: 1.02 + 2 Q of the data at most."""
    first, _, third = fetched(Stored(20, 1300), nodes, part, piece)
    assert 1 <= first < 1.04
    assert first < third <= 1.02 + 2 * part


def test_it_is_the_same_for_the_same_seed_and_epoch() -> None:
    one, other = ranks(ODD, nodes=2), ranks(ODD, nodes=2)
    third = epoch(one, 3)
    assert epoch(other, 7) != third and epoch(other, 3) == third == epoch(one, 3)
    assert epoch(ranks(ODD, nodes=2, seed=1), 3) != third
    assert epoch(one, 0) != third


def test_an_order_without_shuffling() -> None:
    samplers = ranks(ODD, nodes=2, shuffle=False, exchange=0.5)
    first = epoch(samplers, 0)
    assert first == epoch(samplers, 4)
    assert sorted({*first[0], *first[1]}) == samplers[0].share().tolist()


def test_one_node_shuffles_all() -> None:
    found = epoch(ranks(SORTED, nodes=1), 2)
    assert sorted(n for one in found for n in one) == list(range(4_000))
    assert found[0] != sorted(found[0])


def test_orders_are_shuffled_well() -> None:
    order = np.array(epoch(ranks(SORTED, nodes=2), 1)[0])
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_replicas": 2, "rank": 2}, "rank must be from 0 to 1"),
        ({"num_replicas": 4, "rank": 0, "ranks_per_node": 3}, "cannot be 3 on each node"),
        ({"num_replicas": 2, "rank": 0, "exchange": 1.5}, "exchange is a part"),
        ({"num_replicas": 2, "rank": 0, "unit": 0}, "unit must be"),
        ({"num_replicas": 2000, "rank": 0}, "too few"),
        ({}, "initialize torch.distributed"),
    ],
)
def test_what_cannot_be(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        NodeLocalSampler(ODD, **options)  # type: ignore[arg-type]  # that is the test


def test_the_environment_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    samplers = [NodeLocalSampler(SORTED, 4, rank) for rank in range(4)]
    assert samplers[0].share().tolist() == samplers[1].share().tolist()
    assert not set(samplers[0].share().tolist()) & set(samplers[2].share().tolist())
