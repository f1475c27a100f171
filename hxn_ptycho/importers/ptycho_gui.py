"""``scan_<id>.h5`` of ptycho_gui, HXN's reconstruction program.

What is in it (read from HXN's public code): ``diffamp`` (N, nx, ny), square roots of the prepared
counts. A frame of the detector, cropped, was turned by ``rot90(axes=(1, 0))``, so that axis 0 is
its columns and axis 1 its rows upwards; then ``fftshift`` moved its middle to [0, 0]. ``points``
(2, N) are stage positions x, y, um. The solver uses ``-points * direction`` along its two axes,
both directions -1 unless set otherwise, and the x among them times the cosine of ``angle`` (the
sine above 45 degrees; turned round from -45 degrees on). ``lambda_nm``, ``z_m``, ``ccd_pixel_um``
are what they say; frames are already normalised to ``ic``. Newer files refer to the detector's own
file instead: ``raw_data/{flag, filename, roi, badpixels}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..export.scan_ptycho_gui import x_projection
from ..optics import energy_from_wavelength
from ..solver.job import relocate
from .errors import ImportFileError
from .given import Given
from .hdf5 import find, number, opened, read_batches
from .measured import LARGEST, Frames, Measured, check_counts, check_positions

RAW_DATASET = "/entry/data/data"


def read_ptycho_gui(path: Path, given: Given) -> Measured:
    """Read a scan from a ``scan_<id>.h5``.

    Positions are those of the beam on the sample in the frame of the detector, as the solver of
    ptycho_gui uses them: with wrong directions there it finds no consistent picture either.

    Raises
    ------
    ImportFileError
        If it cannot be read, something is missing, or frames and positions do not fit together.
    """
    source = path.name
    with opened(path) as file:
        points = _points(source, file)
        parts = _diffamp(path, file, points) or _raw_data(path, file)
        if parts is None:
            raise ImportFileError(
                f"{source} has neither diffamp nor raw_data/filename: no frames; it has "
                f"{', '.join(file)}"
            )
        angle = number(file, "angle")
        wavelength_nm = number(file, "lambda_nm")
        pixel_um = number(file, "ccd_pixel_um")
        geometry = given.geometry(
            source,
            energy_kev=energy_from_wavelength(wavelength_nm * 1e-9) if wavelength_nm else None,
            distance_m=number(file, "z_m") or None,  # 0: not set
            detector_pixel_um=(pixel_um, pixel_um) if pixel_um else None,
        )
    check_positions(source, "points", points, parts["frames"].count)
    directions = np.array([given.x_direction, given.y_direction])
    along_x, along_y = (-points * directions).T
    projection = 1.0
    if angle is not None:
        if not np.isfinite(angle):
            raise ImportFileError(f"{source}: angle is {angle:g}")
        projection, turned = x_projection(angle)
        along_x = along_x * turned
    found = re.search(r"scan_(\d+)", source)
    return Measured(
        format="ptycho_gui",
        # Axis 1 of a turned frame is the detector's rows upwards.
        positions_m=np.stack([-along_y, along_x], axis=1) * 1e-6,
        geometry=geometry,
        projection=(1.0, projection),
        angle_deg=angle,
        scan_id=int(found[1]) if found else None,
        **parts,
    )


def frames_from_amplitudes(amplitudes: NDArray) -> NDArray:
    """Return counts (m, ny, nx), DC at [0, 0], of ``diffamp`` frames (m, nx, ny).

    What differs from whole numbers by the rounding of their square roots is made whole: uint16 if
    they fit, else float32.
    """
    counts = np.square(amplitudes, dtype=np.float64)
    whole = np.rint(counts)
    rounding = 4 * np.finfo(amplitudes.dtype).eps
    if (np.abs(counts - whole) <= rounding * np.maximum(counts, 1)).all():
        counts = whole.astype(np.uint16 if whole.max(initial=0) <= LARGEST else np.float32)
    else:
        counts = counts.astype(np.float32)
    turned = np.rot90(np.fft.ifftshift(counts, axes=(1, 2)), axes=(1, 2))
    return np.fft.ifftshift(turned, axes=(1, 2))


def _points(source: str, file: h5py.File) -> NDArray[np.float64]:
    """Return (N, 2): x, y, um."""
    points = find(file, "points")
    if points is None:
        raise ImportFileError(f"{source} has no points (2, N), the positions; it has "
                              f"{', '.join(file)}")  # fmt: skip
    if points.ndim != 2 or 2 not in points.shape or points.dtype.kind not in "iuf":
        raise ImportFileError(
            f"{source}: points has shape {points.shape} and type {points.dtype}; expected (2, N) "
            "numbers, um"
        )
    values = np.asarray(points[()], float)
    return values.T if len(values) == 2 else values


def _diffamp(path: Path, file: h5py.File, points: NDArray) -> dict[str, Any] | None:
    dataset = find(file, "diffamp")
    if dataset is None or dataset.size == 0:
        return None
    if dataset.ndim != 3 or dataset.dtype.kind != "f":
        raise ImportFileError(
            f"{path.name}: diffamp has shape {dataset.shape} and type {dataset.dtype}; expected "
            "(N, nx, ny), square roots of counts"
        )
    count, nx, ny = dataset.shape

    def convert(first: int, amplitudes: NDArray) -> NDArray:
        check_counts(path.name, "diffamp", first, amplitudes)
        return frames_from_amplitudes(amplitudes)

    def batches() -> Iterator[NDArray]:
        return read_batches(path, "diffamp", convert)

    measured = find(file, "measured")
    mask = None if measured is None else _mask(path.name, measured, (nx, ny))
    kind = f"{dataset.dtype}, square roots"
    frames = Frames(count, (ny, nx), np.dtype(np.float32), kind, batches)
    return {"frames": frames, "dc": "corner", "mask": mask}


def _mask(source: str, measured: h5py.Dataset, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask that `export` keeps beside ``diffamp``, turned like it."""
    if measured.shape != shape:
        raise ImportFileError(f"{source}: measured is {measured.shape} for frames of {shape}")
    turned = np.fft.ifftshift(measured[()] != 0)
    return np.fft.ifftshift(np.rot90(turned, axes=(0, 1)))


