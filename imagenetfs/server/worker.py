"""A worker's life: a clone of the session, one request at a time, until the session is over."""

from __future__ import annotations

import logging
import os
from typing import NoReturn

from imagenetfs.counters import Counter
from imagenetfs.fuse.channel import Channel, clone, serve_requests
from imagenetfs.fuse.operations import Operations
from imagenetfs.server.mount_context import MountContext
from imagenetfs.system.process import WORKER, reset_signals, set_parent_death_signal

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
    context: MountContext,
) -> NoReturn:
    """Serve as worker ``number``; runs in a freshly forked process and never returns."""
    code = 1
    try:
        set_parent_death_signal(parent, WORKER)
        reset_signals()
        row = context.stats.row(number)
        row[Counter.PID] = os.getpid()
        row[Counter.SOURCE_SINCE] = row[Counter.BUSY_SINCE] = row[Counter.READ_SINCE] = 0
        context.after_fork(number)
        context.tell_what_is_read()
        clone(session_fd)
        channel = Channel(session_fd)
        channel.leave_when_told()
        operations.serve_as(number, channel)
        serve_requests(channel, operations.answer)
        context.close()
        code = RETIRED if channel.leaving else SESSION_OVER
    except BaseException:
        log.exception("worker %d failed", os.getpid())
    finally:
        logging.shutdown()
        os._exit(code)
