"""What a job gives: ``result.h5``."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .files import RESULT_FILE, JobError, WholeFile, put


@dataclass
class ResultData:
    """What ``result.h5`` holds. See the fields; arrays are (row, column) = (y, x).

    Attributes
    ----------
    object : ndarray (M_O, H, W), complex
        The sample's transmission, one a mode.
    probe : ndarray (M_P, n, n), complex
        Orthogonal modes by falling power; ``sum |probe|^2`` = photons in a frame.
    positions : ndarray (N, 2), int
        Row and column of each window's [0, 0] pixel in `object`.
    positions_m : ndarray (N, 2), float64, m
        As measured.
    iteration : ndarray (K,), int
        Which iterations the errors belong to.
    error_probe, error_object : ndarray (K, M_P), (K, M_O)
        Eq. (7), for each mode.
    error_fourier_curve : ndarray (K,)
        NaN where it was not computed.
    probe_power : ndarray (M_P,)
        Share of each probe mode; sums to 1.
    pixel_size : (float, float), m
        Of the object, (y, x).
    origin_m : (float, float), m
        Stage (y, x) of the centre of object pixel [0, 0].
    wavelength : float, m
    seconds : float
        From the first iteration's start to the last one's end.
    seconds_total : float
        From the start of the program to the writing of this file.
    error_fourier : float
        Of the published probe and object.
    frames_dropped : int
        Frames of the scan that could not be used, or were empty.
    saturated_pixels : int
        How many pixels were left out of single frames.
    """

    object: NDArray[np.complexfloating]
    probe: NDArray[np.complexfloating]
    positions: NDArray[np.integer]
    positions_m: NDArray[np.float64]
    iteration: NDArray[np.integer]
    error_probe: NDArray[np.floating]
    error_object: NDArray[np.floating]
    error_fourier_curve: NDArray[np.floating]
    probe_power: NDArray[np.floating]
    pixel_size: tuple[float, float]
    origin_m: tuple[float, float]
    wavelength: float
    raw_uid: str
    scan_id: int
    recipe: dict[str, Any]
    version: str
    device: str
    communicator: str
    ranks: int
    seconds: float
    seconds_total: float
    error_fourier: float
    frames_dropped: int = 0
    saturated_pixels: int = 0

    _ATTRIBUTES = (
        "pixel_size",
        "origin_m",
        "wavelength",
        "raw_uid",
        "scan_id",
        "version",
        "device",
        "communicator",
        "ranks",
        "seconds",
        "seconds_total",
        "error_fourier",
    )
    _LATER = ("frames_dropped", "saturated_pixels")  # which results of the first versions lack
    _DATASETS = (
        # field, dataset, units, axes
        ("object", "object", "1", "mode,y,x"),
        ("probe", "probe", "sqrt(photon)", "mode,y,x"),
        ("positions", "positions", "pixel", "view,yx"),
        ("positions_m", "positions_m", "m", "view,yx"),
        ("iteration", "errors/iteration", "1", "iteration"),
        ("error_probe", "errors/probe", "1", "iteration,mode"),
        ("error_object", "errors/object", "1", "iteration,mode"),
        ("error_fourier_curve", "errors/fourier", "1", "iteration"),
        ("probe_power", "probe_power", "1", "mode"),
    )

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``result.h5`` into `folder`, whole or not at all, and return its path."""
        path = Path(folder) / RESULT_FILE
        with WholeFile(path) as file:
            for name, dataset, units, axes in self._DATASETS:
                put(file, dataset, getattr(self, name), units, axes)
            for name in (*self._ATTRIBUTES, *self._LATER):
                file.attrs[name] = getattr(self, name)
            file.attrs["recipe"] = json.dumps(self.recipe)
        return path

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ResultData:
        """Read a result file.

        Raises
        ------
        JobError
            If it is missing, damaged or not a result of ours.
        """
        try:
            with h5py.File(path, "r") as file:
                arrays = {name: file[dataset][()] for name, dataset, *_ in cls._DATASETS}
                there = (*cls._ATTRIBUTES, *(name for name in cls._LATER if name in file.attrs))
                values = {name: _plain(file.attrs[name]) for name in there}
                recipe = json.loads(file.attrs["recipe"])
        except (OSError, KeyError) as error:
            raise JobError(f"{path} is not a readable result: {error}") from error
        return cls(**arrays, **values, recipe=recipe)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    return value.item() if isinstance(value, np.generic) else value
