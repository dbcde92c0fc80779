"""imagenetfs info: what a source holds, counted or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagenetfs.cli import info
from imagenetfs.tree import ledger
from imagenetfs.tree.ledger import Ledger
from tests.helpers.in_process import call_forked
from tests.helpers.sources import TEST, TRAIN, train_and_test, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return train_and_test(tmp_path / "source")


@pytest.mark.slow
def test_a_table(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call_forked(capsys, "info", source, "--index-dir", "none")
    assert done.code == 0
    assert [line.split("\t") for line in done.out.splitlines()] == [
        ["version", "split", "classes", "images", "bytes", "from"],
        ["ILSVRC2012", "train", "3", "9", "5.4 kB", TRAIN],
        ["ILSVRC2012", "test", "1", "2", "20 B", TEST],
    ]


def test_quick_counts_no_images(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = call_forked(capsys, "info", source, "--quick", "--index-dir", tmp_path / "index")
    assert (done.code, done.err) == (0, "")
    assert [line.split("\t")[3:5] for line in done.out.splitlines()[1:]] == [["-", "-"]] * 2


@pytest.mark.slow
def test_for_programs(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call_forked(capsys, "info", "--source", source, "--json", "--index-dir", "none")
    shown = json.loads(done.out)
    assert (shown["source"], shown["warnings"]) == (str(source), [])
    accounts = shown["splits"][0].pop("ledger")
    assert accounts["shown"] == {"classes": 3, "images": 9}
    assert (accounts["left_out"], accounts["adds_up"]) == ({}, True)
    assert shown["splits"][0] == {
        "version": "ILSVRC2012",
        "split": "train",
        "classes": 3,
        "images": 9,
        "bytes": 5409,
        "from": TRAIN,
    }
    done = call_forked(capsys, "info", source, "--json", "--quick", "--index-dir", "none")
    assert [(s["images"], s["bytes"]) for s in json.loads(done.out)["splits"]] == [(None, None)] * 2


@pytest.mark.slow
@pytest.mark.expects_log("no tar header here: its checksum does not hold;")
def test_warnings_of_the_source_and_of_counting(
    source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(source / "ILSVRC2012" / "ILSVRC2012_img_val.tar", b"no tar" * 200)
    problems = [f"{number} is broken" for number in range(15)]
    found = Ledger("x", 1, None, images=2, bytes=3, problems=problems)
    monkeypatch.setattr(ledger, "account", lambda version, split: found)
    done = call_forked(capsys, "info", source, "--index-dir", "none")
    assert done.code == 0
    warnings = [line for line in done.err.splitlines() if "warning: " in line]
    assert "ILSVRC2012_img_val.tar is broken" in warnings[0]
    assert warnings[1:-1] == [f"imagenetfs: warning: {n % 15} is broken" for n in range(20)]
    assert warnings[-1] == "imagenetfs: warning: 25 more of this kind: --json has them all."
    done = call_forked(capsys, "info", source, "--json", "--index-dir", "none")
    assert len(json.loads(done.out)["warnings"]) == 46
    assert info._MOST_NAMED == 20


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").mkdir()
    done = call_forked(capsys, "info", tmp_path)
    assert (done.code, done.out) == (12, "")
    assert "holds no version of ImageNet" in done.err
    done = call_forked(capsys, "info", "/s", "--source", "/t")
    assert (done.code, done.out) == (2, "")


def test_val_without_train_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "ILSVRC2012/val/n01440764/ILSVRC2012_val_00000293.JPEG"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"x")
    done = call_forked(capsys, "info", tmp_path, "--quick", "--index-dir", "none")
    assert done.code == 0
    assert "imagenetfs: note: ILSVRC2012 has val, but no train: if you need it" in done.err
