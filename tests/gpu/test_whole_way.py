"""From the catalog to the published result on GPUs, where databroker is on the GPU host too."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("databroker", reason="no databroker on this GPU host")

from hxn_ptycho.catalog import Catalogs, open_catalog
from hxn_ptycho.home import HOME_VARIABLE, find_home
from hxn_ptycho.launch import free_gpus, gpus
from hxn_ptycho.queue import Queue
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.results import results
from hxn_ptycho.solver.job import read_progress
from hxn_ptycho.worker import Worker, reconstruct

from ..launch.processes import environment_of, iterating, ranks_of
from ..scans import measure
from ..waiting import until

MANY = len(gpus())
# Does not blow up, and takes so long an iteration that its progress can be followed.
LONG = Recipe(
    iterations=1_000_000, algorithm="ER", precision="double", probe_modes=8, object_modes=4
)


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogs]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(tmp_path_factory.mktemp("home")))
        yield open_catalog(find_home().make())


@pytest.fixture(scope="module")
def scan(catalogs: Catalogs) -> tuple[str, int]:
    return measure(catalogs, n=64, grid=(9, 9))


def test_by_hand_on_all_gpus_there_are(catalogs: Catalogs, scan: tuple[str, int]) -> None:
    """The ranks are started while the scan is read, and open their GPUs meanwhile."""
    lines: list[dict] = []
    result = reconstruct(scan[0], catalogs=catalogs, progress=lines.append, iterations=20)
    assert (result.exit_status, result.recipe.device) == ("success", "cuda")
    assert result.recipe.ranks == MANY
    (started,) = (line for line in lines if line["event"] == "started")
    assert "fused" in started["device"]
    assert started["communicator"].startswith("NCCL" if MANY > 1 else "none")
    assert result.picture is not None
    assert free_gpus(gpus()) == MANY


@pytest.mark.skipif(MANY < 2, reason=f"{MANY} GPUs; side by side needs 2")
def test_two_small_jobs_run_side_by_side_and_a_large_one_waits(
    catalogs: Catalogs, scan: tuple[str, int]
) -> None:
    small = LONG.merge({"ranks": 1})
    with Queue(catalogs.home) as queue:
        first, second, large = (
            queue.submit(*scan, recipe) for recipe in (small, small, Recipe(iterations=20))
        )
        worker = Worker(catalogs.home)
        thread = threading.Thread(target=worker.run, args=(0,))
        thread.start()
        try:
            folders = [catalogs.home.jobs / job.job_uid for job in (first, second)]
            until(lambda: all(map(iterating, folders)), "both to iterate", 120)
            on = [environment_of(ranks_of(folder)[0])["CUDA_VISIBLE_DEVICES"] for folder in folders]
            assert on[0] != on[1]
            waits = f"waits for {MANY} GPUs: {MANY - 2} of {MANY} are free"
            until(lambda: queue.find(large.job_uid).reason == waits, "the large one to wait")
            queue.cancel(first.job_uid)
            queue.cancel(second.job_uid)
            thread.join(120)
        finally:
            worker.stop()
            thread.join(60)
        after = [queue.find(job.job_uid).state for job in (first, second, large)]
    assert after == ["cancelled", "cancelled", "done"]
    (result,) = results(uid=large.derived_uid, catalogs=catalogs)
    assert result.recipe.ranks == MANY
    log = (catalogs.home.jobs / large.job_uid / "solver.log").read_text()
    assert f"sums over {MANY} ranks by NCCL" in log


@pytest.mark.skipif(MANY < 2, reason=f"{MANY} GPUs; these need 2")
def test_a_rank_killed_on_its_gpu_fails_its_job_with_the_reason(
    catalogs: Catalogs, scan: tuple[str, int]
) -> None:
    with Queue(catalogs.home) as queue:
        job = queue.submit(*scan, LONG)
        worker = Worker(catalogs.home)
        thread = threading.Thread(target=worker.run, args=(0,))
        thread.start()
        try:
            folder = catalogs.home.jobs / job.job_uid
            until(lambda: iterating(folder), "the first iteration", 120)
            os.kill(ranks_of(folder)[-1], signal.SIGKILL)
            thread.join(30)
            assert not thread.is_alive()
        finally:
            worker.stop()
            thread.join(60)
        ended = queue.find(job.job_uid)
    assert ended.state == "failed"
    assert "signal 9" in ended.reason
    assert free_gpus(gpus()) == MANY
    assert not [line for line in read_progress(folder)[0] if line["event"] == "finished"]
