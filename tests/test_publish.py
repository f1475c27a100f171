"""Derived runs: live, whole, failed, twice, after a crash, and where their files go."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tiled.queries import Key

from hxn_ptycho import Recipe, results
from hxn_ptycho.catalog import (
    CatalogError,
    Catalogs,
    open_catalog,
    read_table,
    resolve,
    search,
    start_document,
    stop_document,
)
from hxn_ptycho.home import ConfigError, Home
from hxn_ptycho.publish import Publisher, move, publisher, result_path
from hxn_ptycho.solver.job import ResultData

from .example_results import example_result
from .result_files import progress_lines, write_result

RECIPE = Recipe(probe_modes=2, iterations=12)
RAW = {
    "uid": "0f3c9a54-0d6c-4d0c-9d3b-0b6d2f5f7a11",
    "scan_id": 12,
    "time": 1.0,
    "plan_name": "fly2dpd",
    "scan": {"type": "2D_FLY_PANDA"},
    "motors": ["zpssx", "zpssy"],
    "sample_name": "star",
    "proposal": {"proposal_id": "312345", "title": "stars"},
    "cycle": "2026-3",
    "user": "M. Curie",
}


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Catalogs:
    return open_catalog(tmp_path_factory.mktemp("home"))


@pytest.fixture
def every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """No row waits for the next."""
    monkeypatch.setattr(publisher, "LIVE_SECONDS", 0.0)


def make(
    catalogs: Catalogs, derived_uid: str | None = None, raw: dict[str, Any] | None = None
) -> Publisher:
    return Publisher(
        catalogs,
        derived_uid=derived_uid or str(uuid.uuid4()),
        job_uid="job",
        raw_start=raw or RAW,
        recipe=RECIPE,
        ranks=2,
        device="cpu",
    )


def folder(catalogs: Catalogs) -> Path:
    return catalogs.home.jobs / str(uuid.uuid4())


def published(catalogs: Catalogs, **changes: Any) -> tuple[Publisher, Path]:
    one = make(catalogs)
    one.open()
    return one, one.succeed(write_result(folder(catalogs), **changes))


def test_the_documents_of_the_contract(catalogs: Catalogs) -> None:
    one, file = published(catalogs)
    start = start_document(catalogs.processed, one.derived_uid)
    assert start["uid"] == one.derived_uid
    assert start["plan_name"] == "ptycho_recon"
    assert start["analysis_stage"] == "reconstruction"
    assert start["raw_uid"] == RAW["uid"]
    assert start["parent_uids"] == [RAW["uid"]]
    assert start["raw_scan_id"] == start["scan_id"] == 12
    assert (start["sample_name"], start["user"]) == ("star", "M. Curie")
    assert not {"motors", "scan"} & set(start), "what says how the raw scan was measured"
    analysis = start["analysis"]
    assert analysis["package"] == "hxn_ptycho"
    assert {key: analysis[key] for key in ("algorithm", "probe_modes", "iterations")} == {
        "algorithm": "DM",
        "probe_modes": 2,
        "iterations": 12,
    }
    assert Recipe.make(**analysis["recipe"]) == RECIPE
    stop = stop_document(catalogs.processed, one.derived_uid)
    assert stop is not None
    assert (stop["exit_status"], stop["num_events"]) == ("success", {"iterations": 12})
    assert stop["result"]["file"] == str(file)
    assert stop["result"]["error_fourier"] == 0.0612


def test_object_and_probe_are_read_through_the_catalog(catalogs: Catalogs) -> None:
    one, file = published(catalogs)
    data = ResultData.read(file)
    run = catalogs.processed.v3[one.derived_uid]
    np.testing.assert_array_equal(run["result"]["object"].read(), data.object)
    np.testing.assert_array_equal(run["result"]["probe"].read(), data.probe)
    whole = run["result"].read()
    assert whole["object"].dims == ("object_mode", "y", "x")
    array = resolve(catalogs.processed, one.derived_uid, "probe", "result")
    assert array.blocks[0].file == str(file)
    assert array.shape == data.probe.shape


def test_errors_appear_while_it_runs(catalogs: Catalogs, every_row: None) -> None:
    one = make(catalogs)
    one.open()
    lines = progress_lines(example_result())
    for count, line in enumerate(lines[:3], start=1):
        one.iterations([line])
        table = read_table(catalogs.processed, one.derived_uid, "iterations")
        assert table["iteration"] == list(range(1, count + 1))
        assert table["error_probe_1"][-1] == line["error_probe"][1]
        assert table["error_probe"][-1] == max(line["error_probe"])
        assert table["error_object"][-1] == line["error_object"][0]
    assert table["error_fourier"][0] == 0.5
    assert np.isnan(table["error_fourier"][1])
    assert stop_document(catalogs.processed, one.derived_uid) is None
    one.fail("enough")


def test_rows_that_come_fast_are_stored_together(
    catalogs: Catalogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "LIVE_SECONDS", 1e6)
    one = make(catalogs)
    one.open()
    lines = progress_lines(example_result())
    one.iterations(lines[:1])
    one.iterations(lines[1:])
    one.iterations(lines)  # again, as from the beginning of the file
    seen = read_table(catalogs.processed, one.derived_uid, "iterations")["iteration"]
    assert seen in ([], [1])
    one.succeed(write_result(folder(catalogs)))
    table = read_table(catalogs.processed, one.derived_uid, "iterations")
    assert table["iteration"] == list(range(1, 13))
    assert table["seq_num"] == list(range(1, 13))


def test_one_mode_has_no_columns_of_modes(catalogs: Catalogs) -> None:
    one = Publisher(
        catalogs,
        derived_uid=str(uuid.uuid4()),
        job_uid="job",
        raw_start=RAW,
        recipe=Recipe(iterations=12),
        ranks=1,
        device="cpu",
    )
    one.open()
    one.succeed(write_result(folder(catalogs), modes=1))
    table = read_table(catalogs.processed, one.derived_uid, "iterations")
    assert set(table) == {
        "seq_num", "time", "iteration", "error_probe", "error_object", "error_fourier", "seconds"
    }  # fmt: skip


def test_numbers_that_are_none(catalogs: Catalogs) -> None:
    one = make(catalogs)
    one.open()
    line = {
        "event": "iteration",
        "iteration": 1,
        "error_probe": [None, 0.5],
        "error_object": [None],
        "error_fourier": None,
        "seconds": 0.1,
    }
    one.iterations([{"event": "started", "ranks": 2}, line])
    one.fail("diverged")
    table = read_table(catalogs.processed, one.derived_uid, "iterations")
    assert table["error_probe"] == [0.5]
    assert np.isnan(table["error_object"][0])
    (found,) = results(uid=one.derived_uid, catalogs=catalogs)
    np.testing.assert_array_equal(found.errors["error_probe"], [[np.nan, 0.5]])


@pytest.mark.parametrize("exit_status", ["fail", "abort"])
def test_a_failure_is_a_run_too(catalogs: Catalogs, exit_status: str) -> None:
    one = make(catalogs)
    one.open()
    one.fail("no MPI: pip install mpich", exit_status)
    stop = stop_document(catalogs.processed, one.derived_uid)
    assert stop is not None
    assert (stop["exit_status"], stop["reason"]) == (exit_status, "no MPI: pip install mpich")
    one.fail("again")
    again = stop_document(catalogs.processed, one.derived_uid)
    assert again == stop


def test_a_failure_before_anything_of_the_scan_is_known(catalogs: Catalogs) -> None:
    one = make(catalogs, raw={"uid": "some-run"})
    one.fail("there is no run some-run")
    (found,) = results(uid=one.derived_uid, catalogs=catalogs)
    assert (found.exit_status, found.scan_id, found.raw_uid) == ("fail", 0, "some-run")


def test_a_success_published_again_stays_as_it_is(catalogs: Catalogs) -> None:
    one, file = published(catalogs)
    before = stop_document(catalogs.processed, one.derived_uid)
    again = make(catalogs, one.derived_uid)
    again.open()
    again.iterations(progress_lines(example_result()))
    assert again.succeed(folder(catalogs) / "result.h5") == file
    again.fail("too late")
    assert stop_document(catalogs.processed, one.derived_uid) == before
    assert search(catalogs.processed, uid=one.derived_uid) == [one.derived_uid]


def test_a_failure_is_replaced_by_a_later_success(catalogs: Catalogs) -> None:
    one = make(catalogs)
    one.open()
    one.iterations(progress_lines(example_result())[:2])
    one.fail("the node went down")
    again = make(catalogs, one.derived_uid)
    again.open()
    again.succeed(write_result(folder(catalogs)))
    stop = stop_document(catalogs.processed, one.derived_uid)
    assert stop is not None
    assert (stop["exit_status"], stop["reason"]) == ("success", "")
    assert search(catalogs.processed, uid=one.derived_uid) == [one.derived_uid]
    table = read_table(catalogs.processed, one.derived_uid, "iterations")
    assert table["iteration"] == list(range(1, 13))


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from hxn_ptycho.catalog import open_catalog
from hxn_ptycho.publish import publisher
from tests import test_publish as t
catalogs = open_catalog(sys.argv[2])
one = t.make(catalogs, sys.argv[3])
one.open()
publisher.LIVE_SECONDS = 0
one.iterations(t.progress_lines(t.example_result())[:4])
one._run.attach = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
one.succeed(Path(sys.argv[4]))
"""


