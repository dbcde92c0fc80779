"""What Kaggle's zip of ILSVRC2012 and tiny-imagenet-200.zip hold, small."""

from __future__ import annotations

from tests.helpers.layouts import (
    CLASSES,
    Shown,
    by_directory,
    flat,
    jpeg,
    train_images,
    val_images,
)

_TRAIN, _VAL = train_images(), val_images()
TEST: Shown = {"unlabeled": {"ILSVRC2012_test_00000001.JPEG": jpeg("test")}}
KAGGLE = "imagenet-object-localization-challenge.zip"


def kaggle(above: str = "") -> dict[str, bytes]:
    """Kaggle's tree, with what stands in it beside the images."""
    data, boxes = f"{above}ILSVRC/Data/CLS-LOC/", f"{above}ILSVRC/Annotations/CLS-LOC/"
    rows = [f"{name[:-5]},{wnid} 1 2 3 4" for wnid, images in _VAL.items() for name in images]
    numbered = "\n".join(f"{name[:-5]} {number}" for number, name in enumerate(flat(_VAL), 1))
    return {
        **{f"{boxes}train/{path[:-5]}.xml": b"<a/>" for path in by_directory(_TRAIN)},
        **{f"{boxes}val/{name[:-5]}.xml": b"<a/>" for name in flat(_VAL)},
        **{f"{data}test/{name}": content for name, content in flat(TEST).items()},
        **by_directory(_TRAIN, f"{data}train/"),
        **{f"{data}val/{name}": content for name, content in flat(_VAL).items()},
        f"{above}ILSVRC/ImageSets/CLS-LOC/val.txt": numbered.encode(),
        f"{above}LOC_sample_submission.csv": b"ImageId,PredictionString",
        f"{above}LOC_synset_mapping.txt": b"\n".join(w + b" the words of " + w for w in CLASSES),
        f"{above}LOC_val_solution.csv": "\n".join(["ImageId,PredictionString", *rows]).encode(),
    }


def tiny(above: str = "tiny-imagenet-200/") -> tuple[dict[str, bytes], dict[str, Shown]]:
    """The files of tiny-imagenet-200, and what is shown of it."""
    val = {
        wnid: {f"val_{number}{part}.JPEG": jpeg(f"{wnid} {part}") for part in "ab"}
        for number, wnid in enumerate(_TRAIN)
    }
    lines = [f"{name}\t{wnid}\t0\t0\t1\t1" for wnid, images in val.items() for name in images]
    test = {"unlabeled": {"test_0.JPEG": jpeg("t0")}}
    files = {
        f"{above}wnids.txt": "\n".join(_TRAIN).encode(),
        f"{above}words.txt": b"\n".join(w + b"\tsome words" for w in CLASSES),
        **{
            f"{above}train/{wnid}/images/{name}": data
            for wnid, images in _TRAIN.items()
            for name, data in images.items()
        },
        **{f"{above}train/{wnid}/{wnid}_boxes.txt": b"boxes" for wnid in _TRAIN},
        **{f"{above}val/images/{name}": data for name, data in flat(val).items()},
        f"{above}val/val_annotations.txt": "\n".join(lines).encode(),
        f"{above}test/images/test_0.JPEG": jpeg("t0"),
    }
    return files, {"train": _TRAIN, "val": val, "test": test}
