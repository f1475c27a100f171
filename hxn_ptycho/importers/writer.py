"""The file of an imported scan: frames one a chunk, positions, mask, probe; written as read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .errors import ImportFileError
from .measured import LARGEST, Measured

FRAMES, POSITIONS, MASK, PROBE, DARK = "frames", "positions", "mask", "probe", "dark"


@dataclass(frozen=True)
class Kept:
    """As what frames are kept: their type, and that in words, with what they came as."""

    dtype: np.dtype[Any]
    words: str


class _OtherType(Exception):
    """Counts that are not of the type that was tried."""


def write_scan(target: Path, measured: Measured) -> Kept:
    """Write the file of a scan, whole or not at all, and say as what its frames are kept.

    Counts that come as floats but are whole numbers below 65,536 are kept as uint16: half the size,
    no loss. The first batch tells; if a later one differs, writing begins anew.

    Raises
    ------
    ImportFileError
        If it cannot be written, or a frame holds what is no count.
    """
    frames = measured.frames
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    kinds = [frames.dtype]
    if frames.dtype.kind == "f":
        kinds.insert(0, np.dtype(np.uint16))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            for kind in kinds:
                try:
                    _write(partial, measured, kind)
                    break
                except _OtherType:
                    continue
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ImportFileError(
            f"{target} cannot be written: {error.strerror or error}; "
            f"{frames.nbytes / 1e6:.0f} MB are needed there at most"
        ) from error
    if kind != frames.dtype:
        return Kept(kind, f"uint16 (whole numbers below 65,536, {frames.source} in the file)")
    if frames.source == str(kind):
        return Kept(kind, f"{kind}, as in the file")
    return Kept(kind, f"{kind} ({frames.source} in the file)")


def _write(path: Path, measured: Measured, kind: np.dtype) -> None:
    frames = measured.frames
    with h5py.File(path, "w") as file:
        # One frame a chunk, as detectors write them: each rank reads its own.
        target = file.create_dataset(
            FRAMES, (frames.count, *frames.shape), kind, chunks=(1, *frames.shape)
        )
        target.attrs["units"] = "photon"
        done = 0
        for batch in frames.batches():
            if kind != frames.dtype and not _whole(batch):
                raise _OtherType
            target[done : done + len(batch)] = batch.astype(kind, copy=False)
            done += len(batch)
        file[POSITIONS] = measured.positions_m
        file[POSITIONS].attrs["units"] = "m"
        if measured.mask is not None:
            file.create_dataset(MASK, data=measured.mask, compression="gzip")
        if measured.probe is not None:
            file[PROBE] = measured.probe
        if measured.dark is not None:
            file[DARK] = measured.dark


def _whole(counts: np.ndarray) -> bool:
    if counts.dtype == np.uint16:
        return True
    return bool(counts.max(initial=0) <= LARGEST and np.array_equal(counts, np.rint(counts)))
