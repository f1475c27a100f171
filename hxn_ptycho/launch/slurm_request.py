"""What a job asks of Slurm, and whether Slurm would give it."""

from __future__ import annotations

from ..home import Slurm
from .program import LaunchError
from .slurm_command import run_command
from .slurm_reason import why_refused

# Somebody waits for the answer.
_TRIAL_SECONDS = 20.0


def requested(settings: Slurm, ranks: int) -> list[str]:
    """Return the words of sbatch that say what a job of so many ranks asks for."""
    words = [f"--ntasks={ranks}", f"--time={settings.time_limit}"]
    words += ["--gpus-per-task=1"] if settings.gpus else []
    words += [f"--nodes={min(settings.nodes, ranks)}"] if settings.nodes else []
    words += [f"--partition={settings.partition}"] if settings.partition else []
    words += [f"--account={settings.account}"] if settings.account else []
    return [*words, *settings.options]


def try_slurm(settings: Slurm) -> str:
    """Ask Slurm when it would start a job, without submitting one; return what it says.

    Raises
    ------
    LaunchError
        If it would take no such job, or does not answer within some seconds.
    """
    ranks = settings.ranks
    status, said, complaint = run_command(
        ["sbatch", "--test-only", *requested(settings, ranks), "--wrap=true"], _TRIAL_SECONDS
    )
    if status != 0:
        raise LaunchError(why_refused(complaint or said, settings, ranks))
    words = " ".join((complaint or said).split()).removeprefix("sbatch: ")
    return words or "Slurm says nothing"
