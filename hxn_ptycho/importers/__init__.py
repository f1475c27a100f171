"""Scans from files of others, as runs in catalog ``raw``."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from databroker import Broker

from ..catalog import (
    CatalogError,
    Catalogs,
    check_readable,
    find_run,
    insert,
    search,
    start_document,
)
from .archive import read_archive
from .cxi import DATA, read_cxi
from .documents import documents, start_of
from .errors import ImportFileError
from .given import Given
from .hdf5 import SIGNATURE, opened
from .measured import Measured
from .ptycho_gui import read_ptycho_gui
from .writer import write_scan

__all__ = ["ImportFileError", "import_file"]


def import_file(
    path: str | os.PathLike[str],
    *,
    energy_kev: float | None = None,
    distance_m: float | None = None,
    detector_pixel_um: float | None = None,
    dc: Literal["corner", "centre"] | None = None,
    x_direction: float = -1.0,
    y_direction: float = -1.0,
    catalogs: Catalogs,
    md: Mapping[str, Any] | None = None,
) -> str:
    """Take a scan from a file into catalog ``raw``, as a run of its own.

    What kind of file it is, its content says: ``scan_<id>.h5`` of ptycho_gui, CXI, or a NumPy
    archive. The frames go, a batch at a time, into an HDF5 file under HOME/data (counts that are
    whole numbers below 65,536 as uint16), turned so that they are as seen along the beam. A probe
    in the file is kept with the run and is its first guess; a mask and a dark frame are used.

    Parameters
    ----------
    path : path
        See `read_ptycho_gui`, `read_cxi`, `read_archive`.
    energy_kev : float, optional
        Photon energy, keV; default: what the file says.
    distance_m : float, optional
        From the sample to the detector, m; default: what the file says.
    detector_pixel_um : float, optional
        Side of a detector pixel, um; default: what the file says.
    dc : {"corner", "centre"}, optional
        Where the direct beam is in a frame of an archive or of a CXI file; default: as the file
        says, else as its format has it: in an archive at the corner, in CXI in the middle.
    x_direction, y_direction : float
        Of a file of ptycho_gui: +1 or -1, as they are set there for this scan.
    catalogs : Catalogs
    md : mapping, optional
        Into the start document, for instance ``{"sample": {"name": "Siemens star"}}``.

    Returns
    -------
    str
        The run's uid. Its scan id is the file's own, or, where it has none or there is such a scan
        already, the next.

    Raises
    ------
    ImportFileError
        If a number is missing or out of range, or the file cannot be read or is not such a scan.
    CatalogError
        If the catalog cannot store the run; the frames' file is removed then.
    """
    source = Path(path).expanduser()
    given = Given(energy_kev, distance_m, detector_pixel_um, dc, x_direction, y_direction)
    measured = _reader(source)(source, given)

    uid = str(uuid.uuid4())
    target = catalogs.home.make().data / "imported" / f"{uid}.h5"
    check_readable(catalogs.raw, target)
    try:
        kept = write_scan(target, measured)
        scan_id = _scan_id(catalogs.raw, measured.scan_id)
        start = start_of(measured, source, target, kept, scan_id, md or {})
        insert(catalogs.raw, documents(uid, start, target, measured, kept))
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return uid


def _reader(path: Path) -> Callable[[Path, Given], Measured]:
    """Return what reads a file, by its content."""
    try:
        with path.open("rb") as file:
            begins = file.read(len(SIGNATURE))
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read: {error.strerror or error}") from error
    if begins != SIGNATURE:
        return read_archive
    with opened(path) as file:
        if "diffamp" in file or "raw_data" in file:
            return read_ptycho_gui
        # Some that write CXI forget its version.
        if "cxi_version" in file or any(name in file for name in DATA):
            return read_cxi
        raise ImportFileError(
            f"{path.name} is an HDF5 file of a kind that is not known; expected a CXI file "
            f"(cxi_version) or a scan of ptycho_gui (diffamp); it holds {', '.join(file)}"
        )


def _scan_id(raw: Broker, own: int | None) -> int:
    """Return the file's own number if there is no such scan yet, else the one after the newest."""
    if own is not None and not search(raw, scan_id=own):
        return own
    try:
        newest = find_run(raw, -1, derived=False)
    except CatalogError:
        return 1
    return int(start_document(raw, newest).get("scan_id", 0)) + 1
