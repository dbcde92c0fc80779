"""Each snippet of docs/python.md runs as it stands, over the sample."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.bench import Bench

DOCUMENT = Path(__file__).parents[2] / "docs" / "python.md"
SOURCE = "/datashare/imagenet"
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)


def test_there_are_some() -> None:
    assert len(SNIPPETS) >= 6 and sum(SOURCE in snippet for snippet in SNIPPETS) >= 5


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet(snippet: str, sample: Path, at: Bench) -> None:
    for name in re.findall(r"^(?:import|from) (torch|fsspec)", snippet, re.MULTILINE):
        pytest.importorskip(name)
    if "imagenetfs.torch" in snippet:
        pytest.importorskip("torch")
    code = snippet.replace(SOURCE, str(sample))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=at.environ(IMAGENETFS_INDEX_DIR=str(at.directory / "index")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert at.leftovers() == []
