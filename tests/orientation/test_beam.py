from __future__ import annotations

import numpy as np
import pytest

from hxn_ptycho.optics import propagate
from hxn_ptycho.orientation.beam import beam_width, defocus, focal_spot, speckle_width
from hxn_ptycho.simulate import dataset


def test_width_of_a_gaussian_beam():
    n, sigma = 128, 6.0
    axis = np.arange(n) - n // 2
    wave = np.exp(-np.add.outer(axis**2, axis**2) / (4 * sigma**2))  # |wave|^2 has width sigma
    # Its autocorrelation is exp(-r^2 / 4 sigma^2): half of the integral lies within this radius.
    assert beam_width(wave) == pytest.approx(2 * sigma * np.sqrt(np.log(2)), rel=0.05)


@pytest.mark.parametrize("width", [0.12, 0.2, 0.32])
@pytest.mark.parametrize("photons", [1e4, 1e6])
def test_speckles_tell_the_beams_width(width, photons):
    data = dataset(n=64, grid=(9, 9), probe_modes=1, photons=photons, beam=width)
    counts = np.fft.ifftshift(data.frames, axes=(1, 2))
    assert speckle_width(counts) == pytest.approx(beam_width(data.probe[0]), rel=0.4)


@pytest.mark.parametrize("width", [0.2, 0.32])
def test_a_first_probe_resembles_the_beam_on_one_side_of_the_focus(width):
    data = dataset(n=64, grid=(9, 9), probe_modes=1, photons=1e5, beam=width)
    counts = np.fft.ifftshift(data.frames, axes=(1, 2))
    mean = counts.mean(axis=0)
    away = defocus(counts, mean, data.pixel_size, data.wavelength_m)
    pixel = data.pixel_size[0]
    true = width * 64 * pixel * 4 * pixel / data.wavelength_m
    assert 0.4 * true < away < 1.6 * true
    spot = focal_spot(mean)

    def likeness(wave):
        overlap = abs(np.vdot(wave, data.probe[0]))
        return overlap / np.linalg.norm(wave) / np.linalg.norm(data.probe[0])

    first = likeness(propagate(spot, data.pixel_size, data.wavelength_m, away))
    assert first > 1.15 * likeness(spot)
    assert first > 1.15 * likeness(propagate(spot, data.pixel_size, data.wavelength_m, -away))
