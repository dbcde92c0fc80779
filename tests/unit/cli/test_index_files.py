"""imagenetfs index check, export and import: an index is verified, and carried to another site."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.archives import train_tar
from tests.helpers.in_process import Done, call_forked
from tests.helpers.sources import TEST, TRAIN, train_and_test, write

Command = Callable[..., Done]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return train_and_test(tmp_path / "source")


@pytest.fixture
def index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """``imagenetfs index ...`` with an index directory of the test's own."""
    return lambda *arguments, at="index": call_forked(
        capsys, "index", *arguments, "--index-dir", tmp_path / at
    )


@pytest.mark.slow
def test_a_right_index(source: Path, index: Command) -> None:
    assert index(source).code == 0
    done = index("check", source)
    assert done.code == 0
    assert [line.partition(".idx: ")[2] for line in done.out.splitlines()] == [
        "4 of 4 tables, 0 wrong",
        "1 of 1 table, 0 wrong",
    ]
    assert done.err.splitlines()[-1] == f"imagenetfs: the index of {source} is right: 2 files."


def test_no_index(source: Path, index: Command, tmp_path: Path) -> None:
    done = index("check", source)
    assert (done.code, done.out) == (14, "")
    assert done.err == (
        "imagenetfs: ILSVRC2012_img_train has no index; ILSVRC2012_img_test_v10102019 has no "
        "index. "
        f"`imagenetfs index {source} --index-dir {tmp_path}/index` makes what is missing.\n"
    )


@pytest.mark.slow
def test_an_index_of_other_archives(source: Path, index: Command) -> None:
    index(source)
    data = bytearray((source / TEST).read_bytes())
    data[5:8] = b"XXX"  # another name in the first image's header
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    write(source / TEST, bytes(data))
    done = index("check", source)
    assert done.code == 14
    assert "ILSVRC2012_img_test_v10102019.idx" in done.err.splitlines()[-1]
    assert "1 of 1 table, 1 wrong" in done.out or "lacks 1 table" in done.err


@pytest.mark.slow
def test_a_file_that_is_no_index(source: Path, index: Command, tmp_path: Path) -> None:
    index(source)
    [train] = (tmp_path / "index").rglob("ILSVRC2012_img_train.idx")
    train.write_bytes(b"garbage" * 100)
    done = index("check", source)
    assert done.code == 14
    assert f"{train} cannot be used" in done.err
    assert "makes what is missing" in done.err


@pytest.mark.slow
def test_a_part_that_is_missing(source: Path, index: Command, tmp_path: Path) -> None:
    index(source)
    [test] = (tmp_path / "index").rglob("ILSVRC2012_img_test_v10102019.idx")
    test.unlink()
    done = index("check", source)
    assert done.code == 14
    assert "imagenetfs: ILSVRC2012_img_test_v10102019 has no index. " in done.err
    assert done.out.count("\n") == 1


@pytest.mark.slow
def test_carried_to_another_site(
    source: Path, index: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "carried"
    done = index("export", file, "--source", source)
    assert (done.code, done.out) == (0, f"{file}: 5 tables, 15 members\n")
    there = tmp_path / "there"
    shutil.copytree(source, there)
    done = index("import", file, "--source", there, at="theirs")
    assert (done.code, done.out) == (0, "5 tables, 15 members\n")
    assert index("check", there, at="theirs").code == 0


@pytest.mark.slow
@pytest.mark.expects_log("bytes are no tar archive, it has")
def test_only_archives_that_are_the_same_are_taken_over(
    source: Path, index: Command, tmp_path: Path
) -> None:
    file = tmp_path / "carried"
    index("export", file, "--source", source)
    write(source / TRAIN, train_tar(2, 3))
    done = index("import", file, "--source", source, at="theirs")
    assert (done.code, done.out) == (0, "1 table, 3 members\n")
    assert "imagenetfs: left out: " in done.err
    assert TRAIN in done.err
    write(source / TEST, b"other")
    done = index("import", file, "--source", source, at="again")
    assert done.code == 14
    assert done.err.splitlines()[-1] == (
        f"imagenetfs: {file} describes none of the archives of {source}."
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "sentence"), [(b"x" * 500, "is no exported index: "), (None, "cannot be read: ")]
)
def test_files_that_are_none(
    source: Path, index: Command, tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    done = index("import", tmp_path / "file", "--source", source)
    assert (done.code, done.out) == (2, "")
    assert f"{tmp_path}/file {sentence}" in done.err


@pytest.mark.slow
def test_places_that_cannot_be_written(
    source: Path, index: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "carried"
    (tmp_path / "taken").touch()
    done = index("export", tmp_path / "taken" / "carried", "--source", source)
    assert done.code == 27
    assert done.err.splitlines()[-1].endswith("; name another file.")
    index("export", file, "--source", source)
    done = index("import", file, "--source", source, at="taken/index")
    assert done.code == 27
    assert (
        "cannot be written: Not a directory; give another directory with --index-dir." in done.err
    )
    done = call_forked(capsys, "index", "import", file, "--source", source, "--index-dir", "none")
    assert done.code == 2
    assert "`index import` writes index files" in done.err
