"""NumPy archives (.npz, .npz.bz2) with the arrays ``data``, ``scan`` and, perhaps, ``probe``."""

from __future__ import annotations

import bz2
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from .errors import ImportFileError
from .given import Given
from .measured import (
    Frames,
    Measured,
    batch_length,
    check_counts,
    check_finite,
    check_positions,
)

IN_MEMORY = 256 * 2**20  # bytes of a decompressed archive; a larger one goes through a file
NEEDED, OPTIONAL = ("data", "scan"), ("probe",)


def read_archive(path: Path, given: Given) -> Measured:
    """Read a scan from a NumPy archive, compressed by bzip2 or not (its first bytes say).

    Parameters
    ----------
    path : Path
        ``data`` (..., N, h, w): counts, DC at the corner (`given.dc` may say otherwise);
        ``scan`` (..., N, 2): row and column of each window's corner in the object, pixels;
        ``probe`` (..., modes, h, w), optional. Axes before those named have length 1.
    given : Given
        Energy, distance and detector pixel: an archive does not say them.

    Raises
    ------
    ImportFileError
        If it cannot be read, is no such archive, is truncated, or its arrays do not fit.
    """
    geometry = given.geometry(path.name)
    try:
        with ExitStack() as stack:
            file: IO[bytes] = stack.enter_context(path.open("rb"))
            if file.read(3) == b"BZh":
                packed = stack.enter_context(bz2.open(path))
                file = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=IN_MEMORY))
                shutil.copyfileobj(packed, file, 2**20)
            file.seek(0)
            arrays = _read(path, file)
    except (EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ImportFileError(
            f"{path.name} is truncated or damaged ({error}); copy it again"
        ) from error
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read: {error.strerror or error}") from error

    frames, corners, probe = _checked(path.name, arrays)
    h, w = frames.shape[1:]
    # The beam's centre is the middle of the window, whose corner the file gives.
    positions_m = (corners + np.array([h // 2, w // 2])) * geometry.object_pixel_m((h, w))
    length = batch_length(frames.shape, frames.dtype.itemsize)

    def batches() -> Iterator[NDArray]:
        for first in range(0, len(frames), length):
            yield frames[first : first + length]

    return Measured(
        format="npz",
        frames=Frames(len(frames), (h, w), frames.dtype, str(frames.dtype), batches),
        positions_m=positions_m,
        geometry=geometry,
        dc=given.dc or "corner",
        probe=probe,
    )


def _read(path: Path, file: IO[bytes]) -> dict[str, NDArray]:
    start = file.read(4)
    file.seek(0)
    if start != b"PK\x03\x04":
        raise ImportFileError(
            f"{path.name} is not a NumPy archive (.npz, or .npz.bz2): it begins with {start!r}"
        )
    with np.load(file, allow_pickle=False) as archive:
        missing = [key for key in NEEDED if key not in archive.files]
        if missing:
            raise ImportFileError(
                f"{path.name} holds {', '.join(archive.files) or 'nothing'}; expected data "
                "(frames, DC at the corner), scan (positions, object pixels) and perhaps probe: "
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            )
        wanted = [key for key in (*NEEDED, *OPTIONAL) if key in archive.files]
        arrays = {}
        for key in wanted:
            try:
                arrays[key] = archive[key]
            except ValueError as error:
                raise ImportFileError(f"{path.name}: {key} cannot be read: {error}") from error
        return arrays


def _checked(
    source: str, arrays: dict[str, NDArray]
) -> tuple[NDArray, NDArray[np.float64], NDArray | None]:
    """Return frames (N, h, w), corners (N, 2) and probe (modes, h, w) or None, checked."""
    frames = _squeezed(source, "data", arrays["data"], 3, "(frames, rows, columns)")
    corners = _squeezed(source, "scan", arrays["scan"], 2, "(frames, 2), columns (y, x)")
    if frames.dtype.kind not in "uif":
        raise ImportFileError(f"{source}: data has type {frames.dtype}; expected counts")
    if corners.dtype.kind not in "uif" or corners.shape[1] != 2:
        raise ImportFileError(
            f"{source}: scan has shape {corners.shape} and type {corners.dtype}; expected "
            f"({len(frames)}, 2) numbers: row and column of each window's corner, object pixels"
        )
    if min(frames.shape) < 1:
        raise ImportFileError(f"{source}: data has shape {frames.shape}: there is nothing in it")
    check_positions(source, "scan", corners, len(frames))
    check_finite(source, "data", frames)
    check_counts(source, "data", 0, frames)
    probe = arrays.get("probe")
    if probe is not None:
        probe = _squeezed(source, "probe", probe, 3, "(modes, rows, columns)")
        if probe.shape[1:] != frames.shape[1:]:
            raise ImportFileError(
                f"{source}: the probe has {probe.shape[1]} x {probe.shape[2]} pixels and a frame "
                f"{frames.shape[1]} x {frames.shape[2]}; both are on the same window"
            )
        check_finite(source, "probe", probe)
        probe = probe.astype(np.complex128 if probe.dtype == np.complex128 else np.complex64)
    return frames, corners.astype(np.float64), probe


def _squeezed(source: str, name: str, array: NDArray, axes: int, expected: str) -> NDArray:
    leading = array.shape[: max(array.ndim - axes, 0)]
    if array.ndim < axes - (name == "probe") or any(length != 1 for length in leading):
        raise ImportFileError(
            f"{source}: {name} has shape {array.shape}; expected {expected}, with axes of length 1 "
            "before them at most"
        )
    return array.reshape((1,) * (axes - array.ndim) + array.shape[len(leading) :])
