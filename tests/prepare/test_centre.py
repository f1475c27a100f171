"""The direct beam, found in patterns whose beam is known; and what is taken for it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.prepare.centre import CLEAR, choose_centre, find_centre
from hxn_ptycho.prepare.pixels import judge_pixels
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.scan import Scan, ScanError
from hxn_ptycho.simulate import dataset

from ..jobs import make_scan
from .frames import annulus, evenly, sample_of, star_frames


def found_in(mean: np.ndarray, measured: np.ndarray | None = None) -> np.ndarray:
    found = find_centre(mean, np.ones(mean.shape, bool) if measured is None else measured)
    assert found is not None
    assert found.likeness > CLEAR
    return np.array([found.y, found.x])


def assert_near(found: np.ndarray, truth: tuple[float, float], most: float = 1.0) -> None:
    assert np.abs(found - truth).max() <= most, f"{found} for {truth}"


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(48, 160),
    width=st.integers(48, 160),
    share=st.tuples(st.floats(0.35, 0.65), st.floats(0.35, 0.65)),
    outer=st.floats(0.12, 0.3),
    photons=st.floats(0.05, 100),
    dark=st.floats(0, 2),
    tilt=st.floats(-0.6, 0.6),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_noisy_annulus_is_found_wherever_it_lies(
    height, width, share, outer, photons, dark, tilt, seed
) -> None:
    """Also where the detector's edge cuts it, and where one side is brighter than the other."""
    rng = np.random.default_rng(seed)
    truth = (share[0] * height, share[1] * width)
    radius = outer * min(height, width)
    pattern = annulus((height, width), truth, radius, 0.4 * radius)
    pattern *= 1 + tilt * np.linspace(-1, 1, width)
    mean = rng.poisson(64 * (photons * pattern + dark * photons)) / 64
    assert_near(found_in(mean), truth)


@pytest.fixture(scope="module")
def pattern() -> np.ndarray:
    """The mean frame (128, 128) of a zone plate and a sample, the beam at [64, 64]."""
    return dataset(n=128, grid=(8, 8), probe_modes=2, photons=1e5).frames.mean(axis=0)


@settings(deadline=None, max_examples=25)
@given(dy=st.integers(-48, 48), dx=st.integers(-48, 48))
def test_a_pattern_cut_by_the_detector_is_found(pattern, dy, dx) -> None:
    """The annulus has a radius of 16 pixels: at 48 its edge is that of the detector."""
    cut = pattern[max(0, dy) : 128 + min(0, dy), max(0, dx) : 128 + min(0, dx)]
    assert_near(found_in(cut), (64 - max(0, dy), 64 - max(0, dx)), 0.5)


def test_half_of_the_annulus_is_enough(pattern) -> None:
    assert_near(found_in(pattern[60:]), (4, 64))
    assert_near(found_in(pattern[:, :70]), (64, 64))


def test_hot_and_bad_pixels_do_not_draw_it(pattern) -> None:
    rng = np.random.default_rng(0)
    spoilt, measured = pattern.copy(), np.ones(pattern.shape, bool)
    for y, x in rng.integers(0, 128, (40, 2)):
        spoilt[y, x] = 60000
    assert_near(found_in(spoilt), (64, 64), 0.5)
    measured[:, 80:90] = False  # a gap between modules, with anything in it
    spoilt[:, 80:90] = 1e9
    assert_near(found_in(spoilt, measured), (64, 64), 0.5)


def test_a_beam_stop_does_not_hide_it() -> None:
    frames = dataset(n=128, grid=(8, 8), probe_modes=2, photons=1e5).frames.copy()
    frames[:, 55:77, 58:74] = 0  # not in the middle of the beam
    frames[:, 64:, 62:66] = 0  # and what holds it
    sample = sample_of(frames)
    assert_near(found_in(sample.mean), (64, 64))
    pixels = judge_pixels(sample, np.zeros((128, 128), bool), 10.0)
    assert pixels.dead[60:70, 60:70].all()
    assert_near(found_in(sample.mean, pixels.measured), (64, 64), 0.25)


@pytest.fixture(scope="module")
def star() -> np.ndarray:
    return evenly(star_frames()).mean(axis=0)


