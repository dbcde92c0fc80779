"""A worker's life: a clone of the session, one request at a time, until the session is over."""

from __future__ import annotations

import logging
import os
from typing import NoReturn

from imagenetfs.cache.unpacked import Unpacked
from imagenetfs.serve.board import Board, Cell
from imagenetfs.serve.cached import CachedReads
from imagenetfs.serve.channel import Channel, clone, serve_requests
from imagenetfs.serve.operations import Operations
from imagenetfs.system.process import WORKER, die_with, reset_signals
from imagenetfs.tree.catalogue import Catalogue

log = logging.getLogger(__name__)

SESSION_OVER = 77
"""A worker's exit code when the kernel ended the session: the mount is gone."""

RETIRED = 78
"""A worker's exit code when the supervisor asked it to leave."""


def work(
    number: int,
    parent: int,
    session_fd: int,
    operations: Operations,
    catalogue: Catalogue,
    board: Board,
    unpacked: Unpacked,
    cached: CachedReads | None = None,
) -> NoReturn:
    """Serve as worker ``number``; runs in a freshly forked process and never returns."""
    code = 1
    try:
        die_with(parent, WORKER)
        reset_signals()
        row = board.row(number)
        row[Cell.PID] = os.getpid()
        row[Cell.SOURCE_SINCE] = row[Cell.BUSY_SINCE] = row[Cell.READ_SINCE] = 0
        catalogue.source.count_on(row)
        catalogue.index.after_fork()
        unpacked.after_fork()
        if cached is not None:
            cached.after_fork(board.cache_meter(number))
        clone(session_fd)
        channel = Channel(session_fd)
        channel.leave_when_told()
        operations.serve_as(number, channel)
        serve_requests(channel, operations.answer)
        if cached is not None:
            cached.cache.close()  # what it has counted stays with the segments
        code = RETIRED if channel.leaving else SESSION_OVER
    except BaseException:
        log.exception("worker %d failed", os.getpid())
    finally:
        logging.shutdown()
        os._exit(code)
