"""What is an image, and what is none: the one rule, for every form and every version.

A name tells by its extension. A name that tells nothing (none, or an unknown one) leaves it
to the first bytes. What desktops, editors, file servers and unfinished copies leave behind is
neither an image nor a class, whatever its extension; it stays visible in ``source/`` and
``archives/``.
"""

from __future__ import annotations

import re
from enum import Enum

import numpy as np

from imagenetfs.index.member_table import MemberTable

FIRST_BYTES = 16
"""Bytes of a file that tell whether it is an image."""

_EXTENSIONS = rb"jpe?g|jpe|jfif|jp2|jxl|png|ppm|pgm|pbm|pnm|bmp|tiff?|webp|gif|avif|hei[cf]"
_IMAGE = re.compile(rb".*\.(?:" + _EXTENSIONS + rb")", re.IGNORECASE | re.DOTALL)

_PLAIN_IMAGE = re.compile(rb"\w[^/]*\.(?:" + _EXTENSIONS + rb")", re.IGNORECASE | re.DOTALL)
"""Nearly every name: one part, which begins as no dropping does that ends as an image."""

_OTHER_WORDS = b"""
    txt csv tsv xml json jsonl yaml yml toml html htm md rst pdf log lst list idx rec tfrecord
    mat npy npz pkl pickle pt pth h5 hdf5 lmdb mdb db sqlite parquet arrow ini cfg conf
    tar gz tgz bz2 xz zst zip rar 7z py pyc ipynb sh m c cpp h js mp4 avi mov mkv wav mp3
    md5 sha1 sha256 sum url lnk tmp temp bak old orig swp lock
    part partial crdownload download opdownload filepart aria2 !ut !qb td xltd
"""
_OTHER = re.compile(
    rb".*\.(?:" + b"|".join(_OTHER_WORDS.split()) + rb")", re.IGNORECASE | re.DOTALL
)

_DROPPING = re.compile(
    rb"\..*"  # hidden: ._x of a Mac, .DS_Store, .nfs0, .x.swp, .x.JPEG.Ab12 of rsync, .ipynb_...
    rb"|.*~|#.*#|~\$.*"  # an editor's backups and locks
    rb"|(?:eh)?thumbs(?:_vista)?\.db|desktop\.ini|icon\r"
    rb"|__macosx|\$recycle\.bin|recycler|system volume information"
    rb"|@eadir|@__thumb|@recycle|@recently-snapshot|@sharebin|@tmp|#recycle|#snapshot|~snapshot"
    rb"|lost\+found|found\.\d{3}|network trash folder|temporary items|picasa\.ini"
    rb"|__pycache__|cvs",
    re.IGNORECASE | re.DOTALL,
)

_FIRST = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|BM.{4}\0\0\0\0"
    rb"|II\*\0|MM\0\*"  # TIFF
    rb"|RIFF.{4}WEBP"
    rb"|P[1-6][\s#]"  # portable any map
    rb"|\0\0\0\x0c(?:jP  |JXL )|\xff\x0a"  # JPEG 2000, JPEG XL
    rb"|.{4}ftyp(?:avi[fs]|hei[cfs]|mif1|msf1)",  # AVIF, HEIF
    re.DOTALL,
)


class Verdict(Enum):
    """What a name says of a file."""

    IMAGE = "image"
    OTHER = "other"
    DROPPING = "dropping"
    UNTOLD = "untold"


_PACKED_IMAGE = re.compile(
    rb".*\.(?:" + _EXTENSIONS + rb")\.(?:gz|xz|zst|bz2|lz4|Z)", re.IGNORECASE | re.DOTALL
)


def is_packed_image(name: bytes) -> bool:
    """Whether a name is that of an image that was compressed by itself."""
    return _PACKED_IMAGE.fullmatch(name) is not None


def is_dropping(name: bytes) -> bool:
    """Whether a name (one part of a path) is one that desktops, editors and the like leave."""
    return _DROPPING.fullmatch(name) is not None


def is_within_dropping(path: bytes) -> bool:
    """Whether any part of a path is one that they leave: whatever lies in it is theirs too."""
    return any(map(is_dropping, path.split(b"/")))


def is_image_name(name: bytes) -> bool:
    """Whether a name has an image's extension."""
    return _IMAGE.fullmatch(name) is not None


def is_image(path: bytes) -> bool:
    """Whether the name says that it is an image, and no dropping."""
    return judge(path) is Verdict.IMAGE


def judge(path: bytes) -> Verdict:
    """What the name of a file says; ``path`` is relative to its container.

    Whatever lies within a dropping is one.
    """
    if _PLAIN_IMAGE.fullmatch(path):
        return Verdict.IMAGE
    if is_within_dropping(path):
        return Verdict.DROPPING
    if is_image_name(path):
        return Verdict.IMAGE
    return Verdict.OTHER if _OTHER.fullmatch(path) else Verdict.UNTOLD


def begins_as_image(first: bytes) -> bool:
    """Whether a file that begins with these bytes is an image."""
    return _FIRST.match(first) is not None


def has_images_alone(members: MemberTable) -> bool:
    """Whether all names of a table without directories are those of images.

    Names that share an image's extension, as ImageNet's do, cost a look at the first byte of each:
    there is no dropping that ends so and begins with a letter or a digit.
    """
    if not len(members):
        return True
    prefix, _, _, suffix = members.name_parts(0, 0)
    if _IMAGE.fullmatch(suffix):
        if prefix[:1].isalnum() or prefix[:1] == b"_":
            return True
        if not prefix:
            _, middles, ends, _ = members.name_parts(0, len(members))
            starts = np.concatenate(([0], ends[:-1]))
            if (ends > starts).all():
                first = middles[starts]
                letters = (first | 0x20) - ord("a") < 26
                if (letters | (first - ord("0") < 10)).all():
                    return True
    return all(judge(name) is Verdict.IMAGE for name in members.names())
