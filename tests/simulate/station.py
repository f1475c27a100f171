"""A small simulated beamline for tests: quick scans of small frames, in any form of documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import bluesky.plans as bp
import numpy as np
from bluesky import RunEngine
from bluesky.preprocessors import SupplementalData

from hxn_ptycho.beamline import load_config
from hxn_ptycho.catalog import asset_registry
from hxn_ptycho.fly.plans import fly2d, fly2dpd, scan_and_fly
from hxn_ptycho.simulate.classic import ClassicFlyer
from hxn_ptycho.simulate.eiger import Eiger
from hxn_ptycho.simulate.endstation import Endstation
from hxn_ptycho.simulate.faults import Faults
from hxn_ptycho.simulate.flyer import Flyer
from hxn_ptycho.simulate.merlin import Merlin
from hxn_ptycho.simulate.panda import PandA
from hxn_ptycho.simulate.scaler import Scaler
from hxn_ptycho.simulate.stages import Monochromator, Stage
from hxn_ptycho.simulate.streams import StreamFlyer
from hxn_ptycho.simulate.zebra import ZebraFlyer

Documents = list[tuple[str, dict[str, Any]]]
Form = Literal["panda", "classic", "zebra", "streams", "step"]
FORMS: tuple[Form, ...] = ("panda", "classic", "zebra", "streams", "step")

STEP_UM = 0.07  # from frame to frame, and from line to line


@dataclass
class Station:
    """Devices, their RunEngine, and the documents that it emitted.

    `measure` runs a scan of the station's form; `truth_um` then says where the stages were.
    """

    RE: RunEngine
    form: Form
    zpssx: Stage
    zpssy: Stage
    zpsth: Stage
    dcm: Monochromator
    endstation: Endstation
    merlin1: Merlin
    eiger1: Eiger
    sclr1: Scaler
    panda1: PandA
    classic1: ClassicFlyer
    zebra1: ZebraFlyer
    streams1: StreamFlyer
    registry: Any
    documents: Documents = field(default_factory=list)

    @property
    def flyer(self) -> Flyer:
        """The flyer of the station's form."""
        return {
            "panda": self.panda1,
            "classic": self.classic1,
            "zebra": self.zebra1,
            "streams": self.streams1,
        }[self.form]

    def scan(
        self,
        n1: int = 6,
        n2: int = 5,
        exposure: float = 0.004,
        *,
        detector: Any = None,
        snake: bool = False,
        md: dict[str, Any] | None = None,
    ) -> Any:
        """Return a plan in the station's form: n2 lines of n1 frames, 70 nm apart, about (0, 0)."""
        x, y = STEP_UM / 2 * (n1 - 1), STEP_UM / 2 * (n2 - 1)
        dets = [detector or self.merlin1]
        if self.form == "step":
            dets[0].acquire_time.put(exposure)
            self.sclr1.preset_time.put(exposure)
            return bp.grid_scan(
                [*dets, self.sclr1], self.zpssy, -y, y, n2, self.zpssx, -x, x, n1,
                snake_axes=snake, md=md,
            )  # fmt: skip
        if self.form == "zebra":
            return scan_and_fly(
                dets, -x, x, n1, -y, y, n2, exposure / 0.9, snake=snake,
                flying_zebra=self.zebra1, md=md,
            )  # fmt: skip
        return fly2d(
            dets, self.zpssx, -x, x, n1, self.zpssy, -y, y, n2, exposure, dead_time=0.001,
            fly_type="pyramid" if snake else None, flyer=self.flyer, md=md,
        )  # fmt: skip

    def measure(self, *args: Any, **more: Any) -> str:
        """Run `scan` and return the run's uid."""
        return self.RE(self.scan(*args, **more))[0]

    def plan(self, n1: int = 6, n2: int = 5, exposure: float = 0.004, **more: Any) -> Any:
        """Return a PandA's fly scan of n2 lines of n1 frames, 70 nm apart."""
        x, y = STEP_UM / 2 * (n1 - 1), STEP_UM / 2 * (n2 - 1)
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
        """Where the stages truly were (N, S, 2), (y, x), in the PandA's last scan."""
        return np.concatenate(self.panda1.true_path_um)

    @property
    def truth_um(self) -> np.ndarray:
        """Mean place (N, 2), (y, x) um, of the stages in each frame of the last scan."""
        if self.form == "step":
            (path,) = (d.true_path_um for d in (self.merlin1, self.eiger1) if d.true_path_um)
        else:
            path = self.flyer.true_path_um
        return np.concatenate(path).mean(axis=1)

    def light(self, detector: str = "merlin1") -> np.ndarray:
        """Return the light (N, n, n) of the last scan's frames, for a photon on the sample each."""
        device = getattr(self, detector)
        paths = device.true_path_um if self.form == "step" else self.flyer.true_path_um
        path = np.concatenate(paths)
        return self.endstation.expose(device.geometry, path, np.ones(len(path)))

    def while_flying(self, after: int, act: Callable[[], None]) -> None:
        """Do `act`, once, when a scan has measured `after` frames."""
        while_flying(self.RE, after, act)


