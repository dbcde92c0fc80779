"""Man pages: one for each command, made when the package is built, which formatters take."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from imagenetfs.cli.commands import COMMANDS
from imagenetfs.cli.man_page import man_pages, write_man_pages
from imagenetfs.errors import ExitCode

PAGES = man_pages("1.2.3")
REPOSITORY = Path(__file__).parents[3]


def test_a_page_for_each_command() -> None:
    assert {"imagenetfs.1", "imagenetfs-cache-ls.1"} <= PAGES.keys()
    assert {f"imagenetfs-{name}.1" for name in COMMANDS} <= PAGES.keys()
    for name in ("EXAMPLES", "OPTIONS", "CACHE", "EVERY COMMAND"):
        assert f"\n.SH {name}\n" in PAGES["imagenetfs-mount.1"]


def test_every_exit_code_is_in_the_first_page() -> None:
    for code in ExitCode:
        assert f"\n.TP\n{int(code)}\n" in PAGES["imagenetfs.1"]


@pytest.mark.parametrize("name", PAGES)
def test_what_is_no_request_begins_no_line_as_one(name: str) -> None:
    for line in PAGES[name].splitlines():
        known = re.match(r"\.(TH|SH|PP|TP|RS|RE|br|nf|fi|nh|ad l)\b|\\fB|[^.'\\]|\\&", line)
        assert known, line
        assert "`" not in line


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_has_nothing_to_complain_of(tmp_path: Path) -> None:
    pages = write_man_pages(tmp_path, "1.2.3")
    command = ["groff", "-man", "-Tascii", "-ww", *map(str, pages)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "imagenetfs run /datashare/imagenet -- python train.py" in done.stdout


def setuptools_fits() -> bool:
    """Whether the setuptools here is one that may build the package."""
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        [wanted] = tomllib.load(file)["build-system"]["requires"]
    try:
        there = version("setuptools")
    except PackageNotFoundError:
        return False
    return int(there.split(".")[0]) >= int(wanted.removeprefix("setuptools>="))


@pytest.mark.slow
@pytest.mark.skipif(not setuptools_fits(), reason="needs the setuptools that pyproject.toml names")
def test_they_are_made_when_the_package_is_built(tmp_path: Path) -> None:
    where = ["build", "--build-base", str(tmp_path / "b"), "install_data"]
    command = [sys.executable, "setup.py", "-q", *where, "--install-dir", str(tmp_path / "to")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (tmp_path / "to" / "share" / "man" / "man1").iterdir()}
    assert made == PAGES.keys()
