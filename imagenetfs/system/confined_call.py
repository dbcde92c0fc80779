"""Work that may crash, hang or eat all memory, done in a process of its own.

For libraries in C that read files from outside: scipy's MATLAB reader dies of
SIGSEGV on some damaged files.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
from collections.abc import Callable

from imagenetfs.errors import ArchiveError
from imagenetfs.system.process import close_inherited

_CPU_SECONDS = 60
_MEMORY = 4 << 30


def call_confined(work: Callable[[], bytes]) -> bytes:
    """What ``work()`` returns, computed in a forked child with a limit of time and memory.

    Raises ArchiveError with the child's own reason, or with how it died. Call it in
    a process of one thread.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(work, writer)
    os.close(writer)
    parts = []
    try:
        with os.fdopen(reader, "rb", buffering=0) as pipe:
            while part := pipe.read(1 << 16):
                parts.append(part)
    except BaseException:  # told to end: its answer is not wanted any more
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    answer = b"".join(parts)
    if code == 0 and answer[:1] == b"+":
        return answer[1:]
    if code == 0 and answer[:1] == b"-":
        raise ArchiveError(answer[1:].decode(errors="replace"))
    raise ArchiveError(
        f"the process that read it died ({signal.Signals(-code).name if code < 0 else code})"
    )


def _child(work: Callable[[], bytes], writer: int) -> None:
    code = 1
    try:
        close_inherited((writer,))
        signal.set_wakeup_fd(-1)
        faulthandler.disable()  # its death is an answer, not news for the log
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        try:
            answer = b"+" + work()
        except Exception as error:
            reason = str(error) or type(error).__name__  # a MemoryError has no words
            answer = b"-" + reason.encode(errors="backslashreplace")
        view = memoryview(answer)
        while view:
            view = view[os.write(writer, view) :]
        code = 0
    finally:
        os._exit(code)
