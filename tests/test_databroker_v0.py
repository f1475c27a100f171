"""HXN's own kind of broker the whole way, from `RE.subscribe` to the results; on both databases."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hxn_ptycho.catalog import Catalogs, find_run, open_catalog, read_table, search
from hxn_ptycho.home import Home, Store, Stores
from hxn_ptycho.queue import Queue
from hxn_ptycho.results import Result, results

from .stores.places import PLACES

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=["v0-sqlite", "v0-mongo"])
def stores(request: pytest.FixtureRequest) -> Iterator[list[Store]]:
    """Four databases of a kind."""
    place = PLACES[request.param](request)
    pairs = [place.fresh_stores() for _ in range(2)]
    return iter([pair for two in pairs for pair in (two.raw, two.processed)])


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


def test_hxns_broker_from_the_scan_to_the_results(home: Home, stores: Iterator[Store]) -> None:
    raw, second, other, _ = stores
    home.config_file.write_text(f"idle_seconds = 1\n[catalogs]\nraw = {{v0 = {toml(raw.v0)}}}\n")
    assert home.config().catalogs.raw == raw
    said = subprocess.run(
        [
            sys.executable, str(ROOT / "tests" / "v0_session.py"),
            *(json.dumps(store.v0) for store in (raw, second, other)), str(home.data / "session"),
        ],
        capture_output=True, text=True, timeout=280,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    uid, *jobs, last = re.findall("^told (.*)", said.stdout, re.MULTILINE)
    states, derived = zip(*(job.split() for job in jobs), strict=True)
    assert states == ("done", "done", "done"), said.stdout
    with Queue(home) as queue:
        first, *more = queue.jobs()
        assert first.stores is None, "as config.toml says"
        assert [each.stores.raw for each in more if each.stores] == [raw, raw]

    # Into the home's own catalog, the same broker, another one.
    places = [Store(), raw, other]
    for place, mine in zip(places, derived, strict=True):
        catalogs = open_catalog(home, Stores(raw=raw, processed=place))
        (result,) = results(uid=mine, catalogs=catalogs)
        check(result, uid, catalogs)
    both = open_catalog(home, Stores(raw=raw, processed=raw))
    # The reconstruction came last, and has the scan's number.
    assert last == derived[1]
    assert find_run(both.raw, -1) == derived[1]
    assert find_run(both.raw, -1, derived=False) == uid
    scan_id = results(uid=derived[1], catalogs=both)[0].scan_id
    assert find_run(both.raw, scan_id, derived=False) == uid
    assert find_run(both.processed, scan_id, derived=True) == derived[1]
    assert [result.uid for result in results(raw_uid="-1", catalogs=both)] == [derived[1]]

    listed = run("results", "--json")
    assert [each["uid"] for each in json.loads(listed)] == [derived[0]]
    picture = home.root / "picture.png"
    run("show", derived[0][:8], "-o", str(picture))
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
