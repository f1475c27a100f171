"""``mpiexec -n R python -m hxn_ptycho.solver JOB_FOLDER``.

Three options reach the CUDA device through the environment, as no recipe knows them: ``--sums``
sets ``HXN_PTYCHO_SUMS`` (how arrays are added up over the ranks); ``--profile`` sets
``HXN_PTYCHO_PROFILE=1`` (a progress line ``profile`` with each kernel's calls and seconds);
``--measure-copy`` sets ``HXN_PTYCHO_MEASURE_COPY=1`` (in the progress line ``device``:
``copy_bytes_per_second``, read and written bytes of a copy within the GPU's memory; on several
GPUs also how long sums take).
"""

from __future__ import annotations

import time

_BEGUN = time.perf_counter()

import argparse  # noqa: E402
import importlib.util  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402

from .communicator import WAYS, Communicator, LostRank, MpiCommunicator  # noqa: E402
from .job import JOB_FILE, JobError, ProgressWriter  # noqa: E402
from .reconstruct import log, reconstruct  # noqa: E402


def _skip_foreign_extensions() -> None:
    """Keep numba from loading what other packages register with it.

    awkward, which Tiled brings, takes half a second of every start; no kernel here needs it.
    """
    try:
        from numba.core import entrypoints
    except ImportError:  # no numba: the device that needs it will say so
        return
    # The flag by which numba itself loads them once only.
    if hasattr(entrypoints, "_already_initialized"):
        entrypoints._already_initialized = True


def main(arguments: list[str] | None = None) -> int:
    """Run one job folder; 0 if its result was written. A rank that fails ends all ranks."""
    parser = argparse.ArgumentParser(
        prog="python -m hxn_ptycho.solver", description="Reconstruct a prepared job over MPI."
    )
    parser.add_argument("folder", type=Path, help="job folder, as in HOME/jobs/<job uid>")
    parser.add_argument(
        "--await-job", action="store_true", help="load what is needed and wait for job.json"
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="what to load while waiting; job.json says what is computed on",
    )
    parser.add_argument(
        "--profile", action="store_true", help="report the time of each of the GPU's kernels"
    )
    parser.add_argument(
        "--measure-copy", action="store_true", help="report how fast the GPU copies its memory"
    )
    parser.add_argument(
        "--sums",
        choices=("auto", *WAYS),
        default="auto",
        help="how arrays on several GPUs are added up; auto: the first of these that all can go",
    )
    options = parser.parse_args(arguments)
    if options.profile:
        os.environ["HXN_PTYCHO_PROFILE"] = "1"
    if options.measure_copy:
        os.environ["HXN_PTYCHO_MEASURE_COPY"] = "1"
    os.environ["HXN_PTYCHO_SUMS"] = options.sums
    folder: Path = options.folder
    communicator = MpiCommunicator(partial(_report, folder))
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s rank {communicator.rank} of {communicator.size}: %(message)s",
    )
    _skip_foreign_extensions()
    try:
        if options.await_job:
            _await_job(folder, options.device, communicator)
        reconstruct(folder, communicator, _BEGUN)
    except Exception as error:  # noqa: BLE001
        # Whatever it is, the other ranks must not wait for this one, and the reason must be known.
        communicator.fail(error)
    return 0


def _await_job(folder: Path, device: str, communicator: Communicator) -> None:
    """Load the device that the job will need, and wait until the folder is prepared.

    Raises
    ------
    JobError
        After an hour: whoever prepares the folder ends this program when that fails.
    """
    if device == "cuda":
        importlib.import_module("hxn_ptycho.solver.cuda.backend").warm_up(communicator)
    elif importlib.util.find_spec("numba"):
        importlib.import_module("hxn_ptycho.solver.cpu_kernels").warm_up()
    deadline = time.monotonic() + 3600
    while not (folder / JOB_FILE).exists():
        if time.monotonic() > deadline:
            raise JobError(f"{folder} was not prepared within an hour", "queue the scan again")
        time.sleep(0.01)


def _report(folder: Path, rank: int, error: Exception) -> None:
    if isinstance(error, JobError):
        reason, hint = str(error), error.hint
        log.error("%s%s", reason, f" ({hint})" if hint else "")
    else:
        reason = f"{type(error).__name__}: {error}"
        hint = "see solver.log in the job folder"
        if isinstance(error, MemoryError):
            hint = "use more ranks on more hosts, a smaller window or fewer modes"
        log.error("the solver failed", exc_info=error)
    if folder.is_dir():
        try:
            # Of a rank that only missed another, whoever follows asks others first.
            bereft = {"bereft": True} if isinstance(error, LostRank) else {}
            ProgressWriter(folder)("failed", reason=reason, rank=rank, hint=hint, **bereft)
        except OSError as fault:
            log.error("progress.jsonl cannot be written: %s", fault)


if __name__ == "__main__":
    sys.exit(main())
