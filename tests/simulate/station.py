"""A small simulated beamline for tests: quick scans of small frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bluesky import RunEngine
from bluesky.preprocessors import SupplementalData

from hxn_ptycho.beamline import load_config
from hxn_ptycho.simulate.endstation import Endstation
from hxn_ptycho.simulate.merlin import Merlin
from hxn_ptycho.simulate.panda import PandA
from hxn_ptycho.simulate.plans import fly2dpd
from hxn_ptycho.simulate.stages import Monochromator, Stage

Documents = list[tuple[str, dict[str, Any]]]


@dataclass
class Station:
    """Devices, their RunEngine, and the documents that it emitted."""

    RE: RunEngine
    zpssx: Stage
    zpssy: Stage
    zpsth: Stage
    dcm: Monochromator
    endstation: Endstation
    merlin1: Merlin
    panda1: PandA
    documents: Documents = field(default_factory=list)

    def plan(self, n1: int = 6, n2: int = 5, exposure: float = 0.004, **more: Any) -> Any:
        """Return a fly scan of n2 lines of n1 frames, 70 nm apart."""
        x, y = 0.035 * (n1 - 1), 0.035 * (n2 - 1)
        return fly2dpd(
            [self.merlin1], self.zpssx, -x, x, n1, self.zpssy, -y, y, n2, exposure,
            dead_time=0.001, flyer=self.panda1, **more,
        )  # fmt: skip

    def fly(self, *args: Any, **more: Any) -> str:
        """Run `plan` and return the run's uid."""
        return self.RE(self.plan(*args, **more))[0]

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the documents of one kind."""
        return [document for kind, document in self.documents if kind == name]

    @property
    def true_path_um(self) -> np.ndarray:
        """Where the stages truly were (N, S, 2) in the last scan."""
        return np.concatenate(self.panda1.true_path_um)

    def while_flying(self, after: int, act: Callable[[], None]) -> None:
        """Do `act`, once, when a scan has measured `after` frames."""
        done = []

        def watch(**progress: Any) -> None:
            if (progress.get("current") or 0) >= after and not done:
                done.append(True)
                act()

        def hook(statuses: Any) -> None:
            for status in statuses or ():
                if hasattr(status, "tell"):
                    status.watch(watch)

        self.RE.waiting_hook = hook


def make_station(folder: Path, pixels: int = 32, seed: int = 0) -> Station:
    """Make a beamline whose frames have `pixels` x `pixels` and go below `folder`.

    Its window is that of 128 pixels at 0.5 m: 0.94 um.
    """
    x, y = Stage(name="zpssx", limits=(-15, 15)), Stage(name="zpssy", limits=(-15, 15))
    theta, dcm = Stage(name="zpsth", egu="deg"), Monochromator(name="dcm")
    endstation = Endstation(dcm.th, x, y, theta, seed=seed)
    motors = load_config().motors
    station = Station(
        RunEngine({}),
        x,
        y,
        theta,
        dcm,
        endstation,
        Merlin("SIM:", name="merlin1", endstation=endstation, folder=folder, pixels=pixels),
        PandA(
            "SIM:",
            name="panda1",
            endstation=endstation,
            encoders={s: (motors[s.name].encoder, motors[s.name].scale_um) for s in (x, y)},
            folder=folder,
        ),
    )
    station.RE.preprocessors.append(SupplementalData(baseline=[x, y, theta, dcm]))
    station.RE.subscribe(lambda name, document: station.documents.append((name, document)))
    return station
