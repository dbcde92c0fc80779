"""A real Slurm of two nodes on this machine: munged, slurmctld, and two slurmd, for tests of jobs.

Everything lies in one directory. Each node is a mount namespace as tests/helpers/users.py makes it,
with a directory of its own (``<directory>/node``) where a real node has its local disk; so two
nodes do not see each other's mounts, locks and files. Jobs are those of an ordinary user.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.forkserver import REPOSITORY
from tests.helpers.mounts import processes_marked
from tests.helpers.users import GROUP, USERS, Elsewhere
from tests.jobs.needs import CGROUP, Groups, groups, limits_memory

MARK = "SLURM_JOB_ID"
NODES = tuple(f"n{number}-{os.getpid()}" for number in (1, 2))
CPUS = 8

SLICE = CGROUP / "system.slice"
"""Where Slurm puts a job's control groups of version 2."""

_START_SECONDS = 30.0
_END_SECONDS = 30.0
_OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL")

_CONFIGURATION = """\
ClusterName=ci
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/run/munge
CredType=cred/munge
ProctrackType={proctrack}
TaskPlugin={task}
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=400
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=15
SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=0
MinJobAge=600
FirstJobId={first_job}
SlurmctldPort={controller_port}
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/run/slurmctld.pid
SlurmdPidFile={directory}/run/slurmd-%n.pid
SlurmctldLogFile={directory}/log/slurmctld.log
SlurmdLogFile={directory}/log/slurmd-%n.log
Prolog={prolog}
Epilog={directory}/etc/epilog
GresTypes=gpu
{nodes}
PartitionName=main Nodes={names} Default=YES MaxTime=INFINITE OverSubscribe=NO State=UP
"""

# The limit of memory is what kills for lack of it. A systemd is not asked, for here it may not be
# there; in version 2 CgroupAutomount then enables the controllers.
_CGROUPS = """\
CgroupPlugin=cgroup/{version}
CgroupMountpoint={cgroup}
CgroupAutomount={enable}
IgnoreSystemd=yes
ConstrainCores=no
ConstrainRAMSpace={limits}
ConstrainSwapSpace=no
"""

# The one that sites get, and then what theirs may do; without it a test sees
# what the next start heals.
_EPILOG = """\
#!/bin/sh
: > {directory}/ended/$SLURM_JOB_ID
[ -e {directory}/no-epilog ] && exit 0
export IMAGENETFS_RUN_DIR={directory}/node/run
{epilog} || exit
rm -rf {directory}/node/tmp/job-$SLURM_JOB_ID
"""


@dataclass(frozen=True)
class Job:
    """How a job ended."""

    number: str
    state: str
    exit_code: str
    output: str


