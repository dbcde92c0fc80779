"""imagenetfs verify: its sentences, its JSON, its exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagenetfs.cli import verify
from imagenetfs.cli.app import main
from imagenetfs.cli.verify import _of_counts, _sentence
from imagenetfs.job import verify as checks
from imagenetfs.tree import published_counts
from tests.helpers.in_process import call_forked


@pytest.mark.slow
def test_the_command_when_all_is_well(
    sample_copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train", "val", "validation", "test", "train_T3"):
        shutil.rmtree(sample_copy / "ILSVRC2012" / name, ignore_errors=True)
    totals = {("ILSVRC2012", "train"): (10, 800), ("ILSVRC2012", "val"): (10, 100)}
    monkeypatch.setattr(published_counts, "TOTALS", totals)
    done = call_forked(capsys, "verify", sample_copy, "--index-dir", "none")
    assert (done.code, done.out) == (0, "All is as it should be.\n")


@pytest.mark.slow
def test_what_is_wrong_with_a_miniature(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call_forked(capsys, "verify", sample, "--index-dir", "none", "--json")
    assert code == 42  # it does not have the documented totals
    found = json.loads(out)
    assert (found["source"], found["sums"], found["archives"]) == (str(sample), [], [])
    assert all("should have" in line for line in found["counts"])
    assert all("no JPEG and no PNG" in line for line in found["images"])
    assert any("1f 8b" in line for line in found["images"])
    assert (
        found["wrong"] == len(found["counts"]) + len(found["images"]) == 16
    )  # as docs/exit-codes.md says
    assert "Looking at: " in err
    assert "Summing: " in err
    assert "should have" not in err, "what is wrong is in the JSON"


# --- with a source that is played -----------------------------------------------------------------


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What each part finds; ``summed`` is not empty where archives were read from end to end."""
    found: dict[str, list[str]] = {
        name: [] for name in ("warnings", "archives", "counts", "images", "sums", "summed")
    }
    (tmp_path / "source" / "ILSVRC2012").mkdir(parents=True)
    source = SimpleNamespace(names=lambda path: [(b"ILSVRC2012", True)])
    catalogue = SimpleNamespace(warnings=found["warnings"], source=source)

    def check_images(catalogue: object, threads: int, progress: object) -> Iterator[str]:
        assert threads == 16
        yield from found["images"]

    def check_sums(source: object, todo: object, progress: object) -> Iterator[str]:
        found["summed"].append("yes")
        yield from found["sums"]

    monkeypatch.setattr(
        verify, "catalogue_of", lambda settings: SimpleNamespace(catalogue=catalogue)
    )
    monkeypatch.setattr(verify, "index_splits", lambda opened, settings: None)
    monkeypatch.setattr(checks, "check_archives", lambda catalogue: iter(found["archives"]))
    monkeypatch.setattr(checks, "check_counts", lambda catalogue: iter(found["counts"]))
    monkeypatch.setattr(checks, "check_images", check_images)
    monkeypatch.setattr(checks, "sums", lambda source, version: ([], []))
    monkeypatch.setattr(checks, "check_sums", check_sums)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("part", ["warnings", "archives", "counts", "images", "sums"])
def test_each_part_counts(
    tmp_path: Path,
    played: dict[str, list[str]],
    capsys: pytest.CaptureFixture[str],
    part: str,
) -> None:
    played[part].append("something is odd")
    assert main(["verify", str(tmp_path / "source")]) == 42
    out, err = capsys.readouterr()
    assert out == "1 thing is not as it should be.\n" + (
        "1 of these is a count that the published data set has otherwise: expected of a sample "
        "or a subset, and damage in a copy of the whole.\n" * (part == "counts")
    )
    assert err.splitlines().count("imagenetfs: something is odd") == 1


def test_quick_reads_no_archive_from_end_to_end(
    tmp_path: Path, played: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    played["sums"].append("a sum is wrong")
    assert main(["verify", str(tmp_path / "source"), "--quick"]) == 0
    assert played["summed"] == []
    assert "Summing" not in capsys.readouterr().err


def test_a_source_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "none")]) == 10
    out, err = capsys.readouterr()
    assert out == ""
    assert "its file system is not mounted on this node" in err


def test_sentences() -> None:
    assert [_sentence(number) for number in (0, 1, 2, 1234)] == [
        "All is as it should be.",
        "1 thing is not as it should be.",
        "2 things are not as they should be.",
        "1,234 things are not as they should be.",
    ]


def test_counts_are_told_from_damage() -> None:
    assert _of_counts(1200).startswith("1,200 of these are counts that the published data set")


def test_after_ten_lines_on_an_archive_the_rest_is_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = [f"a/x.tar: n{n}.JPEG is damaged" for n in range(13)]
    found += [f"V/train/n{n} has 3 images, and 4 by the devkit" for n in range(11)]
    found += ["b.tar: only one", "two words: one"]
    assert verify._told(found, True) == found
    lines = [line.removeprefix("imagenetfs: ") for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == 10 + 10 + 2 + 2
    assert lines[-2:] == [
        "a/x.tar: and 3 more of this kind; --json has them all.",
        "V/train: and 1 more of this kind; --json has them all.",
    ]
    assert verify._told(found, False) == found
    assert capsys.readouterr().err == ""


def test_after_ten_archives_of_a_directory_the_rest_is_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = [f"tars/n{at}.tar: n{at}_{n}.JPEG is damaged" for at in range(13) for n in range(3)]
    assert verify._told(found, True) == found
    lines = [line.removeprefix("imagenetfs: ") for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        *found[:30],
        "tars: and 9 more of this kind in 3 other places; --json has them all.",
    ]
