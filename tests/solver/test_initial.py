"""First guesses: where the light is, how strong, and that no two modes are alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.solver import initial


def disc(n=64, radius=9):
    y = np.fft.fftfreq(n) * n
    return 100.0 * (np.hypot(y[:, None], y[None]) < radius)


def test_probe_from_data_is_the_focal_spot():
    """A disc in the far field gives an Airy pattern in the middle, its first zero at 0.61 n / R."""
    probe = initial.probe_from_data(disc())
    assert np.unravel_index(np.argmax(np.abs(probe)), probe.shape) == (32, 32)
    assert np.sum(np.abs(probe) ** 2) == pytest.approx(disc().sum())
    line = np.abs(probe[32, 32:])
    first_zero = np.argmax(np.diff(line) > 0)
    assert first_zero == pytest.approx(0.61 * 64 / 9, abs=1)


def test_random_probe_has_the_far_field_of_the_data():
    generator = np.random.default_rng(0)
    probe = initial.random_probe(disc(), generator)
    far = np.abs(np.fft.fft2(probe, norm="ortho")) ** 2
    np.testing.assert_allclose(far, disc(), atol=1e-9)
    assert np.std(np.angle(np.fft.fft2(probe))[disc() > 0]) > 0.3


@settings(max_examples=20, deadline=None)
@given(modes=st.integers(1, 12), ratio=st.floats(0.05, 0.9), given_modes=st.integers(1, 3))
def test_further_modes_are_orthogonal_and_fall_in_power(modes, ratio, given_modes):
    generator = np.random.default_rng(0)
    first = initial.random_probe(disc(), generator)
    start = np.stack([first, np.roll(first, 3, 0) * 0.3, np.roll(first, 5, 1) * 0.2])[:given_modes]
    probe = initial.further_modes(start, modes, ratio, generator)
    assert probe.shape == (modes, 64, 64)
    kept = min(modes, given_modes)
    np.testing.assert_array_equal(probe[:kept], start[:kept])
    power = np.sum(np.abs(probe) ** 2, axis=(1, 2))
    np.testing.assert_allclose(power[kept:], power[kept - 1 : -1] * ratio, rtol=1e-9)
    singular = np.linalg.svd((probe / np.sqrt(power)[:, None, None]).reshape(modes, -1))[1]
    assert singular.min() > 0.3  # linearly independent, far from alike


def test_objects_of_several_modes_differ():
    generator = np.random.default_rng(0)
    obj = initial.make_object("ones", 3, (10, 12), generator)
    assert np.all(obj[0] == 1)
    assert not np.allclose(obj[1], obj[2])
    random = initial.make_object("random", 1, (10, 12), generator)
    assert np.abs(random).min() >= 0.9
    assert np.ptp(np.angle(random)) > 0.2


@pytest.mark.parametrize(
    ("offset", "there", "here"),
    [((2, 3), (slice(2, 6), slice(3, 8)), (slice(0, 4), slice(0, 5))),
     ((-1, 9), (slice(0, 3), slice(9, 12)), (slice(1, 4), slice(0, 3))),
     (None, (slice(3, 7), slice(3, 8)), (slice(0, 4), slice(0, 5))),
     ((20, 0), (slice(0, 0), slice(0, 0)), (slice(0, 0), slice(0, 0)))],
)  # fmt: skip
def test_a_given_object_is_laid_where_it_was(offset, there, here):
    obj = np.ones((1, 10, 12), complex)
    given_object = np.arange(20.0).reshape(1, 4, 5) + 5j
    found = initial.place_object(obj, given_object, offset)
    wanted = np.ones((10, 12), complex)
    wanted[there] = given_object[0][here]
    np.testing.assert_array_equal(found[0], wanted)


@pytest.mark.parametrize("binning", [1, 2, 3, 4])
def test_a_binned_pixel_is_where_the_ramp_puts_it(binning: int) -> None:
    """A wave of which one detector pixel is bright, and the same wave where they are binned."""
    small = 24
    ramp = initial.binning_ramp(small, binning)
    x = np.arange(small) - small // 2
    for pixel in (0, 3, -5):
        middle = pixel + (binning - 1) / (2 * binning)  # binned pixels from the direct beam
        wave = np.exp(2j * np.pi * middle * x / small)  # as bright at `middle` as can be
        beam = np.outer(wave, wave)
        far = np.abs(np.fft.fft2(np.fft.ifftshift(beam * ramp)))
        assert np.unravel_index(far.argmax(), far.shape) == (pixel % small, pixel % small)
        assert far.max() == pytest.approx(small**2)  # nothing is left beside it
