from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hxn_ptycho.orientation.patch import patch, richest, spread
from hxn_ptycho.scan import Scan
from hxn_ptycho.solver.job import FrameBlock


def raster(rows: int, columns: int, blocks: tuple[int, ...] = ()) -> Scan:
    """A raster of unit steps; its frames in blocks of these counts, each in a file of its own."""
    y, x = np.divmod(np.arange(rows * columns), columns)
    counts = blocks or (rows * columns,)
    return Scan(
        uid="raw", scan_id=1,
        frames=tuple(FrameBlock(f"/{i}.h5", "/d", 10 * i, n) for i, n in enumerate(counts)),
        frame_shape=(8, 8), frame_dtype="uint16", dc="centre",
        positions_m=np.stack([y, x], axis=1) * 1e-7, wavelength_m=1e-10, distance_m=1.0,
        detector_pixel_m=(5e-5, 5e-5), normalisation=np.arange(rows * columns) + 1.0,
    )  # fmt: skip


def frames_of(scan: Scan) -> list[tuple[str, int]]:
    """File and place of each frame."""
    return [(block.file, block.start + i) for block in scan.frames for i in range(block.count)]


@given(
    rows=st.integers(1, 12), columns=st.integers(2, 12), views=st.integers(1, 150),
    cut=st.integers(1, 143), around=st.integers(0, 143),
)  # fmt: skip
def test_each_view_keeps_its_frame_its_position_and_its_normalisation(
    rows, columns, views, cut, around
):
    count = rows * columns
    cut = min(cut, count - 1)
    scan = raster(rows, columns, (cut, count - cut))
    part, numbers = patch(scan, views, min(around, count - 1))
    assert len(numbers) == min(views, count) == part.number_of_frames
    every = frames_of(scan)
    assert frames_of(part) == [every[number] for number in numbers]
    np.testing.assert_array_equal(part.positions_m, scan.positions_m[numbers])
    np.testing.assert_array_equal(part.normalisation, scan.normalisation[numbers])


def test_views_lie_together_and_none_between_them_is_left_out():
    part, numbers = patch(raster(21, 31), 49)
    assert set(numbers) == {31 * row + column for row in range(7, 14) for column in range(12, 19)}
    assert len(part.frames) == 7  # a run of neighbours a row


def test_a_small_scan_is_taken_whole():
    scan = raster(4, 5)
    part, _ = patch(scan, 150)
    assert part.number_of_frames == 20
    np.testing.assert_array_equal(part.positions_m, scan.positions_m)


def test_the_place_where_frames_differ_is_found(tmp_path):
    scan = raster(20, 20)
    rng = np.random.default_rng(0)
    frames = rng.poisson(np.full((400, 8, 8), 20.0))
    rich = [20 * row + column for row in range(13, 17) for column in range(3, 7)]
    frames[rich] = rng.poisson(rng.gamma(1.0, 20.0, (16, 8, 8)))
    numbers = spread(scan, 400)
    around = richest(frames, scan.positions_m, numbers, share=16 / 400)
    row, column = divmod(around, 20)
    assert 13 <= row <= 16
    assert 3 <= column <= 6


def test_frames_looked_at_are_spread_over_the_scan():
    numbers = spread(raster(100, 100), 400)
    assert len(numbers) == 400
    assert numbers[0] == 0
    assert numbers[-1] == 9999
    assert np.diff(numbers).max() <= 26


def test_dark_frames_do_not_count_as_rich():
    scan = replace(raster(3, 3))
    frames = np.full((9, 8, 8), 20)
    frames[0] = 0
    frames[7, :4] = 90
    around = richest(frames, scan.positions_m, np.arange(9), share=1 / 9)
    assert around == 7


def test_blocks_lead_to_the_frames_in_the_files(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["d"] = np.arange(30)[:, None, None] * np.ones((1, 8, 8))
    scan = raster(5, 6)
    scan = replace(scan, frames=(FrameBlock(str(tmp_path / "f.h5"), "d", 0, 30),))
    part, numbers = patch(scan, 9)
    with h5py.File(tmp_path / "f.h5") as file:
        read = np.concatenate([file["d"][b.start : b.start + b.count] for b in part.frames])
    np.testing.assert_array_equal(read[:, 0, 0], numbers)
