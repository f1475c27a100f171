"""The whole way with both catalogs on a Tiled server: measured, reconstructed, found, looked at."""

from __future__ import annotations

import logging
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiled.profiles
from databroker import Broker
from tiled.client import from_uri

from hxn_ptycho import AutoReconstruct, Recipe, open_catalog, results
from hxn_ptycho.catalog import (
    CatalogAway,
    CatalogError,
    install_profile,
    resolve,
    survey,
    why_unreadable,
    writer,
)
from hxn_ptycho.catalog.tiled_store.credentials import KEY_VARIABLE
from hxn_ptycho.cli import catalog_checks
from hxn_ptycho.home import Home, Stores
from hxn_ptycho.publish import Publisher
from hxn_ptycho.queue import Queue
from hxn_ptycho.solver.job import ResultData

from .result_files import progress_lines, write_result
from .simulate.station import make_station
from .stores.relay import relayed
from .stores.tiled_server import TiledServer
from .waiting import until


def configure(home: Home, stores: Stores, text: str = "") -> None:
    """Write config.toml."""
    lines = [text]
    for name in ("raw", "processed"):
        lines.append(f"[catalogs.{name}]")
        given = getattr(stores, name).model_dump(exclude_defaults=True)
        lines += [f'{key} = "{value}"' for key, value in given.items()]
    home.config_file.write_text("\n".join(lines) + "\n")


