"""Samples and targets behave as lists of them do, and stand in arrays."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.helpers.late_imports import late_imports

if TYPE_CHECKING:
    from imagenetfs.torch.samples import ChosenPaths, DirectoryPaths, Samples, Targets

_NAMES = ("ChosenPaths", "DirectoryPaths", "Samples", "Targets")
_late = late_imports("torch", **{name: f"imagenetfs.torch.samples:{name}" for name in _NAMES})

NAMES = [["a.png", "below/b.png"], [], ["ä.png"]]
EVERY = [("/d/x/a.png", 0), ("/d/x/below/b.png", 0), ("/d/z/ä.png", 2)]


def both() -> tuple[Samples, Targets]:
    paths = DirectoryPaths("/d/", ["x", "y", "z"], NAMES)
    return Samples(paths, paths.labels), Targets(paths.labels)


def test_samples_are_like_a_list_of_them() -> None:
    samples, _ = both()
    assert list(samples) == samples[:] == EVERY
    assert samples == EVERY and samples != EVERY[:2] and samples != 3
    assert (len(samples), samples[-1], samples[np.int64(1)]) == (3, EVERY[2], EVERY[1])
    assert samples[::-2] == EVERY[::-2]
    assert EVERY[1] in samples and samples.index(EVERY[2]) == 2
    for wrong in (3, -4):
        with pytest.raises(IndexError):
            samples[wrong]
    with pytest.raises(TypeError):
        hash(samples)
    assert repr(samples) == f"Samples([{', '.join(map(repr, EVERY))}], 3 in all)"
    assert pickle.loads(pickle.dumps(samples)) == EVERY


def test_targets_are_like_a_list_of_them() -> None:
    torch = pytest.importorskip("torch")
    _, targets = both()
    assert list(targets) == targets[:] == [0, 0, 2]
    assert targets == [0, 0, 2] and targets != [0, 0, 1] and targets != [0, 0]
    assert (len(targets), targets[-1], type(targets[0])) == (3, 2, int)
    assert np.array(targets).tolist() == np.asarray(targets, dtype=np.int64).tolist() == [0, 0, 2]
    assert torch.tensor(targets).tolist() == torch.as_tensor(targets).tolist() == [0, 0, 2]
    np.asarray(targets)[0] = 7
    assert targets[0] == 0
    assert sum(targets) == 2 and targets.count(0) == 2
    with pytest.raises(IndexError):
        targets[3]


def test_some_of_them() -> None:
    paths = DirectoryPaths("/d", ["x", "y", "z"], NAMES)
    numbers = np.array([2, 0])
    some = Samples(ChosenPaths(paths, numbers), paths.labels[numbers])
    assert some == [EVERY[2], EVERY[0]]


def test_none_at_all(tmp_path: Path) -> None:
    paths = DirectoryPaths(str(tmp_path), [], [])
    assert len(Samples(paths, paths.labels)) == 0 and Targets(paths.labels) == []


@pytest.mark.slow
def test_no_object_for_a_sample() -> None:
    import gc

    names = [[f"{n}.png" for n in range(1000)]] * 20
    before = len(gc.get_objects())
    paths = DirectoryPaths("/d", [str(n) for n in range(20)], names)
    samples, targets = Samples(paths, paths.labels), Targets(paths.labels)
    assert len(gc.get_objects()) - before < 100
    assert samples[19_999] == ("/d/19/999.png", 19) and targets[19_999] == 19
