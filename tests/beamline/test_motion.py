"""Positions judged against what a scan announced; no catalog."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hxn_ptycho.beamline.checks import check_track
from hxn_ptycho.beamline.motion import Line, Track
from hxn_ptycho.beamline.tables import Motor
from hxn_ptycho.scan import ScanError

MOTOR = Motor(axis="x", direction=1, encoder="inenc2_val", scale_um=-1e-4)


def raster(fast: int, slow: int, back_and_forth: bool) -> tuple[Track, Track]:
    x = np.tile(np.linspace(-1, 1, fast), (slow, 1))
    if back_and_forth:
        x[1::2] = x[1::2, ::-1]
    y = np.repeat(np.linspace(0, 1, slow), fast)
    return (
        Track("zpssx", MOTOR, x.ravel(), "inenc2_val (zpssx)", Line(-1, 1, fast)),
        Track("zpssy", MOTOR, y, "inenc3_val (zpssy)", Line(0, 1, slow, every=fast)),
    )


def frozen(track: Track, first: int, count: int) -> Track:
    um = track.um.copy()
    um[first : first + count] = um[first]
    return Track(track.name, track.motor, um, track.source, track.line)


sizes = st.integers(2, 12)


@given(sizes, sizes, st.booleans())
def test_rasters_without_noise_are_no_frozen_encoders(fast: int, slow: int, snake: bool) -> None:
    for track in raster(fast, slow, snake):
        check_track("scan 1", track)


@given(st.integers(3, 12), sizes, st.booleans(), st.data())
def test_an_encoder_that_stands_still_for_a_line_is_found(
    fast: int, slow: int, snake: bool, data: st.DataObject
) -> None:
    x, y = raster(fast, slow, snake)
    first = data.draw(st.integers(0, x.um.size - fast))
    with pytest.raises(ScanError, match=r"scan 1: inenc2_val \(zpssx\) read .* frames in a row"):
        check_track("scan 1", frozen(x, first, fast))
    line = data.draw(st.integers(0, slow - 2))
    with pytest.raises(ScanError, match=rf"from frame {line * fast} on"):
        check_track("scan 1", frozen(y, line * fast, 2 * fast))


def test_a_scan_of_one_line_has_a_slow_motor_at_rest() -> None:
    fast, slow = raster(6, 1, False)
    check_track("scan 1", fast)
    check_track("scan 1", slow)


def test_part_of_a_scan_is_judged_by_what_it_has() -> None:
    """Stopped in its first line, the slow motor has not moved yet."""
    for track in raster(6, 5, False):
        part = Track(track.name, MOTOR, track.um[:4], track.source, track.line)
        check_track("scan 1", part)


@pytest.mark.parametrize(("went", "told"), [(0.75, True), (0.9, False), (1.1, False), (1.8, True)])
def test_a_range_far_from_the_announced_is_told(
    went: float, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Within a fifth, and one frame: whether ends are frames' middles or edges, plans differ."""
    x, _ = raster(11, 3, False)
    check_track("scan 1", Track(x.name, MOTOR, went * x.um, x.source, x.line))
    assert ("were announced; is its scale in hxn.toml right?" in caplog.text) == told


@pytest.mark.parametrize(("edges", "places"), [(False, [-1, 0, 1]), (True, [-2 / 3, 0, 2 / 3])])
def test_ends_are_middles_or_edges(edges: bool, places: list[float]) -> None:
    np.testing.assert_allclose(Line(-1, 1, 3).places(edges), places, atol=1e-15)
