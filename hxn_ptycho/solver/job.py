"""The job folder: all that passes between the rooms above and the solver.

Any process can run a job folder, again, on another host, or publish it later. This module needs
the standard library, numpy and h5py only.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

SCHEMA = 1
ROOTS_VARIABLE = "HXN_PTYCHO_ROOTS"

JOB_FILE = "job.json"
INPUT_FILE = "input.h5"
START_FILE = "start.h5"
PROGRESS_FILE = "progress.jsonl"
LOG_FILE = "solver.log"
CHECKPOINT_FILE = "checkpoint.h5"
RESULT_FILE = "result.h5"


class JobError(ValueError):
    """A job that cannot be run; `hint` says what to do about it."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True)
class FrameBlock:
    """`count` consecutive frames from frame `start` of `dataset` (count, h, w) in `file`."""

    file: str
    dataset: str
    start: int
    count: int


@dataclass(frozen=True)
class Job:
    """What ``job.json`` says.

    Attributes
    ----------
    job_uid, derived_uid, raw_uid, scan_id
        Of this job, of the run it will be published as, of the run it reconstructs.
    frames : tuple of FrameBlock
        Where the frames lie; `file` absolute or relative to the folder.
    frame_shape, frame_dtype
        Of one frame on file.
    dc : {"centre", "corner"}
        Where the direct beam is in a frame on file.
    crop : (int, int, int)
        Row, column and side (y0, x0, n) of the square of a frame that is used. With `dc`
        "corner" it is counted after the direct beam has been moved to the middle.
    fft_window : int
        Side of the FFT window, at least the crop's; the rim between is not measured.
    wavelength_m, distance_m : float
        Metres.
    detector_pixel_m, object_pixel_m : (float, float)
        (y, x), metres.
    recipe : dict
        Every key of the recipe, resolved.
    start : dict
        ``{"probe": "start.h5:/probe" | None, "object": "start.h5:/object" | None}``
    """

    job_uid: str
    derived_uid: str
    raw_uid: str
    scan_id: int
    frames: tuple[FrameBlock, ...]
    frame_shape: tuple[int, int]
    frame_dtype: str
    dc: Literal["centre", "corner"]
    crop: tuple[int, int, int]
    fft_window: int
    wavelength_m: float
    distance_m: float
    detector_pixel_m: tuple[float, float]
    object_pixel_m: tuple[float, float]
    recipe: dict[str, Any]
    start: dict[str, str | None] = field(default_factory=lambda: {"probe": None, "object": None})
    schema: int = SCHEMA

    @property
    def number_of_frames(self) -> int:
        """How many frames the blocks hold together."""
        return sum(block.count for block in self.frames)

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``job.json`` into `folder`, whole or not at all."""
        text = json.dumps(asdict(self), indent=1, allow_nan=False)
        _write_whole(Path(folder) / JOB_FILE, text)

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Job:
        """Read ``job.json`` of `folder`.

        Raises
        ------
        JobError
            If the file is missing, is not JSON, has another schema or lacks a key.
        """
        path = Path(folder) / JOB_FILE
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            raise JobError(
                f"{folder} is not a job folder: it has no {JOB_FILE}",
                "give a folder that prepare made, as in HOME/jobs/<job uid>",
            ) from None
        except (OSError, json.JSONDecodeError) as error:
            raise JobError(f"{path} cannot be read: {error}") from error
        if content.get("schema") != SCHEMA:
            raise JobError(
                f"{path} has schema {content.get('schema')!r}; this version reads {SCHEMA}",
                "prepare the job again with this version",
            )
        try:
            return cls(
                **{
                    **content,
                    "frames": tuple(FrameBlock(**block) for block in content["frames"]),
                    **{
                        key: tuple(content[key])
                        for key in ("frame_shape", "crop", "detector_pixel_m", "object_pixel_m")
                    },
                }
            )
        except (KeyError, TypeError) as error:
            raise JobError(f"{path} lacks a key or has one too many: {error}") from error


@dataclass(frozen=True)
class Inputs:
    """What ``input.h5`` holds.

    Attributes
    ----------
    positions_m : ndarray (N, 2), float64, m
        Where the beam is on the sample, (y, x).
    normalisation : ndarray (N,), float64
        What the counts of each frame are multiplied by.
    mask : ndarray (h, w), bool
        True where the detector measured; shaped as a frame on file.
    """

    positions_m: NDArray[np.float64]
    normalisation: NDArray[np.float64]
    mask: NDArray[np.bool_]

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``input.h5`` into `folder`, whole or not at all."""
        with _whole_h5(Path(folder) / INPUT_FILE) as file:
            _put(file, "positions_m", self.positions_m, "m", "frame,yx")
            _put(file, "normalisation", self.normalisation, "1", "frame")
            _put(file, "mask", self.mask, "1", "row,column", compression="gzip")

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Inputs:
        """Read ``input.h5`` of `folder`.

        Raises
        ------
        JobError
            If the file is missing or damaged.
        """
        path = Path(folder) / INPUT_FILE
        try:
            with h5py.File(path, "r") as file:
                return cls(
                    file["positions_m"][()],
                    file["normalisation"][()],
                    file["mask"][()].astype(bool),
                )
        except (OSError, KeyError) as error:
            raise JobError(f"{path} cannot be read: {error}", "prepare the job again") from error


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
        with _whole_h5(path) as file:
            for name, dataset, units, axes in self._DATASETS:
                _put(file, dataset, getattr(self, name), units, axes)
            for name in self._ATTRIBUTES:
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
                values = {name: _plain(file.attrs[name]) for name in cls._ATTRIBUTES}
                recipe = json.loads(file.attrs["recipe"])
        except (OSError, KeyError) as error:
            raise JobError(f"{path} is not a readable result: {error}") from error
        return cls(**arrays, **values, recipe=recipe)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    return value.item() if isinstance(value, np.generic) else value


