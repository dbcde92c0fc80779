"""``imagenetfs index`` and the commands below it, as a person calls them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagenetfs.index.index_file import open_index_file
from tests.helpers.bench import Bench, Terminal
from tests.helpers.passthrough import slow_source

pytestmark = pytest.mark.spread


def _files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def _done(at: Bench, *arguments: object, code: int = 0, **environ: str) -> tuple[str, str]:
    done = at.call("index", *arguments, **environ)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_all_of_it_and_again(at: Bench, sample: Path, tmp_path: Path) -> None:
    place = ("--index-dir", tmp_path / "index")
    said, _ = _done(at, sample, *place)
    assert "ILSVRC2012_img_train: 800 files, index of " in said
    before = _files(tmp_path / "index")
    said, _ = _done(at, sample, *place)
    assert said.count("all indexed before") == len(said.splitlines()) == len(before)
    assert _files(tmp_path / "index") == before
    assert not [name for name in before if not name.endswith(".idx")]


def test_the_named_ones(at: Bench, sample: Path, tmp_path: Path) -> None:
    place = ("--index-dir", tmp_path / "index")
    said, _ = _done(at, sample, "ILSVRC2012/val", "winter21_whole/", *place)
    assert [line.split(":")[0] for line in said.splitlines()] == [
        "ILSVRC2012_img_val",
        "winter21_whole-tars",
        "winter21_whole-directories",
    ]
    said, _ = _done(at, "ILSVRC2012_t3", *place, IMAGENETFS_SOURCE=str(sample))
    assert said.startswith("ILSVRC2012_img_train_t3: 44 files")
    _, error = _done(at, sample, "ILSVRC2012/valid", *place, code=2)
    assert "no version or split `ILSVRC2012/valid`" in error
    assert "ILSVRC2012/val," in error


def test_four_shards_are_one(at: Bench, sample: Path, tmp_path: Path) -> None:
    _done(at, sample, "--index-dir", tmp_path / "whole")
    for number in (3, 1, 4, 2):
        _done(at, sample, "--shard", f"{number}/4", "--index-dir", tmp_path / "shards")
        if number == 4:
            assert f"ILSVRC2012_img_train.{number}-of-4" in _files(tmp_path / "shards")
    assert _files(tmp_path / "shards") == _files(tmp_path / "whole")


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2"])
def test_shards_that_there_are_not(at: Bench, sample: Path, tmp_path: Path, shard: str) -> None:
    _, error = _done(at, sample, f"--shard={shard}", "--index-dir", tmp_path / "index", code=2)
    assert "1/4 to 4/4" in error


def test_check_export_import(at: Bench, sample: Path, tmp_path: Path) -> None:
    here, there = ("--index-dir", tmp_path / "here"), ("--index-dir", tmp_path / "there")
    _, error = _done(at, "check", sample, *here, code=14)
    assert "ILSVRC2012_img_train has no index" in error
    _done(at, sample, "ILSVRC2012", *here)
    said, _ = _done(at, "export", tmp_path / "carried", "--source", sample, *here)
    assert said.strip().endswith("78 tables, 5,512 members")
    said, _ = _done(at, "import", tmp_path / "carried", "--source", sample, *there)
    assert said == "78 tables, 5,512 members\n"
    for place in (here, there):
        said, error = _done(at, "check", sample, *place)
        assert said.count(", 0 wrong") == 7
        assert "is right: 7 files" in error
    file = next((tmp_path / "here").rglob("ILSVRC2012_img_val.idx"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    _, error = _done(at, "check", sample, *here, code=14)
    assert f"{file} cannot be used (the index file is cut off): remove that file" in error
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    _, error = _done(at, "check", sample, *here, code=14)
    assert f"{file} is wrong about ILSVRC2012/ILSVRC2012_img_val.tar: remove that file" in error


def test_what_the_site_has_is_used(at: Bench, sample: Path, tmp_path: Path) -> None:
    _done(at, sample, "--index-dir", tmp_path / "site")
    environ = {"IMAGENETFS_INDEX_PATH": str(tmp_path / "site")}
    said, _ = _done(at, sample, "--index-dir", tmp_path / "own", code=0, **environ)
    assert said.count("all indexed before") == len(said.splitlines())
    assert _files(tmp_path / "own") == {}


def test_a_directory_named_like_a_command(at: Bench, sample: Path, tmp_path: Path) -> None:
    (tmp_path / "check").symlink_to(sample)
    environ = {"IMAGENETFS_INDEX_DIR": str(tmp_path / "index"), "IMAGENETFS_SOURCE": str(sample)}
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        said, _ = _done(at, "./check", "ILSVRC2012/val", code=0, **environ)
        assert said.startswith("ILSVRC2012_img_val")
        _, error = _done(at, "check", code=14, **environ)  # the command, of the source that is set
        assert str(sample) in error
    finally:
        os.chdir(before)


def test_what_cannot_be_done(at: Bench, sample: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no index")
    place = ("--index-dir", tmp_path / "index")
    _, error = _done(at, sample, "--index-dir", tmp_path / "file", code=27)
    assert "cannot be written: Not a directory; give another directory with --index-dir" in error
    _, error = _done(at, "export", "/proc/none", "--source", sample, *place, code=27)
    assert "/proc/none cannot be written" in error
    _, error = _done(at, sample, "--index-dir", "none", code=2)
    assert "--index-dir" in error
    _, error = _done(at, "import", tmp_path / "file", "--source", sample, *place, code=2)
    assert "is no exported index" in error
    _, error = _done(at, "import", tmp_path / "gone", "--source", sample, *place, code=2)
    assert "cannot be read" in error
    for name in ("index", "check", "export", "import"):
        words = [] if name == "index" else [name]
        said, _ = _done(at, *words, "--help")
        assert f" imagenetfs index {'' if name == 'index' else name + ' '}[OPTIONS]" in said
    _, error = _done(at, "--json", code=2)
    assert "See `imagenetfs index --help`." in error


def test_check_tells_of_what_it_leaves_out(at: Bench, sample: Path, tmp_path: Path) -> None:
    place = ("--index-dir", tmp_path / "index")
    said, _ = _done(at, sample, *place)
    assert len(said.splitlines()) == 9
    assert "winter21_whole-directories: " in said
    _, error = _done(at, "check", sample, *place)
    assert "is right: 7 files (2 files of listings beside, not looked at)." in error


def test_an_interrupted_one_goes_on(at: Bench, sample: Path, tmp_path: Path) -> None:
    """Ctrl-C says what is kept, once, beneath one bar; the next run goes on from there."""
    place = ("--index-dir", tmp_path / "index")
    with slow_source(sample, latency=0.02) as slow:
        words = (slow.path, "ILSVRC2012/train", "--in-flight", "2", *place)
        terminal = Terminal(at, "index", *words)
        for _ in range(40):  # it draws ten times a second
            terminal.see("files")
        terminal.type("\x03")
        terminal.see("^C")
        terminal.see("interrupted; kept: ")
        assert terminal.end() == 130
        [file] = (tmp_path / "index").rglob("ILSVRC2012_img_train.idx")
        kept = open_index_file(file)
        assert kept is not None
        assert not kept.is_complete
        tables = len(list(kept.records()))
        assert 1 < tables < 11
        terminal.see(f"{tables} tables. The next run goes on from there.")
        slow.set(latency=0.0)
        slow.reset()
        said, _ = _done(at, *words)
        assert said.startswith("ILSVRC2012_img_train: 800 files")
        # A header in vain may be asked for by each walk that began at a wrong guess.
        assert slow.counters()["read"] < 2 * 900 - 80 * (tables - 2)
