"""``python -m tests.release.wheelhouse``: a directory of wheels with which

    pip install --no-index --find-links wheelhouse imagenetfs

works on Linux with glibc 2.28 or newer, without a compiler, headers or a network, by each of
Python 3.11, 3.12 and 3.13 that is here with its headers. pyfuse3 has libfuse3 inside.

Exit status: 0 if all that could be tried was built, 1 if a build failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.release import fuse, pythons
from tests.release.elf import NotElf, needs
from tests.release.pythons import Python
from tests.release.report import LEFT_OUT, Report, StepFailed, call, end
from tests.release.toolchain import ARCHITECTURES, GLIBC, Toolchain, zig

REPOSITORY = Path(__file__).parents[2]
_OLDEST_NAMED = 5
"""manylinux_2_5 is the oldest tag with a number."""


def platforms(architecture: str) -> list[str]:
    """The tags of wheels that run with our glibc on this processor, the newest first."""
    numbered = [f"manylinux_2_{n}_{architecture}" for n in range(GLIBC[1], _OLDEST_NAMED - 1, -1)]
    return [*numbered, f"manylinux2014_{architecture}"]


def unfit(wheel: Path, architecture: str) -> list[str]:
    """What in a wheel does not load with our glibc on this processor, in words."""
    found = []
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            try:
                asked = needs(archive.read(name))
            except NotElf:
                continue
            if asked.machine != architecture:
                found.append(f"{name} is for {asked.machine}")
            elif asked.glibc() > GLIBC:
                found.append(f"{name} needs glibc {'.'.join(map(str, asked.glibc()))}")
    return found


def pyfuse3_wheels(directory: Path, python: Python, chain: Toolchain) -> Iterator[Path]:
    """Those that are there for this Python and processor."""
    yield from directory.glob(f"pyfuse3-*-{python.tag}-{python.tag}-*_{chain.architecture}.whl")


class Wheelhouse:
    """The steps, in their order, with ``directory`` as result and ``work`` for all between."""

    def __init__(self, directory: Path, work: Path, report: Report) -> None:
        self.directory, self.work, self.report = directory, work, report
        self.log = work / "wheelhouse.log"
        self.sources = directory / "sources"

    def prepare(self, archive: Path | None) -> str:
        """Fetch the sources of both packages; they stay in the wheelhouse, as the LGPL asks."""
        self.sources.mkdir(parents=True, exist_ok=True)
        if archive is None:
            here = sorted(self.sources.glob("fuse3_*.orig.tar.*"))
            archive = here[-1] if here else fuse.debian_source(self.work / "apt", self.log)
        self.archive = self.sources / archive.name
        if archive != self.archive:
            shutil.copy(archive, self.archive)
        self.tree = fuse.unpack(self.archive, self.work / "fuse")
        self.licences = fuse.licences_into(self.work / "licences", self.tree, self.archive)
        found = sorted(self.sources.glob("pyfuse3-*.tar.gz"))
        if not found:
            self._fetch_pyfuse3()
            found = sorted(self.sources.glob("pyfuse3-*.tar.gz"))
        self.sdist = found[-1]
        return f"{self.archive.name}, {self.sdist.name}"

    def _fetch_pyfuse3(self) -> None:
        """pip looks into what it fetches, which needs a library: ours of any processor."""
        chain = self._chain(ARCHITECTURES[0])
        fuse.build_library(self.tree, chain, self.log)
        words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
        words += ["--no-deps", "--no-binary", "pyfuse3", "--dest", str(self.sources), "pyfuse3"]
        call(words, self.log, chain.environment())

    def _chain(self, architecture: str) -> Toolchain:
        chain = Toolchain(architecture, self.work)
        chain.write(zig())
        return chain

    def package(self) -> str:
        """imagenetfs's own wheel: one for all."""
        for old in self.directory.glob("imagenetfs-*.whl"):
            old.unlink()
        words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
        words += ["--no-deps", "--wheel-dir", str(self.directory), str(REPOSITORY)]
        call(words, self.log)
        return self._own().name

    def _own(self) -> Path:
        (own,) = self.directory.glob("imagenetfs-*.whl")
        return own

    def library(self, architecture: str) -> str:
        """libfuse3 for a processor, unless an earlier run has made this version of it."""
        chain = self._chain(architecture)
        made = chain.root / "usr/lib/pkgconfig/fuse3.pc"
        version = fuse.version_of(self.tree)
        if made.exists() and f"Version: {version}\n" in made.read_text():
            return f"libfuse {version}, as built before"
        return fuse.build_library(self.tree, chain, self.log)

    def pyfuse3(self, python: Python, architecture: str) -> str:
        """pyfuse3's wheel; one that is there already, and fits, is kept."""
        chain = self._chain(architecture)
        kept = list(pyfuse3_wheels(self.directory, python, chain))
        built = kept or [fuse.build_wheel(self.sdist, python, chain, self.licences, self.log)]
        wrong = unfit(built[0], architecture)
        if wrong:
            raise StepFailed(f"{built[0].name}: {'; '.join(wrong)}")
        if not kept:
            shutil.move(built[0], self.directory)
        return f"{built[0].name}{', as built before' if kept else ''}"

    def dependencies(self, python: Python, architecture: str) -> str:
        """All that imagenetfs needs, as wheels; pip chooses by this Python's own rules."""
        before = set(self.directory.glob("*.whl"))
        words = [str(python.program), "-m", "pip", "--disable-pip-version-check", "download"]
        words += ["--quiet", "--only-binary", ":all:", "--find-links", str(self.directory)]
        words += ["--python-version", python.version, "--implementation", "cp"]
        for tag in (python.tag, "abi3", "none"):
            words += ["--abi", tag]
        for tag in platforms(architecture):
            words += ["--platform", tag]
        words += ["--dest", str(self.directory), f"{self._own()}[sample]"]
        call(words, self.log)
        added = set(self.directory.glob("*.whl")) - before
        wrong = [f"{wheel.name}: {why}" for wheel in added for why in unfit(wheel, architecture)]
        if wrong:
            raise StepFailed("; ".join(wrong))
        return f"{len(added)} wheels more"


