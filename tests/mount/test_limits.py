"""Mounts under limits of the process (ulimit): what works all the same, and what is said where it
cannot.
"""

from __future__ import annotations

import io
import resource
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers.bench import Bench

pytestmark = pytest.mark.timeout(180)


def run_limited(
    at: Bench, sample: Path, kind: int, most: int, *words: str, options: Sequence[str] = ()
) -> tuple[int, str, str]:
    """A run with a hard limit: its exit code, what its command printed, and what it said."""
    front = subprocess.Popen(
        [*at.front, "run", "--index-dir", "none", *options, str(sample), "--", *words],
        env=at.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(kind, (most, most)),
    )
    out, err = front.communicate(timeout=90)
    return front.returncode, out, err


@pytest.mark.parametrize(
    ("kind", "most"), [(resource.RLIMIT_AS, 3_000_000_000), (resource.RLIMIT_CPU, 50)]
)
def test_labels_are_there_under_a_limit(at: Bench, sample: Path, kind: int, most: int) -> None:
    script = "ls {mnt}/ILSVRC2012/val {mnt}/Imagenet8/train"
    code, out, err = run_limited(at, sample, kind, most, "sh", "-c", script)
    assert (code, err) == (0, "")
    assert "n02066245" in out
    assert "unlabeled" not in out
    assert at.leftovers() == []


@pytest.fixture(scope="module")
def many_archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source with 300 tars of one file each."""
    source = tmp_path_factory.mktemp("many") / "imagenet"
    (source / "ILSVRC2012").mkdir(parents=True)
    (source / "winter21_whole" / "tars").mkdir(parents=True)
    for number in range(300):
        wnid = f"n{number:08}"
        path = source / "winter21_whole" / "tars" / f"{wnid}.tar"
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo(f"{wnid}_1.JPEG")
            member.size = 4
            archive.addfile(member, io.BytesIO(b"%04d" % number))
    return source


@pytest.mark.parametrize("most", [64, 128, 256, 4096])
def test_few_open_files_are_enough(at: Bench, many_archives: Path, most: int) -> None:
    script = "cat {mnt}/winter21_whole/train/*/*; cat {mnt}/winter21_whole/train/*/*"
    words = ("--workers", "4", "--cache-dir", str(at.directory / "cache"))
    code, out, err = run_limited(
        at, many_archives, resource.RLIMIT_NOFILE, most, "sh", "-c", script, options=words
    )
    assert (code, err) == (0, "")
    assert out == 2 * "".join(f"{number:04}" for number in range(300))


def test_the_command_keeps_its_own_limit(at: Bench, sample: Path) -> None:
    code, out, _ = run_limited(
        at, sample, resource.RLIMIT_NOFILE, 1000, "sh", "-c", "ulimit -S -n 200; ulimit -n"
    )
    assert (code, out) == (0, "200\n")


@pytest.mark.expects_log("files open here, and that is too few: `ulimit")
@pytest.mark.parametrize("most", [16, 24, 40, 63])
def test_too_few_open_files_are_told_in_one_sentence(at: Bench, sample: Path, most: int) -> None:
    code, out, err = run_limited(at, sample, resource.RLIMIT_NOFILE, most, "true")
    assert (code, out) == (125, "")
    assert f"A process may have {most} files open here" in err
    assert "Traceback" not in err
    assert at.leftovers() == []
