from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hxn_ptycho.optics import propagate, zone_plate_probe
from hxn_ptycho.orientation.twin import ask_matter, ask_optics
from hxn_ptycho.recipe import ZonePlate
from hxn_ptycho.simulate import Sample, dataset
from hxn_ptycho.simulate.illumination import probe_modes
from hxn_ptycho.solver.metrics import illumination

from .cases import Deposit

PIXEL, WAVELENGTH = (8e-9, 8e-9), 1e-10
PLATE = ZonePlate(diameter=200e-6, outer_zone_width=32e-9, central_stop=60e-6, defocus=40e-6)


def beam(defocus: float, n: int = 96) -> np.ndarray:
    return zone_plate_probe(
        n, PIXEL, WAVELENGTH, diameter_m=200e-6, outer_zone_width_m=32e-9,
        central_stop_m=60e-6, defocus_m=defocus,
    )[None]  # fmt: skip


def ask(probe, plate=PLATE):
    return ask_optics(probe, PIXEL, WAVELENGTH, plate)


@pytest.mark.parametrize("defocus", [40e-6, -40e-6])
def test_a_beam_is_told_from_its_conjugate(defocus):
    plate = PLATE.model_copy(update={"defocus": defocus})
    said = ask(beam(defocus), plate)
    assert said.verdict == "as it is"
    assert said.focus_m == pytest.approx(-defocus, rel=0.15)
    assert ask(beam(defocus).conj(), plate).verdict == "twin"
    assert ask(beam(defocus).conj(), plate).ratio == pytest.approx(1 / said.ratio, rel=0.01)


def test_what_a_reconstruction_leaves_open_does_not_matter():
    """Scale, phase, place, ramp, mixture of modes."""
    modes = probe_modes(beam(40e-6)[0], [0.7, 0.2, 0.1])
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    mixed = np.tensordot(turn, modes, axes=1) * 100j
    ramp = np.exp(2j * np.pi * np.arange(96) * 5 / 96)
    moved = np.roll(mixed, (7, -4), axis=(1, 2)) * ramp
    said, plain = ask(moved), ask(modes)
    assert said.verdict == "as it is"
    assert said.ratio == pytest.approx(plain.ratio, rel=0.1)


def test_a_beam_with_aberrations_is_told_too():
    """Astigmatism of a third of the defocus: foci of lines at two places."""
    wave = propagate(beam(40e-6), PIXEL, WAVELENGTH, -40e-6)
    fy, fx = np.fft.fftfreq(96, PIXEL[0])[:, None], np.fft.fftfreq(96, PIXEL[1])[None, :]
    phase = -np.pi * WAVELENGTH * (53e-6 * fy**2 + 27e-6 * fx**2)
    wave = np.fft.ifft2(np.fft.fft2(wave) * np.exp(1j * phase))
    assert ask(wave).verdict == "as it is"
    assert ask(wave.conj()).verdict == "twin"


@pytest.mark.parametrize(
    ("probe", "plate", "word"),
    [
        (beam(40e-6), None, "no zone_plate"),
        (beam(0), PLATE.model_copy(update={"defocus": 0.0}), "no defocus"),
        (beam(0), PLATE, "no clear focus"),  # elsewhere than the recipe says
        (beam(3e-6), PLATE.model_copy(update={"defocus": 3e-6}), "no clear focus"),  # too near
    ],
)
def test_else_the_optics_leave_it_open(probe, plate, word):
    said = ask(probe, plate)
    assert said.verdict == "open"
    assert word in said.reason


def picture(sample: Sample):
    data = dataset(n=64, grid=(10, 10), probe_modes=1, sample=sample)
    return data.object, illumination(data.probe, data.corners, data.object.shape)


def test_matter_retards_and_absorbs():
    obj, lit = picture(Deposit(absorption=0.1))
    said = ask_matter(obj, lit)
    assert said.verdict == "as it is"
    assert said.correlation > 0.9
    assert said.significance > 6
    assert said.finer == pytest.approx(1, abs=0.1)
    assert ask_matter(obj.conj(), lit).verdict == "twin"


def test_scale_phase_and_ramp_do_not_matter():
    obj, lit = picture(Deposit(absorption=0.1))
    y, x = np.indices(obj.shape)
    other = 0.3j * obj * np.exp(1j * (0.4 * y - 0.2 * x))
    assert ask_matter(other, lit).correlation == pytest.approx(
        ask_matter(obj, lit).correlation, abs=0.02
    )


def test_absorption_that_has_nothing_to_do_with_the_phase_leaves_it_open():
    obj, lit = picture(Sample())
    for wave in (obj, obj.conj()):
        said = ask_matter(wave, lit)
        assert said.verdict == "open"
        assert "do not go together" in said.reason


@pytest.mark.parametrize("um", [1, -1, 3, -3, 10, -10])
def test_a_picture_out_of_focus_is_not_trusted(um):
    """Free space mixes amplitude and phase with either sign: all absorption here is from it."""
    obj, lit = picture(Deposit(absorption=1e-4))
    seen = propagate(obj, (14.7e-9, 14.7e-9), 1.03e-10, um * 1e-6)
    said = ask_matter(seen, lit)
    assert abs(said.correlation) > 0.4  # alone, this would say something
    assert said.verdict == "open"


def test_a_little_out_of_focus_does_no_harm_where_there_is_absorption():
    obj, lit = picture(Deposit(absorption=0.1))
    for um in (1, -1):
        seen = propagate(obj, (14.7e-9, 14.7e-9), 1.03e-10, um * 1e-6)
        assert ask_matter(seen, lit).verdict == "as it is"
        assert ask_matter(seen.conj(), lit).verdict == "twin"


def test_noise_leaves_it_open():
    rng = np.random.default_rng(1)
    obj = 1 + 0.1 * (rng.normal(size=(90, 90)) + 1j * rng.normal(size=(90, 90)))
    assert ask_matter(obj, np.ones((90, 90))).verdict == "open"


def test_a_picture_too_small_leaves_it_open():
    obj, lit = picture(Deposit(absorption=0.1))
    lit = np.where(np.indices(lit.shape).max(axis=0) < 20, lit.max(), 0)
    said = ask_matter(obj, lit)
    assert said.verdict == "open"
    assert "too small" in said.reason


def test_few_particles_skew_the_phases():
    obj, lit = picture(Deposit(star_radius_m=1e-9))
    assert ask_matter(obj, lit).skewness < 0
    assert ask_matter(obj.conj(), lit).skewness > 0


def test_samples_differ():
    """The two samples of these tests have the same phase, and only one absorbs with it."""
    a, b = Sample(), replace(Deposit(), seed=0)
    y, x = np.meshgrid(np.linspace(-1e-6, 1e-6, 30), np.linspace(-1e-6, 1e-6, 30))
    np.testing.assert_allclose(a.phase(y, x), b.phase(y, x))
    assert not np.allclose(a.amplitude(y, x), b.amplitude(y, x))
