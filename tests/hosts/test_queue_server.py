"""A plan that bluesky-queueserver's manager runs is reconstructed, as one from the prompt."""

from __future__ import annotations

from hxn_ptycho.catalog import open_catalog
from hxn_ptycho.queue import Queue
from hxn_ptycho.results import results

from ..waiting import until
from .queue_server import QueueServer

MD = {"ptycho": {"iterations": 3, "probe_modes": 1, "ranks": 1}}
SQUARE = (-0.15, 0.15, 5)


def test_plans_of_the_queue_are_reconstructed(queue_server: QueueServer) -> None:
    queue_server.typed("queue add plan", md=MD)
    queue_server.add(
        "scan_and_fly", ["eiger1"], *SQUARE, *SQUARE, 0.01, flying_zebra="zebra1", md=MD
    )
    queue_server.typed("queue start")
    queue, catalogs = Queue(queue_server.home), open_catalog(queue_server.home)
    names = []
    for item in queue_server.history(2):
        assert item["result"]["exit_status"] == "completed", item["result"]
        (uid,) = item["result"]["run_uids"]
        names.append(catalogs.raw[uid].start["plan_name"])
        (job,) = queue.of_run(uid)
        ended = until(lambda uid=job.job_uid: (j := queue.find(uid)).ended and j, "a job", 240)
        assert ended.state == "done", ended.reason
        (result,) = results(raw_uid=uid, catalogs=catalogs)
        assert result.exit_status == "success"
    assert names == ["fly2d", "scan_and_fly"]
