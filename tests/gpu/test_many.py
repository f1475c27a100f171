"""One job on several GPUs: the same result, one GPU a rank, and no rank left waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from hxn_ptycho.home import Home
from hxn_ptycho.launch import gpus, launch
from hxn_ptycho.prepare import prepare
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.simulate import dataset
from hxn_ptycho.solver.job import ResultData, read_array, read_progress

from ..launch.processes import iterating, ranks_of
from ..waiting import until
from .test_jobs import agree

MANY = len(gpus())

pytestmark = pytest.mark.skipif(MANY < 2, reason=f"{MANY} GPUs; these need 2")
two_and_four = pytest.mark.parametrize(
    "ranks",
    [2, pytest.param(4, marks=pytest.mark.skipif(MANY < 4, reason=f"{MANY} GPUs, not 4"))],
)


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home").make()


@pytest.fixture(scope="module")
def data():
    """121 views: neither 2 nor 4 ranks can share them evenly."""
    return dataset(n=64, grid=(11, 11), probe_modes=2, photons=1e6, step_px=5)


@pytest.fixture(scope="module")
def tall():
    """203 views in 29 rows: most rows of the object are seen by one rank of four only."""
    return dataset(n=64, grid=(29, 7), probe_modes=2, photons=1e6, step_px=14)


def make(data, home: Home, views: int | None = None, **keys):
    """Return a job folder for one rank; it can be run on more."""
    name = f"job{len(list(home.jobs.iterdir()))}"
    scan = data.scan(home.data / f"{name}.h5")
    if views is not None:
        scan = replace(
            scan, frames=(replace(scan.frames[0], count=views),),
            positions_m=scan.positions_m[:views], normalisation=scan.normalisation[:views],
        )  # fmt: skip
    folder = home.jobs / name
    recipe = Recipe(**{"device": "cuda", "ranks": 1, "probe_modes": 2, "iterations": 20, **keys})
    prepare(scan, recipe, folder, job_uid=name, derived_uid=name, home=home)
    return folder


def run(folder, ranks: int, *options: str) -> tuple[ResultData, dict[str, list[dict]]]:
    program = launch(folder, ranks, options=options)
    assert program.wait(120) == 0, (folder / "solver.log").read_text()
    assert not program.reason
    lines: dict[str, list[dict]] = {}
    for line in read_progress(folder)[0]:
        lines.setdefault(line["event"], []).append(line)
    return ResultData.read(folder / "result.h5"), lines


def distance(found, wanted) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@two_and_four
@pytest.mark.parametrize(("precision", "tolerance"), [("double", 1e-10), ("single", 1e-4)])
@pytest.mark.parametrize("way", ["nccl", "host"])
def test_ranks_agree_with_one(home, data, ranks, precision, tolerance, way):
    folder = make(data, home, precision=precision, average_start=1.0)
    one, _ = run(folder, 1)
    several, lines = run(folder, ranks, "--sums", way)
    assert (one.ranks, several.ranks) == (1, ranks)
    assert several.communicator.startswith("NCCL" if way == "nccl" else "MPI through page-locked")
    assert lines["started"][0]["communicator"] == several.communicator
    for name in ("probe", "object", "error_probe", "error_object"):
        assert distance(getattr(several, name), getattr(one, name)) < tolerance, name
    np.testing.assert_array_equal(several.positions, one.positions)


@two_and_four
@pytest.mark.parametrize(
    ("keys", "tolerance"),
    [
        ({"precision": "double"}, 1e-10),
        ({"precision": "double", "object_modes": 2, "update_order": "OP"}, 1e-10),
        ({"precision": "double", "object_amplitude": (0.0, 1.1), "checkpoint_every": 7}, 1e-10),
        ({}, 1e-4),
    ],
)
def test_only_shared_rows_of_the_object_travel(home, tall, ranks, keys, tolerance):
    """The probe begins beside the middle, so that all is moved; means, checkpoints are whole."""
    start = home.data / "beside.npy"
    np.save(start, np.roll(tall.probe, (4, -3), (1, 2)))
    folder = make(tall, home, probe=str(start), average_start=0.5, **keys)
    one, _ = run(folder, 1)
    checkpoint = None
    if "checkpoint_every" in keys:
        checkpoint, _ = read_array("checkpoint.h5:/object", folder)
    several, lines = run(folder, ranks)
    assert "rows are added up, others one rank sees" in lines["device"][0]["object_sums"]
    for name in ("probe", "object", "error_probe", "error_object"):
        assert distance(getattr(several, name), getattr(one, name)) < tolerance, name
    assert several.error_fourier == pytest.approx(one.error_fourier, rel=tolerance)
    if checkpoint is not None:
        again, _ = read_array("checkpoint.h5:/object", folder)
        assert distance(again, checkpoint) < tolerance


@two_and_four
def test_else_all_rows_travel_and_it_says_why(home, data, ranks):
    folder = make(data, home, iterations=2)
    _, lines = run(folder, ranks)
    assert lines["device"][0]["object_sums"].startswith("all rows are added up: ")


@two_and_four
@pytest.mark.parametrize(
    "keys", [{}, {"storage": "half"}, {"object_modes": 2}, {"algorithm": "RAAR"}]
)
def test_after_fifty_iterations_the_picture_is_the_same(home, data, ranks, keys):
    folder = make(data, home, iterations=50, **keys)
    one, _ = run(folder, 1)
    several, _ = run(folder, ranks)
    agree(one, several)


@two_and_four
def test_ranks_without_a_view_add_nothing(home, data, ranks):
    folder = make(data, home, views=ranks - 1, precision="double", iterations=5)
    one, _ = run(folder, 1)
    several, _ = run(folder, ranks)
    assert several.ranks == ranks
    assert distance(several.probe, one.probe) < 1e-10


@two_and_four
def test_nccl_is_chosen_where_each_has_a_gpu_and_the_log_says_why(home, data, ranks):
    folder = make(data, home)
    result, _ = run(folder, ranks)
    assert result.communicator.startswith("NCCL 2")
    log = (folder / "solver.log").read_text()
    assert f"sums over {ranks} ranks by NCCL" in log
    assert "every rank has a GPU of its own" in log
    assert len({line.split("GPU ")[1][0] for line in log.splitlines() if ": GPU " in line}) == ranks


def test_ranks_that_share_a_gpu_add_up_through_the_host(home, data):
    folder = make(data, home)
    program = launch(folder, 2, environment={"CUDA_VISIBLE_DEVICES": "1"})
    assert program.wait(120) == 0
    assert "no NCCL: ranks 0 and 1 share a GPU" in (folder / "solver.log").read_text()
    program = launch(
        folder, 2, environment={"CUDA_VISIBLE_DEVICES": "1"}, options=("--sums", "nccl")
    )
    assert program.wait(120) != 0
    assert "sums by NCCL are asked for, and ranks 0 and 1 share a GPU" in program.reason


@two_and_four
def test_a_killed_rank_ends_the_job(home, data, ranks):
    folder = make(data, home, iterations=1_000_000)
    program = launch(folder, ranks)
    try:
        until(lambda: iterating(folder), "the first iteration", 60)
        os.kill(ranks_of(folder)[-1], signal.SIGKILL)
        begin = time.monotonic()
        assert program.wait(30) != 0
        assert time.monotonic() - begin < 15
        assert "9" in program.reason  # the signal's number
        until(lambda: not ranks_of(folder), "the end of all ranks", 10)
    finally:
        program.terminate()


_NCCL_FAILS = """
import sys, threading
from hxn_ptycho.solver.communicator import MpiCommunicator
from hxn_ptycho.solver.cuda.adders import NcclAdder
from hxn_ptycho.solver.cuda.gpu import Gpu

