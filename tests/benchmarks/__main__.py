"""`python -m tests.benchmarks [PART ...]`: measure, show, and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from . import (
    document,
    epochs,
    full,
    indexing,
    latency,
    listing,
    machine,
    reads,
    results,
    staging,
    terminal,
    zips,
)
from .children import CHECKOUT, check_interrupted, stop_like_interrupt
from .data import Size, prepare
from .errors import BenchmarkError
from .peers import find_peers
from .results import Part
from .runner import Run
from .workspace import workspace

MEASURES: dict[str, Callable[[Run], Part]] = {
    "listing": listing.measure,
    "index": indexing.measure,
    "zips": zips.measure,
    "reads": reads.measure,
    "latency": latency.measure,
    "epochs": epochs.measure,
    "staging": staging.measure,
    "full": full.measure,
    "winter": full.measure_winter,
}
_OF_IMAGES = ("listing", "index", "reads", "epochs", "staging")
_USUAL = (*_OF_IMAGES, "zips", "latency")
_RESULTS = Path(__file__).with_name("results.json")
_DOCUMENT = CHECKOUT / "docs" / "benchmarks.md"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"of {', '.join(MEASURES)}; by default all but full and winter",
    )
    parser.add_argument("--full", action="store_true", help="the full-size tree too (5 GB)")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--images", type=int, default=1300, help="in each class, of about 100 KB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--winter-classes", type=int, default=19_167, help="of winter21_whole (54 GB with all)"
    )
    parser.add_argument(
        "--milliseconds",
        type=int,
        nargs="+",
        default=latency.MILLISECONDS,
        help="what a request of the slow sources takes",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=0,
        metavar="SECONDS",
        help="wait so long at most, before each measurement, for the machine to be idle",
    )
    parser.add_argument("--date", default=datetime.date.today().isoformat())
    parser.add_argument("--work", type=Path, help="work here, and keep the data for the next run")
    parser.add_argument("--no-install", action="store_true", help="only peers that are there")
    parser.add_argument("--results", type=Path, default=_RESULTS, help=argparse.SUPPRESS)
    parser.add_argument("--document", type=Path, default=_DOCUMENT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.parts = options.parts or ([] if options.full else list(_USUAL))
    options.parts += ["full"] if options.full and "full" not in options.parts else []
    if unknown := set(options.parts) - set(MEASURES):
        parser.error(f"no such part: {', '.join(unknown)}")
    if min(options.classes, options.images, options.rounds) < 1:
        parser.error("classes, images and rounds are numbers from 1")
    return options


def measure(options: argparse.Namespace, console: Console) -> dict[str, Part]:
    """Run the parts; what each brings is kept at once. Returns all results there are."""
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {text}", markup=False, highlight=False)

    peers = find_peers(install=not options.no_install)
    for name, why in peers.absent.items():
        say(f"{name} is left out: {why}.")
    parts = results.load(options.results)
    size = Size(options.classes, options.images)
    with workspace(options.work) as space:
        data = None
        if any(part in _OF_IMAGES for part in options.parts):
            say(f"Making {size.files:,} images ({size.bytes / 1e9:.1f} GB) in three forms ...")
            data = prepare(space, size, peers.mksquashfs)
            if machine.available_memory() < 5 * size.bytes:
                say("Memory may not hold it all: some reads will come from the disk.")
        run = Run(
            space,
            peers,
            size,
            data,
            options.rounds,
            tuple(options.milliseconds),
            options.patience,
            options.date,
            say,
            options.winter_classes,
        )
        for name in options.parts:
            parts[name] = MEASURES[name](run)
            check_interrupted()
            say(f"{name} is done; {parts[name].disturbance}.")
            results.save(options.results, parts)
            document.write(options.document, parts)
    return parts


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0, 1 for what is wrong, 130 after Ctrl-C."""
    options = parse(arguments)
    stop_like_interrupt()
    console = Console(soft_wrap=True) if not sys.stdout.isatty() else Console()
    try:
        parts = measure(options, console)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmarks: interrupted; everything is unmounted and removed.", file=sys.stderr)
        return 130
    terminal.show(console, parts, options.parts)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
