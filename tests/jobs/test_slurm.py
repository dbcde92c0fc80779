"""Real jobs of an ordinary user in a real Slurm, by the very scripts of docs/slurm.

IMAGENETFS_TEST_ROUNDS=20 repeats each way for a job to end that often.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from tests.helpers.bench import Bench, Terminal, until
from tests.helpers.forkserver import REPOSITORY
from tests.helpers.mounts import processes_marked
from tests.jobs import needs
from tests.jobs.cluster import MARK, NODES, Cluster

pytestmark = [needs.slurm, pytest.mark.timeout(3600)]

ROUNDS = int(os.environ.get("IMAGENETFS_TEST_ROUNDS", "1"))
SCRIPTS = REPOSITORY / "docs" / "slurm"
SMALL = ("--cpus-per-task=1", "--mem=400")
NAMESPACE = {"plain": "", "namespace": "--namespace"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("slurm")
    for closed in (directory, directory.parent, sample.parent):
        closed.chmod(0o755)
    programs = directory / "programs"
    programs.mkdir()
    for name, module in {
        "imagenetfs": "-m imagenetfs",
        "torchrun": "-m torch.distributed.run",
        "python": "",
    }.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
        (programs / name).chmod(0o755)
    names = ("PATH", "IMAGENETFS_TEST_RUN")
    environ = {name: os.environ[name] for name in names}
    environ["IMAGENETFS_SOURCE"] = str(sample)
    environ["PYTHONPATH"] = str(REPOSITORY)
    environ["OMP_NUM_THREADS"] = "1"
    made = Cluster(directory, environ)
    # What the scripts activate; srun and salloc, which are called without them, find it on PATH.
    activate = directory / "home" / "env" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f"export PATH={programs}:$PATH ACTIVATED=yes\n")
    made.environ["PATH"] = f"{programs}:{environ['PATH']}"
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def epilog(cluster: Cluster) -> Iterator[None]:
    yield
    (cluster.directory / "no-epilog").unlink(missing_ok=True)


def submit(cluster: Cluster, mode: str, *words: str, options: tuple[str, ...] = ()) -> str:
    """The script for one node, plain or with --namespace, with a command."""
    cluster.environ["IMAGENETFS_RUN_OPTIONS"] = NAMESPACE[mode]
    return cluster.submit(SCRIPTS / "one-node.sbatch", *SMALL, *options, arguments=words)


# --- every end ------------------------------------------------------------------------------------

Then = Callable[[Cluster, str], None]


def nothing(cluster: Cluster, job: str) -> None:
    """The job ends by itself."""


def tell(*words: str) -> Then:
    """When the command runs: scancel with these options."""

    def then(cluster: Cluster, job: str) -> None:
        cluster.wait_for_line(job, "ready")
        cluster.call("scancel", *words, job)

    return then


def kill_everything(cluster: Cluster, job: str) -> None:
    """When the command runs: kill all processes of the job at one moment.

    They are stopped before one is killed: else the front, which outlives the command by an instant,
    may have unmounted. (``scancel --signal=KILL`` is the same as scancel for Slurm: SIGTERM comes
    first.)
    """
    cluster.wait_for_line(job, "ready")
    stopped: set[int] = set()
    while found := {int(line.split()[0]) for line in processes_marked(MARK, job, 0)} - stopped:
        signal_all(found, signal.SIGSTOP)
        stopped |= found
    signal_all(stopped, signal.SIGKILL)


def signal_all(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it died of another's death
            os.kill(pid, number)


@dataclass(frozen=True)
class End:
    """A way for a job to end: its command, what happens to it, and how Slurm sees it afterwards."""

    script: str
    state: str
    exit_code: str
    then: Then = nothing
    options: tuple[str, ...] = ()
    output: str = "ready"


READ = "ls {mnt}/ILSVRC2012/train > /dev/null && echo ready"
SAVE = (
    "trap 'sleep 2; cat {mnt}/ILSVRC2012/val/*/* > /dev/null && echo saved; exit 0' TERM; "
    f"{READ}; while :; do sleep 0.5; done"
)
ENDS = {
    "well": End(f"{READ}", "COMPLETED", "0:0"),
    "fails": End(f"{READ}; exit 3", "FAILED", "3:0"),
    "cancelled": End(f"{READ}; sleep 600", "CANCELLED", "143:0", tell()),
    "cancelled, and ends cleanly": End(SAVE, "CANCELLED", "0:0", tell(), output="saved"),
    "told to save": End(
        f"trap 'echo saved; exit 0' USR1; {READ}; while :; do sleep 0.5; done",
        "COMPLETED",
        "0:0",
        tell("--batch", "--signal=USR1"),
        output="saved",
    ),
    "ignores everything": End(
        f"trap '' TERM; {READ}; while :; do sleep 0.5; done", "CANCELLED", "0:9", tell()
    ),
    "killed": End(f"{READ}; sleep 600", "FAILED", "0:9", kill_everything),
    "told to save, every process": End(
        SAVE, "COMPLETED", "0:0", tell("--full", "--signal=TERM"), output="saved"
    ),
}
if needs.limits_memory():
    ENDS["out of memory"] = End(
        f"{READ}; exec python -c 'bytearray(2 << 30)'", "OUT_OF_MEMORY", "0:125"
    )

TIMED = {
    "out of time": End(f"{READ}; sleep 600", "TIMEOUT", "143:0", options=("--time=1",)),
    "told to save before that": End(
        SAVE, "COMPLETED", "0:0", options=("--time=3", "--signal=B:TERM@60"), output="saved"
    ),
}


@pytest.fixture(scope="module", autouse=True)
def timed(cluster: Cluster) -> dict[tuple[str, str], str]:
    """Slurm counts in minutes: these jobs are submitted first, and looked at last."""
    return submit_all(cluster, TIMED)


def submit_all(cluster: Cluster, ends: dict[str, End]) -> dict[tuple[str, str], str]:
    """A job for each end and each mode."""
    return {
        (name, mode): submit(cluster, mode, "sh", "-c", end.script, options=end.options)
        for name, end in ends.items()
        for mode in NAMESPACE
    }


def check(cluster: Cluster, number: str, end: End) -> list[str]:
    """Wait for a job; what is not as it should be, and what is left of it."""
    job = cluster.wait(number, 900)
    problems = [] if until(lambda: not cluster.left_of(number)) else cluster.left_of(number)
    if (job.state, job.exit_code) != (end.state, end.exit_code) or end.output not in job.output:
        problems.append(str(job))
    return problems


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_nothing_is_left_of_any_end(cluster: Cluster, round_: int) -> None:
    jobs = submit_all(cluster, ENDS)
    for (name, _), job in jobs.items():
        ENDS[name].then(cluster, job)
    problems = [(key, p) for key, job in jobs.items() for p in check(cluster, job, ENDS[key[0]])]
    assert not problems, "\n".join(map(str, problems))


def test_what_a_kill_of_everything_leaves_is_healed_by_the_next_start(cluster: Cluster) -> None:
    (cluster.directory / "no-epilog").touch()
    script = f"{READ}; sleep 600"
    killed = submit(cluster, "plain", "sh", "-c", script, options=(f"--nodelist={NODES[0]}",))
    kill_everything(cluster, killed)
    cluster.wait(killed)
    assert any("mount" in line for line in cluster.left_of(killed)), "what there is to heal"
    options = (f"--nodelist={NODES[0]}",)
    job = cluster.wait(submit(cluster, "plain", "ls", "{mnt}", options=options))
    assert job.state == "COMPLETED"
    assert "took away a dead mount" in job.output
    assert "ILSVRC2012" in job.output
    assert cluster.left_of(killed) == []


def test_what_a_script_forgot_to_unmount_the_epilog_takes_away(cluster: Cluster) -> None:
    """Before the site deletes the job's directory, in which the mount lies dead and in use."""
    script = (
        "at=$TMPDIR/job-$SLURM_JOB_ID/mnt; mkdir -p $at; imagenetfs mount $at; ls $at; echo ready;"
        "sleep 600"
    )
    node = f"--nodelist={NODES[0]}"
    number = cluster.submit(script, *SMALL, node)
    cluster.wait_for_line(number, "ready")
    directory = cluster.directory / NODES[0] / "tmp" / f"job-{number}"
    assert directory.is_dir()
    outsider = cluster.start("sh", "-c", f"cd {cluster.directory}/node/tmp/job-{number}/mnt; cat")
    try:
        kill_everything(cluster, number)
        job = cluster.wait(number)
        assert "ILSVRC2012" in job.output
        assert until(lambda: not directory.exists())
        assert cluster.left_of(number) == []
    finally:
        outsider.communicate(timeout=30)


