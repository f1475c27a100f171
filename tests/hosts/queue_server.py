"""A bluesky-queueserver of our own: its manager with the beamline's profile, and a Redis for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bluesky_queueserver.manager.comms import ZMQCommSendThreads

from hxn_ptycho.home import HOME_VARIABLE, Home

from ..waiting import until
from .programs import BESIDE_PYTHON, Programs, free_ports

STARTUP = Path(__file__).parents[2] / "profile_collection" / "startup"


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
            BESIDE_PYTHON / "start-re-manager",
            f"--startup-dir={STARTUP}",
            f"--existing-plans-devices={folder / 'existing.yaml'}",
            f"--redis-addr=127.0.0.1:{redis}",
            f"--zmq-control-addr={address}",
            f"--zmq-info-addr=tcp://127.0.0.1:{info}",
            "--keep-re",
            **{HOME_VARIABLE: str(home.root)},
        )
        self.manager.says("ZeroMQ server is waiting")
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

    def open(self) -> None:
        """Open the environment: the profile is run."""
        self.ask("environment_open")
        self.manager.says("RE Environment is ready")
        until(lambda: self.status["worker_environment_state"] == "idle", "the environment")

    def run(self, name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Put a plan into the queue, start the queue, and return the history's last item."""
        item = {"item_type": "plan", "name": name, "args": list(args), "kwargs": kwargs}
        who = {"user": "test", "user_group": "primary"}
        uid = self.ask("queue_item_add", item=item, **who)["item"]["item_uid"]
        self.ask("queue_start")

        def found() -> dict[str, Any]:
            items = self.ask("history_get")["items"]
            return next((each for each in items if each["item_uid"] == uid), {})

        return until(found, f"the end of {name}", 120)
