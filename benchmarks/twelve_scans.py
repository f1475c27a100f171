"""Twelve scans in a row, each reconstructed behind the next, in IPython at the simulated beamline.

    .venv/bin/python benchmarks/twelve_scans.py [--scans 12] [--side 15]

Prints, as JSON: the seconds of each scan (the first runs beside no reconstruction), the seconds
from a scan's stop document to the solver's first iteration (the wait for the reconstructions before
it included), and how many results there are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SESSION = """
import time, json
from hxn_ptycho.solver.job import read_progress
seconds, stops = [], {{}}
RE.subscribe(lambda name, doc: stops.__setitem__(doc["run_start"], doc["time"]), "stop")
for _ in range({scans}):
    begin = time.time()
    RE(fly2d([merlin1], zpssx, -.5, .5, {side}, zpssy, -.5, .5, {side}, 0.01))
    seconds.append(time.time() - begin)
ptycho.wait()
found = [result for uid in stops for result in results(raw_uid=uid)]
waits = []
for folder in catalogs.home.jobs.iterdir():
    uid = json.loads((folder / "job.json").read_text())["raw_uid"]
    started = next(line for line in read_progress(folder)[0] if line["event"] == "started")
    waits.append(started["time"] - stops[uid])
with open({out!r}, "w") as file:
    succeeded = sum(result.exit_status == "success" for result in found)
    json.dump(dict(scan_seconds=seconds, stop_to_first_iteration=sorted(waits),
                   results=len(found), succeeded=succeeded), file)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scans", type=int, default=12)
    parser.add_argument("--side", type=int, default=15, help="points along each side of a scan")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out.json"
        code = SESSION.format(scans=options.scans, side=options.side, out=str(out))
        subprocess.run(
            [sys.executable, "-m", "IPython", f"--profile-dir={ROOT / 'profile_collection'}",
             "--no-banner", "-c", code],
            env={**os.environ, "HXN_PTYCHO_HOME": f"{name}/home"}, check=True, stdout=sys.stderr,
        )  # fmt: skip
        measured = json.loads(out.read_text())
        log = (Path(name) / "home" / "worker.log").read_text()
    measured["database_is_locked"] = log.count("database is locked")
    measured["median_scan_seconds"] = statistics.median(measured["scan_seconds"])
    print(json.dumps(measured, indent=1))
    return 0 if measured["succeeded"] == options.scans else 1


if __name__ == "__main__":
    sys.exit(main())
