"""Slurm's states, reasons and refusals, in words for the person at the beamline."""

from __future__ import annotations

import re
from pathlib import Path

from ..home import Slurm
from ..solver.job import LOG_FILE, read_progress
from .failure import what_solver_said, why_it_failed
from .slurm_job import SlurmJob

_LAST_BYTES = 16_384
# By slurmstepd, into the job's log: from control groups, and from jobacct_gather.
_OUT_OF_MEMORY = re.compile(r"oom[-_ ]?kill|exceeded (?:job )?memory limit|out of memory", re.I)

# Why a job waits that may wait for ever, by how Slurm's reason begins: what to do about it.
_NEVER = {
    "PartitionTimeLimit": "lower time_limit in config.toml [slurm], or name another partition",
    "PartitionNodeLimit": "lower nodes, gpus or tasks in config.toml [slurm]",
    "PartitionConfig": "partition, time_limit, nodes, gpus or tasks in config.toml [slurm] ask "
    "for more than it allows",
    "PartitionDown": "the partition is down: ask who runs the cluster, or name another partition "
    "in config.toml [slurm]",
    "PartitionInactive": "the partition is closed: ask who runs the cluster, or name another "
    "partition in config.toml [slurm]",
    "ReqNodeNotAvail": "the nodes it needs are down, drained or reserved: sinfo -R says why",
    "BadConstraints": "no node has what is asked for: mend gpus, nodes or options in config.toml "
    "[slurm]",
    "JobHeldUser": "it was held by hand: scontrol release {number}",
    "JobHeldAdmin": "an administrator holds it: ask who runs the cluster",
    "AccountNotAllowed": "mend account or partition in config.toml [slurm]",
    "QOSNotAllowed": "mend --qos in options, or partition, in config.toml [slurm]",
    "Invalid": "mend account or options in config.toml [slurm]",
    "Assoc": "a limit of the account: use less, or another account in config.toml [slurm]",
    "QOS": "a limit of the quality of service: use less, or another --qos in options of "
    "config.toml [slurm]",
    "DependencyNeverSatisfied": "mend --dependency in options of config.toml [slurm]",
    "launch failed": "nodes could not start it: ask who runs the cluster; scontrol release "
    "{number} tries again",
    "launch_failed": "nodes could not start it: ask who runs the cluster; scontrol release "
    "{number} tries again",
}

# What sbatch refuses, by its words: the keys of [slurm] to mend. The first that fits.
_REFUSALS = (
    ("partition", "partition"),
    ("account", "account, or partition"),
    ("qos", "--qos in options"),
    ("memory", "--mem in options"),
    ("time limit", "time_limit"),
    ("--time", "time_limit"),
    ("feature", "--constraint in options"),
    ("gres", "gpus"),
    ("gpu", "gpus"),
    ("node configuration", "gpus, tasks, nodes or partition"),
    ("node count", "nodes"),
    ("unrecognized option", "options"),
    ("invalid option", "options"),
)


def why_refused(said: str, settings: Slurm, ranks: int) -> str:
    """Return why sbatch takes no job, with its own words and the key to mend."""
    words = " | ".join(line.removeprefix("sbatch: ").strip() for line in said.splitlines())
    asked = f"{ranks} {'GPUs' if settings.gpus else 'CPU ranks'}"
    if settings.nodes:
        asked += f" on {settings.nodes} nodes"
    if settings.partition:
        asked += f" in partition {settings.partition}"
    asked += f" for {settings.time_limit}"
    if "there is no sbatch" in said:
        advice = (
            "install Slurm's commands (Debian: slurm-client), or remove [slurm] from config.toml "
            "to compute on this machine"
        )
    elif re.search("contact|connect|has hung", said, re.I):
        advice = "its controller does not answer: does sinfo? Queue the scan again when it does"
    else:
        low = said.lower()
        keys = next((keys for words_, keys in _REFUSALS if words_ in low), "what it names")
        advice = f"mend {keys} in config.toml [slurm]; sinfo shows what there is"
    return f"Slurm takes no job of {asked}: {words or 'sbatch says nothing'}; {advice}"


