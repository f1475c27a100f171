from __future__ import annotations

import copy
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hxn_ptycho import AutoReconstruct
from hxn_ptycho.home import Home
from hxn_ptycho.queue import Queue, QueuedJob
from hxn_ptycho.recipe import Recipe, RecipeError
from hxn_ptycho.results import results

from .hxn_documents import FakeScan, make_scan
from .waiting import until

PROFILE = Path(__file__).parent.parent / "profile_collection"

MANY = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def scan(home: Home) -> FakeScan:
    return make_scan(home.data)


def trigger(recipe: Any = None) -> AutoReconstruct:
    return AutoReconstruct(recipe=recipe, start_worker=False)


def feed(callback: AutoReconstruct, *documents: tuple[str, dict[str, Any]]) -> None:
    for name, document in documents:
        callback(name, copy.deepcopy(document))


def queued(home: Home) -> list[QueuedJob]:
    return Queue(home).jobs()


def ended_with(scan: FakeScan, **stop: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, document in scan.documents:
        yield name, {**document, **stop} if name == "stop" else document


def test_a_scan_is_queued_at_its_stop_document(home: Home, scan: FakeScan) -> None:
    callback = trigger(Recipe(probe_modes=3))
    feed(callback, *scan.documents[:-1])
    assert queued(home) == []
    feed(callback, scan.documents[-1])
    (job,) = queued(home)
    assert (job.raw_uid, job.scan_id, job.state) == (scan.uid, scan.scan_id, "queued")
    assert job.recipe == Recipe(probe_modes=3)
    assert callback.jobs == [job.job_uid]


def test_a_plan_overrides_the_recipe_for_its_scan_only(home: Home) -> None:
    callback = trigger({"probe_modes": 3})
    special = make_scan(home.data, 1, ptycho={"iterations": 9})
    feed(callback, *special.documents, *make_scan(home.data, 2).documents)
    assert [(job.recipe.probe_modes, job.recipe.iterations) for job in queued(home)] == [
        (3, 9),
        (3, 50),
    ]


@pytest.mark.parametrize("override", [{"probe_mode": 3}, {"beta": 9}, "fast", 3, None])
def test_a_bad_override_is_told_and_published_by_the_worker(
    home: Home, capsys: pytest.CaptureFixture[str], override: Any
) -> None:
    feed(trigger(), *make_scan(home.data, ptycho=override).documents)
    (job,) = queued(home)
    assert 'md={"ptycho": ' in job.refusal
    said = capsys.readouterr().out
    assert said.startswith(f"ptycho: scan 1 cannot be reconstructed: {job.refusal}\n")
    assert f"scan 1 waits: no worker serves {home.root}" in said


def test_a_recipe_file_is_read_anew_for_each_scan(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "ptycho.toml"
    path.write_text("[ptycho]\niterations = 7\n")
    callback = trigger(path)
    feed(callback, *make_scan(home.data, 1).documents)
    path.write_text("[ptycho]\niterations = 8\n")
    feed(callback, *make_scan(home.data, 2).documents)
    path.write_text("[ptycho\n")
    feed(callback, *make_scan(home.data, 3).documents)
    jobs = queued(home)
    assert [job.recipe.iterations for job in jobs[:2]] == [7, 8]
    assert "ptycho.toml is not TOML" in jobs[2].refusal


def test_a_bad_recipe_is_refused_where_it_is_given(home: Home, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="probe_mods"):
        trigger({"probe_mods": 3})
    with pytest.raises(RecipeError, match="cannot be read"):
        trigger(tmp_path / "none.toml")


def test_a_relative_start_is_taken_from_the_users_folder(
    home: Home, scan: FakeScan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    feed(trigger({"probe": "probe.npy"}), *scan.documents)
    assert queued(home)[0].recipe.probe == str(tmp_path / "probe.npy")


@pytest.mark.parametrize("status", ["abort", "fail"])
def test_a_scan_that_did_not_end_well_is_not_queued_and_it_says_so(
    home: Home, scan: FakeScan, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    feed(trigger(), *ended_with(scan, exit_status=status, reason="beam dump"))
    assert queued(home) == []
    assert capsys.readouterr().out == (
        f"ptycho: scan 1 ended with {status} (beam dump): not reconstructed\n"
    )


def test_other_runs_are_none_of_its_business(
    home: Home, scan: FakeScan, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = trigger()
    start = {**scan.start, "analysis_stage": "reconstruction", "uid": "derived"}
    feed(callback, ("start", start), ("stop", {"run_start": "derived", "exit_status": "success"}))
    count = {"uid": "count", "scan_id": 2, "plan_name": "count", "detectors": ["merlin1"]}
    feed(callback, ("start", count), ("stop", {"run_start": "count", "exit_status": "success"}))
    without = [(name, doc) for name, doc in scan.documents if doc.get("name") != "primary"]
    feed(callback, *without)  # a fly scan without a diffraction detector
    assert queued(home) == []
    assert capsys.readouterr().out == ""


@MANY
@given(first=st.integers(1, 12))
def test_subscribed_late_it_lets_the_run_pass(home: Home, scan: FakeScan, first: int) -> None:
    callback = trigger()
    feed(callback, *scan.documents[first:])
    assert callback.jobs == []
    feed(callback, *scan.documents)  # and takes the next one
    assert len(callback.jobs) == 1


@MANY
@given(data=st.data())
def test_runs_may_be_interleaved(home: Home, data: st.DataObject) -> None:
    callback = trigger()
    waiting = [make_scan(home.data, scan_id).documents for scan_id in (1, 2, 3)]
    starts = {documents[0][1]["uid"] for documents in waiting}
    while waiting:
        documents = data.draw(st.sampled_from(waiting))
        feed(callback, documents.pop(0))
        waiting = [rest for rest in waiting if rest]
    assert {Queue(home).find(uid).raw_uid for uid in callback.jobs} == starts


@MANY
@given(
    name=st.sampled_from(["start", "descriptor", "resource", "stream_resource", "event", "stop"]),
    document=st.dictionaries(
        st.sampled_from(["uid", "run_start", "data_keys", "scan", "ptycho", "uri", "motors"]),
        st.none() | st.integers() | st.text() | st.dictionaries(st.text(), st.integers()),
    ),
)
def test_nothing_makes_it_raise(
    home: Home, scan: FakeScan, name: str, document: dict[str, Any]
) -> None:
    callback = trigger()
    feed(callback, scan.documents[0], (name, document), *scan.documents[1:])


def test_a_queue_that_cannot_be_written_is_told_in_one_line(
    home: Home, scan: FakeScan, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.root / "queue.db").mkdir()
    feed(trigger(), *scan.documents)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "queue.db" in said
    assert f"hxn-ptycho reconstruct {scan.uid}" in said


def test_a_file_that_the_catalog_cannot_read_is_told_at_once(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = make_scan(tmp_path / "elsewhere")
    feed(trigger(), *elsewhere.documents)
    assert str(tmp_path / "elsewhere") in capsys.readouterr().out


def test_pickled_in_the_middle_of_a_scan_it_goes_on(home: Home, scan: FakeScan) -> None:
    callback = trigger(Recipe(iterations=9))
    feed(callback, *scan.documents[:5])
    copied = pickle.loads(pickle.dumps(callback))
    feed(copied, *scan.documents[5:])
    assert queued(home)[0].recipe.iterations == 9


# What is typed at the beamline; it says when the scan has ended, and stays.
LINES = """
RE(fly2d([merlin1], zpssx, -0.2, 0.2, 6, zpssy, -0.2, 0.2, 6, 0.005, md={"ptycho": RECIPE}))
print("jobs", *ptycho.jobs, flush=True)
import sys; sys.stdin.read()
"""


def test_killing_ipython_ends_no_reconstruction(home: Home, tmp_path: Path) -> None:
    """The whole way, from a beamline's IPython profile to the picture, IPython being killed."""
    home.config_file.write_text("idle_seconds = 0.5\n")
    profile = tmp_path / "profile"  # IPython writes into it
    shutil.copytree(PROFILE, profile)
    recipe = {"iterations": 5, "probe_modes": 1}
    session = subprocess.Popen(
        [
            *(sys.executable, "-m", "IPython", f"--profile-dir={profile}"),
            *("-c", LINES.replace("RECIPE", repr(recipe))),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert session.stdout is not None
    words: list[str] = []
    while not words or words[0] != "jobs":
        line = session.stdout.readline()
        assert line, "IPython ended before its scan"
        words = line.split()
    os.killpg(session.pid, signal.SIGKILL)
    session.communicate()
    (job_uid,) = words[1:]

    def ended() -> QueuedJob | None:
        job = Queue(home).find(job_uid)
        return job if job.ended else None

    job = until(ended, "the reconstruction to end", 180)
    assert job.state == "done", job.reason
    (result,) = results(raw_uid=job.raw_uid, home=home)
    assert result.exit_status == "success"
    assert result.picture is not None
    until(lambda: not Queue(home).has_worker(), "the idle worker to end")
    log = (home.root / "worker.log").read_text()
    assert f"scan {job.scan_id}, run {job.raw_uid}" in log
    assert "Traceback" not in log
