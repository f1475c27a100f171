"""Files of the job folder: written whole or not at all, and found again on another host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

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


class WholeFile:
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


def put(file: h5py.File, name: str, array: Any, units: str, axes: str, **options: Any) -> None:
    """Write one dataset with its attributes ``units`` and ``axes``."""
    dataset = file.create_dataset(name, data=array, **options)
    dataset.attrs["units"] = units
    dataset.attrs["axes"] = axes


def write_whole(path: Path, text: str) -> None:
    """Write a text file beside its place and rename it when complete."""
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
    with WholeFile(Path(path)) as file:
        for name, array in arrays.items():
            put(file, name, array, "1", "mode,y,x")
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
