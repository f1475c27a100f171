"""Two results side by side."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..solver.job import ResultData
from ..solver.metrics import align, fourier_ring_correlation, illumination, object_error
from .result import Result

#: Where a result can be trusted: a share of the brightest illumination.
LIT = 0.05


@dataclass(frozen=True)
class Comparison:
    """Two objects side by side, scale and phase ramp of the second removed.

    Attributes
    ----------
    object_error : float
        ``||b - a|| / ||a||`` where both are lit.
    frequency : ndarray (K,)
        Of the rings, as a share of Nyquist.
    correlation : ndarray (K,)
        Fourier ring correlation, in the largest common square.
    a, b : ndarray (H, W), complex
        The common area; b aligned to a.
    mask : ndarray (H, W), bool
        Where both are lit.
    pixel_size : (float, float), m
    """

    object_error: float
    frequency: NDArray[np.float64]
    correlation: NDArray[np.float64]
    a: NDArray[np.complexfloating] = field(repr=False)
    b: NDArray[np.complexfloating] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)
    pixel_size: tuple[float, float]

    def resolution(self, threshold: float = 0.5) -> float | None:
        """Return the half-period (m) where the correlation first falls below `threshold`.

        None if it never does.
        """
        below = np.flatnonzero(self.correlation[1:] < threshold)
        if not len(below):
            return None
        return max(self.pixel_size) / float(self.frequency[1 + below[0]])


def compare(
    a: Result | ResultData, b: Result | ResultData, *, shift: bool = False, mode: int = 0
) -> Comparison:
    """Compare the objects of two results where both are lit.

    Global phase, scale and phase ramp are removed: they are arbitrary in ptychography.

    Parameters
    ----------
    a, b : Result or ResultData
        With the same pixel size.
    shift : bool
        Also remove a translation between the two.
    mode : int
        Which object mode.

    Raises
    ------
    CatalogError
        As `Result.data`.
    ValueError
        If the pixel sizes differ or the two have no lit area in common.
    """
    first, second = _data_of(a), _data_of(b)
    if not np.allclose(first.pixel_size, second.pixel_size, rtol=1e-3, atol=0):
        raise ValueError(
            f"objects of pixel size {_nm(first.pixel_size)} and {_nm(second.pixel_size)} nm (y, x) "
            "cannot be compared: reconstruct both with the same window"
        )
    offset = [
        round((second.origin_m[axis] - first.origin_m[axis]) / first.pixel_size[axis])
        for axis in (0, 1)
    ]
    here, there = _overlap(first.object.shape[1:], second.object.shape[1:], offset)
    mask = _lit(first)[here] & _lit(second)[there]
    if not mask.any():
        raise ValueError(
            f"the two results have no lit area in common: the second begins {offset} pixels "
            f"(y, x) from the first, of {first.object.shape[1:]} pixels"
        )
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    mask = mask[box]
    reference, other = first.object[mode][here][box], second.object[mode][there][box]
    aligned, _ = align(reference, other, mask, shift=shift)
    dark = np.where(mask, 1, 0)
    frequency, correlation = fourier_ring_correlation(reference * dark, aligned * dark)
    return Comparison(
        object_error=object_error(reference, other, mask, shift=shift),
        frequency=frequency,
        correlation=correlation,
        a=reference,
        b=aligned,
        mask=mask,
        pixel_size=first.pixel_size,
    )


def _data_of(result: Result | ResultData) -> ResultData:
    return result.data if isinstance(result, Result) else result


def _lit(data: ResultData) -> NDArray[np.bool_]:
    shape = data.object.shape[1:]
    light = illumination(data.probe, data.positions, (shape[0], shape[1]))
    return light > LIT * light.max()


def _overlap(
    first: tuple[int, ...], second: tuple[int, ...], offset: list[int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the common area's slices in each, `offset` being where the second begins."""
    here, there = [], []
    for size, other, begin in zip(first, second, offset, strict=True):
        low, high = max(0, begin), min(size, begin + other)
        high = max(low, high)
        here.append(slice(low, high))
        there.append(slice(low - begin, high - begin))
    return (here[0], here[1]), (there[0], there[1])


def _nm(pixel: tuple[float, float]) -> str:
    return f"({1e9 * pixel[0]:.4g}, {1e9 * pixel[1]:.4g})"
