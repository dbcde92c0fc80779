"""Answers that need not be copied into this process: the pipe from which the kernel takes them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field

from imagenetfs.fuse.protocol import REPLY
from imagenetfs.read.backend import SpliceSource
from imagenetfs.system.splice import MAX_SPLICE_BYTES, make_pipe


@dataclass(slots=True)
class SplicedReply:
    """An answer of ``length`` bytes that stands in a pipe, behind its header, and is sent next or
    never. ``pipe``: the descriptor from which the pipe is read.
    """

    length: int
    pipe: int = field(default=-1, compare=False)


class ReplyPipe:
    """The pipe of one channel, made when it is first needed."""

    def __init__(self) -> None:
        self._pipe: tuple[int, int] | None = None
        self._max_length = MAX_SPLICE_BYTES
        self._reply = SplicedReply(0)

    def fill(
        self, unique: int, file: SpliceSource, offset: int, length: int
    ) -> SplicedReply | None:
        """Put the answer to request ``unique``, ``length`` bytes at ``offset`` of a file, into the
        pipe (splice). None where that does not work: answer with a buffer then.

        Raises what the file raises.
        """
        if length > self._max_length or not self._has_pipe():
            return None
        assert self._pipe is not None
        is_whole = False
        try:
            os.write(self._pipe[1], REPLY.pack(REPLY.size + length, 0, unique))
            is_whole = file.splice_to(self._pipe[1], offset, length)
        finally:
            if not is_whole:
                self.drop()
        if not is_whole:
            return None
        reply = self._reply  # one for all answers: there is one pipe
        reply.length, reply.pipe = length, self._pipe[0]
        return reply

    def _has_pipe(self) -> bool:
        if self._pipe is None:
            self._pipe = make_pipe()
            if self._pipe is None:
                self._max_length = 0
        return self._pipe is not None

    def drop(self) -> None:
        """Close the pipe, with the bytes that it still holds."""
        for end in self._pipe or ():
            os.close(end)
        self._pipe = None

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            self.drop()
