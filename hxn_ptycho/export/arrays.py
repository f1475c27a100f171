"""A result as plain arrays: npy, TIFF."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from .._version import __version__
from ..solver.job import ResultData
from .files import Writers


def npy(result: ResultData, **_: Any) -> Writers:
    """Return what writes the arrays, and a JSON file that says what they are."""
    stem = f"scan_{result.scan_id}"
    text = json.dumps(description(result), indent=1)
    return {
        f"{stem}_object.npy": save(result.object),
        f"{stem}_probe.npy": save(result.probe),
        f"{stem}_positions.npy": save(result.positions),
        f"{stem}.json": lambda path: path.write_text(text + "\n"),
    }


def tiff(result: ResultData, **_: Any) -> Writers:
    """Return what writes phase and amplitude as pictures, row 0 at the top, with their pixel size.

    In the unit of the tags, centimetres, ImageJ takes it from there, and shows micrometres.
    """
    # Tags count pixels per centimetre, along x and then y.
    per_cm = (0.01 / result.pixel_size[1], 0.01 / result.pixel_size[0])
    text = json.dumps(description(result))

    def image(values: NDArray) -> Callable[[Path], Any]:
        return lambda path: tifffile.imwrite(
            path,
            np.ascontiguousarray(values, np.float32),
            photometric="minisblack",
            resolution=per_cm,
            resolutionunit="CENTIMETER",
            description=text,
            software=f"hxn_ptycho {__version__}",
            metadata=None,
        )

    return {
        f"scan_{result.scan_id}_{name}_{part}.tiff": image(function(modes))
        for name, modes in (("object", result.object), ("probe", result.probe))
        for part, function in (("phase", np.angle), ("amplitude", np.abs))
    }


def save(values: NDArray) -> Callable[[Path], Any]:
    """Return what writes an array as npy, in C order."""
    return lambda path: np.save(path, np.ascontiguousarray(values))


def description(result: ResultData) -> dict[str, Any]:
    """Return what is to be known of a result's arrays, for JSON."""
    return {
        "scan_id": result.scan_id,
        "raw_uid": result.raw_uid,
        "axes": "mode, y, x: rows along y, columns along x, as seen along the beam",
        "pixel_size_m": list(result.pixel_size),
        "origin_m": list(result.origin_m),
        "wavelength_m": result.wavelength,
        "probe_power": [float(share) for share in result.probe_power],
        "error_fourier": result.error_fourier,
        "recipe": result.recipe,
        "version": result.version,
    }
