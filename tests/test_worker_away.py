"""The worker while a catalog is away: a real Tiled server, killed or hung, and the real solver."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hxn_ptycho import AutoReconstruct
from hxn_ptycho.catalog import (
    Catalogs,
    keeper,
    open_catalog,
    run_metadata,
    search,
    writer,
)
from hxn_ptycho.catalog import recorder as recording
from hxn_ptycho.home import HOME_VARIABLE, Stores
from hxn_ptycho.publish import publisher
from hxn_ptycho.queue import Queue, QueuedJob
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.results import results
from hxn_ptycho.solver.job import read_progress
from hxn_ptycho.worker import Worker, attempt, reconstruct, service

from .every import if_every
from .launch.test_local import iterating
from .scans import measure
from .simulate.station import make_station
from .stores.tiled_server import TiledServer
from .waiting import until

SHORT = Recipe(iterations=5, ranks=1)
# Long enough for a server to go away meanwhile.
MEDIUM = Recipe(iterations=1500, ranks=1)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a minute at the beamline is looked at more often here."""
    for module in (service, publisher, keeper):
        monkeypatch.setattr(module, "FIRST_PAUSE", 0.05)
        monkeypatch.setattr(module, "MOST_PAUSE", 0.2)
    monkeypatch.setattr(attempt, "SPOOL_SECONDS", 0.2)
    monkeypatch.setattr(recording, "STALL_SECONDS", 0.3)


