"""Building many containers in one process: from memory one after the other,
over a network together.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import NamedTuple

from imagenetfs.errors import ImagenetfsError, SourceReplacedError, SourceUnreadableError
from imagenetfs.formats.tar.concurrency import AdaptiveConcurrency
from imagenetfs.formats.tar.readahead_scanner import ReadaheadScannerThread
from imagenetfs.formats.tar.threaded_scanner import ThreadedScanner
from imagenetfs.index.container_builder import BuildInProgressError
from imagenetfs.index.index import Index
from imagenetfs.index.table_builder import Scan

log = logging.getLogger(__name__)

_AT_LEAST = 4
"""The part of the threads that has containers of its own even where these are few."""

_LANES = 32
"""Threads that prepare containers beside the one that reads all headers; mostly they wait for
it. Half as many as requests; the rest are speculative ranges. With one container per request,
containers of equal size finish together, and the pipeline drains.
"""

Work = tuple[int, int]
"""(archive, inner) of one container."""

Count = Callable[[int, int], None]
"""Is called with the containers and members done so far."""


class _Left(NamedTuple):
    """Containers that another process was building, and what was done by then."""

    work: list[Work]
    done: int
    members: int


def build_serial(index: Index, work: list[Work], count: Count) -> None:
    """One container after the other, from memory."""
    members = 0
    for done, item in enumerate(work, 1):
        if not index.known(*item):
            members += _adopt(index, item, partial(_make_now, index, item))
        count(done, members)


def _make_now(index: Index, item: Work) -> bytes:
    return index.build_task(*item)()


def build_with_readahead(
    concurrency: AdaptiveConcurrency, index: Index, work: list[Work], count: Count
) -> None:
    """Several containers at a time, with as many requests under way among
    them, where hints are heeded.

    One thread reads all headers. Others open the archives, look for a
    persisted table, and encode.
    """
    lanes = max(1, min(concurrency.ceiling // 2, _LANES, len(work)))
    scanner = ReadaheadScannerThread(concurrency, lanes)
    with ThreadPoolExecutor(lanes) as pool, contextlib.closing(scanner):
        left = _build(pool, lanes, scanner.scan, index, work, count)
    _build_left(index, left, count)


def build_with_threads(
    concurrency: AdaptiveConcurrency, index: Index, work: list[Work], count: Count
) -> None:
    """The same by ``concurrency.ceiling`` threads, one for each request.

    Where there are many containers, each thread has one of its own; where there are few, a part of
    the threads; the others help.
    """
    threads = concurrency.ceiling
    lanes = min(threads, max(-(-threads // _AT_LEAST), len(work) // _AT_LEAST))
    scanner = ThreadedScanner(concurrency)
    with ThreadPoolExecutor(threads) as pool, contextlib.closing(scanner):
        for _ in range(threads - lanes):
            pool.submit(scanner.help)
        left = _build(
            pool, lanes, scanner.scan, index, work, count, lambda: pool.submit(scanner.help)
        )
    _build_left(index, left, count)


def _build(
    pool: ThreadPoolExecutor,
    lanes: int,
    scan: Scan,
    index: Index,
    work: list[Work],
    count: Count,
    spare: Callable[[], object] = lambda: None,
) -> _Left:
    """Build containers in the pool's threads, ``lanes`` at a time; publish them in this one.

    ``spare`` is called for each thread that has no container of its own any more. A container that
    a reader is building is left to it.
    """
    done = members = 0
    queue, left = deque(work), list[Work]()
    pending: dict[Future[bytes], tuple[Work, contextlib.ExitStack]] = {}
    while queue or pending:
        while queue and len(pending) < lanes:
            item, reserved = queue.popleft(), contextlib.ExitStack()
            if index.known(*item):
                done += 1
                continue
            try:
                reserved.enter_context(index.builder.building_lock(*item))
                pending[pool.submit(index.build_task(*item, scan))] = item, reserved
            except BuildInProgressError:
                left.append(item)
            except ImagenetfsError as error:
                reserved.close()
                _tell(index, item, error)
                done += 1
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            item, reserved = pending.pop(future)
            with reserved:
                members += _adopt(index, item, future.result)
            done += 1
            if not queue:
                spare()
        count(done, members)
    return _Left(left, done, members)


def _build_left(index: Index, left: _Left, count: Count) -> None:
    """Wait for what others were building, and build it where they did not."""
    done, members = left.done, left.members
    for item in left.work:
        try:
            members += len(index.container(*item).members)
        except ImagenetfsError as error:
            _tell(index, item, error)
        done += 1
        count(done, members)


def _adopt(index: Index, item: Work, block: Callable[[], bytes]) -> int:
    """Publish a block in the arena; how many members it has, none where it cannot be made."""
    try:
        return index.builder.publish_built(*item, block())
    except ImagenetfsError as error:
        _tell(index, item, error)
        return 0


def _tell(index: Index, item: Work, error: ImagenetfsError) -> None:
    """Say that a container cannot be indexed; not where that was said when the archive was found
    replaced. What the source did not give is counted, and said once for its archive; what may not
    be read is no fault of the source.
    """
    if isinstance(error, SourceReplacedError):
        return
    told = f"{index.title(*item)} cannot be indexed: {error}"
    is_denied = isinstance(error, SourceUnreadableError)
    if is_denied or index.source.failures.note(index.archives[item[0]].path, "index", told):
        log.warning("%s", told)
