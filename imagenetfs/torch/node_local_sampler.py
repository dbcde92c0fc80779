"""Partial local shuffling: each node keeps its share of the data, and exchanges a part each epoch.

By T. T. Nguyen et al., "Why Globally Re-shuffle? Revisiting Data Shuffling in Large Scale Deep
Learning" (IPDPS 2022): before each epoch but the first, each node gives a random part Q of its
share away, to nodes by random permutations, so that it gets as much; then it shuffles what it has.
Here nothing is sent. The nodes read from a common source, and what a node comes to have it reads
once, into its cache. So N nodes together read the source once, and then Q of it each epoch.

All ranks compute the same from the seed and the epoch, and need not speak to one another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence, Sized
from itertools import pairwise
from typing import Any

import numpy as np
import torch.distributed as dist
from torch.utils.data import Sampler

from imagenetfs.torch.stored_order import Numbers, stored_order

UNIT = 32
"""Samples that stay together in shares: neighbours in an archive. A cache keeps whole blocks, so a
share of scattered images would have it fetch half as much again."""


class NodeLocalSampler(Sampler[int]):
    """In place of ``DistributedSampler``; call :meth:`set_epoch` before each epoch, as there.

    A node's share has an equal part of each class, where the dataset has ``targets`` that are
    sorted, as those of ImageFolder are. What stays together stands together in the archives where
    the dataset is an ImageFolder, ours or torchvision's, over a mount, or ours over a split; else
    the samples are taken to stand in the order of their numbers. All ranks must have the same kind
    of dataset.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        *,
        ranks_per_node: int | None = None,
        exchange: float = 0.1,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        unit: int = UNIT,
    ) -> None:
        """``num_replicas`` and ``rank``: by default those of torch.distributed; the ranks of a node
        follow one another, ``ranks_per_node`` of them (by default $LOCAL_WORLD_SIZE, which torchrun
        sets). ``exchange``: Q, the part of a share that is given away each epoch, from 0 to 1.
        ``unit``: samples that stay together. ``drop_last``: leave samples out rather than show some
        twice where the ranks' parts differ. Raises ValueError.
        """
        if num_replicas is None or rank is None:
            if not (dist.is_available() and dist.is_initialized()):
                raise ValueError("Give num_replicas and rank, or initialize torch.distributed.")
            num_replicas = dist.get_world_size() if num_replicas is None else num_replicas
            rank = dist.get_rank() if rank is None else rank
        if ranks_per_node is None:
            ranks_per_node = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        _check(num_replicas, rank, ranks_per_node, exchange, unit)
        self.num_replicas = num_replicas
        self.rank = rank
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self.exchange = exchange
        self._ranks = ranks_per_node
        self._node = rank // ranks_per_node
        labels: Any = getattr(dataset, "targets", None)
        # Neighbours are those in the archives, in which names may stand in any order.
        order = stored_order(dataset)
        self._shares = _Shares(len(dataset), labels, num_replicas // ranks_per_node, unit, order)
        sizes = self._shares.sizes
        if drop_last:
            self.num_samples = min(sizes) // ranks_per_node
        else:
            self.num_samples = -(-max(sizes) // ranks_per_node)
        self.total_size = self.num_samples * num_replicas

    def set_epoch(self, epoch: int) -> None:
        """The epoch that comes next, from 0: it decides what was exchanged, and the order."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Samples of each rank in an epoch: the same on all."""
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        mine = self.share()
        if self.shuffle:
            mine = np.random.default_rng([self.seed, self.epoch, 1 + self._node]).permutation(mine)
        wanted = self.num_samples * self._ranks
        mine = np.resize(mine, wanted)  # the first ones again, where there are too few
        return iter(mine[self.rank % self._ranks :: self._ranks].tolist())

    def share(self) -> Numbers:
        """The samples of this rank's node in this epoch, sorted."""
        part = self.exchange if self.shuffle else 0.0
        return self._shares.of(self._node, self.epoch, self.seed, part)


def _check(num_replicas: int, rank: int, ranks_per_node: int, exchange: float, unit: int) -> None:
    if not 0 <= rank < num_replicas:
        raise ValueError(f"rank must be from 0 to {num_replicas - 1}, not {rank}.")
    if ranks_per_node < 1 or num_replicas % ranks_per_node:
        raise ValueError(
            f"{num_replicas} ranks cannot be {ranks_per_node} on each node: give ranks_per_node."
        )
    if not 0 <= exchange <= 1:
        raise ValueError(f"exchange is a part, from 0 to 1, not {exchange}.")
    if unit < 1:
        raise ValueError(f"unit must be at least 1, not {unit}.")


class _Shares:
    """The nodes' shares: whole units, which are exchanged, and what is left of each class, which
    stays. A share has the same number of samples in every epoch.
    """

    def __init__(
        self, samples: int, labels: Any, nodes: int, unit: int, order: Numbers | None = None
    ) -> None:
        """``order``: how the samples stand in the source, class by class."""
        self._order = order
        self._unit = unit
        self._nodes = nodes
        whole: list[list[Numbers]] = [[] for _ in range(nodes)]
        rest: list[list[Numbers]] = [[] for _ in range(nodes)]
        for node, start, stop in _runs(samples, labels, nodes, unit):
            units = (stop - start) // unit
            whole[node].append(start + unit * np.arange(units, dtype=np.int64))
            rest[node].append(np.arange(start + unit * units, stop, dtype=np.int64))
        self._first = [np.concatenate(one) if one else _none() for one in whole]
        self._rest = [np.concatenate(one) if one else _none() for one in rest]
        self.sizes = [
            unit * len(units) + len(more)
            for units, more in zip(self._first, self._rest, strict=True)
        ]
        if min(self.sizes) == 0:
            raise ValueError(f"{samples} samples are too few for {nodes} nodes.")
        self._now = (0, 0, 0.0)
        self._whole = list(self._first)

    def of(self, node: int, epoch: int, seed: int, part: float) -> Numbers:
        """The samples of a node's share in an epoch, sorted."""
        at, *same = self._now
        if same != [seed, part] or epoch < at:
            at, self._whole = 0, list(self._first)
        for number in range(at + 1, epoch + 1):
            self._exchange(np.random.default_rng([seed, number]), part)
        self._now = (epoch, seed, part)
        whole = (self._whole[node][:, np.newaxis] + np.arange(self._unit)).reshape(-1)
        samples = np.concatenate([whole, self._rest[node]])
        return np.sort(samples if self._order is None else self._order[samples])

    def _exchange(self, rng: np.random.Generator, part: float) -> None:
        """Each node gives ``part`` of its share away, unit by unit; it gets one for each."""
        count = round(part * min(map(len, self._whole)))
        if not count or self._nodes == 1:
            return
        places = [rng.choice(len(one), count, replace=False) for one in self._whole]
        given = np.stack([one[at] for one, at in zip(self._whole, places, strict=True)])
        order = np.tile(np.arange(self._nodes), (count, 1))
        givers = rng.permuted(order, axis=1)  # of each turn: who gives to node 0, 1, ...
        for node, at in enumerate(places):
            new = self._whole[node].copy()
            new[at] = given[givers[:, node], np.arange(count)]
            self._whole[node] = new


def _none() -> Numbers:
    return np.zeros(0, dtype=np.int64)


def _runs(
    samples: int, labels: Sequence[int] | None, nodes: int, unit: int
) -> Iterator[tuple[int, int, int]]:
    """(node, start, stop) of the runs of samples that are dealt out: a run of each class for each
    node; units in turn where the classes do not stand together.
    """
    known = np.asarray(labels) if labels is not None and len(labels) == samples else None
    if known is None or bool(np.any(known[1:] < known[:-1])):
        for turn, start in enumerate(range(0, samples, unit)):
            yield turn % nodes, start, min(start + unit, samples)
        return
    starts = [0, *(np.flatnonzero(known[1:] != known[:-1]) + 1).tolist(), samples]
    for turn, (first, last) in enumerate(pairwise(starts)):
        cuts = [first + (last - first) * k // nodes for k in range(nodes + 1)]
        for k, (start, stop) in enumerate(pairwise(cuts)):
            yield (k + turn) % nodes, start, stop
