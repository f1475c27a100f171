"""CXI files of ptychography: raw data as cxidb.org describes them, and as others write them.

The coordinates of CXI are those of McStas: z along the beam, y up, x to the left seen along the
beam. ``translation`` is that of the sample, m. By default (and without ``basis_vectors``) a
detector's rows go down and its columns to the right, seen along the beam: as ours, and the beam is
then at row ``translation_y`` and column ``translation_x`` of the sample. Frames that lie otherwise
are turned as they are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from ..optics import energy_from_wavelength
from ..solver.orientation import matrix, turn
from .cxi_detector import DETECTOR, Detector, read_detector
from .errors import ImportFileError
from .given import Given
from .hdf5 import find, load_filters, number, opened, read_batches
from .measured import Frames, Measured, check_counts, check_finite, check_positions
from .turning import reversed_axes, turn_about_beam

DATA = ("entry_1/data_1/data", f"{DETECTOR}/data")
TRANSLATION = (
    "entry_1/data_1/translation",
    "entry_1/sample_1/geometry_1/translation",
    f"{DETECTOR}/translation",
)
SHIFTED = ("entry_1/data_1/is_fft_shifted", f"{DETECTOR}/is_fft_shifted")
SOURCE = "entry_1/instrument_1/source_1"
PROBE = (f"{SOURCE}/illumination", f"{SOURCE}/probe")
DARK = (f"{DETECTOR}/data_dark", f"{DETECTOR}/dark")
SCAN = "entry_1/data_1/process_1/configuration/scan"

JOULE_PER_KEV = 1.602176634e-16
_IN_KEV = {"j": 1 / JOULE_PER_KEV, "joule": 1 / JOULE_PER_KEV, "ev": 1e-3, "kev": 1.0}
_HAS_SIGNAL = 0x1000  # the one bit of a CXI mask that does not speak against a pixel
_SAMPLED = 16  # frames that are looked at to see where the direct beam is
_OFF_MIDDLE = 2  # pixels; a beam nearer to the middle is left to be found from the frames

DC = Literal["corner", "centre"]


def read_cxi(path: Path, given: Given) -> Measured:
    """Read a scan from the first entry of a CXI file.

    Raises
    ------
    ImportFileError
        If it cannot be read, is a picture and no scan, something is missing, or its arrays do not
        fit together.
    """
    source = path.name
    with opened(path) as file:
        data, translation = find(file, *DATA), find(file, *TRANSLATION)
        if data is None or translation is None or data.dtype.kind == "c":
            picture = data is not None and data.dtype.kind == "c"
            raise ImportFileError(
                f"{source} holds {'a picture, no scan' if picture else 'no scan'}; expected frames "
                f"in {DATA[0]} or {DATA[1]}, (N, h, w), and positions in {TRANSLATION[1]}, (N, 3)"
            )
        if data.ndim != 3 or data.dtype.kind not in "iuf" or not data.size:
            raise ImportFileError(
                f"{source}: {data.name} has shape {data.shape} and type {data.dtype}; expected "
                "counts, (N, h, w)"
            )
        load_filters(path, data)
        name, (count, *shape), dtype = data.name, data.shape, data.dtype.newbyteorder("=")
        detector = read_detector(source, file, _axes(data))
        geometry = given.geometry(
            source,
            energy_kev=_energy_kev(source, file) if given.energy_kev is None else None,
            distance_m=detector.distance_m,
            detector_pixel_um=detector.pixel_um,
        )
        mask = _mask(source, file, data.shape)
        dc = given.dc or _dc(source, file, data, mask)
        positions = _positions(source, translation, count)
        dark = _dark(source, find(file, *DARK), data.shape)
        probe = _probe(find(file, *PROBE), (shape[0], shape[1]))
        scan_id = number(file, SCAN)

    centre = _off_middle(detector, (shape[0], shape[1])) if dc == "centre" else None

    def turned(array: NDArray) -> NDArray:
        if centre is not None:  # as a whole: the beam is not in the middle
            return turn(array, detector.orientation)
        return turn_about_beam(array, detector.orientation, dc)

    def convert(first: int, frames: NDArray) -> NDArray:
        if mask is not None:
            frames = np.where(mask, frames, 0)
        check_counts(source, name, first, frames)
        return turned(frames)

    def batches() -> Iterator[NDArray]:
        return read_batches(path, name, convert)

    h, w = turn(np.empty(shape, bool), detector.orientation).shape
    return Measured(
        format="cxi",
        frames=Frames(count, (h, w), dtype, str(dtype), batches),
        positions_m=positions,
        geometry=geometry,
        dc=dc,
        mask=None if mask is None else turned(mask),
        dark=None if dark is None else turned(dark),
        probe=None if probe is None else turn_about_beam(probe, detector.orientation, "centre"),
        scan_id=None if scan_id is None else int(scan_id),
        recipe={} if centre is None else {"centre": _turned_centre(centre, detector, (h, w))},
    )


def _axes(data: h5py.Dataset) -> str:
    """Return the attribute ``axes``, "translation:y:x", without which it is that."""
    axes = data.attrs.get("axes", "")
    axes = ":".join(map(_text, np.ravel(axes))) if isinstance(axes, np.ndarray) else _text(axes)
    return axes.replace(" ", "").lower()


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _energy_kev(source: str, file: h5py.File) -> float | None:
    """Return the photon energy: CXI has it in J, or the wavelength in m."""
    energy = number(file, f"{SOURCE}/energy")
    if energy is not None:
        units = _text(file[f"{SOURCE}/energy"].attrs.get("units", "J")).lower()
        if units in _IN_KEV and energy * _IN_KEV[units] < 1e4:
            return energy * _IN_KEV[units]
        raise ImportFileError(
            f"{source}: {SOURCE}/energy is {energy:g} {units}, which cannot be the energy of a "
            "photon in J, as CXI has it; give it: --energy-kev NUMBER"
        )
    wavelength = number(file, f"{SOURCE}/wavelength")
    return energy_from_wavelength(wavelength) if wavelength else None


def _mask(source: str, file: h5py.File, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Return where the detector measured, in every frame."""
    found = find(file, f"{DETECTOR}/mask")
    if found is None:
        return None
    if found.shape not in (shape, shape[1:]):
        raise ImportFileError(f"{source}: a mask of {found.shape} for frames of {shape[1:]}")
    flags = found[()]
    good = (flags == 0) | (flags == _HAS_SIGNAL)
    return good.all(axis=0) if good.ndim == 3 else good


