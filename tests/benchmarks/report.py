"""From results to tables: which figures stand beside which.

Terminal and document draw the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .epochs import COPIED, QUARTER
from .latency import OURS_64
from .reads import PASSES, PROCESSES
from .results import Part, Spread
from .staging import staging_prefix
from .systems import CAT, LIMITS, OURS, RATARMOUNT, SQUASHFUSE, STAGED


@dataclass(slots=True)
class Table:
    """A table: the first column names a system, the others hold text."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Column:
    """A metric as a column: how it is called, written, and compared."""

    metric: str
    title: str
    form: Callable[[float], str]
    less_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio to reach, against one peer in one metric; ``ours``: the way of
    ours that is to reach it.
    """

    part: str
    column: Column
    peer: str
    factor: float
    ours: str = OURS


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure of ours that is to be no more than ``most``."""

    part: str
    column: Column
    most: float
    ours: str = OURS


def seconds(value: float) -> str:
    """A duration in a unit that suits it."""
    if value >= 100:
        return f"{value:.0f} s"
    if value >= 1:
        return f"{value:.1f} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-4 else f"{value * 1e6:.0f} µs"


def rate(value: float) -> str:
    """Images a second, to the hundred."""
    return f"{round(value, -2):,.0f}"


def megabytes(value: float) -> str:
    return f"{value / 1e6:,.0f} MB"


def byte_count(value: float) -> str:
    return f"{value:,.0f} B"


def microseconds(value: float) -> str:
    return f"{value:.0f} µs"


def part_of(value: float) -> str:
    """How many times the data."""
    return f"{value:.2f}"


def number(value: float) -> str:
    return f"{value:.1f}"


def count(value: float) -> str:
    return f"{value:,.0f}"


def _rate_column(name: str, processes: int) -> Column:
    return Column(f"{name} {processes}", f"{processes}: {name} pass", rate, less_is_better=False)


READS = tuple(_rate_column(name, each) for each in PROCESSES for name in PASSES)
CPU = tuple(Column(f"cpu {each}", f"{each}: server CPU", microseconds) for each in PROCESSES)
LISTING = (
    Column("mount", "until the mount answers", seconds),
    Column("ls train", "`ls train`", seconds),
    Column("ls class", "`ls` of one class", seconds),
    Column("walk first", "walk with stat", seconds),
    Column("walk second", "walk again", seconds),
)
INDEX = (
    Column("seconds", "whole command", seconds),
    Column("bytes", "bytes a member", number),
)
ZIPS = (
    Column("seconds", "directory parsed", seconds),
    Column("cpu", "CPU of that", seconds),
)
EPOCHS = (
    Column("batch", "until the first batch", seconds),
    Column("epoch 1", "end of epoch one", seconds),
    Column("epoch 2", "end of epoch two", seconds),
)
EPOCH_BYTES = (
    Column("bytes before", "until all is listed", part_of),
    Column("bytes 1", "bytes in epoch one", part_of),
    Column("bytes 2", "bytes in epoch two", part_of),
)
EPOCH_REQUESTS = (
    Column("requests 1", "requests in epoch one", part_of),
    Column("requests 2", "requests in epoch two", part_of),
)
_LATENCIES = (1, 5)


def _staging_rates(milliseconds: int) -> tuple[Column, ...]:
    at, title = staging_prefix(milliseconds), f"{milliseconds} ms"
    return (
        Column(f"{at}rate", f"{title}: median second", count, less_is_better=False),
        Column(f"{at}least", f"{title}: slowest second", count, less_is_better=False),
        Column(f"{at}slow", f"{title}: 99 of 100 images within", seconds),
    )


STAGING_RATES = tuple(one for each in _LATENCIES for one in _staging_rates(each))
STAGING_SPEED = tuple(
    Column(f"{staging_prefix(each)}speed", f"{each} ms: MB/s", count, less_is_better=False)
    for each in _LATENCIES
)
FULL_INDEX = (
    Column("index", "index from nothing", seconds),
    Column("index bytes", "bytes a member", number),
)


def _full_columns(state: str, scans: Sequence[str]) -> tuple[Column, ...]:
    return (
        Column(f"{state} mount", "until the mount answers", seconds),
        Column(f"{state} ls train", "`ls train`", seconds),
        *(Column(f"{state} scan {scan}", f"{scan} scan", seconds) for scan in scans),
        Column(f"{state} pss mounted", "memory (PSS) when mounted", megabytes),
        Column(f"{state} pss", "after the scan", megabytes),
        Column(f"{state} slab", "kernel slab", megabytes),
    )


