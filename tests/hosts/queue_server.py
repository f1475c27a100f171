"""A bluesky-queueserver of our own: its manager with the beamline's profile, and a Redis for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bluesky_queueserver.manager.comms import ZMQCommSendThreads

from hxn_ptycho.home import HOME_VARIABLE, Home

from ..waiting import until
from . import page
from .programs import Programs, free_ports


class QueueServer:
    """Starts both, on free ports of this host only.

    Parameters
    ----------
    programs : Programs
        Which end them.
    folder : Path
        Where they keep everything.
    home : Home
        Of the profile.
    """

    def __init__(self, programs: Programs, folder: Path, home: Home) -> None:
        self.home = home
        redis, control, info = free_ports(3)
        self.redis = programs.start(
            *("redis-server", "--port", redis, "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--dir", folder),
        )
        self.redis.says("Ready to accept connections")
        address = f"tcp://127.0.0.1:{control}"
        self.manager = programs.start(
            *page.command("start-re-manager"),
            f"--existing-plans-devices={folder / 'existing.yaml'}",
            f"--redis-addr=127.0.0.1:{redis}",
            f"--zmq-control-addr={address}",
            f"--zmq-info-addr=tcp://127.0.0.1:{info}",
            **{HOME_VARIABLE: str(home.root)},
        )
        self.manager.says("ZeroMQ server is waiting")
        self._programs, self._address = programs, address
        self._client = ZMQCommSendThreads(zmq_server_address=address, timeout_recv=60_000)

    @property
    def status(self) -> dict[str, Any]:
        """What the manager says of itself."""
        return self.ask("status")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call its API, and return the answer, which must not be a refusal."""
        answer = self._client.send_message(method=method, params=parameters)
        assert answer.get("success", True), f"{method}: {answer['msg']}"
        return dict(answer)

    def typed(self, containing: str, **more: Any) -> None:
        """Run the ``qserver`` command with this in it; with `more` as kwargs of a small plan."""
        words = page.command("qserver", containing)
        if more:
            item = json.loads(words[-1])
            fewer = [6 if each == 30 else each for each in item["args"]]  # frames a line, lines
            words[-1] = json.dumps({**item, "args": fewer, "kwargs": more})
        program = self._programs.start(*words, QSERVER_ZMQ_CONTROL_ADDRESS=self._address)
        program.says("'success': True")

    def open(self) -> None:
        """Open the environment: the profile is run."""
        self.typed("environment open")
        self.manager.says("RE Environment is ready")
        until(lambda: self.status["worker_environment_state"] == "idle", "the environment")

    def add(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Put a plan into the queue."""
        item = {"item_type": "plan", "name": name, "args": list(args), "kwargs": kwargs}
        self.ask("queue_item_add", item=item, user="test", user_group="primary")

    def history(self, count: int) -> list[dict[str, Any]]:
        """Return what was run, once it is so much."""

        def ran() -> list[dict[str, Any]]:
            items = self.ask("history_get")["items"]
            return items if len(items) >= count else []

        return until(ran, f"{count} plans to have run", 120)
