"""Prometheus metrics: the format, the names, and a file that is whole at any time."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.cli.status_metrics import metrics_text, write_metrics
from imagenetfs.errors import PlaceRefusedError
from imagenetfs.job.status import MountStatus

DETAILS: dict[str, Any] = {
    "started": 1234567890.25,
    "counters": {"images_read": 7, "bytes_served": 2**60 + 1, "requests": {"read": 9, "lookup": 2}},
    "now": {"busy": 0.25, "under_way": 1.5},
    "workers": [{}, {}],
    "worker_restarts": 1,
    "source_latency": {"below": [2**20 / 1e9, 2**21 / 1e9], "requests": [3, 4], "seconds": 0.0105},
    "cache": {"size": 100, "used": 50, "held": {"ILSVRC2012/train": 40}},
    "problems": ["x"],
    "limit": {"by": "source", "sentence": "..."},
    "progress": [{"what": "staging", "of": "ILSVRC2012/train", "done": 1, "total": 4}],
}

_NAME = re.compile(r"imagenetfs(?:_[a-z][a-z0-9]*)+")
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{(.*)\} (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
_VALUE = re.compile(r"[+-]?(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|Inf)|NaN")
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def parsed(text: str) -> dict[tuple[str, str], float]:
    """Every sample of a text in Prometheus' format, which is held to its letter."""
    assert text.endswith("\n") and "\n\n" not in text
    samples: dict[tuple[str, str], float] = {}
    kinds: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("#"):
            name = _head(line, next(lines), kinds)
            continue
        found = _SAMPLE.fullmatch(line)
        assert found is not None, line
        assert found[1] in [name + suffix for suffix in _SUFFIXES[kinds[name]]], "below its TYPE"
        labels = _LABEL.findall(found[2])
        assert ",".join(f'{label}="{value}"' for label, value in labels) == found[2], line
        assert len(labels) == len(dict(labels)), line
        assert _VALUE.fullmatch(found[3]), line
        key = found[1], found[2]
        assert key not in samples
        samples[key] = float(found[3])
    return samples


def _head(help_line: str, type_line: str, kinds: dict[str, str]) -> str:
    """The name of the metric of which these are the lines before its samples."""
    mark, word, name, sentence = help_line.split(" ", 3)
    assert (mark, word, sentence[-1]) == ("#", "HELP", ".")
    assert "\\" not in sentence
    assert name not in kinds, "all samples of a metric stand together"
    assert _NAME.fullmatch(name)
    *head, kinds[name] = type_line.split(" ")
    assert head == ["#", "TYPE", name]
    assert kinds[name] in _SUFFIXES
    return name


def test_what_a_mount_says() -> None:
    found = parsed(metrics_text([MountStatus("/m", "/s", "live", DETAILS)]))
    of = 'mountpoint="/m"'
    assert found["imagenetfs_up", of] == 1
    assert found["imagenetfs_images_read_total", of] == 7
    assert found["imagenetfs_requests_total", f'{of},kind="read"'] == 9
    assert found["imagenetfs_worker_busy_ratio", of] == 0.25
    assert found["imagenetfs_cache_limit_bytes", of] == 100
    assert found["imagenetfs_cache_held_bytes", f'{of},data="ILSVRC2012/train"'] == 40
    assert found["imagenetfs_limit_info", f'{of},by="source"'] == 1
    assert found["imagenetfs_start_time_seconds", of] == 1234567890.25
    staged = f'{of},what="staging",of="ILSVRC2012/train"'
    assert found["imagenetfs_background_done_ratio", staged] == 0.25
    text = metrics_text([MountStatus("/m", "/s", "live", DETAILS)])
    assert f"imagenetfs_served_bytes_total{{{of}}} {2**60 + 1}\n" in text, "no digit is lost"


