"""Where a sample goes and what goes wrong: nothing overwritten, nothing half-made left."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagenetfs import errors
from imagenetfs.sample import DEFAULT_CLASSES, hierarchy, make_sample, synsets, target
from imagenetfs.sample.randomness import generator, image_numbers, shuffled, spread_counts


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    steps: list[tuple[str, float]] = []
    make_sample(tmp_path, classes=1, images=4, progress=lambda *step: steps.append(step))
    assert (tmp_path / "ILSVRC2012").is_dir()
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())
    done = [fraction for _, fraction in steps]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0.0, 1.0)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(errors.UsageError, match="not empty"):
        make_sample(tmp_path, classes=1, images=4)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_a_killed_one_left_is_named(tmp_path: Path) -> None:
    (tmp_path / ".partial-12").mkdir()
    with pytest.raises(errors.UsageError, match=r"killed: remove .*\.partial-12\."):
        make_sample(tmp_path, classes=1, images=4)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.UsageError, match="is a file"):
        make_sample(tmp_path / "file")
    with pytest.raises(errors.UsageError, match="cannot be written"):
        make_sample(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"classes": 0}, "1 to 1,000 classes"),
        ({"classes": 1001}, "1 to 1,000 classes"),
        ({"images": 3}, "at least 4"),
        ({"seed": -1}, "from 0"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(errors.UsageError, match=sentence):
        make_sample(tmp_path / "sample", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(errors.MissingPackageError, match="pip install pillow"):
        make_sample(tmp_path / "sample")
    assert list(tmp_path.iterdir()) == []


def test_importing_needs_no_pillow() -> None:
    code = "import sys; import imagenetfs.sample; assert 'PIL' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


_WITH_A_LIMIT = """
import pathlib, resource, sys
from imagenetfs import errors
from imagenetfs.sample import make_sample
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    make_sample(pathlib.Path(sys.argv[1]), classes=3, images=40)
except errors.NoSpaceError as error:
    print(error)
"""


@pytest.mark.parametrize("there", [True, False])
def test_what_cannot_be_finished_is_taken_away(tmp_path: Path, there: bool) -> None:
    directory = tmp_path / "sample"
    if there:
        directory.mkdir()
    command = [sys.executable, "-c", _WITH_A_LIMIT, str(directory)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "not enough space" in out
    assert directory.exists() == there
    assert [path for path in tmp_path.rglob("*") if path != directory] == []


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(step: str, _done: float) -> None:
        if step == "winter21_whole":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_sample(tmp_path / "sample", classes=1, images=4, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_quota_counts_as_full(tmp_path: Path) -> None:
    with pytest.raises(errors.NoSpaceError), target.building(tmp_path / "sample"):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


# --- facts and helpers --------------------------------------------------------------------------


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
