"""The interpreters that wheels are built for: which are here, and with their headers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")
"""The versions that a wheelhouse is for."""

_KEPT_IN = (".pyenv/versions/*/bin", ".local/share/uv/python/*/bin")
"""Where pyenv and uv keep interpreters, below the home directory."""

_ASK = """
import json, sys, sysconfig
print(json.dumps(["%d.%d" % sys.version_info[:2], sysconfig.get_path("include"), sys.maxsize]))
"""

_WRAPPED = re.compile(r"#\s*include\s*<(\S+-linux-gnu/python[\d.]+/pyconfig\.h)>")
"""Debian's pyconfig.h includes that of the processor."""


@dataclass(frozen=True)
class Python:
    """An interpreter: ``version`` as "3.12", ``include`` the directory of Python.h."""

    program: Path
    version: str
    include: Path

    @property
    def tag(self) -> str:
        """As wheels name it: cp312."""
        return "cp" + self.version.replace(".", "")

    def headers_into(self, directory: Path, system: Path = Path("/usr/include")) -> Path:
        """Copy the headers, with a pyconfig.h of its own, so that a compiler that does not look
        into /usr/include has all. Python's configuration is the same on every 64-bit Linux, but
        for what the interpreter itself is compiled with.
        """
        if not directory.exists():
            beside = directory.with_name(directory.name + ".new")
            shutil.rmtree(beside, ignore_errors=True)
            shutil.copytree(self.include, beside)
            wrapped = _WRAPPED.findall((beside / "pyconfig.h").read_text())
            real = [system / name for name in wrapped if (system / name).exists()]
            if real:
                shutil.copy(real[0], beside / "pyconfig.h")
            beside.rename(directory)
        return directory


def candidates(versions: Iterable[str], home: Path, path: str) -> list[Path]:
    """Programs that may be the interpreters, those on ``path`` first."""
    directories = [Path(word) for word in path.split(os.pathsep) if word]
    for pattern in _KEPT_IN:
        directories += sorted(home.glob(pattern), reverse=True)
    names = [f"python{version}" for version in versions]
    found = [directory / name for name in names for directory in directories]
    return [program for program in found if os.access(program, os.X_OK)]


def ask(program: Path) -> Python | None:
    """The interpreter at ``program``; None where it does not run, or is one of 32 bits."""
    words = [str(program), "-I", "-c", _ASK]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
        version, include, largest = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None  # a shim of pyenv for a version that is not chosen ends so
    return Python(program, version, Path(include)) if largest > 2**32 else None


def find(
    versions: Iterable[str], programs: Iterable[Path]
) -> tuple[dict[str, Python], dict[str, str]]:
    """For each version the first interpreter that has its headers; for the others why not."""
    wanted = list(versions)
    found: dict[str, Python] = {}
    without = dict.fromkeys(wanted, "no such interpreter was found")
    for program in programs:
        if program.name.removeprefix("python") in found:
            continue
        python = ask(program)
        if python is None or python.version not in without:
            continue
        if not (python.include / "Python.h").exists():
            without[python.version] = f"{program} has no Python.h in {python.include}"
            continue
        found[python.version] = python
        del without[python.version]
    return found, without
