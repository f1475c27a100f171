"""The MPI program as it is launched: real ranks, real files, real deaths."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from hxn_ptycho.home import Home
from hxn_ptycho.prepare import prepare
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.simulate import dataset
from hxn_ptycho.solver.job import ResultData, read_array, read_progress
from hxn_ptycho.solver.metrics import fourier_ring_correlation, illumination, object_error

from ..jobs import make_job, make_scan
from .program import run_solver


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """25 views that 2 and 3 ranks cannot share evenly, and their scan."""
    folder = tmp_path_factory.mktemp("data")
    simulated = dataset(n=48, grid=(5, 5), probe_modes=2, photons=1e5, seed=3)
    return simulated, simulated.scan(folder / "frames.h5", uid="raw", scan_id=4)


def run(scan, home: Home, name: str, ranks: int, **keys):
    """Prepare a job, run it on `ranks` ranks and return its folder and the finished process."""
    folder = home.jobs / name
    recipe = Recipe(**{"probe_modes": 2, "iterations": 20, "ranks": ranks, **keys})
    prepare(scan, recipe, folder, job_uid=name, derived_uid=name, home=home)
    return folder, run_solver(folder, ranks)


@pytest.mark.parametrize("object_modes", [1, 2])
def test_one_two_and_three_ranks_agree(data, home, object_modes):
    _, scan = data
    results = []
    for ranks in (1, 2, 3):
        folder, done = run(
            scan, home, f"r{ranks}", ranks, precision="double", object_modes=object_modes
        )
        assert done.returncode == 0, done.stderr
        results.append(ResultData.read(folder / "result.h5"))
    one = results[0]
    assert one.ranks == 1
    for other in results[1:]:
        for name in ("probe", "object", "probe_power", "error_probe", "error_object"):
            wanted = getattr(one, name)
            found = getattr(other, name)
            assert np.linalg.norm(found - wanted) < 1e-10 * np.linalg.norm(wanted), name
        np.testing.assert_array_equal(other.positions, one.positions)


def test_more_ranks_than_views_work(data, home):
    simulated, scan = data
    two = replace(scan.frames[0], count=2)
    few = replace(
        scan, frames=(two,), positions_m=simulated.positions_m[:2], normalisation=np.ones(2)
    )
    folder, done = run(few, home, "few", 2, iterations=3)
    assert done.returncode == 0, done.stderr
    wanted = ResultData.read(folder / "result.h5")
    assert run_solver(folder, 3).returncode == 0
    found = ResultData.read(folder / "result.h5")
    assert (found.ranks, len(found.positions)) == (3, 2)
    np.testing.assert_allclose(found.probe, wanted.probe, atol=1e-3 * np.abs(wanted.probe).max())


def test_progress_and_result_say_what_the_contract_promises(data, home):
    _, scan = data
    folder, done = run(scan, home, "contract", 2, error_every=6)
    assert done.returncode == 0, done.stderr
    lines, _ = read_progress(folder)
    assert [line["event"] for line in lines] == ["started", *["iteration"] * 20, "finished"]
    started, iterations, finished = lines[0], lines[1:-1], lines[-1]
    assert started["ranks"] == 2
    assert started["views"] == 25
    assert started["memory_bytes"] > 25 * 2 * 48 * 48 * 8
    assert "cpu" in started["device"]
    assert "MPI" in started["communicator"]
    stages = ["imports", "device", "frames", "first_guesses", "waves"]
    assert list(started["startup"]) == stages
    assert all(started["startup"][stage] > 0 for stage in stages)
    assert sum(started["startup"].values()) == pytest.approx(started["startup_seconds"], abs=0.5)
    assert f"imports {started['startup']['imports']:.2f}, device" in done.stderr
    assert [line["iteration"] for line in iterations] == list(range(1, 21))
    assert all(len(line["error_probe"]) == 2 for line in iterations)
    measured = [line["iteration"] for line in iterations if line["error_fourier"] is not None]
    assert measured == [1, 6, 12, 18, 20]
    seconds = [line["seconds"] for line in iterations]
    assert all(np.diff(seconds) > 0)
    assert finished["seconds"] == seconds[-1]
    with h5py.File(folder / "result.h5") as file:
        assert file["object"].shape[1:] == tuple(started["object_shape"])
        assert file["probe"].shape == (2, 48, 48)
        assert file["errors/fourier"].shape == (20,)
        assert np.isnan(file["errors/fourier"][1])
        assert file.attrs["error_fourier"] == finished["error_fourier"]
        assert json.loads(file.attrs["recipe"])["error_every"] == 6
        assert set(file.attrs) >= {
            "pixel_size", "origin_m", "wavelength", "raw_uid", "scan_id", "recipe", "version",
            "device", "communicator", "ranks", "seconds", "seconds_total", "error_fourier",
        }  # fmt: skip
        file.visititems(
            lambda name, item: (
                item.attrs["units"] and item.attrs["axes"]
                if isinstance(item, h5py.Dataset)
                else None
            )
        )


def test_the_published_pair_fits_the_data_and_is_in_its_gauge(data, home):
    """Plain NumPy: error_fourier of the published P and O; photons of the probe; the origin."""
    simulated, scan = data
    folder, done = run(scan, home, "gauge", 2, iterations=60)
    assert done.returncode == 0, done.stderr
    result = ResultData.read(folder / "result.h5")
    counts = np.fft.ifftshift(simulated.frames, axes=(1, 2)).astype(float)
    windows = np.stack([result.object[0, r : r + 48, c : c + 48] for r, c in result.positions])
    spectra = np.fft.fft2(windows[:, None] * result.probe[None], norm="ortho")
    model = np.sqrt(np.sum(np.abs(spectra) ** 2, axis=1))
    error = np.sqrt(np.sum((np.sqrt(counts) - model) ** 2) / counts.sum())
    assert result.error_fourier == pytest.approx(error, rel=1e-3)
    photons = np.percentile(counts.sum(axis=(1, 2)), 99)
    assert np.sum(np.abs(result.probe) ** 2) == pytest.approx(photons, rel=1e-4)
    overlap = result.probe.reshape(2, -1) @ result.probe.reshape(2, -1).conj().T
    assert abs(overlap[0, 1]) < 1e-4 * abs(overlap[0, 0])
    centres = np.array(result.origin_m) + np.array(result.pixel_size) * (result.positions + 24)
    np.testing.assert_allclose(centres, simulated.positions_m, atol=0.51 * result.pixel_size[0])


def test_single_and_double_precision_agree(data, home):
    _, scan = data
    results = []
    for precision in ("single", "double"):
        folder, done = run(scan, home, precision, 1, iterations=50, precision=precision)
        assert done.returncode == 0, done.stderr
        results.append(ResultData.read(folder / "result.h5"))
    assert results[0].object.dtype == np.complex64
    assert results[1].object.dtype == np.complex128
    assert results[0].error_fourier == pytest.approx(results[1].error_fourier, rel=0.01)
    assert object_error(results[1].object[0], results[0].object[0]) < 0.02
    _, correlation = fourier_ring_correlation(results[0].object[0], results[1].object[0])
    assert correlation.min() > 0.99


def test_a_checkpoint_starts_another_run_where_the_first_was(data, home):
    _, scan = data
    folder, _ = run(scan, home, "first", 1, iterations=40, checkpoint_every=40)
    checkpoint = str(folder / "checkpoint.h5")
    again, done = run(
        scan, home, "again", 1, iterations=1, probe=checkpoint, object=checkpoint, algorithm="ER"
    )
    assert done.returncode == 0, done.stderr
    cold, _ = run(scan, home, "cold", 1, iterations=1, algorithm="ER")
    first, again, cold = (ResultData.read(f / "result.h5") for f in (folder, again, cold))
    # One cautious step from there fits no worse and stays near; one from the start is far off.
    assert again.error_fourier <= 1.02 * first.error_fourier_curve[-1]
    light = illumination(first.probe, first.positions, first.object.shape[1:])
    lit = light > 0.1 * light.max()
    near, far = (object_error(first.object[0], r.object[0], lit, shift=True) for r in (again, cold))
    assert near < 0.7 * far


def test_a_rank_that_cannot_read_ends_all_with_its_reason(data, home):
    _, scan = data
    folder, _ = run(scan, home, "missing", 1, iterations=1)
    job = json.loads((folder / "job.json").read_text())
    job["frames"][0]["file"] = "/nowhere/frames.h5"
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "progress.jsonl").unlink()
    (folder / "result.h5").unlink()
    done = run_solver(folder, 2)
    assert done.returncode != 0
    failed = [line for line in read_progress(folder)[0] if line["event"] == "failed"]
    assert failed
    assert "/nowhere/frames.h5 is missing" in failed[0]["reason"]
    assert "HXN_PTYCHO_ROOTS" in failed[0]["hint"]
    assert failed[0]["rank"] in (0, 1)
    assert not (folder / "result.h5").exists()


def test_a_folder_without_a_job_is_refused(tmp_path):
    done = run_solver(tmp_path, 1)
    assert done.returncode != 0
    assert "is not a job folder" in done.stderr


@pytest.mark.parametrize("binning", [1, 2])
def test_the_published_probe_is_that_of_the_beam(home: Home, binning: int) -> None:
    """Neither probe nor object is ever updated: what comes out is what was put in."""
    folder = make_job(
        home,
        make_scan(home.data, n=64),
        binning=binning,
        probe="zone-plate",
        zone_plate={
            "diameter": 160e-6, "outer_zone_width": 80e-9, "defocus": 60e-6,
        },
        iterations=2, probe_start=2, object_start=2, centre_probe=False, precision="double",
    )  # fmt: skip
    done = run_solver(folder, 1)
    assert done.returncode == 0, done.stderr
    given, _ = read_array("start.h5:/probe", folder)
    published = ResultData.read(folder / "result.h5").probe[0]
    likeness = abs(np.vdot(given[0], published))
    assert likeness == pytest.approx(np.linalg.norm(given[0]) * np.linalg.norm(published))
