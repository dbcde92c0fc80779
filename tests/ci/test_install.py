"""What ``make`` says where a package, a Python or the network is missing, and when it installs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

PYTHON = r"""#!/bin/bash
# A fake: notes each call; pip says and does what a file says, and so does the version.
here=HERE
echo "${0##*/} $*" >> "$here/calls"
case "$*" in
"-c import sys; sys.exit("*) [ "$(cat "$here/version")" = 3.9 ] || exit 1 ;;
"-c import sys; print("*) cat "$here/version" ;;
"-m pip --version") ;;
"-m venv "*)
    [ ! -e "$here/no-venv" ] || { echo "ensurepip is not available"; exit 1; }
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip install "*) cat "$here/pip" >&2; exit "$(cat "$here/pip-status")" ;;
*) ;;
esac
"""

TRACEBACK = """Traceback (most recent call last):
  File "pip/_internal/cli/base_command.py", line 160
"""


@dataclass
class Checkout:
    """A copy of what installs, in a directory with a space, and the fakes that it calls."""

    root: Path
    fakes: Path

    @property
    def calls(self) -> list[str]:
        """What the fakes were called with."""
        path = self.fakes / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def forget(self) -> None:
        (self.fakes / "calls").write_text("")

    def program(self, name: str, text: str) -> None:
        path = self.fakes / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(text.replace("HERE", f"'{self.fakes}'"))
        path.chmod(0o755)

    def pip(self, status: int, text: str = "") -> None:
        (self.fakes / "pip").write_text(text)
        (self.fakes / "pip-status").write_text(str(status))

    def run(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """A command with PATH alone in its environment."""
        settings: dict[str, object] = {
            "cwd": self.root,
            "env": {"PATH": f"{self.fakes / 'bin'}:/usr/bin:/bin"},
            "capture_output": True,
            "text": True,
            "timeout": 100,
            **options,
        }
        return subprocess.run(words, **settings)  # type: ignore[call-overload, no-any-return]  # as run

    def make(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        return self.run("make", "--no-print-directory", *words, **options)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root, fakes = tmp_path / "a checkout", tmp_path / "the fakes"
    (fakes / "bin").mkdir(parents=True)
    shutil.copytree(REPOSITORY / ".ci", root / ".ci")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, root / name)
    one = Checkout(root, fakes)
    (fakes / "version").write_text("3.11\n")
    one.pip(0)
    one.program("python3", PYTHON)
    one.program("dpkg-query", "#!/bin/bash\necho 'install ok installed'\n")
    one.program("apt-get", '#!/bin/bash\necho "apt-get $*" >> HERE/calls\n')
    return one


STAMP = ".venv/installed-demo"


def test_it_installs_and_a_second_time_calls_nothing(checkout: Checkout) -> None:
    done = checkout.make(STAMP)
    assert done.returncode == 0, done.stderr
    assert any("-m pip install" in call for call in checkout.calls)
    checkout.forget()
    assert checkout.make(STAMP).returncode == 0
    assert checkout.calls == []


@pytest.mark.slow
def test_everything_for_the_tests_then_nothing_without_a_network(checkout: Checkout) -> None:
    assert checkout.make(".venv/installed-test").returncode == 0
    checkout.forget()
    checkout.pip(1, "NewConnectionError")
    # What only changes a tool's settings changes no requirement.
    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("\n[tool.other]\nsetting = 1\n")
    os.utime(checkout.root / "Makefile")
    done = checkout.make(".venv/installed-test")
    assert (done.returncode, done.stderr) == (0, "")
    assert not any("pip" in call or "apt-get" in call for call in checkout.calls)


def test_a_new_requirement_is_installed(checkout: Checkout) -> None:
    checkout.make(STAMP)
    checkout.forget()
    path = checkout.root / "pyproject.toml"
    path.write_text(path.read_text().replace('"rich>=13"', '"rich>=14"'))
    later = path.stat().st_mtime + 10
    os.utime(path, (later, later))
    assert checkout.make(STAMP).returncode == 0
    assert any("-m pip install" in call for call in checkout.calls)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("NewConnectionError: Failed to establish a new connection", "cannot be reached"),
        ("Temporary failure in name resolution\nERROR: No matching distribution", "PIP_INDEX_URL"),
        ("ERROR: No matching distribution found for rich (from versions: none)", "PIP_FIND_LINKS"),
        ("OSError: [Errno 28] No space left on device", "make room there"),
        ("Package fuse3 was not found in the pkg-config search path", "libfuse3-dev"),
        ("error: command 'gcc' failed: No such file or directory", "gcc"),
        ("ERROR: No matching distribution found for pyfuse3>=3.3", "for Python 3.11"),
        ("something else", "the end of the log says why"),
    ],
)
def test_a_failure_of_pip_is_one_sentence(checkout: Checkout, output: str, said: str) -> None:
    checkout.pip(1, TRACEBACK + output + "\n")
    done = checkout.make(STAMP)
    assert done.returncode == 2
    (sentence, _made) = done.stderr.splitlines()
    assert sentence.startswith("imagenetfs: pip could not install .[sample]; ")
    assert said in sentence
    assert sentence.endswith("(.venv/install-demo.log)")
    assert "Traceback" not in done.stdout + done.stderr
    assert output in (checkout.root / ".venv" / "install-demo.log").read_text()
    # Nothing says that it is installed, so the next try installs.
    checkout.pip(0)
    assert checkout.make(STAMP).returncode == 0


def test_other_users_may_use_the_environment_whatever_the_umask(checkout: Checkout) -> None:
    """The tests start programs as other users."""
    before = os.umask(0o077)
    try:
        assert checkout.make(STAMP).returncode == 0
    finally:
        os.umask(before)
    for directory in (checkout.root / ".venv", checkout.root / ".venv" / "bin"):
        assert directory.stat().st_mode & 0o055 == 0o055, directory


def test_an_old_python(checkout: Checkout) -> None:
    (checkout.fakes / "version").write_text("3.9\n")
    done = checkout.make(STAMP)
    assert done.returncode == 2
    assert "python3 is Python 3.9; 3.11 or newer is needed: install one" in done.stderr
    assert "make PYTHON=python3.12" in done.stderr
    assert not any("pip" in call for call in checkout.calls)


def test_an_environment_of_an_old_python(checkout: Checkout) -> None:
    (checkout.root / ".venv" / "bin").mkdir(parents=True)
    old = checkout.root / ".venv" / "bin" / "python"
    old.write_text('#!/bin/bash\ncase "$*" in *exit*) exit 0 ;; *) echo 3.9 ;; esac\n')
    old.chmod(0o755)
    done = checkout.make(STAMP)
    assert ".venv was made by Python 3.9; remove it (make clean)" in done.stderr


def test_no_python(checkout: Checkout) -> None:
    done = checkout.make(STAMP, "PYTHON=python3.99")
    assert done.returncode == 2
    assert "there is no python3.99; Python 3.11 or newer is needed" in done.stderr


def test_no_venv_module(checkout: Checkout) -> None:
    (checkout.fakes / "no-venv").touch()
    done = checkout.make(STAMP)
    assert done.returncode == 2
    assert "install python3-venv (apt-get install python3-venv)" in done.stderr


MISSING = "#!/bin/bash\n[ \"${@: -1}\" != fuse3 ] || exit 1\necho 'install ok installed'\n"


def test_a_package_of_the_system_is_installed(checkout: Checkout) -> None:
    checkout.program("dpkg-query", MISSING)
    checkout.program("id", "#!/bin/bash\necho 0\n")
    assert checkout.make(STAMP).returncode == 0
    (install,) = [call for call in checkout.calls if call.startswith("apt-get")]
    assert install.endswith("--no-install-recommends install fuse3")


def test_a_package_that_cannot_be_installed_is_said_once(checkout: Checkout) -> None:
    checkout.program("dpkg-query", MISSING)
    checkout.program("id", "#!/bin/bash\necho 0\n")
    checkout.program("apt-get", "#!/bin/bash\necho 'Could not resolve host' >&2\nexit 100\n")
    done = checkout.make(STAMP)
    (sentence,) = done.stderr.splitlines()
    assert sentence == (
        "imagenetfs: apt-get could not install fuse3 (no network? see .venv/system-packages.log); "
        "an administrator must run: apt-get install -y fuse3 . Trying without."
    )
    assert "resolve" in (checkout.root / ".venv" / "system-packages.log").read_text()
    assert done.returncode == 0


def test_no_right_to_install_packages(checkout: Checkout) -> None:
    checkout.program("dpkg-query", MISSING)
    checkout.program("id", "#!/bin/bash\necho 1000\n")
    checkout.program("sudo", "#!/bin/bash\nexit 1\n")
    done = checkout.make(STAMP)
    assert done.stderr.strip() == (
        "imagenetfs: an administrator must run: apt-get install -y fuse3 . Trying without."
    )


def test_closed_input_ignored_signals_and_a_strict_umask(checkout: Checkout) -> None:
    """As ``nohup make ... &`` of a careful user starts it."""

    def careful() -> None:
        os.close(0)
        os.umask(0o077)
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    done = checkout.make(STAMP, preexec_fn=careful)
    assert (done.returncode, done.stderr) == (0, "")


def test_two_at_once_install_once(checkout: Checkout) -> None:
    first, second = (
        subprocess.Popen(
            ["make", STAMP],
            cwd=checkout.root,
            env={"PATH": f"{checkout.fakes / 'bin'}:/usr/bin:/bin"},
            stdout=subprocess.DEVNULL,
        )
        for _ in range(2)
    )
    assert (first.wait(100), second.wait(100)) == (0, 0)
    assert len([call for call in checkout.calls if "-m pip install" in call]) == 1
