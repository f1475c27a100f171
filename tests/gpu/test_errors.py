"""What goes wrong on a GPU host is said in words to act on; each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from hxn_ptycho.home import Home
from hxn_ptycho.prepare import prepare
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.simulate import dataset
from hxn_ptycho.solver.job import read_progress

from ..solver.program import run_solver


@pytest.fixture
def folder(tmp_path) -> Path:
    """A prepared job of a few views on the GPU."""
    home = Home(tmp_path / "home").make()
    scan = dataset(n=64, grid=(4, 4), probe_modes=1).scan(home.data / "frames.h5")
    recipe = Recipe(device="cuda", ranks=1, iterations=3)
    prepare(scan, recipe, home.jobs / "job", job_uid="j", derived_uid="d", home=home)
    return home.jobs / "job"


def failure(folder: Path) -> dict:
    """Run the job, which must fail, and return what it says of that."""
    assert run_solver(folder, 1).returncode != 0
    (line,) = (line for line in read_progress(folder)[0] if line["event"] == "failed")
    return line


def test_no_gpu(folder, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    said = failure(folder)
    assert "GPU" in said["reason"]
    assert 'device = "cpu"' in said["hint"]


def test_too_little_memory_is_known_before_any_work(folder):
    job = json.loads((folder / "job.json").read_text())
    job["recipe"]["probe_modes"] = 16
    # As many views as no GPU holds; none of them is read.
    job["frames"] = job["frames"] * 25_000
    (folder / "job.json").write_text(json.dumps(job))
    with h5py.File(folder / "input.h5", "a") as file:
        positions, ones = file["positions_m"][()], file["normalisation"][()]
        del file["positions_m"], file["normalisation"]
        file["positions_m"] = np.tile(positions, (25_000, 1))
        file["normalisation"] = np.tile(ones, 25_000)
    said = failure(folder)
    assert "GB free of" in said["reason"]
    assert "exit waves 210" in said["reason"]
    assert "fewer modes" in said["hint"]


def test_no_kernels_and_no_nvcc(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("HXN_PTYCHO_KERNELS", str(tmp_path / "empty"))
    monkeypatch.setenv("CUDA_HOME", "/nowhere")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if Path("/usr/local/cuda/bin/nvcc").exists():
        pytest.skip("nvcc is found here wherever PATH leads")
    said = failure(folder)
    assert "no nvcc" in said["reason"]
    assert "build-kernels" in said["hint"]


def test_kernels_of_another_gpu(gpu, monkeypatch, tmp_path):
    """As with a driver that is too old for the cubin."""
    from hxn_ptycho.solver import build
    from hxn_ptycho.solver.cuda import gpu as module
    from hxn_ptycho.solver.job import JobError

    nvcc = build.find_nvcc()
    if nvcc is None:
        pytest.skip("no nvcc")
    other = "sm_75" if gpu.arch != "sm_75" else "sm_80"
    made = build.compile_unit(build.frames(), other, nvcc, tmp_path)
    monkeypatch.setattr(module, "ensure", lambda unit, arch: made.path)
    with pytest.raises(JobError, match="cannot be loaded") as raised:
        module.Module(build.frames(), gpu)
    assert "update the NVIDIA driver" in raised.value.hint


def test_memory_that_runs_out_while_working(gpu):
    from hxn_ptycho.solver.job import JobError

    with pytest.raises(JobError, match="GB more are needed"):
        gpu.empty((2**42,), np.uint8)


def test_a_second_process_compiles_nothing(tmp_path):
    """The cache: the same kernels, another process, and no nvcc to compile them with."""
    code = (
        "from hxn_ptycho.solver.build import ensure, frames; import os;"
        "from hxn_ptycho.solver.cuda.gpu import Gpu;"
        "gpu = Gpu(); gpu.module(frames()); gpu.close()"
    )
    cache = {**os.environ, "HXN_PTYCHO_KERNELS": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=cache, check=True)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.cubin")}
    assert made
    subprocess.run([sys.executable, "-c", code], env={**cache, "NVCC": "/bin/false"}, check=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.cubin")} == made
