from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hxn_ptycho.home import Home
from hxn_ptycho.queue import Queue, QueueError
from hxn_ptycho.recipe import Recipe

from .waiting import until

# A process that claims jobs of the home given to it and prints them, then waits to be killed.
CLAIMER = """
import sys
from pathlib import Path
from hxn_ptycho.home import Home
from hxn_ptycho.queue import Queue
queue = Queue(Home(Path(sys.argv[1])))
for _ in range(int(sys.argv[2])):
    job = queue.claim()
    if job is None:
        break
    print(job.job_uid, flush=True)
    if sys.argv[3] == "finish":
        queue.finish(job, "done")
print("end", flush=True)
sys.stdin.read()
"""


def start_claimer(home: Home, count: int, then: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CLAIMER, str(home.root), str(count), then],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def claimed_by(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return [line.strip() for line in iter(process.stdout.readline, "end\n")]


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_job_is_kept_as_submitted(home: Home) -> None:
    recipe = Recipe(probe_modes=3, object_phase=(-1.0, 0.5))
    job = Queue(home).submit("raw", 7, recipe, refusal="no")
    assert Queue(home).jobs() == [job]
    assert (job.raw_uid, job.scan_id, job.recipe, job.refusal) == ("raw", 7, recipe, "no")
    assert (job.state, job.attempts, job.ended) == ("queued", 0, False)
    assert job.job_uid != job.derived_uid
    assert json.loads(json.dumps(job.to_dict()))["recipe"]["probe_modes"] == 3


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    iterations=st.integers(1, 1_000_000),
    beta=st.floats(1e-6, 2, exclude_min=True),
    probe=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1),
    window=st.none() | st.integers(8, 8192),
)
def test_any_recipe_comes_back_equal(
    home: Home, iterations: int, beta: float, probe: str, window: int | None
) -> None:
    recipe = Recipe(iterations=iterations, beta=beta, probe=probe, window=window)
    job = Queue(home).submit("raw", 1, recipe)
    assert Queue(home).find(job.job_uid).recipe == recipe
    assert not job.refusal


def test_jobs_are_claimed_oldest_first_and_once(home: Home) -> None:
    queue = Queue(home)
    submitted = [queue.submit("raw", scan, Recipe()).job_uid for scan in range(3)]
    claimed = [queue.claim() for _ in range(4)]
    assert [job.job_uid for job in claimed if job] == submitted
    assert claimed[3] is None
    assert [job.state for job in queue.jobs()] == ["running"] * 3
    queue.close()


def test_three_processes_share_twelve_jobs_without_a_double(home: Home) -> None:
    submitted = {Queue(home).submit("raw", scan, Recipe()).job_uid for scan in range(12)}
    processes = [start_claimer(home, 12, "finish") for _ in range(3)]
    claimed = [uid for process in processes for uid in claimed_by(process)]
    for process in processes:
        kill(process)
    assert sorted(claimed) == sorted(submitted)
    assert {job.state for job in Queue(home).jobs()} == {"done"}


