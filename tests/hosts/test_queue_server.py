"""A plan that bluesky-queueserver's manager runs is reconstructed, as one from the prompt."""

from __future__ import annotations

from hxn_ptycho.catalog import open_catalog
from hxn_ptycho.queue import Queue
from hxn_ptycho.results import results

from ..waiting import until
from .queue_server import QueueServer

QUICK = {"ptycho": {"iterations": 3, "probe_modes": 1, "ranks": 1}}
SQUARE = (-0.15, 0.15, 5)


def test_plans_of_the_queue_are_reconstructed(queue_server: QueueServer) -> None:
    area = [["merlin1"], "zpssx", *SQUARE, "zpssy", *SQUARE, 0.005]
    ran = [
        queue_server.run("fly2d", *area, md=QUICK),
        queue_server.run(
            "scan_and_fly", ["eiger1"], *SQUARE, *SQUARE, 0.005, flying_zebra="zebra1", md=QUICK
        ),
    ]
    queue, catalogs = Queue(queue_server.home), open_catalog(queue_server.home)
    for item in ran:
        assert item["result"]["exit_status"] == "completed", item["result"]
        (uid,) = item["result"]["run_uids"]
        assert catalogs.raw[uid].start["plan_name"] == item["name"]
        (job,) = queue.of_run(uid)
        ended = until(
            lambda uid=job.job_uid: queue.find(uid).ended and queue.find(uid), "a job", 240
        )
        assert ended.state == "done", ended.reason
        (result,) = results(raw_uid=uid, catalogs=catalogs)
        assert result.exit_status == "success"
