"""One job, from the raw run to the published result or the published failure."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..beamline import read_scan
from ..catalog import (
    CatalogAway,
    CatalogError,
    Catalogs,
    is_kept,
    start_document,
    wait_for_stop,
    why_kept,
)
from ..home import ConfigError
from ..launch import Engine, LaunchError, Place, Program, engine_of, has_result, physical_cores
from ..optics import OpticsError
from ..plot import sample_name, save
from ..prepare import choose_device, choose_ranks, prepare
from ..publish import Publisher, result_path
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
#: And how long before a run that is kept in the spool is left to its writer.
SPOOL_SECONDS = 5.0

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


class Postponed(Exception):
    """A catalog is away: the job is to be run again, which goes on where it stopped.

    What was computed is in the job folder, and is not computed again.

    Attributes
    ----------
    failure : str
        Why the reconstruction failed, where that is what could not be published; else empty.
    """

    def __init__(self, reason: str, failure: str = "") -> None:
        super().__init__(reason)
        self.failure = failure


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
    Postponed
        If a catalog is away. A running MPI program is never ended for that.
    Cancelled, Interrupted, KeyboardInterrupt
        As `interrupt` raised them. The MPI program has been ended.
    """
    attempt = _Attempt(queued, catalogs, progress, interrupt, place)
    try:
        return _run(attempt, stop_seconds)
    finally:
        attempt.leave()


def _run(attempt: _Attempt, stop_seconds: float) -> Path:
    """Run one job; publish also what went wrong."""
    queued = attempt.queued
    try:
        return attempt.run(stop_seconds)
    except (Interrupted, Postponed):
        raise
    except CatalogAway as error:
        raise Postponed(f"waits for the catalog: {error}") from error
    except (Cancelled, KeyboardInterrupt) as error:
        attempt.close()
        reason = str(error) or "interrupted by hand"
        try:
            attempt.publish_failure(reason, "abort")
        except Postponed as away:  # nobody waits for it any more
            log.warning("scan %s: %s; not published: %s", queued.scan_id, reason, away)
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
        if self.computed_before():
            self.make_publisher(Recipe.make(**Job.read(self.folder).recipe))
        else:
            self.compute()
        return self.publish(self.folder / RESULT_FILE)

    def published_before(self) -> Path | None:
        """Return what a worker published that died before it could tell the queue."""
        try:
            return results(uid=self.queued.derived_uid, catalogs=self.catalogs)[-1].result_file
        except CatalogAway as error:
            raise Postponed(f"waits for the catalog processed: {error}") from error
        except CatalogError:  # it was not even begun
            return None

    def computed_before(self) -> bool:
        """Whether there is a result: of a worker that died, or while ``processed`` was away."""
        if has_result(self.folder):
            return True
        try:  # where it is moved to before it is published
            home = self.catalogs.home
            return result_path(home, self.raw_start, self.queued.derived_uid).exists()
        except ConfigError:  # will be told when it has been computed
            return False

    def wait_for_stop(self, seconds: float) -> None:
        """Wait until the catalog has the raw run's start and stop documents."""
        home, raw, uid = self.catalogs.home, self.catalogs.raw, self.queued.raw_uid
        begun = time.monotonic()
        kept = is_kept(home, uid)

        def look() -> None:
            nonlocal kept
            self.interrupt()
            kept = is_kept(home, uid)
            if kept and time.monotonic() - begun >= SPOOL_SECONDS:
                raise CatalogError(f"run {uid[:8]} is still in {home.root / 'spool'}")

        try:
            self.raw_start, _ = wait_for_stop(raw, uid, seconds, look)
        except CatalogAway as error:
            raise Postponed(f"waits for the catalog raw: {error}") from error
        except CatalogError as error:
            if kept:  # a moment ago: it may be in the catalog now
                raise Postponed(
                    f"waits for the catalog raw: {why_kept(home, uid) or error}"
                ) from error
            with suppress(CatalogError):  # it did not end: the published failure says of what
                self.raw_start = start_document(raw, uid)
            raise

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
        self.make_publisher(recipe).open()
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
        try:
            published = self.publisher.succeed(result_file)
        except CatalogAway as error:
            raise Postponed(f"waits for the catalog processed: {error}") from error
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
                self.make_publisher(self.queued.recipe)
            assert self.publisher is not None
            self.publisher.fail(reason, exit_status)
        except CatalogAway as error:
            raise Postponed(f"waits for the catalog processed: {error}", reason) from error
        except Exception as error:
            # The catalog may be why it failed. The queue keeps the reason, and goes on.
            log.exception("the failure of scan %s cannot be published", self.queued.scan_id)
            reason = f"{reason}; and this could not be published: {error}"
        return reason

    def make_publisher(self, recipe: Recipe) -> Publisher:
        """Return what publishes the derived run; it has not begun."""
        self.publisher = Publisher(
            self.catalogs,
            derived_uid=self.queued.derived_uid,
            job_uid=self.queued.job_uid,
            raw_start=self.raw_start,
            recipe=recipe,
            ranks=recipe.ranks if isinstance(recipe.ranks, int) else 0,
            device=recipe.device,
        )
        return self.publisher

    def leave(self) -> None:
        """Leave the derived run to whoever goes on."""
        if self.publisher is not None:
            self.publisher.close()

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
    "Postponed",
    "ReconstructionError",
    "run_job",
]
