"""Opening: first use, again, in several processes, damaged, and from a profile."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import tiled.profiles
from tiled.queries import Key

from hxn_ptycho.catalog import (
    CatalogError,
    Catalogs,
    check_readable,
    insert,
    install_profile,
    open_catalog,
    readable_storage,
)
from hxn_ptycho.catalog.first_use import make
from hxn_ptycho.home import ConfigError, Home

from ..hxn_documents import make_scan


def run_python(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out.strip()


def test_a_fresh_home_has_two_empty_catalogs_of_runs(home: Home) -> None:
    catalogs = open_catalog(home)
    assert (catalogs.raw.name, catalogs.processed.name) == ("raw", "processed")
    assert list(catalogs.raw.v3) == list(catalogs.processed.v3) == []
    for client in (catalogs.raw.v3, catalogs.processed.v3):
        assert client.is_sql


def test_a_process_opens_a_home_once(home: Home) -> None:
    assert open_catalog(home) is open_catalog(str(home.root)) is open_catalog()


def test_both_databases_let_readers_and_a_writer_at_once(catalogs: Catalogs) -> None:
    for name in ("raw", "processed"):
        for file in ("catalog.db", "tables.db"):
            connection = sqlite3.connect(catalogs.home.catalogs / name / file)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",), (name, file)
            connection.close()


def test_a_home_with_a_space_and_an_umlaut(tmp_path: Path) -> None:
    catalogs = open_catalog(tmp_path / "my hömé 100%")
    scan = make_scan(catalogs.home.data / "a b%20c", 1)
    insert(catalogs.raw, scan.documents)
    read = catalogs.raw.v3[scan.uid]["primary"]["merlin1"].read()
    assert (read == scan.frames).all()


def test_a_home_that_no_database_address_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"has a \? or # in its path"):
        open_catalog(tmp_path / "what?")


def test_processes_that_open_a_fresh_home_at_once(home: Home) -> None:
    code = (
        "from hxn_ptycho.catalog import open_catalog\n"
        "catalogs = open_catalog()\n"
        "print(len(catalogs.raw.v3), len(catalogs.processed.v3))\n"
    )
    started = [run_python(code) for _ in range(2)]
    assert [finish(process) for process in started] == ["0 0"] * 2


def test_a_first_use_that_was_killed_leaves_nothing_in_the_way(home: Home) -> None:
    folder = home.catalogs / "raw"
    folder.mkdir()
    (folder / "catalog.db.new").write_bytes(b"half a database")
    (folder / "catalog.db.new-wal").write_bytes(b"its log")
    assert list(open_catalog(home).raw.v3) == []


@pytest.mark.parametrize("file", ["catalog.db", "tables.db"])
def test_a_damaged_database_is_named_with_what_to_do(home: Home, file: str) -> None:
    make(home)
    path = home.catalogs / "raw" / file
    path.write_bytes(b"this is no database" * 400)
    with pytest.raises(CatalogError, match=r"damaged: move it aside") as caught:
        open_catalog(home)
    assert str(path) in str(caught.value)


def test_an_empty_database_file_is_no_catalog(home: Home) -> None:
    (home.catalogs / "raw" / "files").mkdir(parents=True)
    (home.catalogs / "raw" / "catalog.db").touch()
    with pytest.raises(CatalogError, match="damaged: move it aside"):
        open_catalog(home)


def test_a_database_that_may_not_be_written(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    # As root every file can be written, so the question is answered in root's stead.
    denied = home.catalogs / "processed" / "catalog.db"
    make(home)
    denied.chmod(stat.S_IRUSR)
    real = os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda path, mode: Path(path) != denied and real(path, mode),
    )
    with pytest.raises(CatalogError, match="no permission to read and write it") as caught:
        open_catalog(home)
    assert str(denied) in str(caught.value)
    assert "HXN_PTYCHO_HOME" in str(caught.value)


def test_what_the_catalog_may_read(home: Home) -> None:
    home.config_file.write_text(
        'results_root = "/proposals/{cycle}/{proposal}/ptycho"\nreadable_storage = ["/frames"]\n'
    )
    assert readable_storage(home) == (home.data, Path("/proposals"), Path("/frames"))
    check_readable(home, "/frames/2026/merlin_1.h5")
    check_readable(home, home.data / "scan.h5")
    with pytest.raises(CatalogError, match=r"/elsewhere/merlin_1.h5 is outside the folders"):
        check_readable(home, "/elsewhere/merlin_1.h5")
    with pytest.raises(CatalogError, match="outside"):
        check_readable(home, "/frames/../elsewhere/merlin_1.h5")


def test_a_template_that_begins_inside_a_name(home: Home) -> None:
    home.config_file.write_text('results_root = "/proposals/c{cycle}"\n')
    assert readable_storage(home)[1] == Path("/proposals")


def test_a_relative_readable_storage_is_refused(home: Home) -> None:
    home.config_file.write_text('readable_storage = ["frames"]\n')
    with pytest.raises(ConfigError, match="absolute paths, and 'frames' is not"):
        readable_storage(home)


def test_the_profile_opens_the_same_catalogs_in_a_notebook(
    catalogs: Catalogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = make_scan(catalogs.home.data, 3)
    insert(catalogs.raw, scan.documents)
    insert(catalogs.processed, make_scan(catalogs.home.data, 4, raw_uid=scan.uid).documents)
    profiles = str(tmp_path / "profiles")
    monkeypatch.setattr(tiled.profiles, "paths", [tmp_path / "elsewhere", Path(profiles)])
    assert install_profile(catalogs.home) == Path(profiles) / "hxn_ptycho.yml"
    # Nothing of hxn_ptycho is imported there.
    code = (
        "from databroker import Broker\n"
        "from tiled.client import from_profile\n"
        "from tiled.queries import Key\n"
        "raw = Broker.named('hxn_ptycho')\n"
        "processed = from_profile('hxn_ptycho')['processed']\n"
        f"found = processed.search(Key('raw_uid') == '{scan.uid}')\n"
        "print(raw[-1].start['scan_id'], len(found), raw.v3['" + scan.uid + "']"
        "['primary']['merlin1'].read().sum())\n"
    )
    assert finish(run_python(code, TILED_PROFILES=profiles)) == f"3 1 {scan.frames.sum()}"


def test_a_profile_that_cannot_be_written(
    catalogs: Catalogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tiled.profiles, "paths", [tmp_path / "file" / "profiles"])
    with pytest.raises(CatalogError, match=r"profile .* cannot be written"):
        install_profile(catalogs.home)


def test_native_search_by_raw_uid(catalogs: Catalogs) -> None:
    for scan_id in (1, 2, 3):
        raw_uid = f"raw-{scan_id % 2}"
        insert(
            catalogs.processed, make_scan(catalogs.home.data, scan_id, raw_uid=raw_uid).documents
        )
    found = catalogs.processed.v3.search(Key("raw_uid") == "raw-1")
    assert [run.start["scan_id"] for run in found.values()] == [1, 3]
    assert [header.start["scan_id"] for header in catalogs.processed(raw_uid="raw-0")] == [2]
