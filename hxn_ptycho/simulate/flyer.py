"""What the simulated flyers have in common: they move stages, and expose detectors."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fly import flyer
from ..fly.panda import SAMPLES
from ..fly.status import FlyStatus
from ..fly.trajectory import Measured, Trajectory
from .endstation import Endstation

_BATCH_S = 0.15  # frames are computed, and progress is told, this often
_FLYBACK_S = 0.02


class Flyer(flyer.Flyer):
    """A flyer that moves the stages of a simulated endstation.

    A form of scan documents is a subclass: which parts there are, what is recorded of the frames,
    and in which documents it is told.

    Parameters
    ----------
    prefix : str
        Used in the documents' ``source`` only.
    name : str
    endstation : Endstation
        Whose stages it moves.
    folder : path
        Folder that its files go under.
    encoder_noise_um, vibration_um : float
        Standard deviations: of a reading; of the stage's true place about the straight line.
    """

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        endstation: Endstation,
        folder: str | Path,
        encoder_noise_um: float = 0.003,
        vibration_um: float = 0.008,
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix, name=name, folder=folder, **kwargs)
        self.endstation = endstation
        self.encoder_noise_um, self.vibration_um = encoder_noise_um, vibration_um
        #: Where the stages were (N, S, 2), (y, x) um, part by part of the scan.
        self.true_path_um: list[NDArray[np.float64]] = []

    def _check_trajectory(self, trajectory: Trajectory) -> None:
        for stage in (trajectory.fast, trajectory.slow):
            if stage not in (self.endstation.x, self.endstation.y):
                raise ValueError(
                    f"{self.name} can fly {self.endstation.x.name} and {self.endstation.y.name}, "
                    f"not {getattr(stage, 'name', stage)!s}"
                )

    def _make_ready(self, trajectory: Trajectory) -> None:
        self.true_path_um = []
        corners = self._yx(trajectory.corners()[:, 0], trajectory.corners()[:, 1])
        for detector in self.detectors:
            detector.look(corners)

    def _stages_stopped(self, trajectory: Trajectory) -> bool:
        return bool(trajectory.fast.stopped or trajectory.slow.stopped)

    def _begin(self, trajectory: Trajectory, rows: range) -> None:
        for detector in self.detectors:
            detector.arm(len(rows) * trajectory.shape[0], trajectory.exposure_s, self._frames)
        self._open(rows)

    def _open(self, rows: range) -> None:
        """Open the files of a part."""

    def _record(self, measured: Measured) -> None:
        """Record frames; in the scan's thread."""
        raise NotImplementedError

    def _fly_lines(self, trajectory: Trajectory, rows: range, status: FlyStatus) -> None:
        due, pace = time.monotonic(), self.endstation.pace
        batch = max(1, min(trajectory.shape[0], round(_BATCH_S / trajectory.period_s)))
        for row in rows:
            fast, slow = trajectory.line(row, SAMPLES)
            trajectory.slow.follow(slow)
            due += _FLYBACK_S * pace
            for first in range(0, trajectory.shape[0], batch):
                part = fast[first : first + batch]
                due = max(due + len(part) * trajectory.period_s * pace, time.monotonic())
                self._measure(trajectory, part, slow)
                trajectory.fast.follow(float(part[-1, -1]))
                status.tell(self._frames)
                self._halt.wait(max(due - time.monotonic(), 0))
                if self.halted:
                    return

    def _measure(self, trajectory: Trajectory, fast: NDArray[np.floating], slow: float) -> None:
        light, random = self.endstation, self.endstation.generator
        path = self._yx(fast, np.full(fast.shape, slow))
        # The stage follows the line to some nanometres, and trembles within a frame.
        path = path + random.normal(0, self.vibration_um, (len(fast), 1, 2))
        path = path + random.normal(0, self.vibration_um / 4, (*fast.shape, 2))

        brightness = light.brightness(len(fast))
        photons = light.flux * trajectory.exposure_s * brightness
        for detector in self.detectors:
            detector.expose(path, photons)
        counts = light.ion_chamber.count(
            brightness, trajectory.exposure_s, random, first=self._frames
        )
        self._record(
            Measured(self._frames, path, counts, trajectory.exposure_s, trajectory.period_s)
        )
        self.true_path_um.append(path)
        self._frames += len(fast)
        self._part_frames += len(fast)

    def _read_um(self, measured: Measured) -> NDArray[np.float64]:
        """Return what encoders say of the mean places (N, 2), (y, x)."""
        places = measured.places_um
        noise = self.encoder_noise_um / np.sqrt(SAMPLES)
        return places + self.endstation.generator.normal(0, noise, places.shape)

    def _yx(self, fast: NDArray[np.floating], slow: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return positions (..., 2) in the order (y, x), whichever stage is the fast one."""
        assert self._trajectory is not None
        pair = (slow, fast) if self._trajectory.fast is self.endstation.x else (fast, slow)
        return np.stack(pair, axis=-1)
