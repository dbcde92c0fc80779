"""``python -m tests.release.check``: build what would be published, and try it.

The archive of sources and the wheel are built into dist/ and looked into; then the wheel is
installed by pip, pipx and uv, each into an environment and a home directory of its own, and each
installation must make a sample tree, describe it, and mount it and read from it. Packages come from
wheelhouse/ alone where that is (``make wheelhouse``), else from the index.

Exit status: 0 if all was done, 1 if a step failed. "to do" is what only an author can decide.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.release import contents
from tests.release.report import LEFT_OUT, TO_DO, Report, StepFailed, call, end

REPOSITORY = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
_KEPT = ("PATH", "LANG", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "SSL_CERT_FILE")
"""What a fresh environment has of the caller's variables."""


class Trial:
    """One installation: a home directory, and how to put the wheel into it."""

    def __init__(self, directory: Path, wheel: Path, wheelhouse: Path | None, log: Path) -> None:
        self.home, self.wheel, self.wheelhouse, self.log = directory, wheel, wheelhouse, log
        directory.mkdir(parents=True)

    @property
    def requirement(self) -> str:
        return f"{self.wheel}[sample]"

    def environment(self) -> dict[str, str]:
        """A user's who has just come: a home of its own, and the wheelhouse if there is one."""
        found = {name: os.environ[name] for name in _KEPT if name in os.environ}
        found |= {"HOME": str(self.home), "TMPDIR": str(self.home), "COLUMNS": "100"}
        if self.wheelhouse:
            found |= {
                "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": str(self.wheelhouse),
                "UV_NO_INDEX": "1",
                "UV_FIND_LINKS": str(self.wheelhouse),
                "UV_OFFLINE": "1",
            }
        return found

    def call(self, *words: str | Path) -> str:
        return call(words, self.log, self.environment(), self.home)

    def pip(self) -> Path:
        """Install by pip into a new environment; where the command is."""
        self.call(sys.executable, "-m", "venv", self.home / "env")
        pip: list[str | Path] = [
            self.home / "env/bin/python",
            "-m",
            "pip",
            "--disable-pip-version-check",
        ]
        self.call(*pip, "install", "--quiet", self.requirement)
        return self.home / "env/bin/imagenetfs"

    def pipx(self) -> Path:
        """Install by pipx."""
        self.call(TOOLS / "pipx", "install", "--python", sys.executable, self.requirement)
        return self.home / ".local/bin/imagenetfs"

    def uv(self) -> Path:
        """Install by uv."""
        words = ["tool", "install", "--python", sys.executable]
        self.call(TOOLS / "uv", *words, self.requirement)
        return self.home / ".local/bin/imagenetfs"

    def use(self, command: Path, version: str) -> str:
        """Everything that the front page promises of an installation; what was done, in words."""
        said = self.call(command, "--version").strip()
        if said != f"imagenetfs {version}":
            raise StepFailed(f"--version says {said!r}")
        self.call(command, "sample", "tree", "--classes", "2", "--images", "4")
        if "ILSVRC2012" not in self.call(command, "info", "tree"):
            raise StepFailed(f"info does not name ILSVRC2012 ({self.log})")
        script = "ls {mnt}/ILSVRC2012/train | wc -l; cat {mnt}/ILSVRC2012/train/*/* | sha256sum"
        classes, digest = self.call(command, "run", "tree", "--", "sh", "-c", script).splitlines()
        if classes != "2" or digest.split()[0] == hashlib.sha256().hexdigest():
            raise StepFailed(f"the mount shows {classes} classes, and {digest} of their bytes")
        script = f"{contents.SHARE}docs/slurm/one-node.sbatch"
        if not (command.resolve().parents[1] / script).exists():
            raise StepFailed(f"{script} is not in the environment of {command}")
        return "sample, info, mount and read; the job scripts are beside it"


def build(dist: Path, log: Path) -> str:
    """Make the archive of sources, and of that the wheel."""
    shutil.rmtree(dist, ignore_errors=True)
    call([TOOLS / "pyproject-build", "--outdir", dist, REPOSITORY], log)
    return ", ".join(sorted(path.name for path in dist.iterdir()))


def looked_into(wheel: Path, sdist: Path, log: Path) -> str:
    """All that must be in both is there."""
    tracked = call(["git", "ls-files"], log, directory=REPOSITORY).splitlines()
    lacks = [f"metadata: {field}" for field in contents.metadata_lacks(contents.metadata(wheel))]
    lacks += [f"wheel: {n}" for n in contents.wheel_lacks(contents.wheel_names(wheel), tracked)]
    lacks += [f"wheel: {n}" for n in contents.man_pages_lacking(contents.wheel_names(wheel))]
    there = set(contents.sdist_names(sdist))
    lacks += [f"sdist: {n}" for n in tracked if n not in there and n != ".gitignore"]
    if lacks:
        raise StepFailed(f"{len(lacks)} missing: {', '.join(lacks[:10])}")
    return f"metadata, licence, and {len(tracked)} files of the repository"


def decisions(report: Report, wheel: Path) -> None:
    """What an author has to do before this can be published."""
    found = contents.metadata(wheel)
    if not contents.has_repository(found):
        say = "[project.urls] of pyproject.toml names no repository: publish with its address"
        report.add("address", TO_DO, say)
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    if not contents.has_section(changelog, str(found["Version"])):
        say = f"name the section [Unreleased] of CHANGELOG.md [{found['Version']}] - the day"
        report.add("changelog", TO_DO, say)


def try_all(report: Report, wheel: Path, wheelhouse: Path | None, log: Path) -> None:
    """Install by each installer, and use what is installed."""
    version = str(contents.metadata(wheel)["Version"])
    with tempfile.TemporaryDirectory(prefix="imagenetfs-release-") as directory:
        for name in ("pip", "pipx", "uv"):
            trial = Trial(Path(directory) / name, wheel, wheelhouse, log)
            install: Callable[[], Path] = getattr(trial, name)
            commands: list[Path] = []

            def installed(
                install: Callable[[], Path] = install, commands: list[Path] = commands
            ) -> str:
                commands.append(install())
                return str(commands[0].relative_to(directory))

            if report.step(f"{name}: install", installed):
                report.step(f"{name}: use", partial(trial.use, commands[0], version))


def main(words: list[str]) -> int:
    """Build, check, try; print the table and return the exit status."""
    parser = argparse.ArgumentParser("tests.release.check", description="Check a release.")
    parser.add_argument("--wheelhouse", type=Path, default=REPOSITORY / "wheelhouse")
    parser.add_argument("--dist", type=Path, default=REPOSITORY / "dist")
    arguments = parser.parse_args(words)
    report, log = Report(), REPOSITORY / "build" / "release" / "release.log"
    log.unlink(missing_ok=True)
    dist: Path = arguments.dist.resolve()
    if not report.step("build", partial(build, dist, log)):
        return end(report)
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    twine: list[str | Path] = [TOOLS / "twine", "check", "--strict", wheel, sdist]
    report.step("twine check", lambda: call(twine, log) and "both pass")
    report.step("contents", partial(looked_into, wheel, sdist, log))
    wheelhouse: Path | None = arguments.wheelhouse.resolve()
    if not arguments.wheelhouse.is_dir():
        report.add("wheelhouse", LEFT_OUT, "there is none: packages come from the index")
        wheelhouse = None
    try_all(report, wheel, wheelhouse, log)
    decisions(report, wheel)
    return end(report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
