"""What Slurm says, read: its own words, of states that no test can bring about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hxn_ptycho.home import Slurm
from hxn_ptycho.launch import LaunchError
from hxn_ptycho.launch.slurm_job import JobWatch, SlurmJob
from hxn_ptycho.launch.slurm_reason import describe, what_keeps, why_ended
from hxn_ptycho.solver.job import LOG_FILE, PROGRESS_FILE

# Of scontrol --oneliner show job, Slurm 22.05, shortened between fields.
RUNNING = (
    "JobId=12 JobName=hxn ptycho UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=4294901749 "
    "Account=(null) QOS=(null) JobState=RUNNING Reason=None Dependency=(null) Requeue=0 "
    "ExitCode=0:0 RunTime=00:12:01 TimeLimit=01:00:00 TimeMin=N/A Partition=beam "
    "AllocNode:Sid=localhost:3440 ReqNodeList=(null) ExcNodeList=(null) NodeList=gpu[01-02] "
    "BatchHost=gpu01 NumNodes=2 ReqB:S:C:T=0:0:*:* TRES=cpu=2,mem=1000M,node=1,billing=2 "
    "Command=/data/my jobs/a/job.sbatch WorkDir=/data/my jobs/a StdErr=/data/my jobs/a/solver.log "
    "StdIn=/dev/null Power= \n"
)
ENDED = RUNNING.replace("JobState=RUNNING", "JobState={}").replace("ExitCode=0:0", "ExitCode={}")


def ended(state: str, exit_code: str = "0:0") -> SlurmJob:
    return SlurmJob.parse(ENDED.format(state, exit_code))


def test_a_running_job_is_read() -> None:
    job = SlurmJob.parse(RUNNING)
    assert job == SlurmJob(
        "12", "RUNNING", "", (0, 0), "gpu[01-02]", "beam", "01:00:00", "00:12:01",
        Path("/data/my jobs/a"),
    )  # fmt: skip
    assert not job.ended
    assert describe(job) == "runs on gpu[01-02]"


def test_what_is_no_job_is_refused() -> None:
    with pytest.raises(LaunchError, match="not understood: 'Slurm is away'"):
        SlurmJob.parse("Slurm is away")


@pytest.mark.parametrize(
    ("state", "exit_code", "status"),
    [
        ("COMPLETED", "0:0", 0),
        ("FAILED", "3:0", 3),
        ("FAILED", "0:9", -9),
        ("TIMEOUT", "0:0", 1),
        ("CANCELLED", "0:15", -15),
        ("OUT_OF_MEMORY", "0:125", -125),
    ],
)
def test_only_a_completed_job_has_status_0(state: str, exit_code: str, status: int) -> None:
    assert ended(state, exit_code).ended
    assert ended(state, exit_code).status == status


@pytest.mark.parametrize("state", ["COMPLETING", "CONFIGURING", "SUSPENDED", "A_LATER_STATE"])
def test_other_states_are_waited_for(state: str) -> None:
    assert not ended(state).ended


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("OUT_OF_MEMORY", "ran out of the memory it was given on gpu[01-02]"),
        ("PREEMPTED", "took the nodes of job 12 on gpu[01-02] for a job that goes before it"),
        ("BOOT_FAIL", "did not boot"),
        ("DEADLINE", "raise --deadline in options"),
        ("REVOKED", "another cluster runs it"),
        ("TIMEOUT", "after 00:12:01, at its time limit of 01:00:00, after 2 iterations: raise"),
        ("NODE_FAIL", "sinfo -R"),
        ("FAILED", "exit status 3; its last words: something"),
    ],
)
def test_each_end_has_its_words(tmp_path: Path, state: str, said: str) -> None:
    (tmp_path / PROGRESS_FILE).write_text('{"event": "iteration"}\n' * 2)
    (tmp_path / LOG_FILE).write_text("something\n")
    assert said in why_ended(ended(state, "3:0"), tmp_path, Slurm())


def test_slurms_words_of_memory_in_the_log_count(tmp_path: Path) -> None:
    # From control groups, where the state is FAILED as often as OUT_OF_MEMORY.
    (tmp_path / LOG_FILE).write_text(
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=12.0. Some of your processes "
        "may have been killed by the cgroup out-of-memory handler.\n"
    )
    assert "ran out of the memory" in why_ended(ended("FAILED", "1:0"), tmp_path, Slurm())


def test_what_the_solver_said_comes_first(tmp_path: Path) -> None:
    failed = {"event": "failed", "reason": "no frames", "rank": 0, "hint": "copy them"}
    (tmp_path / PROGRESS_FILE).write_text(json.dumps(failed) + "\n")
    assert why_ended(ended("CANCELLED"), tmp_path, Slurm()) == "no frames; copy them"


@pytest.mark.parametrize("reason", ["Priority", "Resources", "Dependency", "BeginTime"])
def test_what_will_start_is_waited_for(reason: str) -> None:
    job = SlurmJob("12", "PENDING", reason)
    assert describe(job) == f"waits in Slurm's queue ({reason})"
    assert what_keeps(job) == ""


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("ReqNodeNotAvail,_UnavailableNodes:gpu01", "sinfo -R"),
        ("PartitionNodeLimit", "lower nodes"),
        ("JobHeldUser", "scontrol release 12"),
        ("AssocGrpCPUMinutesLimit", "limit of the account"),
        ("QOSMaxGRESPerUser", "--qos"),
        ("InvalidQOS", "mend account or options"),
    ],
)
def test_what_will_not_start_is_told(reason: str, said: str) -> None:
    assert said in describe(SlurmJob("12", "PENDING", reason))


def test_accounting_is_asked_about_a_forgotten_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No accounting database can be had here: these two answer as Slurm's commands do."""
    for name, script in {
        "scontrol": "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1",
        "sacct": "echo '12|CANCELLED by 1000|0:15|gpu01|beam|01:00:00|00:02:00|/data/a|b'",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    job = JobWatch("12").ask()
    assert job is not None
    assert (job.state, job.by, job.folder) == ("CANCELLED", "uid 1000", Path("/data/a|b"))
    assert "cancelled by uid 1000 (scancel) after 00:02:00" in why_ended(job, tmp_path, Slurm())


def test_a_question_under_way_is_not_taken_for_one_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job is ended in the moment in which Slurm was asked anyway."""
    line = "JobId=12 JobState=RUNNING NodeList=gpu01 WorkDir=/data/a"
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\nsleep 0.3\necho '{line}'\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    watch = JobWatch("12")
    assert watch.look() is None  # asks, and does not wait
    job = watch.ask()
    assert job is not None
    assert (job.state, watch.silence) == ("RUNNING", "")


def test_a_rank_that_only_missed_another_does_not_say_why(tmp_path: Path) -> None:
    reason = "rank 0 lost another rank, or MPI failed: internal_Allreduce_c(342): MPI_Allreduce_c"
    failed = {"event": "failed", "reason": reason, "rank": 0, "hint": "see solver.log"}
    failed["bereft"] = True
    (tmp_path / PROGRESS_FILE).write_text(json.dumps(failed) + "\n")
    assert "failed on gpu[01-02]" in why_ended(ended("NODE_FAIL"), tmp_path, Slurm())
    (tmp_path / LOG_FILE).write_text("srun: error: gpu02: tasks 2-3: Killed\n")
    assert "SIGKILL" in why_ended(ended("FAILED", "143:0"), tmp_path, Slurm())
    (tmp_path / LOG_FILE).unlink()  # nothing better is known
    assert "MPI_Allreduce_c; see solver.log" in why_ended(ended("FAILED", "1:0"), tmp_path, Slurm())
