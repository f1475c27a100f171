"""The worker with the real catalog, the real solver over MPI, and real deaths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hxn_ptycho.catalog import Catalogs, open_catalog, stop_document
from hxn_ptycho.home import HOME_VARIABLE, Home, find_home
from hxn_ptycho.launch import physical_cores
from hxn_ptycho.launch.places import take_cores
from hxn_ptycho.queue import Queue, QueuedJob
from hxn_ptycho.recipe import Recipe, RecipeError
from hxn_ptycho.results import Result, results
from hxn_ptycho.solver.job import read_progress
from hxn_ptycho.worker import ReconstructionError, Worker, reconstruct, run_job

from .launch.test_local import iterating, ranks_of
from .scans import measure
from .waiting import until

SHORT = Recipe(iterations=5, ranks=1)
LONG = Recipe(iterations=1_000_000, ranks=1)


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogs]:
    """One home for this module: opening a catalog takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(tmp_path_factory.mktemp("home")))
        yield open_catalog(find_home().make())


@pytest.fixture
def queue(catalogs: Catalogs) -> Iterator[Queue]:
    """The home's queue, without jobs of other tests."""
    with Queue(catalogs.home) as queue:
        for job in queue.jobs("queued", "running"):
            queue.finish(job, "cancelled", "left by another test")
        yield queue


@pytest.fixture(scope="module")
def scan(catalogs: Catalogs) -> tuple[str, int]:
    return measure(catalogs)


