"""What an ordinary user may not read of a source: said, and gone round where a
directory takes its place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.user_bench import Make, There, places

CLOSED, ALONE, CUT = "n02119789", "n15102894", "n02066245"
"""Class tars of winter21: one may not be read, one more has no directory beside it, one is cut."""


@pytest.fixture
def make(tmp_path: Path, sample: Path) -> Iterator[Make]:
    for closed in (tmp_path, tmp_path.parent):
        closed.chmod(0o755)
    yield from places(tmp_path)


@pytest.fixture
def source(tmp_path: Path, sample: Path) -> Path:
    copy = tmp_path / "site"
    shutil.copytree(sample / "winter21_whole", copy / "winter21_whole", symlinks=True)
    (copy / "winter21_whole" / "tars" / f"{CLOSED}.tar").chmod(0o600)
    return copy


def _tar(source: Path, wnid: str) -> Path:
    return source / "winter21_whole" / "tars" / f"{wnid}.tar"


def _because(source: Path, wnid: str) -> str:
    return (
        f"winter21_whole/tars/{wnid}.tar: you may not read {_tar(source, wnid)}. "
        f"So the directory winter21_whole/{wnid} takes its place."
    )


def _images(source: Path, wnid: str) -> list[str]:
    return sorted(path.name for path in (source / "winter21_whole" / wnid).iterdir())


def test_a_closed_class_tar_gives_way_to_its_directory(make: Make, source: Path) -> None:
    at: There = make("ana")
    class_ = f"{{mnt}}/winter21_whole/train/{CLOSED}"
    look = f"ls {class_} && cat {class_}/* | wc -c && cat {{mnt}}/.imagenetfs/status.json"
    done = at.call("run", source, "--", "sh", "-c", look)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr  # 19,167 opens are too many for a mount
    names = _images(source, CLOSED)
    *listed, size = done.stdout.partition("{")[0].split()
    assert listed == names
    directory = source / "winter21_whole" / CLOSED
    assert int(size) == sum((directory / name).stat().st_size for name in names)
    status = json.loads("{" + done.stdout.partition("{")[2])
    assert status["warnings"] == [_because(source, CLOSED)]
    assert status["counters"]["errors"] == 0


def test_without_a_directory_it_fails(make: Make, source: Path) -> None:
    at: There = make("ana")
    _tar(source, ALONE).chmod(0o600)
    done = at.call("run", source, "--", "ls", f"{{mnt}}/winter21_whole/train/{ALONE}")
    assert done.returncode == 2
    assert "Permission denied" in done.stderr


def test_an_empty_directory_takes_nobodys_place(make: Make, source: Path) -> None:
    at: There = make("ana")
    shutil.rmtree(source / "winter21_whole" / CLOSED)
    (source / "winter21_whole" / CLOSED).mkdir()
    done = at.call("run", source, "--", "ls", f"{{mnt}}/winter21_whole/train/{CLOSED}")
    assert done.returncode == 2
    assert "Permission denied" in done.stderr


def test_info_index_and_verify_name_it(make: Make, source: Path) -> None:
    at: There = make("ana")
    place = ("--index-dir", at.home / "index")
    done = at.call("index", source, "winter21_whole", *place)
    assert done.returncode == 11
    assert f"winter21_whole/tars/{CLOSED}.tar (you may not read" in done.stderr
    assert "winter21_whole-tars: 831 files" in done.stdout
    whole = at.call("info", source, *place, "--json")
    assert whole.returncode == 0, whole.stderr
    described = json.loads(whole.stdout)
    assert described["warnings"] == [_because(source, CLOSED)]
    before = described["splits"][0]
    assert before["classes"] == 16
    _tar(source, ALONE).chmod(0o600)
    done = at.call("info", source, *place)
    assert done.returncode == 0, done.stderr
    assert f"warning: {_because(source, CLOSED)}" in done.stderr
    assert f"warning: you may not read {_tar(source, ALONE)}." in done.stderr
    row = done.stdout.splitlines()[1].split("\t")
    assert row[:3] == ["winter21_whole", "train", "16"]
    assert 0 < int(row[3]) < before["images"]
    done = at.call("verify", source, *place, "--json", "--quick")
    assert done.returncode == 42
    archives = json.loads(done.stdout)["archives"]
    assert archives == [_because(source, CLOSED), f"you may not read {_tar(source, ALONE)}."]


def test_a_cut_class_tar_is_named_though_its_directory_is_shown(make: Make, source: Path) -> None:
    at: There = make("ana")
    place = ("--index-dir", at.home / "index")
    _tar(source, CLOSED).chmod(0o644)
    with _tar(source, CUT).open("r+b") as file:
        file.truncate(50_000)
    done = at.call("verify", source, *place, "--json", "--quick")
    assert done.returncode == 42
    [sentence] = json.loads(done.stdout)["archives"]
    assert sentence.startswith(f"winter21_whole/tars/{CUT}.tar is broken: ")
    assert f"So the directory winter21_whole/{CUT} takes its place" in sentence
    done = at.call("index", source, *place)
    assert done.returncode == 13
    assert f"winter21_whole/tars/{CUT}.tar: " in done.stderr
    look = f"ls {{mnt}}/winter21_whole/train/{CUT} && cat {{mnt}}/.imagenetfs/log"
    done = at.call("run", source, "--", "sh", "-c", look, IMAGENETFS_INDEX_DIR=str(at.home / "new"))
    names = _images(source, CUT)
    assert done.stdout.split()[: len(names)] == names
    assert sentence in done.stdout
    assert done.stdout.count("takes its place") == 1
