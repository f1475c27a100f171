from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hxn_ptycho.optics import (
    OpticsError,
    beam_width,
    energy_from_wavelength,
    object_pixel,
    propagate,
    wavelength_from_energy,
    zone_plate_probe,
)

WAVELENGTH = 0.1e-9
PIXEL = 8e-9


def plate(n: int = 96, **changes: float) -> np.ndarray:
    optics = {"diameter_m": 150e-6, "outer_zone_width_m": 32e-9, **changes}
    return zone_plate_probe(n, PIXEL, WAVELENGTH, **optics)


def test_wavelengths_of_known_energies() -> None:
    # hc = 12.398 419 843 320 keV A (CODATA 2018, exact).
    assert wavelength_from_energy(12.39841984332) == pytest.approx(1e-10, rel=1e-12)
    # Cu K alpha 1: 8.04778 keV and 1.540593 A (International Tables C).
    assert wavelength_from_energy(8.04778) == pytest.approx(1.540593e-10, rel=1e-5)


@given(st.floats(0.1, 200))
def test_energy_and_wavelength_are_inverse(energy: float) -> None:
    assert energy_from_wavelength(wavelength_from_energy(energy)) == pytest.approx(energy)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_no_energy_and_no_wavelength_are_refused(value: float) -> None:
    with pytest.raises(OpticsError, match="keV"):
        wavelength_from_energy(value)
    with pytest.raises(OpticsError, match="m has no"):
        energy_from_wavelength(value)


def test_object_pixel_of_a_rectangular_detector_pixel() -> None:
    assert object_pixel(1e-10, 2.0, 100, (50e-6, 100e-6)) == pytest.approx((40e-9, 20e-9))


def test_free_space_keeps_power_and_can_be_undone() -> None:
    field = np.random.default_rng(0).normal(size=(2, 16, 24, 2)) @ [1, 1j]
    there = propagate(field, PIXEL, WAVELENGTH, 1e-6)
    assert np.sum(np.abs(there) ** 2) == pytest.approx(np.sum(np.abs(field) ** 2))
    assert not np.allclose(there, field, atol=0.1)
    np.testing.assert_allclose(propagate(there, PIXEL, WAVELENGTH, -1e-6), field, atol=1e-12)


def test_a_gauss_beam_spreads_and_curves_as_theory_says() -> None:
    n, waist = 256, 120e-9
    y, x = np.meshgrid(*(np.arange(n) - n // 2,) * 2, indexing="ij")
    r2 = (y**2 + x**2) * PIXEL**2
    rayleigh = np.pi * waist**2 / WAVELENGTH
    distance = 0.8 * rayleigh
    got = propagate(np.exp(-r2 / waist**2), PIXEL, WAVELENGTH, distance)
    # exp(+i k z): q(z) = z - i zR, field = exp(i k r^2 / 2 q), paraxial.
    q = distance - 1j * rayleigh
    expected = -1j * rayleigh / q * np.exp(1j * np.pi / WAVELENGTH * r2 / q)
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_probe_is_centred_has_power_one_and_a_ring_for_a_spectrum() -> None:
    n = 96
    probe = plate(n, central_stop_m=60e-6)
    assert np.sum(np.abs(probe) ** 2) == pytest.approx(1)
    intensity = np.abs(probe) ** 2
    assert np.unravel_index(intensity.argmax(), probe.shape) == (n // 2, n // 2)
    far = np.abs(np.fft.fftshift(np.fft.fft2(probe))) ** 2
    radius = np.hypot(*(np.indices((n, n)) - n // 2))
    # The pupil's diameter is n pixel / dr detector pixels, the stop's 60 / 150 of it.
    outer = n * PIXEL / 32e-9 / 2
    ring = (radius < outer + 1) & (radius > 0.4 * outer - 1)
    assert far[ring].sum() > 0.97 * far.sum()
    assert far[radius < 0.4 * outer - 2].max() < 0.02 * far.max()


def test_defocus_widens_the_beam_to_the_cone() -> None:
    defocus = 80e-6
    width = beam_width(WAVELENGTH, 32e-9, defocus)
    assert width == pytest.approx(0.25e-6)
    focus, away = np.abs(plate()) ** 2, np.abs(plate(defocus_m=defocus)) ** 2
    radius = np.hypot(*(np.indices(focus.shape) - 48)) * PIXEL
    assert focus[radius < 40e-9].sum() > 0.8
    assert away[radius < 40e-9].sum() < 0.2
    assert away[radius < 0.6 * width].sum() > 0.85


@pytest.mark.parametrize("defocus", [80e-6, -80e-6])
def test_the_wave_diverges_downstream_of_the_focus_and_converges_upstream(defocus: float) -> None:
    probe = plate(defocus_m=defocus)
    r2 = np.sum((np.indices(probe.shape) - 48) ** 2, axis=0) * PIXEL**2
    # Under exp(+ikz) a wave from the focus has the phase +pi r^2 / (wavelength z): what is left
    # when it is taken off is flat over the cone.
    wave = np.exp(1j * np.pi / WAVELENGTH * r2 / defocus)
    total = np.sum(np.abs(probe))
    assert np.abs(np.vdot(wave, probe)) > 0.5 * total
    assert np.abs(np.vdot(wave.conj(), probe)) < 0.2 * total


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outer_zone_width_m": 5e-9}, "wider than the detector"),
        ({"defocus_m": 1e-3}, "3.12 um wide"),
        ({"central_stop_m": 200e-6}, "central stop"),
        ({"outer_zone_width_m": 0.0}, "outermost zone"),
    ],
)
def test_optics_that_do_not_fit_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(OpticsError, match=message):
        plate(**changes)
