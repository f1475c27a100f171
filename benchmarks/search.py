"""Finding a result among 100,000: how long each way of asking takes, embedded and on a server.

    python benchmarks/search.py [--runs 100000] [--postgresql postgresql://postgres@127.0.0.1:5432]

Fills both catalogs of a home of its own by the database's own means, as the recorder and the
publisher would in days; a few hundred runs are made both ways beforehand, and compared. Then asks,
each time for another run, and prints JSON: of every question the median and the slowest, in
seconds, requests a question, and how many results there were. With --postgresql also on a Tiled
server that it starts, on databases that it makes there and drops in the end: as Tiled makes them,
and with the indices of ``hxn-ptycho catalog-index``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import os
import random
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sql
import yaml
from databroker import Broker
from sqlalchemy.ext.asyncio import create_async_engine
from tiled.catalog import orm
from tiled.client import from_uri
from tiled.server.connection_pool import json_serializer
from tiled.structures.core import StructureFamily

from hxn_ptycho import Recipe
from hxn_ptycho.catalog import Catalogs, find_run, open_catalog, run_writer
from hxn_ptycho.catalog.first_use import make
from hxn_ptycho.catalog.hdf5 import Dataset
from hxn_ptycho.catalog.indices import postgresql_script
from hxn_ptycho.catalog.storage import NAMES, catalog_file
from hxn_ptycho.home import Home
from hxn_ptycho.publish.documents import iteration_row, iterations_descriptor, start_document
from hxn_ptycho.results import results

FIRST = 1_700_000_000.0  # when the first scan began
EVERY = 600.0  # seconds from scan to scan
SAMPLES = 1000
RECIPE = Recipe(probe_modes=3)
DAY = 86400.0
RUN_SPECS = [{"name": "BlueskyRun", "version": "3.0"}]
STREAM_SPECS = [
    {"name": "BlueskyEventStream", "version": "3.0"},
    {"name": "composite", "version": None},
]
NODES = orm.Node.__table__
Documents = list[tuple[dict[str, Any], dict[str, Any]]]
EXTERNAL = {"external": "FILESTORE:", "dtype": "array", "source": "/data/results/result.h5"}
RESULT_KEYS = {
    "data_keys": {
        "object": {**EXTERNAL, "shape": [1, 2048, 2048]},
        "probe": {**EXTERNAL, "shape": [3, 192, 192]},
    }
}
# What hangs below each run: path, metadata of a stream.
DERIVED_NODES = {
    "iterations": iterations_descriptor(3, 1),
    "iterations/internal": None,
    "result": RESULT_KEYS,
    "result/object": None,
    "result/probe": None,
}
RAW_NODES = {"primary": RESULT_KEYS, "primary/merlin1": None, "baseline": RESULT_KEYS}


def scans(count: int) -> Documents:
    """Return start and stop documents of raw runs."""
    rng = random.Random(1)
    made = []
    for number in range(count):
        uid = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        begun = FIRST + EVERY * number + 60 * rng.random()
        sample = f"sample-{rng.randrange(SAMPLES)}"
        named: list[dict[str, Any]] = [
            {"sample_name": sample},
            {"sample": sample},
            {"sample": {"name": sample, "thickness": 1e-6}},
        ]
        start = {
            "uid": uid, "time": begun, "scan_id": number + 1, "plan_name": "fly2dpd",
            "scan": {
                "type": "2D_FLY_PANDA", "shape": [100, 100], "dwell": 0.01,
                "detectors": ["merlin1", "sclr1"], "scan_input": [-1, 1, 100, -1, 1, 100, 0.01],
                "fast_axis": {"motor_name": "zpssx"}, "slow_axis": {"motor_name": "zpssy"},
            },
            "motors": ["zpssx", "zpssy"], "user": "M. Curie", "beamline_id": "HXN",
            "proposal": {"proposal_id": "312345", "title": "Stars of gold", "type": "GU"},
            "cycle": "2026-3", "data_session": "pass-312345", **named[number % 3],
        }  # fmt: skip
        stop = {
            "uid": str(uuid.UUID(int=rng.getrandbits(128), version=4)), "run_start": uid,
            "time": begun + 120, "exit_status": "success", "reason": "",
            "num_events": {"primary": 1, "baseline": 2},
        }  # fmt: skip
        made.append((start, stop))
    return made


def reconstructions(raw: Documents) -> Documents:
    """Return start and stop documents of a reconstruction of each raw run."""
    made = []
    for scan, _ in raw:
        uid = str(uuid.uuid4())
        start = start_document(uid, str(uuid.uuid4()), scan, RECIPE, 1, "cuda")
        start["time"] = scan["time"] + 200
        stop = {
            "uid": str(uuid.uuid4()), "run_start": uid, "time": start["time"] + 60,
            "num_events": {"iterations": 1}, "exit_status": "success", "reason": "",
            "result": {
                "iterations": 50, "seconds": 3.3, "seconds_total": 5.1, "error_fourier": 0.06,
                "pixel_size_m": [5e-9, 5e-9], "probe_power": [0.7, 0.2, 0.1], "device": "cuda",
                "communicator": "nccl", "ranks": 1, "frames_dropped": 0, "saturated_pixels": 0,
                "recipe": RECIPE.model_dump(mode="json"), "file": f"/data/results/{uid}.h5",
            },
        }  # fmt: skip
        made.append((start, stop))
    return made


async def fill(address: str, documents: Documents, below: dict[str, Any]) -> None:
    """Insert runs by SQL; numbers of rows run as if each run was written after the other."""
    engine = create_async_engine(address, json_serializer=json_serializer)
    step = len(below) + 1
    async with engine.begin() as connection:
        pending = iter(enumerate(documents))
        while page := list(itertools.islice(pending, 2000)):
            rows = [
                {
                    "id": 1 + step * number,
                    "parent": 0,
                    "key": start["uid"],
                    "structure_family": StructureFamily.container,
                    "metadata": {"start": start, "stop": stop},
                    "specs": RUN_SPECS,
                }
                for number, (start, stop) in page
            ]
            await connection.execute(sql.insert(NODES), rows)
        numbers = {path: number for number, path in enumerate(below, 1)}
        for path, metadata in below.items():
            over, _, key = path.rpartition("/")
            family = StructureFamily.container
            if over:
                family = StructureFamily.table if key == "internal" else StructureFamily.array
            chosen = sql.select(
                NODES.c.id + numbers[path],
                NODES.c.id + numbers.get(over, 0),
                sql.literal(key, NODES.c.key.type),
                sql.literal(family, NODES.c.structure_family.type),
                sql.literal(stream(metadata) if metadata else {}, NODES.c.metadata.type),
                sql.literal([] if over else STREAM_SPECS, NODES.c.specs.type),
            ).where(NODES.c.parent == 0)
            columns = ["id", "parent", "key", "structure_family", "metadata", "specs"]
            await connection.execute(sql.insert(NODES).from_select(columns, chosen))
        if engine.dialect.name == "postgresql":
            await connection.execute(
                sql.text("SELECT setval('nodes_id_seq', (SELECT max(id) FROM nodes))")
            )
    await engine.dispose()


def stream(descriptor: dict[str, Any]) -> dict[str, Any]:
    named = {"uid": str(uuid.uuid4()), "time": FIRST, "configuration": {}, "hints": {}}
    return {**named, **descriptor}


def check_rows(folder: Path, documents: Documents) -> int:
    """Compare rows made by `fill` with those of the publisher's own writer; return how many."""
    catalogs = open_catalog(folder / "written")
    shape = Dataset((1, 2048, 2048), "complex64")
    line = {"iteration": 1, "error_probe": [0.1] * 3, "error_object": [0.1], "seconds": 0.1}
    for start, stop in documents:
        writer = run_writer(catalogs.processed, start)
        writer.begin()
        writer.describe("iterations", iterations_descriptor(3, 1))
        writer.append("iterations", [iteration_row(line)])
        writer.describe("result", RESULT_KEYS)
        for key in ("object", "probe"):
            writer.attach("result", key, folder / "result.h5", key, found=shape)
        writer.end(stop)
    other = Home(folder / "filled")
    make(other)
    asyncio.run(fill(sqlite_address(other, "processed"), documents, DERIVED_NODES))
    written, filled = (
        asyncio.run(rows(sqlite_address(home, "processed"))) for home in (catalogs.home, other)
    )
    if written != filled:
        odd = next(pair for pair in itertools.zip_longest(written, filled) if pair[0] != pair[1])
        raise SystemExit(f"rows made by SQL are not those of the writer:\n{odd[0]}\n{odd[1]}")
    return len(filled)


