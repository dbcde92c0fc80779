"""The one place where an error becomes a sentence and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable

from imagenetfs.cli.terminal import DEBUG_VARIABLE, is_debugging, say, say_traceback
from imagenetfs.errors import ExitCode, ImagenetfsError
from imagenetfs.job.signals import StopSignal
from imagenetfs.system.resources import shortage
from imagenetfs.system.text import printable

INTERRUPTED = 130
"""128 and SIGINT, as shells have it."""

PIPE_CLOSED = 141
"""128 and SIGPIPE: the reader of our output has gone."""

_RUN_CODES = (
    ExitCode.COMMAND_NOT_EXECUTABLE,
    ExitCode.COMMAND_NOT_FOUND,
    ExitCode.REQUIREMENT_NOT_MET,
)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_MOST_LOG_BYTES = 1 << 20


def guarded(work: Callable[[], int], *, is_run: bool = False) -> int:
    """``work``'s exit code, or that of the error it raised, which is told on standard error.

    ``is_run``: 125 for every failure of our own, so that the command's codes stay its own; but what
    ``--require`` refuses has the code that a script asks for by that option.
    """
    try:
        code = work()
        sys.stdout.flush()
        return code
    except ImagenetfsError as error:
        say(str(error), always=True)
        if is_run and error.exit_code not in _RUN_CODES:
            return ExitCode.RUN_FAILED
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except StopSignal as stop_signal:
        return 128 + stop_signal.number
    except BrokenPipeError:
        # Python flushes standard output once more at exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return PIPE_CLOSED
    except Exception as error:
        code = _tell_unexpected(error)
        return ExitCode.RUN_FAILED if is_run else code


def _tell_unexpected(error: Exception) -> int:
    lacking = shortage(error)
    if lacking is not None:
        say(str(lacking), always=True)
        return lacking.exit_code
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        file = error.filename or "a file"
        say(f"There is no space left to write {file}: {error.strerror}.", always=True)
        return ExitCode.NO_SPACE
    if is_debugging() or os.environ.get(DEBUG_VARIABLE):
        say_traceback(traceback.format_exc())
        where = "The traceback stands above."
    else:
        where = _keep_traceback()
    what = f"{type(error).__name__}: {error}"
    say(f"This should not have happened: {what}. {where}", always=True)
    return ExitCode.INTERNAL


def _keep_traceback() -> str:
    """Append the traceback to a small log; says where it is, or how to see it."""
    try:
        from imagenetfs.job.logs import log_directory
        from imagenetfs.system.files import open_to_append

        path = log_directory() / "commands.log"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_long = path.exists() and path.stat().st_size > _MOST_LOG_BYTES
        opened = open_to_append(path, truncate=is_long)
        with os.fdopen(opened, "a", encoding="utf-8", errors="backslashreplace") as file:
            lines = [" ".join(sys.argv), *traceback.format_exc().splitlines(), ""]
            file.writelines(printable(line) + "\n" for line in lines)
    except Exception:
        return f"Set {DEBUG_VARIABLE}=1 to see where."
    return f"The traceback is in {path}."
