"""Seconds that each kind of store takes: embedded, and a Tiled server on PostgreSQL on this host.

Servers and documents are those of the tests: PandA's fly scans, an event each, three arrays on
file. `python benchmarks/stores.py` prints a table: the median of some scans, in seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from hxn_ptycho.catalog import insert, open_catalog, resolve, search, writer
from hxn_ptycho.home import Stores
from tests.hxn_documents import FakeScan, make_scan
from tests.stores.postgresql import running_postgresql
from tests.stores.tiled_server import running_tiled


def measure(folder: Path, stores: Stores, number: int) -> dict[str, float]:
    """Return seconds, by what was done."""
    begun = time.perf_counter()
    raw = open_catalog(folder, stores).raw
    took = {"open": time.perf_counter() - begun}
    scans = [make_scan(folder / "data", scan_id) for scan_id in range(1, 2 * number + 1)]
    insert(raw, make_scan(folder / "data", 0).documents)  # what is imported then

    def each(some: list[FakeScan], act: Callable[[FakeScan], object]) -> float:
        times = []
        for scan in some:
            begun = time.perf_counter()
            act(scan)
            times.append(time.perf_counter() - begun)
        return statistics.median(times)

    record = writer(raw)

    def play(scan: FakeScan) -> None:
        for name, document in scan.documents:
            record(name, document)

    took["a scan's documents, stored at once"] = each(
        scans[:number], lambda scan: insert(raw, scan.documents)
    )
    took["... by the recorder, from start to stop"] = each(scans[number:], play)
    took["resolve its frames"] = each(scans, lambda scan: resolve(raw, scan.uid, "merlin1"))
    took["find it by scan id"] = each(scans, lambda scan: search(raw, scan_id=scan.scan_id))
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=20)
    number = parser.parse_args().scans
    with tempfile.TemporaryDirectory() as name, running_postgresql() as postgresql:
        folder = Path(name)
        (folder / "tiled").mkdir()
        with running_tiled(folder / "tiled", postgresql, [folder]) as server:
            remote = measure(folder / "remote", server.stores(), number)
        embedded = measure(folder / "embedded", Stores(), number)
    print(f"load {os.getloadavg()[0]:.1f}\n")
    print("| | embedded | Tiled on PostgreSQL |\n| --- | --- | --- |")
    for what, seconds in embedded.items():
        print(f"| {what} | {seconds:.3f} | {remote[what]:.3f} |")


if __name__ == "__main__":
    main()