async def rows(address: str) -> list[tuple[Any, ...]]:
    engine = create_async_engine(address)
    columns = (NODES.c[name] for name in ("id", "parent", "key", "structure_family", "specs"))
    async with engine.connect() as connection:
        query = sql.select(*columns, NODES.c.metadata).where(NODES.c.parent.is_not(None))
        found = (await connection.execute(query.order_by(NODES.c.id))).all()
    await engine.dispose()
    once = ("uid", "time")  # of a stream's descriptor: new each time
    return [
        (*row[:-1], {key: value for key, value in row[-1].items() if key not in once})
        for row in found
    ]


def sqlite_address(home: Home, name: str) -> str:
    return f"sqlite+aiosqlite:///{catalog_file(home, name)}"


# The questions.


def ask(
    catalogs: Catalogs, raw: Documents, derived: Documents, repeats: int
) -> dict[str, dict[str, float]]:
    """Return how long each question takes: the median and the slowest of some."""
    rng = random.Random(2)
    requests = [0]
    client = catalogs.raw.v2.context.http_client
    client.event_hooks["request"].append(lambda _: requests.__setitem__(0, requests[0] + 1))
    measured: dict[str, dict[str, float]] = {"load of the host": {"before": os.getloadavg()[0]}}

    def some(documents: Documents) -> dict[str, Any]:
        return rng.choice(documents)[0]

    def day() -> list[Any]:
        begin = some(derived)["time"]
        return results(since=begin, until=begin + DAY, catalogs=catalogs)

    def sample() -> list[Any]:
        return results(sample=f"sample-{rng.randrange(SAMPLES)}", catalogs=catalogs)

    questions: dict[str, Callable[[], Any]] = {
        "results(raw_uid=full)": lambda: results(some(raw)["uid"], catalogs=catalogs),
        "results(raw_uid=prefix)": lambda: results(some(raw)["uid"][:8], catalogs=catalogs),
        "results(scan_id=)": lambda: results(scan_id=some(raw)["scan_id"], catalogs=catalogs),
        "results(sample=)": sample,
        "results(since=, until=), a day": day,
        "results(uid=prefix)": lambda: results(uid=some(derived)["uid"][:8], catalogs=catalogs),
        "results(limit=10)": lambda: results(limit=10, catalogs=catalogs),
        "results()": lambda: results(catalogs=catalogs),
        "find_run(scan id)": lambda: find_run(catalogs.raw, some(raw)["scan_id"]),
        "find_run(-1)": lambda: find_run(catalogs.raw, -1),
        "find_run(uid)": lambda: find_run(catalogs.raw, some(raw)["uid"]),
        "find_run(prefix)": lambda: find_run(catalogs.raw, some(raw)["uid"][:8]),
    }
    for name, question in questions.items():
        question()  # the first of a kind compiles queries
        seconds, found = [], []
        requests[0] = 0
        for _ in range(repeats):
            begun = time.perf_counter()
            answer = question()
            seconds.append(time.perf_counter() - begun)
            found.append(len(answer) if isinstance(answer, list) else 1)
        if not min(found):
            raise SystemExit(f"{name} found nothing")
        measured[name] = {
            "median": round(statistics.median(seconds), 4),
            "slowest": round(max(seconds), 4),
            "requests": requests[0] / repeats,
            "found": statistics.median(found),
        }
        print(f"{name}: {measured[name]}", file=sys.stderr)
    return measured


