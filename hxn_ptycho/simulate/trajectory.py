"""Where a fly scan takes the stages, and when the detector is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Trajectory:
    """A raster of lines, all in the same direction, measured without stopping.

    Attributes
    ----------
    fast, slow : Stage
        Along the lines, and from line to line.
    fast_range, slow_range : (float, float), the stages' units
        Absolute positions of the first and the last frame's middle.
    shape : (int, int)
        Frames a line, lines.
    exposure_s, dead_s : float, s
        Of a frame; between two frames.
    """

    fast: Any
    slow: Any
    fast_range: tuple[float, float]
    slow_range: tuple[float, float]
    shape: tuple[int, int]
    exposure_s: float
    dead_s: float

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
            n frames of a line.
        float
            Of the slow stage.
        """
        middles = np.linspace(*self.fast_range, self.shape[0])
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
