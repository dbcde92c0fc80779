"""The miniature source tree, and the full-size one with holes for data.

make_sample() draws a small copy of everything that a site holds, pictures that can be learned
included; make_full_size() lays out the real archives' shape with holes where the images would be.
Only the pictures need Pillow, which is imported when they are drawn.
"""

from __future__ import annotations

from imagenetfs.sample.fullsize import make_full_size
from imagenetfs.sample.miniature import DEFAULT_CLASSES, DEFAULT_IMAGES, make_sample

__all__ = ["DEFAULT_CLASSES", "DEFAULT_IMAGES", "make_full_size", "make_sample"]
