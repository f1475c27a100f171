"""Catalogs on a Tiled server: by which key they are opened, what is refused, and in which words."""

from __future__ import annotations

import logging
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiled.profiles
import yaml
from databroker import Broker
from tiled.client import from_uri
from tiled.client.context import Context, password_grant
from tiled.client.utils import TILED_RETRY_ATTEMPTS

from hxn_ptycho.catalog import (
    CatalogAway,
    CatalogError,
    Catalogs,
    describe,
    find_run,
    insert,
    open_catalog,
    read_table,
    resolve,
    run_writer,
    search,
    stop_document,
    why_unreadable,
)
from hxn_ptycho.catalog.tiled_store.credentials import KEY_VARIABLE, find_credentials
from hxn_ptycho.catalog.tiled_store.remote import open_remote
from hxn_ptycho.home import Store, Stores

from ..every import if_every
from ..hxn_documents import FakeScan, make_scan
from ..stores.relay import Relay, relayed
from ..stores.tiled_server import CATALOG, PASSWORD, USER, TiledServer
from .test_contract import NUMBERS, rows


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the user's own: no key in the environment, no login, no profile."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setenv("TILED_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(tiled.profiles, "paths", [tmp_path / "profiles"])
    tiled.profiles.load_profiles.cache_clear()
    monkeypatch.setattr("builtins.input", lambda *a: pytest.fail("it asked for a login"))


@pytest.fixture(scope="module")
def scan(tiled_server: TiledServer, tmp_path_factory: pytest.TempPathFactory) -> FakeScan:
    """A scan in the server's catalog ``raw``."""
    home = tmp_path_factory.mktemp("home")
    made = make_scan(home / "data", 4711)
    insert(open_catalog(home, tiled_server.stores()).raw, made.documents)
    return made


def key_file(folder: Path, key: str) -> str:
    path = folder / "key"
    path.touch(mode=0o600)
    path.write_text(key)
    return str(path)


def add_profile(name: str, **content: Any) -> None:
    folder = tiled.profiles.paths[-1]
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yml").write_text(yaml.safe_dump({name: content}))
    tiled.profiles.load_profiles.cache_clear()


def log_in(server: TiledServer) -> None:
    """What `tiled login` does once it has the password."""
    context = Context.from_any_uri(server.uri("raw"))[0]
    provider = context.server_info.authentication.providers[0]
    endpoint = provider.links["auth_endpoint"]
    context.configure_auth(
        password_grant(context.http_client, endpoint, provider.provider, USER, PASSWORD)
    )