def command(home: Home, uid: str, repeats: int) -> float:
    """Return the seconds of ``hxn-ptycho results RUN``, from the shell."""
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "hxn_ptycho.cli", "results", uid],
            env={**os.environ, "HXN_PTYCHO_HOME": str(home.root)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds.append(time.perf_counter() - begun)
    return round(statistics.median(seconds), 2)


# A server.


async def execute(address: str, statements: Iterable[str]) -> None:
    """Execute statements, each in a transaction of its own."""
    engine = create_async_engine(address, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in statements:
            await connection.execute(sql.text(statement))
    await engine.dispose()


@contextlib.contextmanager
def databases(server: str) -> Iterator[dict[str, str]]:
    """Make the databases of a Tiled server; drop them in the end."""
    base = server.rstrip("/").replace("postgresql://", "postgresql+asyncpg://", 1)
    names = {name: f"hxn_bench_{name}_{secrets.token_hex(4)}" for name in (*NAMES, "tables")}
    asyncio.run(execute(f"{base}/postgres", [f"CREATE DATABASE {n}" for n in names.values()]))
    try:
        for name in NAMES:
            tiled("catalog", "init", f"{base}/{names[name]}")
        yield {name: f"{base}/{database}" for name, database in names.items()}
    finally:
        drop = [f"DROP DATABASE {n} WITH (FORCE)" for n in names.values()]
        asyncio.run(execute(f"{base}/postgres", drop))


def tiled(*words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "tiled", *words], check=True, capture_output=True, timeout=300
    )


@contextlib.contextmanager
def serving(folder: Path, addresses: dict[str, str], home: Home) -> Iterator[Catalogs]:
    """Serve both catalogs, and open them."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    key = secrets.token_hex(16)
    trees = [
        {
            "path": f"/{name}",
            "tree": "catalog",
            "args": {
                "uri": addresses[name],
                "writable_storage": [
                    str(folder / "files"),
                    addresses["tables"].replace("+asyncpg", ""),
                ],
                "specs": [{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
                "metadata": {"name": name},
            },
        }
        for name in NAMES
    ]
    config = folder / "tiled.yml"
    (folder / "files").mkdir(exist_ok=True)
    config.write_text(
        yaml.safe_dump({"authentication": {"single_user_api_key": key}, "trees": trees})
    )
    words = ("serve", "config", str(config), "--host", "127.0.0.1", "--port", str(port))
    with (folder / "tiled.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tiled", *words], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        address = f"http://127.0.0.1:{port}/api/v1"
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/", timeout=5).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit((folder / "tiled.log").read_text()) from None
                time.sleep(0.2)
        root = from_uri(address, api_key=key)
        yield Catalogs(Broker(root["raw"]), Broker(root["processed"]), home)
    finally:
        server.terminate()
        server.wait(60)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--postgresql", metavar="URI", help="of a role that may make databases")
    parser.add_argument("--folder", type=Path, help="where the home is made; default: TMPDIR")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("hxn_ptycho.results").setLevel(logging.ERROR)  # results() has more
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    table: dict[str, Any] = {"commit": commit.stdout.strip(), "runs": options.runs}
    raw = scans(options.runs)
    derived = reconstructions(raw)
    kinds = {"raw": (raw, RAW_NODES), "processed": (derived, DERIVED_NODES)}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        table["rows compared"] = check_rows(folder, derived[:200])
        home = Home(folder / "home")
        make(home)
        begun = time.perf_counter()
        for each, (documents, below) in kinds.items():
            asyncio.run(fill(sqlite_address(home, each), documents, below))
        table["embedded: seconds to fill"] = round(time.perf_counter() - begun, 1)
        table["embedded: MB"] = sum(catalog_file(home, n).stat().st_size for n in NAMES) // 2**20
        begun = time.perf_counter()
        catalogs = open_catalog(home)
        table["embedded: seconds to open"] = round(time.perf_counter() - begun, 2)
        table["embedded"] = ask(catalogs, raw, derived, options.repeats)
        table["embedded: hxn-ptycho results UID, s"] = command(home, raw[-7][0]["uid"], 5)
        if options.postgresql:
            with databases(options.postgresql) as addresses:
                begun = time.perf_counter()
                for each, (documents, below) in kinds.items():
                    asyncio.run(fill(addresses[each], documents, below))
                    asyncio.run(execute(addresses[each], ["VACUUM ANALYZE"]))
                table["server: seconds to fill"] = round(time.perf_counter() - begun, 1)
                with serving(folder, addresses, home) as catalogs:
                    table["server, as Tiled makes it"] = ask(catalogs, raw, derived, 5)
                    statements = postgresql_script().replace("\n", " ").split(";")[:-1]
                    begun = time.perf_counter()
                    for each in NAMES:
                        asyncio.run(execute(addresses[each], statements))
                    table["server: seconds for indices"] = round(time.perf_counter() - begun, 1)
                    table["server, with indices"] = ask(catalogs, raw, derived, options.repeats)
    print(json.dumps(table, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
