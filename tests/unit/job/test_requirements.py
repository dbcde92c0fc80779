"""--require: what must be there, and be whole, or nothing is mounted."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from imagenetfs.errors import ExitCode, ImagenetfsError, SourceMissingError, SourceUnreadableError
from imagenetfs.index.leases import HeldElsewhereError, Holder
from imagenetfs.job import preflight, requirements
from imagenetfs.job.requirements import check_required, without_train
from imagenetfs.system import child_call
from imagenetfs.system.patience import ROOT_SECONDS, Patience
from tests.helpers.archives import image, tar_of
from tests.helpers.clocks import FakeClock
from tests.helpers.devkit import LEAVES, meta_mat
from tests.helpers.mount_table import settings_with
from tests.helpers.sources import train_and_test, write

VAL = "ILSVRC2012/ILSVRC2012_img_val.tar"
DATA = "ILSVRC2012/ILSVRC2012_devkit_t12/data"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A train that is a small part of what is published, and a val that the devkit confirms."""
    root = train_and_test(tmp_path / "source")
    write(root / DATA / "meta.mat", meta_mat())
    write(root / DATA / "ILSVRC2012_validation_ground_truth.txt", b"1\n2\n3\n4\n1")
    names = (f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 6))
    write(root / VAL, tar_of({name: image(n) for n, name in enumerate(names)}))
    return root


def check(source: Path, *names: str, index_dir: object = "none") -> list[str]:
    said: list[str] = []
    settings = settings_with(require=list(names) or None, index_dir=index_dir)
    check_required(source, settings, said.append)
    return said


def refused(source: Path, *names: str) -> str:
    with pytest.raises(ImagenetfsError) as caught:
        check(source, *names)
    assert caught.value.exit_code is ExitCode.REQUIREMENT_NOT_MET
    return str(caught.value)


def test_nothing_is_looked_at_where_nothing_is_required(tmp_path: Path) -> None:
    assert check(tmp_path / "nowhere") == []


@pytest.mark.slow
def test_what_is_there(source: Path) -> None:
    assert check(source, "ILSVRC2012/train,ILSVRC2012/val", "ILSVRC2012") == []


@pytest.mark.slow
def test_what_is_not_there(source: Path) -> None:
    sentence = refused(source, "ILSVRC2012/train", "ILSVRC2012/vall")
    assert f"ILSVRC2012/vall is required (--require), and {source} does not show it" in sentence
    assert "it shows ILSVRC2012/train, ILSVRC2012/val, ILSVRC2012/test" in sentence
    assert "Did you mean ILSVRC2012/val?" in sentence
    assert "winter21_whole is required" in refused(source, "winter21_whole")


@pytest.mark.slow
def test_what_is_whole(source: Path, tmp_path: Path) -> None:
    said = check(source, "ILSVRC2012/val:complete", index_dir=tmp_path / "index")
    assert said == ["counting the images of ILSVRC2012/val."]
    assert any((tmp_path / "index").rglob("*.idx"))  # the mount need not index it again


@pytest.mark.slow
def test_what_is_not_whole(source: Path) -> None:
    names = (f"ILSVRC2012_val_{number:08d}.JPEG" for number in (1, 2, 3))
    write(source / VAL, tar_of(dict.fromkeys(names, b"x")))
    assert check(source, "ILSVRC2012/val") == []
    sentence = refused(source, "ILSVRC2012/val:complete")
    assert sentence.startswith(
        "ILSVRC2012/val is required to be complete (--require), and is not. ILSVRC2012/val does "
        "not add up, by the devkit: 3 of 5 images"
    )
    assert LEAVES[3].decode() in sentence
    assert f"imagenetfs verify {source}" in sentence


@pytest.mark.slow
def test_a_subset_is_not_whole_although_no_list_says_so(source: Path) -> None:
    assert "2 of 100,000 images" in refused(source, "ILSVRC2012/test:complete")


def with_view(source: Path, entries: str, *names: str) -> list[str]:
    said: list[str] = []
    file = write(source.parent / "list.txt", entries.encode())
    settings = settings_with(require=list(names), view=f"few={file}", index_dir="none")
    check_required(source, settings, said.append)
    return said


