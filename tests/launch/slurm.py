"""A Slurm of our own on this host: munged, slurmctld and slurmd, with all they keep in one folder.

It needs root (slurmd starts jobs as their users) and the programs of Debian's ``slurm-wlm`` and
``munge``; no systemd, no accounting database, none of the machine's own settings.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..waiting import until

#: The longest time limit of partition "short", in minutes.
SHORT_MINUTES = 5
_DAEMONS = ("munged", "slurmctld", "slurmd")
# Daemons are not on every PATH.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def why_no_slurm() -> str:
    """Return why no Slurm can be started here; empty if one can."""
    missing = [name for name in (*_DAEMONS, "sbatch") if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"{', '.join(missing)} not installed: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd starts jobs as root only, and these tests are not"


class Cluster:
    """A running cluster of one node with four (pretended) cores and two (pretended) GPUs.

    Parameters
    ----------
    folder : Path
        Where it keeps everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node = os.uname().nodename.partition(".")[0]
        self.conf = folder / "slurm.conf"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all daemons and wait until the node takes jobs."""
        self._configure()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self._start(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={key}",
            *(f"--{name}-file={self.folder / f'munge.{name}'}" for name in ("pid", "log", "seed")),
            f"--socket={self.folder / 'munge.socket'}",
        )
        until((self.folder / "munge.socket").exists, "munged's socket")
        self.start_controller()
        self._start("slurmd", "-D", "-f", str(self.conf), "-N", self.node)
        until(lambda: self.idle, "the node to be idle")

    @property
    def idle(self) -> bool:
        """Whether the node takes jobs and has none."""
        return self.ask("sinfo", "-h", "-p", "beam", "-o", "%t").strip() == "idle"

    def start_controller(self) -> None:
        """Start slurmctld, which knows the jobs that an earlier one left."""
        self._start("slurmctld", "-D", "-f", str(self.conf))
        until(lambda: self._run("scontrol", "ping").returncode == 0, "slurmctld to answer")

    def stop_controller(self) -> None:
        """End slurmctld; jobs go on."""
        self._stop("slurmctld")

    def ask(self, *words: str) -> str:
        """Run a Slurm command and return what it prints."""
        done = self._run(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def stop(self) -> None:
        """End all jobs and daemons."""
        if "slurmctld" in self._daemons:
            self._run("scancel", "--user=root")
            with contextlib.suppress(AssertionError):  # then its processes are killed below
                until(lambda: not self._run("squeue", "-h").stdout.strip(), "no jobs", 15)
        for name in reversed(_DAEMONS):
            self._stop(name)
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        return subprocess.run(
            words, capture_output=True, text=True, env=environment, timeout=60, check=False
        )

    def _processes(self) -> list[int]:
        """Return what the daemons have started and left: it was told where this Slurm is."""
        told = f"SLURM_CONF={self.conf}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has just ended
                if told in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found

    def _start(self, name: str, *options: str) -> None:
        program = shutil.which(name, path=_PATH)
        assert program is not None
        with open(self.folder / f"{name}.out", "ab") as output:
            self._daemons[name] = subprocess.Popen(
                [program, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "SLURM_CONF": str(self.conf)},
                cwd=self.folder,
            )

    def _stop(self, name: str) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is None:
            return
        daemon.terminate()
        try:
            daemon.wait(5)
        except subprocess.TimeoutExpired:
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()

    def _configure(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        ports = _free_ports(2)
        # MPICH names its shared memory by the job, and finds what a killed job of that number left.
        first = random.randrange(1_000_000, 60_000_000)
        self.conf.write_text(
            f"""ClusterName=test
SlurmctldHost={self.node}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
FirstJobId={first}
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={self.folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
GresTypes=gpu
KillWait=1
MessageTimeout=2
InactiveLimit=0
DefMemPerCPU=500
NodeName={self.node} NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
PartitionName=beam Nodes={self.node} Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes={self.node} MaxTime={SHORT_MINUTES} State=UP
"""
        )
        # Any device file will do: nothing opens it.
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")


def _free_ports(count: int) -> list[int]:
    """Return so many ports that nothing listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def running_slurm() -> Iterator[Cluster]:
    """Start a Slurm, and end it and remove all that it kept."""
    # Not pytest's folder: a socket's path holds at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
