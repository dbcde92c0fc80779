"""imagenetfs show --sheet: which images are drawn, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.in_process import Done, call_forked
from tests.helpers.sources import train_and_test

Show = Callable[..., Done]


@pytest.fixture
def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Show:
    source = train_and_test(tmp_path / "source")
    return lambda *words: call_forked(capsys, "show", source, *words, "--index-dir", "none")


@pytest.mark.slow
def test_a_sheet(shown: Show, tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    done = shown("ILSVRC2012/train", "--sheet", file, "--classes", 2, "--images", 1)
    assert done.code == 0
    assert file.read_bytes().startswith(b"\x89PNG")
    assert "warning: 2 of the images cannot be decoded: they are grey" in done.err
    assert "2 images of ILSVRC2012/train." in done.err
    assert shown("n00000001", "--sheet", file).code == 0
    assert shown("ILSVRC2012/train", "--sheet", tmp_path / "s.jpg", "--images", 4).code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["ILSVRC2012/train", "--classes", "2"], 2, "are for --sheet FILE"),
        (["ILSVRC2012/train", "--sheet", "x.gif"], 2, "writes .png or .jpg, not x.gif"),
        (["ILSVRC2012/train", "--sheet", "/no/such/x.png"], 32, "cannot be written: No such file"),
        (["n00000001_1.JPEG", "--sheet", "x.png"], 2, "draws a class or a split"),
        (["a", "b"], 2, "show takes SOURCE and WHAT"),
    ],
)
def test_refused(shown: Show, words: list[str], code: int, sentence: str) -> None:
    done = shown(*words)
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err
