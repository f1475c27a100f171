"""The indices that a Tiled server's PostgreSQL is given, by Tiled's own queries."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy

from hxn_ptycho.catalog import find_run, search_metadata
from hxn_ptycho.catalog.indices import postgresql_script

from ..stores.postgresql import PostgreSQL, running_postgresql, why_no_postgresql

RUNS = 2000
# Enough in each that reading all of them is not the cheapest way to find one.
FILL = f"""
INSERT INTO nodes (parent, key, structure_family, metadata, specs)
SELECT 0, md5(i::text), 'container',
    jsonb_build_object('start', jsonb_build_object('uid', md5(i::text), 'time', 1e9 + i,
        'scan_id', i, 'analysis_stage', 'reconstruction', 'note', repeat(md5(i::text), 30))),
    '[{{"name": "BlueskyRun", "version": "3.0"}}]'
FROM generate_series(1, {RUNS}) AS i
"""


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    if reason := why_no_postgresql():
        pytest.skip(reason)
    with running_postgresql() as server:
        yield server


@pytest.fixture(scope="module")
def runs(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A catalog on PostgreSQL, served in this process, with many runs."""
    from databroker import Broker
    from tiled.client import from_context
    from tiled.client.context import Context
    from tiled.server.app import build_app_from_config

    postgresql.create("found", "tables")
    tree = {
        "path": "/",
        "tree": "catalog",
        "args": {
            "uri": postgresql.uri("found"),
            "writable_storage": [
                str(tmp_path_factory.mktemp("files")),
                postgresql.uri("tables"),
            ],
            "init_if_not_exists": True,
            "specs": [{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
        },
    }
    config = {"authentication": {"allow_anonymous_access": True}, "trees": [tree]}
    root = from_context(Context.from_app(build_app_from_config(config)))
    postgresql.ask("found", FILL)
    postgresql.ask("found", "ANALYZE nodes")
    return Broker(root)


def psql(postgresql: PostgreSQL, script: str) -> None:
    """Hand a script to psql as its user does."""
    program = postgresql.binaries / "psql"
    words = [program, "-v", "ON_ERROR_STOP=1", postgresql.uri("found")]
    subprocess.run(words, input=script, text=True, check=True, capture_output=True)


@pytest.fixture
def plans() -> Iterator[list[str]]:
    """How PostgreSQL goes about each query of runs meanwhile."""
    seen: list[str] = []

    def note(connection: Any, _: Any, statement: str, parameters: Any, *__: Any) -> None:
        if "nodes.metadata" in statement and not statement.startswith("EXPLAIN"):
            steps = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
            seen.append("\n".join(step for (step,) in steps))

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    yield seen
    sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)


STAGE = {"analysis_stage": "reconstruction"}
EQUAL: list[Callable[[Any], Any]] = [
    lambda runs: find_run(runs, 7),
    lambda runs: search_metadata(runs, STAGE | {"scan_id": 7}),
    lambda runs: search_metadata(runs, STAGE | {"scan_id": 7}, limit=1),
]
RANGES: dict[str, Callable[[Any], Any]] = {
    "time": lambda runs: search_metadata(runs, STAGE, 1e9 + 10, 1e9 + 20),
    "uid": lambda runs: find_run(runs, "c4ca4238a0b9"),  # of 1
}


@pytest.mark.parametrize("ask", EQUAL)
def test_what_is_equal_tileds_own_index_finds(runs: Any, plans: list[str], ask: Any) -> None:
    assert ask(runs)
    assert len(plans) >= 2
    assert all("ix_nodes_metadata" in plan for plan in plans), plans


def test_what_is_between_those_of_the_script_find(
    runs: Any, plans: list[str], postgresql: PostgreSQL
) -> None:
    for made in (False, True, True):  # a second time is none too many
        if made:
            psql(postgresql, postgresql_script())
        for key, ask in RANGES.items():
            plans.clear()
            assert ask(runs)
            assert len(plans) == 2, "how many there are, and which"
            assert all((f"hxn_ptycho_start__{key}" in plan) is made for plan in plans), plans
    psql(postgresql, postgresql_script(remove=True))
    there = postgresql.ask("found", "SELECT indexname FROM pg_indexes WHERE tablename = 'nodes'")
    assert "ix_nodes_metadata" in there
    assert "hxn_ptycho" not in there


def test_a_range_of_dates_and_uids_is_that_range(runs: Any) -> None:
    found = search_metadata(runs, STAGE, 1e9 + 10, 1e9 + 13)
    assert [metadata["start"]["scan_id"] for _, metadata in found] == [10, 11, 12]
    assert len(search_metadata(runs, {})) == RUNS
    newest = search_metadata(runs, STAGE, limit=301)
    assert [metadata["start"]["scan_id"] for _, metadata in newest] == list(
        range(RUNS - 300, RUNS + 1)
    )
