"""The recipes of docs/install ask for what the package asks for, and their scripts are sound."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from imagenetfs import __version__

REPOSITORY = Path(__file__).parents[2]
RECIPES = REPOSITORY / "docs" / "install"


def project() -> dict[str, object]:
    found = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert isinstance(found, dict)
    return found


def requirements(section: str) -> set[str]:
    """A list of the conda recipe's requirements, as pyproject.toml would have them."""
    text = (RECIPES / "meta.yaml").read_text()
    found = re.search(rf"^  {section}:\n((?:    .*\n)+)", text, re.MULTILINE)
    assert found is not None
    lines = [line.strip() for line in found[1].splitlines()]
    return {line.removeprefix("- ").replace(" ", "") for line in lines if line[0] == "-"}


def test_the_conda_recipe_asks_for_what_the_package_asks_for() -> None:
    asked = project()
    assert isinstance(asked["dependencies"], list)
    extra = asked["optional-dependencies"]
    assert isinstance(extra, dict)
    python = f"python{asked['requires-python']}"
    assert requirements("run") == {python, *asked["dependencies"], *extra["sample"]}
    built = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["build-system"]
    assert requirements("host") == {python, "pip", *built["requires"]}


def test_the_conda_recipe_is_of_this_version() -> None:
    assert f'  version: "{__version__}"\n' in (RECIPES / "meta.yaml").read_text()


def sections() -> dict[str, str]:
    """The sections of Apptainer's definition: "%post" -> its lines."""
    text = (RECIPES / "imagenetfs.def").read_text()
    parts = re.split(r"^%(\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", ["post", "test", "runscript"])
def test_the_scripts_of_apptainers_definition_are_sound(name: str) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    words = [str(shellcheck)] if shellcheck.exists() else ["sh", "-n"]
    options = ["--shell=sh", "-"] if shellcheck.exists() else []
    done = subprocess.run(
        [*words, *options], input=sections()[name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_both_container_recipes_install_the_same() -> None:
    containerfile = (RECIPES / "Containerfile").read_text().replace(" \\\n    ", " ")
    post = sections()["post"].replace(" \\\n        ", " ")
    packages = re.compile(r"apt-get install -y --no-install-recommends (\S+?);?(?:\s|$)")
    assert set(packages.findall(post)) == {"fuse3", "python3", "python3-pip"}
    assert set(packages.findall(containerfile)) == set(packages.findall(post))
    pip = re.compile(r"python3 -m pip install (--no-index.*?'imagenetfs\[sample\]')")
    assert pip.findall(post) == pip.findall(containerfile) != []
    image = re.search(r"FROM=(\S+)", sections()["arguments"])
    assert image is not None
    assert f"ARG FROM={image[1]}\n" in containerfile
