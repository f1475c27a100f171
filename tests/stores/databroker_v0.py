"""Brokers of databroker.v0 for tests: on SQLite, and on a MongoDB server of their own.

Debian 12 and the Python index have no MongoDB. `nx-27017` is a server that speaks its protocol and
keeps documents in SQLite: a process of its own, reached by pymongo, which can be ended and started
again. It does not hold NaN. Its pymongo is newer than databroker's: install it into a virtual
environment of its own, and let the program be on PATH.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from databroker.v1 import _mongo_clients
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from hxn_ptycho.home import Store, Stores

from ..waiting import until

PROGRAM = "nx-27017"


def sqlite_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a broker in a folder."""
    return {
        "metadatastore": {
            "module": "databroker.headersource.sqlite",
            "class": "MDS",
            "config": {"directory": str(folder), "timezone": "US/Eastern"},
        },
        "assets": {
            "module": "databroker.assets.sqlite",
            "class": "Registry",
            "config": {"dbpath": str(folder / "assets.sqlite")},
        },
    }


def why_no_mongo() -> str:
    """Return why no MongoDB server can be started; nothing if it can."""
    if shutil.which(PROGRAM):
        return ""
    return f"no {PROGRAM} on PATH: pip install it, into a virtual environment of its own"


class MongoServer:
    """A server; `start` again after `stop` has the same documents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self.folder / "output", "ab") as output:
            self._process = subprocess.Popen(
                [
                    PROGRAM, "--host", "127.0.0.1", "--port", str(self.port),
                    "--data-dir", str(self.folder / "data"),
                    "--log-file", str(self.folder / "log"), "--pid-file", str(self.folder / "pid"),
                ],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        until(self._answers, "the MongoDB server")

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def config(self, name: str = "hxn", seconds: float = 20) -> dict[str, Any]:
        """Return the configuration of a broker whose two databases have this name, made if new."""
        uri = f"mongodb://127.0.0.1:{self.port}/?serverSelectionTimeoutMS={seconds * 1000:.0f}"
        with MongoClient(uri) as client:
            sentinel = client[f"{name}-assets"]["sentinel"]
            if not sentinel.count_documents({}):
                for collection in ("resource", "datum"):
                    sentinel.insert_one({"collection": collection, "version": 1})
                # As suitcase.mongo_normalized makes them for a beamline.
                client[name]["run_start"].create_index("uid", unique=True)
                client[name]["event_descriptor"].create_index("uid", unique=True)
                client[name]["event"].create_index([("descriptor", -1), ("time", 1)])
                client[f"{name}-assets"]["resource"].create_index("uid", unique=True)
                client[f"{name}-assets"]["datum"].create_index("datum_id", unique=True)
                client[f"{name}-assets"]["datum"].create_index("resource")
        where = {"uri": uri, "timezone": "US/Eastern"}
        return {
            "metadatastore": {
                "module": "databroker.headersource.mongo",
                "class": "MDS",
                "config": {**where, "database": name},
            },
            "assets": {
                "module": "databroker.assets.mongo",
                "class": "Registry",
                "config": {**where, "database": f"{name}-assets"},
            },
        }

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "output").read_text()
            return False


class V0OnSQLite:
    """Brokers in folders of a file system that can go away."""

    can_go_away = True

    def __init__(self, folder: Path) -> None:
        self._mounted, self._away = folder / "mounted", folder / "away"
        self._mounted.mkdir(parents=True)
        self._names = itertools.count()

    def fresh_stores(self) -> Stores:
        """Return two empty catalogs."""
        raw, processed = (self._mounted / f"{next(self._names)}" for _ in range(2))
        return Stores(
            raw=Store(v0=sqlite_config(raw)), processed=Store(v0=sqlite_config(processed))
        )

    def stop(self) -> None:
        """Have the folder go away."""
        self._mounted.rename(self._away)

    def start(self) -> None:
        """Have it come back."""
        self._away.rename(self._mounted)


class V0OnMongo(MongoServer):
    """Brokers on a MongoDB server."""

    can_go_away = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._names = itertools.count()

    def fresh_stores(self) -> Stores:
        """Return two empty catalogs."""
        raw, processed = (f"hxn-{next(self._names)}" for _ in range(2))
        # So soon it must answer: the tests wait for it not to.
        return Stores(
            raw=Store(v0=self.config(raw, 0.7)), processed=Store(v0=self.config(processed, 0.7))
        )

    def start(self) -> None:
        """Start it, and wait until the connections of this process have seen it."""
        super().start()
        for client in _mongo_clients.values():
            until(lambda client=client: _answers_to(client), "the MongoDB server")  # type: ignore[misc]


def _answers_to(client: Any) -> bool:
    try:
        return bool(client.admin.command("ping")["ok"])
    except PyMongoError:
        return False
