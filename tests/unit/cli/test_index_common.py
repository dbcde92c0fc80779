"""What indexing commands share.

The source among the arguments, the named splits, another's turn.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagenetfs.cli.index_common import (
    Opened,
    build_or_keep_none,
    catalogue_of,
    counted,
    in_turn,
    named,
    not_writable,
    shown_in,
)
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.counters import REQUESTS
from imagenetfs.errors import NoSpaceError, PlaceRefusedError, UsageError
from imagenetfs.index.bulk_build import BuildProgress
from imagenetfs.index.leases import HeldElsewhereError, Holder
from imagenetfs.system.process_identity import ProcessIdentity
from tests.helpers.archives import close
from tests.helpers.mount_table import settings_with
from tests.helpers.sources import train_and_test

Opening = Callable[..., Opened]


@pytest.fixture
def opened_with() -> Iterator[Opening]:
    """``opened_with(source, index_dir=...)``: a catalogue, closed with the test."""
    found: list[Opened] = []

    def start(source: Path, *, indexed: bool = True, **options: object) -> Opened:
        found.append(catalogue_of(settings_with(source=source, **options), indexed=indexed))
        return found[-1]

    yield start
    for opened in found:
        close(opened.catalogue.index)


@pytest.fixture
def opened(tmp_path: Path, opened_with: Opening) -> Opened:
    return opened_with(train_and_test(tmp_path / "source"), index_dir=tmp_path / "index")


@pytest.mark.parametrize(
    ("words", "option", "expected"),
    [
        (None, None, (None, [])),
        ([], None, (None, [])),
        (["/s"], None, ("/s", [])),
        (["./s", "a", "b/c"], None, ("./s", ["a", "b/c"])),
        (["~/s"], None, ("~/s", [])),
        (["here", "a"], None, ("here", ["a"])),  # a directory of that name
        (["a", "here"], None, (None, ["a", "here"])),
        (["/s", "a"], "/t", (None, ["/s", "a"])),  # --source names one
    ],
)
def test_the_source_among_the_arguments(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str] | None,
    option: str | None,
    expected: tuple[str | None, list[str]],
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert named(words, option) == expected


def test_named_versions_and_splits(opened: Opened) -> None:
    every = opened.groups(())
    assert list(every) == ["ILSVRC2012_img_train", "ILSVRC2012_img_test_v10102019"]
    assert opened.groups(["ILSVRC2012"]) == every
    assert opened.groups(["ILSVRC2012/"]) == every
    assert list(opened.groups(["ILSVRC2012/test"])) == ["ILSVRC2012_img_test_v10102019"]
    assert opened.groups(["ILSVRC2012/test", "ILSVRC2012"]).keys() == every.keys()


def test_a_name_that_is_none(opened: Opened) -> None:
    with pytest.raises(UsageError) as caught:
        opened.groups(["ILSVRC2012/trian"])
    assert str(caught.value) == (
        f"{opened.path} has no version or split `ILSVRC2012/trian` (and there is no directory "
        f"of that name "
        "here, were it meant for SOURCE); it has ILSVRC2012/train, ILSVRC2012/test. Did you mean "
        "ILSVRC2012/train?"
    )


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 tables"), (1, "1 table"), (1234, "1,234 tables")]
)
def test_counted(number: int, text: str) -> None:
    assert counted(number, "table") == text


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOSPC, NoSpaceError), (errno.EDQUOT, NoSpaceError), (errno.EROFS, PlaceRefusedError)],
)
def test_what_cannot_be_written(code: int, kind: type[Exception]) -> None:
    error = not_writable("the index file /x", OSError(code, os.strerror(code)), "do that")
    assert type(error) is kind
    assert str(error) == f"the index file /x cannot be written: {os.strerror(code)}; do that."


def _held(host: str) -> HeldElsewhereError:
    return HeldElsewhereError(Holder("owner", "token", ProcessIdentity(host, "boot", 7, 1)))


def test_anothers_turn_comes_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = [_held("node8"), _held("node7")]

    def attempt() -> int:
        if held:
            raise held.pop()
        return 42

    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    assert in_turn(attempt, "train is being indexed") == 42
    assert len(waits) == 2
    assert capsys.readouterr().err == (
        "imagenetfs: train is being indexed by node7 (process 7): waiting for it.\n"
    ), "said once"
    assert in_turn(lambda: None, "x") is None
    assert capsys.readouterr().err == ""


def _known(opened: Opened) -> int:
    index = opened.catalogue.index
    return sum(index.known(archive.number) for archive in index.archives)


def test_an_index_is_kept_where_it_can_be(opened: Opened, tmp_path: Path) -> None:
    for group, archives in opened.groups(()).items():
        build_or_keep_none(opened, group, archives, None, lambda now: None)
    assert len(list((tmp_path / "index").rglob("*.idx"))) == 2
    assert opened.said == set()


@pytest.mark.slow
def test_where_it_cannot_be_kept_it_serves_this_command(
    tmp_path: Path, opened_with: Opening, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    source = train_and_test(tmp_path / "source")
    place = tmp_path / "file" / "index"
    opened = opened_with(source, index_dir=place)
    for group, archives in opened.groups(()).items():
        build_or_keep_none(opened, group, archives, None, lambda now: None)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, "said once for all groups"
    assert said[0].startswith("imagenetfs: no index is kept in ")
    assert "Not a directory. Give another directory: --index-dir" in said[0]
    assert _known(opened) == 2


def test_no_index_is_wanted(
    tmp_path: Path, opened_with: Opening, capsys: pytest.CaptureFixture[str]
) -> None:
    source = train_and_test(tmp_path / "source")
    opened = opened_with(source, index_dir="none")
    [(group, archives), *_] = opened.groups(()).items()
    build_or_keep_none(opened, group, archives, None, lambda now: None)
    assert _known(opened) >= 1
    assert capsys.readouterr().err == ""


def test_a_catalogue_without_the_index_files(
    opened: Opened, opened_with: Opening, tmp_path: Path
) -> None:
    for group, archives in opened.groups(()).items():
        build_or_keep_none(opened, group, archives, None, lambda now: None)
    with_files = opened_with(opened.path, index_dir=tmp_path / "index")
    without = opened_with(opened.path, index_dir=tmp_path / "index", indexed=False)
    assert with_files.places.files("ILSVRC2012_img_train") == without.places.files(
        "ILSVRC2012_img_train"
    )
    train = without.catalogue.numbers[b"ILSVRC2012/ILSVRC2012_img_train.tar"]
    asked = []
    for one in (with_files, without):
        before = one.catalogue.source.meter[REQUESTS]
        assert len(one.catalogue.index.container(train, 0).members) == 3
        asked.append(one.catalogue.source.meter[REQUESTS] - before)
    assert asked[0] < asked[1], "the headers are read, not the index"


def test_a_bar_does_not_count_what_was_there_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with ProgressBar("Indexing", unit="archives") as bar:
        show = shown_in(bar)
        for second, done in ((0, 900), (10, 910)):
            now[0] = float(second)
            show(BuildProgress(done, 1000, 0))
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith("910/1,000 archives (900 were there), 1 archives/s, 1 min 30 s left")