def _dc(source: str, file: h5py.File, data: h5py.Dataset, mask: NDArray | None) -> DC:
    """Return where the direct beam is: as the file says, else in the middle, as CXI has it.

    Raises
    ------
    ImportFileError
        If the file does not say, and the frames are brighter at their corners.
    """
    said = number(file, *SHIFTED)
    if said is not None:
        return "corner" if said else "centre"
    which = np.unique(np.linspace(0, len(data) - 1, _SAMPLED).astype(int))
    total = np.sum(
        [np.clip(np.nan_to_num(data[int(j)]), 0, None) for j in which], axis=0, dtype=float
    )
    if mask is not None:
        total = np.where(mask, total, 0)
    h, w = total.shape
    middle = np.s_[h // 4 : h - h // 4, w // 4 : w - w // 4]
    at_centre, at_corner = total[middle].sum(), np.fft.fftshift(total)[middle].sum()
    if at_corner > 2 * at_centre:
        raise ImportFileError(
            f"{source}: its frames are brighter at their corners than in their middle, and it has "
            f"no {SHIFTED[1]}; say where the direct beam is: --dc corner, or --dc centre"
        )
    return "centre"


def _positions(source: str, translation: h5py.Dataset, count: int) -> NDArray[np.float64]:
    """Return (N, 2), m: where the beam is on the sample, (y, x)."""
    values = translation[()]
    if values.ndim == 2 and values.dtype.kind in "iuf":
        if values.shape[1] not in (2, 3) or (len(values) != count and values.shape[1] == count):
            values = values.T  # some write it so
        if values.shape[1] in (2, 3):
            check_positions(source, translation.name, values, count)
            return values[:, [1, 0]].astype(np.float64)
    raise ImportFileError(
        f"{source}: {translation.name} has shape {values.shape} and type {values.dtype}; expected "
        f"({count}, 3): x, y, z of the sample, m"
    )


def _dark(source: str, found: h5py.Dataset | None, shape: tuple[int, ...]) -> NDArray | None:
    """Return the mean of the frames without beam."""
    if found is None or found.shape[-2:] != shape[1:]:
        return None
    dark = np.asarray(found[()], float).reshape(-1, *shape[1:]).mean(axis=0)
    check_finite(source, found.name, dark)
    return dark if dark.any() else None


def _probe(found: h5py.Dataset | None, shape: tuple[int, int]) -> NDArray | None:
    """Return a first guess of the probe, if there is one of the frames' size."""
    if found is None or found.dtype.kind != "c" or found.shape[-2:] != shape or found.ndim > 3:
        return None
    probe = found[()].reshape(-1, *shape)
    return probe if np.isfinite(probe).all() and probe.any() else None


def _off_middle(detector: Detector, shape: tuple[int, int]) -> tuple[float, float] | None:
    """Return where on file the direct beam is, if it is in the frame but not in its middle."""
    if detector.centre is None:
        return None
    centre = np.array(detector.centre)
    inside = (centre > 0).all() and (centre < shape).all()
    off = np.abs(centre - np.array(shape) // 2).max() > _OFF_MIDDLE
    return detector.centre if inside and off else None


def _turned_centre(
    centre: tuple[float, float], detector: Detector, shape: tuple[int, int]
) -> list[float]:
    """Return a place on file, whole pixels, in the turned frame of (h, w)."""
    on_file = np.floor(np.add(centre, 1e-6))
    # matrix @ turned = on file; a column of it says which axis on file a turned one is.
    places = np.abs(matrix(detector.orientation)).T @ on_file
    flips = reversed_axes(detector.orientation)
    return [
        float(n - 1 - place if flip else place)
        for n, place, flip in zip(shape, places, flips, strict=True)
    ]