def while_flying(engine: RunEngine, after: int, act: Callable[[], None]) -> None:
    """Do `act`, once, when a fly scan of a RunEngine has measured `after` frames."""
    done = []

    def watch(**progress: Any) -> None:
        if (progress.get("current") or 0) >= after and not done:
            done.append(True)
            act()

    def hook(statuses: Any) -> None:
        for status in statuses or ():
            if hasattr(status, "tell"):
                status.watch(watch)

    engine.waiting_hook = hook


def make_station(
    folder: Path,
    pixels: int = 32,
    seed: int = 0,
    *,
    form: Form = "panda",
    faults: Faults | None = None,
    pace: float = 0.0,
    registry: Any = None,
    max_sub_scan_points: int = 65_536,
) -> Station:
    """Make a beamline whose frames have `pixels` x `pixels` and go below `folder`.

    Its window is that of 128 pixels at 0.5 m: 0.94 um. Scans take no longer than it takes to
    compute them, unless `pace` is 1; the seed decides everything.

    Parameters
    ----------
    form : str
        Of the scans that `Station.measure` runs.
    faults : Faults, optional
        Of both detectors.
    registry : optional
        For the classic flyer's files; default: databroker's, in a home below `folder`. Give that
        of the home that the catalog is in.
    """
    x, y = Stage(name="zpssx", limits=(-15, 15)), Stage(name="zpssy", limits=(-15, 15))
    theta, dcm = Stage(name="zpsth", egu="deg"), Monochromator(name="dcm")
    endstation = Endstation(dcm.th, x, y, theta, seed=seed, pace=pace)
    motors = load_config().motors
    encoders = {s: (motors[s.name].encoder, motors[s.name].scale_um) for s in (x, y)}
    folder.mkdir(parents=True, exist_ok=True)
    registry = registry or asset_registry(folder / "home")
    where = {"endstation": endstation, "folder": folder}
    detector = {**where, "pixels": pixels, "faults": faults}
    station = Station(
        RunEngine({}),
        form,
        x,
        y,
        theta,
        dcm,
        endstation,
        Merlin("SIM:", name="merlin1", **detector),
        Eiger("SIM:", name="eiger1", images_per_file=8, distance_m=0.5 * 75 / 55, **detector),
        Scaler("SIM:", name="sclr1", endstation=endstation),
        PandA("SIM:", name="panda1", encoders=encoders, **where),
        ClassicFlyer(
            "SIM:",
            name="classic1",
            registry=registry,
            position_scale={s.name: motors[s.name].position_scale for s in (x, y)},
            max_sub_scan_points=max_sub_scan_points,
            **where,
        ),
        ZebraFlyer("SIM:", name="zebra1", **where),
        StreamFlyer("SIM:", name="streams1", encoders=encoders, **where),
        registry,
    )
    station.RE.preprocessors.append(SupplementalData(baseline=[x, y, theta, dcm]))
    station.RE.subscribe(lambda name, document: station.documents.append((name, document)))
    return station
