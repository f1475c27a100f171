"""Where one rank computes: chosen by the recipe, opened before frames are read, closed last."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import replace

import pytest

from hxn_ptycho.prepare import prepare
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.simulate import dataset
from hxn_ptycho.solver import reconstruct as module
from hxn_ptycho.solver.backend import CpuBackend, open_backend
from hxn_ptycho.solver.communicator import Alone
from hxn_ptycho.solver.job import Inputs, Job, JobError, ResultData, read_progress

from .program import run_solver


@pytest.fixture
def folder(tmp_path, home):
    data = dataset(n=32, grid=(3, 3), photons=1e5)
    scan = data.scan(tmp_path / "frames.h5", uid="raw", scan_id=4)
    prepare(
        scan, Recipe(iterations=3, ranks=1), home.jobs / "job",
        job_uid="job", derived_uid="derived", home=home,
    )  # fmt: skip
    return home.jobs / "job"


class Watched(CpuBackend):
    """The CPU, and what was asked of it in which order."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.calls = ["open"]

    def preparation(self, plan):
        self.calls.append("preparation")
        return super().preparation(plan)

    def device(self, views, probe, obj):
        self.calls.append("device")
        return super().device(views, probe, obj)

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def opened(monkeypatch):
    """The backends opened."""
    opened = []

    def watch(job, inputs, communicator):
        assert (communicator.rank, communicator.size) == (0, 1)
        opened.append(Watched(job))
        return opened[-1]

    monkeypatch.setattr(module, "open_backend", watch)
    return opened


def test_it_is_opened_first_and_closed_last(folder, opened):
    path = module.reconstruct(folder, Alone(), time.perf_counter())
    (backend,) = opened
    assert backend.calls == ["open", "preparation", "device", "close"]
    assert len(ResultData.read(path).positions) == 9


def test_it_is_closed_when_the_job_fails(folder, opened):
    job = Job.read(folder)
    block = replace(job.frames[0], file="/nowhere/frames.h5")
    replace(job, frames=(block,)).write(folder)
    with pytest.raises(JobError, match=r"/nowhere/frames\.h5 is missing"):
        module.reconstruct(folder, Alone(), time.perf_counter())
    assert opened[0].calls == ["open", "close"]


def test_the_start_is_accounted_for(folder):
    begun = time.perf_counter() - 5
    module.reconstruct(folder, Alone(), begun)
    started = read_progress(folder)[0][0]
    startup = started["startup"]
    assert list(startup) == ["imports", "device", "frames", "first_guesses", "waves"]
    assert min(startup.values()) > 0
    assert 5 < startup["imports"] < 6
    # What is left after the last stage is a line of text.
    assert 0 <= started["startup_seconds"] - sum(startup.values()) < 0.5


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_cpu_is_what_the_recipe_names(folder, device):
    job = Job.read(folder)
    backend = open_backend(
        replace(job, recipe={**job.recipe, "device": device}), Inputs.read(folder), Alone()
    )
    assert backend.name == "cpu"


def test_a_device_that_does_not_exist_is_refused(folder):
    job = Job.read(folder)
    other = replace(job, recipe={**job.recipe, "device": "abacus"})
    with pytest.raises(JobError, match='device="abacus" is not in this version') as caught:
        open_backend(other, Inputs.read(folder), Alone())
    assert "cpu" in caught.value.hint


@pytest.mark.skipif(
    importlib.util.find_spec("pycuda") is not None, reason="PyCUDA is here: tests/gpu says more"
)
def test_a_gpu_job_on_a_host_without_pycuda_says_what_to_do(folder):
    """As when a folder is carried to another host."""
    job = Job.read(folder)
    replace(job, recipe={**job.recipe, "device": "cuda"}).write(folder)
    done = run_solver(folder, 1)
    assert done.returncode != 0
    (line,) = (line for line in read_progress(folder)[0] if line["event"] == "failed")
    assert "the GPU needs PyCUDA" in line["reason"]
    assert 'pip install "hxn_ptycho[gpu]"' in line["hint"]
    assert 'device = "cpu"' in line["hint"]
