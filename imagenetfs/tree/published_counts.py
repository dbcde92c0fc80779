"""What ImageNet is documented to hold: totals, sums of archives, images a class.

Totals: image-net.org's challenge and winter21 pages, and tiny-imagenet-200's own lists. Sums: those
that torchvision (``datasets/imagenet.py``) and the archives' publishers give. Images a class: the
development kit's ``num_train_images``, and its ground truth for val.
"""

from __future__ import annotations

import io
import json
from collections import Counter

import numpy as np

from imagenetfs.errors import HelperDiedError, ImagenetfsError
from imagenetfs.source.source import Source
from imagenetfs.system.confined_call import call_confined
from imagenetfs.tree.devkit import GROUND_TRUTH, META_MAT, parse
from imagenetfs.tree.labels import DEVKIT

TOTALS = {
    ("ILSVRC2012", "train"): (1_000, 1_281_167),
    ("ILSVRC2012", "val"): (1_000, 50_000),
    ("ILSVRC2012", "test"): (None, 100_000),
    ("winter21_whole", "train"): (19_167, 13_153_500),
    ("tiny-imagenet-200", "train"): (200, 100_000),
    ("tiny-imagenet-200", "val"): (200, 10_000),
    ("tiny-imagenet-200", "test"): (None, 10_000),
}
"""(version, split) -> (classes, images); None where classes are not told."""

VERSIONS = frozenset({version for version, _ in TOTALS} | {"ILSVRC2012_t3", "fall11_whole"}) | {
    f"Imagenet{side}" for side in (8, 16, 32, 64)
}
"""The names of all versions that are known."""

SUMS = {
    b"ILSVRC2012_img_train.tar": "1d675b47d978889d74fa0da5fadfb00e",
    b"ILSVRC2012_img_val.tar": "29b22e2961454d5413ddabcf34fc5622",
    b"ILSVRC2012_img_test_v10102019.tar": "e1b8681fff3d63731c599df9b4b6fc02",
    b"ILSVRC2012_img_train_t3.tar": "ccaf1013018ac1037801578038d370da",
    b"ILSVRC2012_devkit_t12.tar.gz": "fa75699e90414af021442c21a62c3abf",
}
"""md5 of the archives as they were published."""


def images_of_classes(source: Source, version: bytes) -> dict[str, dict[bytes, int]]:
    """Images a class (wnid) in ``train`` and ``val``, as the development kit in a
    version's directory says.

    Empty where there is no kit that can be read. Raises HelperDiedError where the process that
    reads it cannot work.
    """
    kit = version + b"/" + DEVKIT + b"/"
    try:
        meta, truth = source.read_whole(kit + META_MAT), source.read_whole(kit + GROUND_TRUTH)
        known = parse(meta, truth)
        train = json.loads(call_confined(lambda: _train(meta)))
    except HelperDiedError:
        raise
    except ImagenetfsError:
        return {}
    val = Counter(known.wnids[number] for number in known.truth if number in known.wnids)
    return {"train": {wnid.encode(): count for wnid, count in train.items()}, "val": dict(val)}


def _train(meta: bytes) -> bytes:
    """JSON of wnid -> num_train_images of the leaves. In a process of its own."""
    from scipy.io import loadmat

    rows = np.atleast_1d(loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"])
    leaves = (row for row in rows if int(row["num_children"]) == 0)
    return json.dumps({str(row["WNID"]): int(row["num_train_images"]) for row in leaves}).encode()