@pytest.mark.slow
def test_a_view_that_has_something(source: Path) -> None:
    entries = "train/n00000001\ntrain/n00000002_1.JPEG\ntrain/n99999999\n"
    assert with_view(source, entries, "views/few/train", "views/few", "ILSVRC2012/train") == []
    whole = entries.partition("train/n99999999")[0]
    assert len(with_view(source, whole, "views/few/train:complete")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("entries", ["n99999999\n", "# nothing\n"])
def test_a_view_that_is_empty(source: Path, entries: str) -> None:
    with pytest.raises(ImagenetfsError, match="views/few/train is required") as caught:
        with_view(source, entries, "views/few/train")
    assert caught.value.exit_code is ExitCode.REQUIREMENT_NOT_MET
    assert "Name its list with --view" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entries", "first"),
    [("n00000001\nn99999999\n", "n99999999"), ("n00000001_77.JPEG\n", "n00000001_77.JPEG")],
)
def test_a_view_that_lacks_entries_is_not_complete(source: Path, entries: str, first: str) -> None:
    assert with_view(source, entries, "views/few/train") == []
    with pytest.raises(ImagenetfsError, match="is required to be complete") as caught:
        with_view(source, entries, "views/few/train:complete")
    assert caught.value.exit_code is ExitCode.REQUIREMENT_NOT_MET
    assert f"(first: {first})" in str(caught.value)


def test_a_view_that_is_not_named(source: Path) -> None:
    sentence = refused(source, "views/few/train")
    assert "Name its list with --view" in sentence
    assert "there is ILSVRC2012/train" in sentence


def test_why_something_is_not_there_is_said_before(source: Path) -> None:
    said: list[str] = []
    (source / VAL).write_bytes(b"no tar" * 200)
    settings = settings_with(require=["ILSVRC2012/val"], index_dir="none")
    with pytest.raises(ImagenetfsError, match="ILSVRC2012/val is required"):
        check_required(source, settings, said.append)
    assert any(VAL in line and line.startswith("warning: ") for line in said)


@pytest.mark.slow
def test_other_failures_keep_their_own_codes(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceMissingError):
        check(tmp_path / "nowhere", "ILSVRC2012/val")
    (tmp_path / "other" / "x").mkdir(parents=True)
    with pytest.raises(ImagenetfsError) as caught:
        check(tmp_path / "other", "ILSVRC2012/val")
    assert caught.value.exit_code == ExitCode.SOURCE_UNKNOWN

    def never(question: object, seconds: float) -> object:
        raise child_call.NoAnswerError

    monkeypatch.setattr(preflight, "check_source", lambda source: None)
    monkeypatch.setattr(requirements, "call_watched", never)
    monkeypatch.setattr(requirements, "PATIENCE", Patience(is_root=lambda: False))
    with pytest.raises(SourceUnreadableError, match="did not answer in time"):
        check(source, "ILSVRC2012/val")


def test_root_counts_no_longer_than_the_source_advances(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S18: a source that trickles uses up what root waits for, and root learns what to do."""
    clock = FakeClock()
    root = Patience(clock, is_root=lambda: True)

    def trickle(question: object, seconds: float) -> object:
        assert seconds > 3600.0  # counting may take long, as long as it advances
        root.spend(9.0)
        root.spend(1.0)
        raise child_call.NoAnswerError

    monkeypatch.setattr(requirements, "PATIENCE", root)
    monkeypatch.setattr(requirements, "call_watched", trickle)
    with pytest.raises(SourceUnreadableError, match="kept root waiting for 10 s in all") as caught:
        check(source, "ILSVRC2012/val:complete")
    assert "imagenetfs index" in str(caught.value)


def test_root_waits_for_no_index_that_another_process_holds_for_good(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose lease never ends has root count for itself."""
    clock = FakeClock()
    tried: list[float] = []

    def held(*words: object, **more: object) -> None:
        tried.append(clock.monotonic())
        raise HeldElsewhereError(Holder("another", "token", None))

    monkeypatch.setattr("imagenetfs.index.group_build.index_group", held)
    monkeypatch.setattr(requirements, "PATIENCE", Patience(clock, is_root=lambda: True))
    monkeypatch.setattr(time, "sleep", clock.sleep)
    settings = settings_with(require=["ILSVRC2012/val:complete"], index_dir=tmp_path / "index")
    assert requirements._look(source, settings) == {"warnings": []}
    assert tried[-1] - tried[0] == ROOT_SECONDS


@pytest.mark.slow
def test_an_index_that_cannot_be_kept_is_no_hindrance(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    said = check(source, "ILSVRC2012/val:complete", index_dir=tmp_path / "file" / "index")
    assert len(said) == 1
    assert os.listdir(tmp_path / "source") == ["ILSVRC2012"]


@pytest.mark.parametrize(
    ("splits", "is_told"),
    [(("val",), True), (("val", "test"), True), (("train", "val"), False), ((), False)],
)
def test_val_alone_may_be_all_that_was_found(splits: tuple[str, ...], is_told: bool) -> None:
    told = without_train(splits, Path("/s"))
    assert (told is not None) is is_told
    if told is not None:
        assert "belongs into /s/ILSVRC2012; `--require ILSVRC2012/val` says" in told
