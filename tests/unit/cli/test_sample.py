"""imagenetfs sample: a tree, a sentence how to go on, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import imagenetfs.sample
from imagenetfs.cli import app


@pytest.mark.slow
def test_a_sample_says_how_to_go_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = tmp_path / "a sample"
    assert app.main(["sample", str(made), "--classes", "2", "--images", "4"]) == 0
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == f"imagenetfs: try it: imagenetfs run '{made}' -- ls {{mnt}}"


def test_the_arguments_reach_the_sample(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[tuple[str, Path, dict[str, Any]]] = []
    for name in ("make_sample", "make_full_size"):
        monkeypatch.setattr(
            imagenetfs.sample, name, lambda at, _n=name, **more: made.append((_n, at, more))
        )
    target = str(tmp_path / "x")
    assert app.main(["sample", target]) == 0
    assert app.main(["sample", target, "--classes", "3", "--images", "5", "--seed", "7"]) == 0
    assert app.main(["sample", target, "--full-size", "--seed", "7"]) == 0
    winter = ["winter21_whole", "--classes", "9"]
    assert app.main(["sample", target, "--full-size", *winter]) == 0
    for _, at, more in made:
        assert at == tmp_path / "x"
        assert callable(more.pop("progress"))
    assert [(name, more) for name, _, more in made] == [
        ("make_sample", {"classes": 10, "images": 80, "seed": 0}),
        ("make_sample", {"classes": 3, "images": 5, "seed": 7}),
        ("make_full_size", {"seed": 7, "version": None, "classes": None}),
        ("make_full_size", {"seed": 0, "version": "winter21_whole", "classes": 9}),
    ]


def test_the_help_has_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["help", "sample"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"Classes of ILSVRC2012 (default: {imagenetfs.sample.DEFAULT_CLASSES})" in said
    assert f"Train images a class (default: {imagenetfs.sample.DEFAULT_IMAGES})." in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--full-size", "--images", "5"], "--full-size has its own number of classes and images."),
        (["--full-size", "winter21_whole", "--images", "5"], "has its own number"),
        (["--full-size", "ILSVRC2012"], "knows winter21_whole alone by name, not ILSVRC2012."),
        (["--full-size", "winter21_whole", "--classes", "20000"], "1 to 19,167 classes"),
        (["winter21_whole"], "say --full-size winter21_whole."),
        (["--classes", "0"], "'--classes'"),
        (["--classes", "1001"], "A sample has 1 to 1,000 classes, not 1,001."),
        (["--images", "2"], "at least 4"),
        (["--seed", "-1"], "The seed is a number from 0."),
    ],
)
def test_refusals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert app.main(["sample", str(tmp_path / "x"), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert sentence in err
    assert not (tmp_path / "x").exists()
