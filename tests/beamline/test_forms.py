"""Every form of scan, measured by the simulated beamline: read back as it was, by the truth."""

from __future__ import annotations

import numpy as np
import pytest

from hxn_ptycho.beamline import expected_frames, is_ptychography, read_scan
from hxn_ptycho.catalog import AssetRegistry, Catalogs, writer
from hxn_ptycho.optics import energy_from_wavelength

from ..simulate.station import FORMS, Form, Station, make_station
from .edits import read_frames

EXPOSURE = 0.01
Measured = tuple[Station, str]


@pytest.fixture(scope="module", params=[(form, False) for form in FORMS] + [("classic", True)])
def measured(
    request: pytest.FixtureRequest, catalogs: Catalogs, registry: AssetRegistry
) -> Measured:
    """A simulated scan in the catalog; `True`: back and forth, and in several sub-scans."""
    form: Form
    form, snake = request.param
    station = make_station(
        catalogs.home.data / f"{form}-{snake}",
        form=form,
        registry=registry,
        max_sub_scan_points=16 if snake else 65_536,
    )
    station.RE.subscribe(writer(catalogs.raw, registry=registry))
    return station, station.measure(8, 6, EXPOSURE, snake=snake)


def test_positions_and_frames_are_as_they_were(catalogs: Catalogs, measured: Measured) -> None:
    station, uid = measured
    scan = read_scan(catalogs.raw, uid)
    assert scan.number_of_frames == 48
    assert (scan.uid, scan.frame_shape, scan.frame_dtype, scan.dc) == (
        uid, (32, 32), "uint16", "centre",
    )  # fmt: skip
    assert energy_from_wavelength(scan.wavelength_m) == pytest.approx(12, abs=1e-3)
    assert (scan.distance_m, scan.detector_pixel_m) == (0.5, pytest.approx((55e-6, 55e-6)))
    assert (scan.saturation, scan.orientation, scan.projection) == (65535, "identity", (1.0, 1.0))
    truth = station.endstation.places_m(station.truth_um)
    error = scan.positions_m - truth
    assert np.abs(error).max() < 20e-9
    assert error.std() < 6e-9  # of one reading; the mean of ten is better

    # The frames fit the sample at these positions; none is at another's place.
    counts = read_frames(scan).astype(float)
    photons = station.endstation.flux * EXPOSURE / scan.normalisation
    expected = station.endstation.expose(
        station.merlin1.geometry, scan.positions_m[:, None] * 1e6, photons
    )
    scale = counts.sum() / expected.sum()
    there = _misfit(counts, scale * expected)
    elsewhere = _misfit(counts[1:], scale * expected[:-1])
    assert (there[1:] < elsewhere).all()
    assert there.mean() < 0.6 * elsewhere.mean()
    brightness = counts.sum(axis=(1, 2)) / expected.sum(axis=(1, 2)) / scale
    assert brightness.std() < 0.01


def _misfit(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sum((np.sqrt(counts) - np.sqrt(expected)) ** 2, axis=(1, 2)))


def test_its_documents_say_that_it_is_ptychography(measured: Measured) -> None:
    station, _ = measured
    start, descriptors = station.named("start")[0], station.named("descriptor")
    assert is_ptychography(start, descriptors)
    assert expected_frames(start) == 48
    # Whatever the plan is called.
    assert is_ptychography({**start, "plan_name": "another"}, descriptors)
    # The baseline has the motors too.
    assert not is_ptychography(start, descriptors[:1])
    assert not is_ptychography({**start, "analysis_stage": "reconstruction"}, descriptors)
    assert not is_ptychography({**start, "motors": ["zpssx", "unknown"]}, descriptors)
    assert not is_ptychography({**start, "motors": ["zpssx", "dssx"]}, descriptors)
    assert not is_ptychography({**start, "scan": {"type": "2D_STEP"}}, descriptors)


def test_motors_in_the_baseline_are_no_positions(measured: Measured) -> None:
    station, _ = measured
    start, descriptors = station.named("start")[0], station.named("descriptor")
    baseline = next(each for each in descriptors if each["name"] == "baseline")
    assert "zpssx" in baseline["data_keys"]
    frames_only = [
        {**each, "data_keys": {k: v for k, v in each["data_keys"].items() if k == "merlin1"}}
        for each in descriptors
        if each["name"] != "baseline"
    ]
    assert not is_ptychography(start, [baseline, *frames_only])


def test_without_a_diffraction_detector_it_is_not(measured: Measured) -> None:
    station, _ = measured
    start, descriptors = station.named("start")[0], station.named("descriptor")
    fluorescence = [
        {**each, "data_keys": {k: v for k, v in each["data_keys"].items() if k != "merlin1"}}
        for each in descriptors
    ]
    assert not is_ptychography(start, fluorescence)
    named = {**start, "detectors": ["xspress3"]}
    if "scan" in start:
        named["scan"] = {**start["scan"], "detectors": ["xspress3", "sclr1"]}
    assert expected_frames(named) is None