def test_the_histogram_is_cumulative_and_has_always_the_same_buckets() -> None:
    texts = [
        metrics_text([MountStatus("/m", "/s", "live", {"source_latency": latency})])
        for latency in (DETAILS["source_latency"], {"below": [], "requests": [], "seconds": 0.0})
    ]
    full, empty = map(parsed, texts)
    assert full.keys() == empty.keys()
    name = "imagenetfs_source_request_duration_seconds"
    buckets = [value for (one, _), value in full.items() if one == f"{name}_bucket"]
    assert buckets == sorted(buckets)
    assert {*buckets} == {0, 3, 7}
    assert full[f"{name}_count", 'mountpoint="/m"'] == 7
    assert full[f"{name}_sum", 'mountpoint="/m"'] == 0.0105
    assert full[f"{name}_bucket", 'mountpoint="/m",le="+Inf"'] == 7


def test_names_follow_the_conventions() -> None:
    text = metrics_text([MountStatus("/m", "/s", "live", DETAILS)])
    for name, kind in re.findall("^# TYPE (\\S+) (\\S+)$", text, re.M):
        assert name.endswith("_total") == (kind == "counter"), name
        assert not name.endswith(("_count", "_sum", "_bucket")), "these are a histogram's own"
        assert not re.search("_(ms|us|ns|milliseconds|kb|mb|kib|mib|percent)(_|$)", name), name
        quantity = name.removesuffix("_total")
        for word, unit in (("duration", "seconds"), ("time", "seconds")):
            assert f"_{word}_" not in name or quantity.endswith(f"_{unit}"), name


def test_mounts_stand_side_by_side() -> None:
    mounts = [MountStatus("/a", "/s", "live", DETAILS), MountStatus('/b"\\\n', "/s", "stale")]
    found = parsed(metrics_text(mounts))
    assert found["imagenetfs_up", 'mountpoint="/a"'] == 1
    assert found["imagenetfs_up", 'mountpoint="/b\\"\\\\\\n"'] == 0


def test_no_mount_is_no_metric(tmp_path: Path) -> None:
    write_metrics(tmp_path / "x.prom", [])
    assert (tmp_path / "x.prom").read_text() == ""


def test_the_file_is_replaced_and_may_be_read_by_all(tmp_path: Path) -> None:
    path = tmp_path / "x.prom"
    path.write_text("before")
    with path.open() as reader:
        write_metrics(path, [MountStatus("/m", "/s", "live", DETAILS)])
        assert reader.read() == "before", "who has the old one open reads it to its end"
    assert path.read_text().startswith("# HELP imagenetfs_up ")
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["x.prom"]


def test_it_has_its_name_only_once_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector takes what ends in .prom at any moment."""
    seen: list[tuple[str, bool]] = []
    mounts = [MountStatus("/m", "/s", "live", DETAILS)]

    def replace(self: Path, target: Path) -> None:
        assert self.read_text() == metrics_text(mounts)
        seen.append((self.name, target.exists()))
        os.replace(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    write_metrics(tmp_path / "x.prom", mounts)
    write_metrics(tmp_path / "x.prom", mounts)
    (first, was_there), (second, is_there) = seen
    assert (was_there, is_there) == (False, True)
    assert first != second
    assert not first.endswith(".prom") and not second.endswith(".prom")
    assert os.listdir(tmp_path) == ["x.prom"]


def test_what_cannot_be_said_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "x.prom").write_text("before")
    odd = {"source_latency": {"of": "a server of another version"}}
    with pytest.raises(KeyError):
        write_metrics(tmp_path / "x.prom", [MountStatus("/m", "/s", "live", odd)])
    assert (tmp_path / "x.prom").read_text() == "before"
    assert os.listdir(tmp_path) == ["x.prom"]


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(PlaceRefusedError, match="Name a file in a directory that is there"):
        write_metrics(tmp_path / "gone" / "x.prom", [])
    (tmp_path / "x.prom").mkdir()
    with pytest.raises(PlaceRefusedError, match="Is a directory"):
        write_metrics(tmp_path / "x.prom", [])
    assert os.listdir(tmp_path) == ["x.prom"]
