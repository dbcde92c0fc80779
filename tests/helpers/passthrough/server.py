"""The process behind a slow source: it mounts, serves, and obeys one line of JSON a command.

Commands come over a Unix socket: ``{"do": "set", "latency": 0.01}`` and so on; each is answered by
one line, an object whose ``error`` is there where the command could not be done.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from dataclasses import asdict, fields
from typing import Any

import pyfuse3
import trio

from tests.helpers.passthrough.behaviour import Behaviour, Fault
from tests.helpers.passthrough.clock import Clock
from tests.helpers.passthrough.operations import PassThrough

_MOST_TASKS = 256
"""Requests that may be under way at once."""

_SETTABLE = {field.name for field in fields(Behaviour)} - {"faults", "_asked"}


class Server:
    """A mounted pass-through and its commands."""

    def __init__(self, operations: PassThrough) -> None:
        self._operations = operations

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what a command says."""
        operations, behaviour = self._operations, self._operations.behaviour
        action = command.pop("do")
        if action == "set":
            unknown = set(command) - _SETTABLE
            if unknown:
                raise ValueError(f"no such settings: {', '.join(sorted(unknown))}")
            for name, value in command.items():
                setattr(behaviour, name, value)
        elif action == "fault":
            behaviour.faults.append(Fault(**command))
        elif action == "clear":
            behaviour.faults.clear()
        elif action == "release":
            operations.release_all()
        elif action == "reset":
            operations.counters.clear()
        elif action != "show":
            raise ValueError(f"no command is called {action}")
        return {
            "counters": dict(operations.counters),
            "hanging": operations.hanging,
            "faults": [asdict(fault) for fault in behaviour.faults],
        }

    async def talk(self, stream: trio.SocketStream) -> None:
        """Answer one connection until it closes."""
        text = b""
        async with stream:
            async for part in stream:
                *lines, text = (text + part).split(b"\n")
                for line in lines:
                    try:
                        answer = self.obey(json.loads(line))
                    except (ValueError, TypeError, KeyError) as error:
                        answer = {"error": f"{type(error).__name__}: {error}"}
                    await stream.send_all(json.dumps(answer).encode() + b"\n")


def serve(
    directory: str,
    mountpoint: str,
    behaviour: Behaviour,
    control: str | None,
    *,
    with_parent: bool = False,
) -> None:
    """Mount and serve until SIGTERM or SIGINT, or until unmounted; prints READY when it is mounted.

    ``with_parent``: end as well when the standard input is closed, as it is when the parent dies.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    clock = Clock()
    operations = PassThrough(directory, behaviour, clock)
    options = {"fsname=passthrough", "subtype=passthrough", "ro"}
    if os.geteuid() == 0:
        options.add(
            "allow_other"
        )  # so that another user meets this module's rules, not the kernel's
    pyfuse3.init(operations, mountpoint, options)
    try:
        trio.run(_run, operations, clock, control, with_parent)
    finally:
        operations.release_all()
        pyfuse3.close(unmount=True)


async def _run(
    operations: PassThrough, clock: Clock, control: str | None, with_parent: bool
) -> None:
    server = Server(operations)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.run)
        nursery.start_soon(_end_by_signal, nursery)
        if with_parent:
            nursery.start_soon(_end_with_input, nursery)
        if control is not None:
            listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
            await listener.bind(control)
            listener.listen(16)
            nursery.start_soon(trio.serve_listeners, server.talk, [trio.SocketListener(listener)])
        print("READY", flush=True)
        await pyfuse3.main(min_tasks=1, max_tasks=_MOST_TASKS)
        nursery.cancel_scope.cancel()


async def _end_by_signal(nursery: trio.Nursery) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            nursery.cancel_scope.cancel()


async def _end_with_input(nursery: trio.Nursery) -> None:
    await trio.lowlevel.wait_readable(sys.stdin.fileno())
    nursery.cancel_scope.cancel()
