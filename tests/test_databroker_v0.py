"""HXN's own kind of broker the whole way, from `RE.subscribe` to the results; on both databases."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hxn_ptycho.catalog import CatalogError, Catalogs, find_run, open_catalog, read_table, search
from hxn_ptycho.home import Home, Store, Stores
from hxn_ptycho.queue import Queue
from hxn_ptycho.results import Result, results

from .every import if_every
from .stores.databroker_v0 import V0OnMongo, V0OnSQLite
from .stores.places import toml

ROOT = Path(__file__).parents[1]


def in_a_session(
    home: Home, *words: str, stores: list[Store]
) -> tuple[list[str], tuple[str, ...], str]:
    """Measure and reconstruct; return the uids of the scans, of their results, of the last run."""
    configurations = [json.dumps(store.v0) for store in stores]
    said = subprocess.run(
        [
            sys.executable, str(ROOT / "tests" / "v0_session.py"),
            *configurations, str(home.data / "session"), *words,
        ],
        capture_output=True, text=True, timeout=280, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    uids = re.findall("^measured (.*)", said.stdout, re.MULTILINE)
    *jobs, last = re.findall("^told (.*)", said.stdout, re.MULTILINE)
    states, derived = zip(*(job.split() for job in jobs), strict=True)
    assert set(states) == {"done"}, said.stdout
    return uids, derived, last


def test_results_into_the_home_into_another_broker_and_into_the_same(
    home: Home, v0_on_sqlite: V0OnSQLite
) -> None:
    pairs = [v0_on_sqlite.fresh_stores() for _ in range(2)]
    raw, second, other = pairs[0].raw, pairs[0].processed, pairs[1].raw
    home.config_file.write_text(f"idle_seconds = 1\n[catalogs]\nraw = {{v0 = {toml(raw.v0)}}}\n")
    uids, derived, last = in_a_session(home, "several", stores=[raw, second, other])
    with Queue(home) as queue:
        first, *more = queue.jobs()
        assert first.stores is None, "as config.toml says"
        assert [each.stores.raw for each in more if each.stores] == [raw, raw]
    for place, uid, mine in zip([Store(), other, raw], uids, derived, strict=True):
        catalogs = open_catalog(home, Stores(raw=raw, processed=place))
        (result,) = results(uid=mine, catalogs=catalogs)
        check(result, uid, catalogs)
    both = open_catalog(home, Stores(raw=raw, processed=raw))
    # The reconstruction came last, and has the scan's number.
    assert last == find_run(both.raw, -1) == derived[2]
    assert [find_run(both.raw, back, derived=False) for back in (-3, -2, -1)] == uids
    with pytest.raises(CatalogError, match="no run -4"):
        find_run(both.raw, -4, derived=False)
    scan_id = result.scan_id
    assert find_run(both.raw, scan_id, derived=False) == uids[2]
    assert find_run(both.processed, scan_id, derived=True) == derived[2]
    assert [each.uid for each in results(raw_uid="-1", catalogs=both)] == [derived[2]]


@if_every  # test_twelve_scans has scans on this store
def test_hxns_broker_on_mongodb_for_scans_and_results(home: Home, v0_on_mongo: V0OnMongo) -> None:
    stores = v0_on_mongo.fresh_stores()
    raw = toml(stores.raw.v0)
    home.config_file.write_text(
        f"idle_seconds = 1\n[catalogs]\nraw = {{v0 = {raw}}}\nprocessed = {{v0 = {raw}}}\n"
    )
    (uid,), (derived,), last = in_a_session(
        home, stores=[stores.raw, stores.processed, stores.processed]
    )
    assert last == derived
    catalogs = open_catalog(home)
    (result,) = results(raw_uid="-1", catalogs=catalogs)
    check(result, uid, catalogs)
    assert [each["uid"] for each in json.loads(run("results", "--json"))] == [derived]
    picture = home.root / "picture.png"
    run("show", derived[:8], "-o", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")


def check(result: Result, uid: str, catalogs: Catalogs) -> None:
    assert result.exit_status == "success"
    assert result.raw.start["uid"] == uid
    assert result.object.ndim == 3
    assert search(catalogs.processed, {"analysis.algorithm": "DM"}, raw_uid=uid) == [result.uid]
    assert read_table(catalogs.processed, result.uid, "iterations")["iteration"] == [1, 2, 3]


def run(*words: str) -> str:
    said = subprocess.run(
        [sys.executable, "-m", "hxn_ptycho.cli", *words],
        capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr + said.stdout
    return said.stdout
