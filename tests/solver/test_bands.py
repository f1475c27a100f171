"""Bands of the object: which rows a rank touches, owns and shares, against counting pixel rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hxn_ptycho.solver.bands import Bands
from hxn_ptycho.solver.frames import share_of


def raster(rows: int, columns: int, step: int) -> np.ndarray:
    """Corners of windows, x fast."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.stack([row, column], axis=1) * step


def bands_of(positions: np.ndarray, window: int, size: int) -> tuple[Bands, int]:
    height = int(positions[:, 0].max()) + window
    count = len(positions)
    return Bands.of(
        positions, window, height, lambda r: share_of(r, size, count), size
    ), height  # fmt: skip


def seen_by(positions: np.ndarray, window: int, height: int, size: int) -> np.ndarray:
    """Whether a rank (first index) sees a row of the object: counted."""
    seen = np.zeros((size, height), bool)
    for rank in range(size):
        first, last = share_of(rank, size, len(positions))
        for row in positions[first:last, 0]:
            seen[rank, row : row + window] = True
    return seen


def test_a_raster_on_four_ranks() -> None:
    bands, height = bands_of(raster(40, 10, 10), 64, 4)
    assert height == 454
    assert bands.why_not == ""
    assert bands.touched == ((0, 154), (100, 254), (200, 354), (300, 454))
    assert bands.owned == ((0, 154), (154, 254), (254, 354), (354, 454))
    assert bands.zones == ((100, 154), (200, 254), (300, 354))
    assert [bands.rows(rank) for rank in range(4)] == list(bands.touched)


def test_upwards_is_as_good_as_downwards() -> None:
    positions = raster(40, 10, 10)
    bands, _ = bands_of(positions[::-1], 64, 4)
    assert bands.why_not == ""
    assert bands.touched[0] == (300, 454)
    assert bands.owned == ((354, 454), (254, 354), (154, 254), (0, 154))


def test_rows_that_nobody_sees_are_owned_too() -> None:
    positions = np.array([[0, 0], [200, 0]])
    bands, _ = bands_of(positions, 64, 2)
    assert bands.touched == ((0, 64), (200, 264))
    assert bands.owned == ((0, 64), (64, 264))
    assert bands.rows(1) == (64, 264)
    assert bands.zones == ()


@pytest.mark.parametrize(
    ("positions", "size", "why"),
    [
        (raster(10, 40, 10)[:, ::-1], 4, "rows of rank"),  # y fast
        (raster(8, 10, 10), 4, "several ranks see 16"),  # bands thinner than the window
        (raster(12, 10, 10), 2, "several ranks see 124 of 244 rows"),
        (np.random.default_rng(1).integers(0, 300, (400, 2)), 2, "of"),
    ],
)
def test_else_all_rows_are_added_up_and_it_says_why(
    positions: np.ndarray, size: int, why: str
) -> None:
    bands, _ = bands_of(positions, 134, size)
    assert why in bands.why_not


@given(
    st.integers(1, 6),
    st.integers(4, 40),
    st.integers(
        1,
        60,
    ),
    st.integers(1, 12),
    st.integers(1, 15),
    st.integers(-1, 1),
)
def test_bands_are_as_counted(
    size: int, window: int, rows: int, columns: int, step: int, direction: int
) -> None:
    positions = raster(rows, columns, step)
    if direction < 0:
        positions = positions[::-1]
    elif direction == 0:
        positions = np.random.default_rng(rows).permutation(positions)
    bands, height = bands_of(positions, window, size)
    seen = seen_by(positions, window, height, size)
    owners = np.zeros(height, int)
    for rank in range(size):
        first, last = bands.touched[rank]
        assert np.flatnonzero(seen[rank]).tolist() == [] or (
            (np.flatnonzero(seen[rank])[[0, -1]] == [first, last - 1]).all()
        )
        begin, end = bands.owned[rank]
        owners[begin:end] += 1
        if not bands.why_not and end > begin:
            rows_here = bands.rows(rank)
            assert rows_here[0] <= min(begin, first) <= max(end, last) <= rows_here[1]
    assert (owners == 1).all()
    if bands.why_not:
        return
    # What several see, and only that, is added up.
    added = np.zeros(height, int)
    for first, last in bands.zones:
        added[first:last] += 1
    assert (added == (seen.sum(axis=0) >= 2)).all()
