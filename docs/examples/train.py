"""Train a small model on a folder of classes, and see whether it learned: the demo's payload.

    imagenetfs run -- python docs/examples/train.py --data '{mnt}/ILSVRC2012'

Reads <root>/train/<class>/<image> and <root>/val/<class>/<image> as any folder-based loader does.
With torch and torchvision installed: ImageFolder, a DataLoader of two workers and a small network;
without: the same in numpy, with Pillow and two processes. --least 0.9: exits with 1 where less than
90 % of val is right, which shows wrong labels; on the sample, for the model is too small for more.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 24
"""Pictures are scaled to SIDE x SIDE pixels."""


def with_torch(root: Path, epochs: int) -> float:
    """Train by torch; returns the share of val that is right."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        # It was built for another torch (`make demo` takes a small one): two operators of its
        # detection models are missing, which it only declares here.
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    torch.manual_seed(0)
    steps = [transforms.Resize((SIDE, SIDE)), transforms.ToTensor()]
    look = transforms.Compose([*steps, transforms.Normalize(0.5, 0.25), torch.flatten])
    sets = {split: ImageFolder(str(root / split), look) for split in ("train", "val")}
    model = torch.nn.Linear(3 * SIDE * SIDE, len(sets["train"].classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)

    def batches(split: str) -> Any:
        return torch.utils.data.DataLoader(
            sets[split], batch_size=64, shuffle=split == "train", num_workers=2
        )

    for epoch in range(epochs):
        start, seen = time.perf_counter(), 0
        for images, labels in batches("train"):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(labels)
        report(epoch, loss.item(), seen, start)
    with torch.no_grad():
        right = [(model(images).argmax(1) == labels) for images, labels in batches("val")]
    return float(torch.cat(right).float().mean())


def load(path: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One picture as a row of 3 x SIDE x SIDE values around 0."""
    from PIL import Image

    with Image.open(path) as image:
        image.draft("RGB", (SIDE * 2, SIDE * 2))
        pixels = np.asarray(image.convert("RGB").resize((SIDE, SIDE)), dtype=np.float32)
    return (pixels.ravel() / 255.0 - 0.5) / 0.25


def folder(directory: Path) -> tuple[list[str], np.ndarray[Any, np.dtype[np.int64]]]:
    """The paths below <directory>/<class>/ and their labels: the
    classes' places in sorted order.
    """
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    found = [
        (entry.path, label)
        for label, name in enumerate(classes)
        for entry in sorted(os.scandir(directory / name), key=lambda e: e.name)
    ]
    return [path for path, _ in found], np.array([label for _, label in found])


def with_numpy(root: Path, epochs: int) -> float:
    """Softmax regression by stochastic gradient descent (Adam); returns the
    share of val that is right.
    """
    paths, labels = folder(root / "train")
    random = np.random.default_rng(0)
    weights = np.zeros((3 * SIDE * SIDE + 1, labels.max() + 1), dtype=np.float32)
    first, second, step = np.zeros_like(weights), np.zeros_like(weights), 0
    with multiprocessing.Pool(2) as pool:

        def batches(order: Any, size: int = 64) -> Iterator[tuple[Any, Any]]:
            parts = [order[at : at + size] for at in range(0, len(order), size)]
            images = pool.imap(load, [paths[k] for part in parts for k in part], chunksize=16)
            for part in parts:
                batch = np.stack([next(images) for _ in part])
                yield np.hstack([batch, np.ones((len(part), 1), np.float32)]), labels[part]

        for epoch in range(epochs):
            start, seen = time.perf_counter(), 0
            for images, wanted in batches(random.permutation(len(paths))):
                chance = softmax(images @ weights)
                loss = -np.log(chance[np.arange(len(wanted)), wanted] + 1e-9).mean()
                chance[np.arange(len(wanted)), wanted] -= 1
                gradient = images.T @ chance / len(wanted) + 1e-3 * weights
                step += 1
                first = 0.9 * first + 0.1 * gradient
                second = 0.999 * second + 0.001 * gradient**2
                scale = np.sqrt(second / (1 - 0.999**step)) + 1e-8
                weights -= 2e-3 * (first / (1 - 0.9**step)) / scale
                seen += len(wanted)
            report(epoch, loss.item(), seen, start)
        paths, labels = folder(root / "val")
        right = [
            (images @ weights).argmax(1) == wanted
            for images, wanted in batches(np.arange(len(paths)))
        ]
    return float(np.concatenate(right).mean())


def softmax(values: Any) -> Any:
    """Row by row."""
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def report(epoch: int, loss: float, seen: int, start: float) -> None:
    """A line an epoch."""
    rate = seen / (time.perf_counter() - start)
    print(
        f"  epoch {epoch + 1}: loss {loss:.3f}, {seen:,} images at {rate:,.0f} images/s", flush=True
    )


def show_origin(root: Path) -> None:
    """What came from where, as the mount itself counts it; nothing on plain directories."""
    status = root.parent / ".imagenetfs" / "status.json"
    if not status.exists():
        return
    facts = json.loads(status.read_text())
    counters, version = facts["counters"], facts["versions"][root.name]
    for split in ("train", "val"):
        print(f"  {split}: {version[split]['classes']} classes from {version[split]['origin']}")
    print(
        f"  {counters['images_read']:,} images read, {counters['bytes_served'] / 1e6:,.1f} MB "
        f"served, {counters['source_bytes'] / 1e6:,.1f} MB read from the tars in "
        f"{counters['source_requests']:,} requests, with headers and what lies around the images"
    )


def main() -> int:
    """Train, evaluate, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="the directory with train/ and val/"
    )
    parser.add_argument("--least", type=float, default=0.0, help="the share of val to get right")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--numpy", action="store_true", help="do without torch")
    options = parser.parse_args()
    has_torch = not options.numpy and find_spec("torch") and find_spec("torchvision")
    print("training with " + ("torchvision's ImageFolder" if has_torch else "numpy and Pillow"))
    right = (with_torch if has_torch else with_numpy)(options.data, options.epochs)
    show_origin(options.data)
    print(f"  {right:.1%} of val is right")
    if right < options.least:
        print(f"that is less than {options.least:.0%}: the labels cannot be right", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
