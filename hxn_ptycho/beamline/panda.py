"""Fly scans driven by a PandA: one event, every array in a file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..catalog import baseline, descriptors, resolve
from ..catalog import read as read_array
from ..scan import Scan, ScanError
from .checks import check_frame_shape, check_positions
from .config import BeamlineConfig, Detector, Motor
from .normalisation import normalisation

if TYPE_CHECKING:
    from databroker import Broker

log = logging.getLogger(__name__)

Start = Mapping[str, Any]


def takes(start: Start, config: BeamlineConfig) -> bool:
    """Return whether a run is of this flavour."""
    scan = start.get("scan")
    return isinstance(scan, Mapping) and scan.get("type") in config.panda.scan_types


def diffracts(start: Start, data_keys: set[str], config: BeamlineConfig) -> bool:
    """Return whether there is a diffraction detector, and encoders of both motors."""
    motors = [config.motors.get(name) for name in start.get("motors") or ()]
    return (
        not data_keys.isdisjoint(config.detectors)
        and {motor.axis for motor in motors if motor} == {"x", "y"}
        and all(motor.encoder in data_keys for motor in motors if motor)
    )


def expected(start: Start) -> int | None:
    """Return the number of frames that the scan's shape announces."""
    shape = start["scan"].get("shape")
    return int(np.prod(shape)) if shape else None


def read(broker: Broker, uid: str, start: Start, config: BeamlineConfig) -> Scan:
    """Read a run of this flavour.

    Raises
    ------
    ScanError
        If something is missing or does not fit together.
    CatalogError
        If an array cannot be found or opened.
    """
    scan_id = start.get("scan_id")
    keys = {
        key
        for descriptor in descriptors(broker, uid)
        if descriptor["name"] == "primary"
        for key in descriptor["data_keys"]
    }
    if not keys:
        raise ScanError(f"scan {scan_id} has no data: it ended before its first frame was stored")
    key, detector = _detector(start, keys, config)
    frames = resolve(broker, uid, key)
    check_frame_shape(scan_id, key, frames.shape)
    number = frames.shape[0]

    at_start = baseline(broker, uid)
    positions: dict[str, NDArray[np.float64]] = {}
    for name, motor in _motors(start, config):
        samples = read_array(broker, uid, motor.encoder)
        along = _positions_um(scan_id, name, motor, samples, number, config)
        positions[motor.axis] = along * motor.direction * _projection(scan_id, motor, at_start)
    positions_m = np.stack([positions["y"], positions["x"]], axis=1) * 1e-6
    check_positions(scan_id, positions_m, number)

    return Scan(
        uid=uid,
        scan_id=int(scan_id or 0),
        frames=frames.blocks,
        frame_shape=(frames.shape[1], frames.shape[2]),
        frame_dtype=frames.dtype.name,
        dc="centre",
        positions_m=positions_m,
        wavelength_m=_wavelength(scan_id, at_start, config),
        distance_m=_distance(start, detector),
        detector_pixel_m=(detector.pixel_um * 1e-6, detector.pixel_um * 1e-6),
        normalisation=_normalisation(broker, uid, scan_id, keys, number, config),
        start=dict(start),
    )


def _detector(start: Start, keys: set[str], config: BeamlineConfig) -> tuple[str, Detector]:
    """Return the detector that saw diffraction; the first that the plan named, if several did."""
    named = [*start["scan"].get("detectors", ()), *sorted(keys)]
    for key in named:
        if key in keys and key in config.detectors:
            return key, config.detectors[key]
    raise ScanError(
        f"scan {start.get('scan_id')} is not a ptychography scan: it has no diffraction detector "
        f"(it has {', '.join(sorted(keys))}; hxn.toml knows {', '.join(config.detectors)})"
    )


def _motors(start: Start, config: BeamlineConfig) -> list[tuple[str, Motor]]:
    names = list(start.get("motors") or ())
    unknown = [name for name in names if name not in config.motors]
    if unknown:
        raise ScanError(
            f"scan {start.get('scan_id')} moved {', '.join(unknown)}, which hxn.toml does not "
            f"know (it knows {', '.join(config.motors)}); add a table [motors.{unknown[0]}]"
        )
    motors = [(name, config.motors[name]) for name in names]
    if sorted(motor.axis for _, motor in motors) != ["x", "y"]:
        raise ScanError(
            f"scan {start.get('scan_id')} moved {', '.join(names) or 'nothing'}; ptychography "
            "needs one motor along x and one along y"
        )
    return motors


def _positions_um(
    scan_id: Any,
    name: str,
    motor: Motor,
    samples: NDArray[Any],
    frames: int,
    config: BeamlineConfig,
) -> NDArray[np.float64]:
    """Return the stage's mean position during each frame, um."""
    each = config.panda.samples_per_frame
    if samples.size != frames * each:
        raise ScanError(
            f"scan {scan_id} has {frames} frames but {samples.size} readings of {motor.encoder} "
            f"({name}): {samples.size / each:g} positions at {each} readings each; a file is cut "
            "off, or the detector missed triggers"
        )
    counts = samples.reshape(frames, each).astype(float)
    # NaN spreads through the mean, and is found with the frame's number.
    means = counts.mean(axis=1) * motor.scale_um
    if frames > 1 and np.ptp(means) == 0:
        log.warning("scan %s: %s (%s) read the same in all frames", scan_id, motor.encoder, name)
    return means


def _projection(scan_id: Any, motor: Motor, at_start: Mapping[str, float]) -> float:
    """Return the part of a stage's motion that is across the beam, by the rotation below it."""
    if motor.angle_key is None:
        return 1.0
    if motor.angle_key not in at_start:
        raise ScanError(
            f"scan {scan_id} has no {motor.angle_key} in its baseline, which the stage's "
            "projection needs; add the motor to the baseline, or remove angle_key in hxn.toml"
        )
    angle = np.deg2rad(at_start[motor.angle_key])
    return float(abs(np.cos(angle) if motor.projection == "cos" else np.sin(angle)))


def _wavelength(scan_id: Any, at_start: Mapping[str, float], config: BeamlineConfig) -> float:
    """Return the wavelength (m) by Bragg's law."""
    key = config.energy.bragg_key
    if key not in at_start:
        raise ScanError(
            f"scan {scan_id} has no {key} in its baseline, so that its photon energy is not "
            "known; add the monochromator to the baseline"
        )
    wavelength = (
        2 * config.energy.lattice_spacing_angstrom * 1e-10 * np.sin(np.deg2rad(at_start[key]))
    )
    if not wavelength > 0:
        raise ScanError(f"scan {scan_id}: {key} = {at_start[key]:g} degrees gives no photon energy")
    return float(wavelength)


def _distance(start: Start, detector: Detector) -> float:
    recorded = start["scan"].get("detector_distance")
    if detector.distance_from_documents and recorded:
        return float(recorded)
    return detector.distance_m


def _normalisation(
    broker: Broker, uid: str, scan_id: Any, keys: set[str], frames: int, config: BeamlineConfig
) -> NDArray[np.float64]:
    key = config.panda.ion_chamber
    if key not in keys:
        log.warning("scan %s has no %s: its frames are not normalised", scan_id, key)
        return np.ones(frames)
    counts = read_array(broker, uid, key).ravel()
    if counts.size != frames:
        raise ScanError(
            f"scan {scan_id} has {frames} frames but {counts.size} readings of the ion chamber "
            f"({key}); each frame needs one"
        )
    return normalisation(scan_id, counts)
