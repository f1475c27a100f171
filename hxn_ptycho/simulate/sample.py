"""A sample with known transmission: phase and amplitude from two different pictures.

The phase is a test pattern (a Siemens star whose spokes are broken at rings, particles around it),
the amplitude a polycrystal (grains, their boundaries, a finer grain inside). Both are functions of
place, not arrays, so that the same sample can be seen with any pixel, anywhere, at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_TABLE = 64  # lattice cells after which the random pictures repeat; a power of 2
_UM = 1e-6


@dataclass(frozen=True)
class Sample:
    """A thin sample, described by functions of place (y, x).

    Attributes
    ----------
    star_radius_m : float
        Of the Siemens star, whose centre is at (0, 0).
    spokes : int
        Number of spokes; at radius r a spoke is pi r / spokes wide.
    grain_m : float
        Mean width of a grain.
    phase_depth : float
        Largest phase shift, rad; matter retards, so that phases are -phase_depth to 0.
    absorption : float
        1 - the smallest amplitude.
    edge_m : float
        Half the width of an edge of the test pattern: deposits of a micrometre are not steep.
    seed : int
        Of grains and particles.
    """

    star_radius_m: float = 1.0 * _UM
    spokes: int = 36
    grain_m: float = 0.21 * _UM
    phase_depth: float = 0.8
    absorption: float = 0.3
    edge_m: float = 12e-9
    seed: int = 0

    def transmission(self, y_m: ArrayLike, x_m: ArrayLike) -> NDArray[np.complex128]:
        """Return the complex transmission at places (m); the arguments broadcast."""
        y, x = np.broadcast_arrays(np.asarray(y_m, float), np.asarray(x_m, float))
        wave: NDArray[np.complex128] = self.amplitude(y, x) * np.exp(1j * self.phase(y, x))
        return wave

    def render(
        self,
        shape: tuple[int, int],
        pixel_m: tuple[float, float],
        origin_m: tuple[float, float],
        *,
        subpixels: int = 2,
    ) -> NDArray[np.complex128]:
        """Return the mean transmission of each pixel of a picture.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns.
        pixel_m : (float, float), m
            Height and width of a pixel.
        origin_m : (float, float), m
            Place (y, x) of the centre of pixel [0, 0].
        subpixels : int
            Points a pixel and axis over which the transmission is averaged.

        Returns
        -------
        ndarray (H, W), complex128
        """
        within = (np.arange(subpixels) - (subpixels - 1) / 2) / subpixels
        total = np.zeros(shape, complex)
        for dy in within:
            y = origin_m[0] + (np.arange(shape[0])[:, None] + dy) * pixel_m[0]
            for dx in within:
                x = origin_m[1] + (np.arange(shape[1])[None, :] + dx) * pixel_m[1]
                total += self.transmission(y, x)
        total /= subpixels**2
        return total

    def phase(self, y: Array, x: Array) -> Array:
        """Return the phase (rad) at places (m): the star, and particles outside it."""
        radius, angle = np.hypot(y, x), np.arctan2(y, x)
        edge = self.edge_m
        # Distance to the spoke's flank along the circle, so that the edge has the same width
        # everywhere.
        flank = np.arcsin(np.cos(self.spokes * angle)) / self.spokes * radius
        material = _step(flank, edge)
        for ring in (0.22, 0.42, 0.62, 0.82):
            middle = ring * self.star_radius_m
            half = (0.008 + 0.012 * ring) * self.star_radius_m
            material = material * _step(np.abs(radius - middle) - half, edge)
        rim = _step(0.035 * self.star_radius_m - np.abs(radius - 0.985 * self.star_radius_m), edge)
        hub = _step(0.05 * self.star_radius_m - radius, edge)
        inside = _step(self.star_radius_m - radius, edge)
        star = np.maximum(np.maximum(material, rim), hub) * inside
        # The deposit is a little thicker towards one side, as evaporated films are.
        thickness = 0.92 + 0.06 * np.sin(1.3 * y / _UM + 0.4) * np.cos(0.9 * x / _UM)
        particles = self._particles(y, x) * _step(radius - 1.05 * self.star_radius_m, edge)
        return -self.phase_depth * np.clip(np.maximum(star * thickness, particles), 0, 1)

    def amplitude(self, y: Array, x: Array) -> Array:
        """Return the amplitude at places (m): grains, boundaries, and a fine grain inside them."""
        coarse, gap = _cells(y / self.grain_m, x / self.grain_m, self.seed)
        fine, _ = _cells(y / self.grain_m * 4.3, x / self.grain_m * 4.3, self.seed + 1)
        boundary = np.exp(-((gap * self.grain_m / 9e-9) ** 2))
        return 1 - self.absorption * np.clip(
            0.75 * coarse + 0.17 * fine + 0.30 * boundary * (1 - coarse), 0, 1
        )

    def _particles(self, y: Array, x: Array) -> Array:
        """Return the height, 0 to 1, of round particles of several sizes, scattered at random."""
        spacing = 0.13 * _UM
        height = np.zeros(y.shape)
        for distance, random in _neighbours(y / spacing, x / spacing, self.seed + 2):
            size = 0.12 + 0.33 * random
            dome = np.sqrt(np.clip(1 - (distance / size) ** 2, 0, None))
            np.maximum(height, dome * (0.45 + 0.55 * random) * (random > 0.3), out=height)
        return height


def _step(distance: Array, edge: float) -> Array:
    """Return 0 below -edge, 1 above +edge, smooth between."""
    t = np.clip(0.5 + distance / (2 * edge), 0, 1)
    return t * t * (3 - 2 * t)


def _neighbours(v: Array, u: Array, seed: int) -> Iterator[tuple[Array, Array]]:
    """Yield (distance, random number) of the 9 nearest points of a jittered lattice."""
    down, right, random = np.random.default_rng(seed).random((3, _TABLE * _TABLE))
    row, column = np.floor(v).astype(np.intp), np.floor(u).astype(np.intp)
    v, u = v - row, u - column
    for i in (-1, 0, 1):
        line = ((row + i) & (_TABLE - 1)) * _TABLE
        for j in (-1, 0, 1):
            point = line + ((column + j) & (_TABLE - 1))
            dv, du = down[point] + (i - v), right[point] + (j - u)
            yield np.sqrt(dv * dv + du * du), random[point]


def _cells(v: Array, u: Array, seed: int) -> tuple[Array, Array]:
    """Return a random level, 0 to 1, of the Voronoi cell of each place, and the way to its edge.

    The way to the edge is half the difference of the distances to the two nearest points, in
    lattice units.
    """
    first, second = np.full(v.shape, np.inf), np.full(v.shape, np.inf)
    level = np.zeros(v.shape)
    for distance, random in _neighbours(v, u, seed):
        nearest = distance < first
        second = np.where(nearest, first, np.minimum(second, distance))
        level = np.where(nearest, random, level)
        first = np.where(nearest, distance, first)
    return level, (second - first) / 2
