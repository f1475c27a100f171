"""The devices of the EPICS profile, and what a RunEngine emits that runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bluesky import RunEngine
from bluesky.preprocessors import SupplementalData
from ophyd.signal import EpicsSignalBase

from hxn_ptycho.beamline import load_config
from hxn_ptycho.epics import prefixes
from hxn_ptycho.epics.connect import check_control_layer, connect
from hxn_ptycho.epics.detector import AreaDetector
from hxn_ptycho.epics.motors import Monochromator, Stage
from hxn_ptycho.epics.panda import PandA
from hxn_ptycho.epics.scaler import Scaler
from hxn_ptycho.fly.plans import fly2dpd

from ..simulate.station import STEP_UM, Documents, while_flying


@dataclass
class Beamline:
    """Devices, their RunEngine, and the documents that it emitted."""

    folder: Path
    zpssx: Stage
    zpssy: Stage
    zpsth: Stage
    dcm: Monochromator
    merlin1: AreaDetector
    eiger1: AreaDetector
    sclr1: Scaler
    panda1: PandA
    RE: RunEngine = field(default_factory=lambda: RunEngine({}))
    documents: Documents = field(default_factory=list)

    @classmethod
    def connected(cls, folder: Path) -> Beamline:
        check_control_layer()
        EpicsSignalBase.set_defaults(timeout=10)  # as the profile does
        x, y, theta = (Stage(prefixes.MOTORS[n], name=n) for n in ("zpssx", "zpssy", "zpsth"))
        motors = load_config().motors
        encoders = {s: (motors[s.name].encoder, motors[s.name].scale_um) for s in (x, y)}
        made = cls(
            folder,
            x,
            y,
            theta,
            Monochromator(prefixes.MONOCHROMATOR, name="dcm"),
            AreaDetector(prefixes.MERLIN, name="merlin1", folder=folder, distance_m=0.5),
            AreaDetector(prefixes.EIGER, name="eiger1", folder=folder, distance_m=2.05),
            Scaler(prefixes.SCALER, name="sclr1"),
            PandA(prefixes.PANDA, name="panda1", folder=folder, encoders=encoders),
        )
        made.connect()
        return made

    def connect(self) -> None:
        """Wait until all PVs are there."""
        everything = (self.zpssx, self.zpssy, self.zpsth, self.dcm)
        connect(
            *everything, self.merlin1, self.eiger1, self.sclr1, self.panda1, timeout=60
        )  # fmt: skip

    def renew(self) -> None:
        """Have a RunEngine without history."""
        self.RE, self.documents = RunEngine({}), []
        baseline = [self.zpssx, self.zpssy, self.zpsth, self.dcm]
        self.RE.preprocessors.append(SupplementalData(baseline=baseline))
        self.RE.subscribe(lambda name, document: self.documents.append((name, document)))

    def check_idle(self) -> None:
        """Assert that nothing is staged, armed or captured, and all motors are back."""
        assert self.panda1.active.get() == "OFF"
        assert self.panda1.data.capturing.get() == "OFF"
        assert self.panda1.compare.enable.get() == "ZERO"
        for detector in (self.merlin1, self.eiger1):
            assert detector.cam.acquire.get() == 0
            assert detector.hdf5.capture.get() == 0
            assert detector.cam.trigger_mode.get(as_string=True) == "Internal"
            assert detector.cam.num_images.get() == 1
            assert not detector.hdf5.is_open
        assert (self.zpssx.position, self.zpssy.position) == pytest.approx((0, 0))
        assert self.zpssx.velocity.get() == 200

    def plan(self, n1: int = 6, n2: int = 5, exposure: float = 0.004, **more: Any) -> Any:
        """Return a fly scan of n2 lines of n1 frames, 70 nm apart."""
        x, y = STEP_UM / 2 * (n1 - 1), STEP_UM / 2 * (n2 - 1)
        dets = more.pop("dets", [self.merlin1])
        return fly2dpd(
            dets, self.zpssx, -x, x, n1, self.zpssy, -y, y, n2, exposure,
            dead_time=0.001, flyer=self.panda1, **more,
        )  # fmt: skip

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the documents of one kind."""
        return [document for kind, document in self.documents if kind == name]

    def while_flying(self, after: int, act: Callable[[], None]) -> None:
        """Do `act`, once, when a scan has measured `after` frames."""
        while_flying(self.RE, after, act)
