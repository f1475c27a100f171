"""What detectors and ion chambers do that an ideal one does not, with the truth at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..solver.orientation import Orientation, inverse, turn

Pixel = tuple[int, int]


@dataclass(frozen=True)
class Faults:
    """A detector's faults. Pixels, maps and values are those of a frame on file.

    Attributes
    ----------
    dark : ndarray (h, w) or None
        Mean counts of each pixel in a frame without beam.
    flat : ndarray (h, w) or None
        Answer of each pixel to even light; 1 is right.
    hot : tuple of (row, column)
        Pixels that count `hot_counts` on average, whatever light there is, beside it.
    hot_counts : float
    dead : tuple of (row, column)
        Pixels that count nothing.
    saturation : int or None
        The most that a pixel counts; None: what its type holds.
    empty_frames : tuple of int
        Numbers, within a scan, of frames without a count: the shutter, or a missed trigger.
    beam_offset : (int, int)
        Rows and columns from the middle of the frame, as seen along the beam, to the direct beam.
    orientation : str
        How the detector is mounted: what turns a frame on file so that it is as seen along the
        beam (see `solver.orientation`).
    """

    dark: NDArray[np.floating] | None = None
    flat: NDArray[np.floating] | None = None
    hot: tuple[Pixel, ...] = ()
    hot_counts: float = 3000.0
    dead: tuple[Pixel, ...] = ()
    saturation: int | None = None
    empty_frames: tuple[int, ...] = ()
    beam_offset: tuple[int, int] = (0, 0)
    orientation: Orientation = "identity"

    def beam_pixel(self, shape: tuple[int, int]) -> Pixel:
        """Return the pixel (row, column) of the direct beam in a frame on file.

        `shape` is that of a frame as seen along the beam.
        """
        middle = tuple(n // 2 + d for n, d in zip(shape, self.beam_offset, strict=True))
        where = np.zeros(shape, bool)
        where[middle] = True
        row, column = np.argwhere(turn(where, inverse(self.orientation)))[0]
        return int(row), int(column)

    def check(self, shape: tuple[int, int]) -> None:
        """Refuse, with a ValueError, maps that are not of a frame's size.

        `shape` is that of a frame as seen along the beam.
        """
        on_file = turn(np.empty(shape, bool), inverse(self.orientation)).shape
        for name, values in (("dark", self.dark), ("flat", self.flat)):
            if values is not None and values.shape != on_file:
                raise ValueError(
                    f"{name} has {values.shape[0]} x {values.shape[1]} pixels, frames on file "
                    f"{on_file[0]} x {on_file[1]}"
                )

    def expected(self, light: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.floating]:
        """Return the mean counts of frames on file, given the light.

        Parameters
        ----------
        light : ndarray (N, n, n)
            Photons, the direct beam at [n // 2, n // 2].
        shape : (int, int)
            Of the detector, as seen along the beam.

        Returns
        -------
        ndarray (N, h, w), of the light's type
        """
        self.check(shape)
        mean = turn(placed(light, shape, self.beam_offset), inverse(self.orientation))
        if self.flat is not None:
            mean = mean * self.flat.astype(mean.dtype)
        if self.dark is not None:
            mean = mean + self.dark.astype(mean.dtype)
        if self.hot:
            mean = mean.copy()
            mean[:, *_indices(self.hot)] += self.hot_counts
        return mean

    def count(
        self,
        mean: NDArray[np.floating],
        generator: np.random.Generator,
        *,
        first: int = 0,
        most: int,
    ) -> NDArray[np.int64]:
        """Return the counts of frames with these mean counts, as on file.

        Parameters
        ----------
        mean : ndarray (N, h, w)
            As `expected` returns it.
        generator : Generator
            Of the photons' noise.
        first : int
            Number of the first of these frames within its scan.
        most : int
            What the type on file holds.
        """
        counts = generator.poisson(mean)
        if self.dead:
            counts[:, *_indices(self.dead)] = 0
        np.minimum(counts, most if self.saturation is None else self.saturation, out=counts)
        for number in self.empty_frames:
            if first <= number < first + len(counts):
                counts[number - first] = 0
        return counts


@dataclass
class IonChamber:
    """An ion chamber before the sample; it counts `rate` a second in the mean beam.

    Attributes
    ----------
    rate : float
    faults : dict of int to float
        Frame of a scan, and the share of the truth that is read there: 0.0 where the scaler
        missed its gate, 0.05 where it dropped out.
    """

    rate: float = 5e7
    faults: dict[int, float] = field(default_factory=dict)

    def count(
        self,
        brightness: NDArray[np.floating],
        exposure_s: float,
        generator: np.random.Generator,
        *,
        first: int = 0,
    ) -> NDArray[np.float64]:
        """Return the counts (N,) during frames of this brightness (1: the mean)."""
        counts = self.rate * exposure_s * np.asarray(brightness, float)
        counts = np.rint(generator.normal(counts, np.sqrt(counts)))
        for number, share in self.faults.items():
            if first <= number < first + len(counts):
                counts[number - first] = np.rint(counts[number - first] * share)
        return counts


def placed(
    light: NDArray[Any], shape: tuple[int, int], offset: tuple[int, int] = (0, 0)
) -> NDArray[Any]:
    """Return light (N, n, n) on a detector (N, h, w) whose middle the beam misses by `offset`.

    No light falls where the light is not known.
    """
    n = light.shape[-1]
    if shape == (n, n) and offset == (0, 0):
        return light
    whole = np.zeros((len(light), *shape), light.dtype)
    rows, columns = (
        _overlap(n, size, size // 2 + d - n // 2) for size, d in zip(shape, offset, strict=True)
    )
    whole[:, rows[1], columns[1]] = light[:, rows[0], columns[0]]
    return whole


def some_flat(shape: tuple[int, int], spread: float, seed: int = 0) -> NDArray[np.float64]:
    """Return a flat field: pixels that differ by `spread`, and chips of half the width."""
    generator = np.random.default_rng(seed)
    chips = np.kron(1 + generator.uniform(-spread, spread, (2, 2)), np.ones((2, 2)))
    rows, columns = (np.arange(n) * 4 // n for n in shape)
    flat = generator.normal(1, spread, shape) * chips[rows][:, columns]
    return np.clip(flat, 0.2, None) / flat.mean()


def some_dark(shape: tuple[int, int], mean: float, seed: int = 0) -> NDArray[np.float64]:
    """Return a dark map: about `mean` counts a frame, more towards one side, and uneven."""
    generator = np.random.default_rng(seed)
    slope = np.linspace(0.5, 1.5, shape[0])[:, None]
    return mean * slope * generator.uniform(0.7, 1.3, shape)


def some_pixels(
    shape: tuple[int, int], number: int, seed: int = 0, *, avoid: Mapping[Pixel, int] | None = None
) -> tuple[Pixel, ...]:
    """Return that many different pixels; none closer to those of `avoid` than these say."""
    allowed = np.ones(shape, bool)
    y, x = np.indices(shape)
    for (row, column), distance in (avoid or {}).items():
        allowed &= np.hypot(y - row, x - column) > distance
    places = np.argwhere(allowed)
    chosen = np.random.default_rng(seed).choice(len(places), number, replace=False)
    return tuple((int(r), int(c)) for r, c in places[np.sort(chosen)])


def _overlap(n: int, size: int, start: int) -> tuple[slice, slice]:
    """Return which part of n items begins at `start` of a row of `size`, and where it lies."""
    low, high = max(start, 0), min(start + n, size)
    if low >= high:
        raise ValueError(f"the direct beam is so far off that nothing of {n} falls on {size}")
    return slice(low - start, high - start), slice(low, high)


def _indices(pixels: Sequence[Pixel]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows, columns = np.array(pixels, np.intp).T
    return rows, columns
