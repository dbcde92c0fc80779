"""Commands called in the process: their exit code, and what they wrote."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from imagenetfs.cli.app import main


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Done:
    """Run ``imagenetfs ARGUMENTS`` in this process."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    return Done(code, *capsys.readouterr())
