"""A C compiler for another glibc and another processor, from the package index: zig's, which has
every glibc's symbols with it. What it makes here runs on the oldest system that is promised.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.release.report import StepFailed

GLIBC = (2, 28)
"""The glibc of Enterprise Linux 8, older than those of Debian 11 and Ubuntu 20.04."""

ARCHITECTURES = ("x86_64", "aarch64")


@dataclass(frozen=True)
class Toolchain:
    """Programs for ``architecture`` below ``directory``: zig-cc and zig-ar."""

    architecture: str
    directory: Path

    @property
    def platform(self) -> str:
        """The tag of wheels: manylinux_2_28_x86_64."""
        return f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{self.architecture}"

    @property
    def binaries(self) -> Path:
        return self.directory / f"bin-{self.architecture}"

    @property
    def root(self) -> Path:
        """Where libraries for the target are installed, as below /."""
        return self.directory / f"root-{self.architecture}"

    def write(self, zig: Path) -> None:
        """Write the programs: shell scripts, for build systems want one word for the compiler."""
        self.binaries.mkdir(parents=True, exist_ok=True)
        target = f"{self.architecture}-linux-gnu.{GLIBC[0]}.{GLIBC[1]}"
        # libfuse's version script names symbols that it has only on other systems.
        compiler = f"cc -target {target} -Wl,--undefined-version"
        for name, words in (("zig-cc", compiler), ("zig-ar", "ar")):
            program = self.binaries / name
            program.write_text(f'#!/bin/sh\nexec {shlex.quote(str(zig))} {words} "$@"\n')
            program.chmod(0o755)
        endian, family = "little", self.architecture
        (self.binaries / "cross.ini").write_text(
            f"[binaries]\nc = '{self.binaries}/zig-cc'\nar = '{self.binaries}/zig-ar'\n"
            f"[host_machine]\nsystem = 'linux'\ncpu_family = '{family}'\ncpu = '{family}'\n"
            f"endian = '{endian}'\n"
        )

    def environment(self, headers: Path | None = None) -> dict[str, str]:
        """For a build of a Python extension: the compiler, and libraries of ``root`` alone.
        ``headers``: Python's, before those that Python names itself.
        """
        tools = Path(sys.executable).parent
        include = f"-I{headers} " if headers else ""
        compiler = str(self.binaries / "zig-cc")
        return {
            **os.environ,
            "PATH": f"{tools}:{os.environ.get('PATH', os.defpath)}",
            "CC": compiler,
            "LDSHARED": f"{compiler} -shared",
            "CFLAGS": f"{include}-O2 -g0",
            "LDFLAGS": "-s",
            "ZIG_GLOBAL_CACHE_DIR": str(self.directory / "zig-cache"),
            "ZIG_LOCAL_CACHE_DIR": str(self.directory / "zig-cache"),
            "PKG_CONFIG_LIBDIR": str(self.root / "usr/lib/pkgconfig"),
            "PKG_CONFIG_SYSROOT_DIR": str(self.root),
            # Else pkg-config leaves out -I/usr/include and -L/usr/lib before it puts the root
            # before them.
            "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1",
            "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1",
            "LD_LIBRARY_PATH": str(self.root / "usr/lib"),
        }


def zig() -> Path:
    """The compiler's own program: `python -m ziglang` is not found by builds in isolation."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise StepFailed("ziglang is not installed: run this by `make wheelhouse`")
    return Path(spec.origin).parent / "zig"