@pytest.fixture
def configured(home: Home, tiled_server: TiledServer, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose config.toml names two empty catalogs of the server."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    configure(home, tiled_server.fresh_stores())
    return home


def test_from_the_run_engine_to_the_result_on_the_server(
    home: Home, tiled_server: TiledServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With brokers that the user's own session opened, by a key of the environment."""
    monkeypatch.setenv(KEY_VARIABLE, tiled_server.key)
    home.config_file.write_text("idle_seconds = 0.5\n")
    stores = tiled_server.fresh_stores()
    raw, processed = (Broker(from_uri(place.tiled)) for place in (stores.raw, stores.processed))
    station = make_station(home.data)
    station.RE.subscribe(writer(raw))
    recipe = Recipe(iterations=5, ranks=1)
    ptycho = AutoReconstruct(raw, recipe, processed=processed)
    station.RE.subscribe(ptycho)
    uid = station.fly()

    (job,) = ptycho.wait(timeout=240)
    assert job.state == "done", job.reason
    assert job.stores is not None
    assert job.stores.raw.tiled == stores.raw.tiled
    until(lambda: not Queue(home).has_worker(), "the idle worker to end")
    said = (home.root / "worker.log").read_text()
    assert "Traceback" not in said
    assert tiled_server.key[:8] not in said

    configure(home, stores)
    (result,) = results(raw_uid=uid, home=home)
    assert (result.exit_status, result.reason) == ("success", "")
    assert result.raw.start["uid"] == uid
    assert result.picture is not None
    # databroker's own ways, of the session that was there before.
    (header,) = processed(raw_uid=uid, analysis_stage="reconstruction")
    assert header.table("iterations")["iteration"].tolist() == [1, 2, 3, 4, 5]
    there = processed.v3[header.start["uid"]]["result"]["object"].read()
    np.testing.assert_array_equal(there, result.object)
    assert raw[-1].start["uid"] == uid
    frames = np.asarray(raw.v3[uid]["primary"]["merlin1"].read())
    assert frames.shape == resolve(raw, uid, "merlin1").shape


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder that the server may not read."""
    folder = Path(tempfile.mkdtemp(prefix="elsewhere-"))
    yield folder
    shutil.rmtree(folder)


def test_a_result_that_the_server_may_not_read(
    configured: Home, elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stores = configured.config().catalogs
    configure(configured, stores, f'results_root = "{elsewhere}"')
    catalogs = open_catalog(configured)
    publisher = Publisher(
        catalogs,
        derived_uid=str(uuid.uuid4()),
        job_uid="job",
        raw_start={"uid": str(uuid.uuid4()), "scan_id": 9},
        recipe=Recipe(iterations=12, probe_modes=2),
        ranks=1,
        device="cpu",
    )
    publisher.open()
    source = write_result(configured.jobs / "job")
    data = ResultData.read(source)
    publisher.iterations(progress_lines(data))
    with caplog.at_level(logging.ERROR):
        target = publisher.succeed(source)
    assert target.is_relative_to(elsewhere)
    (result,) = results(uid=publisher.derived_uid, catalogs=catalogs)
    assert result.exit_status == "success"
    np.testing.assert_array_equal(result.object, data.object)
    for said in (result.reason, caplog.text):
        assert f"cannot read {target}" in said
        assert "readable_storage in the server's configuration" in said
    assert why_unreadable(catalogs.processed, publisher.derived_uid, "probe", "result")


def test_doctor_says_of_both_catalogs_where_they_are(
    configured: Home, tiled_server: TiledServer, tmp_path: Path
) -> None:
    stores = configured.config().catalogs
    found = catalog_checks.raw_catalog(configured)
    assert found.state == "good"
    for said in (stores.raw.tiled, str(tiled_server.key_file), "config.toml", "empty"):
        assert said in found.found
    publisher = Publisher(
        open_catalog(configured),
        derived_uid=str(uuid.uuid4()),
        job_uid="job",
        raw_start={"uid": str(uuid.uuid4()), "scan_id": 77},
        recipe=Recipe(),
        ranks=1,
        device="cpu",
    )
    publisher.fail("no beam")
    assert "1 run, last of scan 77" in catalog_checks.processed_catalog(configured).found

    # The one is away, the other only to be read, at once.
    with relayed(tiled_server.port) as relay:
        gone = f"http://127.0.0.1:{relay.port}/api/v1/metadata/raw"
    reading = tmp_path / "key"
    reading.touch(mode=0o600)
    reading.write_text(tiled_server.make_key("read:metadata", "read:data"))
    raw = stores.raw.model_copy(update={"tiled": gone})
    read_only = stores.processed.model_copy(update={"api_key_file": str(reading)})
    configure(configured, Stores(raw=raw, processed=read_only))
    with pytest.raises(CatalogAway):
        survey(configured, "raw")
    found = catalog_checks.raw_catalog(configured)
    assert found.state == "missing"
    assert f"{gone} ([catalogs.raw] of {configured.config_file}) does not answer" in found.found
    found = catalog_checks.processed_catalog(configured)
    assert found.state == "missing"
    assert "1 run, last of scan 77; for reading only" in found.found
    assert "create:node" in found.advice


def test_the_profile_opens_both_in_a_notebook(
    configured: Home, tiled_server: TiledServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "profiles"
    monkeypatch.setattr(tiled.profiles, "paths", [folder])
    path = install_profile(configured)
    assert tiled_server.key not in path.read_text()
    stores = configured.config().catalogs
    monkeypatch.setenv(KEY_VARIABLE, tiled_server.key)
    assert Broker.named("hxn_ptycho").v2.uri == stores.raw.tiled
    assert Broker.named("hxn_ptycho_processed").v2.uri == stores.processed.tiled

    # By a profile of the facility's, one in the home, and one that no profile can name.
    (folder / "hxn.yml").write_text(f"hxn:\n  uri: {tiled_server.address}\n")
    tiled.profiles.load_profiles.cache_clear()
    configured.config_file.write_text('[catalogs.raw]\nprofile = "hxn/raw"\n')
    install_profile(configured)
    profiles = tiled.profiles.load_profiles()
    assert profiles["hxn_ptycho"][1]["uri"] == tiled_server.uri("raw")
    (tree,) = profiles["hxn_ptycho_processed"][1]["direct"]["trees"]
    assert str(configured.catalogs / "processed") in tree["args"]["uri"]
    configured.config_file.write_text('[catalogs.raw]\nv0 = "hxn"\n')
    with pytest.raises(CatalogError, match=r"databroker\.v0 broker"):
        install_profile(configured)