# --- sharing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", NAMESPACE)
def test_eight_tasks_one_mount(cluster: Cluster, mode: str) -> None:
    cluster.environ["IMAGENETFS_RUN_OPTIONS"] = NAMESPACE[mode]
    met = cluster.directory / "home" / f"met-{mode}"
    script = (
        f"mkdir -p {met}; touch {met}/$SLURM_PROCID; until [ -e {met}/7 ] && [ "
        f"$(ls {met} | wc -l) = 8 ];"
        """ do sleep 0.1; done; grep -m1 '"pid"' {mnt}/.imagenetfs/status.json; sleep 1"""
    )
    words = ("sh", "-c", script)
    number = cluster.submit(
        SCRIPTS / "task-per-gpu.sbatch", "--cpus-per-task=1", "--mem=3G", arguments=words
    )
    job = cluster.wait(number)
    assert job.state == "COMPLETED", job.output
    pids = [line for line in job.output.splitlines() if '"pid"' in line]
    assert (len(pids), len(set(pids))) == (8, 1)
    assert until(lambda: cluster.left_of(number) == [])


def test_enter_from_another_step(cluster: Cluster) -> None:
    script = "ls {mnt} > /dev/null && echo ready; sleep 600"
    number = submit(cluster, "namespace", "sh", "-c", script)
    cluster.wait_for_line(number, "ready")
    seen = cluster.call(
        "srun", f"--jobid={number}", "--overlap", "imagenetfs", "enter", "--", "ls", "{mnt}"
    )
    assert "ILSVRC2012" in seen.splitlines()
    cluster.call("scancel", number)
    cluster.wait(number)


