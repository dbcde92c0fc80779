"""``--require``: refuse to mount where a split is not there, or not whole, instead of warning.

The source is looked at in a child process: the command that mounts stays small and has one thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagenetfs import config
from imagenetfs.config import Settings
from imagenetfs.errors import (
    ImagenetfsError,
    RequirementError,
    SourceUnreadableError,
    did_you_mean,
)
from imagenetfs.job import preflight
from imagenetfs.job.daemon import reported_error
from imagenetfs.system import child_call
from imagenetfs.system.patience import PATIENCE, ROOT_SECONDS
from imagenetfs.system.text import decoded
from imagenetfs.system.work_watch import call_watched

if TYPE_CHECKING:
    from imagenetfs.tree.catalogue import Catalogue
    from imagenetfs.tree.dataset import Split, Version
    from imagenetfs.tree.versions.views import ViewSplit

COMPLETE = ":complete"
_VIEWS = "views/"

_LOOK_SECONDS = 120.0
_INDEX_SECONDS = 12 * 3600.0
_LOOK_AGAIN_SECONDS = 0.5


def check_required(source: Path, settings: Settings, say: Callable[[str], None]) -> None:
    """See that the source shows what ``settings.require`` names; raises RequirementError, or what
    looking at the source raises. What is to be complete is indexed first.
    """
    if not settings.require:
        return
    preflight.check_source(source)
    counted = [name for name in settings.require if name.endswith(COMPLETE)]
    if counted:
        say(f"counting the images of {', '.join(n.removesuffix(COMPLETE) for n in counted)}.")
    seconds = _INDEX_SECONDS if counted else _LOOK_SECONDS
    try:
        found = call_watched(lambda: _look(source, settings), seconds)
    except child_call.NoAnswerError:
        raise SourceUnreadableError(_unknown(source)) from None
    for warning in found["warnings"]:
        say(f"warning: {warning}")
    if "error" in found:
        raise reported_error(found["error"], found["code"])


def without_train(splits: Container[str], source: Path) -> str | None:
    """That ILSVRC2012 has images to validate with, and none to train with: the file may have been
    forgotten. ``splits``: those of that version.
    """
    if "val" not in splits or "train" in splits:
        return None
    return (
        f"ILSVRC2012 has val, but no train: if you need it, ILSVRC2012_img_train.tar or a link to "
        f"it belongs into {source / 'ILSVRC2012'}; `--require ILSVRC2012/val` says that you do not."
    )


def _unknown(source: Path) -> str:
    """Why the source is not known to have what is required."""
    if PATIENCE.is_limited and PATIENCE.seconds(1.0) <= 0.0:
        return (
            f"{source} has kept root waiting for {ROOT_SECONDS:.0f} s in all, and root waits no "
            "longer, so it is not known to have what is required. `imagenetfs index` waits as long "
            "as it takes, and what it has indexed need not be read again."
        )
    return f"{source} did not answer in time, so it is not known to have what is required."


def _look(source: Path, settings: Settings) -> dict[str, Any]:
    """What is wrong, as JSON; in a child of its own."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from imagenetfs.index.search_path import IndexSearchPath
    from imagenetfs.source.source import Source
    from imagenetfs.tree.catalogue import build_catalogue
    from imagenetfs.tree.versions.views import read_list

    places = IndexSearchPath(settings.index_dir, source, settings.index_path)
    warnings: list[str] = []
    try:
        catalogue = build_catalogue(
            Source(source),
            places=places,
            prefer=settings.prefer,
            lists={name: read_list(name, path) for name, path in settings.view},
            in_flight=settings.in_flight,
        )
        warnings += catalogue.warnings
        for name in settings.require:
            _check(catalogue, name, lambda numbers: _index(catalogue, places, numbers, settings))
    except ImagenetfsError as error:
        return {"warnings": warnings, "error": str(error), "code": int(error.exit_code)}
    return {"warnings": []}  # the mount says them


