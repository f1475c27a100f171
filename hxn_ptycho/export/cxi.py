"""A result as a CXI file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..solver.job import ResultData
from .files import Writers

VERSION = 160
PLANCK_TIMES_LIGHT = 6.62607015e-34 * 299792458.0  # J m; both exact in the SI


def cxi(result: ResultData, **_: Any) -> Writers:
    """Return what writes the object and the probe where readers of CXI files look for them."""

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            entry = begin(file, result.scan_id, result.wavelength)
            height, width = result.object.shape[1:]
            pixel_y, pixel_x = result.pixel_size
            # Where the beam's centre was.
            middles = result.positions + np.array(result.probe.shape[1:]) // 2
            y, x = (result.origin_m + middles * result.pixel_size).T
            entry["sample_1/geometry_1/translation"] = translation(y, x)

            image = entry.create_group("image_1")
            image["data"] = _single(result.object)
            image["data_space"] = "real"
            image["is_fft_shifted"] = 0
            image["image_size"] = np.array([width * pixel_x, height * pixel_y, 0.0])
            image["pixel_size"] = np.array([pixel_x, pixel_y])
            image["translation"] = h5py.SoftLink("/entry_1/sample_1/geometry_1/translation")
            image["source_1"] = h5py.SoftLink("/entry_1/instrument_1/source_1")
            process = image.create_group("process_1")
            process["final_illumination"] = _single(result.probe)
            process["command"] = json.dumps(result.recipe)
            process["error_fourier"] = result.error_fourier
            entry["data_1/data"] = h5py.SoftLink("/entry_1/image_1/data")

    return {f"scan_{result.scan_id}.cxi": write}


def begin(file: h5py.File, scan_id: int, wavelength: float) -> h5py.Group:
    """Write what every CXI file begins with, and return its entry."""
    file["cxi_version"] = VERSION
    file["number_of_entries"] = 1
    entry = file.create_group("entry_1")
    entry["title"] = f"scan {scan_id}"
    entry["program_name"] = f"hxn_ptycho {__version__}"
    source = entry.create_group("instrument_1/source_1")
    source["energy"] = PLANCK_TIMES_LIGHT / wavelength  # J
    source["wavelength"] = wavelength  # m
    return entry


def translation(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where the sample was, (N, 3), m: x to the left seen along the beam, y up, z along it.

    It is where the beam was on the sample, x to the right and y down: turned round twice.
    """
    return np.stack([x, y, np.zeros(len(x))], axis=1)


def _single(modes: NDArray) -> NDArray:
    """Leave out the axis of the modes where there is but one: readers expect an image."""
    return modes[0] if len(modes) == 1 else modes
