"""A scan as ptycho_gui's ``scan_<id>.h5``; what is in it, `importers.ptycho_gui` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .files import ExportError
from .filling import Filling
from .prepared import PreparedScan, write_frames


def write_ptycho_gui(path: Path, scan: PreparedScan) -> None:
    """Write the file. Pixels that were not measured become the median of those around.

    ptycho_gui has no mask and repairs bad pixels so itself; where nothing around was measured, 0
    stays. Beside what it reads there is ``measured`` (nx, ny), for us, if there are such pixels.

    Raises
    ------
    ExportError
        If the detector's pixels are no squares: ptycho_gui knows one side only.
    """
    y, x = scan.detector_pixel_m
    if abs(y / x - 1) > 1e-6:
        raise ExportError(
            f"the detector's pixels are {y * 1e6:.5g} x {x * 1e6:.5g} um (y, x); ptycho_gui knows "
            "squares only: export cxi_frames"
        )
    fill = Filling(~scan.measured, scan.measured)
    with h5py.File(path, "w") as file:
        kept = write_frames(
            file, "diffamp", scan, np.dtype(np.float64), lambda counts: _amplitudes(fill(counts))
        )
        points = _points(scan, kept)
        for name, value in _numbers(scan, points).items():
            file[name] = value
        file["points"] = points
        file["ic"] = 1 / scan.normalisation[kept]
        if not scan.measured.all():
            file["measured"] = _turned(scan.measured[None])[0].astype(np.uint8)


def _turned(frames: NDArray) -> NDArray:
    """Turn frames (m, n, n) as ptycho_gui does, DC from [0, 0] to what it makes of it."""
    middle = np.fft.fftshift(frames, axes=(1, 2))
    return np.fft.fftshift(np.rot90(middle, axes=(2, 1)), axes=(1, 2))


def _amplitudes(counts: NDArray) -> NDArray[np.float64]:
    return np.sqrt(_turned(counts).astype(np.float64))


def _points(scan: PreparedScan, kept: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (2, N), um: what its solver, of directions -1, makes these places of the beam from."""
    y, x = scan.positions_m[kept].T * 1e6
    if scan.angle_deg is not None:
        projection, turned = x_projection(scan.angle_deg)
        x = x / projection * turned
    return np.stack([x, -y])


def x_projection(angle_deg: float) -> tuple[float, float]:
    """Return what ptycho_gui multiplies x by at a rotation: the share across the beam; a sign."""
    turn = np.sin if abs(angle_deg) > 45 else np.cos
    return float(abs(turn(np.deg2rad(angle_deg)))), -1.0 if angle_deg <= -45 else 1.0


def _numbers(scan: PreparedScan, points: NDArray[np.float64]) -> dict[str, Any]:
    wavelength, z, n = scan.wavelength_m, scan.distance_m, scan.n
    pixel = scan.detector_pixel_m[1]
    sizes: dict[str, Any] = {}
    for axis, along in zip("xy", points, strict=True):
        sizes[f"{axis}_range"] = float(np.ptp(along)) if len(along) else 0.0
        sizes[f"dr_{axis}"] = _step(along)
        sizes[f"{axis}_pixel_m"] = wavelength * z / (n * pixel)
        sizes[f"{axis}_depth_field_m"] = wavelength / (n / 2 * pixel / z) ** 2
    return {
        **sizes,
        "z_m": z,
        "lambda_nm": wavelength * 1e9,
        "ccd_pixel_um": pixel * 1e6,
        "angle": 0.0 if scan.angle_deg is None else float(scan.angle_deg),
    }


def _step(along: NDArray[np.float64]) -> float:
    """Return the step of a scan along an axis: its range over as many as a square has of them."""
    steps = max(1, round(np.sqrt(len(along))) - 1)
    return float(np.ptp(along) / steps) if len(along) else 0.0
