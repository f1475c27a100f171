"""Pixels judged by the frames: those that were spoilt, and never one that was not."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.prepare.pixels import Pixels, judge_pixels
from hxn_ptycho.simulate import dataset

from .frames import annulus, evenly, sample_of, star_frames


def judged(frames: np.ndarray, factor: float | None = 10.0, **keys) -> Pixels:
    saturation = keys.pop("saturation", None)
    named = keys.pop("named", np.zeros(frames.shape[1:], bool))
    return judge_pixels(sample_of(frames, saturation), named, factor, **keys)


def places(which: np.ndarray) -> list[tuple[int, int]]:
    return [(int(y), int(x)) for y, x in np.argwhere(which)]


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return dataset(n=64, grid=(8, 8), probe_modes=1, photons=1e5).frames


@settings(deadline=None, max_examples=30)
@given(
    n=st.sampled_from([24, 44, 64]),
    count=st.sampled_from([1, 3, 16, 64]),
    beam=st.floats(0.15, 0.5),
    photons=st.sampled_from([10, 1e2, 1e3, 1e4]),
    modes=st.sampled_from([1, 3]),
    seed=st.integers(0, 1000),
    factor=st.sampled_from([5.0, 10.0]),
)
def test_good_pixels_are_never_masked(n, count, beam, photons, modes, seed, factor) -> None:
    """Few counts, coarse patterns with a sharp core, speckles: nothing is called hot or dead."""
    data = dataset(
        n=n, grid=(8, 8), probe_modes=modes, photons=photons, beam=beam, seed=seed
    )  # fmt: skip
    pixels = judged(evenly(data.frames, count), factor)
    assert pixels.measured.all(), pixels.counts


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6, 0.9])
def test_the_direct_beam_of_a_plain_aperture_is_not_hot(share: float) -> None:
    """Of an aperture as wide as this share of the window: a core of one to three pixels."""
    rng = np.random.default_rng(0)
    y, x = np.ogrid[-32:32, -32:32]
    disc = np.hypot(y, x) < 32 * share
    intensity = np.fft.fftshift(np.abs(np.fft.fft2(disc)) ** 2)
    frames = rng.poisson(1e5 * intensity / intensity.sum(), (64, 64, 64)).astype(np.uint16)
    assert not judged(frames).hot[28:37, 28:37].any()


@pytest.mark.parametrize("rate", [0.003, 0.05, 0.5, 4.0, 100.0])
@pytest.mark.parametrize("factor", [1.5, 3.0, 10.0])
def test_counting_noise_is_no_reason(rate: float, factor: float) -> None:
    noise = np.random.default_rng(0).poisson(rate, (64, 128, 128)).astype(np.uint16)
    assert judged(noise, factor).measured.all()


def test_the_measured_star_has_no_bad_pixel() -> None:
    assert judged(evenly(star_frames())).measured.all()


@settings(deadline=None, max_examples=30)
@given(
    y=st.integers(0, 63), x=st.integers(0, 63),
    rate=st.sampled_from([0.5, 3, 50, 5000]), seed=st.integers(0, 1000),
)  # fmt: skip
def test_a_hot_pixel_in_the_dark_is_found(frames, y, x, rate, seed) -> None:
    """Also at the edge; the few counts of scattered light around it are a tenth of its own."""
    rng = np.random.default_rng(seed)
    around = frames[:, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].mean(axis=0)
    hot = frames.copy()
    hot[:, y, x] = rng.poisson(rate, len(frames))
    found = places(judged(hot).hot)
    if around.max() * 12 + 0.2 < rate:
        assert found == [(y, x)]
    else:
        assert found in ([], [(y, x)])


def test_pairs_are_found_and_named_in_the_log(frames, caplog) -> None:
    hot = frames.copy()
    hot[:, 3, 4], hot[:, 3, 5], hot[:, 60, 2], hot[:, 50, 9] = 900, 1000, 700, 800
    with caplog.at_level(logging.INFO):
        pixels = judged(hot)
    assert places(pixels.hot) == [(3, 4), (3, 5), (50, 9), (60, 2)]
    assert "hot, above 10 times their neighbours, by 64 frames; masked: 4 pixels" in caplog.text
    assert "(3, 4), (3, 5), (50, 9), ... (y, x)" in caplog.text
    assert not judged(hot, None).hot.any()
    assert not judged(hot, float("inf")).hot.any()


def test_a_cosmic_ray_is_no_hot_pixel(frames) -> None:
    struck = frames.copy()
    struck[7, 5, 5] = 60000
    assert judged(struck).measured.all()


def test_two_photons_of_an_integrating_detector_are_not_hot() -> None:
    rng = np.random.default_rng(0)
    frames = (rng.poisson(0.02, (64, 64, 64)) * 150).astype(np.uint16)
    assert not judged(frames).hot.any()


def test_dark_counts_of_a_pixel_that_the_dark_knows_are_no_light() -> None:
    rng = np.random.default_rng(0)
    dark = np.full((32, 32), 2.0)
    dark[8, 9] = 300
    frames = rng.poisson(dark + 0.5, (64, 32, 32)).astype(np.uint16)
    assert places(judged(frames).hot) == [(8, 9)]
    assert not judged(frames, dark=dark).hot.any()


def test_a_pixel_that_a_flat_makes_hot_is_hot() -> None:
    frames = np.random.default_rng(0).poisson(20, (64, 32, 32)).astype(np.uint16)
    flat = np.ones((32, 32))
    flat[20, 21] = 0.01
    assert places(judged(frames, flat=flat).hot) == [(20, 21)]


def test_saturated_and_numberless_pixels_are_masked(frames) -> None:
    signed = frames.astype(np.int32)
    signed[:, 1, 1] = -1  # a gap, as some detectors write it
    signed[:60, 2, 2] = np.iinfo(np.int32).max
    signed[:40, 3, 3] = np.iinfo(np.int32).max  # often, but not nearly always
    pixels = judged(signed)
    assert places(pixels.saturated) == [(1, 1), (2, 2)]
    assert not pixels.hot.any()
    real = frames.astype(np.float32)
    real[:, 5, 6] = np.nan
    assert places(judged(real).saturated) == [(5, 6)]
    capped = np.minimum(frames, 200)
    assert places(judged(capped, saturation=200).saturated) == places(
        (capped == 200).mean(axis=0) >= 0.9
    )


def test_dead_pixels_gaps_and_shadows_are_masked_where_there_is_light() -> None:
    rng = np.random.default_rng(0)
    light = 1000 * annulus((64, 64), (32, 32), 24, 6)
    frames = rng.poisson(light, (64, 64, 64)).astype(np.uint16)
    frames[:, 30, :] = frames[:, 31, :] = 0
    frames[:, 45, 20] = 0
    frames[:, 10:20, 25:30] = 0
    expected = np.zeros((64, 64), bool)
    expected[30:32] = expected[45, 20] = expected[10:20, 25:30] = True
    np.testing.assert_array_equal(judged(frames).dead, expected)
    faint = (frames * (rng.random(frames.shape) < 2e-3)).astype(np.uint16)
    assert not judged(faint).dead.any()  # so few counts say nothing


def test_a_hole_in_the_light_is_not_dead() -> None:
    """The shadow of the zone plate's central stop has soft edges."""
    rng = np.random.default_rng(0)
    y, x = np.ogrid[-64:64, -64:64]
    radius = np.hypot(y, x)
    light = 500 * np.exp(-(((radius - 30) / 6) ** 2))
    frames = rng.poisson(light, (64, 128, 128)).astype(np.uint16)
    assert (frames[:, 60:68, 60:68] == 0).all()
    assert judged(frames).measured.all()


def test_a_pixel_is_masked_for_one_reason(frames) -> None:
    named = np.zeros((64, 64), bool)
    named[3, 4] = named[5, 5] = True
    spoilt = frames.copy()
    spoilt[:, 3, 4] = 65535
    spoilt[:, 5, 5] = 9000
    pixels = judged(spoilt, named=named)
    assert pixels.counts == {"named": 2, "saturated": 0, "hot": 0, "dead": 0}
    assert places(~pixels.measured) == [(3, 4), (5, 5)]


def test_much_that_is_masked_is_warned_of(caplog) -> None:
    frames = np.random.default_rng(0).poisson(9, (16, 32, 32)).astype(np.uint16)
    frames[:, :, :4] = 65535
    judged(frames)
    assert "12 % of the detector's pixels are masked" in caplog.text
    assert "128 saturated" in caplog.text