class ProgressWriter:
    """Appends to ``progress.jsonl``: one JSON object a line, non-finite numbers as null."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / PROGRESS_FILE

    def __call__(self, event: str, **fields: Any) -> None:
        """Append one line ``{"event": event, "time": ..., **fields}`` in a single write."""
        line = json.dumps(_finite({"event": event, "time": time.time(), **fields})) + "\n"
        # O_APPEND and one write: ranks may report a failure at the same moment.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def read_progress(folder: str | os.PathLike[str], offset: int = 0) -> tuple[list[dict], int]:
    """Return the whole lines of ``progress.jsonl`` after byte `offset`, and the next offset.

    A line still being written is left for the next call; a missing file has no lines.
    """
    try:
        with open(Path(folder) / PROGRESS_FILE, "rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], offset + len(whole)


def relocate(file: str, folder: str | os.PathLike[str]) -> Path:
    """Return where `file` of a job is on this host.

    ``HXN_PTYCHO_ROOTS`` may hold ``old=new`` pairs, separated by ``:``; the first whose old root
    leads to `file` replaces it. A relative path is taken from the job folder.
    """
    path = Path(file)
    for pair in filter(None, os.environ.get(ROOTS_VARIABLE, "").split(":")):
        old, equals, new = pair.partition("=")
        if equals and path.is_relative_to(old):
            return Path(new) / path.relative_to(old)
    return path if path.is_absolute() else Path(folder) / path


def _finite(value: Any) -> Any:
    """Replace numpy scalars and arrays by plain ones, and non-finite numbers by None."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _finite(value.tolist())
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _put(file: h5py.File, name: str, array: Any, units: str, axes: str, **options: Any) -> None:
    dataset = file.create_dataset(name, data=array, **options)
    dataset.attrs["units"] = units
    dataset.attrs["axes"] = axes


class _whole_h5:
    """An HDF5 file written beside its place and renamed when complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.{os.getpid()}")

    def __enter__(self) -> h5py.File:
        self.file = h5py.File(self.partial, "w")
        return self.file

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self.file.close()
            if kind is None:
                os.replace(self.partial, self.path)
        finally:
            self.partial.unlink(missing_ok=True)


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_arrays(
    path: str | os.PathLike[str],
    *,
    object_origin_m: tuple[float, float] | None = None,
    **arrays: NDArray,
) -> None:
    """Write complex (modes, rows, columns) arrays: ``start.h5`` and ``checkpoint.h5``.

    Parameters
    ----------
    object_origin_m : (float, float), optional, m
        Stage (y, x) of the centre of pixel [0, 0] of the array named ``object``.
    **arrays : ndarray (modes, rows, columns), complex
        ``probe``, ``object``.
    """
    with _whole_h5(Path(path)) as file:
        for name, array in arrays.items():
            _put(file, name, array, "1", "mode,y,x")
            if name == "object" and object_origin_m is not None:
                file[name].attrs["origin_m"] = object_origin_m


def read_array(
    reference: str, folder: str | os.PathLike[str]
) -> tuple[NDArray, tuple[float, float] | None]:
    """Read ``file:/dataset``, the file taken from `folder` if relative.

    Returns
    -------
    array : ndarray (modes, rows, columns)
    origin_m : (float, float) or None, m
        Stage (y, x) of the centre of pixel [0, 0], if the dataset's attribute says so.

    Raises
    ------
    JobError
        If it is missing or damaged.
    """
    file, _, dataset = reference.rpartition(":")
    try:
        with h5py.File(relocate(file, folder), "r") as source:
            origin = source[dataset].attrs.get("origin_m")
            where = None if origin is None else (float(origin[0]), float(origin[1]))
            return source[dataset][()], where
    except (OSError, KeyError) as error:
        raise JobError(f"{reference} cannot be read: {error}", "prepare the job again") from error


def iterate_blocks(
    frames: tuple[FrameBlock, ...], first: int, last: int
) -> Iterator[tuple[FrameBlock, int, int, int]]:
    """Yield ``(block, start, stop, offset)`` of the parts of `frames` within frames first..last-1.

    `start`, `stop` index the block's dataset; `offset` is the part's place after `first`.
    """
    begin = 0
    for block in frames:
        low, high = max(first, begin), min(last, begin + block.count)
        if low < high:
            yield block, block.start + low - begin, block.start + high - begin, low - first
        begin += block.count
