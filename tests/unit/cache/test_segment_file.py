"""The files of segments: made whole or not at all, and believed where they are sound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.directory import CacheDirectory, prepare
from imagenetfs.cache.segment import SegmentPath, Verified
from imagenetfs.cache.segment_file import length_of, make_segment, open_segment
from tests.helpers.block_cache import DATA, Bytes, fresh, read_all, volume


def test_another_segments_file_under_its_name(tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    first, second = volume(), volume(inode=99)
    for one, data in ((first, DATA), (second, DATA[::-1])):
        read_all(fresh(directory), one, Bytes()) if data is DATA else fresh(directory).read(
            one, ByteRange.sized(0, 1 << 17), ByteRange(0, 1 << 17), Bytes(data)
        )
    a, b = (directory / f"{one.key.hex()}.00000" for one in (first, second))
    a.rename(directory / "aside")
    b.rename(a)
    (directory / "aside").rename(b)
    origin = Bytes()
    read_all(fresh(directory), volume(), origin)
    assert origin.bytes > len(DATA) // 2, "nothing of the other file was believed"


def test_two_who_make_it_at_once_have_the_same(tmp_path: Path) -> None:
    prepare(tmp_path / "cache")
    cache = CacheDirectory(tmp_path / "cache")
    place = SegmentPath(cache.fd, "s", bytes(32), 3, 1000)
    made = [make_segment(place, {"n": n}, Verified()) for n in range(2)]
    assert made[0].about() == made[1].about() == {"n": 0}
    assert length_of(cache.fd, "s") == 1000
    for other in ({"number": 4}, {"name": "t"}, {"key": bytes(31) + b"x"}, {"length": 1001}):
        assert open_segment(replace(place, **other), Verified()) is None
    (tmp_path / "cache" / "s").write_bytes(b"damaged")
    assert length_of(cache.fd, "s") == 0
    made.append(make_segment(place, {"n": 7}, Verified()))
    assert made[2].about() == {"n": 7}
    assert not made[0].is_current()
    for segment in made:
        segment.close()
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == ["s"], "no temporary file"
