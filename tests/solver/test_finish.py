"""The end of a reconstruction: nothing of it may change how probe and object fit the data."""

from __future__ import annotations

import numpy as np
import pytest

from hxn_ptycho.solver import finish
from hxn_ptycho.solver.communicator import Alone
from hxn_ptycho.solver.difference_map import best_scale, error_fourier
from hxn_ptycho.solver.metrics import illumination

from . import transcription
from .cases import make_case


def diffraction(probe, obj, positions):
    spectra = np.fft.fft2(transcription.product(probe, obj, positions), norm="ortho")
    return np.sum(np.abs(spectra) ** 2, axis=(1, 2))


@pytest.fixture
def case():
    return make_case(n=24, views=9, probe_modes=4, masked=False)


def test_orthonormal_modes_fit_as_before(case):
    before = diffraction(case.probe, case.obj, case.views.positions)
    probe, power = finish.orthonormalise(case.probe)
    np.testing.assert_allclose(
        diffraction(probe, case.obj, case.views.positions), before, rtol=1e-9
    )
    flat = probe.reshape(4, -1)
    gram = flat @ flat.conj().T
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-9 * abs(gram).max())
    assert np.all(np.diff(power) <= 0)
    assert power.sum() == pytest.approx(1)


def test_a_mixture_of_orthogonal_modes_is_unmixed():
    rng = np.random.default_rng(0)
    modes, _ = np.linalg.qr(rng.normal(size=(400, 3)) + 1j * rng.normal(size=(400, 3)))
    put_in = np.array([0.7, 0.2, 0.1])
    true = (modes.T * np.sqrt(put_in)[:, None]).reshape(3, 20, 20)
    mixture, _ = np.linalg.qr(rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3)))
    found, power = finish.orthonormalise(np.tensordot(mixture, true, 1))
    np.testing.assert_allclose(power, put_in, rtol=1e-9)
    for mode, wanted in zip(found, true, strict=True):
        overlap = abs(np.vdot(mode, wanted)) / np.linalg.norm(mode) / np.linalg.norm(wanted)
        assert overlap == pytest.approx(1)


def test_ramp_and_gauge_fit_as_before(case):
    y, x = np.indices(case.obj.shape[1:])
    ramp = np.exp(1j * (0.12 * y - 0.07 * x + 0.5))
    obj = (1 + 0.02 * (case.obj - 1)) * ramp
    before = diffraction(case.probe, obj, case.views.positions)
    light = illumination(case.probe, case.views.positions, obj.shape[1:])
    assert finish.phase_ramp(obj[0], light) == pytest.approx((0.12, -0.07), abs=2e-3)
    probe, flat = finish.remove_ramp(case.probe, obj, light)
    assert finish.phase_ramp(flat[0], light) == pytest.approx((0, 0), abs=1e-9)
    probe, flat = finish.gauge(probe, flat, photons=1234.0)
    np.testing.assert_allclose(diffraction(probe, flat, case.views.positions), before, rtol=1e-9)
    assert np.sum(np.abs(probe) ** 2) == pytest.approx(1234)
    assert np.angle(np.sum(flat[0] * light)) == pytest.approx(0, abs=1e-9)


def test_gauge_makes_the_object_a_transmission():
    """A sample of transmission 0.8 everywhere, and a frame beside it: |O| is 0.8 and 1."""
    probe = np.full((1, 8, 8), 3.0 + 0j)
    obj = np.ones((1, 20, 20), complex) * 0.4
    obj[0, :, :10] = 0.5
    photons = np.sum(np.abs(probe * obj[:, :8, :8]) ** 2)
    _, found = finish.gauge(probe, obj, photons)
    np.testing.assert_allclose(np.abs(found[0, :, :10]), 1)
    np.testing.assert_allclose(np.abs(found[0, :, 10:]), 0.8)


def test_average_does_not_fade_when_phases_turn(case):
    average = finish.Average()
    rng = np.random.default_rng(0)
    for _ in range(10):
        turn = np.exp(2j * np.pi * rng.uniform(size=5))
        average.add(case.probe * turn[:4, None, None], case.obj * turn[4])
    probe, obj = average.means()
    assert average.count == 10
    np.testing.assert_allclose(np.abs(probe), np.abs(case.probe), rtol=1e-9)
    np.testing.assert_allclose(np.abs(obj), np.abs(case.obj), rtol=1e-9)


def test_a_mean_of_moving_modes_keeps_their_power(case):
    average = finish.Average()
    rng = np.random.default_rng(1)
    for _ in range(8):
        wandering = 0.7 * (
            rng.normal(size=case.probe.shape) + 1j * rng.normal(size=case.probe.shape)
        )
        average.add(case.probe + wandering * np.abs(case.probe).mean(), case.obj)
    iterates = np.sum(np.abs(case.probe) ** 2, axis=(1, 2))
    noise = 2 * (0.7 * np.abs(case.probe).mean()) ** 2 * case.probe[0].size
    found = np.sum(np.abs(average.means()[0]) ** 2, axis=(1, 2))
    np.testing.assert_allclose(found, iterates + noise, rtol=0.1)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_best_scale_makes_the_misfit_least(case, factor):
    device = case.device(double=True)
    device.set(case.probe * factor, case.obj)
    found = best_scale(device, Alone())
    best = error_fourier(device, Alone())
    np.testing.assert_allclose(device.get()[0], case.probe * factor * found)
    for other in (0.98, 1.02):
        device.set(case.probe * factor * found * other, case.obj)
        assert error_fourier(device, Alone()) > best
