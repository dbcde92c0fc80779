"""views/: parts of a version by class and by file, the same inodes; and
which version a list means.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.mounts import Mount


def below(root: Path) -> dict[str, int]:
    """Every file below a directory: name -> inode."""
    return {
        os.path.relpath(Path(directory) / name, root): (Path(directory) / name).stat().st_ino
        for directory, _, names in os.walk(root)
        for name in names
    }


def lists(tmp_path: Path, **texts: str) -> list[tuple[str, str]]:
    found = []
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        found.append((name, str(tmp_path / name)))
    return found


def test_views(sample: Path, tmp_path: Path, mount: Mount) -> None:
    train = sample / "ILSVRC2012" / "train"
    wnids = sorted(path.name for path in train.iterdir())
    few = [path.name for wnid in wnids[:3] for path in sorted((train / wnid).iterdir())[:2]]
    val = sorted(path.name for path in (sample / "ILSVRC2012" / "validation").rglob("*.JPEG"))[:5]
    held_out = [path.name for path in (sample / "winter21_whole" / "n00004475").iterdir()][:3]
    views = lists(
        tmp_path,
        classes="\n".join(wnids[:4]) + "\n# a comment\n",
        files="\n".join(few),
        paths="\n".join(f"train/{name.partition('_')[0]}/{name}" for name in few),
        of_val="\n".join(f"val/{name}" for name in val),
        train_only=f"train/{wnids[0]}\n",
        winter="\n".join(held_out),
        named=f"winter21_whole/train/{wnids[0]}\n",
        small="Imagenet32/val/val_data_000003.png\n",
        wrong="n99999999\n",
    )
    one = mount(sample, views=views)
    root, ours = one.mountpoint / "views", one.mountpoint / "ILSVRC2012"
    assert sorted(os.listdir(root)) == sorted(name for name, _ in views)
    every = {split: below(ours / split) for split in ("train", "val")}

    def chosen(split: str, wanted: Callable[[str], bool]) -> dict[str, int]:
        return {name: inode for name, inode in every[split].items() if wanted(name)}

    assert sorted(os.listdir(root / "classes")) == ["train", "val"]
    for split in ("train", "val"):
        assert os.listdir(root / "classes" / split) == wnids[:4]
        expected = chosen(split, lambda name: name.partition("/")[0] in wnids[:4])
        assert below(root / "classes" / split) == expected
    for view in ("files", "paths"):
        assert os.listdir(root / view) == ["train"]
        expected = chosen("train", lambda name: name.rpartition("/")[2] in few)
        assert len(expected) == len(few)
        assert below(root / view / "train") == expected
    expected = chosen("val", lambda name: name.rpartition("/")[2] in val)
    assert below(root / "of_val") == {f"val/{name}": inode for name, inode in expected.items()}
    assert os.listdir(root / "train_only") == ["train"]
    assert os.listdir(root / "train_only" / "train") == wnids[:1]
    winter = one.mountpoint / "winter21_whole" / "train"
    assert below(root / "winter") == {
        f"train/n00004475/{name}": (winter / "n00004475" / name).stat().st_ino for name in held_out
    }
    assert below(root / "named" / "train" / wnids[0]) == below(winter / wnids[0])
    assert [Path(name).name for name in below(root / "small")] == ["val_data_000003.png"]
    assert os.listdir(root / "wrong") == []
    assert (
        "the view wrong: 1 of 1 entries of its list name nothing in ILSVRC2012 (first: n99999999)."
        in one.warnings
    )
    assert any("wrong is empty" in warning for warning in one.warnings)
    file = next((root / "files" / "train" / wnids[0]).iterdir())
    assert os.getxattr(file, "user.imagenetfs.wnid") == wnids[0].encode()
    assert os.getxattr(file.parent, "user.imagenetfs.count") == b"2"
    assert file.parent.stat().st_ino != (ours / "train" / wnids[0]).stat().st_ino


def test_a_list_that_is_missing_is_refused(sample: Path, tmp_path: Path, mount: Mount) -> None:
    with pytest.raises(RuntimeError, match="ERROR 2 the list of the view a cannot be read"):
        mount(sample, views=[("a", str(tmp_path / "missing"))])


def test_labels_behind_names(sample: Path, tmp_path: Path, mount: Mount) -> None:
    """Lines of meta/train.txt and meta/val.txt as they stand, other blanks too."""
    one = mount(sample)
    meta = one.root / "meta"
    train = (meta / "train.txt").read_text().splitlines()[::7]
    val = (meta / "val.txt").read_text().splitlines()[::3]
    wnid, name = train[0].split(" ")[0].split("/")
    views = lists(
        tmp_path,
        train="\n".join(train),
        val="\r\n".join(val),
        odd=f"train/{wnid}/{name}\t 0 \n{train[-1].split('/')[0]} 999",
    )
    two = mount(sample, views=views)
    assert two.warnings == []
    root = two.mountpoint / "views"
    for split, lines in (("train", train), ("val", val)):
        shown = below(root / split / split)
        assert sorted(shown) == sorted(line.split(" ")[0] for line in lines)
    assert list(below(root / "odd" / "train" / wnid)) == [name]
    whole = train[-1].split("/")[0]
    assert os.listdir(root / "odd" / "train" / whole) == os.listdir(two.root / "train" / whole)
    assert two.status()["warnings"] == []


@pytest.mark.expects_log("are not there", "names in val are not there")
def test_what_a_list_names_in_vain_is_told(sample: Path, tmp_path: Path, mount: Mount) -> None:
    """At mount what names and classes tell; when a class is listed, which of its images are not
    there.
    """
    train = sample / "ILSVRC2012" / "train"
    wnid, other = sorted(path.name for path in train.iterdir())[:2]
    good = sorted(path.name for path in (train / wnid).iterdir())[0]
    missing = [f"{other}_{n}.JPEG" for n in (900001, 900002, 900003)]
    views = lists(
        tmp_path,
        a="\n".join([good, "quatsch", "n99999999_1.JPEG", *missing, "trian/n00000001"]),
        b="val/ILSVRC2012_val_00999999.JPEG\nval/ILSVRC2012_val_00000001.JPEG\n",
    )
    one = mount(sample, views=views)
    told = [
        "the view a: 2 of 6 entries of its list name nothing in ILSVRC2012 (first: "
        "n99999999_1.JPEG).",
        "the view a: 1 of 1 entries of its list name nothing in "
        "ILSVRC2012/trian (first: n00000001).",
    ]
    assert one.warnings == told
    root = one.mountpoint / "views"
    assert os.listdir(root / "a" / "train") == [wnid, other]
    assert os.listdir(root / "a" / "train" / wnid) == [good]
    assert one.status()["warnings"] == told
    assert os.listdir(root / "a" / "train" / other) == []
    told.append(f"the view a: 3 of 3 names in {other} are not there (first: {missing[0]}).")
    assert one.status()["warnings"] == told
    assert len(below(root / "b")) == 1
    told.append(
        "the view b: 1 of 2 names in val are not there (first: ILSVRC2012_val_00999999.JPEG)."
    )
    assert one.status()["warnings"] == told
    assert [line for line in one.log.read_text().splitlines() if "the view" in line] == [
        f"WARNING {sentence}" for sentence in told[2:]
    ]
