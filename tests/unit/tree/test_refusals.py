"""What cannot be served as it stands, and whether the commands that are given mend it."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from imagenetfs.errors import (
    BrokenArchivesError,
    SourceReadError,
    SourceUnknownError,
    SourceUnreadableError,
)
from imagenetfs.source.source import Source
from imagenetfs.tree.discovery import Discovery
from imagenetfs.tree.discovery_walk import discover
from imagenetfs.tree.refusals import nothing_known, unusable
from tests.helpers.archives import tar_of
from tests.helpers.layouts import write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A path that a shell must be given in quotes."""
    found = tmp_path / "image net's"
    found.mkdir()
    return found


def packed(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    return buffer.getvalue()


def sentences(root: Path) -> list[str]:
    return list(unusable(discover(Source(root)), root))


def run(sentence: str, before: str, cwd: Path) -> None:
    """The command in brackets behind ``before``."""
    command = sentence.split(f"{before} (", 1)[1]
    command = command[: command.rindex(")")] if before != "there is room" else command
    if before == "there is room":
        command = command[: command.index("), and give")]
    subprocess.run(["sh", "-ec", command], cwd=cwd, check=True)


def test_hugging_faces_shards(root: Path, tmp_path: Path) -> None:
    files = {
        "data/train_images_0.tar.gz": packed("n01440764_1.JPEG"),
        "data/train_images_1.tar.gz": packed("n01440764_2.JPEG"),
        "data/val_images.tar.gz": packed("ILSVRC2012_val_00000001_n01440764.JPEG"),
        "data/test_images.tar.gz": packed("ILSVRC2012_test_00000001.JPEG"),
    }
    write(root, files)
    [sentence] = sentences(root)
    assert sentence.startswith("data/test_images.tar.gz, data/train_images_0.tar.gz, ")
    run(sentence, "there is room", tmp_path)
    made = tmp_path / "ILSVRC2012"
    assert sorted(str(path.relative_to(made)) for path in made.rglob("*.JPEG")) == [
        "test/ILSVRC2012_test_00000001.JPEG",
        "train/n01440764_1.JPEG",
        "train/n01440764_2.JPEG",
        "val/ILSVRC2012_val_00000001_n01440764.JPEG",
    ]


@pytest.mark.parametrize(
    "endings",
    [
        ("aa", "ab", "ba"),
        ("00", "01", "10"),
        ("1", "2", "10", "11"),  # as a program numbers them that knows no zeros
        ("part1", "part2", "part10"),
    ],
    ids="-".join,
)
def test_pieces_are_put_together_in_their_order(root: Path, endings: tuple[str, ...]) -> None:
    whole = tar_of({"a.JPEG": b"x" * 3000})
    step = -(-len(whole) // len(endings))
    pieces = {
        f"ILSVRC2012/big one.tar.{ending}": whole[at * step : (at + 1) * step]
        for at, ending in enumerate(endings)
    }
    write(root, pieces)
    [sentence] = sentences(root)
    assert f"big one.tar is there in {len(endings)} parts" in sentence
    run(sentence, "together once", root)
    assert (root / "ILSVRC2012" / "big one.tar").read_bytes() == whole


def test_what_is_there_as_a_plain_tar_too_is_no_loss(root: Path) -> None:
    write(root, {"x.tar": tar_of({"a": b""}), "x.tar.gz": packed("a"), "y.tar.gz": packed("a")})
    [sentence] = sentences(root)
    assert sentence.startswith("y.tar.gz is compressed with gzip")


def test_a_tar_of_tars_of_tars(root: Path) -> None:
    write(root, {"all.tar": tar_of({"one": b"x"})})
    found = Discovery(wrapped={b"all.tar": [b"a/train.tar", b"val.tar"]})
    [sentence] = unusable(found, root)
    assert "all.tar holds a/train.tar and val.tar, and no split is read from there." in sentence
    run(sentence, "but not what is in it", root)
    assert (root / "one").read_bytes() == b"x"


# --- no version at all ----------------------------------------------------------------------------


def reason(root: Path, found: Discovery | None = None) -> tuple[type[Exception], str]:
    source = Source(root)
    error = nothing_known(source, found or discover(source))
    return type(error), str(error).replace(str(root), "S")


def test_an_empty_directory(root: Path) -> None:
    kind, told = reason(root)
    assert kind is SourceUnknownError
    assert told.startswith(
        "S holds no version of ImageNet that is known here: it is empty, as a "
        "mountpoint is while nothing is mounted on this node. Give"
    )
    assert "docs/layouts.md" in told


def test_what_stands_there_instead_up_to_eight_names(root: Path) -> None:
    write(root, {f"f{number}": b"" for number in range(8)})
    assert ": it has f0, f1, f2, f3, f4, f5, f6, f7. Give" in reason(root)[1]
    (root / "g").mkdir()
    assert "f6, f7 and 1 more. Give" in reason(root)[1]
    assert "g/" in reason(write(root.parent / "other", {"g/x": b""}))[1]


def test_a_source_too_high_or_too_low(root: Path) -> None:
    write(root, {"deep/er/val/x": b"", "deep/er/x": b""})
    assert "But S/deep/er does: give that." in reason(root)[1]
    inner = write(root / "ILSVRC2012" / "devkit", {"x": b""})
    told = reason(inner)[1]
    assert re.search(r"It is a part of .*/ILSVRC2012: give that, or ", told)


def test_all_that_was_warned_of_is_told_once(root: Path) -> None:
    found = Discovery(names={b"": []}, warnings=["x", "a and b do: give one of them: a or b."])
    assert reason(root, found)[1] == (
        "S holds no version of ImageNet that is known here. x a and b do: give one of them: a or b."
    )


def test_a_closed_directory_beside_says_nothing_of_what_to_give(root: Path) -> None:
    found = Discovery(names={b"": []}, warnings=["you may not read x."], refused={b"x"})
    told = reason(root, found)[1]
    assert "known here. You may not read x. Give the directory that holds ILSVRC2012/" in told


def test_what_cannot_be_read_is_the_reason_where_there_is_one(root: Path) -> None:
    for error, kind in (
        (SourceReadError("the disk failed."), SourceUnreadableError),
        (BrokenArchivesError("a.tar is broken."), BrokenArchivesError),
    ):
        found = Discovery(names={b"": []}, lost=[error])
        assert reason(root, found) == (kind, f"S shows nothing: {error}")