def describe(job: SlurmJob | None) -> str:
    """Return where a job is, in a few words: ``waits in Slurm's queue (Priority)``."""
    if job is None:
        return "was handed to Slurm"
    if job.state == "PENDING":
        waits = f"waits in Slurm's queue ({job.reason or 'not looked at yet'})"
        advice = what_keeps(job)
        return f"{waits}: {advice}" if advice else waits
    on = f" on {job.nodes}" if job.nodes else ""
    if job.state == "RUNNING":
        return f"runs{on}"
    if job.state == "COMPLETING":
        return f"is ending{on}"
    if job.ended:
        return f"has ended{on} ({job.state})"
    return f"is {job.state} in Slurm{on}"


def what_keeps(job: SlurmJob) -> str:
    """Return what to do about a pending job that may wait for ever; empty: its turn will come."""
    if job.state != "PENDING":
        return ""
    for begins, advice in _NEVER.items():
        if job.reason.startswith(begins):
            return advice.format(number=job.number)
    return ""


def why_ended(job: SlurmJob, folder: Path, settings: Slurm) -> str:
    """Return why a job has ended without a result.

    What the solver itself says comes first, then what Slurm says.
    """
    if said := what_solver_said(folder):
        return said
    on = f" on {job.nodes}" if job.nodes else ""
    number, state = job.number, job.state
    if state == "OUT_OF_MEMORY" or (state == "FAILED" and _ran_out_of_memory(job, folder)):
        return (
            f"Slurm's job {number} ran out of the memory it was given{on}: ask for more by "
            'options = ["--mem=0"] (all of a node) in config.toml [slurm], or use more nodes, '
            f"fewer modes or a smaller window; {folder / LOG_FILE} has Slurm's own words"
        )
    if state == "TIMEOUT":
        lines, _ = read_progress(folder)
        done = sum(line["event"] == "iteration" for line in lines)
        reached = f"after {done} iterations" if done else "before the first iteration was done"
        return (
            f"Slurm ended job {number}{on} after {job.run_time}, at its time limit of "
            f"{job.time_limit}, {reached}: raise time_limit in config.toml "
            f'[slurm] (now "{settings.time_limit}")'
        )
    advice = {
        "NODE_FAIL": f"a node of Slurm's job {number} failed{on}, after {job.run_time}: queue the "
        "scan again; sinfo -R says what is known of the node",
        "CANCELLED": f"Slurm's job {number} was cancelled by {job.by or 'someone'} (scancel) after "
        f"{job.run_time}{on}: queue the scan again if that was not meant",
        "PREEMPTED": f"Slurm took the nodes of job {number}{on} for a job that goes before it, "
        f"after {job.run_time}: queue the scan again, or name a partition or --qos that is not "
        "preempted in config.toml [slurm]",
        "BOOT_FAIL": f"the nodes of Slurm's job {number} did not boot{on}: queue the scan again; "
        "if it happens again, ask who runs the cluster",
        "DEADLINE": f"Slurm's job {number} could not have ended before its deadline: raise "
        "--deadline in options, or lower time_limit, in config.toml [slurm]",
        "REVOKED": f"Slurm's job {number} was revoked, as another cluster runs it: name one by "
        "--clusters in options of config.toml [slurm]",
        "GONE": f"Slurm has forgotten its job {number}, which left no result; "
        f"{folder / LOG_FILE} has its last words",
    }.get(state)
    if advice:
        return advice
    return f"Slurm's job {number}{on}: {why_it_failed(folder, job.status)}"


def _ran_out_of_memory(job: SlurmJob, folder: Path) -> bool:
    """Whether Slurm's own words in the log say so: the state is then often only FAILED."""
    try:
        with open(folder / LOG_FILE, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LAST_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return False
    step = f"StepId={job.number}."  # the log has earlier attempts too
    return any(
        "slurmstepd" in line and step in line and _OUT_OF_MEMORY.search(line)
        for line in text.splitlines()
    )
