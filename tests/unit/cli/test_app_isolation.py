"""A PYTHONPATH full of other versions breaks nothing, and the user's command still gets it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import imagenetfs
from imagenetfs.cli import app

HOME = Path(imagenetfs.__file__).parents[1]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A directory of packages that cannot be imported."""
    directory = tmp_path / "other versions"
    directory.mkdir()
    for name in ("numpy", "typer", "rich", "typing_extensions", "platformdirs", "trio", "click"):
        (directory / f"{name}.py").write_text("raise ImportError('another version')\n")
    return directory


def imagenetfs_command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from imagenetfs.cli.app import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_a_broken_pythonpath(broken: Path) -> None:
    done = imagenetfs_command("settings", "--json", PYTHONPATH=str(broken))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_broken_current_directory_beside_a_pythonpath(broken: Path, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError\n")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "imagenetfs", "settings"],
        cwd=broken,
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_being_found_through_pythonpath(tmp_path: Path) -> None:
    # As after `pip install --target`: without PYTHONPATH there would be no package at all.
    (tmp_path / "imagenetfs").symlink_to(HOME / "imagenetfs")
    code = "import sys; from imagenetfs.cli.app import main; sys.exit(main(['--version']))"
    assert app._is_found_through(f"/elsewhere:{HOME}")
    assert not app._is_found_through("/elsewhere:/other")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{HOME}"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0


class Execed(Exception):
    """Stands for the process that would have been started."""


@pytest.fixture
def exec_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    calls: list[tuple[list[str], dict[str, str]]] = []

    def execve(path: str, command: list[str], environ: dict[str, str]) -> None:
        calls.append((command, dict(environ)))
        raise Execed

    monkeypatch.setattr(os, "execve", execve)
    for name in ("PYTHONPATH", app.SAVED, app.KEPT):
        monkeypatch.delenv(name, raising=False)
    return calls


def test_without_pythonpath_nothing_is_started(
    exec_calls: list[tuple[list[str], dict[str, str]]],
) -> None:
    app.isolate(["status"])
    assert exec_calls == []


def test_starting_again_without_it(
    exec_calls: list[tuple[list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/other")
    monkeypatch.setattr(sys, "flags", SimpleNamespace(ignore_environment=0))  # not python -E
    with pytest.raises(Execed):
        app.isolate(["run", "--", "x"])
    command, environ = exec_calls[0]
    assert command == [sys.executable, "-P", "-m", "imagenetfs", "run", "--", "x"]
    assert "PYTHONPATH" not in environ
    assert environ[app.SAVED] == "/other"


def test_the_second_start_gives_it_back(
    exec_calls: list[tuple[list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(app.SAVED, "/other")
    app.isolate([])
    assert exec_calls == []
    assert os.environ["PYTHONPATH"] == "/other"
    assert app.SAVED not in os.environ


def test_what_is_found_through_it_alone_is_not_lost(
    exec_calls: list[tuple[list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A cluster's modules may hold numpy: then PYTHONPATH has to stay, and only one more start.
    monkeypatch.setenv(app.SAVED, "/modules")
    monkeypatch.setattr(app, "_NEEDED", ("numpy", "no_such_package_anywhere"))
    with pytest.raises(Execed):
        app.isolate([])
    environ = exec_calls[0][1]
    assert environ["PYTHONPATH"] == "/modules"
    os.environ.update(environ)
    app.isolate([])
    assert len(exec_calls) == 1
    assert app.KEPT not in os.environ