def report(rank, error):
    print(f"reported by rank {rank}: {error}", file=sys.stderr, flush=True)

communicator = MpiCommunicator(report)
gpu = Gpu(communicator.local_rank)
adder = NcclAdder(gpu, communicator)
array = gpu.zeros((1000,), "f4")
adder.add_up(array)
gpu.stream.synchronize()
if communicator.rank == 1:  # as a driver or a network would: NCCL finds an error and says it later
    real = adder._nccl
    class Failing:
        def __getattr__(self, name):
            return getattr(real, name)
        def comm_get_async_error(self, comm):
            return int(real.Result.RemoteError)
    adder._nccl = Failing()
else:
    adder.add_up(array)  # waits on the GPU for a rank that does not come
    gpu.stream.synchronize()
threading.Event().wait(60)  # to be ended
"""


def test_what_nccl_reports_later_ends_all_ranks():
    from hxn_ptycho.launch import find_mpiexec

    begin = time.monotonic()
    done = subprocess.run(
        [*find_mpiexec("").command(2), sys.executable, "-c", _NCCL_FAILS],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    assert done.returncode != 0
    assert "reported by rank 1: NCCL failed on rank 1" in done.stderr
    assert "remote process exited" in done.stderr
    assert time.monotonic() - begin < 30


@two_and_four
def test_memory_is_as_expected(home, data, ranks):
    """Within 10 %, what NCCL takes included; a job large enough that there is something to see."""
    scan = data.scan(home.data / "large.h5")
    times = 120  # the same frames again and again
    scan = replace(
        scan, frames=scan.frames * times,
        positions_m=np.tile(scan.positions_m, (times, 1)),
        normalisation=np.tile(scan.normalisation, times),
    )  # fmt: skip
    folder = home.jobs / "large"
    recipe = Recipe(device="cuda", ranks=1, probe_modes=10, iterations=5)
    prepare(scan, recipe, folder, job_uid="large", derived_uid="large", home=home)
    for number in (1, ranks):
        _, lines = run(folder, number)
        expected = lines["device"][0]["estimated_bytes"]
        peak = lines["finished"][0]["peak_device_bytes"]
        assert peak == pytest.approx(expected, rel=0.1), (number, peak, expected)
