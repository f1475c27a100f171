"""Brokers of databroker.v0 beyond the contract: what plain databroker wrote, and reads of ours."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import event_model
import h5py
import numpy as np
import pymongo.errors
import pytest
import yaml
from databroker.v0 import Broker

from hxn_ptycho.catalog import (
    CatalogAway,
    CatalogError,
    asset_registry,
    describe,
    descriptors,
    find_run,
    insert,
    open_catalog,
    read,
    read_table,
    resolve,
    search,
    start_document,
    stop_document,
)
from hxn_ptycho.catalog.backend import backend_of
from hxn_ptycho.catalog.v0_store import open_v0
from hxn_ptycho.home import Home, Store, Stores
from hxn_ptycho.queue import QueuedJob
from hxn_ptycho.recipe import Recipe

from ..hxn_documents import FORMS, FakeScan, make_scan, make_step_scan
from ..stores.databroker_v0 import sqlite_config
from ..stores.places import PLACES
from .frames import frames_in

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("v0")


@pytest.fixture(scope="module")
def db(folder: Path) -> Any:
    """A broker on SQLite."""
    return open_v0(Store(v0=sqlite_config(folder / "db")))


def as_plain_databroker(broker: Any, scan: FakeScan) -> None:
    """Store a scan by ``RE.subscribe(db.insert)``, pages unpacked."""
    for name, document in scan.documents:
        if name == "event_page":
            events = list(event_model.unpack_event_page(document))  # type: ignore[arg-type]
            broker.insert("bulk_events", {document["descriptor"]: events})
        elif name == "datum_page":
            for datum in event_model.unpack_datum_page(document):  # type: ignore[arg-type]
                broker.insert("datum", dict(datum))
        elif name == "bulk_datum":
            broker.reg.bulk_insert_datum(
                document["resource"], document["datum_ids"], document["datum_kwarg_list"]
            )
        else:
            broker.insert(name, document)
    scan.register(broker.reg)


@pytest.mark.parametrize("kind", ["v0-sqlite", "v0-mongo"])
def test_what_plain_databroker_stored(
    request: pytest.FixtureRequest, folder: Path, scan_ids: Iterator[int], kind: str
) -> None:
    config = PLACES[kind](request).fresh_stores().raw.v0
    plain, reader = Broker.from_config(config), open_v0(Store(v0=config))
    for form, make in FORMS.items():
        if form.startswith("stream"):
            continue  # such brokers refuse it
        number = next(scan_ids)
        scan = make(folder / kind / str(number), number)
        as_plain_databroker(plain, scan)
        assert find_run(reader, number) == scan.uid
        np.testing.assert_array_equal(frames_in(resolve(reader, scan.uid, "merlin1")), scan.frames)
        for key, values in scan.encoders.items():
            np.testing.assert_array_equal(read(reader, scan.uid, key), values)
        names = [descriptor["name"] for descriptor in descriptors(reader, scan.uid)]
        assert sorted(set(names)) == ["baseline", "primary"]
    assert len(backend_of(reader)) == sum(not form.startswith("stream") for form in FORMS)


@pytest.mark.parametrize("form", ["panda", "step", "zebra", "stream", "stream, step", "fly2d"])
def test_plain_databroker_reads_what_was_stored_here(
    db: Any, folder: Path, scan_ids: Iterator[int], form: str
) -> None:
    number = next(scan_ids)
    scan = FORMS[form](folder / str(number), number)
    registry = asset_registry(folder / "home")
    scan.register(registry)
    insert(db, scan.documents, registry)
    header = db[scan.uid]
    frames = [np.asarray(values) for values in header.data("merlin1")]
    whole = np.concatenate([each.reshape(-1, *each.shape[-2:]) for each in frames])
    np.testing.assert_array_equal(whole, scan.frames)
    named = [name for name, _ in header.documents(fill=True)]
    assert named[0] == "start"
    assert named[-1] == "stop"


def test_runs_of_a_second_database(folder: Path, scan_ids: Iterator[int]) -> None:
    """A broker of a user's own finds them by its own ``[]``."""
    ours, theirs = (open_v0(Store(v0=sqlite_config(folder / name))) for name in ("own", "old"))

    class CompositeBroker(Broker):
        def __getitem__(self, key: Any) -> Any:
            try:
                return super().__getitem__(key)
            except (KeyError, IndexError):
                return theirs[key]

        def __call__(self, *args: Any, **query: Any) -> Any:
            return [*super().__call__(*args, **query), *theirs(*args, **query)]

    db = CompositeBroker(ours.mds, ours.reg)
    new, old = (make_scan(folder / "two", next(scan_ids)) for _ in range(2))
    insert(db, new.documents)
    as_plain_databroker(theirs, old)
    assert find_run(db, old.scan_id) == find_run(db, old.uid[:12]) == old.uid
    np.testing.assert_array_equal(frames_in(resolve(db, old.uid, "merlin1")), old.frames)
    np.testing.assert_array_equal(frames_in(resolve(db, new.uid, "merlin1")), new.frames)
    assert search(db) == [new.uid, old.uid]
    assert describe(db).v0["metadatastore"]["class"] == "MDS"  # type: ignore[index]


