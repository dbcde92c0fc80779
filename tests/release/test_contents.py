"""What is missing from a distribution is named."""

from __future__ import annotations

import email
import tomllib
from pathlib import Path

from tests.release import contents

REPOSITORY = Path(__file__).parents[2]

WHOLE = """\
Name: imagenetfs
Version: 1.0
Summary: s
Author: a
License-Expression: MIT
Requires-Python: >=3.11
Project-URL: Repository, https://x
Classifier: Development Status :: 4 - Beta
Classifier: Intended Audience :: Science/Research
Classifier: Operating System :: POSIX :: Linux
Classifier: Programming Language :: Python :: 3

# imagenetfs
"""


def test_metadata_that_is_whole() -> None:
    found = email.message_from_string(WHOLE)
    assert contents.metadata_lacks(found) == []
    assert contents.has_repository(found)


def test_metadata_that_is_missing() -> None:
    text = WHOLE.replace("License-Expression", "Other").replace("Operating System", "Other")
    text = text.replace("Project-URL: Repository", "Project-URL: ImageNet").replace("# im", "im")
    found = email.message_from_string(text)
    expected = ["License-Expression", "Classifier Operating System"]
    assert contents.metadata_lacks(found) == [*expected, "the description (README.md)"]
    assert not contents.has_repository(found)


def test_files_that_a_wheel_lacks() -> None:
    tracked = ["README.md", "docs/slurm/a.sbatch", "imagenetfs/x.py", "tests/t.py", "systemd/u"]
    data = "imagenetfs-1.0.data/data/" + contents.SHARE
    names = ["imagenetfs/x.py", data + "README.md", data + "systemd/u"]
    expected = [contents.SHARE + "docs/slurm/a.sbatch", "LICENSE"]
    assert contents.wheel_lacks(names, tracked) == expected
    names += [data + "docs/slurm/a.sbatch", "imagenetfs-1.0.dist-info/licenses/LICENSE"]
    assert contents.wheel_lacks(names, tracked) == []


def test_man_pages_that_a_wheel_lacks() -> None:
    data = "imagenetfs-1.0.data/data/" + contents.MAN
    every = contents.man_pages_lacking([])
    assert len(every) > 15
    names = [data + page.removeprefix(contents.MAN) for page in every]
    assert contents.man_pages_lacking(names[1:]) == every[:1]
    assert contents.man_pages_lacking(names) == []


def test_the_section_of_a_version() -> None:
    assert contents.has_section("# C\n\n## [1.0] - 2026-11-30\n", "1.0")
    assert not contents.has_section("## [Unreleased]\n## [1x0] - 2026-11-30\n", "1.0")


def test_every_page_and_script_is_asked_for_by_the_wheel() -> None:
    """As `make release-check` finds it in the wheel, without building one."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    asked = set()
    for place, patterns in settings["data-files"].items():
        for path in (path for pattern in patterns for path in REPOSITORY.glob(pattern)):
            asked.add(f"{place}/{path.name}")
    here = [REPOSITORY / name for name in contents.INSTALLED]
    files = [path for top in here for path in (top, *top.rglob("*")) if path.is_file()]
    tracked = [
        str(path.relative_to(REPOSITORY)) for path in files if "__pycache__" not in path.parts
    ]
    assert contents.wheel_lacks([*asked, "x.dist-info/LICENSE"], tracked) == []
