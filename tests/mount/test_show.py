"""What is shown of an image by its path in a mount is what the mount's own attributes say."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.helpers.in_process import call_forked
from tests.helpers.mounts import Mounted


def test_an_image_of_a_mount(
    sample_mount: Mounted, sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = min((sample_mount.mountpoint / "ILSVRC2012" / "val").glob("n*/*"))
    done = call_forked(capsys, "show", path, "--json", "--index-dir", "none")
    assert done.code == 0, done.err
    [found] = json.loads(done.out)
    for name, value in (
        ("source", found["file"]),
        ("wnid", found["wnid"]),
        ("words", found["words"]),
        ("label", str(found["labels"]["ILSVRC2012"])),
        ("offset", str(found["offset"])),
    ):
        assert os.getxattr(path, f"user.imagenetfs.{name}").decode() == value
    assert (found["format"], found["bytes"]) == ("JPEG", path.stat().st_size)
    by_word = call_forked(capsys, "show", sample_mount.mountpoint, found["words"].partition(",")[0])
    assert found["wnid"] in by_word.out
