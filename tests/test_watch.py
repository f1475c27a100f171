"""Watching jobs: the tests act as the worker, by writing what it writes."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pexpect
import pytest
from rich.console import Console

from hxn_ptycho.home import Home
from hxn_ptycho.queue import Queue, QueuedJob
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.solver.job import ProgressWriter, ResultData
from hxn_ptycho.watch import ProgressBar, Watched, print_summary, wait

from .result_files import write_result
from .waiting import until


class Acting:
    """A worker that does what a test says."""

    def __init__(self, home: Home, iterations: int = 10, scan_id: int = 7) -> None:
        self.home = home
        self.queue = Queue(home)
        self.lock = self.queue.worker_lock()
        self.lock.acquire()  # so that no real one is started
        recipe = Recipe(iterations=iterations)
        self.job = self.queue.submit("raw-uid-of-the-scan", scan_id, recipe)

    def claim(self) -> None:
        claimed = self.queue.claim()
        assert claimed is not None
        self.folder = self.home.jobs / claimed.job_uid
        self.folder.mkdir(exist_ok=True)
        (self.folder / "progress.jsonl").unlink(missing_ok=True)
        self.say = ProgressWriter(self.folder)

    def iterate(self, iteration: int, error: float | None = None) -> None:
        self.say(
            "iteration",
            iteration=iteration,
            error_probe=[0.1],
            error_object=[0.1],
            error_fourier=error,
            seconds=0.5 * iteration,
        )

    def finish(self, state: Any = "done", reason: str = "", **changes: Any) -> QueuedJob:
        file = write_result(self.home.results, **changes) if state == "done" else ""
        return self.queue.finish(self.job, state, reason, result_file=file)

    def __enter__(self) -> Acting:
        return self

    def __exit__(self, *_: object) -> None:
        self.queue.close()
        self.lock.release()


def test_a_job_is_followed_through_its_phases(home: Home) -> None:
    with Acting(home) as worker:
        watched = Watched(home, worker.job)

        def phase() -> str:
            watched.update()
            return watched.phase

        assert phase() == "waiting"
        assert watched.line().startswith("scan 7: waiting  for ")
        worker.claim()
        assert phase() == "preparing"
        worker.say("started", ranks=1)
        assert phase() == "reconstructing"
        worker.iterate(1, 0.5)
        worker.iterate(2)
        assert phase() == "reconstructing"
        assert (watched.iteration, watched.error, watched.seconds_left) == (2, 0.5, 4.0)
        assert watched.line(bar=10).split("  ") == [
            "scan 7: reconstructing",
            "██░░░░░░░░",
            "2/10",
            "error 0.5",
            "4 s left",
        ]
        worker.iterate(10, 0.25)
        assert phase() == "publishing"
        worker.finish("failed", "no light")
        assert phase() == "failed"


def test_a_job_begun_anew_is_followed_anew(home: Home) -> None:
    with Acting(home) as worker:
        watched = Watched(home, worker.job)
        worker.claim()
        worker.say("started", ranks=1)
        worker.iterate(9, 0.5)
        watched.update()
        assert watched.iteration == 9
        worker.queue.close()  # the worker dies, another one begins
        worker.claim()
        watched.update()
        assert (watched.iteration, watched.error, watched.phase) == (0, None, "preparing")


def printed(job: QueuedJob) -> str:
    console = Console(file=io.StringIO(), width=60)
    print_summary(job, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_summary_says_what_one_needs(home: Home) -> None:
    with Acting(home) as worker:
        worker.claim()
        job = worker.finish()
    picture = Path(job.result_file).with_suffix(".png")
    assert "none; see worker.log" in printed(job)
    picture.touch()
    text = printed(job)
    for needed in (
        "scan 7: reconstruction done",
        "raw-uid-of-the-scan",
        job.derived_uid,
        "Fourier 0.",
        "iterations in",
        str(picture),  # in one piece, however narrow the terminal
    ):
        assert needed in text
    Path(job.result_file).unlink()
    assert "not a readable result" in printed(job)


def test_the_summary_says_what_was_left_out(home: Home) -> None:
    with Acting(home) as worker:
        worker.claim()
        job = worker.finish(frames_dropped=3, saturated_pixels=1234)
    text = printed(job)
    views = len(ResultData.read(job.result_file).positions)
    assert f"3 of {views + 3} frames dropped; 1,234 saturated pixels of single frames" in text


def test_the_summary_of_a_failure_says_why(home: Home) -> None:
    with Acting(home) as worker:
        worker.claim()
        job = worker.finish("failed", "window = 64 is larger than the frames")
    text = printed(job)
    assert "scan 7: reconstruction failed" in text
    assert "reason      window = 64 is larger than the frames" in text


def test_wait_shows_bars_and_tells_the_end_of_each(home: Home) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with Acting(home) as worker:
        second = worker.queue.submit("raw2", 8, Recipe())
        worker.queue.cancel(second.job_uid)
        waited: list[QueuedJob] = []
        uids = [worker.job.job_uid, second.job_uid]
        thread = threading.Thread(target=lambda: waited.extend(wait(home, uids, console=console)))
        thread.start()
        worker.claim()
        worker.say("started", ranks=1)
        worker.iterate(4, 0.5)
        shown = console.file.getvalue  # type: ignore[attr-defined]
        until(lambda: "4/10" in shown() and "error 0.5" in shown(), "the bar to move")
        worker.finish()
        thread.join(30)
    assert [job.state for job in waited] == ["done", "cancelled"]
    assert "scan 8: reconstruction cancelled" in shown()
    assert "scan 7: reconstruction done" in shown()
    assert "cancelled before it ran" in shown()


def test_wait_gives_up_at_its_timeout(home: Home) -> None:
    console = Console(file=io.StringIO())
    with Acting(home) as worker, pytest.raises(TimeoutError, match=r"scan 7 \(queued\)"):
        wait(home, [worker.job.job_uid], timeout=0.1, console=console)


def test_a_bar_for_one_by_hand() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with ProgressBar(console) as bar:
        bar({"event": "waiting", "reason": "waits for 4 GPUs"})
        bar({"event": "waiting", "reason": ""})
        bar({"event": "prepared", "views": 900, "iterations": 10, "ranks": 2})
        facts = {"gpu": "H200", "way": "fused kernels", "estimated_bytes": 5_534_000_000}
        bar({"event": "device", **facts})
        bar({"event": "started"})
        bar({"event": "iteration", "iteration": 6, "error_fourier": 0.125})
        bar({"event": "iteration", "iteration": 7, "error_fourier": None})
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "7/10" in text
    assert "error 0.125" in text
    assert "H200, fused kernels: 5.53 GB of each GPU's memory" in text


def test_ipythons_prompt_stays_usable_below_it_the_progress(home: Home, tmp_path: Path) -> None:
    """A real terminal IPython; this process acts as the worker."""
    ipython = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--no-banner", "--no-confirm-exit"],
        env={**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "xterm"},
        encoding="utf-8",
        dimensions=(40, 120),
        timeout=60,
        use_poll=True,
    )

    def expect(pattern: Any) -> None:
        # As a terminal does, say where the cursor is when asked: row 5, column 1.
        while ipython.expect([r"\x1b\[6n", pattern]) == 0:
            ipython.send("\x1b[5;1R")

    with Acting(home) as worker:
        expect("In .*1.*:")
        ipython.send(
            "from hxn_ptycho.watch import Toolbar; from hxn_ptycho.home import find_home; "
            f"Toolbar(find_home(), lambda: ['{worker.job.job_uid}'], get_ipython()).start()\r"
        )
        expect("scan 7: waiting")
        worker.claim()
        worker.say("started", ranks=1)
        worker.iterate(4, 0.5)
        expect("4/10")  # only what changed is drawn: "reconstructing" may come in pieces
        ipython.send("6 * ")  # typed before the job ends, finished after
        worker.finish()
        expect("scan 7: reconstruction done")
        expect(worker.job.derived_uid)
        ipython.send("7\r")
        expect("Out.*42")
        ipython.send("get_ipython().pt_app.bottom_toolbar is None\r")
        expect("Out.*True")
        ipython.send("exit\r")
        expect(pexpect.EOF)
    ipython.close()
    assert ipython.exitstatus == 0