def test_values_that_sqlite_has_no_columns_for(
    db: Any, folder: Path, scan_ids: Iterator[int]
) -> None:
    scan = make_scan(folder / "values", next(scan_ids))
    more = {
        "roi-size": ({"dtype": "array", "shape": [3], "source": "PV"}, np.array([1, 2, 3])),
        "is dark": ({"dtype": "boolean", "shape": [], "source": "PV"}, np.bool_(True)),
    }
    for name, document in scan.documents:
        if name == "descriptor" and document["name"] == "baseline":
            document["data_keys"].update({key: data_key for key, (data_key, _) in more.items()})
        if name == "event" and "dcm_th" in document["data"]:
            document["data"].update({key: value for key, (_, value) in more.items()})
            document["timestamps"].update(dict.fromkeys(more, document["time"]))
    insert(db, scan.documents)
    assert read(db, scan.uid, "roi-size", "baseline").tolist() == [[1, 2, 3]]
    assert read_table(db, scan.uid, "baseline")["is dark"] == [True]
    (event,) = db[scan.uid].events("baseline")
    assert event["data"]["roi-size"].tolist() == [1, 2, 3]


class Doubling:
    """A handler of a beamline's own."""

    def __init__(self, path: str, **kwargs: Any) -> None:
        self.path = path

    def __call__(self, frame: int) -> np.ndarray:
        with h5py.File(self.path) as file:
            return 2 * file["values"][frame]


def test_data_of_a_spec_that_only_a_handler_knows(
    db: Any, folder: Path, scan_ids: Iterator[int]
) -> None:
    scan = make_step_scan(folder / "unknown", next(scan_ids))
    count = len(scan.frames)
    path = folder / "odd.h5"
    with h5py.File(path, "w") as file:
        file["values"] = np.arange(count * 4).reshape(count, 2, 2)
    for name, document in scan.documents:
        if name == "resource":
            document.update(spec="ODD", root="/", resource_path=str(path), resource_kwargs={})
        if name == "datum":
            frame = document["datum_kwargs"]["point_number"]
            document["datum_kwargs"] = {"frame": frame}
    as_plain_databroker(db, scan)
    with pytest.raises(CatalogError, match="which no handler reads: install"):
        read(db, scan.uid, "merlin1")
    with pytest.raises(CatalogError, match="cannot be read by reference"):
        resolve(db, scan.uid, "merlin1")
    db.reg.register_handler("ODD", Doubling)
    expected = 2 * np.arange(count * 4).reshape(count, 2, 2)
    np.testing.assert_array_equal(read(db, scan.uid, "merlin1"), expected)
    found = describe(db).v0
    assert isinstance(found, dict)
    assert found["handlers"] == {"ODD": {"module": __name__, "class": "Doubling"}}
    another = open_v0(Store(v0=found))
    np.testing.assert_array_equal(read(another, scan.uid, "merlin1"), expected)
    db.reg.deregister_handler("ODD")


