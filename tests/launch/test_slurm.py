"""Jobs in a real Slurm (`slurm.Cluster`). The order matters: the node's failure ends all jobs."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hxn_ptycho.home import Home, Slurm
from hxn_ptycho.launch import LaunchError, SlurmProgram, end_leftover
from hxn_ptycho.launch.ranks import PROGRAM_FILE
from hxn_ptycho.launch.slurm import BATCH_FILE
from hxn_ptycho.launch.slurm_job import JobWatch
from hxn_ptycho.solver.job import ResultData, read_progress

from ..jobs import make_job, make_scan
from ..waiting import until
from .processes import environment_of, iterating, ranks_of
from .slurm import SHORT_MINUTES, Cluster

LONG = 1_000_000


def submit_waiting(folder: Path, ranks: int = 1, **keys: Any) -> SlurmProgram:
    """Submit ranks that wait for a job.json that does not come: they run, and compute nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    return SlurmProgram(folder, ranks, Slurm(**keys), options=("--await-job",))


def lives(program: SlurmProgram) -> bool:
    """Fail with the reason if a program that should go on has ended."""
    log = program.folder / "solver.log"
    assert program.poll() is None, f"{program.reason}\n{log.read_text() if log.exists() else ''}"
    return True


def run_waiting(folder: Path, ranks: int = 1, **keys: Any) -> SlurmProgram:
    program = submit_waiting(folder, ranks, **keys)
    until(lambda: lives(program) and len(ranks_of(folder)) == ranks, "the ranks to run")
    until(lambda: lives(program) and program.state.startswith("runs"), "Slurm to say so")
    return program