def test_the_script_activates_an_environment_and_ends_with_a_summary(cluster: Cluster) -> None:
    words = ("sh", "-c", 'cat {mnt}/ILSVRC2012/val/*/* > /dev/null; echo "activated: $ACTIVATED"')
    job = cluster.wait(submit(cluster, "plain", *words))
    activated, summary = job.output.splitlines()
    assert activated == "activated: yes"
    assert summary.startswith("imagenetfs: summary: ") and " images read, " in summary
    gone = str(cluster.directory / "home" / "gone")
    other = cluster.wait(submit(cluster, "plain", "true", options=(f"--export=ALL,VENV={gone}",)))
    assert other.state == "FAILED"
    assert f"{gone}/bin/activate: No such file" in other.output


def test_interactively(cluster: Cluster) -> None:
    words = "salloc --quiet --ntasks=1 --mem=400 srun imagenetfs run -- ls {mnt}"
    assert "ILSVRC2012" in cluster.call(*words.split()).splitlines()


class Submitter(Bench):
    """Somebody at a login node, whose environment jobs get."""

    def environ(self, **more: str) -> dict[str, str]:
        return self.surroundings | more


@pytest.mark.timeout(180)
def test_a_shell_in_a_terminal(cluster: Cluster) -> None:
    salloc = "salloc --quiet --ntasks=1 --mem=400 srun --pty"
    at = Submitter(
        cluster.directory / "home",
        surroundings=cluster.environ,
        before=[*cluster.front(), *salloc.split()],
        program=["imagenetfs"],
    )
    terminal = Terminal(at, "run", "--", "bash", "--norc", "--noprofile", "-i")
    terminal.type("PS1=; ls $IMAGENETFS_MOUNT; sh -c 'echo $((40+2)); exec sleep 600'\n")
    terminal.see("ILSVRC2012_t3")
    terminal.see("42")
    terminal.type("\x03")  # ends what runs in the shell, not the shell
    terminal.type("ls $IMAGENETFS_MOUNT/ILSVRC2012; exit 6\n")
    terminal.see("LOC_synset_mapping.txt")
    assert terminal.end() == 6
    terminal.hang_up()


