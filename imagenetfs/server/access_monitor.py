"""Whether the source still lets us read: asked every now and then, told to all
workers and to the kernel.

Files are not opened at the server, and the kernel keeps names for hours, so nothing else would ask.
Two children of the supervisor do it: one asks the source, which may keep it waiting, and holds no
session; the other tells the kernel to forget names, which may wait for a worker's answer, and asks
nothing of the source. The access guard (read.access_guard) refuses, in all workers, what may not be
read, until it may again.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import trio

from imagenetfs.errors import ImagenetfsError
from imagenetfs.fuse.protocol import entry_notice
from imagenetfs.index.table_builder import join_path
from imagenetfs.read.ownership import ownership_of, parents
from imagenetfs.server.child_process import Children
from imagenetfs.source.source import Source
from imagenetfs.system.process import ASKER, TELLER
from imagenetfs.tree.source_paths import SourcePaths

log = logging.getLogger(__name__)

_REFUSALS = (errno.EACCES, errno.EPERM)
_GONE = (errno.ENODEV, errno.ENOTCONN)
_LEAST_PAUSE = 0.05
_MANY = 64
"""So many files of a directory are each asked about; more are listed."""


class AccessMonitor:
    """Runs the two children: the prober twice in ``revalidate`` seconds, so that what it finds has
    reached the kernel before they are over.
    """

    def __init__(
        self, source: Source, paths: SourcePaths, revalidate: float, *, rights: bool = False
    ) -> None:
        """``rights``: note those of all users too, for
        :class:`imagenetfs.read.ownership.OwnershipMapper`.
        """
        self._source = source
        self._paths = paths
        self._rights = rights
        self._pause = max(revalidate / 2, _LEAST_PAUSE)
        self._untold = self._is_telling = False

    async def run(self, children: Children, session_fd: int) -> None:
        """Probe and tell, again and again; never returns."""
        async with trio.open_nursery() as nursery:
            due = trio.current_time()
            while True:
                due = max(due + self._pause, trio.current_time())
                await trio.sleep_until(due)
                await self._start(children, self._probe_all, "asking for permission", ASKER)
                # Each time, while anything is refused: a name may have been given out just before.
                self._untold = self._source.known.some_refused
                if self._untold and not self._is_telling:
                    self._is_telling = True
                    nursery.start_soon(self._tell, children, session_fd)

    async def _tell(self, children: Children, session_fd: int) -> None:
        """As often as something was left to be told when the last child ended; probing goes on
        beside it.
        """
        while self._untold:
            self._untold = False
            work = partial(self._invalidate_refused, session_fd)
            await self._start(children, work, "telling the kernel", TELLER)
        self._is_telling = False

    async def _start(
        self, children: Children, work: Callable[[], None], what: str, name: str
    ) -> None:
        try:
            await children.run(work, what, name, keep_session=name == TELLER)
        except OSError as error:
            log.warning("%s could not start: %s", what, error.strerror)

    def _probe_all(self) -> None:
        known, shown = self._source.known, list(self._paths.shown())
        for path, ctime in paths_to_probe(self._source, shown):
            status = probe(self._source, path)
            if status is not None and ctime is not None:
                known.note_permitted(path, ctime)
            if self._rights and status is not None:
                known.note_rights(path, ownership_of(status))
        if self._rights:
            # Those of all that may be read: a directory may be closed while what
            # lies in it stays as it is.
            readable = (path for path in shown if not known.is_refused(path))
            for above in {part for path in readable for part in parents(path)}:
                status = self._source.status(above)
                if status is not None:
                    known.note_rights(above, ownership_of(status))

    def _invalidate_refused(self, session_fd: int) -> None:
        known = self._source.known
        refused = [path for path in self._paths.shown() if known.is_refused(path)]
        invalidate(session_fd, self._paths.names(refused))


def paths_to_probe(source: Source, paths: Iterable[bytes]) -> Iterator[tuple[bytes, int | None]]:
    """Those of the paths that have to be asked about, with their ctime where that is known.

    Of many in one directory (winter21 has 19,167), one listing with attributes, which NFS answers a
    hundred files at a time, tells which have not changed since they were asked about.
    """
    together: dict[bytes, list[bytes]] = {}
    for path in paths:
        together.setdefault(path.rpartition(b"/")[0], []).append(path)
    for directory, some in together.items():
        if len(some) <= _MANY:
            yield from ((path, None) for path in some)
        else:
            yield from _changed(source, directory, some)


def _changed(
    source: Source, directory: bytes, paths: list[bytes]
) -> Iterator[tuple[bytes, int | None]]:
    ctimes = {}
    with contextlib.suppress(
        ImagenetfsError
    ):  # one that cannot be listed may hold what can be read
        for entry in source.entries(directory):
            if not stat.S_ISLNK(entry.mode):
                ctimes[join_path(directory, entry.name)] = entry.ctime_ns
    for path in paths:
        ctime = ctimes.get(path)
        if ctime is None or not source.known.is_permitted(path, ctime):
            yield path, ctime


def probe(source: Source, path: bytes) -> os.stat_result | None:
    """Ask the source about one path, and let all processes know whether it may be read; if so, what
    stat says of it. Errors other than a refusal tell nothing.
    """
    known = source.known
    try:
        status = source.ask(path)
    except OSError as error:
        if error.errno in _REFUSALS and known.refuse(path):
            log.warning(
                "you may no longer read %s; until you may, it is refused", os.fsdecode(path)
            )
        return None
    if known.permit(path):
        log.info("%s may be read again", os.fsdecode(path))
    return status


def invalidate(session_fd: int, names: Iterable[tuple[int, bytes]]) -> None:
    """Have the kernel forget names, and what it keeps below them: it asks again for each.

    Waits while a name is being looked up in that directory, so never call
    it where that is answered.
    """
    for directory, name in names:
        try:
            os.write(session_fd, entry_notice(directory, name))
        except OSError as error:
            if error.errno in _GONE:
                return
            if error.errno != errno.ENOENT:  # it holds nothing of that name
                log.warning("the kernel keeps a name: %s", error.strerror)