def _latency_columns(milliseconds: int) -> tuple[Column, ...]:
    at = f"{milliseconds} ms"
    return (
        Column(f"{at} mount", "until the mount answers", seconds),
        Column(f"{at} class", "first class listed", seconds),
        Column(f"{at} class requests", "requests until then", count),
        Column(f"{at} val", "val listed", seconds),
        Column(f"{at} val requests", "requests for it", count),
        Column(f"{at} folder", "ImageFolder on train", seconds),
        Column(f"{at} folder requests", "requests for that", count),
        Column(f"{at} index", "train indexed", seconds),
        Column(f"{at} index requests", "requests for it all", count),
    )


LARGER = (
    Column("more index", "larger train indexed at 1 ms", seconds),
    Column("more index requests", "requests for it all", count),
)
WINTER = (
    Column("index an image", "index from nothing", seconds),
    Column("fresh scan first an image", "scan without an index", seconds),
    Column("indexed scan first an image", "scan with an index", seconds),
    Column("fresh pss an image", "memory (PSS)", byte_count),
    Column("fresh slab an image", "kernel slab", byte_count),
)
FRESH = _full_columns("fresh", PASSES)
INDEXED = _full_columns("indexed", PASSES)

LIMITS_TO_KEEP = (
    Limit("epochs", EPOCHS[0], 1.2),
    *(
        Limit("epochs", column, most, ours)
        for ours in (OURS, STAGED)
        for column, most in ((EPOCH_REQUESTS[0], 0.15), (EPOCH_BYTES[1], 1.05))
    ),
    Limit("epochs", EPOCH_BYTES[2], 0.76, QUARTER),
    Limit("epochs", EPOCH_REQUESTS[1], 0.85, QUARTER),
)
"""Figures that are to be no larger; requests of a cache that is too small as before ranges."""

TARGETS = (
    Target("reads", _rate_column("first", 4), RATARMOUNT, 7.0),
    Target("reads", _rate_column("first", 4), SQUASHFUSE, 1.4),
    Target("reads", _rate_column("second", 4), RATARMOUNT, 11.0),
    Target("reads", _rate_column("second", 4), SQUASHFUSE, 0.8),
    *(Target("listing", column, RATARMOUNT, 20.0) for column in LISTING[-2:]),
    *(
        Target("staging", column, OURS, factor, STAGED)
        for at in _LATENCIES
        for column, factor in zip(_staging_rates(at), (0.95, 0.85, 1 / 1.3), strict=True)
    ),
    *(Target("staging", column, CAT, 0.97) for column in STAGING_SPEED),
    Target("epochs", EPOCHS[0], COPIED, 2.5),
    *(
        Target("epochs", column, COPIED, factor, ours)
        for column in EPOCHS[1:]
        for ours, factor in ((OURS, 1.2), (STAGED, 1.3))
    ),
    Target("full", FULL_INDEX[0], RATARMOUNT, 40.0),
    Target("latency", LARGER[0], RATARMOUNT, 50.0, OURS_64),
)

_LAYOUT: dict[str, tuple[tuple[str, tuple[Column, ...]], ...]] = {
    "reads": (
        ("Images a second, by reading processes", READS),
        ("The server's CPU an image, over both passes", CPU),
    ),
    "listing": (("Seconds", LISTING),),
    "index": (("Making the index", INDEX),),
    "zips": (("Parsing the directory", ZIPS),),
    "latency": (
        *(
            (f"{milliseconds} ms a request", _latency_columns(milliseconds))
            for milliseconds in _LATENCIES
        ),
        ("1 ms a request, ten times as many classes", LARGER),
    ),
    "epochs": (
        ("Seconds from the start", EPOCHS),
        ("Bytes that came from the source, by those of the images", EPOCH_BYTES),
        ("Reads of the source an image", EPOCH_REQUESTS),
    ),
    "staging": (
        ("Images a second by all readers", STAGING_RATES),
        ("The archive brought here", STAGING_SPEED),
    ),
    "full": (
        ("Making the index", FULL_INDEX),
        ("Mounted without an index", FRESH),
        ("Mounted with an index made before", INDEXED),
    ),
    "winter": (
        ("Making the index", FULL_INDEX),
        ("Mounted without an index", FRESH),
        ("Mounted with an index made before", INDEXED),
        ("Of an image", WINTER),
    ),
}
PARTS = tuple(_LAYOUT)


