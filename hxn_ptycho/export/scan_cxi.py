"""A scan as a CXI file of raw data."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from .cxi import begin, translation
from .prepared import PreparedScan, write_frames

_INVALID = 1  # CXI_PIXEL_IS_INVALID


def write_cxi(path: Path, scan: PreparedScan, *, positions_last: bool = False) -> None:
    """Write the file: counts, DC in the middle, seen along the beam, rows down.

    Parameters
    ----------
    positions_last : bool
        Positions as (3, N) instead of the format's (N, 3).
    """
    n = scan.n
    pixel_y, pixel_x = scan.detector_pixel_m
    with h5py.File(path, "w") as file:
        entry = begin(file, scan.scan_id, scan.wavelength_m)
        detector = entry.create_group("instrument_1/detector_1")
        entry["instrument_1/name"] = "hxn_ptycho"
        kept = write_frames(
            file, detector.name + "/data", scan, scan.dtype,
            lambda counts: np.fft.fftshift(counts, axes=(1, 2)),
        )  # fmt: skip
        detector["data"].attrs["axes"] = np.bytes_("translation:y:x")
        detector["distance"] = scan.distance_m
        detector["x_pixel_size"], detector["y_pixel_size"] = pixel_x, pixel_y
        # x to the left seen along the beam, y up: rows go down, columns to the right.
        detector["basis_vectors"] = np.array([[0, -pixel_y, 0], [-pixel_x, 0, 0]])
        corner = np.array([pixel_x, pixel_y]) * (n // 2 + 0.5)
        detector["corner_position"] = np.array([*corner, scan.distance_m])
        measured = np.fft.fftshift(scan.measured)
        detector["mask"] = np.where(measured, 0, _INVALID).astype(np.uint32)
        places = translation(*scan.positions_m[kept].T)
        entry["sample_1/geometry_1/translation"] = places.T if positions_last else places
        entry["data_1/process_1/configuration/scan"] = scan.scan_id
        for name in ("data_1/translation", "instrument_1/detector_1/translation"):
            entry[name] = h5py.SoftLink("/entry_1/sample_1/geometry_1/translation")
        entry["data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        if scan.angle_deg is not None:
            entry["sample_1/geometry_1/rotation_deg"] = scan.angle_deg
