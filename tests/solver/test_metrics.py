"""Alignment, object error, ring correlation, on pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.solver.metrics import align, fourier_ring_correlation, illumination, object_error


def picture(shape=(60, 75), seed=0):
    """A smooth complex picture with detail on several scales."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None])
    noise = rng.normal(size=(2, *shape))
    low, high = np.fft.ifft2(np.fft.fft2(noise) * np.exp(-((frequency / 0.1) ** 2))).real
    return (0.85 + 0.15 * np.tanh(3 * low)) * np.exp(2j * high)


def ramped(obj, ramp):
    y, x = (np.arange(s) - s // 2 for s in obj.shape)
    return obj * np.exp(1j * (ramp[0] * y[:, None] + ramp[1] * x[None]))


@settings(max_examples=40, deadline=None)
@given(
    size=st.floats(0.01, 100),
    phase=st.floats(-3.1, 3.1),
    ramp=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    seed=st.integers(0, 50),
)
def test_scale_and_ramp_are_removed(size, phase, ramp, seed):
    truth = picture(seed=seed)
    seen = ramped(truth, ramp) * size * np.exp(1j * phase)
    aligned, found = align(truth, seen)
    np.testing.assert_allclose(aligned, truth, atol=1e-6)
    np.testing.assert_allclose(found.ramp, [-r for r in ramp], atol=1e-6)
    assert abs(found.scale) == pytest.approx(1 / size, rel=1e-6)
    assert object_error(truth, seen) < 1e-6


@pytest.mark.parametrize("shift", [(3, -2), (-1.3, 0.4), (0.25, 6.75)])
def test_a_translation_is_removed_when_asked(shift):
    truth = picture((64, 80))
    spectrum = np.fft.fft2(truth)
    for axis, distance in enumerate(shift):
        factor = np.exp(-2j * np.pi * np.fft.fftfreq(truth.shape[axis]) * distance)
        spectrum = spectrum * (factor[:, None] if axis == 0 else factor[None])
    moved = ramped(np.fft.ifft2(spectrum), (0.05, -0.08))
    _, found = align(truth, moved, shift=True)
    np.testing.assert_allclose(found.shift, [-s for s in shift], atol=0.02)
    assert object_error(truth, moved) > 0.1
    assert object_error(truth, moved, shift=True) < 0.01


def test_only_the_mask_counts():
    truth = picture()
    spoilt = truth.copy()
    spoilt[:10] = 34  # the hardly lit rim, as seen on real data
    mask = np.ones(truth.shape, bool)
    mask[:10] = False
    assert object_error(truth, spoilt, mask) < 1e-9
    assert object_error(truth, spoilt) > 0.8


def test_error_of_added_noise_is_its_size():
    truth = picture()
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(2, *truth.shape))
    seen = truth + 0.05 * (noise[0] + 1j * noise[1])
    wanted = 0.05 * np.sqrt(2) / np.sqrt(np.mean(np.abs(truth) ** 2))
    assert object_error(truth, seen) == pytest.approx(wanted, rel=0.05)


def test_what_cannot_be_aligned_is_refused():
    with pytest.raises(ValueError, match=r"\(60, 75\).*\(5, 5\)"):
        align(picture(), np.ones((5, 5), complex))
    with pytest.raises(ValueError, match="zero wherever"):
        align(picture(), np.zeros((60, 75), complex))


def test_rings_of_equal_pictures_correlate_and_of_noise_do_not():
    a = picture((96, 96))
    rng = np.random.default_rng(2)
    b, c = rng.normal(size=(2, 96, 96))
    frequency, same = fourier_ring_correlation(a, a)
    assert frequency[0] == 0
    assert frequency[-1] == pytest.approx(1)
    np.testing.assert_allclose(same, 1, atol=1e-9)
    _, none = fourier_ring_correlation(b, c)
    assert none[10:].mean() < 0.25


def test_rings_fall_where_the_noise_begins():
    """Low-pass truth plus white noise: the crossing of 0.5 is where their spectra are equal."""
    shape = (128, 128)
    rng = np.random.default_rng(3)
    signal, n1, n2 = rng.normal(size=(3, *shape))
    frequency = 2 * np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None])
    signal = np.fft.ifft2(np.fft.fft2(signal) * (frequency < 0.4)).real
    at, correlation = fourier_ring_correlation(signal + 0.1 * n1, signal + 0.1 * n2)
    crossing = at[np.argmax(correlation < 0.5)]
    assert crossing == pytest.approx(0.4, abs=0.05)


def test_illumination_adds_the_probe_at_every_view():
    probe = np.zeros((2, 4, 4), complex)
    probe[0, 1, 2], probe[1, 1, 2] = 2, 1j
    light = illumination(probe, np.array([[0, 0], [3, 1], [3, 1]]), (8, 8))
    assert light[1, 2] == 5
    assert light[4, 3] == 10
    assert light.sum() == 15
