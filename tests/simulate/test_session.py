"""What a session keeps, its progress bar, and the whole profile in IPython."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bluesky import RunEngine
from bluesky.plan_stubs import close_run, open_run
from rich.console import Console

from hxn_ptycho.catalog import find_run, open_catalog, start_document, writer
from hxn_ptycho.home import Home
from hxn_ptycho.simulate.progress import ScanProgress
from hxn_ptycho.simulate.session import FileMetadata, next_scan_id

from .station import make_station

PROFILE = Path(__file__).parents[2] / "profile_collection"


def test_metadata_are_there_in_the_next_session(tmp_path: Path) -> None:
    md = FileMetadata(tmp_path / "md.json")
    md["sample"] = {"name": "star"}
    md["user"] = "me"
    del md["user"]
    assert dict(FileMetadata(tmp_path / "md.json")) == {"sample": {"name": "star"}}


def test_two_sessions_keep_each_others_keys(tmp_path: Path) -> None:
    first, second = FileMetadata(tmp_path / "md.json"), FileMetadata(tmp_path / "md.json")
    first["sample"] = "A"
    second["user"] = "B"
    assert dict(FileMetadata(tmp_path / "md.json")) == {"sample": "A", "user": "B"}


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_damaged_metadata_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "md.json").write_text(content)
    with pytest.raises(ValueError, match=r"md\.json .*mend it or remove it"):
        FileMetadata(tmp_path / "md.json")


def test_scans_are_numbered_on_from_the_catalog(home: Home) -> None:
    raw = open_catalog(home).raw

    def session() -> RunEngine:
        engine = RunEngine({}, scan_id_source=next_scan_id(raw))
        engine.subscribe(writer(raw))
        return engine

    def run():  # type: ignore[no-untyped-def]
        yield from open_run()
        yield from close_run()

    first, second = session(), session()
    for engine in (first, first, second, first):
        engine(run())
    ids = [start_document(raw, find_run(raw, back))["scan_id"] for back in (-4, -3, -2, -1)]
    assert ids == [1, 2, 3, 4]


def test_the_bar_counts_the_frames_of_a_scan(tmp_path: Path) -> None:
    text = io.StringIO()
    station = make_station(tmp_path)
    station.RE.waiting_hook = ScanProgress(Console(file=text, width=100, force_terminal=True))
    station.fly(6, 5)
    assert "30/30" in text.getvalue()
    assert "fly2dpd" in text.getvalue()


def test_the_profile_scans_in_every_form_in_ipython_and_the_scans_are_in_the_catalog(
    home: Home, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"
    shutil.copytree(
        PROFILE, profile, ignore=lambda folder, names: {n for n in names if n.startswith("60")}
    )
    line = "\n".join(
        [
            "area = [merlin1], zpssx, -.1, .1, 4, zpssy, -.1, .1, 3, 0.004",
            "RE(fly2d(*area))",
            "RE(fly2d(*area, flyer=classic1, fly_type='pyramid'))",
            "RE(scan_and_fly([eiger1], -.1, .1, 4, -.1, .1, 3, 0.004, flying_zebra=zebra1))",
            "RE(fly2d(*area, flyer=streams1))",
            "RE(bp.rel_grid_scan([merlin1, sclr1], zpssy, -.1, .1, 3, zpssx, -.1, .1, 4))",
            "import json",
            "from hxn_ptycho.beamline import read_scan",
            "runs = [db[number] for number in (1, 2, 3, 4, 5)]",
            "scans = [read_scan(db, run.start['uid']) for run in runs]",
            "print('RESULT', json.dumps([[run.start['scan_id'], run.stop['exit_status'], "
            "run.start['sample']['name'], scan.number_of_frames, scan.frame_dtype] "
            "for run, scan in zip(runs, scans)]))",
        ]
    )
    ran = subprocess.run(
        [sys.executable, "-m", "IPython", f"--profile-dir={profile}", "-c", line],
        capture_output=True,
        text=True,
        timeout=240,
    )
    result = [part for part in ran.stdout.splitlines() if part.startswith("RESULT")]
    assert result, ran.stdout + ran.stderr
    kinds = ["uint16", "uint16", "uint32", "uint16", "uint16"]
    assert json.loads(result[0].removeprefix("RESULT")) == [
        [number, "success", "Siemens star on polycrystal", 12, kind]
        for number, kind in enumerate(kinds, 1)
    ]
    assert (home.root / "md.json").exists()
