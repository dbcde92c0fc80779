"""The doctor in each broken situation: the right line, in the right colour, with what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagenetfs import config
from imagenetfs.job import preflight
from imagenetfs.job.doctor import counting
from imagenetfs.job.doctor import source as source_lines
from imagenetfs.job.doctor.findings import Finding, Grade
from tests.helpers.bench import Bench
from tests.helpers.forkserver import Identity
from tests.helpers.passthrough import slow_source
from tests.helpers.user_bench import Make
from tests.helpers.users import HIDDEN, MANY

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Bench]:
    """A bench that does not see other tests' mounts, which may be dead: the doctor looks at all."""
    bench = Bench(tmp_path)
    if os.geteuid() != 0:
        yield bench
        return
    alone = "umount --all --lazy --types fuse.imagenetfs; echo ready; exec sleep infinity"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", alone]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == "ready\n"
            bench.before = ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt"]
            bench.identity = Identity(join=holder.pid)
            yield bench
        finally:
            holder.kill()
    bench.clean_up()


def _seen(at: Bench, path: Path) -> Path:
    """A path as the bench's commands see it."""
    namespace = [word.split("=")[1] for word in at.front if word.startswith("--mount=")]
    return Path(namespace[0].replace("ns/mnt", "root") + str(path)) if namespace else path


def _lines(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The worst line about each thing."""
    found: dict[str, dict[str, Any]] = {}
    order = ["green", "yellow", "red"]
    for line in json.loads(done.stdout)["lines"]:
        before = found.get(line["about"])
        if before is None or order.index(line["grade"]) > order.index(before["grade"]):
            found[line["about"]] = line
    return found


def _settings(source: Path, **more: object) -> config.Settings:
    return config.resolve({"source": str(source), **more})


def _about(lines: Iterator[Finding], about: str) -> Finding:
    return max((line for line in lines if line.about == about), key=lambda line: line.grade)


# --- all is well ----------------------------------------------------------------------------------


def test_a_sound_node(at: Bench, sample: Path) -> None:
    done = at.call("doctor", sample, "--json")
    lines = _lines(done)
    assert done.returncode in (0, 40), done.stdout
    assert json.loads(done.stdout)["worst"] in ("green", "yellow")
    assert {*lines} >= {
        *("FUSE", "namespaces", "kernel", "open files", "groups", "mounts", "job", "index"),
        *("temporary files", "run directory", "log", "source", "contents", "speed", "limit"),
        "read cache",
    }
    assert lines["contents"]["versions"]["ILSVRC2012"] == ["train", "val", "test"]
    assert lines["speed"]["latency"] > 0
    assert lines["speed"]["bytes_per_second"] > 0
    assert not list(at.directory.rglob(".imagenetfs-doctor-*"))


def test_for_people(at: Bench, sample: Path) -> None:
    done = at.call("doctor", sample)
    assert done.stdout.startswith("This node\ngreen  FUSE: /dev/fuse may be opened")
    assert "green  limit: at first reading about " in done.stdout


# --- FUSE, kernel, job ----------------------------------------------------------------------------


@ROOT
def test_no_fuse(at: Bench, sample: Path) -> None:
    script = 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$@"'
    command = [sys.executable, "-m", "imagenetfs", "doctor", str(sample), "--json"]
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", *command],
        env=at.environ(),
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 41
    line = _lines(done)["FUSE"]
    assert line["grade"] == "red"
    assert "There is no /dev/fuse here" in line["what"]


def test_a_dead_mount(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint).returncode == 0
    status = json.loads((_seen(at, mountpoint) / ".imagenetfs" / "status.json").read_text())
    os.kill(status["pid"], 9)
    nothing = at.directory / "nothing"  # no source whose speed would be measured
    line = _lines(at.call("doctor", nothing, "--json"))["mounts"]
    assert line["grade"] == "red"
    assert f"the mount at {mountpoint} is dead" in line["what"]
    assert "imagenetfs doctor --heal" in line["advice"]
    done = at.call("doctor", nothing, "--json", "--heal")
    assert _lines(done)["mounts"]["grade"] == "green"
    assert f"took away a dead mount at {mountpoint}" in done.stderr
    assert list(_seen(at, mountpoint).iterdir()) == []
    assert at.leftovers() == []


# --- places ---------------------------------------------------------------------------------------


# --- the source -----------------------------------------------------------------------------------


def test_sources_that_are_none(at: Bench, sample: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "other" / "x").mkdir(parents=True)
    for name, about, words in (
        ("nowhere", "source", "its file system is not mounted on this node"),
        ("empty", "source", "is empty: its file system is not mounted"),
        ("file", "source", "is a file"),
        ("other", "contents", "holds no version of ImageNet"),
    ):
        line = _about(source_lines.source(_settings(tmp_path / name)), about)
        assert line.grade is Grade.RED, name
        assert words in line.what
    assert at.call("doctor", tmp_path / "nowhere").returncode == 41


def test_a_slow_source(sample_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "COUNT_SECONDS", 0.0)
    with slow_source(sample_copy, latency=0.03) as slow:
        lines = list(source_lines.source(_settings(slow.path)))
    speed = _about(iter(lines), "speed")
    assert speed.grade is Grade.YELLOW
    assert speed.facts["latency"] >= 0.03
    limit = _about(iter(lines), "limit")
    assert "limited by the source" in limit.what


def test_a_source_that_hangs(sample_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "SOURCE_SECONDS", 0.5)
    monkeypatch.setattr(source_lines, "_CATALOGUE_SECONDS", 1.0)
    with slow_source(sample_copy) as slow:
        slow.fault("hang", "opendir", paths="")
        line = _about(source_lines.source(_settings(slow.path)), "source")
        assert line.grade is Grade.RED
        assert "does not answer" in line.what
        slow.clear()
        slow.fault("hang", "read")
        line = _about(source_lines.source(_settings(slow.path)), "contents")
        assert line.grade is Grade.RED
        assert "could not be looked through" in line.what


@ROOT
def test_sources_that_refuse(sample: Path, base: Path, make: Make) -> None:
    tree = base / "imagenet"
    shutil.copytree(sample / "tiny-imagenet-200", tree / "tiny-imagenet-200")
    os.chown(tree, 0, MANY[HIDDEN])
    tree.chmod(0o750)
    with slow_source(tree, below=base) as slow:
        lines = _lines(make("max").call("doctor", slow.path, "--json"))
        assert lines["groups"]["grade"] == "yellow"
        assert lines["source"]["grade"] == "yellow"
        assert f"open to the group {HIDDEN}" in lines["source"]["what"]
        done = make("max", member_of=["fsgroup01"]).call("doctor", slow.path, "--json")
        assert done.returncode == 41
        line = _lines(done)["source"]
        assert "of which you are no member" in line["what"]
        assert "Ask its owner or your site for access" in line["what"]
