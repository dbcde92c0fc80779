"""A softmax in numpy on down-sampled pixels: enough to tell the sample's classes apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, np.dtype[Any]]

SIDE = 8  # pixels
STEPS = 150


def features(image: Image.Image) -> Array:
    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel() / 255


def files(paths: Iterable[Path]) -> Array:
    rows = []
    for path in paths:
        with Image.open(path) as image:
            rows.append(features(image))
    return np.array(rows)


@dataclass
class Softmax:
    mean: Array
    weights: Array
    bias: Array

    def scores(self, rows: Array) -> Array:
        return (rows - self.mean) @ self.weights + self.bias


def train(rows: Array, labels: Array, classes: int) -> Softmax:
    model = Softmax(rows.mean(axis=0), np.zeros((rows.shape[1], classes)), np.zeros(classes))
    for _ in range(STEPS):
        scores = model.scores(rows)
        error = np.exp(scores - scores.max(axis=1, keepdims=True))
        error /= error.sum(axis=1, keepdims=True)
        error[np.arange(len(labels)), labels] -= 1
        model.weights -= 2.0 * (rows - model.mean).T @ error / len(labels)
        model.bias -= error.mean(axis=0)
    return model
