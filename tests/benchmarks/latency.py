"""Indexing over a network: a source whose every request takes 1 ms or 5 ms, and how many are sent.

The source is sparse tars behind a program that waits (slow.c, compiled for the run): only
headers are read here, and a header is one request, the first time. What the kernel keeps is
forgotten before each step.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
from functools import partial
from operator import itemgetter
from pathlib import Path

from . import children
from .errors import BenchmarkError
from .indexing import index_size
from .results import Part
from .runner import ANSWER_SECONDS, Run, client, take_turns
from .slow import SlowSource, slow_program, slow_source
from .systems import OURS, System, imagenetfs, mounted, ratarmount

MILLISECONDS = (1, 5)
OURS_64 = f"{OURS} --in-flight 64"
PEER_SECONDS = 600.0
"""A peer's index may take so long to make; then it drops out."""

_MORE = 10
"""By how much the larger train is larger, in which the start of a command
does not count for much.
"""

_TIMES = 5
"""So often imagenetfs indexes it, in seconds; a peer is at it for minutes. Once in a single
round, which is a trial.
"""

_MOST_VAL = 50_000
_IMAGE_BYTES = 110_000
_BLOCK = 512


def measure(run: Run) -> Part:
    """imagenetfs with 16 and with 64 requests in flight, and ratarmount, one after the other."""
    val = min(_MOST_VAL, 2 * run.size.files)
    more = _MORE * run.size.classes
    part = run.part(
        classes=run.size.classes,
        images=run.size.images,
        val=val,
        peer_seconds=PEER_SECONDS,
    )
    program = slow_program(run)
    source = _source(run, run.size.classes, val)
    for milliseconds in run.milliseconds:
        with slow_source(run, program, source, milliseconds / 1000) as slow:
            one = partial(_measure, run, slow, milliseconds)
            title = f"{milliseconds} ms"
            take_turns(run, part, title, _systems(run, slow), one, range(run.rounds))
    with slow_source(run, program, _source(run, more, 0), run.milliseconds[0] / 1000) as slow:
        one = partial(_measure_more, run, slow)
        take_turns(run, part, f"{more} classes", _systems(run, slow), one, range(run.rounds))
    return part


def _systems(run: Run, slow: SlowSource) -> list[System]:
    systems = [imagenetfs(slow.path, None, None), _with_64(slow.path)]
    if run.peers.ratarmount:
        tar = slow.path / "ILSVRC2012" / "ILSVRC2012_img_train.tar"
        systems.append(ratarmount(run.peers.ratarmount, tar, None, None))
    return systems


def _with_64(source: Path) -> System:
    ours = imagenetfs(source, None, None)
    return System(OURS_64, (*ours.command, "--in-flight", "64"), ours.train, None)


# --- the source -----------------------------------------------------------------------------------


def _source(run: Run, classes: int, val: int) -> Path:
    """Sparse tars of the wanted number of members: headers, and holes for the images."""
    source = run.workspace.path(f"sparse-{classes}x{run.size.images}")
    directory = source / "ILSVRC2012"
    if not directory.exists():
        run.workspace.check_room(4096 * (classes * run.size.images + val) + (1 << 26))
        directory.mkdir(parents=True)
        with (directory / "ILSVRC2012_img_train.tar").open("wb") as file:
            for number in range(classes):
                _write_class(file.fileno(), f"n{1440764 + number:08d}", run.size.images)
            _end(file.fileno())
        with (directory / "ILSVRC2012_img_val.tar").open("wb") as file:
            for number in range(val):
                _write(file.fileno(), f"ILSVRC2012_val_{number + 1:08d}.JPEG", _IMAGE_BYTES)
            _end(file.fileno())
    return source


def _write_class(fd: int, wnid: str, images: int) -> None:
    start = os.lseek(fd, 0, os.SEEK_CUR)
    os.lseek(fd, _BLOCK, os.SEEK_CUR)
    for number in range(images):
        _write(fd, f"{wnid}_{number}.JPEG", _IMAGE_BYTES)
    end = os.lseek(fd, 2 * _BLOCK, os.SEEK_CUR)
    os.pwrite(fd, _header(f"{wnid}.tar", end - start - _BLOCK), start)


def _write(fd: int, name: str, size: int) -> None:
    os.write(fd, _header(name, size))
    os.lseek(fd, size + -size % _BLOCK, os.SEEK_CUR)