@pytest.fixture(scope="module")
def out_of_time(
    shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SlurmProgram]:
    """A job at the end of its time. Slurm looks for such every 30 s: other tests go on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(shared_cluster.conf))
        program = run_waiting(tmp_path_factory.mktemp("timeout") / "job", time_limit="1")
        shared_cluster.ask("scontrol", "update", f"JobId={program.number}", "EndTime=now")
        yield program


def test_two_ranks_compute_a_result(
    home: Home, cluster: Cluster, out_of_time: SlurmProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "7")  # as inside an allocation
    folder = make_job(home, ranks=2)
    program = SlurmProgram(folder, 2, Slurm(tasks=2))
    assert program.poll() is None
    assert program.wait(120) == 0, (folder / "solver.log").read_text()
    assert program.reason == ""
    assert program.state == f"has ended on {cluster.node} (COMPLETED)"
    lines, _ = read_progress(folder)
    assert [line["event"] for line in lines] == ["started", *["iteration"] * 5, "finished"]
    assert lines[0]["ranks"] == 2
    assert ResultData.read(folder / "result.h5").ranks == 2
    assert not end_leftover(folder)


def test_each_rank_sees_all_gpus_of_its_node_and_its_number_there(
    home: Home, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_MEM_PER_CPU", "SLURM_CPUS_PER_TASK"):
        monkeypatch.setenv(name, "77")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")  # of this host
    folder = make_job(home, ranks=2, iterations=LONG)
    program = SlurmProgram(folder, 2, Slurm(gpus=2), environment={"HXN_TEST": "yes"})
    until(lambda: lives(program) and iterating(folder), "the first iteration")
    until(lambda: lives(program) and program.state == f"runs on {cluster.node}", "its node")
    assert program.reason == ""
    ranks = [environment_of(rank) for rank in ranks_of(folder)]
    assert sorted(rank["SLURM_LOCALID"] for rank in ranks) == ["0", "1"]
    for rank in ranks:
        assert rank["CUDA_VISIBLE_DEVICES"] == "0,1"
        assert rank["OMP_NUM_THREADS"] == "1"
        assert rank["HXN_TEST"] == "yes"
        assert "77" not in rank.values()
    with pytest.raises(TimeoutError, match=f"job {program.number} .* runs on {cluster.node}"):
        program.wait(0.1)
    program.terminate()
    assert program.poll() not in (None, 0)
    assert "ended from here" in program.reason
    until(lambda: not ranks_of(folder), "all ranks to be gone")


def test_what_the_solver_says_is_the_reason(home: Home, cluster: Cluster) -> None:
    scan = make_scan(home.data)
    folder = make_job(home, scan)
    Path(scan.frames[0].file).unlink()
    program = SlurmProgram(folder, 1, Slurm())
    assert program.wait(120) != 0
    assert "frames.h5 is missing" in program.reason
    assert "HXN_PTYCHO_ROOTS" in program.reason


def test_a_killed_rank_ends_all_and_is_told(home: Home, cluster: Cluster) -> None:
    folder = home.jobs / "killed"
    program = run_waiting(folder, ranks=2, tasks=2)
    os.kill(ranks_of(folder)[0], signal.SIGKILL)
    assert program.wait(20) != 0
    assert f"job {program.number} on {cluster.node}" in program.reason
    assert "SIGKILL (one of its ranks got signal 9, as when" in program.reason
    until(lambda: not ranks_of(folder), "all ranks to be gone")


def test_terminate_ends_ranks_that_do_not_listen(home: Home, cluster: Cluster) -> None:
    folder = home.jobs / "deaf"
    program = run_waiting(folder, ranks=2, tasks=2)
    for rank in ranks_of(folder):
        os.kill(rank, signal.SIGSTOP)
    program.terminate(grace=0.5)
    assert program.poll() is not None
    until(lambda: not ranks_of(folder), "all ranks to be gone")


def test_someone_elses_scancel_is_told(home: Home, cluster: Cluster) -> None:
    program = run_waiting(home.jobs / "cancelled")
    cluster.ask("scancel", program.number)
    assert program.wait(30) != 0
    assert f"job {program.number} was cancelled by someone (scancel)" in program.reason
    assert cluster.node in program.reason


def test_out_of_memory_is_told(home: Home, cluster: Cluster) -> None:
    program = submit_waiting(home.jobs / "memory", options=["--mem=20M"])
    assert program.wait(60) != 0
    assert "ran out of the memory it was given" in program.reason
    assert "--mem=0" in program.reason


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"partition": "nowhere"}, r"invalid partition.*nowhere.*mend partition in config\.toml"),
        ({"gpus": 3}, r"job of 3 GPUs .*not available.*mend gpus, tasks, nodes"),
        ({"options": ["--mem=9T"]}, r"[Mm]emory.*mend --mem in options"),
        ({"options": ["--constraint=h100"]}, r"feature.*mend --constraint in options"),
        ({"options": ["--nonsense"]}, r"unrecognized option.*mend options"),
    ],
)
def test_what_slurm_refuses_is_told_with_the_key_to_mend(
    home: Home, cluster: Cluster, keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(LaunchError, match=said):
        SlurmProgram(home.jobs, Slurm(**keys).ranks, Slurm(**keys))
    assert not (home.jobs / PROGRAM_FILE).exists()


def test_a_job_that_cannot_start_says_why(
    home: Home, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    keys = {"partition": "short", "time_limit": f"{SHORT_MINUTES + 1}"}
    program = submit_waiting(home.jobs / "long", **keys)
    until(lambda: lives(program) and "PartitionTimeLimit" in program.state, "the reason")
    assert program.state.startswith("waits in Slurm's queue (PartitionTimeLimit): ")
    assert "time_limit in config.toml [slurm]" in program.state
    until(lambda: lives(program) and caplog.records, "the warning")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "waits in its queue: PartitionTimeLimit: lower time_limit" in caplog.text
    program.terminate()
    assert program.poll() is not None


def test_what_a_killed_worker_left_is_ended(home: Home, cluster: Cluster) -> None:
    folder = home.jobs / "left"
    folder.mkdir()
    launcher = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, sys; from pathlib import Path; from hxn_ptycho.home import Slurm;"
            "from hxn_ptycho.launch import SlurmProgram;"
            "program = SlurmProgram(Path(sys.argv[1]), 1, Slurm(), options=['--await-job']);"
            "os.kill(os.getpid(), 9)",
            str(folder),
        ],
        check=False,
    )
    assert launcher.returncode == -signal.SIGKILL
    number = json.loads((folder / PROGRAM_FILE).read_text())["slurm_job"]
    (old,) = until(lambda: ranks_of(folder), "its rank to run")

    stranger = home.jobs / "stranger"  # whose program.json has the number of another's job
    stranger.mkdir()
    (stranger / PROGRAM_FILE).write_text(json.dumps({"slurm_job": number}))
    assert not end_leftover(stranger)
    assert ranks_of(folder) == [old]

    program = submit_waiting(folder)  # the next worker's attempt
    until(lambda: old not in ranks_of(folder), "the leftover to be gone")
    assert program.number != number
    assert program.poll() is None
    assert end_leftover(folder)
    assert not end_leftover(folder)
    until(lambda: not ranks_of(folder), "the second to be gone")


def test_a_job_that_slurm_does_not_know(home: Home, cluster: Cluster) -> None:
    assert JobWatch("999999").ask() is None
    (home.jobs / PROGRAM_FILE).write_text(json.dumps({"slurm_job": "999999"}))
    assert not end_leftover(home.jobs)


def test_the_time_limit_is_told(cluster: Cluster, out_of_time: SlurmProgram) -> None:
    assert out_of_time.wait(60) != 0
    assert "at its time limit of 00:01:00" in out_of_time.reason
    assert 'raise time_limit in config.toml [slurm] (now "1")' in out_of_time.reason


def test_a_failed_node_is_told(home: Home, cluster: Cluster) -> None:
    program = run_waiting(home.jobs / "node")
    update = ("scontrol", "update", f"NodeName={cluster.node}")
    cluster.ask(*update, "State=DOWN", "Reason=test")
    try:
        assert program.wait(30) != 0
        assert f"a node of Slurm's job {program.number} failed on {cluster.node}" in program.reason
    finally:
        # Heard of again, it returns to service by itself.
        until(lambda: cluster.idle, "the node to take jobs again")


def test_a_controller_that_is_away_is_waited_for(
    home: Home,
    cluster: Cluster,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program, other = run_waiting(home.jobs / "away"), run_waiting(home.jobs / "lost")
    cluster.stop_controller()
    try:
        until(lambda: lives(program) and "not answered" in program.state, "the silence", 40)
        assert program.poll() is None
        assert f"runs on {cluster.node}; Slurm has not answered for 0 min" in program.state
        assert "Slurm does not answer about job" in caplog.text
        with pytest.raises(LaunchError, match="does not answer: does sinfo"):
            SlurmProgram(home.jobs, 1, Slurm())
        with pytest.raises(LaunchError, match="try again when squeue answers"):
            end_leftover(program.folder)
        with monkeypatch.context() as patch:  # much later
            patch.setattr("hxn_ptycho.launch.slurm.PATIENCE_SECONDS", -1.0)
            assert other.wait(20) == 1
        assert f"job {other.number} is out of sight" in other.reason
        assert f"It may still run: scancel {other.number}" in other.reason
    finally:
        cluster.start_controller()
    until(lambda: lives(program) and "not answered" not in program.state, "the answer")
    assert program.poll() is None
    assert program.state == f"runs on {cluster.node}"
    program.terminate()
    assert end_leftover(other.folder)  # given up, it is still ended by who comes next


def test_without_slurm_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match=r"no sbatch .* remove \[slurm\] from config\.toml"):
        SlurmProgram(tmp_path, 1, Slurm())
    assert "srun --mpi=pmi2 --ntasks=1" in (tmp_path / BATCH_FILE).read_text()
