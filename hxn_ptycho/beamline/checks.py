"""Checks of a run's documents and arrays; each message has the numbers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..scan import ScanError

if TYPE_CHECKING:
    from .motion import Track

log = logging.getLogger(__name__)

# A stage's range may differ by this share from what was announced: scales are good to some percent.
_RANGE = 0.2


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


def check_track(name: str, track: Track) -> None:
    """Check that a motor's positions are numbers, and that it moved as the scan announced.

    Parameters
    ----------
    name : str
        Of the scan, for messages.
    track : Track

    Raises
    ------
    ScanError
        If a position is no number, or the encoder stood still where the stage was to move.
    """
    um = track.um
    bad = np.flatnonzero(~np.isfinite(um))
    if len(bad):
        raise ScanError(
            f"{name}: {len(bad)} of {um.size} positions of {track.source} are NaN or infinite, "
            f"the first at frame {bad[0]}; check the encoders"
        )
    if not track.measured:
        return
    first, length = _longest_standstill(um)
    if length > _longest_allowed(track):
        raise ScanError(
            f"{name}: {track.source} read {um[first]:.4f} um in {length} of {um.size} frames in a "
            f"row, from frame {first} on, while the stage was to move; is the encoder frozen or "
            "not connected?"
        )
    if um.size > 1 and length == um.size and track.line.number != 1:
        log.warning("%s: %s read the same, %.4f um, in all frames", name, track.source, um[0])
    _compare_range(name, track)


def _longest_standstill(um: NDArray[np.floating]) -> tuple[int, int]:
    """Return where the longest stretch of equal positions begins, and how long it is."""
    changes = np.flatnonzero(np.diff(um)) + 1
    starts = np.concatenate([[0], changes])
    lengths = np.diff(np.concatenate([starts, [um.size]]))
    longest = int(lengths.argmax())
    return int(starts[longest]), int(lengths[longest])


def _longest_allowed(track: Track) -> float:
    """Return in how many frames in a row a motor may stand still."""
    line = track.line
    if line.number is None:
        moves = None not in (line.first, line.last) and line.first != line.last
        return max(track.um.size - 1, 1) if moves else np.inf
    if line.number == 1:
        return np.inf
    if line.every == 1:
        # Flown back and forth, it is at one place in the frames before and after the turn.
        return max(line.number - 1, 2)
    return 2 * line.every - 1


def _compare_range(name: str, track: Track) -> None:
    """Warn if a motor went much farther than was announced, or much less far."""
    line = track.line
    if line.first is None or line.last is None or line.number is None or line.number < 2:
        return
    if track.um.size < line.number * line.every:  # stopped before its end
        return
    wanted, went = abs(line.last - line.first), float(np.ptp(track.um))
    # Whether the announced ends are the frames' middles or edges, plans differ.
    slack = line.number / (line.number - 1) * (1 + _RANGE)
    if wanted and not wanted / slack <= went <= wanted * slack:
        log.warning(
            "%s: by %s the stage went %.4g um, and %.4g um were announced; is its scale in "
            "hxn.toml right?",
            name,
            track.source,
            went,
            wanted,
        )
