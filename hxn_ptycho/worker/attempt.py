"""One job, from the raw run to the published result or the published failure."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..beamline import read_scan
from ..catalog import CatalogError, Catalogs, start_document, stop_document
from ..home import ConfigError
from ..launch import Engine, LaunchError, Place, Program, engine_of, has_result, physical_cores
from ..optics import OpticsError
from ..plot import sample_name, save
from ..prepare import choose_device, choose_ranks, prepare
from ..publish import Publisher
from ..queue import QueuedJob
from ..recipe import Recipe, RecipeError
from ..results import results
from ..scan import ScanError
from ..solver.job import RESULT_FILE, Job, JobError, ResultData, read_progress
from .following import Line, Listener, WrongMpi, follow

log = logging.getLogger(__name__)

#: How long a worker waits for the catalog to have the run's stop document, in seconds. A buffered
#: writer may be behind the RunEngine.
STOP_SECONDS = 60.0

# What is wrong with the scan, the recipe or the machine: the message is enough. Anything else is
# a defect, and its traceback goes to the log.
_FORESEEN = (
    CatalogError,
    ConfigError,
    JobError,
    LaunchError,
    OpticsError,
    RecipeError,
    ScanError,
    WrongMpi,
    OSError,
)


class ReconstructionError(RuntimeError):
    """A reconstruction that failed; the message is the reason, also in the derived run.

    Attributes
    ----------
    derived_uid : str
        Of the run that says so in catalog ``processed``.
    """

    def __init__(self, reason: str, derived_uid: str) -> None:
        super().__init__(reason)
        self.derived_uid = derived_uid


class Cancelled(Exception):
    """Someone asked for this job to be ended; published as aborted."""


class Interrupted(Exception):
    """This process is to end; nothing is published, the job is for another worker."""


def run_job(
    queued: QueuedJob,
    catalogs: Catalogs,
    *,
    progress: Listener = lambda line: None,
    interrupt: Callable[[], object] = lambda: None,
    stop_seconds: float = STOP_SECONDS,
    place: Place | None = None,
) -> Path:
    """Reconstruct one job and publish what came of it.

    Parameters
    ----------
    queued : QueuedJob
    catalogs : Catalogs
    progress : callable
        Gets ``{"event": "waiting", "reason"}`` whenever what it waits for changes (empty: for
        nothing any more), ``{"event": "prepared", "views", "iterations", "ranks"}``, and then each
        line of ``progress.jsonl``.
    interrupt : callable
        Is called some times a second; raises `Cancelled` or `Interrupted` (or, by hand,
        KeyboardInterrupt) to end the job.
    stop_seconds : float
        How long to wait for the raw run's stop document.
    place : Place, optional
        The GPUs or cores that it is to have, released by the caller. Default: they are waited for.

    Returns
    -------
    Path
        The published result file; its picture is beside it, as ``.png``.

    Raises
    ------
    ReconstructionError
        If it failed, for whatever reason; the derived run says so too.
    Cancelled, Interrupted, KeyboardInterrupt
        As `interrupt` raised them. The MPI program has been ended.
    """
    attempt = _Attempt(queued, catalogs, progress, interrupt, place)
    try:
        return attempt.run(stop_seconds)
    except Interrupted:
        raise
    except (Cancelled, KeyboardInterrupt) as error:
        attempt.close()
        attempt.publish_failure(str(error) or "interrupted by hand", "abort")
        raise
    except _FORESEEN as error:
        reason = _sentence(error)
        log.error("scan %s: %s", queued.scan_id, reason)
    except Exception as error:
        reason = f"unexpected {type(error).__name__}: {error}; see the log"
        log.exception("scan %s failed", queued.scan_id)
    finally:
        attempt.close()
    raise ReconstructionError(attempt.publish_failure(reason), queued.derived_uid)


class _Attempt:
    """The state of one job while it is worked on."""

    def __init__(
        self,
        queued: QueuedJob,
        catalogs: Catalogs,
        progress: Listener,
        interrupt: Callable[[], object],
        place: Place | None,
    ) -> None:
        self.queued = queued
        self.catalogs = catalogs
        self.progress = progress
        self.interrupt = interrupt
        self.folder = catalogs.home.jobs / queued.job_uid
        self.raw_start: dict[str, Any] = {"uid": queued.raw_uid, "scan_id": queued.scan_id}
        self.program: Program | None = None
        self.place = place
        self.taken: Place | None = None  # the place, where it was taken here
        self.publisher: Publisher | None = None

    def run(self, stop_seconds: float) -> Path:
        """Do everything, in order; return the published result file."""
        self.wait_for_stop(stop_seconds)
        if self.queued.refusal:
            raise RecipeError(self.queued.refusal)
        if self.queued.attempts > 1 and (published := self.published_before()):
            return published
        if has_result(self.folder):  # computed for a worker that died before it published
            self.open_publisher(Recipe.make(**Job.read(self.folder).recipe))
        else:
            self.compute()
        return self.publish(self.folder / RESULT_FILE)

    def published_before(self) -> Path | None:
        """Return what a worker published that died before it could tell the queue."""
        try:
            return results(uid=self.queued.derived_uid, catalogs=self.catalogs)[-1].result_file
        except CatalogError:  # it was not even begun
            return None

    def wait_for_stop(self, seconds: float) -> None:
        """Wait until the catalog has the raw run's start and stop documents."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.raw_start = start_document(self.catalogs.raw, self.queued.raw_uid)
                if stop_document(self.catalogs.raw, self.queued.raw_uid) is not None:
                    return
                fault = f"run {self.queued.raw_uid} has no stop document: it did not end"
            except CatalogError as error:
                fault = str(error)
            if time.monotonic() >= deadline:
                waited = f" after {seconds:.0f} s of waiting" if seconds else ""
                raise ScanError(f"{fault}{waited}; is the catalog's writer subscribed?")
            self.interrupt()
            time.sleep(0.05)

    def compute(self) -> None:
        """Prepare the job folder, run the solver on it, and publish the errors meanwhile."""
        home = self.catalogs.home
        engine = engine_of(home.config())
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.share(self.folder)
        device = choose_device(self.queued.recipe, engine)
        early = choose_ranks(self.queued.recipe, device, engine)
        place = self.place or self.wait_for_place(engine, device, early)
        # The ranks start while the scan is read: a second of what the user waits for. More of them
        # than cores wait until prepare has agreed.
        if engine.starts_early and early <= physical_cores():
            self.program = engine.launch(
                self.folder, early, place, await_job=True, options=("--device", device)
            )
        scan = read_scan(
            self.catalogs.raw, self.queued.raw_uid, home=home, recipe=self.queued.recipe
        )
        job = prepare(
            scan,
            self.queued.recipe,
            self.folder,
            job_uid=self.queued.job_uid,
            derived_uid=self.queued.derived_uid,
            home=home,
        )
        recipe = Recipe.make(**job.recipe)
        ranks = int(recipe.ranks)
        if self.program is None or ranks != early:  # fewer views than cores, or more ranks
            self.end_program()
            self.program = engine.launch(self.folder, ranks, place)
        self.progress(
            {
                "event": "prepared",
                "views": job.number_of_frames,
                "iterations": recipe.iterations,
                "ranks": ranks,
            }
        )
        self.wait_for_first_iteration()
        self.open_publisher(recipe)
        assert self.publisher is not None
        follow(
            self.program,
            self.folder,
            ranks,
            listener=self.progress,
            iterations=self.publisher.iterations,
            interrupt=self.interrupt,
        )
        if self.program.reason:
            raise JobError(self.program.reason)

    def wait_for_place(self, engine: Engine, device: str, ranks: int) -> Place:
        """Wait until GPUs or cores are free, and take them."""
        said = ""
        while (place := engine.take(device, ranks)) is None:
            if (busy := engine.busy(device, ranks)) != said:
                said = busy
                self.progress({"event": "waiting", "reason": busy})
            self.interrupt()
            time.sleep(0.1)
        self.taken = place
        if said:
            self.progress({"event": "waiting", "reason": ""})
        return place

    def wait_for_first_iteration(self) -> None:
        """Leave the cores to the ranks until they compute: what is to be opened here can wait."""
        assert self.program is not None
        said = ""
        while self.program.poll() is None:
            if self.program.state != said:
                said = self.program.state
                self.progress({"event": "waiting", "reason": said})
            if read_progress(self.folder)[0]:
                break
            self.interrupt()
            time.sleep(0.02)
        if said:
            self.progress({"event": "waiting", "reason": ""})

    def publish(self, result_file: Path) -> Path:
        """Publish the result and draw its picture; return where the result is now."""
        assert self.publisher is not None
        published = self.publisher.succeed(result_file)
        try:
            save(
                ResultData.read(published),
                published.with_suffix(".png"),
                title=sample_name(self.raw_start),
            )
        except (OSError, JobError, ValueError) as error:  # the result is what counts
            log.error("the picture of %s cannot be drawn: %s", published, error)
        return published

    def publish_failure(self, reason: str, exit_status: str = "fail") -> str:
        """Publish a run that says why there is no result; return the reason."""
        try:
            if self.publisher is None:
                self.open_publisher(self.queued.recipe)
            assert self.publisher is not None
            self.publisher.fail(reason, exit_status)
        except Exception as error:
            # The catalog may be why it failed. The queue keeps the reason, and goes on.
            log.exception("the failure of scan %s cannot be published", self.queued.scan_id)
            reason = f"{reason}; and this could not be published: {error}"
        return reason

    def open_publisher(self, recipe: Recipe) -> None:
        """Open the derived run."""
        self.publisher = Publisher(
            self.catalogs,
            derived_uid=self.queued.derived_uid,
            job_uid=self.queued.job_uid,
            raw_start=self.raw_start,
            recipe=recipe,
            ranks=recipe.ranks if isinstance(recipe.ranks, int) else 0,
            device=recipe.device,
        )
        self.publisher.open()

    def close(self) -> None:
        """End the MPI program if it still runs, and let others have its place."""
        try:
            self.end_program()
        except LaunchError as error:  # Slurm does not answer: what came of the job is known
            log.error("scan %s: %s", self.queued.scan_id, error)
        if self.taken is not None:
            self.taken.release()

    def end_program(self) -> None:
        """End the MPI program if it still runs."""
        if self.program is not None and self.program.poll() is None:
            self.program.terminate()


def _sentence(error: BaseException) -> str:
    hint = getattr(error, "hint", "")
    return f"{error}; {hint}" if hint else str(error)


__all__ = [
    "Cancelled",
    "Interrupted",
    "Line",
    "Listener",
    "ReconstructionError",
    "run_job",
]
