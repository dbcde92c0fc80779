"""imagenetfs show: which source and what of it, and what is printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from imagenetfs.cli import show
from imagenetfs.errors import UsageError
from imagenetfs.system import mounts
from imagenetfs.system.mounts import MountEntry, parse_line
from tests.helpers.in_process import Done, call_forked
from tests.helpers.sources import train_and_test

Show = Callable[..., Done]

AT = "/somewhere/mnt"
OURS = parse_line(f"36 25 0:32 / {AT} ro,user_id=0 - fuse.imagenetfs /src ro,user_id=0")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return train_and_test(tmp_path / "source")


@pytest.fixture
def shown(source: Path, capsys: pytest.CaptureFixture[str]) -> Show:
    return lambda *words: call_forked(capsys, "show", source, *words, "--index-dir", "none")


@pytest.mark.slow
def test_a_class_in_lines(shown: Show) -> None:
    done = shown("n00000002")
    assert (done.code, done.err) == (0, "")
    lines = [line.split("\t") for line in done.out.splitlines()]
    assert lines[0] == ["class", "n00000002"]
    assert lines[1][0] == "words" and lines[1][1].startswith("not known")
    assert lines[2] == ["label", "1 in ILSVRC2012"]
    tar = "ILSVRC2012/ILSVRC2012_img_train.tar: n00000002.tar"
    assert lines[3:] == [["ILSVRC2012/train", f"3 images from {tar}"]]


@pytest.mark.slow
def test_an_image_for_programs(shown: Show) -> None:
    done = shown("n00000002_1.JPEG", "--json")
    [found] = json.loads(done.out)
    assert (found["kind"], found["member"]) == ("image", "n00000002_1.JPEG")
    lines = dict(line.split("\t") for line in shown("n00000002_1.JPEG").out.splitlines())
    assert lines["at byte"] == f"{found['offset']:,}"
    assert lines["member"] == "n00000002.tar > n00000002_1.JPEG"
    assert lines["size"] == "no image that is known, 601 bytes"


@pytest.mark.slow
def test_a_version(shown: Show) -> None:
    lines = [line.split("\t") for line in shown("ILSVRC2012").out.splitlines()]
    assert lines[0] == ["version", "ILSVRC2012"]
    assert lines[1] == ["ILSVRC2012/train", "9 images in 3 classes, 5.4 kB"]


@pytest.mark.slow
def test_nothing_of_that_name(shown: Show) -> None:
    done = shown("n00000009")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "has no images of n00000009" in done.err


# --- which source ---------------------------------------------------------------------------------


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> MountEntry:
    def find_mount(path: Path, table: object = None) -> MountEntry | None:
        return OURS if str(path) == AT else None

    monkeypatch.setattr(mounts, "find_mount", find_mount)
    return OURS


@pytest.mark.parametrize(
    ("what", "found"),
    [
        (["goldfish"], (None, "goldfish")),
        (["/src", "goldfish"], ("/src", "goldfish")),
        ([f"{AT}/ILSVRC2012/train"], (AT, "ILSVRC2012/train")),
    ],
)
def test_source_and_what(mounted: MountEntry, what: list[str], found: tuple[object, str]) -> None:
    assert show._sorted_out(what, None) == found


def test_a_path_that_says_too_little(mounted: MountEntry, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"What of {tmp_path} shall be shown"):
        show._sorted_out([str(tmp_path)], None)
    with pytest.raises(UsageError, match="is in no mount of imagenetfs"):
        show._sorted_out([str(tmp_path / "x")], None)


def test_the_mount_that_is_meant_where_no_source_is(
    mounted: MountEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "our_mounts", lambda **asked: [OURS])
    assert show._mount_here() == OURS
    monkeypatch.setattr(mounts, "our_mounts", lambda **asked: [OURS, OURS])
    assert show._mount_here() is None
    monkeypatch.setattr(Path, "cwd", lambda: Path(AT) / "ILSVRC2012")
    assert show._mount_here() == OURS
