"""``python -m tests.helpers.passthrough DIR MNT --latency 1ms``: serve in the foreground.

Until SIGTERM, or until it is unmounted.
"""

from __future__ import annotations

import argparse
import json
import re

from tests.helpers.passthrough.behaviour import Behaviour, Fault
from tests.helpers.passthrough.server import serve

_UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "k": 1e3, "M": 1e6, "G": 1e9}


def _number(text: str) -> float:
    """A number with a unit: 1ms, 250us, 100M (bytes a second), 1e9."""
    found = re.fullmatch(r"([\d.]+(?:e\d+)?)\s*([a-zA-Z]*?)(?:B?(?:/s)?)?", text)
    if found is None or found[2] not in _UNITS:
        raise argparse.ArgumentTypeError(f"{text} is no number with a unit such as 1ms or 100M")
    return float(found[1]) * _UNITS[found[2]]


def _fault(text: str) -> Fault:
    """``kind[:operation,...[:rate[:glob]]]``, as in ``EIO:read:0.01`` or ``hang:open:1:*.tar``."""
    kind, operations, rate, paths = (text.split(":", 3) + ["read", "1", "*"][text.count(":") :])[:4]
    try:
        return Fault(kind, operations.split(","), paths, float(rate))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.helpers.passthrough", description=__doc__
    )
    parser.add_argument("directory")
    parser.add_argument("mountpoint")
    parser.add_argument("--latency", type=_number, default=0.0, help="a request, such as 1ms")
    parser.add_argument("--bandwidth", type=_number, default=0.0, help="in all, such as 100M")
    parser.add_argument("--attributes", type=_number, default=3.0, help="are kept so long")
    parser.add_argument("--groups", type=int, default=16, help="how many groups count; -1: all")
    parser.add_argument("--squash-root", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", type=_fault, action="append", default=[], help=_fault.__doc__)
    parser.add_argument("--control", help="a Unix socket to listen on for commands")
    parser.add_argument("--behaviour", type=json.loads, default={}, help=argparse.SUPPRESS)
    parser.add_argument("--with-parent", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    behaviour = Behaviour(
        latency=given.latency,
        bandwidth=given.bandwidth,
        attributes=given.attributes,
        groups=None if given.groups < 0 else given.groups,
        squash_root=given.squash_root,
        seed=given.seed,
        faults=given.fault,
    )
    for name, value in given.behaviour.items():
        if name not in Behaviour.__dataclass_fields__:
            parser.error(f"no such setting: {name}")
        setattr(behaviour, name, value)
    serve(
        given.directory,
        given.mountpoint,
        behaviour,
        given.control,
        with_parent=given.with_parent,
    )


if __name__ == "__main__":
    main()
