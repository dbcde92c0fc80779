"""Golden files: what programs and people rely on, so that a change of it is seen in review.

``tests/golden/`` has the texts of the log, the keys of status.json with their types, and the exit
codes. ``python -m tests.lint.reference_pages`` writes them anew, with the pages of docs.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import imagenetfs
from imagenetfs.cache.inflated_arrays import UnderWay
from imagenetfs.cache.quota import CacheSetup, Limits
from imagenetfs.counters import Counter
from imagenetfs.errors import ExitCode
from imagenetfs.fuse.stats import SharedStats
from imagenetfs.fuse.status_files import StatusFiles
from imagenetfs.server.mount_context import MountContext
from imagenetfs.server.mount_facts import MountFacts
from imagenetfs.server.mount_plan import MountPlan, ServerSettings
from imagenetfs.server.worker_pool import WorkerPool
from imagenetfs.source.failures import FailureRegister
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.late_warnings import LateWarnings

PACKAGE = Path(imagenetfs.__file__).parent
LEVELS = ("debug", "info", "warning", "error", "exception", "critical", "log")
_LOGGERS = ("_log", "log", "logger", "logging")


# --- the log --------------------------------------------------------------------------------------


def log_texts() -> str:
    """Each text of the log: module, level, and the text as it stands in the program."""
    found = {line for path in PACKAGE.rglob("*.py") for line in _logged(path)}
    return "\n".join(sorted(found)) + "\n"


def _logged(path: Path) -> Iterator[str]:
    module = path.relative_to(PACKAGE).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        logger = node.func.value
        if isinstance(logger, ast.Name) and logger.id in _LOGGERS and node.func.attr in LEVELS:
            first = node.args[1] if node.func.attr == "log" else node.args[0]
            text = str(first.value) if isinstance(first, ast.Constant) else ast.unparse(first)
            yield f"{module}\t{node.func.attr}\t{text}"


# --- status.json ----------------------------------------------------------------------------------


def status_keys() -> str:
    """The keys of status.json, a path of names each, with the types of their values."""
    found = json.loads(_status())
    return "\n".join(sorted(set(_keys("", found)))) + "\n"


def _keys(path: str, value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _keys(f"{path}.{name}" if path else name, inner)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _keys(f"{path}[]", inner)
    else:
        yield f"{path}\t{type(value).__name__}"


def _status() -> bytes:
    """One in which as much as can be has a value."""
    stats, failures, warnings = SharedStats(), FailureRegister(), LateWarnings()
    try:
        _facts(stats).publish(cast(WorkerPool, SimpleNamespace(pids=[11], restarts=0)))
        for second in range(3):
            stats.row(0)[Counter.IMAGES] += 10
            stats.row(0)[Counter.SOURCE_BYTES] += 1000
            stats.row(0)[Counter.FIRST_LATENCY + 20] += 1
            stats.samples.keep(stats.sample(second * 1_000_000_000))
        failures.note(b"a.tar", "gone", "a.tar is gone")
        arrays = [UnderWay("x.npz", 5, 10, 1.0)]
        files = StatusFiles(stats, warnings, None, failures, lambda: arrays)
        return files.contents("status.json")
    finally:
        failures.close()


def _facts(stats: SharedStats) -> MountFacts:
    backend = SimpleNamespace(classes=[b"CLASS"], archives=range(1))
    split = Split(b"SPLIT", cast(Any, backend), "a.tar")
    context = SimpleNamespace(
        stats=stats,
        catalogue=SimpleNamespace(
            versions=[Version(b"VERSION", [split])], warnings=["w"], shortfalls=["s"]
        ),
        tree=SimpleNamespace(split_directories=[split]),
        index=SimpleNamespace(title="archive {}".format),
    )
    plan = MountPlan(
        source=Path("/s"),
        mountpoint=Path("/m"),
        settings=ServerSettings(workers=4, in_flight=None, index_dir=None, read_timeout=35.0),
        cache=CacheSetup(Path("/c"), Limits(1 << 30, 7)),
        log_path=Path("/l"),
    )
    return MountFacts(plan, cast(MountContext, context))


# --- exit codes -----------------------------------------------------------------------------------


def exit_codes() -> str:
    """The numbers and their names."""
    return "".join(f"{int(code)}\t{code.name}\n" for code in ExitCode)


FILES = {
    "tests/golden/log_texts.tsv": log_texts,
    "tests/golden/status_keys.tsv": status_keys,
    "tests/golden/exit_codes.tsv": exit_codes,
}
