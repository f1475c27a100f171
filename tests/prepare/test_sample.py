from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.prepare.sample import MOST_BYTES, _choose, read_sample
from hxn_ptycho.scan import ScanError
from hxn_ptycho.solver.job import FrameBlock

from .frames import sample_of, scan_of


def numbered(count: int, shape: tuple[int, int] = (4, 5)) -> np.ndarray:
    return (np.arange(count)[:, None, None] + np.zeros(shape)).astype(np.uint16)


@settings(deadline=None, max_examples=40)
@given(
    blocks=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any),
    most=st.integers(1, 70),
)
def test_frames_are_those_it_says_evenly_spread_over_all_blocks(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[int], most: int
) -> None:
    frames = numbered(sum(blocks))
    scan = scan_of(frames, tmp_path_factory.mktemp("s") / "f.h5", blocks)
    sample = read_sample(scan, most=most)
    assert len(sample.index) == min(max(most, 4), len(frames))
    np.testing.assert_array_equal(sample.frames, frames[sample.index])
    assert sample.index[0] == 0
    if len(sample.index) > 1:
        assert sample.index[-1] == len(frames) - 1
        steps = np.diff(sample.index)
        assert steps.max() - steps.min() <= 1


def test_blocks_may_be_in_any_order_and_files(tmp_path: Path) -> None:
    frames = numbered(20)
    first = scan_of(frames[:10], tmp_path / "a.h5")
    second = scan_of(frames[10:], tmp_path / "b.h5")
    a, b = first.frames[0].file, second.frames[0].file
    blocks = (FrameBlock(b, "/frames", 5, 5), FrameBlock(a, "/frames", 2, 1))
    scan = replace(first, frames=(*blocks, FrameBlock(b, "/frames", 0, 2)))
    sample = read_sample(scan)
    assert sample.frames[:, 0, 0].tolist() == [15, 16, 17, 18, 19, 2, 10, 11]


@given(
    count=st.integers(1, 100_000),
    frame_bytes=st.integers(1, 2**25),
    chunk=st.integers(1, 1000),
)
def test_not_much_is_unpacked(count: int, frame_bytes: int, chunk: int) -> None:
    index = _choose(count, 64, frame_bytes, chunk)
    assert 1 <= len(index) <= 64
    assert (np.diff(index) > 0).all()
    assert 0 <= index[0] <= index[-1] < count
    unpacked = len(set((index // chunk).tolist())) * frame_bytes * chunk
    assert unpacked <= max(MOST_BYTES, 4 * frame_bytes * chunk)


def test_packed_chunks_of_many_frames_give_several_each(tmp_path: Path) -> None:
    frames = numbered(1000, (64, 64))
    scan = scan_of(frames, tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("frames", data=frames, chunks=(250, 64, 64), **hdf5plugin.Bitshuffle())
    sample = read_sample(scan)
    np.testing.assert_array_equal(sample.frames, frames[sample.index])
    assert set((sample.index // 250).tolist()) == {0, 1, 2, 3}


def test_frames_of_the_other_byte_order(tmp_path: Path) -> None:
    frames = numbered(9).astype(">u2")
    sample = read_sample(scan_of(frames, tmp_path / "f.h5", frame_dtype="uint16"))
    np.testing.assert_array_equal(sample.frames, frames)
    assert sample.frames.dtype == np.dtype("=u2")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    scan = scan_of(numbered(3), tmp_path / "f.h5")
    (tmp_path / "f.h5").write_bytes(b"no HDF5")
    with pytest.raises(ScanError, match=r"scan 7: .*f\.h5 "):
        read_sample(scan)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "uint32", "float32", "float64"])
def test_statistics_are_of_what_is_usable(dtype: str) -> None:
    rng = np.random.default_rng(1)
    frames = rng.poisson(3, (10, 6, 7)).astype(dtype)
    usable = np.ones(frames.shape, bool)
    frames[:4, 2, 3], usable[:4, 2, 3] = 90, False
    if dtype[0] != "u":
        frames[5, 1, 1], usable[5, 1, 1] = -1, False
    if dtype[0] == "f":
        frames[6, 1, 2], usable[6, 1, 2] = np.nan, False
    sample = sample_of(frames, 90)
    counts = np.where(usable, frames, 0).astype(float)
    np.testing.assert_array_equal(sample.seen, usable.sum(axis=0))
    np.testing.assert_allclose(sample.total, counts.sum(axis=0))
    np.testing.assert_allclose(sample.mean, counts.sum(axis=0) / usable.sum(axis=0))
    np.testing.assert_array_equal(sample.peak, counts.max(axis=0))


def test_a_pixel_that_is_never_usable_counts_nothing() -> None:
    frames = np.full((3, 2, 2), 5, np.uint16)
    frames[:, 0, 0] = 65535
    sample = sample_of(frames)
    assert sample.mean[0, 0] == 0
    assert sample.seen.tolist() == [[0, 3], [3, 3]]
    assert sample.mean[1, 1] == 5
