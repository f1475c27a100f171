"""Checks of a run's documents and arrays; each message has the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scan import ScanError


def check_ended(start: Mapping[str, Any], stop: Mapping[str, Any] | None) -> None:
    """Check that a run ended well.

    Raises
    ------
    ScanError
        If it has no stop document, or another exit status than "success".
    """
    name = f"scan {start.get('scan_id')}"
    if stop is None:
        raise ScanError(
            f"{name} has no stop document: it still runs, or its session was killed; wait for its "
            "end, or measure it again"
        )
    status = stop.get("exit_status")
    if status != "success":
        reason = f" ({stop['reason']})" if stop.get("reason") else ""
        raise ScanError(
            f"{name} did not end well: exit status {status!r}{reason}; measure it again, or take "
            "what it has explicitly (allow_partial)"
        )


def check_frame_shape(scan_id: Any, key: str, shape: tuple[int, ...]) -> None:
    """Check that an array is a stack of frames with something in it.

    Raises
    ------
    ScanError
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ScanError(
            f"scan {scan_id}: {key} has the shape {shape}; expected (frames, rows, columns)"
        )


def check_positions(scan_id: Any, positions_m: NDArray[np.floating], frames: int) -> None:
    """Check that there is one position a frame, and that they are numbers and differ.

    Raises
    ------
    ScanError
    """
    if positions_m.shape != (frames, 2):
        raise ScanError(
            f"scan {scan_id} has {frames} frames but {len(positions_m)} positions; each frame "
            "needs one: a file is cut off, or the detector missed triggers"
        )
    bad = np.flatnonzero(~np.isfinite(positions_m).all(axis=1))
    if len(bad):
        raise ScanError(
            f"scan {scan_id}: {len(bad)} of {frames} positions are NaN or infinite, the first at "
            f"frame {bad[0]}; check the encoders"
        )
    if frames > 1 and not np.ptp(positions_m, axis=0).any():
        y, x = positions_m[0] * 1e6
        raise ScanError(
            f"scan {scan_id}: all {frames} positions are the same (y = {y:.4f} um, x = {x:.4f} "
            "um); are the encoders connected?"
        )
