"""docs/benchmarks.md, written anew from all results that are kept, whatever part was run last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from . import plot, report
from .report import PARTS
from .results import Part

_INTRODUCTION = """\
# Benchmarks

*Written by `make bench` (`python -m tests.benchmarks`) from `tests/benchmarks/results.json`: edit
neither by hand. A part that is run alone replaces its own figures and leaves the others.*

## Method

- The images are made for the run: random bytes, 60 to 140 KB each, in a tar of class tars as
  ILSVRC2012_img_train.tar is one; the same images as an uncompressed squashfs image, and as
  extracted files, which no file system in user space can be faster than: the limit.
- Every archive and image is held in the page cache by a mapping during its turn (the extracted
  files are read once before theirs): what is measured is the file systems and not the disk.
  ratarmount keeps its index in memory, squashfuse_ll's image was converted beforehand, and
  imagenetfs starts without an index.
- Before the listings, and before the first pass of reading, a process takes as much memory as is
  going to be filled, and ends: a virtual machine's host may have taken free memory away, and giving
  it back costs the first who touches it more than copying does, by an order of magnitude in the
  worst run seen.
- The systems take turns (A B C D, A B C D, ...), each on a fresh mount, so that they meet the same
  machine. A figure is the median over the rounds. A ratio is taken within each round; its median is
  shown, with the least and the greatest in parentheses. Above 1, imagenetfs is the better one.
- Reading processes list the tree, then each reads its share of one shuffled order whole, by reads
  of 256 KiB. The second pass follows on the same mount. All must read the same bytes, or the run
  fails.
- CPU of the server is user and system time of all its processes, from /proc/PID/stat; what the
  kernel does in a reader's name is not in it.
"""

_SECTIONS = {
    "reads": (
        "Shuffled reads",
        "{classes} classes of {images:,} images. Reading processes: 1, 4 and 8. The FUSE server "
        "in C (tests/benchmarks/bound.c) does only what none can leave out: it takes a request, "
        "and splices the reply's header and the image's pages to the kernel. It checks, counts "
        "and looks up nothing. So it is about the limit of any FUSE server on this machine, and "
        "what it reaches by ratarmount's figure the greatest ratio that is possible.",
    ),
    "listing": (
        "Mounting and listing",
        "{classes} classes of {images:,} images, on a fresh mount: first the listings, then "
        "os.walk over all with os.stat of each file, twice. imagenetfs indexes a class when it "
        "is first touched, so its first listing of a class, and its first walk, include that; "
        "ratarmount indexes all before it answers.",
    ),
    "index": (
        "Making an index",
        "{classes} classes of {images:,} images; start of the interpreter included. Bytes a "
        "member are those of the index file.",
    ),
    "zips": (
        "The directory of a zip",
        "A central directory of {members:,} members, as Kaggle's zip of ILSVRC2012 has, in memory: "
        "names, sizes, sums, times and places of all of them. Both do so in one process.",
    ),
    "latency": (
        "Over a network",
        "A source whose every request takes 1 ms or 5 ms (tests/benchmarks/slow.c; pages are "
        "kept as an NFS client keeps them, and forgotten before each step): train with {classes} "
        "classes of {images:,} images and val with {val:,}, sparse. Everything without an index, "
        "start of the interpreter included where a command or a mount is timed; ratarmount has "
        "all of train indexed when it answers, so its figures of the first class and of "
        "ImageFolder include that (it is stopped after {peer_seconds:.0f} s). At last, at 1 ms, "
        "a train of ten times as many classes: `imagenetfs index` (the median, where it was run "
        "several times), and ratarmount's first mount (minutes: once).",
    ),
    "epochs": (
        "Training from a slow source",
        "{classes} classes of {images:,} images behind 1 ms a request and 1 GB/s for all, by "
        "{processes} reading processes that let go of each file's pages; nothing is kept when it "
        "starts. The first batch has {batch} images; the time until it includes mounting (or "
        "copying and unpacking) and listing. Bytes and reads that came before all was listed are "
        "those of the index, and what was staged by then: a tar of few class tars is indexed by "
        "several walks within each, and each walk first reads 128 KiB in which to find a header. "
        "A cache of 25 % holds a quarter of the images.",
    ),
    "staging": (
        "Staging beside readers",
        "{classes} classes of {images:,} images behind 1 ms or 5 ms a request and 100 MB/s for "
        "all, which {processes} reading processes use up; nothing is kept when it starts. Each "
        "second is counted by itself, until one of the processes has read its share; what 99 of "
        "100 images took is counted over all of that time. `imagenetfs stage` reads the same tar "
        "as `cat` does, which makes one request at a time; the start of its interpreter is "
        "included.",
    ),
    "full": (
        "ImageNet's full size",
        "{samples:,} images in 1,000 class tars within a sparse ILSVRC2012_img_train.tar of 148 "
        "GB, made by `imagenetfs sample --full-size`; its headers are in the page cache. A scan "
        "builds all samples with {by}. Memory is the PSS of all processes of the server; kernel "
        "slab is the growth of the whole machine's from before the mount until after the first "
        "scan, most of it inodes and names, which the kernel takes back when it needs memory. "
        "ratarmount's index is made once (it is stopped after {peer_seconds:.0f} s) and then "
        "used from its file.",
    ),
    "winter": (
        "The largest version",
        "{samples:,} images in {classes:,} class tars of winter21_whole, sparse, made by "
        "`imagenetfs sample --full-size winter21_whole`; the scan and what is weighed are those of "
        "ImageNet's full size above.",
    ),
}


def write(path: Path, parts: dict[str, Part]) -> None:
    """Write the document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing = path.with_name(f"{path.stem}-epochs.svg")
    if "epochs" in parts:
        drawing.write_text(plot.epochs(parts["epochs"]))
    path.write_text("\n".join(_lines(parts, drawing.name)).rstrip() + "\n")