@pytest.fixture(scope="module")
def catalogs(
    tiled_server: TiledServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalogs]:
    """Of a home whose config.toml names two catalogs on the server."""
    home = tmp_path_factory.mktemp("home")
    stores = tiled_server.fresh_stores()
    (home / "config.toml").write_text(
        "".join(
            f'[catalogs.{name}]\ntiled = "{store.tiled}"\napi_key_file = "{store.api_key_file}"\n'
            for name, store in (("raw", stores.raw), ("processed", stores.processed))
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(home))
        yield open_catalog(home)


@pytest.fixture(scope="module")
def scan(catalogs: Catalogs) -> tuple[str, int]:
    return measure(catalogs)


@pytest.fixture
def queue(catalogs: Catalogs) -> Iterator[Queue]:
    with Queue(catalogs.home) as queue:
        yield queue


@contextmanager
def working(catalogs: Catalogs) -> Iterator[Worker]:
    """A worker in a thread; waited for at the end, ended if something is wrong."""
    worker = Worker(catalogs.home)
    thread = threading.Thread(target=worker.run, args=(0,))
    thread.start()
    try:
        yield worker
        thread.join(120)
        assert not thread.is_alive()
    finally:
        worker.stop()
        thread.join(60)


@contextmanager
def hung(server: TiledServer) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


def folder_of(catalogs: Catalogs, job: QueuedJob) -> Path:
    return catalogs.home.jobs / job.job_uid


def waits(queue: Queue, job: QueuedJob) -> bool:
    now = queue.find(job.job_uid)
    # Queued; running for the moment in which it is tried again.
    return not now.ended and now.reason.startswith("waits for the catalog")


def check_published_once(catalogs: Catalogs, job: QueuedJob, iterations: int) -> None:
    (result,) = results(uid=job.derived_uid, catalogs=catalogs)
    assert result.exit_status == "success"
    assert result.errors["iteration"].tolist() == list(range(1, iterations + 1))
    assert search(catalogs.processed).count(job.derived_uid) == 1


@if_every
def test_results_away_in_the_middle_and_the_worker_ended_meanwhile(
    catalogs: Catalogs, queue: Queue, scan: tuple[str, int], tiled_server: TiledServer
) -> None:
    """The server is killed while rows appear in it; the result is published by the next worker."""
    job = queue.submit(*scan, MEDIUM)
    folder = folder_of(catalogs, job)
    first = subprocess.Popen(
        [sys.executable, "-m", "hxn_ptycho.cli", "worker"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: iterating(folder), "the first iteration", 120)
        until(lambda: run_metadata(catalogs.processed, job.derived_uid), "rows to be stored")
        tiled_server.stop()
        try:
            # The program was not ended for it, and the job has not failed.
            until(lambda: waits(queue, job), "the job to wait", 120)
            assert "processed" in queue.find(job.job_uid).reason
            lines, _ = read_progress(folder)
            assert lines[-1]["event"] == "finished"
            first.terminate()
            assert first.wait(60) == 0
        finally:
            tiled_server.start()
    finally:
        first.kill()
        first.wait()
    assert queue.find(job.job_uid).state == "queued"
    with working(catalogs):
        pass
    after = queue.find(job.job_uid)
    assert (after.state, after.reason, after.attempts) == ("done", "", 1)
    assert read_progress(folder)[0] == lines, "not computed again"
    check_published_once(catalogs, job, MEDIUM.iterations)


def test_jobs_whose_scan_cannot_be_looked_up_wait_and_others_go_on(
    catalogs: Catalogs, queue: Queue, scan: tuple[str, int], tiled_server: TiledServer
) -> None:
    embedded = open_catalog(catalogs.home, Stores())
    other_scan = measure(embedded)
    with hung(tiled_server):
        first = queue.submit(*scan, SHORT)
        unwanted = queue.submit(*scan, SHORT)
        other = queue.submit(*other_scan, SHORT, stores=Stores())
        with working(catalogs):
            until(lambda: waits(queue, first) and waits(queue, unwanted), "two to wait", 120)
            until(lambda: queue.find(other.job_uid).state == "done", "the third to be done", 120)
            queue.cancel(unwanted.job_uid)
            until(lambda: queue.find(unwanted.job_uid).ended, "one to be cancelled")
            tiled_server.thaw()
    assert queue.find(first.job_uid).state == "done"
    assert queue.find(unwanted.job_uid).state == "cancelled"
    check_published_once(catalogs, first, SHORT.iterations)
    check_published_once(embedded, other, SHORT.iterations)


def test_results_away_from_the_beginning(
    catalogs: Catalogs, queue: Queue, tiled_server: TiledServer
) -> None:
    """What came of a job is published when the catalog is back: a result, or why there is none."""
    embedded = open_catalog(catalogs.home, Stores())
    stores = catalogs.home.config().catalogs.model_copy(update={"raw": Stores().raw})
    scan = measure(embedded)
    open_catalog(catalogs.home, stores)  # as a worker has that was there before
    with hung(tiled_server):
        doomed = queue.submit(*scan, Recipe(window=64, ranks=1), stores=stores)
        good = queue.submit(*scan, SHORT, stores=stores)
        with working(catalogs):
            until(lambda: waits(queue, doomed) and waits(queue, good), "both to wait", 120)
            until(lambda: queue.find(doomed.job_uid).refusal, "its failure to be kept")
            lines, _ = read_progress(folder_of(catalogs, good))
            assert lines[-1]["event"] == "finished"
            tiled_server.thaw()
    assert queue.find(doomed.job_uid).state == "failed"
    (result,) = results(uid=doomed.derived_uid, catalogs=catalogs)
    assert result.exit_status == "fail"
    assert result.reason == queue.find(doomed.job_uid).reason
    assert "window" in result.reason
    assert read_progress(folder_of(catalogs, good))[0] == lines, "not computed again"
    check_published_once(catalogs, good, SHORT.iterations)


def test_by_hand_the_result_waits_too(
    catalogs: Catalogs, scan: tuple[str, int], tiled_server: TiledServer
) -> None:
    told: list[str] = []

    def listen(line: dict) -> None:
        if line["event"] == "finished":
            tiled_server.freeze()
        if line["event"] == "waiting" and line["reason"]:
            told.append(line["reason"])
            tiled_server.thaw()

    try:
        result = reconstruct(scan[0], catalogs=catalogs, recipe=SHORT, progress=listen)
    finally:
        tiled_server.thaw()
    assert result.exit_status == "success"
    assert any("waits for the catalog processed" in reason for reason in told)


def test_three_fly_scans_while_it_is_away_are_reconstructed_when_it_is_back(
    catalogs: Catalogs, queue: Queue, tiled_server: TiledServer
) -> None:
    station = make_station(catalogs.home.data / "station")
    ptycho = AutoReconstruct(catalogs, recipe=SHORT, start_worker=False)
    recorder = writer(catalogs.raw)
    station.RE.subscribe(recorder)
    station.RE.subscribe(ptycho)
    with hung(tiled_server):
        uids = [station.measure(6, 5, 0.004) for _ in range(3)]
        kept = (catalogs.home.root / "spool").glob("*.jsonl")
        assert {path.stem for path in kept} == set(uids)
        jobs = [queue.find(uid) for uid in ptycho.jobs]
        with working(catalogs):
            until(lambda: all(waits(queue, job) for job in jobs), "the jobs to wait", 120)
            tiled_server.thaw()
    assert [queue.find(job.job_uid).state for job in jobs] == ["done"] * 3
    assert [uid for uid in search(catalogs.raw) if uid in uids] == uids, "in order, each once"
    for job in jobs:
        check_published_once(catalogs, job, SHORT.iterations)
