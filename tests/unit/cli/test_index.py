"""imagenetfs index: what is indexed, kept, left out, and said of it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from imagenetfs.cli import index, index_common
from imagenetfs.cli.index import _MemberProgress, _raise_if, _shard
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.errors import BrokenArchivesError, SourceUnreadableError, UsageError
from imagenetfs.index.bulk_build import BuildProgress
from imagenetfs.index.group_build import Shard
from tests.helpers.in_process import call_forked
from tests.helpers.sources import TRAIN, train_and_test, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return train_and_test(tmp_path / "source")


def index_files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "index").rglob("*.idx"))


@pytest.mark.slow
def test_a_line_for_each_group(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = call_forked(capsys, "index", source, "--index-dir", tmp_path / "index")
    assert done.code == 0
    train, test = done.out.splitlines()
    form = r"{}, index of [\d.]+ k?B, in [\d.]+ s"
    assert re.fullmatch(form.format("ILSVRC2012_img_train: 9 files"), train)
    assert re.fullmatch(form.format("ILSVRC2012_img_test_v10102019: 3 files"), test)
    assert index_files(tmp_path) == [
        "ILSVRC2012_img_test_v10102019.idx",
        "ILSVRC2012_img_train.idx",
    ]
    done = call_forked(capsys, "index", source, "--index-dir", tmp_path / "index")
    assert done.out.count("files, all indexed before, index of ") == 2


def test_a_named_split_alone(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = call_forked(
        capsys, "index", source, "ILSVRC2012/test", "--index-dir", tmp_path / "index"
    )
    assert (done.code, done.out.count("\n")) == (0, 1)
    assert done.out.startswith("ILSVRC2012_img_test_v10102019: 3 files")


@pytest.mark.slow
def test_shards_are_united_by_the_last_one(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("index", source, "ILSVRC2012/train", "--index-dir", tmp_path / "index")
    directory = tmp_path / "index"
    assert call_forked(capsys, *arguments, "--shard", "1/2").code == 0
    assert len(list(directory.rglob("ILSVRC2012_img_train.1-of-2"))) == 1
    assert call_forked(capsys, *arguments, "--shard", "2/2").code == 0
    assert list(directory.rglob("*-of-2")) == []
    done = call_forked(capsys, *arguments)
    assert done.out.startswith("ILSVRC2012_img_train: 9 files, all indexed before")


@pytest.mark.slow
@pytest.mark.expects_log("no tar header here: its checksum does not hold;")
def test_a_broken_archive(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray((source / TRAIN).read_bytes())
    data[data.index(b"n00000002_2.JPEG") + 100] ^= 1
    write(source / TRAIN, bytes(data))
    done = call_forked(capsys, "index", source, "--index-dir", tmp_path / "index")
    assert done.code == 13
    last = done.err.splitlines()[-1]
    assert last.startswith("imagenetfs: broken archives, of which only the whole members serve: ")
    assert "n00000002.tar" in last
    assert len(index_files(tmp_path)) == 2, "what is whole is kept"


def test_an_index_that_cannot_be_written(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    done = call_forked(capsys, "index", source, "--index-dir", tmp_path / "file" / "index")
    assert (done.code, done.out) == (27, "")
    last = done.err.splitlines()[-1]
    assert last.startswith("imagenetfs: the index file ")
    assert last.endswith(
        "cannot be written: Not a directory; give another directory with --index-dir."
    )


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, groups = index_common.build_group, []

    def build_group(opened: object, group: str, *rest: object) -> object:
        groups.append(group)
        if len(groups) == 2:
            raise KeyboardInterrupt
        return real(opened, group, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(index, "build_group", build_group)
    done = call_forked(capsys, "index", source, "--index-dir", tmp_path / "index")
    assert done.code == 130
    assert done.err.splitlines()[-1] == (
        "imagenetfs: interrupted; kept: 4 tables. The next run goes on from there."
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--index-dir", "none"],
            "`index` writes index files; give it a directory with --index-dir.",
        ),
        (["ILSVRC2013"], "has no version or split `ILSVRC2013`"),
        (
            ["--shard", "3/2"],
            "--shard must be I/N with I from 1 to N, not '3/2'; in an array of 4 jobs",
        ),
    ],
)
def test_refusals(
    source: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    done = call_forked(capsys, "index", source, *arguments)
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "shard"), [("1/1", Shard(1, 1)), ("4/4", Shard(4, 4)), (None, None)]
)
def test_shards(text: str | None, shard: Shard | None) -> None:
    assert _shard(text) == shard


@pytest.mark.parametrize(
    "text", ["", "0/4", "5/4", "1", "1/", "/4", "a/b", "-1/4", "1/4/4", "1/123456"]
)
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(UsageError, match="--shard must be I/N"):
        _shard(text)


def test_what_could_not_be_indexed() -> None:
    _raise_if([], [])
    with pytest.raises(BrokenArchivesError) as broken:
        _raise_if(["a.tar", "b.tar"], ["c.tar (you may not read it)"])
    assert str(broken.value) == (
        "broken archives, of which only the whole members serve: a.tar; b.tar; not indexed, "
        "for they cannot "
        "be read: c.tar (you may not read it). Where there is an extracted directory a mount "
        "shows that."
    )
    with pytest.raises(
        SourceUnreadableError, match=r"^not indexed, for they cannot be read: c\.tar"
    ):
        _raise_if([], ["c.tar"])


def test_an_index_that_goes_on_counts_what_is_found_now(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """900 of 1,000 tables were there; 10 more in 10 s had 100 members, so 90 more have 900."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with ProgressBar("Indexing", unit="members") as bar:
        members = _MemberProgress(bar)
        for second, done in ((0, 900), (10, 910)):
            now[0] = float(second)
            members(BuildProgress(done, 1000, 10 * (done - 900)))
        members.end(9_100)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "imagenetfs: Indexing: 10 % 100/1,000 members, 10 members/s, 1 min 30 s left",
        "imagenetfs: Indexing: 9,100/9,100 members (9,000 were there), 10 members/s, in 10 s.",
    ]