def _lines(parts: dict[str, Part], drawing: str) -> Iterator[str]:
    yield _INTRODUCTION
    yield from _machines(parts)
    yield "## Targets\n"
    yield "Reads with 4 processes; all set on a machine with 2 CPUs.\n"
    yield from _markdown(report.targets(parts))
    yield from _markdown(report.limits(parts))
    yield from _losses(parts)
    for name in PARTS:
        if name in parts:
            yield from _section(name, parts[name], drawing)


def _machines(parts: dict[str, Part]) -> Iterator[str]:
    """Each part's machine, those of parts that agree together."""
    yield "## Machine\n"
    groups: dict[str, list[str]] = {}
    for name in (name for name in PARTS if name in parts):
        part = parts[name]
        facts = ", ".join(f"{what} {value}" for what, value in part.machine.items())
        groups.setdefault(f"{part.when}: {facts}.", []).append(name)
    for facts, names in groups.items():
        yield f"- {', '.join(names)}: {facts}"
    yield ""


def _losses(parts: dict[str, Part]) -> Iterator[str]:
    yield "## Where imagenetfs is behind\n"
    yield "In every round, by the median:\n"
    for sentence in report.losses(parts) or ["nowhere."]:
        yield f"- {sentence}"
    yield ""


def _section(name: str, part: Part, drawing: str) -> Iterator[str]:
    title, text = _SECTIONS[name]
    yield f"## {title}\n"
    yield text.format(**part.settings)
    rounds = f"{len(part.rounds)} rounds" if len(part.rounds) != 1 else "one round"
    yield f"Measured on {part.when} in {rounds}; {part.disturbance}.\n"
    if name == "epochs":
        yield f"![{plot.TITLE}]({drawing})\n"
    for table in report.tables(name, part):
        yield f"**{table.title}**\n"
        yield from _markdown(table)
    for system, why in part.absent.items():
        yield f"{system} is absent: {why}\n"


def _markdown(table: report.Table) -> Iterator[str]:
    yield _row(table.columns)
    yield _row(("---", *("---:",) * (len(table.columns) - 1)))
    for row in table.rows:
        yield _row(row)
    yield ""


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"