# --- many nodes -----------------------------------------------------------------------------------


def losses(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"epoch \d+: loss ([\d.]+)", text)]


TRAIN = REPOSITORY / "docs" / "examples" / "train_distributed.py"
EPOCHS, EXCHANGE = 3, 0.25

BOTH_SAMPLERS = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(TRAIN.parent)!r})
import train_distributed as example
from torch import distributed

distributed.init_process_group("gloo")
for exchange in ({EXCHANGE}, None):
    example.train(Path(sys.argv[1]), {EPOCHS}, 64, exchange)
distributed.barrier()
distributed.destroy_process_group()
"""
"""Both trainings in the same processes: to start them takes longer than to train."""

ALONE = (
    *("env", "RANK=0", "WORLD_SIZE=1", "LOCAL_RANK=0", "LOCAL_WORLD_SIZE=1"),
    *("MASTER_ADDR=127.0.0.1", "MASTER_PORT=0", "python"),
)
"""What torchrun says to the only process of a training."""

IMAGE_BYTES = 110_000
"""ImageNet's mean. The sample's images are of 7 KB, so that each block of a cache holds ten."""


def full_sized(sample: Path, root: Path) -> Path:
    """The sample's ILSVRC2012 with train's images of ImageNet's size, in the sample's order; the
    size of its tar is that of the data.
    """
    version = root / "ILSVRC2012"
    version.mkdir(parents=True)
    for name in ("ILSVRC2012_devkit_t12", "ILSVRC2012_img_val.tar"):
        subprocess.run(["cp", "-a", sample / "ILSVRC2012" / name, version], check=True)
    train = version / "ILSVRC2012_img_train.tar"
    with tarfile.open(sample / "ILSVRC2012" / train.name) as small, train.open("wb") as file:
        write_tar(file, ((name, padded(data)) for name, data in members_of(small)))
    return train


def padded(class_tar: bytes) -> bytes:
    """The same images, each followed by what no decoder looks at."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(class_tar)) as images:
        write_tar(
            buffer, ((name, data.ljust(IMAGE_BYTES, b"\0")) for name, data in members_of(images))
        )
    return buffer.getvalue()


def members_of(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in tar:
        file = tar.extractfile(member)
        assert file is not None
        yield member.name, file.read()


def write_tar(file: IO[bytes], members: Iterable[tuple[str, bytes]]) -> None:
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_two_nodes_train_as_one_does(cluster: Cluster, sample: Path) -> None:
    """By NodeLocalSampler the nodes together read the source once, and then what is exchanged; by
    DistributedSampler the losses are those of one process.
    """
    data = full_sized(sample, cluster.directory / "full-sized")
    size = data.stat().st_size
    both = cluster.directory / "both_samplers.py"
    both.write_text(BOTH_SAMPLERS)
    environ = {"IMAGENETFS_RUN_OPTIONS": "", "IMAGENETFS_SOURCE": str(data.parents[1])}
    saved = {name: cluster.environ.get(name) for name in environ}
    cluster.environ |= environ
    root = "{mnt}/ILSVRC2012"
    small = ("--cpus-per-task=1", "--mem=3G", "--gpus-per-node=1")
    try:
        words = (str(both), root)
        number = cluster.submit(SCRIPTS / "many-nodes.sbatch", *small, arguments=words)
        two = cluster.wait(number, 900)
        assert two.state == "COMPLETED", two.output
        index = cluster.directory / "home" / ".cache" / "imagenetfs" / "index"
        built = {path: path.stat().st_ino for path in index.rglob("*") if path.is_file()}
        assert built
        alone = (*ALONE, str(TRAIN), root, f"--epochs={EPOCHS}")
        number = cluster.submit(SCRIPTS / "one-node.sbatch", *small, arguments=alone)
        one = cluster.wait(number, 900)
        assert one.state == "COMPLETED", one.output
    finally:
        cluster.environ |= {name: value for name, value in saved.items() if value is not None}
        data.unlink()
    assert {path: path.stat().st_ino for path in index.rglob("*") if path.is_file()} == built
    assert len(losses(one.output)) == EPOCHS and len(losses(two.output)) == 2 * EPOCHS
    assert losses(two.output)[EPOCHS:] == pytest.approx(losses(one.output), abs=2e-3)
    check_shares(two.output, size)
    local, global_ = accuracies(two.output)
    assert local == pytest.approx(global_, abs=0.1) and local > 0.5


def accuracies(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"accuracy ([\d.]+)", text)]


