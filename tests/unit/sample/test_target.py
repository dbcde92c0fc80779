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
from imagenetfs.sample import make_sample, target


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
