"""What discovery's findings are asked for."""

from __future__ import annotations

from imagenetfs.index.archives import Archive, Kind
from imagenetfs.tree.discovery import index_group


def test_index_groups() -> None:
    def group(path: bytes, kind: Kind) -> str:
        return index_group(Archive(0, path, kind))

    names = {
        group(b"ILSVRC2012/ILSVRC2012_img_train.tar", Kind.TAR),
        group(b"ILSVRC2012/ILSVRC2012_img_val.tar", Kind.TAR),
        group(b"winter21_whole/tars", Kind.DIRECTORY),
        group(b"ILSVRC2012/train", Kind.DIRECTORY),
        group(b"\xff\xfe/x.tar", Kind.TAR),
    }
    assert len(names) == 5
    assert all(name and "/" not in name and "\0" not in name for name in names)
    assert group(b"ILSVRC2012/train", Kind.DIRECTORY) == group(b"ILSVRC2012/val", Kind.DIRECTORY)
    assert group(b"", Kind.DIRECTORY)
