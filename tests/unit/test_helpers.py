"""The archives that the helpers make are what they say."""

from __future__ import annotations

import io
import tarfile

from tests.helpers.archives import image, train_tar


def test_archives_are_what_they_say() -> None:
    with tarfile.open(fileobj=io.BytesIO(train_tar(2))) as archive:
        assert archive.getnames() == ["n00000001.tar", "n00000002.tar"]
        inner = archive.extractfile("n00000002.tar")
        assert inner is not None
        with tarfile.open(fileobj=inner) as one:
            last = one.extractfile("n00000002_2.JPEG")
            assert last is not None
            assert last.read() == image(202, 602)
