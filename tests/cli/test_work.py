"""From a file to a result, through the commands alone."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from hxn_ptycho.queue import Queue
from hxn_ptycho.recipe import Recipe

GEOMETRY = ("--energy-kev", 12, "--distance-m", 0.5, "--detector-pixel-um", 55)
QUICK = ("--ranks", 1, "--set", "iterations=4", "--set", "error_every=1")


def test_there_is_nothing_yet(run, used_home):
    assert run("results", "--json").json == []
    assert "no result" in run("results").out
    for words in (("reconstruct", -1), ("show", -1)):
        said = run(*words)
        assert said.status == 1
        assert "Error:" in said.err
        assert "not foreseen" not in said.err


def test_import_says_what_it_took(run, used_home, scan_file):
    said = run("import", scan_file, *GEOMETRY, "--sample", "star")
    assert said.status == 0
    assert "Scan 1: 25 frames from scan.npz" in said.out
    assert "uint16" in said.out
    assert "hxn-ptycho reconstruct 1" in said.out
    (second,) = run("import", scan_file, *GEOMETRY, "--json").json
    assert second["scan_id"] == 2
    assert second["frames"] == 25
    assert second["probe"] is True


def test_a_bad_file_is_told(run, used_home, tmp_path):
    (tmp_path / "bad.npz").write_text("no archive")
    said = run("import", tmp_path / "bad.npz", *GEOMETRY)
    assert said.status == 1
    assert "bad.npz is not a NumPy archive" in said.err


@pytest.fixture(scope="module")
def results_of(used_home):
    """The uids of the two reconstructions that `test_reconstruct` makes."""
    return {}


def test_reconstruct_prints_json_alone(run, used_home, results_of):
    said = run("reconstruct", -1, *QUICK, "--json")
    assert said.status == 0, said.err
    result = said.json
    assert result["scan_id"] == 2
    assert result["exit_status"] == "success"
    assert result["iterations"] == 4
    assert result["error_fourier"] < 0.5
    results_of[2] = result["uid"]

    said = run("reconstruct", 1, *QUICK, "--set", "probe_modes=2")
    assert said.status == 0, said.err
    assert "2 probe modes, 4 iterations" in said.out
    assert "success" in said.out


def test_results_lists_them_oldest_first(run, used_home, results_of):
    listed = run("results", "--json").json
    assert [each["scan_id"] for each in listed] == [2, 1]
    assert {
        "uid", "raw_uid", "scan_id", "exit_status", "result_file", "algorithm", "probe_modes",
        "iterations", "seconds", "error_fourier",
    } <= set(listed[0])  # fmt: skip
    assert listed[0]["uid"] == results_of[2]
    only = run("results", listed[1]["raw_uid"][:8], "--json").json
    assert [each["uid"] for each in only] == [listed[1]["uid"]]
    assert run("results", -1, "--json").json == listed[:1]  # the last scan is scan 2
    table = run("results").out
    assert results_of[2][:8] in table
    assert listed[1]["result_file"] in table


def test_results_of_a_day_of_a_sample_and_the_newest(run, used_home, results_of, monkeypatch):
    today = datetime.date.today()
    yesterday = today - datetime.timedelta(days=1)
    both = run("results", "--json").json
    assert run("results", "--since", yesterday, "--until", today, "--json").json == both
    assert run("results", "--until", yesterday - datetime.timedelta(days=1), "--json").json == []
    said = run("results", "--sample", "no such", "--since", yesterday)
    assert said.out == f"There is no result with --sample no such --since {yesterday}.\n"
    assert run("results", "--limit", 1, "--json").json == both[1:]
    monkeypatch.setattr("hxn_ptycho.cli.results.SHOWN", 1)
    cut = run("results")
    assert "These are the newest 1; ask for more by --limit N" in cut.err
    assert both[1]["uid"][:8] in cut.out
    assert both[0]["uid"][:8] not in cut.out
    whole = run("results", "--limit", 0)
    assert whole.err == ""
    assert both[0]["uid"][:8] in whole.out


def test_show_finds_by_uid_and_scan(run, used_home, results_of, tmp_path: Path):
    uid = results_of[2]
    for word in (uid, uid[:8], 2):
        assert run("show", word, "--json").json["uid"] == uid
    assert run("show", -1, "--json").json["scan_id"] == 1  # the last result
    said = run("show", uid, "-o", tmp_path / "star.png")
    assert said.status == 0
    assert str(tmp_path / "star.png") in said.out
    assert imread(tmp_path / "star.png").shape[:2] == (1125, 2000)
    assert run("show", uid, "-o", tmp_path / "star.pdf").status == 0
    assert (tmp_path / "star.pdf").read_bytes().startswith(b"%PDF")
    said = run("show", uid, "-o", tmp_path / "none" / "star.pdf")
    assert said.status == 1
    assert "cannot be written" in said.err


def test_export_takes_the_geometry_from_the_scan(run, used_home, results_of, tmp_path: Path):
    said = run("export", results_of[2], tmp_path / "out", "--format", "hxn", "--json")
    assert said.status == 0, said.err
    files = [Path(file) for file in said.json]
    assert all(file.is_file() for file in files)
    (config,) = [file for file in files if file.suffix == ".txt"]
    assert "ccd_pixel_um = 55" in config.read_text()
    z = next(line for line in config.read_text().splitlines() if line.startswith("z_m"))
    assert float(z.partition("=")[2]) == pytest.approx(0.5)
    again = run("export", results_of[2], tmp_path / "out", "--format", "hxn")
    assert again.status == 1
    assert "is there already" in again.err


def test_a_failed_reconstruction_ends_with_1_and_is_kept(run, used_home, scan_file, tmp_path):
    content = dict(np.load(scan_file))
    content["scan"] = np.zeros_like(content["scan"])
    np.savez(tmp_path / "still.npz", **content)
    (scan,) = run("import", tmp_path / "still.npz", *GEOMETRY, "--json").json
    said = run("reconstruct", scan["uid"], *QUICK, "--json")
    assert said.status == 1
    assert said.out == ""
    assert "position" in said.err
    assert "not foreseen" not in said.err
    (result,) = run("results", scan["uid"], "--json").json
    assert result["exit_status"] == "fail"
    assert "position" in result["reason"]
    assert result["reason"] in run("results", scan["uid"]).out
    said = run("export", result["uid"], tmp_path, "--format", "npy")
    assert said.status == 1
    assert "has no result" in said.err


def test_queue_lists_and_cancels(run, used_home):
    assert run("queue").out.strip() == "There is no job."
    job = Queue(used_home).submit("some-raw-uid", 7, Recipe())
    said = run("queue", "--json").json
    assert said["worker"] is False
    assert [each["job_uid"] for each in said["jobs"]] == [job.job_uid]
    said = run("queue")
    assert job.job_uid[:8] in said.out
    assert "hxn-ptycho worker" in said.err
    assert "cancelled" in run("queue", "--cancel", job.job_uid[:8]).out
    assert Queue(used_home).find(job.job_uid).state == "cancelled"
    assert run("queue", "--cancel", "zzz").status == 1


def test_worker_ends_when_idle(run, used_home):
    assert run("worker", "--idle-seconds", 0).status == 0


def test_bench_runs_on_a_bare_compute_host():
    """With what the solver and the command line need, and nothing of Bluesky."""
    absent = "bluesky databroker event_model ophyd tiled bluesky_tiled_plugins tenacity matplotlib "
    absent += "IPython httpx jsonschema yaml tifffile numba hdf5plugin pycuda skcuda"
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent.split()!r})); "
        "from hxn_ptycho.cli import main; "
        "main('bench --views 4 --window 32 --probe-modes 2 --iterations 2 --json'.split())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["views"] == 4


def test_bench_profiles_only_gpus(run):
    said = run("bench", "--profile")
    assert said.status == 2
    assert "a profile is of a GPU's kernels, and the device is 'cpu'" in said.err


def test_bench_prints_the_speed(run):
    said = run(
        "bench", "--views", 6, "--window", 32, "--probe-modes", 2, "--iterations", 2, "--json"
    )
    assert said.status == 0, said.err
    measured = said.json
    assert measured["gpx_mode_iterations_per_second"] * measured["seconds_per_iteration"] == (
        pytest.approx(6 * 32**2 * 2 / 1e9, rel=0.01)
    )
