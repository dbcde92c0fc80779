"""Opening a tree: its warnings are told once."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import pytest

from imagenetfs.library.opening import open_tree
from tests.helpers.archives import tar_of
from tests.helpers.sources import train_and_test, write


@pytest.mark.expects_log("is compressed with gzip|IN_FLIGTH")
def test_warnings_are_told_by_the_one_that_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = train_and_test(tmp_path / "s")
    write(source / "ILSVRC2012" / "ILSVRC2012_img_val.tar.gz", b"\x1f\x8b" + tar_of({"a": b"x"}))
    monkeypatch.setenv("IMAGENETFS_IN_FLIGTH", "3")
    with caplog.at_level(logging.WARNING, "imagenetfs"):
        with open_tree(source, {"index_dir": "none"}) as tree:
            told = [record.getMessage() for record in caplog.records]
            assert told == tree.warnings
            assert any("did you mean $IMAGENETFS_IN_FLIGHT" in line for line in told)
            caplog.clear()
            with pickle.loads(pickle.dumps(tree)) as other:
                assert other.warnings == told
        assert caplog.records == []
