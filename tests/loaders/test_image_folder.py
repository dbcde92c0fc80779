"""Our ImageFolder in PyTorch's DataLoader: forked and spawned workers, kept or not, and killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import imagenetfs
from tests.helpers.late_imports import late_imports
from tests.helpers.mounts import Mounted

if TYPE_CHECKING:
    import torch

    from imagenetfs.torch import ImageFolder

_late = late_imports("torch", torch="torch", ImageFolder="imagenetfs.torch:ImageFolder")

SPLIT = "ILSVRC2012/val"


def size_of(image: Any) -> int:
    return sum(image.size)


@pytest.fixture(params=["split", "mount"])
def dataset(
    request: pytest.FixtureRequest, sample: Path, sample_mount: Mounted
) -> Iterator[ImageFolder]:
    if request.param == "mount":
        yield ImageFolder(sample_mount.mountpoint / SPLIT, size_of)
        return
    with imagenetfs.open(sample, index_dir="none") as tree:
        yield ImageFolder(tree[SPLIT], size_of)


@pytest.mark.parametrize(("workers", "kept"), [(0, False), (2, False), (2, True)])
def test_all_batches_come(dataset: ImageFolder, workers: int, kept: bool) -> None:
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=16, num_workers=workers, persistent_workers=kept
    )
    wanted = [dataset[number] for number in range(len(dataset))]
    for _ in range(2 if kept else 1):
        found = [pair for sizes, labels in loader for pair in zip(sizes, labels, strict=True)]
        assert [(int(size), int(label)) for size, label in found] == wanted
    del loader


def test_batches_are_announced_whole(dataset: ImageFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = ImageFolder.__getitems__

    def noted(self: ImageFolder, indices: list[int]) -> Any:
        asked.append(len(indices))
        return real(self, indices)

    monkeypatch.setattr(ImageFolder, "__getitems__", noted)
    list(torch.utils.data.DataLoader(dataset, batch_size=30))
    assert asked == [30, 30, 30, 10]


KILLED = f"""
import os, signal, sys, torch, imagenetfs
from imagenetfs.torch import ImageFolder

class Ends(ImageFolder):
    def __getitems__(self, indices):
        if 10 in indices:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitems__(indices)

def size_of(image):
    return sum(image.size)

with imagenetfs.open(sys.argv[1], index_dir="none") as tree:
    split = tree["{SPLIT}"]
    try:
        list(torch.utils.data.DataLoader(Ends(split, size_of), batch_size=4, num_workers=1))
    except (RuntimeError, OSError, EOFError):  # torch's; a batch may go with the worker that has it
        print(True)
    again = torch.utils.data.DataLoader(ImageFolder(split, size_of), batch_size=50, num_workers=1)
    print(sum(len(labels) for _, labels in again) == len(split))
"""


SPAWNED = f"""
import sys, torch, imagenetfs
from imagenetfs.torch import ImageFolder

def size_of(image):
    return sum(image.size)

if __name__ == "__main__":
    with imagenetfs.open(sys.argv[1], index_dir="none") as tree:
        dataset = ImageFolder(tree["{SPLIT}"], size_of)
        loader = torch.utils.data.DataLoader(
            dataset, batch_size=50, num_workers=1, multiprocessing_context="spawn",
            persistent_workers=True,
        )
        wanted = [dataset[number] for number in range(len(dataset))]
        for _ in range(2):
            found = [pair for sizes, labels in loader for pair in zip(sizes, labels)]
            print([(int(size), int(label)) for size, label in found] == wanted)
"""


@pytest.mark.parametrize("program", [KILLED, SPAWNED], ids=["killed", "spawned"])
def test_workers(sample: Path, tmp_path: Path, program: str) -> None:
    """S22: also where one is killed while it reads. Each in an interpreter of its own, for what
    multiprocessing leaves behind.
    """
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py", sample],
        env={**os.environ, "TMPDIR": str(tmp_path)},  # a killed worker leaves torch's directory
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True\nTrue\n", done.stderr
