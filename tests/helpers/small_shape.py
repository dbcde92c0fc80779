"""The shape of a full-size tree that is made in a moment."""

from __future__ import annotations

from imagenetfs.sample import headers, shape

SMALL = shape.Shape(
    classes=12,
    images=500,
    least=20,
    most=45,
    train_bytes=5_600 * headers.RECORD,
    val_images=120,
    val_bytes=1_600 * headers.RECORD,
    winter_classes=40,
)