def _end(fd: int) -> None:
    os.ftruncate(fd, os.lseek(fd, 2 * _BLOCK, os.SEEK_CUR))


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


# --- measuring ------------------------------------------------------------------------------------


def _measure_more(run: Run, slow: SlowSource, system: System) -> dict[str, float]:
    """All of the larger train indexed; the median where that was done several times."""
    if system.name in (OURS, OURS_64):
        count = _TIMES if run.rounds > 1 else 1
        times = sorted((_index(run, slow, system) for _ in range(count)), key=itemgetter("index"))
        values = times[count // 2]
    else:
        slow.forget()
        before = slow.requests
        with mounted(system, run.workspace, PEER_SECONDS) as mount:
            values = {"index": mount.seconds, "index requests": float(slow.requests - before)}
    return {f"more {name}": value for name, value in values.items()}


def _measure(run: Run, slow: SlowSource, milliseconds: int, system: System) -> dict[str, float]:
    if system.name not in (OURS, OURS_64):
        values = _peer(run, slow, system)
    else:
        values = _first_touch(run, slow, system) | _folder(run, slow, system)
        values |= _index(run, slow, system)
    return {f"{milliseconds} ms {name}": value for name, value in values.items()}


def _first_touch(run: Run, slow: SlowSource, system: System) -> dict[str, float]:
    """On a mount without an index: the first class of train, and all of val."""
    slow.forget()
    before = slow.requests
    with mounted(system, run.workspace) as mount, client(run.workspace) as asked:
        values = {"mount": mount.seconds}
        one = str(mount.train / "n01440764")
        values["class"] = asked.ask("list", one, timeout=ANSWER_SECONDS)["seconds"]
        values["class requests"] = float(slow.requests - before)
    slow.forget()
    with mounted(system, run.workspace) as mount, client(run.workspace) as asked:
        root = Path(str(mount.train)).parents[1]
        val = str(root / "archives" / "ILSVRC2012" / "ILSVRC2012_img_val.tar")
        before = slow.requests
        answer = asked.ask("list", val, timeout=ANSWER_SECONDS)
        values |= {"val": answer["seconds"], "val requests": float(slow.requests - before)}
    return values


def _folder(run: Run, slow: SlowSource, system: System) -> dict[str, float]:
    """ImageFolder on train, on a mount without an index."""
    slow.forget()
    with mounted(system, run.workspace) as mount, client(run.workspace) as asked:
        before = slow.requests
        answer = asked.ask("image_folder", str(mount.train), timeout=ANSWER_SECONDS)
        requests = float(slow.requests - before)
    if answer["samples"] != run.size.files:
        raise BenchmarkError(f"{answer['samples']:,} samples of {run.size.files:,} were found.")
    return {"folder": answer["seconds"], "folder requests": requests}


def _index(run: Run, slow: SlowSource, system: System) -> dict[str, float]:
    """`imagenetfs index` of train, from nothing: what ratarmount does when it mounts that tar."""
    index = run.workspace.path("slow-index")
    shutil.rmtree(index, ignore_errors=True)
    command: list[str | Path] = [sys.executable, "-m", "imagenetfs", "index", "--source", slow.path]
    command += ["ILSVRC2012/train", "--index-dir", index]
    command += ["--in-flight", "64"] if system.name == OURS_64 else []
    log = run.workspace.path("logs", "index")
    slow.forget()
    before = slow.requests
    seconds = children.run(command, run.workspace.environ, log, ANSWER_SECONDS)
    if not index_size(index):
        raise BenchmarkError(f"no index was made: {children.last_line(log)}")
    return {"index": seconds, "index requests": float(slow.requests - before)}


def _peer(run: Run, slow: SlowSource, system: System) -> dict[str, float]:
    """A peer indexes all when it mounts, and answers then."""
    slow.forget()
    before = slow.requests
    with mounted(system, run.workspace, PEER_SECONDS) as mount, client(run.workspace) as asked:
        values = {"index": mount.seconds, "mount": mount.seconds}
        values["index requests"] = float(slow.requests - before)
        first = asked.ask("list", str(mount.train), timeout=ANSWER_SECONDS)["first"][0]
        answer = asked.ask("list", str(mount.train / first), timeout=ANSWER_SECONDS)
        # Before the first class can be listed all is indexed.
        values["class"] = mount.seconds + answer["seconds"]
        answer = asked.ask("image_folder", str(mount.train), timeout=ANSWER_SECONDS)
        values["folder"] = mount.seconds + answer["seconds"]
    return values
