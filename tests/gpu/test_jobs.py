"""Whole jobs on a GPU as users launch them, against the CPU device."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hxn_ptycho.home import Home
from hxn_ptycho.launch import find_mpiexec
from hxn_ptycho.prepare import prepare
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.simulate import dataset
from hxn_ptycho.solver.job import ResultData, read_progress
from hxn_ptycho.solver.metrics import fourier_ring_correlation, illumination, object_error

from ..solver.program import run_solver
from ..solver.test_truth import optics


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home").make()


def solve(data, home: Home, name: str, ranks: int = 1, **keys):
    """Run a job of simulated data; return its result and its progress lines by event."""
    folder = home.jobs / name
    scan = data.scan(home.data / f"{name}.h5")
    recipe = Recipe(**{"ranks": ranks, "iterations": 50, **keys})
    prepare(scan, recipe, folder, job_uid=name, derived_uid=name, home=home)
    done = run_solver(folder, ranks)
    assert done.returncode == 0, done.stderr
    lines: dict[str, list[dict]] = {}
    for line in read_progress(folder)[0]:
        lines.setdefault(line["event"], []).append(line)
    return ResultData.read(folder / "result.h5"), lines


def agree(one: ResultData, other: ResultData) -> None:
    """The misfit within 1 %, ring correlation of the well-lit middle above 0.99."""
    assert one.error_fourier == pytest.approx(other.error_fourier, rel=0.01)
    light = illumination(one.probe, one.positions, one.object.shape[1:])
    rows, columns = np.nonzero(light > 0.3 * light.max())
    middle_row, middle_column = (int(np.median(a)) for a in (rows, columns))
    half = min(np.ptp(rows), np.ptp(columns)) // 3
    part = (
        slice(middle_row - half, middle_row + half),
        slice(middle_column - half, middle_column + half),
    )
    a, b = one.object[0][part], other.object[0][part]
    _, correlation = fourier_ring_correlation(a, b)
    assert correlation.min() > 0.99
    assert object_error(a, b) < 0.02


@pytest.mark.parametrize(
    ("n", "keys"),
    [
        (96, {"probe_modes": 3}),
        (96, {"probe_modes": 2, "algorithm": "RAAR", "beta": 0.75, "update_order": "OP"}),
        (96, {"probe_modes": 2, "precision": "double", "iterations": 20}),
        (94, {"probe_modes": 2, "fft_window": "exact"}),
        (94, {"probe_modes": 2, "fft_window": "fast"}),
        (64, {"probe_modes": 1, "object_modes": 2, "object_amplitude": (0.0, 1.2)}),
    ],
)
def test_gpu_and_cpu_show_the_same(home, n, keys):
    data = dataset(n=n, grid=(12, 12), probe_modes=2, photons=1e6, step_px=6)
    keys = {**optics(data), **keys}
    on_cpu, _ = solve(data, home, "cpu", device="cpu", **keys)
    on_gpu, lines = solve(data, home, "gpu", device="cuda", **keys)
    assert "cuda" in lines["started"][0]["device"]
    fused = (n == 96 and keys.get("precision") != "double") or keys.get("fft_window") == "fast"
    assert ("fused" in on_gpu.device) == fused
    agree(on_cpu, on_gpu)


def test_two_ranks_agree_with_one(home):
    """On as many GPUs as there are; two ranks may share one."""
    data = dataset(n=64, grid=(9, 9), probe_modes=2, photons=1e6, step_px=6)
    keys = {**optics(data), "device": "cuda", "probe_modes": 2}
    one, _ = solve(data, home, "one", **keys)
    two, lines = solve(data, home, "two", ranks=2, **keys)
    assert lines["started"][0]["ranks"] == 2
    agree(one, two)


def test_progress_says_where_the_start_went_and_what_it_takes(home):
    data = dataset(n=64, grid=(9, 9), probe_modes=2)
    _, lines = solve(data, home, "job", device="cuda", probe_modes=2, iterations=5)
    started, device = lines["started"][0], lines["device"][0]
    assert set(started["startup"]) == {"imports", "device", "frames", "first_guesses", "waves"}
    assert sum(started["startup"].values()) == pytest.approx(started["startup_seconds"], abs=0.5)
    assert "NVIDIA" in device["gpu"]
    assert "fused" in device["way"]
    assert device["estimated_bytes"] > 81 * 64 * 64 * 2 * 8


def test_a_gpu_opened_ahead_does_the_job_that_comes(home):
    """As the worker starts it: the GPU is opened while the scan is still read."""
    folder = home.jobs / "late"
    folder.mkdir(parents=True)
    command = [
        *find_mpiexec("").command(1), sys.executable, "-m", "hxn_ptycho.solver", str(folder),
        "--await-job", "--device", "cuda",
    ]  # fmt: skip
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        scan = dataset(n=64, grid=(6, 6), probe_modes=1).scan(home.data / "late.h5")
        recipe = Recipe(device="cuda", ranks=1, iterations=3)
        prepare(scan, recipe, folder, job_uid="late", derived_uid="late", home=home)
        assert program.wait(120) == 0
    finally:
        program.kill()
    assert "fused" in ResultData.read(folder / "result.h5").device
