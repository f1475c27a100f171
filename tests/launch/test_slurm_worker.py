"""The whole way through a real Slurm: from the queue to the published result."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from hxn_ptycho.catalog import Catalogs, open_catalog
from hxn_ptycho.home import HOME_VARIABLE, find_home
from hxn_ptycho.queue import Queue
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.results import results
from hxn_ptycho.worker import Worker

from ..scans import measure
from ..waiting import until
from .processes import iterating
from .slurm import Cluster


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogs]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(tmp_path_factory.mktemp("home")))
        home = find_home().make()
        home.config_file.write_text('[slurm]\ntasks = 2\ntime_limit = "5"\n')
        yield open_catalog(home)


def test_a_queued_scan_is_reconstructed_by_slurm(cluster: Cluster, catalogs: Catalogs) -> None:
    scan = measure(catalogs)
    with Queue(catalogs.home) as queue:
        job = queue.submit(*scan, Recipe(iterations=5))
        assert Worker(catalogs.home).run(until_idle_seconds=0) == 1
        assert queue.find(job.job_uid).state == "done", queue.find(job.job_uid).reason
    (result,) = results(uid=job.derived_uid, catalogs=catalogs)
    assert (result.exit_status, result.recipe.ranks, result.recipe.device) == ("success", 2, "cpu")
    log = (catalogs.home.jobs / job.job_uid / "solver.log").read_text()
    assert "rank 0 of 2" in log


def test_jobs_wait_in_slurm_s_queue_side_by_side_and_can_be_cancelled(
    cluster: Cluster, catalogs: Catalogs
) -> None:
    """Two of two ranks fill the node's four cores; one waits there, and the queue says so."""
    scan = measure(catalogs)
    worker = Worker(catalogs.home)
    with Queue(catalogs.home) as queue:
        long = Recipe(iterations=1_000_000, algorithm="ER")  # which does not blow up
        jobs = [queue.submit(*scan, long) for _ in range(3)]
        folders = [catalogs.home.jobs / job.job_uid for job in jobs]
        thread = threading.Thread(target=worker.run, args=(0,))
        thread.start()
        try:
            until(lambda: sum(map(iterating, folders)) == 2, "two to iterate", 120)
            (waiting,) = (
                job for job, folder in zip(jobs, folders, strict=True) if not iterating(folder)
            )
            assert "waits in Slurm's queue" in queue.find(waiting.job_uid).reason
            for job in reversed(jobs):
                queue.cancel(job.job_uid)
            thread.join(120)
        finally:
            worker.stop()
            thread.join(60)
        assert [queue.find(job.job_uid).state for job in jobs] == ["cancelled"] * 3
    found = [results(uid=job.derived_uid, catalogs=catalogs)[0].exit_status for job in jobs]
    assert found == ["abort"] * 3
    assert not cluster.ask("squeue", "--noheader").strip()