def _check(catalogue: Catalogue, name: str, index: Callable[[Sequence[int]], None]) -> None:
    from imagenetfs.tree.catalogue import archives_of

    wanted, source = name.removesuffix(COMPLETE), catalogue.source.path
    shown = _titles(catalogue)
    chosen = [one for title, one in shown.items() if wanted in (title, title.rpartition("/")[0])]
    if not chosen and wanted.startswith(_VIEWS):
        raise RequirementError(
            f"{wanted} is required (--require), and is empty, or no --view has this name: "
            f"there is {', '.join(shown)}.{did_you_mean(wanted, list(shown))} Name its list with "
            "--view, and see that the list has something that the source has."
        )
    if not chosen:
        raise RequirementError(
            f"{wanted} is required (--require), and {source} does not show it; it shows "
            f"{', '.join(shown)}.{did_you_mean(wanted, list(shown))} Fetch what is missing, or "
            "require less."
        )
    for version, split in chosen:
        if split.lost is not None:
            title = os.fsdecode(version.name + b"/" + split.name)
            raise RequirementError(
                f"{title} is required (--require), and nothing of it can be shown. {split.lost}"
            )
    if name == wanted:
        return
    index(archives_of([split for _, split in chosen]))
    for version, split in chosen:
        _check_complete(catalogue, version, split)


def _check_complete(catalogue: Catalogue, version: Version, split: Split) -> None:
    """Raises RequirementError where images are missing; of a view, those that its list names."""
    from imagenetfs.tree.ledger import account
    from imagenetfs.tree.versions.views import ViewSplit

    if isinstance(split.backend, ViewSplit):
        _check_complete_view(catalogue, version, split.name, split.backend)
        return
    ledger = account(version, split, strict=True)
    if not ledger.adds_up:
        told = [*ledger.problems[:3], ledger.sentence(str(catalogue.source.path)) or ""]
        raise RequirementError(
            f"{ledger.title} is required to be complete (--require), and is not. "
            f"{' '.join(filter(None, told))}"
        )


def _check_complete_view(
    catalogue: Catalogue, version: Version, name: bytes, backend: ViewSplit
) -> None:
    title = _VIEWS + os.fsdecode(version.name + b"/" + name)
    warnings = catalogue.view_warnings[version.name]
    if warnings:
        raise RequirementError(
            f"{title} is required to be complete (--require), and is not: {warnings[0]}"
        )
    for number in range(len(backend.classes)):
        backend.listing(number)
    if backend.missing:
        raise RequirementError(
            f"{title} is required to be complete (--require), and is not: {len(backend.missing):,} "
            f"images of its list are not there (first: {decoded(min(backend.missing))})."
        )


def _titles(catalogue: Catalogue) -> dict[str, tuple[Version, Split]]:
    """What may be required: ``VERSION/SPLIT`` and ``views/NAME/SPLIT``."""
    from imagenetfs.tree.ledger import title_of

    return {
        before + title_of(version, split): (version, split)
        for before, versions in (("", catalogue.versions), (_VIEWS, catalogue.views))
        for version in versions
        for split in version.splits
    }


def _index(catalogue: Catalogue, places: Any, archives: Sequence[int], settings: Settings) -> None:
    """Make the tables that are counted; what another process is at is waited for, as root no longer
    than root waits for anything: it makes them anew then, for this check alone.
    """
    from imagenetfs.index.bulk_build import build_all
    from imagenetfs.index.group_build import index_group
    from imagenetfs.index.leases import HeldElsewhereError

    index, cpus, in_flight = catalogue.index, config.cpus(), settings.in_flight
    for group, numbers in catalogue.groups(archives).items():
        file = places.file(group)
        while file is not None:
            try:
                index_group(index, numbers, file, in_flight=in_flight, processes=cpus)
                break
            except HeldElsewhereError:
                with PATIENCE.waiting(_LOOK_AGAIN_SECONDS) as pause:
                    time.sleep(pause)
                if not pause:
                    file = None
            except OSError:
                file = None  # no index can be kept: it serves this check alone
        if file is None:
            build_all(index, numbers, in_flight=in_flight, processes=cpus)