def test_twelve_threads_submit_at_once(home: Home) -> None:
    threads = [
        threading.Thread(target=lambda scan=scan: Queue(home).submit("raw", scan, Recipe()))
        for scan in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(job.scan_id for job in Queue(home).jobs("queued")) == list(range(12))


def test_the_job_of_a_killed_worker_is_queued_again_once(home: Home) -> None:
    job = Queue(home).submit("raw", 1, Recipe())
    for attempt in (1, 2):
        process = start_claimer(home, 1, "hold")
        assert claimed_by(process) == [job.job_uid]
        with Queue(home) as other:
            assert other.claim() is None  # its worker lives
            assert other.find(job.job_uid).attempts == attempt
        kill(process)
    with Queue(home) as queue:
        again = queue.claim()
        assert again is not None
        assert "died 2 times" in again.refusal  # to be published as failed, not computed
    with Queue(home) as queue:  # and its publisher died as well
        assert queue.claim() is None
    assert Queue(home).find(job.job_uid).state == "failed"


def test_a_released_job_counts_as_never_begun(home: Home) -> None:
    queue = Queue(home)
    queue.submit("raw", 1, Recipe())
    job = queue.claim()
    assert job is not None
    queue.release(job)
    assert [(j.state, j.attempts) for j in queue.jobs()] == [("queued", 0)]
    queue.close()


def test_cancel_ends_a_queued_job_and_asks_for_a_running_one(home: Home) -> None:
    queue = Queue(home)
    running, queued = (queue.submit("raw", scan, Recipe()) for scan in (1, 2))
    assert queue.claim() == queue.find(running.job_uid)
    assert queue.cancel(queued.job_uid[:8]).state == "cancelled"
    assert queue.order(running) == "go on"
    assert queue.cancel(running.job_uid).state == "running"
    assert queue.order(running) == "cancel"
    queue.finish(running, "cancelled", "by hand")
    with pytest.raises(QueueError, match="is cancelled already"):
        queue.cancel(running.job_uid)
    queue.close()


@pytest.mark.parametrize(("uid", "message"), [("zzz", "no job"), ("", "no|2 jobs")])
def test_an_unknown_job_is_named(home: Home, uid: str, message: str) -> None:
    for scan in (1, 2):
        Queue(home).submit("raw", scan, Recipe())
    with pytest.raises(QueueError, match=message):
        Queue(home).find(uid)


def test_how_a_job_ended_is_kept(home: Home) -> None:
    queue = Queue(home)
    for scan in (1, 2):
        queue.submit("raw", scan, Recipe())
    first, second = queue.claim(), queue.claim()
    assert first
    assert second
    queue.finish(first, "done", result_file=Path("/results/result.h5"))
    queue.finish(second, "failed", "no light")
    assert [(j.state, j.reason, j.result_file, j.ended) for j in queue.jobs()] == [
        ("done", "", "/results/result.h5", True),
        ("failed", "no light", "", True),
    ]
    queue.close()


def test_a_recipe_of_another_version_is_refused_not_lost(home: Home) -> None:
    job = Queue(home).submit("raw", 1, Recipe())
    with sqlite3.connect(Queue(home).path) as database:
        database.execute("UPDATE jobs SET recipe = '{\"flux_capacitor\": 1}'")
    with Queue(home) as queue:
        again = queue.claim()
    assert again is not None
    assert again.job_uid == job.job_uid
    assert "flux_capacitor" in again.refusal


def test_a_damaged_queue_is_named(home: Home) -> None:
    path = Queue(home).path
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(QueueError, match=r"queue\.db cannot be used"):
        Queue(home).submit("raw", 1, Recipe())


def test_a_worker_is_seen_while_it_lives(home: Home) -> None:
    queue = Queue(home)
    assert not queue.has_worker()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from hxn_ptycho.home import Home;"
            "from hxn_ptycho.queue import Queue;"
            "lock = Queue(Home(Path(sys.argv[1]))).worker_lock(); lock.acquire();"
            "print('held', flush=True); sys.stdin.read()",
            str(home.root),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert queue.has_worker()
    assert not queue.ensure_worker()  # so none is started
    kill(holder)
    until(lambda: not queue.has_worker(), "the lock of a killed worker to be free")


# As versions before 0.2 made it.
EARLIER_TABLE = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, job_uid TEXT NOT NULL UNIQUE,
    derived_uid TEXT NOT NULL, raw_uid TEXT NOT NULL, scan_id INTEGER NOT NULL,
    recipe TEXT NOT NULL, refusal TEXT NOT NULL DEFAULT '', state TEXT NOT NULL DEFAULT 'queued',
    reason TEXT NOT NULL DEFAULT '', result_file TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0, cancel INTEGER NOT NULL DEFAULT 0, worker TEXT,
    submitted REAL NOT NULL, started REAL, finished REAL
);
CREATE INDEX jobs_state ON jobs (state);
INSERT INTO jobs (job_uid, derived_uid, raw_uid, scan_id, recipe, submitted)
    VALUES ('j', 'd', 'r', 7, '{}', 1.0);
"""


def test_a_queue_of_an_earlier_version_leaves_its_log_when_nobody_has_it_open(home: Home) -> None:
    queue = Queue(home)
    earlier = sqlite3.connect(queue.path, isolation_level=None)
    earlier.execute("PRAGMA journal_mode = WAL")
    earlier.executescript(EARLIER_TABLE)
    second = queue.submit("raw", 8, Recipe())  # while a process of that version has it open
    assert earlier.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert earlier.execute("SELECT count(*) FROM jobs").fetchone() == (2,)
    earlier.close()
    with queue:
        first = queue.claim()
        assert first is not None
        assert (first.job_uid, first.recipe, first.stores) == ("j", Recipe(), None)
        assert queue.next() == second
    # Which byte of the file's header says so: 1 is a rollback journal, 2 the log.
    assert queue.path.read_bytes()[18:20] == b"\1\1"
    assert not queue.path.with_name("queue.db-wal").exists()


def test_a_worker_whose_lock_is_lost_leaves_its_job(home: Home) -> None:
    """As after a file server was away for long: another worker has the job by then."""
    queue = Queue(home)
    queue.submit("raw", 1, Recipe())
    job = queue.claim()
    assert job is not None
    assert queue.order(job) == "go on"
    (lock_file,) = (home.root / "workers").iterdir()
    lock_file.unlink()
    with Queue(home) as other:
        again = other.claim()
        assert again is not None
        assert queue.order(job) == "leave"
        queue.release(job)  # which is not its to put back
        assert other.find(job.job_uid).state == "running"
        assert other.order(again) == "go on"
    queue.close()


def test_a_job_says_in_a_line_what_it_is(home: Home) -> None:
    with Queue(home) as queue:
        job = queue.submit("raw", 7, Recipe())
    assert repr([job]) == f"[<job {job.job_uid[:8]} of scan 7: queued>]"
