"""The blocks of bash in the users' pages do what they say, as they stand, over the sample.

`imagenetfs` and `python` are this environment's. train.py stands in for a training: it lists the
split that its --data names.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.bench import Bench
from tests.helpers.documents import REPOSITORY, Block, blocks

RUN = [block for block in blocks("bash") if block.is_run]
PAGES = list(dict.fromkeys(block.page for block in RUN))

TRAIN = """\
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--data")
print("classes:", len(os.listdir(parser.parse_args().data + "/train")))
"""


@pytest.fixture
def environment(at: Bench, sample: Path) -> dict[str, str]:
    """A user's: a home with an environment to activate, and a place of the user's own in /tmp."""
    home = at.directory / "home"
    (home / "env" / "bin").mkdir(parents=True)
    programs = at.directory / "programs"
    programs.mkdir()
    for name, words in {"imagenetfs": "-m imagenetfs", "python": ""}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (programs / name).chmod(0o755)
    (home / "env" / "bin" / "activate").write_text(f"PATH={programs}:$PATH\n")
    (at.directory / "train.py").write_text(TRAIN)
    return at.environ(
        HOME=str(home),
        USER=f"{at.directory.name}-user",
        PATH=f"{programs}:/usr/bin:/bin",
        PYTHONPATH=str(REPOSITORY),
        IMAGENETFS_SOURCE=str(sample),
        SLURM_TMPDIR=str(at.directory),  # so there is a read cache, as in a job
    )


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page(page: str, at: Bench, environment: dict[str, str]) -> None:
    """In their order, for a block may need what one above it has made."""
    place = Path(f"/tmp/{environment['USER']}-imagenet")
    try:
        for block in RUN:
            if block.page == page:
                _run(block, at.directory, environment)
    finally:
        if place.exists():
            shutil.rmtree(place)
    assert at.leftovers() == []


def _run(block: Block, directory: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-eu", "-c", block.code],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, f"{block}: {done.stderr}"
    assert "warning" not in done.stderr, f"{block}: {done.stderr}"
    if "train.py" in block.code:
        assert "classes: 10" in done.stdout, str(block)


def test_the_job_script_of_the_front_page_is_among_them() -> None:
    scripts = [
        block
        for block in RUN
        if block.code.startswith("#!/bin/bash\n") and "\n#SBATCH " in block.code
    ]
    assert "README.md" in {block.page for block in scripts}
