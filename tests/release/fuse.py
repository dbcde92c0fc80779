"""libfuse3 from its source, and pyfuse3's wheel with it inside."""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
from pathlib import Path

from tests.release.pythons import Python
from tests.release.report import StepFailed, call
from tests.release.toolchain import Toolchain

_OPTIONS = (
    *("examples=false", "utils=false", "tests=false", "useroot=false", "disable-mtab=true"),
    # /usr is where the library looks for fusermount3 first; PATH is next.
    *("prefix=/usr", "libdir=lib", "buildtype=release"),
)

_NOTICE = """This wheel holds, beside pyfuse3, a copy of libfuse {version} in pyfuse3.libs/: the
unchanged library (lib/, include/) of {source}, compiled for glibc 2.28.
Both are under the GNU Lesser General Public License, version 2.1; its text is in LGPL2.txt.
The library is a shared one: another libfuse3 can take its place in that directory.
The sources that both were made from lie beside the wheels, in the wheelhouse's directory sources/.
"""


# auditwheel repairs wheels of any processor, and offers the tags of this machine's alone.
_AUDITWHEEL = """
import sys
from auditwheel import architecture, main
other = architecture.Architecture(sys.argv.pop(1))
architecture.Architecture.detect = staticmethod(lambda *, bits=None: other)
sys.exit(main.main())
"""


def tools() -> Path:
    """Where meson, ninja, auditwheel and the others are."""
    return Path(sys.executable).parent


# --- the source -----------------------------------------------------------------------------------


def debian_source(directory: Path, log: Path) -> Path:
    """Fetch Debian's source of fuse3 by apt-get, into ``directory`` and with lists of its own: the
    system's are left as they are, and no root is needed.
    """
    if shutil.which("apt-get") is None:
        raise StepFailed(
            "this is no Debian or Ubuntu: fetch a release of libfuse 3 (fuse-3.*.tar.*) yourself "
            'and name it: make wheelhouse WHEELHOUSE_ARGS="--fuse FILE"'
        )
    lists = directory / "sources.list.d"
    lists.mkdir(parents=True, exist_ok=True)
    for part in (directory / "lists" / "partial", directory / "cache" / "archives" / "partial"):
        part.mkdir(parents=True, exist_ok=True)
    for name, text in source_lists(Path("/etc/apt")):
        (lists / name).write_text(text)
    options = ["-q", "-o", f"Dir::Etc::sourceparts={lists}", "-o", "Dir::Etc::sourcelist=/dev/null"]
    options += ["-o", f"Dir::State::lists={directory}/lists", "-o", f"Dir::Cache={directory}/cache"]
    call(["apt-get", *options, "update"], log)
    call(["apt-get", *options, "source", "--download-only", "fuse3"], log, directory=directory)
    found = sorted(directory.glob("fuse3_*.orig.tar.*[!c]"))  # not the signature, .asc
    if not found:
        raise StepFailed(f"apt-get fetched no source of fuse3 ({log})")
    return found[-1]


def source_lists(apt: Path) -> list[tuple[str, str]]:
    """The system's lists of packages, as lists of their sources."""
    found = []
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        text = re.sub(r"^Types:.*$", "Types: deb-src", path.read_text(), flags=re.MULTILINE)
        text = re.sub(r"^deb\s", "deb-src ", text, flags=re.MULTILINE)
        found.append((path.name, text))
    return found


def unpack(archive: Path, directory: Path) -> Path:
    """The source tree, with meson.build in it."""
    shutil.rmtree(directory, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data")
    found = sorted(directory.glob("meson.build")) + sorted(directory.glob("*/meson.build"))
    if not found:
        raise StepFailed(f"{archive} is no source of libfuse 3: it has no meson.build")
    return found[0].parent


def version_of(tree: Path) -> str:
    """libfuse's version, by its meson.build."""
    found = re.search(r"version: '(3\.[\d.]+)'", (tree / "meson.build").read_text())
    if found is None:
        raise StepFailed(f"{tree}/meson.build names no version 3")
    return found[1]


# --- the builds -----------------------------------------------------------------------------------


def build_library(tree: Path, chain: Toolchain, log: Path) -> str:
    """Compile libfuse3 and install it below the toolchain's root; what was made, in words."""
    environment = chain.environment()
    build = chain.directory / f"fuse-{chain.architecture}"
    shutil.rmtree(build, ignore_errors=True)
    shutil.rmtree(chain.root, ignore_errors=True)
    words: list[str | Path] = [tools() / "meson", "setup", build, tree]
    words += ["--cross-file", chain.binaries / "cross.ini", *(f"-D{option}" for option in _OPTIONS)]
    call(words, log, environment)
    call([tools() / "ninja", "-C", build], log, environment)
    install: list[str | Path] = [
        tools() / "meson",
        "install",
        "--no-rebuild",
        "-C",
        build,
        "--destdir",
        chain.root,
    ]
    call(install, log, environment)
    return f"libfuse {version_of(tree)}"


def build_wheel(sdist: Path, python: Python, chain: Toolchain, licences: Path, log: Path) -> Path:
    """pyfuse3's wheel for one Python and one processor, with libfuse3 and its licence inside."""
    work = chain.directory / f"{python.tag}-{chain.architecture}"
    shutil.rmtree(work, ignore_errors=True)
    headers = python.headers_into(chain.directory / f"include-{python.tag}")
    environment = chain.environment(headers) | {
        # What the interpreter would say of its own processor.
        "_PYTHON_HOST_PLATFORM": f"linux-{chain.architecture}",
        "SETUPTOOLS_EXT_SUFFIX": f".cpython-{python.tag[2:]}-{chain.architecture}-linux-gnu.so",
    }
    pip: list[str | Path] = [
        python.program,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "wheel",
        "--quiet",
    ]
    call([*pip, "--no-deps", "--no-cache-dir", "--wheel-dir", work / "w", sdist], log, environment)
    (built,) = (work / "w").glob("*.whl")
    call([tools() / "wheel", "unpack", "--dest", work / "tree", built], log)
    (info,) = (work / "tree").glob("*/*.dist-info")
    shutil.copytree(licences, info / "licenses" / "libfuse", dirs_exist_ok=True)
    built.unlink()
    call([tools() / "wheel", "pack", "--dest-dir", work / "w", info.parent], log)
    (packed,) = (work / "w").glob("*.whl")
    repair: list[str | Path] = [sys.executable, "-c", _AUDITWHEEL, chain.architecture, "repair"]
    repair += ["--plat", chain.platform, "--wheel-dir", work / "repaired", packed]
    call(repair, log, environment)
    (repaired,) = (work / "repaired").glob("*.whl")
    return repaired


def licences_into(directory: Path, tree: Path, source: Path) -> Path:
    """The texts that go into each wheel: libfuse's licences, and what the wheel holds."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name in ("LICENSE", "LGPL2.txt", "AUTHORS"):
        shutil.copy(tree / name, directory / name)
    notice = _NOTICE.format(version=version_of(tree), source=source.name)
    (directory / "NOTICE.txt").write_text(notice)
    return directory