@settings(deadline=None, max_examples=25)
@given(dy=st.integers(-32, 32), dx=st.integers(-32, 32))
def test_the_measured_star_is_found_again_where_it_was_moved(star, dy, dx) -> None:
    whole = found_in(star)
    assert_near(whole, (64, 64), 1.5)  # its own beam is 1.4 pixels beside the middle
    cut = star[max(0, dy) : 128 + min(0, dy), max(0, dx) : 128 + min(0, dx)]
    assert_near(found_in(cut), (whole[0] - max(0, dy), whole[1] - max(0, dx)))


def test_large_frames_are_searched_binned() -> None:
    truth = (570.0, 480.0)
    pattern = annulus((1065, 1030), truth, 120, 40)
    assert_near(found_in(pattern), truth)


def test_dark_or_even_frames_have_no_centre() -> None:
    everywhere = np.ones((64, 64), bool)
    assert find_centre(np.zeros((64, 64)), everywhere) is None
    lit = np.zeros((64, 64))
    lit[3, 3] = 9
    assert find_centre(lit, lit == 0) is None
    assert find_centre(np.ones((64, 64)), everywhere).likeness == 0


@pytest.mark.parametrize("rate", [0.02, 1.0, 300.0])
def test_noise_has_no_centre(rate: float) -> None:
    noise = np.random.default_rng(0).poisson(rate, (64, 64, 64)).mean(axis=0)
    assert find_centre(noise, np.ones((64, 64), bool)).likeness < CLEAR


# What is taken --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    made = make_scan(tmp_path_factory.mktemp("scan"))
    return Scan(**{**vars(made), "frame_shape": (128, 128)})


def taken(scan: Scan, at: tuple[float, float], **keys) -> tuple[float, float]:
    centre = choose_centre(
        scan, Recipe(**keys), annulus((128, 128), at, 20, 8), np.ones((128, 128), bool)
    )
    return centre.y, centre.x


def test_near_the_middle_the_whole_detector_is_used(scan, caplog) -> None:
    with caplog.at_level(logging.INFO):
        assert taken(scan, (60, 70)) == (64, 64)
    assert "found at (60.0, 70.0), likeness 0.99; taken (64, 64), the middle" in caplog.text
    assert taken(scan, (57, 64)) == (57, 64)  # farther than 5 % of 128
    assert taken(scan, (60, 70), window=64) == (60, 70)  # nothing is gained by the middle


def test_a_window_that_almost_fits_is_moved_to_where_it_does(scan) -> None:
    assert taken(scan, (60, 70), window=128) == (64, 64)
    assert taken(scan, (60, 70), window=124) == (62, 66)
    assert taken(scan, (50, 64), window=124) == (50, 64)  # too far: for choose_window to refuse


def test_what_is_known_is_not_looked_for(scan) -> None:
    assert taken(scan, (40, 40), centre="middle") == (64, 64)
    assert taken(scan, (40, 40), centre=(50.0, 51.0)) == (50, 51)
    assert taken(Scan(**{**vars(scan), "dc": "corner"}), (40, 40)) == (64, 64)


def test_without_light_the_scan_is_refused(scan) -> None:
    dark = np.zeros((128, 128))
    with pytest.raises(ScanError, match=r'scan 7: no light .* shutter .* centre = "middle"'):
        choose_centre(scan, Recipe(), dark, dark == 0)
    assert choose_centre(scan, Recipe(centre="middle"), dark, dark == 0).found is None


def test_a_centre_that_means_nothing_is_not_taken(scan, caplog) -> None:
    noise = np.random.default_rng(0).poisson(5.0, (128, 128)).astype(float)
    centre = choose_centre(scan, Recipe(), noise, noise >= 0)
    assert (centre.y, centre.x) == (64, 64)
    assert "check it" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_a_file_moved_by_its_own_beam(home, tmp_path: Path) -> None:
    """A window around the beam as it was found, in the frames as they are on file."""
    from hxn_ptycho.prepare import make_plan

    from .frames import scan_of

    frames = np.roll(dataset(n=128, grid=(6, 6), probe_modes=1).frames, (-9, 14), axis=(1, 2))
    plan = make_plan(scan_of(frames, tmp_path / "f.h5"), Recipe())
    assert plan.window.crop == (5, 28, 100)
    assert plan.recipe.centre == (55, 78)
    assert plan.recipe.window == 100
