"""info, and --view on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.bench import Bench, finish, waiting
from tests.helpers.mounts import Mounted

pytestmark = pytest.mark.spread


def info(at: Bench, *arguments: object) -> str:
    done = at.call("info", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_info_counts_what_a_mount_shows(
    at: Bench, sample: Path, sample_mount: Mounted, tmp_path: Path
) -> None:
    index = ("--index-dir", tmp_path / "index")
    described: dict[str, Any] = json.loads(info(at, sample, "--json", *index))
    assert (described["source"], described["warnings"]) == (str(sample), [])
    found = {(split["version"], split["split"]): split for split in described["splits"]}
    for (version, name), split in found.items():
        root = sample_mount.mountpoint / version / name
        images = [path for path in root.rglob("*") if path.is_file()]
        assert split["classes"] == len(list(root.iterdir()))
        assert split["images"] == len(images)
        assert split["bytes"] == sum(path.stat().st_size for path in images)
        assert all((sample / origin).exists() for origin in split["from"].split(" and "))
    assert len(found) == 16
    assert "_patch_" in found["ILSVRC2012", "test"]["from"]
    assert found["winter21_whole", "train"]["from"] == "winter21_whole/tars and winter21_whole"
    again = json.loads(info(at, sample, "--json", *index))
    assert again == described
    quick = json.loads(info(at, sample, "--json", "--quick", *index))
    assert {split["images"] for split in quick["splits"]} == {None}
    lines = info(at, sample, *index).splitlines()
    assert lines[0].split("\t") == ["version", "split", "classes", "images", "bytes", "from"]
    assert len(lines) == 17


def test_what_only_counting_shows_is_told(at: Bench, sample: Path, tmp_path: Path) -> None:
    """Labels that the devkit does not name, an array of objects, a val image
    without annotation, a cut tar.
    """
    source = tmp_path / "source"
    shutil.copytree(sample, source)
    npz = source / "DownSampled" / "Imagenet16_val_npz" / "val_data.npz"
    with np.load(npz, allow_pickle=False) as arrays:
        data, labels = arrays["data"], arrays["labels"].copy()
    labels[[3, 5]] = 1001
    np.savez(npz, data=data, labels=labels)
    objects = source / "DownSampled" / "Imagenet8_val_npz" / "val_data.npz"
    np.savez(objects, data=data.astype(object), labels=labels)
    annotations = source / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    annotations.write_text("".join(annotations.read_text().splitlines(keepends=True)[1:]))
    cut = source / "winter21_whole" / "tars" / "n15102894.tar"
    cut.write_bytes(cut.read_bytes()[:5000])
    done = at.call("info", source, "--json")
    assert done.returncode == 0, done.stderr
    described: dict[str, Any] = json.loads(done.stdout)
    [broken, loose, pickled, unnamed] = described["warnings"]
    assert broken.startswith("winter21_whole/tars/n15102894.tar is broken: ")
    assert loose.startswith("1 images of tiny-imagenet-200/val have no label")
    assert pickled.startswith(
        "DownSampled/Imagenet8_val_npz/val_data.npz is not shown: data.npy is an array"
    )
    assert unnamed.startswith("2 rows of DownSampled/Imagenet16_val_npz/val_data.npz have labels")
    said = " ".join(done.stderr.split())
    assert all(f"warning: {warning}" in said for warning in described["warnings"])
    images = {(s["version"], s["split"]): s["images"] for s in described["splits"]}
    assert images["Imagenet16", "val"] == len(labels) - 2
    assert images["Imagenet8", "val"] == 0


def test_views_of_run(at: Bench, sample: Path, tmp_path: Path) -> None:
    wnid = sorted(path.name for path in (sample / "ILSVRC2012" / "train").iterdir())[0]
    (tmp_path / "list").write_text(f"{wnid}\n")
    views = [f"--view={name}={tmp_path / 'list'}" for name in ("one", "two")]
    done = at.call("run", *views, sample, "--", "sh", "-c", "ls {mnt}/views/*/train")
    assert done.stdout.split() == [
        *(f"{at.default}/views/one/train:", wnid),
        *(f"{at.default}/views/two/train:", wnid),
    ]
    assert at.leftovers() == []


def test_a_run_with_other_views_does_not_join(at: Bench, sample: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("n02119789\n")
    view = f"--view=one={tmp_path / 'list'}"
    first = waiting(at, sample)
    second = at.call("run", view, sample, "--", "ls", "-d", "{mnt}/views/one")
    assert second.stdout.startswith(f"{at.default}-"), second.stderr
    refused = at.call("run", view, sample, "--at", at.default, "--", "true")
    assert refused.returncode == 125
    assert "does not show the view one" in refused.stderr
    assert finish(first) == (7, "")
    assert at.leftovers() == []


def test_a_view_of_another_list_is_another_view(at: Bench, sample: Path, tmp_path: Path) -> None:
    wnids = sorted(path.name for path in (sample / "ILSVRC2012" / "train").iterdir())[:2]
    views = []
    for wnid in wnids:
        (tmp_path / wnid).write_text(f"{wnid}\n")
        views.append(f"--view=one={tmp_path / wnid}")
    first = waiting(at, views[0], sample)
    for view, wnid in zip(views, wnids, strict=True):
        done = at.call("run", view, sample, "--", "sh", "-c", "ls {mnt}/views/one/train")
        assert (done.stdout, done.stderr) == (f"{wnid}\n", "")
    assert finish(first) == (7, "")
    assert at.leftovers() == []