def test_the_ways_to_be_known(
    tiled_server: TiledServer, scan: FakeScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = tiled_server.make_key("read:metadata", "read:data")
    address = tiled_server.uri("raw")
    by_file = Store(tiled=address, api_key_file=key_file(tmp_path, f" {reading}\n"))
    assert find_run(open_remote(by_file), 4711) == scan.uid

    with pytest.raises(CatalogError, match=r"neither an API key nor a login.*tiled login"):
        open_remote(Store(tiled=address))
    log_in(tiled_server)
    by_login = open_remote(Store(tiled=address))
    assert find_run(by_login, 4711) == scan.uid
    assert describe(by_login) == Store(tiled=address)

    monkeypatch.setenv(KEY_VARIABLE, "0123wrong")
    with pytest.raises(CatalogError, match=f"does not accept the API key in {KEY_VARIABLE}"):
        open_remote(Store(tiled=address))
    assert find_run(open_remote(by_file), 4711) == scan.uid, "a file goes before the environment"
    monkeypatch.setenv(KEY_VARIABLE, reading)
    assert find_run(open_remote(Store(tiled=address)), 4711) == scan.uid

    add_profile("beamline", uri=tiled_server.address)
    by_profile = open_remote(Store(profile="beamline/raw"))
    assert find_run(by_profile, 4711) == scan.uid
    assert describe(by_profile) == Store(profile="beamline/raw")


def test_a_key_that_others_can_read_is_refused(tiled_server: TiledServer, tmp_path: Path) -> None:
    path = Path(key_file(tmp_path, tiled_server.key))
    store = Store(tiled=tiled_server.uri("raw"), api_key_file=str(path))
    path.chmod(0o640)
    with pytest.raises(CatalogError, match=r"mode 0640.*chmod 600") as refusal:
        open_remote(store)
    assert tiled_server.key not in str(refusal.value)
    path.chmod(0o600)
    path.write_text("")
    with pytest.raises(CatalogError, match="must hold an API key, one word, and it holds 0"):
        open_remote(store)
    path.unlink()
    with pytest.raises(CatalogError, match=r"cannot be read \(No such file"):
        open_remote(store)
    assert stat.S_IMODE(tiled_server.key_file.stat().st_mode) == 0o600


def test_wrong_keys_and_places(
    tiled_server: TiledServer, scan: FakeScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = key_file(tmp_path, "0123456789abcdef")
    with pytest.raises(CatalogError, match=f"does not accept the API key in {wrong}: it is wrong"):
        open_remote(Store(tiled=tiled_server.uri("raw"), api_key_file=wrong))
    right = str(tiled_server.key_file)
    with pytest.raises(CatalogError, match=r"nothing at .*/dark.*create_container\(\"dark\""):
        open_remote(Store(tiled=tiled_server.uri("dark"), api_key_file=right))
    for address in (tiled_server.uri(f"raw/{scan.uid}"), tiled_server.address):
        with pytest.raises(CatalogError, match="is no catalog of Bluesky runs") as refusal:
            open_remote(Store(tiled=address, api_key_file=right))
    # What it says to do does what it says.
    line = str(refusal.value).partition("by: ")[2].replace("NAME", f"n{uuid.uuid4().hex}")
    line = line.replace("/metadata/n", "/metadata/raw/n").replace('metadata")', 'metadata/raw")')
    monkeypatch.setenv(KEY_VARIABLE, tiled_server.key)
    made: dict[str, Any] = {}
    exec(line.replace("; from_uri(", "; made = from_uri("), made)
    assert len(open_remote(Store(tiled=made["made"].uri, api_key_file=right)).v2) == 0


def test_no_server_is_there(tmp_path: Path, tiled_server: TiledServer) -> None:
    with relayed(tiled_server.port) as relay:
        gone = relay.port
    with pytest.raises(CatalogAway, match=f"127.0.0.1:{gone}.* does not answer"):
        open_remote(Store(tiled=f"http://127.0.0.1:{gone}/api/v1/metadata/raw"))
    with pytest.raises(CatalogError, match="is no Tiled server"):
        open_remote(Store(tiled=f"http://127.0.0.1:{tiled_server.port}/docs/api/v2"))
    with pytest.raises(CatalogError, match="no Tiled profile 'beamline'"):
        open_remote(Store(profile="beamline/raw"))


def test_a_key_that_may_not_write(
    tiled_server: TiledServer, scan: FakeScan, tmp_path: Path
) -> None:
    store = Store(
        tiled=tiled_server.uri("raw"),
        api_key_file=key_file(tmp_path, tiled_server.make_key("read:metadata", "read:data")),
    )
    reading = open_remote(store)
    assert resolve(reading, scan.uid, "merlin1").shape == scan.frames.shape
    another = make_scan(tmp_path / "data", 4712)
    with pytest.raises(CatalogError, match=r"key may not write to .*/raw; .*register") as refusal:
        insert(reading, another.documents)
    assert not isinstance(refusal.value, CatalogAway), "waiting does not help"
    assert search(reading, scan_id=4712) == []

    # An ordinary user's: it makes runs, but registers no files.
    scopes = ("read:metadata", "read:data", "create:node", "write:metadata", "write:data")
    Path(store.api_key_file).write_text(
        tiled_server.make_key(*scopes, "delete:node", "delete:revision")
    )
    with pytest.raises(CatalogError, match=r"may not write to .*/raw; .*register"):
        insert(open_remote(store), another.documents)
    assert search(reading, scan_id=4712) == []


def test_a_client_that_another_opened(tiled_server: TiledServer, scan: FakeScan) -> None:
    address = tiled_server.uri("raw")
    theirs = Broker(from_uri(address, api_key=tiled_server.key))
    assert find_run(theirs, 4711) == scan.uid
    with pytest.raises(CatalogError, match=r"only this process has.*api_key_file") as refusal:
        describe(theirs)
    assert tiled_server.key not in str(refusal.value)
    # Unless config.toml names the same catalog.
    known = Store(tiled=address, api_key_file=str(tiled_server.key_file))
    assert describe(theirs, known) == known
    add_profile("beamline", uri=f"{tiled_server.address}/api/v1")
    assert describe(theirs, Store(profile="beamline/raw")) == Store(profile="beamline/raw")
    with pytest.raises(CatalogError, match="only this process has"):
        describe(theirs, Store(tiled=tiled_server.uri("processed")))


@if_every
def test_a_profile_that_needs_no_server(tmp_path: Path) -> None:
    """Tiled then serves it in the process that opens it; another opens it by the same name."""
    args = {
        "uri": f"sqlite:///{tmp_path}/runs.db",
        "writable_storage": [str(tmp_path / "files"), f"sqlite:///{tmp_path}/tables.db"],
        "readable_storage": [str(tmp_path)],
        "init_if_not_exists": True,
        "specs": [CATALOG],
    }
    tree = {"path": "/scans", "tree": "catalog", "args": args}
    add_profile(
        "local", direct={"authentication": {"allow_anonymous_access": True}, "trees": [tree]}
    )
    store = Store(profile="local/scans")
    broker = open_remote(store)
    scan = make_scan(tmp_path / "data", 8)
    insert(broker, scan.documents)
    assert describe(broker) == describe(broker, store) == store
    assert find_run(open_remote(store), 8) == scan.uid
    assert why_unreadable(broker, scan.uid, "merlin1") == ""
    with pytest.raises(CatalogError, match="profile local has no dark; it has scans"):
        open_remote(Store(profile="local/dark"))
    with pytest.raises(CatalogError, match="is no catalog of Bluesky runs"):
        open_remote(Store(profile="local"))


def test_their_own_client_stays_as_patient_as_it_was(tiled_server: TiledServer) -> None:
    """Ours gives up at once; a user's session does what Tiled's client does."""
    with relayed(tiled_server.port) as relay:
        address = f"http://127.0.0.1:{relay.port}/api/v1/metadata/raw"
        theirs = from_uri(address, api_key=tiled_server.key)
        broker = Broker(theirs)
        assert find_run(broker, -1)
        relay.lose["GET"] = 1
        with pytest.raises(CatalogAway):
            find_run(broker, -1)
        relay.lose["GET"] = 1
        assert TILED_RETRY_ATTEMPTS > 1
        assert len(theirs.keys().head(1)) == 1
        assert relay.lose["GET"] == 0


@pytest.fixture
def relay(tiled_server: TiledServer) -> Iterator[Relay]:
    with relayed(tiled_server.port) as relay:
        yield relay


@pytest.fixture
def through(relay: Relay, tiled_server: TiledServer, tmp_path: Path) -> Catalogs:
    """The server's catalogs, by a connection that loses answers."""
    address = f"http://127.0.0.1:{relay.port}/api/v1/metadata"
    key = str(tiled_server.key_file)
    stores = {
        name: Store(tiled=f"{address}/{name}", api_key_file=key) for name in ("raw", "processed")
    }
    return open_catalog(tmp_path / "home", Stores(**stores))


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_answer_that_is_lost_makes_nothing_twice(
    relay: Relay, through: Catalogs, tmp_path: Path, method: str
) -> None:
    """What was asked may have been done on the server: the run is written anew, as a whole."""
    broker, uid = through.processed, str(uuid.uuid4())
    scan = make_scan(tmp_path / "data", 1)
    external = {"external": "FILESTORE:", "dtype": "array", "shape": [12, 8, 6], "source": "x"}

    def steps() -> list[Callable[[], object]]:
        run = run_writer(broker, {"uid": uid, "time": 1.0, "scan_id": 1})
        return [
            lambda: run.begin(replace=True),
            lambda: run.describe("iterations", NUMBERS),
            lambda: run.append("iterations", rows(1, 2)),
            lambda: run.append("iterations", rows(3)),
            lambda: run.describe("result", {"data_keys": {"object": external}}),
            lambda: run.attach(
                "result", "object", scan.files["merlin"], "/entry/instrument/detector/data"
            ),
            lambda: run.end({"exit_status": "success", "reason": ""}),
        ]

    lost = 0
    for last in range(len(steps())):
        *before, step = steps()[: last + 1]
        relay.lose = {}
        for each in before:
            each()
        relay.lose = {method: 1}
        try:
            step()
        except CatalogAway:
            lost += 1
            assert relay.lose[method] == 0
    assert lost >= 2, "some steps use that method"
    relay.lose = {}
    for each in steps():
        each()
    table = read_table(broker, uid, "iterations")
    assert (table["seq_num"], table["iteration"]) == ([1, 2, 3], [1, 2, 3])
    assert resolve(broker, uid, "object", "result").shape == scan.frames.shape
    stop = stop_document(broker, uid)
    assert stop is not None
    assert stop["num_events"] == {"iterations": 3}


def test_no_key_is_printed(
    tiled_server: TiledServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor written: what a job is queued with names the file."""
    with caplog.at_level(logging.DEBUG):
        catalogs = open_catalog(tmp_path / "home", tiled_server.fresh_stores())
        insert(catalogs.raw, make_scan(tmp_path / "data", 5).documents)
        with pytest.raises(CatalogError) as refusal:
            find_run(catalogs.raw, 6)
    store = describe(catalogs.raw)
    credentials = find_credentials(store)
    assert credentials.key == tiled_server.key
    assert store.api_key_file == str(tiled_server.key_file)
    told = [caplog.text, str(refusal.value), repr(store), repr(credentials), repr(catalogs)]
    assert "/metadata/raw/fresh" in caplog.text, "requests are logged"
    assert all(tiled_server.key[:8] not in each for each in told)
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(tiled_server.key.encode() not in path.read_bytes() for path in kept)