def start_process(home: Home, *, idle: float = 600) -> subprocess.Popen[bytes]:
    """Start a worker as the trigger does; its messages are in worker.log."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"from hxn_ptycho.worker import Worker; Worker().run(until_idle_seconds={idle})",
        ],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def submit(queue: Queue, scan: tuple[str, int], recipe: Recipe, **more: str) -> QueuedJob:
    return queue.submit(*scan, recipe, **more)


def result_of(catalogs: Catalogs, job: QueuedJob) -> Result:
    found = results(uid=job.derived_uid, catalogs=catalogs)
    assert len(found) == 1
    return found[0]


def folder_of(queue: Queue, job: QueuedJob) -> Path:
    return queue.home.jobs / job.job_uid


def work_off(catalogs: Catalogs) -> int:
    """Work off the queue in this process."""
    return Worker(catalogs.home).run(until_idle_seconds=0)


@pytest.fixture(scope="module")
def by_hand(catalogs: Catalogs, scan: tuple[str, int]) -> tuple[Result, list[dict]]:
    """A result, and what was told while it was computed."""
    lines: list[dict] = []
    result = reconstruct(
        scan[1], catalogs=catalogs, progress=lines.append, iterations=20, probe_modes=2, ranks=2
    )
    return result, lines


def test_by_hand(
    catalogs: Catalogs, scan: tuple[str, int], by_hand: tuple[Result, list[dict]]
) -> None:
    result, lines = by_hand
    assert (result.exit_status, result.raw_uid, result.scan_id) == ("success", *scan)
    assert result.object.ndim == 3
    assert np.isfinite(result.object).all()
    assert result.probe.shape == (2, 32, 32)
    assert 0 < result.error_fourier < 0.5
    assert result.picture is not None
    assert result.picture.read_bytes().startswith(b"\x89PNG")
    assert (result.recipe.ranks, result.recipe.probe_modes) == (2, 2)
    assert [line["event"] for line in lines] == [
        "prepared",
        "started",
        *["iteration"] * 20,
        "finished",
    ]
    assert not Queue(catalogs.home).jobs("done")  # by hand is not by the queue


def test_an_earlier_result_can_be_the_start(
    catalogs: Catalogs, scan: tuple[str, int], by_hand: tuple[Result, list[dict]]
) -> None:
    first, _ = by_hand
    again = reconstruct(
        scan[0], catalogs=catalogs, recipe=SHORT, probe=first.uid, object=first.uid[:8]
    )
    assert again.errors["error_fourier"][0] < 0.8 * first.errors["error_fourier"][0]


def test_what_a_plan_said_counts_unless_a_recipe_is_given(catalogs: Catalogs) -> None:
    uid, _ = measure(catalogs, ptycho={"iterations": 3})

    def recipe_of(**given: Any) -> Recipe:
        # Refused before any work; the derived run says with what recipe.
        with pytest.raises(ReconstructionError, match="window = 64") as caught:
            reconstruct(uid, catalogs=catalogs, window=64, **given)
        return results(uid=caught.value.derived_uid, catalogs=catalogs)[0].recipe

    assert recipe_of().iterations == 3
    assert recipe_of(iterations=2).iterations == 2
    assert recipe_of(recipe=SHORT).iterations == 5
    uid, _ = measure(catalogs, ptycho={"probe_mods": 3})
    with pytest.raises(RecipeError, match="probe_mods"):
        reconstruct(uid, catalogs=catalogs)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"window": 64}, "window = 64 is larger than the frames of 32 x 32 pixels"),
        ({"device": "cuda"}, "no NVIDIA driver on this machine; or compute on the CPU"),
        ({"probe": "/none/probe.npy"}, "there is no such file"),
        ({"object_modes": 16, "probe_modes": 64, "precision": "double", "ranks": 25}, "memory"),
    ],
)
def test_a_failure_is_a_run_too(
    catalogs: Catalogs, scan: tuple[str, int], keys: dict, reason: str, monkeypatch
) -> None:
    monkeypatch.setattr("hxn_ptycho.prepare.resources.available_memory", lambda: 1e9)
    monkeypatch.setattr(
        "hxn_ptycho.launch.gpu.why_no_gpu", lambda: "no NVIDIA driver on this machine"
    )
    before = stop_document(catalogs.raw, scan[0])
    with pytest.raises(ReconstructionError, match=reason) as caught:
        reconstruct(scan[0], catalogs=catalogs, **keys)
    (result,) = results(uid=caught.value.derived_uid, catalogs=catalogs)
    assert result.exit_status == "fail"
    assert result.reason == str(caught.value)
    assert result.raw_uid == scan[0]
    assert stop_document(catalogs.raw, scan[0]) == before


def test_a_run_that_never_ends_is_given_up(catalogs: Catalogs, queue: Queue) -> None:
    job = queue.submit("0" * 36, 99, SHORT)
    with pytest.raises(ReconstructionError, match=r"no run .* is the catalog's writer subscribed"):
        run_job(job, catalogs, stop_seconds=0.2)
    result = result_of(catalogs, job)
    assert (result.exit_status, result.scan_id) == ("fail", 99)


def test_the_queue_goes_on_after_failures(
    catalogs: Catalogs, queue: Queue, scan: tuple[str, int]
) -> None:
    jobs = [
        submit(queue, scan, SHORT, refusal="md has no such key"),
        submit(queue, scan, Recipe(window=64)),
        submit(queue, scan, SHORT),
    ]
    assert work_off(catalogs) == 3
    after = [queue.find(job.job_uid) for job in jobs]
    assert [job.state for job in after] == ["failed", "failed", "done"]
    assert after[0].reason == "md has no such key"
    assert Path(after[2].result_file).exists()
    assert Path(after[2].result_file).with_suffix(".png").exists()
    found = [result_of(catalogs, job).exit_status for job in jobs]
    assert found == ["fail", "fail", "success"]


def test_without_an_mpi_the_reason_says_what_to_do(
    catalogs: Catalogs, queue: Queue, scan: tuple[str, int]
) -> None:
    job = submit(queue, scan, SHORT)
    catalogs.home.config_file.write_text('mpiexec = "/opt/none/mpiexec"\n')
    try:
        work_off(catalogs)
    finally:
        catalogs.home.config_file.unlink()
    assert "'/opt/none/mpiexec' of config.toml is not a program" in queue.find(job.job_uid).reason
    assert "/opt/none/mpiexec" in result_of(catalogs, job).reason


def test_errors_appear_while_it_runs_and_it_can_be_cancelled(
    catalogs: Catalogs, queue: Queue, scan: tuple[str, int]
) -> None:
    job = submit(queue, scan, LONG)
    worker = threading.Thread(target=work_off, args=(catalogs,))
    worker.start()

    def live() -> bool:
        found = results(raw_uid=scan[0], catalogs=catalogs)
        running = [result for result in found if result.uid == job.derived_uid]
        return bool(running) and len(running[0].errors["iteration"]) > 0

    until(live, "errors in the catalog")
    assert result_of(catalogs, job).exit_status is None
    queue.cancel(job.job_uid)
    worker.join(60)
    assert not worker.is_alive()
    assert queue.find(job.job_uid).state == "cancelled"
    assert result_of(catalogs, job).exit_status == "abort"
    until(lambda: not ranks_of(folder_of(queue, job)), "the ranks to be gone")


def test_a_killed_rank_fails_its_job_only(
    catalogs: Catalogs, queue: Queue, scan: tuple[str, int]
) -> None:
    doomed = submit(queue, scan, LONG.merge({"ranks": 2}))
    next_one = submit(queue, scan, SHORT)
    worker = threading.Thread(target=work_off, args=(catalogs,))
    worker.start()
    until(lambda: iterating(folder_of(queue, doomed)), "the first iteration")
    os.kill(ranks_of(folder_of(queue, doomed))[-1], signal.SIGKILL)
    worker.join(120)
    assert queue.find(next_one.job_uid).state == "done"
    assert queue.find(doomed.job_uid).state == "failed"
    assert "SIGKILL" in result_of(catalogs, doomed).reason


def test_sigterm_puts_the_job_back_and_a_killed_workers_job_is_done_by_the_next(
    catalogs: Catalogs, queue: Queue, scan: tuple[str, int]
) -> None:
    job = submit(queue, scan, LONG)
    folder = folder_of(queue, job)

    asked = start_process(catalogs.home)
    until(lambda: iterating(folder), "the first iteration", 120)
    asked.terminate()
    assert asked.wait(60) == 0
    assert (queue.find(job.job_uid).state, queue.find(job.job_uid).attempts) == ("queued", 0)
    assert not ranks_of(folder)

    killed = start_process(catalogs.home)
    until(lambda: queue.find(job.job_uid).state == "running", "the job to be claimed", 120)
    until(lambda: ranks_of(folder) and iterating(folder), "the first iteration", 120)
    killed.kill()
    killed.wait()
    leftover = ranks_of(folder)
    assert leftover  # the MPI program outlives its worker

    worker = Worker(catalogs.home)
    thread = threading.Thread(target=worker.run, args=(0,))
    thread.start()
    again = until(lambda: [rank for rank in ranks_of(folder) if rank not in leftover], "new ranks")
    assert not set(leftover) & set(ranks_of(folder))  # ended before the new ones began
    assert queue.find(job.job_uid).attempts == 2
    queue.cancel(job.job_uid)
    thread.join(60)
    assert queue.find(job.job_uid).state == "cancelled"
    assert again
    assert result_of(catalogs, job).exit_status == "abort"  # three workers, one run


def test_a_result_that_a_killed_worker_left_is_published(
    catalogs: Catalogs, queue: Queue, scan: tuple[str, int]
) -> None:
    class Killed(BaseException):
        """As SIGKILL: nothing is tidied up."""

    def die(line: dict) -> None:
        if line["event"] == "finished":
            raise Killed

    job = submit(queue, scan, SHORT)
    claimed = queue.claim()
    assert claimed is not None
    with pytest.raises(Killed):
        run_job(claimed, catalogs, progress=die)
    lines, _ = read_progress(folder_of(queue, job))
    queue.close()
    assert work_off(catalogs) == 1
    assert queue.find(job.job_uid).state == "done"
    assert read_progress(folder_of(queue, job))[0] == lines  # not computed again
    assert result_of(catalogs, job).exit_status == "success"


def test_one_worker_serves_unless_another_is_asked_for(
    catalogs: Catalogs, queue: Queue, scan: tuple[str, int]
) -> None:
    jobs = [submit(queue, scan, SHORT, refusal="not today") for _ in range(6)]
    with queue.worker_lock():
        assert work_off(catalogs) == 0
        beside = [Worker(catalogs.home, beside=True) for _ in range(2)]
        threads = [threading.Thread(target=worker.run, args=(0,)) for worker in beside]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    after = [queue.find(job.job_uid) for job in jobs]
    assert [(job.state, job.attempts) for job in after] == [("failed", 1)] * 6
    assert [result_of(catalogs, job).reason for job in jobs] == ["not today"] * 6


CORES = physical_cores()


@pytest.mark.skipif(CORES < 2, reason="one core: nothing can run beside")
def test_small_jobs_run_side_by_side_and_the_next_waits_for_its_place(
    catalogs: Catalogs, queue: Queue, scan: tuple[str, int]
) -> None:
    halves = [LONG.merge({"ranks": CORES // 2, "device": "cpu"})] * 2
    first, second, third = (
        submit(queue, scan, recipe) for recipe in (*halves, SHORT.merge({"ranks": CORES}))
    )
    worker = Worker(catalogs.home)
    thread = threading.Thread(target=worker.run, args=(0,))
    thread.start()
    try:
        for job in (first, second):
            until(lambda job=job: iterating(folder_of(queue, job)), "both to iterate", 120)
        waits = f"waits for {CORES} cores"
        until(lambda: queue.find(third.job_uid).reason == waits, "the third to say so")
        assert queue.find(third.job_uid).state == "queued"
        queue.cancel(first.job_uid)
        queue.cancel(second.job_uid)
        thread.join(120)
    finally:
        worker.stop()
        thread.join(60)
    after = [queue.find(job.job_uid) for job in (first, second, third)]
    assert [job.state for job in after] == ["cancelled", "cancelled", "done"]
    assert after[2].reason == ""
    exits = [result_of(catalogs, job).exit_status for job in (first, second, third)]
    assert exits == ["abort", "abort", "success"]


def test_by_hand_one_waits_for_a_place_too(catalogs: Catalogs, scan: tuple[str, int]) -> None:
    everything = take_cores(CORES)
    assert everything is not None
    lines: list[dict] = []

    def listen(line: dict) -> None:
        lines.append(line)
        if line["event"] == "waiting" and line["reason"]:
            everything.release()

    result = reconstruct(scan[0], catalogs=catalogs, recipe=SHORT, device="cpu", progress=listen)
    assert result.exit_status == "success"
    assert [line for line in lines if line["event"] == "waiting"] == [
        {"event": "waiting", "reason": "waits for 1 cores"},
        {"event": "waiting", "reason": ""},
    ]
    again = take_cores(CORES)
    assert again is not None  # all were given back
    again.release()
