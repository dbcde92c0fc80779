"""The module file, in a shell with Lmod and in one with Environment Modules (a
system has one of the two).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagenetfs import __version__
from tests.helpers.forkserver import REPOSITORY
from tests.jobs.machine import launcher

SYSTEMS = {
    "Lmod": Path("/usr/share/lmod/lmod/init/bash"),
    "Environment Modules": Path("/usr/share/modules/init/bash"),
}

DIALOGUE = """
set -e
. "$INIT"
module use "$MODULES"
before=$PATH
command -v imagenetfs || echo none
module load imagenetfs/1.0
imagenetfs --version
echo "$IMAGENETFS_SOURCE"
command -v python3
imagenetfs info > /dev/null && echo found
module whatis imagenetfs/1.0 2>&1 | grep -o "version/split/class/image"
module help imagenetfs/1.0 2>&1 | grep -o "train.py --data {mnt}/ILSVRC2012"
module unload imagenetfs
[ "$PATH" = "$before" ] && command -v imagenetfs || echo none
echo "source: $IMAGENETFS_SOURCE"
"""


@pytest.mark.parametrize("name", SYSTEMS)
def test_load_use_unload(name: str, tmp_path: Path, sample: Path) -> None:
    if not SYSTEMS[name].exists():
        pytest.skip(f"needs {name} ({SYSTEMS[name]})")
    # As the file says to install it, elsewhere than in /opt.
    opt = tmp_path / "opt"
    for directory in ("bin", "command"):
        (opt / directory).mkdir(parents=True)
    (opt / "bin" / "imagenetfs").write_text(launcher())
    (opt / "bin" / "imagenetfs").chmod(0o755)
    (opt / "bin" / "python3").symlink_to(sys.executable)
    (opt / "command" / "imagenetfs").symlink_to("../bin/imagenetfs")
    text = (REPOSITORY / "systemd" / "modulefile").read_text()
    module = tmp_path / "modules" / "imagenetfs" / "1.0"
    module.parent.mkdir(parents=True)
    module.write_text(
        text.replace("/opt/imagenetfs", str(opt)).replace("/datashare/imagenet", str(sample))
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", DIALOGUE],
        env={
            **{name: value for name, value in os.environ.items() if name.startswith("IMAGENETFS_")},
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "INIT": str(SYSTEMS[name]),
            "MODULES": str(tmp_path / "modules"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    expected = ["none", f"imagenetfs {__version__}", str(sample), "/usr/bin/python3", "found"]
    expected += ["version/split/class/image", "train.py --data {mnt}/ILSVRC2012", "none"]
    assert done.stdout.splitlines() == [*expected, "source: "], done.stderr