def tables(name: str, part: Part) -> list[Table]:
    """All tables of a part: medians, then how many times better imagenetfs is than each other."""
    found = []
    for title, columns in _LAYOUT[name]:
        filled = [
            column
            for column in columns
            if any(part.values(system, column.metric) for system in part.systems())
        ]
        if filled:
            found += [_medians(title, part, filled), _ratios(title, part, filled)]
    return [table for table in found if table.rows]


def _medians(title: str, part: Part, columns: Sequence[Column]) -> Table:
    table = Table(title, ("", *(column.title for column in columns)))
    for system in part.systems():
        spreads = [part.spread(system, column.metric) for column in columns]
        if any(spreads):
            pairs = zip(columns, spreads, strict=True)
            cells = (column.form(each.median) if each else "" for column, each in pairs)
            table.rows.append((system, *cells))
    table.rows += [(name, "absent") + ("",) * (len(columns) - 1) for name in part.absent]
    return table


def _ratios(title: str, part: Part, columns: Sequence[Column]) -> Table:
    """Each cell: the median of the rounds' ratios, with their range."""
    table = Table(
        f"{title}: {OURS} is so many times better (below 1: worse)",
        ("than", *(column.title for column in columns)),
    )
    for system in part.systems():
        spreads = [_ratio(part, column, system) for column in columns]
        if not _is_ours(system) and any(spreads):
            table.rows.append((system, *(times(each) if each else "" for each in spreads)))
    return table


def _is_ours(system: str) -> bool:
    """Whether it is imagenetfs, in whatever way it is used."""
    return system.split()[0] == OURS


def _ratio(part: Part, column: Column, system: str, ours: str = OURS) -> Spread | None:
    return part.ratio(column.metric, ours, system, less_is_better=column.less_is_better)


def times(ratio: Spread) -> str:
    """A ratio with its range over the rounds."""
    return f"{_factor(ratio.median)} ({_factor(ratio.least)} to {_factor(ratio.most)})"


def _factor(value: float) -> str:
    if value >= 20:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 2 else f"{value:.2f}" if value >= 0.1 else f"{value:.1g}"


def targets(parts: dict[str, Part]) -> Table:
    """The ratios to reach, and whether they are."""
    table = Table("Targets", ("against", "in", "to reach", "measured", ""))
    for target in TARGETS:
        part = parts.get(target.part)
        reached = _ratio(part, target.column, target.peer, target.ours) if part else None
        verdict = "not measured"
        if reached:
            verdict = "reached" if reached.median >= target.factor else "**missed**"
        what = _what(target.part, target.column, target.ours)
        shown = times(reached) if reached else ""
        table.rows.append((target.peer, what, f"{target.factor:.3g}", shown, verdict))
    return table


def limits(parts: dict[str, Part]) -> Table:
    """The figures that are to be no larger, and whether they are not."""
    table = Table("Limits", ("in", "at most", "measured", ""))
    for limit in LIMITS_TO_KEEP:
        part, form = parts.get(limit.part), limit.column.form
        found = part.spread(limit.ours, limit.column.metric) if part else None
        verdict = "not measured"
        if found:
            verdict = "kept" if found.median <= limit.most else "**missed**"
        shown = form(found.median) if found else ""
        what = _what(limit.part, limit.column, limit.ours)
        table.rows.append((what, form(limit.most), shown, verdict))
    return table


def _what(part: str, column: Column, ours: str) -> str:
    what = f"{part}, {column.title}"
    return what + (f" ({ours.removeprefix(OURS).strip()})" if ours != OURS else "")


def losses(parts: dict[str, Part]) -> list[str]:
    """Where another system is better by more than the rounds differ, one sentence each."""
    found = []
    for name, part in parts.items():
        for column in (column for _, columns in _LAYOUT[name] for column in columns):
            for system in part.systems():
                ratio = None if _is_ours(system) else _ratio(part, column, system)
                if ratio and ratio.most < 1:
                    limit = " (the limit)" if system in LIMITS else ""
                    better = f"{_factor(1 / ratio.median)} times better"
                    found.append(f"{name}, {column.title}: {system}{limit} is {better}.")
    return found
