from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.fly.trajectory import Axis, Trajectory
from hxn_ptycho.simulate.stages import Stage


def trajectory(**changes: object) -> Trajectory:
    standard = {
        "fast": Stage(name="x"),
        "slow": Stage(name="y"),
        "fast_range": (1.0, 3.0),
        "slow_range": (-1.0, 1.0),
        "shape": (5, 3),
        "exposure_s": 0.008,
        "dead_s": 0.002,
    }
    return Trajectory(**{**standard, **changes})  # type: ignore[arg-type]


def test_frames_are_exposed_on_the_way_about_their_middles() -> None:
    places, slow = trajectory().line(2, 4)
    assert slow == 1.0
    np.testing.assert_allclose(places.mean(axis=1), [1, 1.5, 2, 2.5, 3])
    # 8 of 10 ms of a step of 0.5: four times, 0.1 apart.
    np.testing.assert_allclose(np.diff(places, axis=1), 0.1)


def test_a_snake_turns_every_other_line() -> None:
    snake, raster = trajectory(snake=True), trajectory()
    for row in (0, 2):
        np.testing.assert_array_equal(snake.line(row, 4)[0], raster.line(row, 4)[0])
    back = snake.line(1, 4)[0]
    np.testing.assert_allclose(back.mean(axis=1), [3, 2.5, 2, 1.5, 1])
    np.testing.assert_allclose(np.diff(back, axis=1), -0.1)  # it flies backwards
    assert snake.line(1, 4)[1] == raster.line(1, 4)[1]


@given(
    start=st.floats(-5, 5),
    end=st.floats(-5, 5),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 4)),
    snake=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_the_corners_hold_every_place(
    start: float, end: float, shape: tuple[int, int], snake: bool
) -> None:
    path = trajectory(fast_range=(start, end), shape=shape, snake=snake)
    corners = path.corners()
    for row in range(shape[1]):
        places, slow = path.line(row, 7)
        assert corners[:, 0].min() - 1e-9 <= places.min()
        assert places.max() <= corners[:, 0].max() + 1e-9
        assert corners[:, 1].min() <= slow <= corners[:, 1].max()
    assert path.frames == shape[0] * shape[1]
    assert path.period_s == pytest.approx(0.01)


def test_an_axis_can_be_moved() -> None:
    stage = Stage(name="x")
    assert Axis(stage, -1.0, 2.0, 4).moved(0.5) == Axis(stage, -0.5, 2.5, 4)
