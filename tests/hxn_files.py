"""``scan_<id>.h5`` as ptycho_gui writes it and its solver takes it: transcribed, in plain NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

HC_NM_KEV = 1.2398419843320026


def prepared_by_ptycho_gui(frames: np.ndarray, threshold: float = 1.0) -> np.ndarray:
    """What it makes of detector frames (N, h, w), the beam at [h // 2, w // 2]."""
    data = np.zeros((len(frames), frames.shape[2], frames.shape[1]))
    for i, frame in enumerate(frames):
        data[i] = np.fft.fftshift(np.rot90(frame.astype(float), axes=(1, 0)))
    data[data < threshold] = 0.0
    return np.sqrt(data)


def write_scan_h5(path: Path, diffamp: np.ndarray, points_um: np.ndarray, /, **values: Any) -> Path:
    """Write its file; `values` replace or (None) leave out a dataset."""
    n = diffamp.shape[1]
    lambda_nm, z_m, pixel_um = HC_NM_KEV / 12.0, 0.5, 55.0
    content = {
        "diffamp": diffamp,
        "points": points_um,
        "x_range": np.ptp(points_um[0]),
        "y_range": np.ptp(points_um[1]),
        "dr_x": 0.1,
        "dr_y": 0.1,
        "z_m": z_m,
        "lambda_nm": lambda_nm,
        "ccd_pixel_um": pixel_um,
        "angle": 0.0,
        "ic": np.ones(len(diffamp)),
        "x_pixel_m": lambda_nm * 1e-9 * z_m / (n * pixel_um * 1e-6),
        **values,
    }
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            if value is not None:
                file.create_dataset(name, data=value)
    return path


def windows_of_its_solver(
    points_um: np.ndarray,
    pixel_m: float,
    n: int,
    *,
    x_direction: float = -1.0,
    y_direction: float = -1.0,
    angle: float = 0.0,
) -> np.ndarray:
    """Where its views begin in its object, axes 0 and 1, (N, 2); it has 15 pixels around."""
    points = -points_um
    points = points * np.array([[x_direction], [y_direction]])
    if abs(angle) <= 45.0:
        points[0] *= abs(np.cos(angle * np.pi / 180.0))
    else:
        points[0] *= abs(np.sin(angle * np.pi / 180.0))
    if angle <= -45:
        points[0] = -points[0]
    points = np.round(points * 1e-6 / pixel_m)
    centres = points - points.min(axis=1, keepdims=True) + n / 2 + 15
    return (centres - n / 2).astype(int).T


def amplitudes_of_its_solver(obj: np.ndarray, probe: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """What its solver expects of each view: |fftn(probe * object)| / sqrt(nx ny), DC at [0, 0]."""
    nx, ny = probe.shape
    return np.stack(
        [
            np.abs(np.fft.fftn(probe * obj[x : x + nx, y : y + ny])) / np.sqrt(nx * ny)
            for x, y in starts
        ]
    )
