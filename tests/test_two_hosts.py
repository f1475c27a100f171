"""IPython on one host, workers on others, a home that all share."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from hxn_ptycho.catalog import open_catalog
from hxn_ptycho.home import Home
from hxn_ptycho.queue import Queue
from hxn_ptycho.results import results

from .hxn_documents import make_scan
from .launch.processes import iterating
from .two_hosts import Host, say, switch_off, why_no_hosts
from .waiting import until

pytestmark = [
    pytest.mark.skipif(bool(why_no_hosts()), reason=why_no_hosts()),
    pytest.mark.timeout(900),
]

HERE = Path(__file__).parents[1]
WORKER = (sys.executable, "-m", "hxn_ptycho.cli", "worker", "--stay")

# Stores two scans, in catalogs that it makes; prints their uids and scan ids.
STORE = """
from hxn_ptycho.catalog import open_catalog
from tests.scans import measure
for _ in range(2):
    print(*measure(open_catalog()))
"""

# A session at the beamline: takes lines of Python, answers each with a line.
SESSION = """
import contextlib, io, json, pickle, sys
from hxn_ptycho import AutoReconstruct
from hxn_ptycho.catalog import CatalogError, open_catalog
from hxn_ptycho.queue import Queue
ptycho = AutoReconstruct(recipe={"iterations": 1_000_000, "ranks": 1}, start_worker=False)
queue = Queue(ptycho.home)

def feed(number):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        for name, document in pickle.load(open(sys.argv[1], "rb"))[number]:
            ptycho(name, document)
    return " ".join(said.getvalue().split())

def opened():
    try:
        open_catalog()
    except CatalogError as error:
        return str(error)
    return "opens"

for line in sys.stdin:
    print(eval(line), flush=True)
"""


def test_a_scan_queued_on_one_host_is_worked_off_on_another(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    ipython, first, second = (
        Host(name, tmp_path) for name in ("ipython-host", "gpu-host-1", "gpu-host-2")
    )
    stored = [line.split() for line in first.run([sys.executable, "-c", STORE]).splitlines()]
    documents = tmp_path / "documents"
    documents.write_bytes(
        pickle.dumps([documents_of(home, uid, int(scan_id)) for uid, scan_id in stored])
    )
    queue = Queue(home)
    talk = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    quiet = {"stdin": subprocess.DEVNULL}
    with ipython.running([sys.executable, "-c", SESSION, str(documents)], **talk) as session:
        assert f"no worker serves {home.root}" in say(session, "feed(0)")
        (job,) = queue.jobs("queued")
        assert say(session, "queue.ensure_worker() if ptycho.start_worker else 'none'") == "none"
        with first.running(WORKER, **quiet) as worker:
            folder = home.jobs / job.job_uid
            until(lambda: iterating(folder), "the job to run", 120)
            assert say(session, "queue.serving().host, queue.serving().is_here") == (
                "('gpu-host-1', False)"
            )
            # The worker has the catalogs open; those who would damage them are told what to do.
            refused = say(session, "opened()")
            assert f"the catalogs in {home.catalogs} are open on gpu-host-1" in refused
            assert "databroker.v0 ([catalogs] in" in refused
            said = say(session, "feed(1)")
            assert "the worker is on gpu-host-1" in said
            beside = queue.jobs()[-1].job_uid  # it may have begun, where there are cores
            say(session, f"queue.cancel({beside!r}).state")
            until(lambda: queue.find(beside).state == "cancelled", "the other job to end", 120)
            assert say(session, f"queue.order(queue.find({job.job_uid!r}))") == "leave"
            with second.running(WORKER, **quiet):
                log = home.root / "worker.log"
                until(lambda: "on gpu-host-1, process" in log.read_text(), "the second to wait")
                assert queue.find(job.job_uid).attempts == 1
                switch_off(worker)  # a power cut
                until(lambda: queue.find(job.job_uid).attempts == 2, "the second to take it", 120)
                assert say(session, "queue.serving().host") == "gpu-host-2"
                until(lambda: iterating(folder), "the job to run again", 120)
                # Asked to end from the host that queued it.
                assert say(session, f"queue.cancel({job.job_uid!r}).state") == "running"
                until(lambda: queue.find(job.job_uid).ended, "it to end", 120)
        assert queue.find(job.job_uid).state == "cancelled"
        # Nobody has them open any more: another host may.
        assert say(session, "opened()") == "opens"
        assert "open on ipython-host" in refusal(home)
    (result,) = results(uid=job.derived_uid, catalogs=open_catalog(home))
    assert result.exit_status == "abort"
    assert json.loads((folder / "program.json").read_text())["host"] == "gpu-host-2"


def refusal(home: Home) -> str:
    """Return what ``hxn-ptycho results`` says on this host."""
    said = subprocess.run(
        [sys.executable, "-m", "hxn_ptycho.cli", "results"],
        env={**os.environ, "HXN_PTYCHO_HOME": str(home.root)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 1
    return " ".join(said.stderr.split())


def documents_of(home: Home, uid: str, scan_id: int) -> list[tuple[str, dict]]:
    """Return the documents of a fly scan that has this uid."""
    scan = make_scan(home.data, scan_id)
    found = []
    for name, document in scan.documents:
        changes = {"uid": uid} if name == "start" else {}
        if "run_start" in document:
            changes["run_start"] = uid
        found.append((name, {**document, **changes}))
    return found
