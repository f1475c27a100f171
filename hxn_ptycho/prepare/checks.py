"""Checks of a scan before any work, each with the numbers in its message."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ..scan import Scan, ScanError
from ..solver.frame_files import FrameFiles
from ..solver.h5_files import FrameFileError
from .window import Window

log = logging.getLogger(__name__)

# Neighbouring views farther apart than this share of the window hardly share illuminated sample:
# a beam is seldom wider than half the window.
_SMALL_OVERLAP = 0.5


def check_scan(scan: Scan) -> None:
    """Check that positions, normalisation, mask and frames belong together and can be used.

    Raises
    ------
    ScanError
        If they differ in number, or are not finite, or all positions are one.
    """
    frames = scan.number_of_frames
    if frames == 0:
        raise ScanError(f"scan {scan.scan_id} has no frames")
    for what, count in (
        ("positions", len(scan.positions_m)),
        ("values of the normalisation", len(scan.normalisation)),
    ):
        if count != frames:
            raise ScanError(
                f"scan {scan.scan_id} has {frames} frames but {count} {what}; they must agree"
            )
    if scan.positions_m.shape != (frames, 2):
        raise ScanError(
            f"positions of scan {scan.scan_id} have the shape {scan.positions_m.shape}, and not "
            f"({frames}, 2): (y, x) for each frame"
        )
    for what, values in (("positions", scan.positions_m), ("normalisation", scan.normalisation)):
        bad = np.flatnonzero(~np.isfinite(values).reshape(frames, -1).all(axis=1))
        if len(bad):
            raise ScanError(
                f"scan {scan.scan_id}: {len(bad)} of {frames} {what} are NaN or infinite, the "
                f"first at frame {bad[0]}; check the encoders and the scaler"
            )
    if (scan.normalisation <= 0).any():
        first = int(np.flatnonzero(scan.normalisation <= 0)[0])
        raise ScanError(
            f"scan {scan.scan_id}: the normalisation of frame {first} is "
            f"{scan.normalisation[first]:g}; it must be above 0: check the ion chamber"
        )
    if scan.mask is not None and scan.mask.shape != scan.frame_shape:
        raise ScanError(
            f"the mask is {scan.mask.shape} for frames of {scan.frame_shape}: they must agree"
        )


def check_positions(scan: Scan, window: Window) -> None:
    """Check the scan's range and steps against the size of a view; warn of a small overlap.

    Raises
    ------
    ScanError
        If all positions lie within one object pixel, or the views do not overlap.
    """
    frames = scan.number_of_frames
    if frames == 1:
        log.warning("scan %s has one frame: nothing overlaps", scan.scan_id)
        return
    extent = np.ptp(scan.positions_m, axis=0)
    pixel = window.object_pixel_m
    if not extent.any():
        raise ScanError(f"all {frames} positions of scan {scan.scan_id} are equal; did it move?")
    if (extent < pixel).all():
        raise ScanError(
            f"the {frames} positions of scan {scan.scan_id} span {length_text(extent[0])} x "
            f"{length_text(extent[1])}, less than one object pixel ({length_text(pixel[0])}); "
            "are their units right?"
        )
    nearest = neighbour_distances(scan, window)
    typical = float(np.median(nearest))
    facts = (
        f"neighbouring views of scan {scan.scan_id} are typically "
        f"{length_text(typical * window.side_m[0])} apart, the window is "
        f"{length_text(window.side_m[0])} wide"
    )
    if typical >= 1:
        raise ScanError(
            f"the views do not overlap: {facts}; scan in smaller steps, or check distance_m, "
            "energy_kev and the positions' units"
        )
    if typical > _SMALL_OVERLAP:
        log.warning("the views overlap little: %s", facts)
    alone = int(np.count_nonzero(nearest >= 1))
    if alone:
        log.warning("%d of %d views overlap with no other: %s", alone, frames, facts)


def neighbour_distances(scan: Scan, window: Window) -> NDArray[np.float64]:
    """Return how far each of N > 1 views is from its nearest neighbour, as a share of the window.

    Of y and x, the larger counts.
    """
    places = scan.positions_m / window.side_m
    return KDTree(places).query(places, k=2, p=np.inf)[0][:, 1]


def check_files(scan: Scan, folder: str | os.PathLike[str]) -> None:
    """Check that the frames are where the scan says, as many and as large; reads none of them.

    Opens files as the solver does: what passes here, it can read, unless something is changed.

    Raises
    ------
    ScanError
        If a file or dataset is missing, damaged, short or of another shape; if a virtual dataset
        lacks a source, a compression filter is not installed, or a program writes the file that
        does not let it be read meanwhile.
    """
    with FrameFiles(folder, scan.frame_shape) as files:
        for block in scan.frames:
            try:
                files.open(block)
            except FrameFileError as error:
                raise ScanError(f"scan {scan.scan_id}: {error.sentence}") from error


def existing_parent(path: Path) -> Path:
    """Return `path`, or the nearest folder above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def length_text(metres: float) -> str:
    """Return a length as a person says it: in nm, or um from 1 um."""
    nanometres = metres * 1e9
    return f"{nanometres / 1e3:.3g} um" if nanometres >= 1000 else f"{nanometres:.3g} nm"
