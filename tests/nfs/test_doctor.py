"""The doctor in each broken situation: the right line, in the right colour, with what to do."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagenetfs import config
from imagenetfs.job import preflight
from imagenetfs.job.doctor import directories, node
from imagenetfs.job.doctor import source as source_lines
from imagenetfs.job.doctor.findings import Finding, Grade
from imagenetfs.system import child_call, mounts
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
    }
    assert lines["contents"]["versions"]["ILSVRC2012"] == ["train", "val", "test"]
    assert lines["speed"]["latency"] > 0
    assert lines["speed"]["bytes_per_second"] > 0
    assert not list(at.directory.rglob(".imagenetfs-doctor-*"))


def test_for_people(at: Bench, sample: Path) -> None:
    done = at.call("doctor", sample)
    assert done.stdout.startswith("green  FUSE: /dev/fuse may be opened")
    assert "green  limit: images a second" in done.stdout


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


def test_no_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "has_namespaces", lambda: False)
    line = _about(node.fuse(), "namespaces")
    assert line.grade is Grade.YELLOW
    assert "may outlive a job" in line.advice


@ROOT
def test_namespaces_are_tried() -> None:
    assert node.has_namespaces()
    script = (
        "import os; os.setgroups([]); os.setgid(9); os.setuid(9)\n"
        "from imagenetfs.job.doctor.node import has_namespaces; print(has_namespaces())"
    )
    limit = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    done = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", limit, "sh", sys.executable, "-c", script.splitlines()[1]],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "False\n", done.stderr


def test_kernel_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bgreq").write_text("12\n")
    monkeypatch.setattr(node, "BACKGROUND_REQUESTS", tmp_path / "bgreq")
    line = _about(node.kernel(), "kernel")
    assert (line.grade, line.facts["background"]) == (Grade.YELLOW, 12)
    (tmp_path / "bgreq").write_text("9000\n")  # the server asks for no more than 256
    assert _about(node.kernel(), "kernel").what.endswith("reads under way: up to 256")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 64))
    line = _about(node.kernel(), "open files")
    assert line.grade is Grade.RED
    assert "ulimit -n" in line.advice


def test_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("1000000000\n")
    monkeypatch.setattr(node, "CGROUP_LIMITS", (tmp_path / "none", tmp_path / "max"))
    line = _about(node.job({"SLURM_JOB_ID": "7", "SLURM_TMPDIR": str(tmp_path)}), "job")
    assert line.grade is Grade.YELLOW
    assert "job 7" in line.what
    assert _about(node.job({"SLURM_JOB_ID": "7"}), "local disk").grade is Grade.YELLOW
    gone = {"SLURM_JOB_ID": "7", "SLURM_TMPDIR": str(tmp_path / "none")}
    assert _about(node.job(gone), "local disk").grade is Grade.RED


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


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = directories.look_at("index", tmp_path / "file" / "index")
    assert line.grade is Grade.RED
    assert "--index-dir" in line.advice


@ROOT
def test_places_that_are_full_or_read_only(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=True)
    try:
        line = directories.look_at("index", small / "not" / "made" / "yet")
        assert line.grade is Grade.YELLOW
        assert "nearly full" in line.what
        (small / "fill").write_bytes(bytes((1 << 20) - 4096))
        assert directories.look_at("run directory", small).grade is not Grade.GREEN
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        line = directories.look_at("run directory", small)
        assert line.grade is Grade.RED
        assert "Read-only file system" in line.what
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_place_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(question: object, seconds: float) -> object:
        raise child_call.NoAnswerError

    monkeypatch.setattr(child_call, "call_in_child", silent)
    assert directories.look_at("log", tmp_path).grade is Grade.RED


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


def test_a_part_that_is_missing(sample_copy: Path) -> None:
    shutil.rmtree(sample_copy / "ILSVRC2012" / "ILSVRC2012_devkit_t12")
    line = _about(source_lines.source(_settings(sample_copy)), "contents")
    assert line.grade is Grade.YELLOW
    assert "support@tech.alliancecan.ca (subject: ImageNet dataset)" in line.advice


def test_what_is_not_shown_is_red(sample_copy: Path) -> None:
    """Where an extracted directory takes the place of a cut archive it is yellow, else red."""
    train = sample_copy / "ILSVRC2012" / "ILSVRC2012_img_train.tar"
    os.truncate(train, train.stat().st_size // 2)
    lines = [line for line in source_lines.source(_settings(sample_copy)) if line.what]
    assert [line.grade for line in lines if "is broken" in line.what] == [Grade.YELLOW]
    shutil.rmtree(sample_copy / "ILSVRC2012" / "train")
    lines = [line for line in source_lines.source(_settings(sample_copy)) if line.what]
    [cut] = [line for line in lines if "is broken" in line.what]
    assert cut.grade is Grade.RED
    assert " classes), and the rest is missing" in cut.what
    assert _about(iter(lines), "speed").grade is not Grade.RED  # it is measured all the same


def test_class_tars_are_left_to_verify(sample: Path) -> None:
    line = _about(source_lines.source(_settings(sample)), "contents")
    assert line.grade is Grade.GREEN
    assert line.what.endswith("Of 15 class tars only the names: `imagenetfs verify` reads them")


def test_a_slow_source(sample_copy: Path) -> None:
    with slow_source(sample_copy, latency=0.03) as slow:
        lines = list(source_lines.source(_settings(slow.path)))
    speed = _about(iter(lines), "speed")
    assert speed.grade is Grade.YELLOW
    assert speed.facts["latency"] >= 0.03
    limit = _about(iter(lines), "limit")
    assert "limited by the source" in limit.what


def test_what_limits() -> None:
    assert "about 16,000, limited by 2 CPUs" in source_lines.limit(1e6, 2).what
    assert "about 500, limited by the source" in source_lines.limit(500, 2).what


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


def test_archives_that_cannot_be_read(sample_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: Path) -> tuple[float, float, float]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(source_lines, "measure", fail)
    line = _about(source_lines.source(_settings(sample_copy)), "speed")
    assert line.grade is Grade.RED
    assert "Input/output" in line.what


def _table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str) -> None:
    line = f"99 1 0:99 / {tmp_path} rw - nfs server:/datashare rw,{options}\n"
    (tmp_path / "mountinfo").write_text(f"1 0 0:1 / / rw - ext4 /dev/x rw\n{line}")
    monkeypatch.setattr(mounts, "MOUNT_TABLE", tmp_path / "mountinfo")


@pytest.mark.parametrize(
    ("options", "grade", "words"),
    [
        ("vers=3,rsize=1048576,hard", Grade.GREEN, "NFS version 3, hard, rsize 1,048,576"),
        ("vers=3,rsize=1048576,soft", Grade.GREEN, "soft"),
        ("vers=4.2,rsize=32768,hard", Grade.YELLOW, "rsize 32,768"),
    ],
)
def test_how_it_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, grade: Grade, words: str
) -> None:
    (tmp_path / "x").mkdir()
    _table(tmp_path, monkeypatch, options)
    line = next(source_lines.source(_settings(tmp_path)))
    assert (line.grade, line.about) == (grade, "source")
    assert "server:/datashare" in line.what
    assert words in line.what


def test_a_source_that_may_hang_wants_fusectl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").mkdir()
    _table(tmp_path, monkeypatch, "vers=3,rsize=1048576,hard")
    line = _about(source_lines.source(_settings(tmp_path)), "connections")
    assert line.grade is Grade.YELLOW
    assert "mount -t fusectl none /sys/fs/fuse/connections" in line.advice
    with (tmp_path / "mountinfo").open("a") as table:
        table.write("2 1 0:2 / /sys/fs/fuse/connections rw - fusectl none rw\n")
    assert "connections" not in [f.about for f in source_lines.source(_settings(tmp_path))]


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
        assert "services/opt_in" in line["what"]