def test_a_publisher_that_was_killed_when_it_had_moved_the_file(catalogs: Catalogs) -> None:
    derived_uid, file = str(uuid.uuid4()), write_result(folder(catalogs))
    root = str(Path(__file__).parents[1])
    killed = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-c", KILLED),
            *(root, str(catalogs.home.root), derived_uid, str(file)),
        ],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    assert stop_document(catalogs.processed, derived_uid) is None
    assert not file.exists()
    again = make(catalogs, derived_uid)
    again.open()
    target = again.succeed(file)
    assert target.exists()
    (found,) = results(uid=derived_uid, catalogs=catalogs)
    assert found.exit_status == "success"
    assert found.result_file == target
    table = read_table(catalogs.processed, derived_uid, "iterations")
    assert table["iteration"] == list(range(1, 13))


def test_a_publisher_that_never_came_back(catalogs: Catalogs, every_row: None) -> None:
    lost = make(catalogs)
    lost.open()
    lost.iterations(progress_lines(example_result())[:4])
    lost._lock.release()  # as the system does when a process ends
    again = make(catalogs, lost.derived_uid)
    again.open()
    again.succeed(write_result(folder(catalogs)))
    assert search(catalogs.processed, uid=lost.derived_uid) == [lost.derived_uid]
    table = read_table(catalogs.processed, lost.derived_uid, "iterations")
    assert table["iteration"] == list(range(1, 13))


