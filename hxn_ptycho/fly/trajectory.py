"""Where a fly scan takes the stages, when the detector is open, and what then was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Trajectory:
    """A raster of lines, each measured without stopping.

    Attributes
    ----------
    fast, slow : Stage
        Along the lines, and from line to line.
    fast_range, slow_range : (float, float), the stages' units
        Absolute positions of the first and the last frame's middle, in the first line.
    shape : (int, int)
        Frames a line, lines.
    exposure_s, dead_s : float, s
        Of a frame; between two frames.
    snake : bool
        Every other line backwards (a "pyramid"), instead of all in the same direction.
    """

    fast: Any
    slow: Any
    fast_range: tuple[float, float]
    slow_range: tuple[float, float]
    shape: tuple[int, int]
    exposure_s: float
    dead_s: float
    snake: bool = False

    @property
    def frames(self) -> int:
        """Number of frames in all."""
        return self.shape[0] * self.shape[1]

    @property
    def period_s(self) -> float:
        """From the start of a frame to that of the next."""
        return self.exposure_s + self.dead_s

    def line(self, row: int, samples: int) -> tuple[NDArray[np.float64], float]:
        """Return where the fast stage is at times during each frame, and where the slow one is.

        Parameters
        ----------
        row : int
        samples : int
            Equally spaced times a frame, S.

        Returns
        -------
        ndarray (n, S), float
            n frames of a line, in the order of time.
        float
            Of the slow stage.
        """
        ends = self.fast_range[::-1] if self.snake and row % 2 else self.fast_range
        middles = np.linspace(*ends, self.shape[0])
        step = middles[1] - middles[0] if len(middles) > 1 else 0.0
        times = ((np.arange(samples) + 0.5) / samples - 0.5) * self.exposure_s / self.period_s
        return middles[:, None] + step * times, float(
            np.linspace(*self.slow_range, self.shape[1])[row]
        )

    def corners(self) -> NDArray[np.float64]:
        """Return the outermost (fast, slow) positions (4, 2), motion during a frame included."""
        margin = abs(self.fast_range[1] - self.fast_range[0]) / max(self.shape[0] - 1, 1)
        fast = min(self.fast_range) - margin, max(self.fast_range) + margin
        return np.array([(f, s) for f in fast for s in self.slow_range])


@dataclass(frozen=True)
class Axis:
    """One axis of a fly scan as a plan was called: motor, start, end, number of positions."""

    motor: Any
    start: float
    end: float
    number: int

    def moved(self, by: float) -> Axis:
        """Return it with start and end moved."""
        return Axis(self.motor, self.start + by, self.end + by, self.number)


@dataclass(frozen=True)
class FlyCall:
    """How a plan for a fly scan was called: what its start document says of it.

    Attributes
    ----------
    plan_name : str
    detectors : tuple of detectors
    fast, slow : Axis
        As given; relative to where the motors are, or absolute, as the plan has it.
    exposure_s, dead_s : float, s
    fly_type : str or None
        "soft": all lines in the same direction; "pyramid": every other one backwards.
    return_speed : float or None
    max_points : int or None
        Most frames in a scan, or in a sub-scan where the flyer splits scans.
    """

    plan_name: str
    detectors: tuple[Any, ...]
    fast: Axis
    slow: Axis
    exposure_s: float
    dead_s: float
    fly_type: str | None = None
    return_speed: float | None = None
    max_points: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Frames a line, lines."""
        return self.fast.number, self.slow.number

    @property
    def frames(self) -> int:
        """Number of frames in all."""
        return self.fast.number * self.slow.number


@dataclass(frozen=True)
class Measured:
    """Some frames that the detectors have just taken.

    Attributes
    ----------
    first : int
        Number, within the scan, of the first of them.
    path_um : ndarray (N, S, 2), um
        Where the stages truly were, (y, x), during each.
    ion_chamber : ndarray (N,)
        Counts.
    exposure_s, period_s : float, s
    """

    first: int
    path_um: NDArray[np.float64]
    ion_chamber: NDArray[np.float64]
    exposure_s: float
    period_s: float

    @property
    def count(self) -> int:
        """Number of frames, N."""
        return len(self.path_um)

    @property
    def places_um(self) -> NDArray[np.float64]:
        """Mean place (N, 2) of the stages during each frame, (y, x)."""
        return self.path_um.mean(axis=1)
