"""The call for workflow engines, by the catalog's documents; and scans told of more than once."""

from __future__ import annotations

import concurrent.futures
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hxn_ptycho import AutoReconstruct, end_of_run
from hxn_ptycho.catalog import (
    CatalogError,
    Catalogs,
    find,
    insert,
    open_catalog,
    run_metadata,
    writer,
)
from hxn_ptycho.home import HOME_VARIABLE, Home, find_home
from hxn_ptycho.queue import AlreadyQueued, Queue, QueuedJob
from hxn_ptycho.recipe import Recipe, RecipeError

from .hosts import page
from .hxn_documents import FakeScan, make_scan
from .simulate.station import FORMS, Form, make_station
from .waiting import until


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogs]:
    """A home in force, that the tests of this module share: making its catalogs takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(tmp_path_factory.mktemp("home")))
        yield open_catalog(find_home().make())


@pytest.fixture
def home(catalogs: Catalogs) -> Home:
    return catalogs.home


@pytest.fixture
def scan(home: Home, request: pytest.FixtureRequest) -> FakeScan:
    return make_scan(home.data / request.node.name)


def jobs_of(home: Home, uid: str) -> list[QueuedJob]:
    return [job for job in Queue(home).jobs() if job.raw_uid == uid]


def test_a_stop_document_queues_its_scan(catalogs: Catalogs, scan: FakeScan) -> None:
    insert(catalogs.raw, scan.documents)
    job = end_of_run(scan.documents[-1][1], recipe={"probe_modes": 3}, start_worker=False)
    assert job is not None
    assert (job.raw_uid, job.scan_id, job.state) == (scan.uid, scan.scan_id, "queued")
    assert job.recipe == Recipe(probe_modes=3)
    assert jobs_of(catalogs.home, scan.uid) == [job]


@pytest.mark.parametrize("catalog", ["home", "catalogs", "broker"])
def test_the_uid_of_the_run_will_do_and_any_way_to_name_the_catalog(
    catalogs: Catalogs, scan: FakeScan, catalog: str
) -> None:
    insert(catalogs.raw, scan.documents)
    given = {"home": None, "catalogs": catalogs, "broker": catalogs.raw}[catalog]
    job = end_of_run({"run_start": scan.uid}, given, start_worker=False)
    assert job is not None
    assert jobs_of(catalogs.home, scan.uid) == [job]


@pytest.mark.parametrize("form", FORMS)
def test_scans_of_every_form_are_told_by_what_the_catalog_has(
    catalogs: Catalogs, tmp_path: Path, form: Form
) -> None:
    station = make_station(catalogs.home.data / form, form=form)
    station.RE.subscribe(writer(catalogs.raw, registry=station.registry))
    uid = station.measure(3, 3, md={"ptycho": {"iterations": 7}})
    job = end_of_run({"run_start": uid}, start_worker=False)
    assert job is not None
    assert job.recipe.iterations == 7
    assert job.refusal == ""


def test_what_is_no_scan_or_did_not_end_well_is_not_queued_and_the_log_says_why(
    catalogs: Catalogs, home: Home, scan: FakeScan, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hxn_ptycho")
    failed = [
        (name, {**doc, "exit_status": "fail", "reason": "beam dump"} if name == "stop" else doc)
        for name, doc in scan.documents
    ]
    insert(catalogs.raw, failed)
    assert end_of_run({"run_start": scan.uid}) is None
    assert "scan 1 ended with fail (beam dump): not reconstructed" in caplog.text
    count: list[tuple[str, dict[str, Any]]] = [
        ("start", {"uid": "c" * 36, "time": 0.0, "scan_id": 99, "plan_name": "count"}),
        ("stop", {"uid": "d", "run_start": "c" * 36, "time": 1.0, "exit_status": "success"}),
    ]
    insert(catalogs.raw, count)
    assert end_of_run({"run_start": "c" * 36}) is None
    assert f"scan 99, run {'c' * 36}, is not a ptychography scan: not queued" in caplog.text
    assert not home.root.joinpath("worker.log").exists()


def test_a_writer_that_is_behind_is_waited_for(
    catalogs: Catalogs, scan: FakeScan, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()

    def write() -> None:
        record = writer(catalogs.raw)
        for name, document in scan.documents:
            record(name, document)
            if name == "descriptor":
                assert looked.wait(60)  # what is there by now is not a whole run

    metadata = find._metadata

    def look(*args: Any) -> Any:
        found = metadata(*args)
        looked.set()
        return found

    monkeypatch.setattr(find, "_metadata", look)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        job = end_of_run(scan.documents[-1][1], start_worker=False)
        writing.result(60)
    assert job is not None


@pytest.mark.parametrize(
    ("document", "error", "message"),
    [
        ("uid", TypeError, "takes a stop document, and this is of type str"),
        ({}, ValueError, "has no run_start"),
        ({"uid": "a", "plan_name": "fly2d"}, ValueError, "start document is not a stop document"),
        ({"run_start": 7}, ValueError, "has no run_start"),
        ({"run_start": "e" * 36}, CatalogError, f"no run '{'e' * 36}' .*the catalog's writer"),
    ],
)
def test_wrong_use_is_told(
    catalogs: Catalogs, document: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        end_of_run(document, catalogs, seconds=0)


def test_a_run_that_goes_on_is_told(catalogs: Catalogs, scan: FakeScan) -> None:
    record = writer(catalogs.raw)
    for name, document in scan.documents[:-1]:
        record(name, document)
    until(lambda: run_metadata(catalogs.raw, scan.uid), "the run to be begun")
    with pytest.raises(CatalogError, match=f"{scan.uid} has no stop document"):
        end_of_run({"run_start": scan.uid}, seconds=0)


def test_a_recipe_that_cannot_be_used_is_told_and_nothing_is_queued(
    catalogs: Catalogs, scan: FakeScan
) -> None:
    insert(catalogs.raw, scan.documents)
    with pytest.raises(RecipeError, match="probe_mods"):
        end_of_run({"run_start": scan.uid}, recipe={"probe_mods": 2})
    assert jobs_of(catalogs.home, scan.uid) == []


def test_a_stop_document_that_comes_again_gives_the_earlier_job(
    catalogs: Catalogs, home: Home, scan: FakeScan, capsys: pytest.CaptureFixture[str]
) -> None:
    insert(catalogs.raw, scan.documents)
    first = end_of_run({"run_start": scan.uid}, start_worker=False)
    assert first is not None
    capsys.readouterr()
    again = end_of_run({"run_start": scan.uid}, recipe={"iterations": 9}, start_worker=False)
    assert again == first
    assert capsys.readouterr().out == (
        f"ptycho: scan 1 was queued before (job {first.job_uid[:8]}, queued): not queued again\n"
    )
    with Queue(home) as queue:  # also once it has ended, whatever came of it
        queue.claim(first)
        queue.finish(first, "done", result_file="result.h5")
    last = end_of_run({"run_start": scan.uid})
    assert last is not None
    assert (last.job_uid, last.state) == (first.job_uid, "done")
    assert not Queue(home).has_worker()


def test_the_callback_and_the_call_queue_a_scan_once(
    catalogs: Catalogs, home: Home, scan: FakeScan
) -> None:
    """As in IPython's profile and behind a workflow engine, or in two profiles of a home."""
    first, second = (AutoReconstruct(catalogs, start_worker=False) for _ in range(2))
    for name, document in scan.documents:
        first(name, document)
        second(name, document)
    insert(catalogs.raw, scan.documents)
    job = end_of_run(scan.documents[-1][1], start_worker=False)
    for name, document in scan.documents:  # the same documents once more, as from a message bus
        first(name, document)
    assert job is not None
    assert jobs_of(home, scan.uid) == [job]
    assert first.jobs == second.jobs == [job.job_uid]  # whoever waits waits for it


