"""The command ``imagenetfs``: what happens before and after a command's own work.

Nothing but the standard library's os and sys may be imported here before ``isolate`` has run.
"""

from __future__ import annotations

import os
import sys


def command() -> None:
    """The console's command: :func:`main`, and the process ends.

    Python's own way out takes every object apart first, which takes 0.1 s; the
    system is through at once.
    """
    from imagenetfs.cli.standard_streams import open_missing

    open_missing()
    code = main()
    for stream in (sys.stdout, sys.stderr):
        try:  # after a success that has been done
            stream.flush()
        except (AttributeError, OSError, ValueError):
            continue
    os._exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Run one command line (``sys.argv`` by default) and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if arguments is None:
        from imagenetfs.cli.isolation import isolate

        isolate(given)

    import logging

    # What the layers below log goes to a mount's log; a command tells the same in its own words.
    logging.getLogger("imagenetfs").addHandler(logging.NullHandler())

    from imagenetfs.cli.argv import split_argv
    from imagenetfs.cli.error_report import guarded

    def work() -> int:
        from imagenetfs.cli.commands import execute

        return execute(split_argv(given))

    return guarded(work, is_run=given[:1] in (["run"], ["enter"]))