def test_datums_that_never_came_are_told(db: Any, folder: Path, scan_ids: Iterator[int]) -> None:
    scan = make_step_scan(folder / "lost", next(scan_ids))
    for name, document in scan.documents:
        if name not in ("resource", "datum"):
            db.insert(name, document)
    assert read_table(db, scan.uid, "primary")["seq_num"] == [*range(1, len(scan.frames) + 1)]
    stop = stop_document(db, scan.uid)
    assert stop is not None
    assert "refer to Datum documents that never came" in stop["storage_notes"][0]
    with pytest.raises(CatalogError, match="registry does not have"):
        read(db, scan.uid, "merlin1")


# Stores runs by plain ``db.insert`` of a broker that was given to us once, and by `insert`.
PLAIN = """
import json, sys
from pathlib import Path
from hxn_ptycho.catalog import insert
from hxn_ptycho.catalog.v0_store import open_v0
from hxn_ptycho.home import Store
from tests.hxn_documents import make_scan
db = open_v0(Store(v0=json.loads(sys.argv[1])))
print("ready", flush=True)
for number in map(int, sys.argv[3:]):
    insert(db, make_scan(Path(sys.argv[2]), number).documents)
"""


def test_plain_inserts_and_another_process_lose_nothing(
    folder: Path, scan_ids: Iterator[int]
) -> None:
    """A RunEngine's ``db.insert`` goes on while a worker writes into the same SQLite broker."""
    config = sqlite_config(folder / "shared")
    db = Broker.from_config(config)
    backend_of(db)  # as AutoReconstruct(db) does
    numbers = [next(scan_ids) for _ in range(24)]
    command = [sys.executable, "-W", "ignore", "-c", PLAIN, json.dumps(config), str(folder / "w")]
    with subprocess.Popen(
        [*command, *map(str, numbers[:12])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as another:  # fmt: skip
        assert another.stdout is not None
        assert another.stdout.readline() == "ready\n"
        for number in numbers[12:]:
            as_plain_databroker(db, make_scan(folder / "here", number))
        _, errors = another.communicate(timeout=200)
    assert another.returncode == 0, errors
    reader = Broker.from_config(config)  # databroker alone
    found = {header.start["scan_id"]: header for header in reader(since=0)}
    assert sorted(found) == sorted(numbers)
    assert all(header.stop["exit_status"] == "success" for header in found.values())
    assert {len(header.descriptors) for header in found.values()} == {2}


def test_a_run_is_kept_in_memory_once_it_has_ended(
    db: Any, folder: Path, scan_ids: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = make_scan(folder / "kept", next(scan_ids))
    insert(db, scan.documents)
    assert resolve(db, scan.uid, "merlin1").shape == scan.frames.shape
    asked: list[Any] = []
    monkeypatch.setattr(db.mds, "get_events_generator", lambda *args: asked.append(args) or ())
    assert resolve(db, scan.uid, "merlin1").shape == scan.frames.shape
    assert asked == []


def test_two_threads_find_the_same(db: Any, folder: Path, scan_ids: Iterator[int]) -> None:
    scan = make_scan(folder / "threads", next(scan_ids))
    insert(db, scan.documents)
    shapes: list[tuple[int, ...]] = []
    threads = [
        threading.Thread(target=lambda: shapes.append(resolve(db, scan.uid, "merlin1").shape))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shapes == [scan.frames.shape] * 4


# How others open it.
def configure(home: Home, name: str, config: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = home.root / "databroker" / f"{name}.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setattr("databroker.utils.CONFIG_SEARCH_PATH", [str(path.parent)])
    return path


def test_by_the_name_of_databrokers_configuration(
    home: Home, scan_ids: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, "hxn", sqlite_config(home.root / "db"), monkeypatch)
    home.config_file.write_text('[catalogs]\nraw = {v0 = "hxn"}\nprocessed = {v0 = "hxn"}\n')
    catalogs = open_catalog(home)
    scan = make_scan(home.data, next(scan_ids))
    insert(catalogs.raw, scan.documents)
    assert Broker.named("hxn")[scan.scan_id].start["uid"] == scan.uid
    assert describe(catalogs.raw).v0 == sqlite_config(home.root / "db")
    assert describe(catalogs.raw, home.config().catalogs.raw) == Store(v0="hxn"), "as it says"
    assert backend_of(catalogs.raw).name == "hxn"


@pytest.mark.parametrize(
    ("v0", "message"),
    [
        ("nothing", r"no configuration 'nothing' \(it has: .*wrong"),
        ("temp", "new, empty catalog in each process"),
        ("wrong", "none of databroker.v0's"),
        (
            {
                **sqlite_config(Path("x")),
                "assets": {"module": "no.such", "class": "A", "config": {}},
            },
            "No module named 'no'",
        ),
    ],
)
def test_what_cannot_be_opened(
    home: Home, monkeypatch: pytest.MonkeyPatch, v0: Any, message: str
) -> None:
    monkeypatch.chdir(home.root)
    configure(home, "wrong", {"sources": {}}, monkeypatch)
    with pytest.raises(CatalogError, match=message):
        open_v0(Store(v0=v0))


def test_a_password_is_in_no_message_and_in_no_job(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "mongodb://operator:s3cret@127.0.0.1:9/?serverSelectionTimeoutMS=50"
    where = {"uri": uri, "timezone": "US/Eastern"}
    config = {
        "metadatastore": {
            "module": "databroker.headersource.mongo",
            "class": "MDS",
            "config": {**where, "database": "hxn"},
        },
        "assets": {
            "module": "databroker.assets.mongo",
            "class": "Registry",
            "config": {**where, "database": "assets"},
        },
    }
    with pytest.raises(CatalogAway) as away:
        open_v0(Store(v0=config))
    db = Broker.from_config(config, name=None)
    with pytest.raises(CatalogError, match="opened with a password") as refused:
        describe(db)
    for error in (away, refused):
        assert "s3cret" not in str(error.value)
    assert "s3cret" not in backend_of(db).name
    configure(home, "secret", config, monkeypatch)
    assert describe(Broker.named("secret")) == Store(v0="secret")
    assert describe(db, Store(v0="secret")) == Store(v0="secret")
    assert describe(db, Store(v0=config)) == Store(v0=config), "config.toml has it already"


def test_a_broker_in_memory_is_refused() -> None:
    mongomock = pytest.importorskip("mongomock")
    from databroker.assets.mongo import Registry
    from databroker.headersource.mongo import MDS

    where = {"host": "memory", "database": "hxn", "timezone": "US/Eastern"}
    mds, registry = MDS(where), Registry(where)
    mds._MDSRO__db = registry._RegistryRO__db = mongomock.MongoClient()["hxn"]
    with pytest.raises(CatalogError, match="memory of this process"):
        describe(Broker(mds, registry))


# A user of plain databroker, in whose Python hxn_ptycho is installed.
USER = """
import json, sys
from databroker.mongo_normalized import discover_handlers
from databroker.v0 import Broker
config, scan, result = json.loads(sys.argv[1]), *sys.argv[2:]
db = Broker.from_config(config)
for spec, handler in discover_handlers().items():
    db.reg.register_handler(spec, handler, overwrite=True)
(frames,) = db[scan].data("merlin1")
(encoder,) = db[scan].data("inenc2_val")
(object_,) = db[result].data("object", stream_name="result")
print(frames.shape, int(frames.sum()), float(encoder.sum()), object_.shape, complex(object_.sum()))
assert "hxn_ptycho.catalog" not in sys.modules
"""


def test_a_user_of_plain_databroker_reads_frames_encoders_and_object(
    db: Any, folder: Path, scan_ids: Iterator[int]
) -> None:
    scan = make_scan(folder / "user", next(scan_ids))
    insert(db, scan.documents)
    picture = np.full((1, 3, 4), 0.5 + 0.25j, "complex64")
    path = folder / "result.h5"
    with h5py.File(path, "w") as file:
        file["object"] = picture
    run = backend_of(db).run_writer({"uid": "derived", "time": 1.0, "scan_id": 0})
    run.begin()
    external = {"external": "FILESTORE:", "dtype": "array", "source": "", "shape": [1, 3, 4]}
    run.describe("result", {"data_keys": {"object": external}})
    run.attach("result", "object", path, "object")
    run.end({"exit_status": "success", "reason": ""})

    installed = folder / "installed"
    installed.mkdir()
    if not importlib.metadata.entry_points(group="databroker.handlers", name="HXN_PTYCHO_HDF5"):
        # This is a bare tree, or was installed before: the entry points as installing writes them.
        made = subprocess.run(
            [
                sys.executable, "-c", "import setuptools; setuptools.setup()",
                "-q", "egg_info", "--egg-base", str(installed),
            ],
            cwd=ROOT, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
    config = json.dumps(describe(db).v0)
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", USER, config, scan.uid, "derived"],
        capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{installed}"},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    encoder = scan.encoders["inenc2_val"]
    assert said.stdout.strip() == (
        f"{scan.frames.shape} {int(scan.frames.sum())} {float(encoder.sum())} "
        f"{picture.shape} {complex(picture.sum())}"
    )
    assert start_document(db, "derived")["scan_id"] == 0


def test_a_password_that_config_toml_has_is_not_shown_with_a_job() -> None:
    where = {"mongo_user": "operator", "mongo_pwd": "s3cret", "host": "db", "database": "hxn"}
    uri = {"uri": "mongodb://operator:s3cret@db/", "database": "hxn"}
    raw = Store(v0={"metadatastore": {"config": where}, "assets": {"config": uri}})
    job = QueuedJob(
        job_uid="j", derived_uid="d", raw_uid="r", scan_id=1, recipe=Recipe(),
        stores=Stores(raw=raw), refusal="", state="queued", reason="", result_file="", attempts=0,
        submitted=0.0, started=None, finished=None,
    )  # fmt: skip
    shown = json.dumps(job.to_dict())
    assert "s3cret" not in shown
    assert "mongodb://...@db/" in shown


def test_what_was_done_although_its_answer_was_lost_is_there_once(
    db: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "answers.h5"
    with h5py.File(path, "w") as file:
        file["object"] = np.ones((1, 2, 3))
    insert_for_real = db.insert
    lose = True

    def insert_and_lose_the_answer(name: str, document: Any) -> None:
        insert_for_real(name, document)
        if lose:
            raise pymongo.errors.AutoReconnect("connection closed")

    monkeypatch.setattr(db, "insert", insert_and_lose_the_answer)
    number = {"dtype": "integer", "shape": [], "source": "solver"}
    external = {"external": "FILESTORE:", "dtype": "array", "source": "", "shape": [1, 2, 3]}
    run = backend_of(db).run_writer({"uid": "lost-answers", "time": 1.0, "scan_id": 0})
    rows = [{"time": float(n), "data": {"iteration": n}} for n in (1, 2, 3)]
    run.attach("result", "object", path, "object")
    for step in (
        run.begin,
        lambda: run.describe("iterations", {"data_keys": {"iteration": number}}),
        lambda: run.append("iterations", rows[:2]),
        lambda: run.append("iterations", rows[2:]),
        lambda: run.describe("result", {"data_keys": {"object": external}}),
        lambda: run.end({"exit_status": "success", "reason": ""}),
    ):
        lose = True
        with pytest.raises(CatalogAway, match="connection closed"):
            step()
        lose = False
        step()
    assert read_table(db, "lost-answers", "iterations")["iteration"] == [1, 2, 3]
    assert [each["name"] for each in descriptors(db, "lost-answers")] == ["iterations", "result"]
    assert len(list(db["lost-answers"].events("result"))) == 1
    assert len(db["lost-answers"].descriptors) == 2
    stop = stop_document(db, "lost-answers")
    assert stop is not None
    assert stop["num_events"] == {"iterations": 3, "result": 1}
    assert frames_in(resolve(db, "lost-answers", "object", "result")).shape == (1, 2, 3)