def test_many_at_the_same_moment_queue_a_run_once(home: Home) -> None:
    barrier = threading.Barrier(8)

    def submit(_: int) -> str:
        barrier.wait(60)
        try:
            return Queue(home, timeout=60).submit("at-once", 1, Recipe(), once=True).job_uid
        except AlreadyQueued as earlier:
            return earlier.job.job_uid

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        uids = set(pool.map(submit, range(8)))
    assert uids == {job.job_uid for job in jobs_of(home, "at-once")}
    assert len(uids) == 1


def test_a_shells_hook_is_enough(catalogs: Catalogs, home: Home) -> None:
    """From docs/hosting.md: a process that ends, whose worker reconstructs."""
    for job in Queue(home).jobs("queued"):
        Queue(home).cancel(job.job_uid)
    home.config_file.write_text("idle_seconds = 0.5\n")
    station = make_station(home.data / "worker")
    station.RE.subscribe(writer(catalogs.raw))
    uid = station.measure(md={"ptycho": {"iterations": 3, "ranks": 1}})
    words = page.command("python -c")
    assert words[-1] == "$RUN"
    done = subprocess.run([sys.executable, *words[1:-1], uid], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ended = until(
        lambda: next((j for j in jobs_of(home, uid) if j.ended), None), "the reconstruction", 180
    )
    assert ended.state == "done", ended.reason
    until(lambda: not Queue(home).has_worker(), "the idle worker to end")


def test_the_lines_for_a_profile_are_enough(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ptycho.toml").write_text("[ptycho]\niterations = 8\n")
    station = make_station(home.data / "profile")
    with Queue(home).worker_lock():  # so no worker is started
        exec(page.code('recipe="ptycho.toml"'), {"RE": station.RE})
        uid = station.measure(3, 3)
    (job,) = jobs_of(home, uid)
    assert job.recipe.iterations == 8