class Cluster:
    """Start with the constructor, end with :meth:`close`.

    ``environ`` is what jobs are submitted with.
    """

    def __init__(self, directory: Path, environ: dict[str, str]) -> None:
        self.directory = directory
        self.environ = {
            **environ,
            "SLURM_CONF": str(directory / "etc" / "slurm.conf"),
            "HOME": str(directory / "home"),
            "TMPDIR": str(directory / "node" / "tmp"),
            "SLURM_TMPDIR": str(directory / "node" / "tmp"),
            "IMAGENETFS_RUN_DIR": str(directory / "node" / "run"),
        }
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._nodes: dict[str, Elsewhere] = {}
        for name in ("etc", "state", "run", "log", "node", "ended", *(f"spool/{n}" for n in NODES)):
            (directory / name).mkdir(parents=True)
        for name in ("out", "home"):
            (directory / name).mkdir()
            os.chown(directory / name, USERS["ana"], GROUP)
        self._configure()
        try:
            for node in NODES:
                self._make_node(node)
            self._start()
        except BaseException:
            self.close()
            raise

    # --- start and end ----------------------------------------------------------------------------

    def _configure(self) -> None:
        controller_port, *ports = _free_ports(1 + len(NODES))
        nodes = (
            f"NodeName={name} NodeHostname={_host()} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs={CPUS} RealMemory=16000 Gres=gpu:{CPUS} State=UNKNOWN"
            for name, port in zip(NODES, ports, strict=True)
        )
        etc = self.directory / "etc"
        epilog = REPOSITORY / "systemd" / "slurm-epilog"
        (etc / "epilog").write_text(_EPILOG.format(directory=self.directory, epilog=epilog))
        (etc / "epilog").chmod(0o755)
        for number in range(CPUS):  # to be counted, and never opened
            os.mknod(etc / f"gpu{number}", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        (etc / "gres.conf").write_text(
            "\n".join(f"NodeName={name} Name=gpu File={etc}/gpu[0-{CPUS - 1}]" for name in NODES)
            + "\n"
        )
        hosts = Path("/etc/hosts").read_text()
        (etc / "hosts").write_text(hosts + "".join(f"127.0.0.1 {name}\n" for name in NODES))
        follows = groups() is not Groups.NONE
        (self.directory / "etc" / "slurm.conf").write_text(
            _CONFIGURATION.format(
                proctrack="proctrack/cgroup" if follows else "proctrack/linuxproc",
                task="task/cgroup" if follows else "task/none",
                prolog=REPOSITORY / "systemd" / "slurm-prolog",
                host=_host(),
                # A cluster beside this one, of another run of the tests, must
                # not have the same jobs.
                first_job=os.getpid() % 60_000 * 1000 + 1,
                directory=self.directory,
                controller_port=controller_port,
                nodes="\n".join(nodes),
                names=",".join(NODES),
            )
        )
        if follows:
            limits = "yes" if limits_memory() else "no"
            enable = "yes" if groups() is Groups.V2 else "no"
            text = _CGROUPS.format(
                version=groups().value, cgroup=CGROUP, enable=enable, limits=limits
            )
            (self.directory / "etc" / "cgroup.conf").write_text(text)
        if groups() is Groups.V2:
            SLICE.mkdir(exist_ok=True)  # a systemd would have made it

    def _make_node(self, name: str) -> None:
        """A node's local disk, and its mount namespace in which that lies at ``node``."""
        disk = self.directory / name
        for part in ("tmp", "run"):
            (disk / part).mkdir(parents=True)
            os.chown(disk / part, USERS["ana"], GROUP)
        self._nodes[name] = Elsewhere(self.directory / f"scratch-{name}", own_network=False)
        self._in(name, "mount", "--bind", disk, self.directory / "node")
        self._in(name, "mount", "--bind", self.directory / "etc" / "hosts", "/etc/hosts")
        self._in(name, "chmod", "600", "/dev/fuse")  # the prolog opens it to everybody

    def _in(self, node: str, *words: object) -> None:
        command = [*self._nodes[node].front("root"), *map(str, words)]
        subprocess.run(command, check=True, timeout=30)

    def _start(self) -> None:
        run = self.directory / "run"
        munge = f"--force --foreground --socket={run}/munge --pid-file={run}/munge.pid".split()
        munge += [f"--log-file={self.directory}/log/munge.log", f"--seed-file={run}/munge.seed"]
        # Of a length that munge takes, and this cluster's own.
        (self.directory / "etc" / "munge.key").write_bytes(os.urandom(128))
        (self.directory / "etc" / "munge.key").chmod(0o600)
        self._daemon(NODES[0], "munged", *munge, f"--key-file={self.directory}/etc/munge.key")
        assert _wait((run / "munge").exists, _START_SECONDS), self._logs()
        self._daemon(NODES[0], "slurmctld", "-D", "-c")
        for node in NODES:
            self._daemon(node, "slurmd", "-D", "-N", node)
        idle = ("sinfo", "-h", "-t", "idle", "-o", "%D")
        assert _wait(lambda: self.call(*idle) == "2", _START_SECONDS), self._logs()

    def _daemon(self, node: str, name: str, *arguments: str) -> None:
        path = shutil.which(name, path="/usr/sbin:/usr/bin")
        assert path, f"{name} is not installed (see TEST_PACKAGES in the Makefile)"
        log = (self.directory / "log" / f"{name}-{node}.out").open("wb")
        command = [*self._nodes[node].front("root"), path, *arguments]
        self._daemons.append(
            subprocess.Popen(
                command, env=self.environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        )
        log.close()

    def close(self) -> None:
        """End all jobs and daemons, and take their control groups away."""
        if len(self._daemons) > 1:
            self.call("scancel", "--user=ana", user="root")
            _wait(lambda: not self.call("squeue", "-h"), _END_SECONDS)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for node in self._nodes.values():
            node.close()
        for name in NODES:
            for group in (*CGROUP.glob(f"*/slurm_{name}"), *SLICE.glob(f"{name}_*")):
                _remove_groups(group)
        with contextlib.suppress(OSError):  # not there, or somebody else's, too
            SLICE.rmdir()

    # --- jobs -------------------------------------------------------------------------------------

    def front(self, user: str = "ana") -> list[str]:
        """What to put before a command that shall run on the first node."""
        return self._nodes[NODES[0]].front(user)

    def call(self, *words: object, user: str = "ana") -> str:
        """One of Slurm's commands as a user, on the first node; what it says."""
        done = subprocess.run(
            [*self.front(user), *map(str, words)],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 or words[0] != "sbatch", done.stderr
        return done.stdout.strip()

    def start(self, *words: object) -> subprocess.Popen[str]:
        """A process of the user's on the first node, of no job; it may wait for its input."""
        return subprocess.Popen(
            [*self.front(), *map(str, words)],
            env=self.environ,
            stdin=subprocess.PIPE,
            text=True,
        )

    def submit(self, script: Path | str, *options: str, arguments: tuple[str, ...] = ()) -> str:
        """Submit a script, a file or the text of one; the job's number."""
        if isinstance(script, str):
            path = self.directory / "out" / f"script-{time.monotonic_ns()}"
            path.write_text("#!/bin/bash\n" + script)
        else:
            path = script
        output = f"--output={self.directory}/out/%A_%a_%j"
        return self.call("sbatch", "--parsable", output, *options, path, *arguments)

    def state(self, job: str) -> str:
        """The job's state, such as RUNNING."""
        return self._show(job).get("JobState", "")

    def _show(self, job: str) -> dict[str, str]:
        words = self.call("scontrol", "-o", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait(self, job: str, seconds: float = 600.0) -> Job:
        """Wait until a job is over, and its nodes are done with it."""
        if job.isdecimal():  # asking Slurm again and again would take a third of a CPU
            assert _wait((self.directory / "ended" / job).exists, seconds), self._explain(job)
        assert _wait(lambda: self.state(job).startswith(_OVER), seconds), self._explain(job)
        shown = self._show(job)
        output = "".join(
            path.read_text(errors="replace")
            for path in sorted((self.directory / "out").glob(f"*_{job}"))
        )
        return Job(job, shown["JobState"], shown["ExitCode"], output)

    def wait_for_line(self, job: str, line: str, seconds: float = 600.0) -> None:
        """Wait until a job has printed something."""

        def has_come() -> bool:
            paths = (self.directory / "out").glob(f"*_{job}")
            return any(line in path.read_text(errors="replace") for path in paths)

        assert _wait(has_come, seconds), self._explain(job)

    def _explain(self, job: str) -> str:
        texts = [self.call("scontrol", "show", "job", job)]
        texts += [p.read_text() for p in (self.directory / "out").glob(f"*_{job}")]
        return "\n".join([*texts, self._logs()])

    def _logs(self) -> str:
        logs = sorted((self.directory / "log").iterdir())
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2000:]}" for path in logs)

    # --- what is left -----------------------------------------------------------------------------

    def left_of(self, job: str) -> list[str]:
        """Mounts, processes, files of a job on the nodes, but for cache, index and log."""
        left = [f"process: {line}" for line in processes_marked(MARK, job)]
        own = re.compile(rf"/run/{job}(?![0-9])")
        for node, namespace in self._nodes.items():
            table = namespace.mount_table().splitlines()
            left += [f"{node}: mount {line}" for line in table if own.search(line)]
            disk = self.directory / node
            left += [f"{node}: {p}" for p in (disk / "run").iterdir() if own.search(str(p))]
        return left

    def left_of_all(self) -> list[str]:
        """The same when no job runs any more: then nothing at all may be in the places of a run."""
        left = [str(path) for path in Path("/media").iterdir()]
        for node, namespace in self._nodes.items():
            table = namespace.mount_table().splitlines()
            below = f" {self.directory}/"
            left += [f"{node}: mount {line}" for line in table if below in line and "fuse" in line]
            disk = self.directory / node
            left += [str(path) for part in ("run", "tmp") for path in (disk / part).rglob("*")]
        # torchrun's own, and the cache, which may stay.
        return [
            path for path in left if "/tmp/torch" not in path and "imagenetfs-cache" not in path
        ]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _wait(condition: object, seconds: float) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _remove_groups(group: Path) -> None:
    if (group / "cgroup.kill").exists():  # version 2, where Slurm keeps a process of its own there
        (group / "cgroup.kill").write_text("1")
    for directory, _, _ in os.walk(group, topdown=False):
        try:
            os.rmdir(directory)
        except OSError:
            continue
