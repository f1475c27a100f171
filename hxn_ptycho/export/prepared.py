"""What is exported of a scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PreparedScan:
    """A scan as a reconstruction takes it: frames in the window, masked, turned, normalised.

    Attributes
    ----------
    scan_id : int
    raw_uid : str
    count, n : int
        Frames, some of which may turn out to be of no use; side of the window.
    batches : callable () -> iterator of (counts, index)
        counts (m, n, n), integer or float, DC at [0, 0], 0 where not measured; index (m,): which
        frames these are. Begins anew each time it is called.
    dtype : numpy.dtype
        In which counts are kept without loss.
    measured : ndarray (n, n), bool
        DC at [0, 0].
    positions_m : ndarray (N, 2), float64, m
        Where the beam is on the sample across the beam, (y, x), of all frames.
    wavelength_m, distance_m : float, m
    detector_pixel_m : (float, float), m
        (y, x), of the window.
    normalisation : ndarray (N,), float64
        What is in the counts already.
    angle_deg : float or None
        Rotation of the sample, if it is known.
    """

    scan_id: int
    raw_uid: str
    count: int
    n: int
    batches: Callable[[], Iterator[tuple[NDArray, NDArray[np.int64]]]]
    dtype: np.dtype
    measured: NDArray[np.bool_]
    positions_m: NDArray[np.float64]
    wavelength_m: float
    distance_m: float
    detector_pixel_m: tuple[float, float]
    normalisation: NDArray[np.float64]
    angle_deg: float | None = None


def write_frames(
    file: h5py.File,
    name: str,
    scan: PreparedScan,
    dtype: np.dtype,
    convert: Callable[[NDArray], NDArray],
) -> NDArray[np.int64]:
    """Write all frames, converted, as a dataset (N, n, n), and return which they are.

    Each is a chunk, so that what turns out to be of no use leaves no room behind.
    """
    shape = (scan.count, scan.n, scan.n)
    target = file.create_dataset(
        name, shape, dtype, chunks=(1, scan.n, scan.n), maxshape=(None, scan.n, scan.n)
    )
    kept = []
    done = 0
    for counts, index in scan.batches():
        target[done : done + len(counts)] = convert(counts)
        kept.append(index)
        done += len(counts)
    target.resize(done, axis=0)
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)