def check_shares(text: str, size: int) -> None:
    """What the nodes say of the training by NodeLocalSampler, which is the first."""
    found = re.findall(r"epoch (\d): (\d+) images read on this node, (\d+) bytes", text)
    told: dict[int, list[tuple[int, int]]] = {}
    for epoch, images, from_source in found:
        told.setdefault(int(epoch), []).append((int(images), int(from_source)))
    local = {epoch: sorted(nodes)[:2] for epoch, nodes in told.items()}  # the others count on
    trained = int(re.findall(r"loss [\d.]+, (\d+) images", text)[0])
    assert [images for images, _ in local[1]] == [trained // 2] * 2, "each image once, by halves"
    assert sum(read for _, read in local[EPOCHS]) <= (1.02 + 2 * EXCHANGE) * size


def files_of(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def wait_for_array(cluster: Cluster, number: str, count: int) -> None:
    for task in range(1, count + 1):
        job = cluster.wait(f"{number}_{task}")
        assert job.state == "COMPLETED", job


def test_an_index_in_shards_is_the_one_built_at_once(cluster: Cluster) -> None:
    shards, whole = (cluster.directory / "home" / name for name in ("shards", "whole"))
    cluster.environ["IMAGENETFS_INDEX_DIR"] = str(shards)
    try:
        wait_for_array(cluster, cluster.submit(SCRIPTS / "index-shards.sbatch", *SMALL), 4)
    finally:
        del cluster.environ["IMAGENETFS_INDEX_DIR"]
    words = ("imagenetfs", "index", "--index-dir", str(whole))
    cluster.call("srun", "--mem=400", *words)
    assert files_of(whole)
    assert files_of(shards) == files_of(whole)


def test_staged_in_shards_nothing_is_read_from_the_source(cluster: Cluster) -> None:
    cache = cluster.directory / "home" / "shared-cache"
    cluster.environ["IMAGENETFS_CACHE_DIR"] = str(cache)
    try:
        wait_for_array(cluster, cluster.submit(SCRIPTS / "stage-shards.sbatch", *SMALL), 4)
        look = (
            'import json; status = json.load(open("{mnt}/.imagenetfs/status.json")); '
            'print("fetched:", status["counters"]["source_bytes"])'
        )
        read = "find {mnt}/ILSVRC2012/train -name '*.JPEG' -exec cat {} + | wc -c"
        script = f"python3 -c '{look}'; echo read: $({read}); python3 -c '{look}'"
        job = cluster.wait(submit(cluster, "plain", "sh", "-c", script))
    finally:
        del cluster.environ["IMAGENETFS_CACHE_DIR"]
    told = re.findall(r"^(?:fetched|read): *(\d+)$", job.output, re.MULTILINE)
    before, size, after = map(int, told)
    assert size > 1_000_000
    assert after - before < size // 10, "headers at most"


def test_the_scripts_are_all_here() -> None:
    """What is submitted above are these files; each says what it is, and none has a broken line."""
    for path in SCRIPTS.glob("*.sbatch"):
        subprocess.run(["bash", "-n", path], check=True)


def test_nothing_is_left_of_a_job_out_of_time(
    cluster: Cluster, timed: dict[tuple[str, str], str]
) -> None:
    jobs = [*timed.items()]
    for _ in range(ROUNDS - 1):
        jobs += submit_all(cluster, TIMED).items()
    problems = [(key, p) for key, job in jobs for p in check(cluster, job, TIMED[key[0]])]
    assert not problems, "\n".join(map(str, problems))


def test_nothing_is_left_of_all_of_them(cluster: Cluster) -> None:
    assert until(lambda: cluster.left_of_all() == []), cluster.left_of_all()