def make(
    house: Wheelhouse, found: list[Python], architectures: list[str], archive: Path | None
) -> None:
    """Do all steps; one that fails costs what stands on it, and nothing else."""
    report = house.report
    if not report.step("sources", lambda: house.prepare(archive)):
        return
    if not report.step("imagenetfs", house.package):
        return
    for architecture in architectures:
        if not report.step(f"libfuse3 {architecture}", partial(house.library, architecture)):
            continue
        for python in found:
            name = f"{python.version} {architecture}"
            if report.step(f"pyfuse3 {name}", partial(house.pyfuse3, python, architecture)):
                also = partial(house.dependencies, python, architecture)
                report.step(f"dependencies {name}", also)


def main(words: list[str]) -> int:
    """Make the wheelhouse; print the table, and return the exit status."""
    parser = argparse.ArgumentParser("tests.release.wheelhouse", description="Make a wheelhouse.")
    parser.add_argument("--directory", type=Path, default=REPOSITORY / "wheelhouse", metavar="DIR")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "wheelhouse")
    parser.add_argument("--arch", action="append", choices=ARCHITECTURES, help="default: all")
    parser.add_argument("--version", action="append", choices=pythons.VERSIONS, help="default: all")
    parser.add_argument("--python", action="append", type=Path, default=[], metavar="PROGRAM")
    parser.add_argument("--fuse", type=Path, metavar="FILE", help="libfuse 3's source, a tar")
    arguments = parser.parse_args(words)
    report = Report()
    versions = arguments.version or pythons.VERSIONS
    programs = pythons.candidates(versions, Path.home(), os.environ.get("PATH", ""))
    found, without = pythons.find(versions, [*arguments.python, *programs])
    house = Wheelhouse(arguments.directory.resolve(), arguments.work.resolve(), report)
    archive = arguments.fuse.resolve() if arguments.fuse else None
    if found:
        make(house, list(found.values()), arguments.arch or list(ARCHITECTURES), archive)
    for version, why in without.items():
        report.add(f"Python {version}", LEFT_OUT, f"{why}; name one by --python PROGRAM")
    return end(report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
