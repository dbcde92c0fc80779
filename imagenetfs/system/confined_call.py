"""Work that may crash, hang or eat all memory, done in a process of its own.

For libraries in C that read files from outside: scipy's MATLAB reader dies of SIGSEGV on some
damaged files.

A child that dies is tried once more. If the same crash of the library comes again, the input is to
blame (ArchiveError). Any other death (the OOM killer, a limit of this process, a signal) says
nothing of the input (HelperDiedError).
"""

from __future__ import annotations

import errno
import faulthandler
import os
import resource
import signal
from collections.abc import Callable
from typing import NoReturn

from imagenetfs.errors import ArchiveError, HelperDiedError
from imagenetfs.system.process import close_inherited

_CPU_SECONDS = 60
_MEMORY = 4 << 30
_ATTEMPTS = 2

_CRASHES = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGSYS}
)

_LACKS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})

_RESULT, _REFUSED, _LACKED = b"+", b"-", b"?"
"""The first byte of a child's answer: a result, what is wrong with the input, or what the child
lacked.
"""


def call_confined(work: Callable[[], bytes]) -> bytes:
    """What ``work()`` returns, computed in a forked child with a limit of time and memory.

    Raises ArchiveError with the child's own reason, or where it crashes each time; HelperDiedError
    where it could not work for another reason. Call it in a process of one thread.
    """
    reason = ""
    for attempt in range(_ATTEMPTS):
        try:
            code, answer = _in_child(work)
        except OSError as error:  # no process, no descriptor
            reason = error.strerror or str(error)
            continue
        kind, text = answer[:1], answer[1:]
        if code == 0 and kind == _RESULT:
            return text
        if code == 0 and kind == _REFUSED:
            raise ArchiveError(text.decode(errors="replace"))
        if code == 0 and kind == _LACKED:
            reason = text.decode(errors="replace")
        else:
            reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            if -code in _CRASHES and attempt + 1 == _ATTEMPTS:
                raise ArchiveError(f"the process that read it died each time ({reason})")
    raise HelperDiedError(
        f"the process that was to read it could not ({reason}; tried {_ATTEMPTS} times): this is a "
        "limit of this process or node (ulimit -v, -t, -u, memory), and says nothing of the file"
    )


def _in_child(work: Callable[[], bytes]) -> tuple[int, bytes]:
    """The child's exit code (negative: the signal that ended it) and its answer; raises OSError."""
    reader, writer = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        raise
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
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), b"".join(parts)


def _child(work: Callable[[], bytes], writer: int) -> NoReturn:
    code = 1
    try:
        close_inherited((writer,))
        signal.set_wakeup_fd(-1)
        faulthandler.disable()  # its death is an answer, not news for the log
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_CPU, _CPU_SECONDS)
        memory = _limit(resource.RLIMIT_AS, _MEMORY)
        view = memoryview(_answer(work, memory))
        while view:
            view = view[os.write(writer, view) :]
        code = 0
    finally:
        os._exit(code)


def _limit(kind: int, most: int) -> int:
    """Lower a limit to ``most``; one that is lower already stays (only root may raise a hard one).

    Returns what holds now.
    """
    soft, hard = resource.getrlimit(kind)
    most = min([most, *(value for value in (soft, hard) if value != resource.RLIM_INFINITY)])
    resource.setrlimit(kind, (most, most))
    return most


def _answer(work: Callable[[], bytes], memory: int) -> bytes:
    """``work()``'s result or error, as a child's answer."""
    try:
        return _RESULT + work()
    except Exception as error:
        kind = _LACKED if _is_lack(error, memory) else _REFUSED
        return kind + (str(error) or type(error).__name__).encode(errors="replace")


def _is_lack(error: Exception, memory: int) -> bool:
    """Whether an error comes from this process's limits, and not from what the work reads."""
    if isinstance(error, MemoryError):
        return memory < _MEMORY  # at the full limit the input takes it all
    # A library's own complaint of its input may be an OSError too, without a number.
    return isinstance(error, ImportError) or getattr(error, "errno", None) in _LACKS
