"""What the shell offers at TAB."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.cli import app, completion
from imagenetfs.system import mounts
from imagenetfs.system.mounts import parse_line
from tests.helpers.sources import train_and_test


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_and_test(tmp_path_factory.mktemp("completion") / "source")


def offered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> list[str]:
    """What bash is told of a line whose last word is typed in part."""
    words = f"imagenetfs {line}"
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    monkeypatch.setenv("_IMAGENETFS_COMPLETE", "complete_bash")
    app.main([])
    out, err = capsys.readouterr()
    assert err == ""
    return out.split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("st", ["status", "stage"]),
        ("mount --prefer ", ["archives", "directories"]),
        ("run --log-level w", ["warning"]),
        ("cache clear til", []),
        ("cache clear tiny", ["tiny-imagenet-200"]),
        ("index ch", ["check"]),
        ("index check --prefer d", ["directories"]),
    ],
)
def test_words_of_our_own(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    words: list[str],
) -> None:
    monkeypatch.setenv("IMAGENETFS_SOURCE", "/no/such")
    assert offered(monkeypatch, capsys, line) == words


SPLITS = ["ILSVRC2012", "ILSVRC2012/train", "ILSVRC2012/test"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("index {source} IL", SPLITS),
        ("stage {source} ILSVRC2012/t", SPLITS[1:]),
        ("show --source {source} ILSVRC2012/tes", SPLITS[2:]),
        (
            "run --source {source} --require ILSVRC2012/test,IL",
            [f"{SPLITS[2]},{s}" for s in SPLITS[1:]],
        ),
        ("mount --source {source} --stage IL", SPLITS),
        ("show /", []),
    ],
)
def test_splits_of_the_source_that_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: Path,
    line: str,
    words: list[str],
) -> None:
    assert offered(monkeypatch, capsys, line.format(source=source)) == words


@pytest.mark.slow
def test_splits_of_the_source_in_the_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], source: Path
) -> None:
    monkeypatch.setenv("IMAGENETFS_SOURCE", str(source))
    assert offered(monkeypatch, capsys, "stage ILSVRC2012/") == SPLITS[1:]


def test_mounts_of_the_user(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "36 25 0:32 / /a/mnt ro,user_id=0 - fuse.imagenetfs /src ro,user_id=0"
    monkeypatch.setattr(mounts, "our_mounts", lambda uid: [parse_line(line)])
    assert offered(monkeypatch, capsys, "umount /a") == ["/a/mnt"]
    assert offered(monkeypatch, capsys, "umount /b") == []


def test_a_source_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], source: Path
) -> None:
    monkeypatch.setattr(completion, "SECONDS", 0.0)
    assert offered(monkeypatch, capsys, f"index {source} IL") == []
