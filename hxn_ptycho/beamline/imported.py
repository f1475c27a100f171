"""Scans that an importer has taken from a file: positions in metres beside the frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..optics import wavelength_from_energy
from ..scan import Scan, ScanError
from ..solver.job import relocate
from .checks import check_positions
from .starts import number_announced, scan_type

if TYPE_CHECKING:
    from .config import BeamlineConfig
    from .run import Run

NAME = "imported"
WHAT = "a scan imported from a file"
Settings = None
SCAN_TYPE = "PTYCHO_IMPORT"
FRAMES, POSITIONS = "frames", "positions"


def takes(start: Mapping[str, Any], config: BeamlineConfig) -> bool:
    """Return whether a run is of this flavour."""
    return scan_type(start) == SCAN_TYPE


def diffracts(start: Mapping[str, Any], keys: Mapping[str, Any], config: BeamlineConfig) -> bool:
    """Return whether there are frames and positions."""
    return FRAMES in keys and POSITIONS in keys


def expected(start: Mapping[str, Any]) -> int | None:
    """Return the number of frames that were imported."""
    return number_announced(start)


def read(run: Run) -> Scan:
    """Read a run of this flavour.

    Raises
    ------
    ScanError
        If something is missing or does not fit together.
    CatalogError
        If an array cannot be found or opened.
    """
    start = run.start
    scan_id, scan = start.get("scan_id"), start["scan"]
    missing = [
        key for key in ("energy_kev", "distance_m", "detector_pixel_m", "dc") if key not in scan
    ]
    if missing:
        raise ScanError(
            f"the imported scan {scan_id} has no {', '.join(missing)} in its start document; "
            "import it again"
        )
    frames = run.frames(FRAMES)
    positions = run.read(POSITIONS).reshape(-1, 2)
    check_positions(scan_id, positions, frames.shape[0])
    height, width = scan["detector_pixel_m"]
    along_y, along_x = scan.get("projection", (1.0, 1.0))
    probe = scan.get("probe")
    return Scan(
        uid=run.uid,
        scan_id=int(scan_id or 0),
        frames=frames.blocks,
        frame_shape=(frames.shape[1], frames.shape[2]),
        frame_dtype=frames.dtype.name,
        dc=scan["dc"],
        positions_m=positions,
        wavelength_m=wavelength_from_energy(float(scan["energy_kev"])),
        distance_m=float(scan["distance_m"]),
        detector_pixel_m=(float(height), float(width)),
        normalisation=np.ones(frames.shape[0]),
        mask=_mask(scan_id, scan, frames.blocks[0].file),
        projection=(float(along_y), float(along_x)),
        # The importer keeps the probe in the file of the frames.
        start_probe=(frames.blocks[0].file, probe["dataset"]) if probe else None,
        start=dict(start),
    )


def _mask(scan_id: Any, scan: Mapping[str, Any], file: str) -> NDArray[np.bool_] | None:
    """Return the mask that the importer keeps in the file of the frames."""
    if "mask" not in scan:
        return None
    path = relocate(file, ".")
    try:
        with h5py.File(path, "r", locking=False) as source:
            return np.asarray(source[scan["mask"]["dataset"]][()], bool)
    except (OSError, KeyError) as error:
        raise ScanError(
            f"the mask of the imported scan {scan_id} in {path} cannot be read: {error}"
        ) from error
