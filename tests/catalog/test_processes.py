"""Several processes on the same catalogs: scans here, derived runs and readers there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from hxn_ptycho import results
from hxn_ptycho.catalog import Catalogs, insert, resolve, search, stop_document, writer

from ..hxn_documents import make_scan

ROOT = str(Path(__file__).parents[2])
SCANS = 12

# Publishes a derived run for each raw run, as they come, until there are so many.
PUBLISHER = f"""
import sys, uuid
sys.path.insert(0, {ROOT!r})
from hxn_ptycho import Recipe
from hxn_ptycho.catalog import open_catalog, search, start_document, stop_document
from hxn_ptycho.publish import Publisher, publisher
from tests.example_results import example_result
from tests.result_files import progress_lines, write_result
from tests.waiting import until
catalogs = open_catalog()
publisher.LIVE_SECONDS = 0
print("ready", flush=True)
seen = set()
while len(seen) < {SCANS}:
    fresh = until(
        lambda: [
            uid
            for uid in search(catalogs.raw)
            if uid not in seen and stop_document(catalogs.raw, uid) is not None
        ],
        "a scan",
        seconds=200,
    )
    for uid in fresh:
        seen.add(uid)
        one = Publisher(
            catalogs,
            derived_uid=str(uuid.uuid4()),
            job_uid=uid,
            raw_start=start_document(catalogs.raw, uid),
            recipe=Recipe(probe_modes=2, iterations=12),
            ranks=1,
            device="cpu",
        )
        one.open()
        for line in progress_lines(example_result())[:3]:
            one.iterations([line])
        one.succeed(write_result(catalogs.home.jobs / uid, raw_uid=uid))
"""


def test_twelve_scans_with_derived_runs_written_meanwhile(catalogs: Catalogs) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PUBLISHER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as publishing:
        assert publishing.stdout is not None
        assert publishing.stdout.readline() == "ready\n"
        record = writer(catalogs.raw)
        scans = []
        for scan_id in range(1, SCANS + 1):
            scan = make_scan(catalogs.home.data, scan_id)
            for name, document in scan.documents:
                record(name, document)
            # Whatever else is written, the scan is there when its stop document has been taken.
            assert stop_document(catalogs.raw, scan.uid) is not None
            scans.append(scan)
        _, errors = publishing.communicate(timeout=280)
    assert publishing.returncode == 0, errors
    assert "locked" not in errors
    assert search(catalogs.raw) == [scan.uid for scan in scans]
    found = results(catalogs=catalogs)
    assert sorted(result.raw_uid for result in found) == sorted(scan.uid for scan in scans)
    assert {result.exit_status for result in found} == {"success"}
    for result in found:
        assert result.errors["iteration"].tolist() == list(range(1, 13))
    assert resolve(catalogs.raw, scans[-1].uid, "merlin1").shape == scans[-1].frames.shape
    assert list((catalogs.home.root / "spool").iterdir()) == []


WRITER = f"""
import sys
sys.path.insert(0, {ROOT!r})
from hxn_ptycho.catalog import insert, open_catalog
from tests.hxn_documents import make_scan
catalogs = open_catalog()
print("ready", flush=True)
for scan_id in (10, 11, 12):
    insert(catalogs.raw, make_scan(catalogs.home.data, scan_id).documents)
"""


def test_two_writers_of_one_catalog_at_once(catalogs: Catalogs) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", WRITER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        for scan_id in (20, 21, 22):
            insert(catalogs.raw, make_scan(catalogs.home.data, scan_id).documents)
        _, errors = other.communicate(timeout=200)
    assert other.returncode == 0, errors
    for scan_id in (10, 11, 12, 20, 21, 22):
        (uid,) = search(catalogs.raw, scan_id=scan_id)
        frames = catalogs.raw.v3[uid]["primary"]["merlin1"].read()
        expected = make_scan(catalogs.home.root / "again", scan_id).frames
        np.testing.assert_array_equal(frames, expected)
