"""What doctor counts, and what it has no time for."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.job.doctor.counting import Counted, count
from tests.helpers.clocks import FakeClock, RushingClock
from tests.helpers.layouts import by_directory, class_tars, documented, packed, train_images, write
from tests.helpers.trees import tree_of

TRAIN = train_images()
D = "ILSVRC2012/"
FORMS = {
    "tar": {
        f"{D}ILSVRC2012_img_train.tar": packed({**class_tars(TRAIN), "n09999999.tar": packed({})})
    },
    "directories": {
        **by_directory(TRAIN, f"{D}train/"),
        f"{D}train/n09999999/notes.txt": b"no image",
    },
    "class tars": {
        **class_tars(TRAIN, "winter21_whole/tars/"),
        "winter21_whole/tars/n09999999.tar": packed({}),
    },
}


def counted(source: Path, clock: FakeClock | None = None) -> Counted:
    return count(tree_of(source).catalogue, 10.0, clock or FakeClock())


@pytest.mark.parametrize("form", FORMS)
def test_a_class_without_an_image(tmp_path: Path, form: str) -> None:
    found = counted(write(tmp_path, FORMS[form]))
    [told] = found.found
    assert "1 class without an image (n09999999)" in told
    assert found.uncounted == []


def test_nothing_is_counted_without_time(tmp_path: Path) -> None:
    found = counted(write(tmp_path, FORMS["directories"]), RushingClock(6.0))
    assert found == Counted([], ["ILSVRC2012/train"])


def test_a_flat_archive_is_counted_where_its_table_is_there(tmp_path: Path) -> None:
    tree = tree_of(documented(tmp_path))
    assert count(tree.catalogue, 10.0, FakeClock()).uncounted == ["ILSVRC2012/val"]
    [version] = tree.catalogue.versions
    version.splits[1].backend.listing(0)
    assert count(tree.catalogue, 10.0, FakeClock()) == Counted([], [])
