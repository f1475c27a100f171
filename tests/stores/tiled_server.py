"""A Tiled server as a facility runs one: `tiled serve config`, PostgreSQL, users with API keys."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from hxn_ptycho.home import Store, Stores

from ..waiting import until
from .postgresql import PostgreSQL
from .processes import end, free_port

#: Who may log in. Files that others wrote are registered by administrators' keys only.
USER, PASSWORD = "hxn-beamline", "not-a-secret-in-a-test"
WRITING = (
    *("read:metadata", "read:data", "create:node", "write:metadata", "write:data"),
    *("delete:node", "delete:revision", "register"),
)
TREES = ("raw", "processed")
CATALOG = {"name": "CatalogOfBlueskyRuns", "version": "3.0"}


class TiledServer:
    """A Tiled server with trees ``raw`` and ``processed``, catalogs of Bluesky runs both.

    Parameters
    ----------
    folder : Path
        Where it keeps its configuration, files and log.
    postgresql : PostgreSQL
        Where it keeps all else.
    readable : sequence of Path
        Folders whose files it may read.
    """

    can_go_away = True

    def __init__(self, folder: Path, postgresql: PostgreSQL, readable: Sequence[Path]) -> None:
        self.folder = folder
        self.postgresql = postgresql
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.key_file = folder / "api-key"
        self.key = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)
        self._readable = readable

    def make(self) -> None:
        """Make its databases and its configuration."""
        postgresql, folder = self.postgresql, self.folder
        databases = ("people", *(f"{tree}_{kind}" for tree in TREES for kind in ("runs", "tables")))
        postgresql.create(*databases)
        trees = [
            {
                "path": f"/{name}",
                "tree": "catalog",
                "args": {
                    "uri": postgresql.uri(f"{name}_runs"),
                    "writable_storage": [
                        str(folder / name),
                        postgresql.uri(f"{name}_tables"),
                    ],
                    "readable_storage": [str(path) for path in self._readable],
                    "init_if_not_exists": True,
                    "specs": [CATALOG],
                    "metadata": {"name": name},
                },
            }
            for name in TREES
        ]
        config = {
            "authentication": {
                "providers": [
                    {
                        "provider": "facility",
                        "authenticator": "tiled.authenticators:DictionaryAuthenticator",
                        "args": {"users_to_passwords": {USER: PASSWORD}},
                    }
                ],
                "tiled_admins": [{"provider": "facility", "id": USER}],
                "secret_keys": [secrets.token_hex(32)],
                "allow_anonymous_access": False,
            },
            "database": {"uri": postgresql.uri("people"), "init_if_not_exists": True},
            "trees": trees,
            "media_types": {
                "BlueskyRun": {
                    "application/json-seq": "bluesky_tiled_plugins.exporters:json_seq_exporter"
                }
            },
        }
        (folder / "config.yml").write_text(yaml.safe_dump(config))

    def start(self) -> None:
        """Start it, at its port, and wait until it answers."""
        own = {key: value for key, value in os.environ.items() if not key.startswith("TILED_")}
        command = [sys.executable, "-m", "tiled", "serve", "config", "config.yml"]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=own,
                start_new_session=True,
            )
        until(self._answers, f"Tiled to answer (see {self.folder / 'log'})", seconds=240)
        if not self.key:
            self.key = self.make_key(*WRITING)
            self.key_file.touch(mode=0o600)
            self.key_file.write_text(f"{self.key}\n")

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it, by default as a power cut does."""
        if self._process is not None:
            end(self._process, how)
            self._process = None

    def make_key(self, *scopes: str) -> str:
        """Return a new API key of the user, for `scopes` only, if any are given."""
        asked: dict[str, Any] = {"scopes": list(scopes) or None, "expires_in": None}
        reply = httpx.post(
            f"{self.address}/api/v1/auth/apikey", json=asked, headers=self._log_in(), timeout=60
        )
        reply.raise_for_status()
        return str(reply.json()["secret"])

    def uri(self, path: str) -> str:
        """Return the address of a node, as in config.toml."""
        return f"{self.address}/api/v1/metadata/{path}"

    def stores(self) -> Stores:
        """Return its two catalogs, in which all tests' runs are."""
        return Stores(**{name: self._store(name) for name in TREES})

    def fresh_stores(self) -> Stores:
        """Return two empty catalogs, made in those that it has."""
        from tiled.client import from_uri
        from tiled.structures.core import Spec

        number = next(self._names)
        found: dict[str, Store] = {}
        for name in TREES:
            tree = from_uri(self.uri(name), api_key=self.key)
            # As in the advice for those who have none.
            tree.create_container(
                f"fresh-{number}",
                metadata={"name": name},
                specs=[Spec("CatalogOfBlueskyRuns", version="3.0")],
            )
            found[name] = self._store(f"{name}/fresh-{number}")
        return Stores(**found)

    def _store(self, path: str) -> Store:
        return Store(tiled=self.uri(path), api_key_file=str(self.key_file))

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-3000:]
        try:
            return httpx.get(f"{self.address}/api/v1/", timeout=30).is_success
        except httpx.TransportError:
            return False

    def _log_in(self) -> dict[str, str]:
        reply = httpx.post(
            f"{self.address}/api/v1/auth/provider/facility/token",
            data={"grant_type": "password", "username": USER, "password": PASSWORD},
            timeout=60,
        )
        reply.raise_for_status()
        return {"Authorization": f"Bearer {reply.json()['access_token']}"}


@contextlib.contextmanager
def running_tiled(
    folder: Path, postgresql: PostgreSQL, readable: Sequence[Path]
) -> Iterator[TiledServer]:
    """Start a Tiled server, and end it."""
    server = TiledServer(folder, postgresql, readable)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