def test_two_publishers_of_one_reconstruction(catalogs: Catalogs) -> None:
    one = make(catalogs)
    one.open()
    with pytest.raises(CatalogError, match="is being published by another process"):
        make(catalogs, one.derived_uid).open()
    one.fail("done")
    assert list((catalogs.home.root / "locks").iterdir()) == []


def test_a_catalog_that_is_away_for_a_moment_loses_no_row(
    catalogs: Catalogs, every_row: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make(catalogs)
    one.open()
    lines = progress_lines(example_result())
    with monkeypatch.context() as patch:

        def refuse(*arguments: Any) -> None:
            raise CatalogError("the disk is away")

        patch.setattr(one._run, "append", refuse)
        one.iterations(lines[:2])
    one.iterations(lines[2:3])
    table = read_table(catalogs.processed, one.derived_uid, "iterations")
    assert table["iteration"] == [1, 2, 3]
    one.fail("enough")


def test_results_that_are_none(catalogs: Catalogs, tmp_path: Path) -> None:
    one = make(catalogs)
    one.open()
    with pytest.raises(CatalogError, match="there is no result to publish"):
        one.succeed(tmp_path / "result.h5")
    (tmp_path / "result.h5").write_bytes(b"half a file")
    with pytest.raises(CatalogError, match="is not a whole result file"):
        one.succeed(tmp_path / "result.h5")
    with h5py.File(tmp_path / "result.h5", "w") as file:
        file["object"] = 1
    with pytest.raises(CatalogError, match="is not a whole result file"):
        one.succeed(tmp_path / "result.h5")
    one.fail("no result")


def test_native_and_classic_queries(catalogs: Catalogs) -> None:
    raw = {**RAW, "uid": str(uuid.uuid4())}
    one = make(catalogs, raw=raw)
    one.open()
    one.succeed(write_result(folder(catalogs)))
    found = catalogs.processed.v3.search(Key("raw_uid") == raw["uid"])
    found = found.search(Key("analysis.algorithm") == "DM")
    run = found.values().last()
    assert run.start["uid"] == one.derived_uid
    assert run["iterations"].read()["error_object"].shape == (12,)
    (header,) = catalogs.processed(raw_uid=raw["uid"], analysis_stage="reconstruction")
    assert header.table("iterations")["iteration"].tolist() == list(range(1, 13))
    names = [name for name, _ in header.documents()]
    assert names.count("event") == 12
    assert names.count("stream_resource") == 2


# Where results go.


@pytest.fixture
def templated(home: Home) -> Home:
    root = home.root.parent / "proposals"
    home.config_file.write_text(f'results_root = "{root}/{{cycle}}/{{proposal}}"\n')
    return home


def test_the_default_is_a_folder_a_scan(home: Home) -> None:
    path = result_path(home, RAW, "12345678-aaaa")
    assert path == home.results / "S12" / "S12_12345678.h5"


def test_a_template_is_filled_from_the_start_document(templated: Home) -> None:
    catalogs = open_catalog(templated)
    one, file = published(catalogs)
    root = templated.root.parent / "proposals"
    name = f"S12_{one.derived_uid[:8]}.h5"
    assert file == root / "2026-3" / "312345" / "S12" / name
    run = catalogs.processed.v3[one.derived_uid]
    assert run["result"]["object"].read().shape == (1, 40, 48)


def test_a_template_with_the_scan_id(home: Home) -> None:
    home.config_file.write_text('results_root = "/data/{cycle}/scan{scan_id}"\n')
    assert result_path(home, RAW, "abcdefgh-1").parent == Path("/data/2026-3/scan12")


@pytest.mark.parametrize(
    ("template", "raw", "message"),
    [
        ("/d/{beamtime}", RAW, r"asks for \{beamtime\}, which the start document of scan 12 lacks"),
        ("/d/{cycle}", {**RAW, "cycle": " "}, r"asks for \{cycle\}"),
        ("/d/{cycle}", {**RAW, "cycle": "a/b"}, "no name of a folder"),
        ("/d/{cycle}", {**RAW, "cycle": ".."}, "no name of a folder"),
        ("/d/{cycle", RAW, "is no template"),
        ("/d/{}", RAW, r"asks for \{\}"),
    ],
)
def test_templates_that_cannot_be_filled(
    home: Home, template: str, raw: dict[str, Any], message: str
) -> None:
    home.config_file.write_text(f'results_root = "{template}"\n')
    with pytest.raises(ConfigError, match=message) as caught:
        result_path(home, raw, "abcdefgh-1")
    assert str(home.config_file) in str(caught.value)


def test_a_template_that_cannot_be_filled_is_told_before_and_the_failure_published(
    templated: Home,
) -> None:
    catalogs = open_catalog(templated)
    raw = {"uid": "run", "scan_id": 3}
    one = make(catalogs, raw=raw)
    with pytest.raises(ConfigError, match=r"\{cycle\}"):
        one.open()
    one.fail("no cycle")
    (found,) = results(scan_id=3, catalogs=catalogs)
    assert (found.exit_status, found.reason) == ("fail", "no cycle")


def test_moving_between_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "result.h5", tmp_path / "elsewhere" / "S1.h5"
    source.write_bytes(b"x" * 100_000)
    real = os.replace
    crossed = []

    def replace(a: Path, b: Path) -> None:
        if Path(a).parent != Path(b).parent:
            crossed.append(a)
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(a, b)

    monkeypatch.setattr(os, "replace", replace)
    move(source, target)
    assert crossed == [source]
    assert target.read_bytes() == b"x" * 100_000
    assert not source.exists()
    assert list(target.parent.iterdir()) == [target]


def test_a_move_that_fails_leaves_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "result.h5", tmp_path / "elsewhere" / "S1.h5"
    source.write_bytes(b"x")

    def replace(a: Path, b: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(CatalogError, match="No space left on device; make room"):
        move(source, target)
    assert source.exists()
    assert list(target.parent.iterdir()) == []
