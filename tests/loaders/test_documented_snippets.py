"""The blocks of Python in the users' pages run as they stand, over the sample.

They run in this process: libraries of this size are imported once. A block whose library is not
here is skipped, and what the pages mark as not run is only parsed (tests/ci/test_documents.py).
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.documents import Block, blocks
from tests.helpers.loaders import torchvision_datasets
from tests.helpers.mounts import Mounted

RUN = [block for block in blocks("python") if block.is_run]


@pytest.fixture
def surroundings(
    sample: Path, sample_mount: Mounted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a command of `run`, with the sample as the source."""
    program = tmp_path / "programs" / "imagenetfs"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m imagenetfs "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("IMAGENETFS_MOUNT", str(sample_mount.mountpoint))
    monkeypatch.setenv("IMAGENETFS_SOURCE", str(sample))
    monkeypatch.setenv("IMAGENETFS_RUN_DIR", str(tmp_path / "run"))
    for variable in ("LOGNAME", "USER"):
        monkeypatch.setenv(variable, tmp_path.name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("block", RUN, ids=str)
def test_a_block_of_python(
    block: Block, surroundings: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if {"torchvision", "timm"} & {*block.needs}:
        with torchvision_datasets():
            _run(block)
    else:
        _run(block)
    place = Path(f"/tmp/{tmp_path.name}-imagenet")
    if place.exists():
        shutil.rmtree(place)
        pytest.fail(f"{place} was left")


def _run(block: Block) -> None:
    for module in block.needs:
        pytest.importorskip(module)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(block.code, str(block), "exec"), names)
