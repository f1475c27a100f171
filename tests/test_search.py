"""Finding results by sample and date, how many, in which order, and by which index."""

from __future__ import annotations

import datetime
import itertools
import logging
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy

from hxn_ptycho import Recipe, results
from hxn_ptycho.catalog import CatalogError, Catalogs, find_run, open_catalog, run_writer
from hxn_ptycho.catalog.first_use import make
from hxn_ptycho.catalog.indices import KEYS, name, sqlite_statements
from hxn_ptycho.catalog.storage import catalog_file
from hxn_ptycho.home import Home
from hxn_ptycho.publish.documents import start_document
from hxn_ptycho.results.dates import as_seconds

NOON = datetime.datetime(2026, 11, 25, 12).timestamp()
HOUR, DAY = 3600.0, 86400.0
_scan_ids = itertools.count(1)


def store(catalogs: Catalogs, begun: float, **md: Any) -> str:
    """Store a raw run and a reconstruction of it; return the latter's uid."""
    scan_id = next(_scan_ids)
    raw = {"uid": str(uuid.uuid4()), "time": begun - 60, "scan_id": scan_id, **md}
    derived = start_document(str(uuid.uuid4()), "job", raw, Recipe(), 1, "cpu")
    for broker, start in ((catalogs.raw, raw), (catalogs.processed, {**derived, "time": begun})):
        writer = run_writer(broker, start)
        writer.begin()
        writer.end({"exit_status": "success", "reason": ""})
    return str(derived["uid"])


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Catalogs:
    return open_catalog(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def stored(catalogs: Catalogs) -> dict[str, str]:
    """Reconstructions by what is told of them; stored in another order than they were begun."""
    return {
        "noon": store(catalogs, NOON, sample={"name": "star", "thickness": 1e-6}),
        "morning": store(catalogs, NOON - 5 * HOUR, sample="star"),
        "next day": store(catalogs, NOON + DAY, sample_name="star"),
        "day before": store(catalogs, NOON - DAY, sample_name="gold", sample={"name": "leaf"}),
        "midnight": store(catalogs, NOON + 12 * HOUR, sample_name=""),
    }


def found(stored: dict[str, str], answer: list[results.Result]) -> list[str]:  # type: ignore[name-defined]
    names = {uid: key for key, uid in stored.items()}
    return [names[result.uid] for result in answer]


def test_a_sample_by_each_way_to_name_it_oldest_first(
    catalogs: Catalogs, stored: dict[str, str]
) -> None:
    star = results(sample="star", catalogs=catalogs)
    assert found(stored, star) == ["morning", "noon", "next day"]
    for either in ("gold", "leaf"):
        assert found(stored, results(sample=either, catalogs=catalogs)) == ["day before"]
    assert results(sample="sta", catalogs=catalogs) == []
    only = results(sample="star", scan_id=star[1].scan_id, catalogs=catalogs)
    assert found(stored, only) == ["noon"]


@pytest.mark.parametrize(
    ("since", "until", "names"),
    [
        ("2026-11-25", None, ["morning", "noon", "midnight", "next day"]),
        ("2026-11-25", "2026-11-25", ["morning", "noon"]),
        (datetime.date(2026, 11, 25), datetime.date(2026, 11, 25), ["morning", "noon"]),
        ("2026-11-26", "2026-11-26", ["midnight", "next day"]),
        (None, "2026-11-24", ["day before"]),
        ("2026-11-25 12:00", "2026-11-26T00:00", ["noon"]),
        (NOON, NOON + 1, ["noon"]),
        (NOON + 1, f" {NOON + DAY} ", ["midnight"]),
        (datetime.datetime.fromtimestamp(NOON), None, ["noon", "midnight", "next day"]),
        (
            datetime.datetime.fromtimestamp(NOON, datetime.timezone(datetime.timedelta(hours=9))),
            int(NOON + 13 * HOUR),
            ["noon", "midnight"],
        ),
        ("2030-01-01", None, []),
    ],
)
def test_when_it_was_begun(
    catalogs: Catalogs, stored: dict[str, str], since: Any, until: Any, names: list[str]
) -> None:
    assert found(stored, results(since=since, until=until, catalogs=catalogs)) == names


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_times_are_those_of_this_machine_unless_told(in_new_york: None) -> None:
    assert as_seconds("2026-11-25 12:00", "since") == as_seconds("2026-11-25T17:00Z", "since")
    assert as_seconds("2026-11-25T12:00+01:00", "since") == as_seconds("2026-11-25 06:00", "since")
    for day, hours in (("2026-11-25", 24), ("2026-03-08", 23), ("2026-11-01", 25)):
        length = as_seconds(day, "until", end=True) - as_seconds(day, "since")
        assert length == hours * HOUR, day


@pytest.mark.parametrize(
    "value",
    ["", "yesterday", "2026-13-01", "2026-11-25 25:00", "25.11.2026", "20261125", "2026-W48-3",
     "2026-11", float("nan"), float("inf"), True, b"2026-11-25", object(), 10**400],
)  # fmt: skip
def test_what_is_no_time_is_refused_with_what_would_be(catalogs: Catalogs, value: Any) -> None:
    with pytest.raises(ValueError, match=r"until=.* is no time: give \"2026-11-25\""):
        results(until=value, catalogs=catalogs)


def test_other_questions_without_sense(catalogs: Catalogs, stored: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="since='2026-11-26' is not before until='2026-11-25'"):
        results(since="2026-11-26", until="2026-11-25", catalogs=catalogs)
    with pytest.raises(ValueError, match="limit=-1 is no number of results"):
        results(limit=-1, catalogs=catalogs)
    with pytest.raises(CatalogError, match=r"sample_name = \{'name': 'star'\} cannot be"):
        results(sample={"name": "star"}, catalogs=catalogs)
    for odd in ("o'clock", 'say "it"', "100%?", ":colon", "[POSTCOMPILE_x]"):
        assert results(**{odd: odd}, catalogs=catalogs) == []


def test_the_newest_ones(
    catalogs: Catalogs,
    stored: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The newest are those that came last; what is returned is in the order of their begin.
    assert found(stored, results(limit=2, catalogs=catalogs)) == ["day before", "midnight"]
    assert len(results(limit=5, catalogs=catalogs)) == len(results(catalogs=catalogs)) == 5
    assert found(stored, results(sample="star", limit=2, catalogs=catalogs)) == ["noon", "next day"]
    assert not caplog.records
    monkeypatch.setattr("hxn_ptycho.results.MOST", 4)
    with caplog.at_level(logging.WARNING):
        assert len(results(limit=4, catalogs=catalogs)) == 4
        assert not caplog.records
        assert len(results(catalogs=catalogs)) == 4
    assert "more than 4 results fit, and these are the newest" in caplog.text
    assert len(results(limit=0, catalogs=catalogs)) == 5


def test_other_runs_among_them_are_no_results(home: Home) -> None:
    own = open_catalog(home)
    first, second = store(own, NOON), store(own, NOON + 1)
    writer = run_writer(own.processed, {"uid": str(uuid.uuid4()), "time": NOON + 2, "scan_id": 1})
    writer.begin()
    writer.end({"exit_status": "success", "reason": ""})
    assert [result.uid for result in results(limit=2, catalogs=own)] == [first, second]
    assert [result.uid for result in results(limit=1, catalogs=own)] == [second]
    assert [result.uid for result in results(catalogs=own)] == [first, second]


def test_pages_follow_one_another(
    catalogs: Catalogs, stored: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hxn_ptycho.catalog.tiled_store.requests._PAGE", 2)
    everything = results(limit=0, catalogs=catalogs)
    assert sorted(found(stored, everything)) == sorted(stored)
    assert len(results(limit=3, catalogs=catalogs)) == 3


# Which index. Should a new Tiled or SQLAlchemy ask otherwise, these say so.


@pytest.fixture
def statements() -> Iterator[list[tuple[str, Any]]]:
    """What any engine executes meanwhile."""
    seen: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        seen.append((statement, parameters))

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    yield seen
    sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)


QUESTIONS: list[tuple[str, str, Callable[[Catalogs, str], Any]]] = [
    ("raw", "uid", lambda c, uid: find_run(c.raw, uid[:8])),
    ("raw", "scan_id", lambda c, uid: find_run(c.raw, 2)),
    ("processed", "uid", lambda c, uid: find_run(c.processed, "abc")),
    ("processed", "raw_uid", lambda c, uid: results(raw_uid=uid, catalogs=c)),
    ("processed", "raw_scan_id", lambda c, uid: results(scan_id=3, catalogs=c)),
    ("processed", "sample_name", lambda c, uid: results(sample="star", catalogs=c)),
    ("processed", "sample", lambda c, uid: results(sample="star", catalogs=c)),
    ("processed", "sample.name", lambda c, uid: results(sample="star", catalogs=c)),
    ("processed", "time", lambda c, uid: results(since=NOON, until=NOON + 9, catalogs=c)),
    ("processed", "time", lambda c, uid: results(since="2026-11-25", catalogs=c)),
]


@pytest.mark.parametrize(("catalog", "key", "ask"), QUESTIONS)
def test_each_question_is_answered_by_its_index(
    catalogs: Catalogs,
    stored: dict[str, str],
    statements: list[tuple[str, Any]],
    catalog: str,
    key: str,
    ask: Callable[[Catalogs, str], Any],
) -> None:
    raw_uid = results(uid=stored["noon"], catalogs=catalogs)[0].raw_uid
    statements.clear()
    try:
        ask(catalogs, raw_uid)
    except CatalogError as error:
        assert "begins with 'abc'" in str(error)  # noqa: PT017, there is perhaps one by chance
    path = "".join(f'."{part}"' for part in ("start", *key.split(".")))
    asked = [one for one in statements if f"(nodes.metadata, '${path}')" in one[0]]
    assert len(asked) == 2, "how many there are, and which"
    connection = sqlite3.connect(catalog_file(catalogs.home, catalog))
    try:
        for statement, parameters in asked:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            steps = [step[-1] for step in plan]
            assert any(f"USING INDEX {name(key.split('.'))} (parent=? AND" in s for s in steps), (
                statement,
                steps,
            )
    finally:
        connection.close()


def test_a_catalog_of_an_earlier_version_gets_its_indices(home: Home) -> None:
    make(home)
    file = catalog_file(home, "raw")
    first, second, *_ = sqlite_statements()
    connection = sqlite3.connect(file)
    connection.execute(f"DROP INDEX {first}")
    connection.execute(f"DROP INDEX {second}")
    connection.execute(f"CREATE INDEX {second} ON nodes (key)")  # of that name, but another
    connection.close()
    for _ in range(2):
        make(home)
        connection = sqlite3.connect(file)
        there = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type='index'"))
        connection.close()
        assert {index: there.get(index) for index in sqlite_statements()} == sqlite_statements()
    assert len(sqlite_statements()) == len(KEYS), "no two of one name"
