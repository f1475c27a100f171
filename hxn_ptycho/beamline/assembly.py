"""What every flavour does alike once frames and positions are known: make the `Scan`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..catalog import ExternalArray
from ..optics import wavelength_from_energy
from ..scan import Scan, ScanError
from .checks import check_positions, check_track
from .motion import Track
from .normalisation import read_normalisation

if TYPE_CHECKING:
    from .run import Run
    from .tables import Detector

log = logging.getLogger(__name__)

# Below this share of a stage's motion across the beam, another stage was hardly not meant.
_SMALL_PROJECTION = 0.5


def make_scan(
    run: Run,
    frames: ExternalArray,
    detector: Detector,
    tracks: Sequence[Track],
    ion_chambers: Sequence[str],
) -> Scan:
    """Return the scan, its positions checked.

    Parameters
    ----------
    run : Run
    frames : ExternalArray
        Of shape (N, h, w).
    detector : Detector
    tracks : sequence of Track
        Of both motors, one along x and one along y.
    ion_chambers : sequence of str
        Data keys; the first that the run has is what frames are normalised to.

    Raises
    ------
    ScanError
        If something is missing or does not fit together.
    CatalogError
        If an array cannot be found or opened.
    """
    number = frames.shape[0]
    for track in tracks:
        check_track(run.name, track)
    along = {track.motor.axis: track for track in tracks}
    positions_m = 1e-6 * np.stack(
        [along[axis].um * along[axis].motor.direction for axis in ("y", "x")], axis=1
    )
    check_positions(run.start.get("scan_id"), positions_m, number)
    return Scan(
        uid=run.uid,
        scan_id=int(run.start.get("scan_id") or 0),
        frames=frames.blocks,
        frame_shape=(frames.shape[1], frames.shape[2]),
        frame_dtype=frames.dtype.name,
        dc="centre",
        positions_m=positions_m,
        wavelength_m=_wavelength(run),
        distance_m=_distance(run, detector),
        detector_pixel_m=(detector.pixel_um * 1e-6, detector.pixel_um * 1e-6),
        normalisation=read_normalisation(run, ion_chambers, number),
        mask=frames.mask,
        orientation=detector.orientation,
        projection=(_projection(run, along["y"]), _projection(run, along["x"])),
        saturation=_saturation(frames, detector),
        start=dict(run.start),
    )


def _projection(run: Run, track: Track) -> float:
    """Return the part of a stage's motion that is across the beam, by the rotation below it."""
    motor = track.motor
    if motor.angle_key is None:
        return 1.0
    if motor.angle_key not in run.baseline:
        if not run.recipe.angle_correction:
            return 1.0
        raise ScanError(
            f"{run.name} has no {motor.angle_key} in its baseline, which the projection of "
            f"{track.name} needs; add the motor to the baseline, remove angle_key in hxn.toml, or "
            "set angle_correction = false in the recipe"
        )
    angle = run.baseline[motor.angle_key]
    turned = np.deg2rad(angle)
    share = float(abs(np.cos(turned) if motor.projection == "cos" else np.sin(turned)))
    if share < _SMALL_PROJECTION and run.recipe.angle_correction:
        log.warning(
            "%s: at %s = %g degrees only %.3f of the motion of %s is across the beam (its %s); is "
            "the angle right, and was another stage to move?",
            run.name, motor.angle_key, angle, share, track.name, motor.projection,
        )  # fmt: skip
    return share


def _wavelength(run: Run) -> float:
    """Return the wavelength, m: by Bragg's law, or from the energy."""
    energy, at_start = run.config.energy, run.baseline
    key = energy.bragg_key or energy.energy_key
    assert key is not None
    if key not in at_start:
        if run.recipe.energy_kev is not None:
            return wavelength_from_energy(run.recipe.energy_kev)
        raise ScanError(
            f"{run.name} has no {key} in its baseline, so that its photon energy is not known; add "
            "the monochromator to the baseline, or give energy_kev in the recipe"
        )
    if energy.energy_key is not None:
        kev = at_start[key] * energy.unit_kev
        if not kev > 0:
            raise ScanError(f"{run.name}: {key} = {at_start[key]:g} is no photon energy")
        return wavelength_from_energy(kev)
    assert energy.lattice_spacing_angstrom is not None
    spacing = energy.lattice_spacing_angstrom * 1e-10
    wavelength = float(2 * spacing * np.sin(np.deg2rad(at_start[key])))
    if not wavelength > 0:
        raise ScanError(f"{run.name}: {key} = {at_start[key]:g} degrees gives no photon energy")
    return wavelength


def _distance(run: Run, detector: Detector) -> float:
    scan = run.start.get("scan")
    recorded = scan.get("detector_distance") if isinstance(scan, dict) else None
    if detector.distance_from_documents and recorded:
        return float(recorded)
    return detector.distance_m


def _saturation(frames: ExternalArray, detector: Detector) -> int | None:
    """Return the lower one of what the detector's file and its table say."""
    known = [each for each in (frames.saturation, detector.saturation) if each is not None]
    return min(known, default=None)