def _raw_data(path: Path, file: h5py.File) -> dict[str, Any] | None:
    """Return frames in the detector's own files, cropped: not turned, the beam in the middle."""
    names = find(file, "raw_data/filename")
    roi = find(file, "raw_data/roi")
    if names is None or roi is None:
        return None
    (y0, y1), (x0, x1) = np.asarray(roi[()], int).reshape(2, 2).tolist()
    region = (slice(y0, y1), slice(x0, x1))
    files = [
        relocate(name.decode() if isinstance(name, bytes) else str(name), path.parent)
        for name in np.ravel(names[()])
    ]
    starts, kinds = [0], set()
    for name in files:
        with opened(name) as raw:
            frames = find(raw, RAW_DATASET)
            if frames is None or frames.ndim != 3:
                raise ImportFileError(f"{name}, where {path.name} has its frames, has no "
                                      f"{RAW_DATASET} (N, h, w)")  # fmt: skip
            if not (0 <= y0 < y1 <= frames.shape[1] and 0 <= x0 < x1 <= frames.shape[2]):
                raise ImportFileError(
                    f"{path.name}: raw_data/roi, rows {y0} to {y1} and columns {x0} to {x1}, is "
                    f"not inside the frames of {frames.shape[1]} x {frames.shape[2]} in {name}"
                )
            starts.append(starts[-1] + len(frames))
            kinds.add(frames.dtype.newbyteorder("="))
    if len(kinds) != 1:
        raise ImportFileError(f"{path.name}: its raw files hold {', '.join(map(str, kinds))}")
    mask = np.ones((y1 - y0, x1 - x0), bool)
    bad = find(file, "raw_data/badpixels")
    if bad is not None and bad.size:
        rows, columns = np.asarray(bad[()], int).reshape(2, -1)
        inside = (rows >= y0) & (rows < y1) & (columns >= x0) & (columns < x1)
        mask[rows[inside] - y0, columns[inside] - x0] = False

    def convert(first: int, frames: NDArray) -> NDArray:
        frames = np.where(mask, frames, 0)
        check_counts(path.name, "raw_data", first, frames)
        return frames

    def batches() -> Iterator[NDArray]:
        for name, start in zip(files, starts, strict=False):
            yield from read_batches(name, RAW_DATASET, convert, region=region, start=start)

    (kind,) = kinds
    frames = Frames(starts[-1], mask.shape, kind, str(kind), batches)
    return {"frames": frames, "dc": "centre", "mask": None if mask.all() else mask}
