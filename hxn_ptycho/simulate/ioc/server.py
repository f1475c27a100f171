"""An IOC of the simulated endstation, on loopback."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

from caproto.asyncio.server import Context

from ...beamline import load_config
from ...epics import prefixes
from ..endstation import Endstation
from ..scaler import Scaler
from .detector import Camera, IocEiger, IocMerlin
from .motor import MotorRecord, RecordedStage
from .panda import Box
from .records import Writer
from .scaler import ScalerRecord

LOOPBACK = "127.0.0.1"


class PortError(RuntimeError):
    """A port on which the IOC cannot be found."""


class _Context(Context):
    """A server without beacons: nobody need hear them, and where nobody does they are errors."""

    async def broadcast_beacon_loop(self) -> None:
        """Send none."""


class Ioc:
    """The endstation's PVs.

    Parameters
    ----------
    pixels : int
        Rows, and columns, of the Merlin; the Eiger has 128.
    pace, seed
        As for `Endstation`.
    """

    def __init__(self, *, pixels: int = 128, pace: float = 1.0, seed: int | None = None) -> None:
        self.writer = Writer()
        self.pvdb: dict[str, Any] = {}
        beam = threading.RLock()
        shared: dict[str, Any] = {"beam": beam, "writer": self.writer}
        stages = {
            name: self._motor(prefixes.MOTORS[name], name, egu="um", limits=(-15, 15))
            for name in ("zpssx", "zpssy", "zpssz")
        }
        angles = {
            name: self._motor(prefixes.MOTORS[name], name, egu="deg", limits=(-95, 95), speed=10)
            for name in ("zpsth", "dsth")
        }
        bragg = self._motor(
            f"{prefixes.MONOCHROMATOR}Bragg}}Mtr", "dcm_th",
            egu="deg", speed=1.0, limits=(3, 40), init_pos=9.4831,
        )  # fmt: skip
        self.endstation = Endstation(
            bragg, stages["zpssx"], stages["zpssy"], angles["zpsth"], pace=pace, seed=seed
        )
        light: dict[str, Any] = {"endstation": self.endstation, "folder": "/"}
        merlin = IocMerlin(name="merlin1", distance_m=0.5, pixels=pixels, **light)
        eiger = IocEiger(name="eiger1", distance_m=2.05, **light)
        cameras = [
            Camera(prefixes.MERLIN, detector=merlin, model="Merlin", **shared),
            Camera(prefixes.EIGER, detector=eiger, model="Eiger", **shared),
        ]
        motors = load_config().motors
        encoders = {
            stage: (str(motors[name].encoder), float(motors[name].scale_um or 0))
            for name, stage in stages.items()
        }
        box = Box(
            prefixes.PANDA,
            endstation=self.endstation,
            encoders=encoders,
            cameras=cameras,
            **shared,
        )
        scaler = Scaler(name="sclr1", endstation=self.endstation)
        counter = ScalerRecord(prefixes.SCALER, scaler=scaler, **shared)
        for records in (*(each.records for each in cameras), box.records, counter.records):
            self.pvdb |= records.pvdb

    def _motor(self, prefix: str, name: str, **kwargs: Any) -> RecordedStage:
        stage = RecordedStage(name=name, **kwargs)
        self.pvdb |= MotorRecord(prefix, stage=stage, writer=self.writer).pvdb
        return stage


def serve(ioc: Ioc, port: int, ready: Callable[[int], None]) -> None:
    """Serve the PVs on loopback until SIGTERM or SIGINT.

    Parameters
    ----------
    ioc : Ioc
    port : int
        EPICS_CA_SERVER_PORT of the clients; 0: a free one.
    ready : callable
        Called with the port when clients may come.

    Raises
    ------
    PortError
        If somebody else listens there.
    """
    port = port or _free_port()
    _check_free(port)
    # Nothing is heard, or told, outside this machine.
    os.environ |= {
        "EPICS_CA_SERVER_PORT": str(port),
        "EPICS_CAS_SERVER_PORT": str(port),
        "EPICS_CAS_INTF_ADDR_LIST": LOOPBACK,
        "EPICS_CAS_BEACON_ADDR_LIST": LOOPBACK,
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
    }
    asyncio.run(_serve(ioc, port, ready))


async def _serve(ioc: Ioc, port: int, ready: Callable[[int], None]) -> None:
    async def begun(async_lib: Any) -> None:
        ready(port)
        await ioc.writer.run()

    running = asyncio.ensure_future(_Context(ioc.pvdb, [LOOPBACK]).run(startup_hook=begun))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    await running


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((LOOPBACK, 0))
        return int(udp.getsockname()[1])


def _check_free(port: int) -> None:
    """Refuse a port where somebody listens; caproto would share it, and clients find either."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            udp.bind((LOOPBACK, port))
        except OSError as error:
            raise PortError(
                f"port {port} cannot be had ({error.strerror}): does another IOC run? --port takes "
                "another, which clients must have as EPICS_CA_SERVER_PORT"
            ) from error
