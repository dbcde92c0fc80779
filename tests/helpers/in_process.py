"""Commands called without a new interpreter: their exit code, and what they wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from imagenetfs.cli.app import main
from tests.helpers.children import ended, in_child


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


def call_forked(capsys: pytest.CaptureFixture[str], *arguments: object) -> Done:
    """The same in a forked child: what a command leaves open, for it ends, is closed with it."""
    reader, writer = os.pipe()

    def work() -> None:
        os.close(reader)
        with open(writer, "w") as file:
            json.dump(call(capsys, *arguments), file)

    pid = in_child(work)
    os.close(writer)
    text = Path(f"/proc/self/fd/{reader}").read_text()
    os.close(reader)
    assert ended(pid) == 0
    return Done(*json.loads(text))
