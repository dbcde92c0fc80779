"""The doctor's lines about the source."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from imagenetfs.errors import GroupNeededError
from imagenetfs.job import preflight
from imagenetfs.job.doctor import counting
from imagenetfs.job.doctor import source as source_lines
from imagenetfs.job.doctor.findings import Grade
from imagenetfs.system import child_call, mounts
from tests.helpers.findings import about
from tests.helpers.mount_table import settings_with

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.mark.slow
def test_a_part_that_is_missing(sample_copy: Path) -> None:
    shutil.rmtree(sample_copy / "ILSVRC2012" / "ILSVRC2012_devkit_t12")
    line = about(source_lines.source(settings_with(source=sample_copy)), "contents")
    assert line.grade is Grade.YELLOW
    assert "ILSVRC2012_devkit_t12.tar.gz (2.5 MB" in line.what
    assert line.advice == ""  # one's own


@pytest.mark.slow
@ROOT
def test_a_part_that_is_missing_of_what_belongs_to_another_user(sample_copy: Path) -> None:
    shutil.rmtree(sample_copy / "ILSVRC2012" / "ILSVRC2012_devkit_t12")
    os.chown(sample_copy, 12345, -1)
    line = about(source_lines.source(settings_with(source=sample_copy)), "contents")
    assert line.advice == "write to your cluster's support"


@pytest.mark.slow
def test_what_is_not_shown_is_red(sample_copy: Path) -> None:
    """Where an extracted directory takes the place of a cut archive it is yellow, else red."""
    train = sample_copy / "ILSVRC2012" / "ILSVRC2012_img_train.tar"
    os.truncate(train, train.stat().st_size // 2)
    lines = [line for line in source_lines.source(settings_with(source=sample_copy)) if line.what]
    assert [line.grade for line in lines if "is broken" in line.what] == [Grade.YELLOW]
    shutil.rmtree(sample_copy / "ILSVRC2012" / "train")
    lines = [line for line in source_lines.source(settings_with(source=sample_copy)) if line.what]
    [cut] = [line for line in lines if "is broken" in line.what]
    assert cut.grade is Grade.RED
    assert " classes), and the rest is missing" in cut.what
    assert about(iter(lines), "speed").grade is not Grade.RED  # it is measured all the same


@pytest.mark.slow
def test_what_takes_long_is_left_to_info(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A flat split without an index is what takes long; how fast this machine is does not count.
    monkeypatch.setattr(counting, "COUNT_SECONDS", 1e6)
    line = about(source_lines.source(settings_with(source=sample)), "contents")
    assert line.grade is Grade.GREEN
    told = line.what.partition("Images not counted: ")[2]
    assert "ILSVRC2012/val" in told
    assert "ILSVRC2012/train" not in told
    assert told.endswith("(`imagenetfs info` counts, and keeps an index)")
    sizes = line.facts["sizes"]
    train = sample / "ILSVRC2012" / "ILSVRC2012_img_train.tar"
    assert sizes["ILSVRC2012/train"] == train.stat().st_size


def test_what_limits() -> None:
    assert "about 16,000 images a second, limited by 2 CPUs" in source_lines.limit(1e6, 2).what
    assert "about 500 images a second, limited by the source" in source_lines.limit(500, 2).what


@pytest.mark.slow
def test_archives_that_cannot_be_read(sample_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: Path) -> tuple[float, float, float]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(source_lines, "measure", fail)
    line = about(source_lines.source(settings_with(source=sample_copy)), "speed")
    assert line.grade is Grade.RED
    assert "Input/output" in line.what


def _table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str) -> None:
    line = f"99 1 0:99 / {tmp_path} rw - nfs server:/datashare rw,{options}\n"
    (tmp_path / "mountinfo").write_text(f"1 0 0:1 / / rw - ext4 /dev/x rw\n{line}")
    monkeypatch.setattr(mounts, "MOUNT_TABLE", tmp_path / "mountinfo")


@pytest.mark.parametrize(
    ("options", "grade", "words"),
    [
        ("vers=3,rsize=1048576,hard", Grade.GREEN, "NFS version 3, hard, rsize 1,048,576"),
        ("vers=3,rsize=1048576,soft", Grade.GREEN, "soft"),
        ("vers=4.2,rsize=32768,hard", Grade.YELLOW, "rsize 32,768"),
    ],
)
def test_how_it_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, grade: Grade, words: str
) -> None:
    (tmp_path / "x").mkdir()
    _table(tmp_path, monkeypatch, options)
    line = next(source_lines.source(settings_with(source=tmp_path)))
    assert (line.grade, line.about) == (grade, "source")
    assert "server:/datashare" in line.what
    assert words in line.what


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("lustre", "is a network disk (lustre)"),
        (
            "fuse.sshfs",
            "is what a program shows, which may have it from another machine (fuse.sshfs)",
        ),
        ("xfs", "is on this node (xfs)"),
    ],
)
def test_where_another_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, said: str
) -> None:
    (tmp_path / "x").mkdir()
    table = tmp_path / "mountinfo"
    other = f"2 1 0:2 / {tmp_path} rw - {kind} o:/l rw,user_id=0"
    table.write_text(f"1 0 0:1 / / rw - ext4 /dev/x rw\n{other}\n")
    monkeypatch.setattr(mounts, "MOUNT_TABLE", table)
    line = next(source_lines.source(settings_with(source=tmp_path)))
    assert line.what == f"{tmp_path} {said}"


@pytest.mark.slow
def test_a_source_that_may_hang_wants_fusectl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").mkdir()
    _table(tmp_path, monkeypatch, "vers=3,rsize=1048576,hard")
    line = about(source_lines.source(settings_with(source=tmp_path)), "connections")
    assert line.grade is Grade.YELLOW
    assert "mount -t fusectl none /sys/fs/fuse/connections" in line.advice
    with (tmp_path / "mountinfo").open("a") as table:
        table.write("2 1 0:2 / /sys/fs/fuse/connections rw - fusectl none rw\n")
    assert "connections" not in [
        f.about for f in source_lines.source(settings_with(source=tmp_path))
    ]


def test_what_a_source_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = tmp_path / "tiny-imagenet-200" / "train" / "n00000001" / "images"
    tiny.mkdir(parents=True)
    (tiny / "n00000001_0.JPEG").write_bytes(b"x")
    lines = list(source_lines.source(settings_with(source=tmp_path)))
    assert [line.about for line in lines if line.about != "connections"] == ["source", "contents"]
    line = about(lines, "contents")
    assert line.what.endswith("archives: tiny-imagenet-200 (train)")
    assert (line.facts["versions"], line.facts["largest"]) == (
        {"tiny-imagenet-200": ["train"]},
        None,
    )


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    [line] = source_lines.source(settings_with(source=tmp_path / "none"))
    assert (line.grade, line.about) == (Grade.RED, "source")


def test_a_source_for_another_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(path: Path) -> None:
        raise GroupNeededError("It needs a group.", "imagenet")

    monkeypatch.setattr(preflight, "check_source", check)
    [line] = source_lines.source(settings_with(source=tmp_path))
    assert (line.grade, line.what) == (Grade.YELLOW, "It needs a group.")
    assert "under that group" in line.advice


def test_nothing_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    lines = list(source_lines.source(settings_with(source=tmp_path)))
    assert lines[-1].about == "contents"
    assert lines[-1].grade is Grade.RED
    assert "holds no version of ImageNet" in lines[-1].what
    assert lines[-1].advice.startswith("see that this is the right directory: docs/layouts.md")


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (child_call.NoAnswerError(), "could not be looked through in 120 s"),
        (OSError(errno.ESTALE, "Stale file handle"), ": Stale file handle"),
    ],
)
def test_contents_that_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, words: str
) -> None:
    (tmp_path / "x").mkdir()
    monkeypatch.setattr(preflight, "check_source", lambda path: None)

    def ask(question: object, seconds: float) -> None:
        raise raised

    monkeypatch.setattr(source_lines, "call_watched", ask)
    lines = list(source_lines.source(settings_with(source=tmp_path)))
    assert (lines[-1].about, lines[-1].grade) == ("contents", Grade.RED)
    assert lines[-1].what == f"{tmp_path}{words}" or words in lines[-1].what


@pytest.mark.parametrize(
    ("measured", "grade"),
    [
        ((0.001, 100e6, 5000.0), Grade.GREEN),
        ((0.021, 100e6, 5000.0), Grade.YELLOW),
        ((0.001, 49e6, 5000.0), Grade.YELLOW),
        (child_call.NoAnswerError(), Grade.RED),
    ],
)
def test_speeds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    measured: tuple[float, float, float] | Exception,
    grade: Grade,
) -> None:
    def ask(question: object, seconds: float) -> object:
        if isinstance(measured, Exception):
            raise measured
        return measured

    monkeypatch.setattr(source_lines, "call_watched", ask)
    lines = list(source_lines._speed(tmp_path, "x.tar"))
    assert lines[0].grade is grade
    if grade is Grade.RED:
        assert lines[0].what == f"{tmp_path}/x.tar could not be read: no answer"
        assert len(lines) == 1
    else:
        assert lines[1].about == "limit"
        assert lines[0].facts["latency"] == measured[0]  # type: ignore[index]


def test_a_measurement_reads_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_lines, "_SPAN_SECONDS", 0.01)
    for size in (1, 600, 300_000):
        (tmp_path / "x").write_bytes(bytes(size))
        latency, bandwidth, images = source_lines.measure(tmp_path / "x")
        assert latency > 0
        assert bandwidth > 0
        assert images > 0


def test_val_without_train_is_said_in_green(tmp_path: Path) -> None:
    """It may be all that the user wants."""
    image = tmp_path / "ILSVRC2012/val/n01440764/ILSVRC2012_val_00000293.JPEG"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"x")
    lines = source_lines.source(settings_with(source=tmp_path))
    [note] = [line for line in lines if "no train" in line.what]
    assert (note.about, note.grade) == ("contents", Grade.GREEN)
