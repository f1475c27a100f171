"""Reading frames: crop, window, direct beam, masks, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.solver import frames as reading
from hxn_ptycho.solver.frames import (
    Geometry,
    Share,
    check_frames,
    prepare_some,
    read_share,
    share_of,
)
from hxn_ptycho.solver.job import FrameBlock, Inputs, Job, JobError
from hxn_ptycho.solver.preparation import FramePlan, HostPreparation


def read(job: Job, inputs: Inputs, folder: Path, rank: int, size: int) -> Share:
    return read_share(job, inputs, folder, rank, size, HostPreparation)


def make(folder: Path, frames: np.ndarray, *, crop=None, window=None, dc="centre", **options):
    """Write frames in two files and return their job and inputs."""
    count, h, w = frames.shape
    cut = count // 3
    blocks = []
    for k, part in enumerate((frames[:cut], frames[cut:])):
        with h5py.File(folder / f"part{k}.h5", "w") as file:
            # Frames of something else before ours: the block says where ours begin.
            stored = np.concatenate([part[:2] * 0 + 3, part])
            file.create_dataset("entry/data", data=stored, chunks=(1, h, w), **options)
        blocks.append(FrameBlock(f"part{k}.h5", "entry/data", len(stored) - len(part), len(part)))
    crop = crop or (0, 0, min(h, w))
    job = Job(
        job_uid="j", derived_uid="d", raw_uid="r", scan_id=1,
        frames=tuple(blocks), frame_shape=(h, w), frame_dtype=frames.dtype.name, dc=dc,
        crop=crop, fft_window=window or crop[2], wavelength_m=1e-10, distance_m=1.0,
        detector_pixel_m=(55e-6, 55e-6), object_pixel_m=(1e-8, 1e-8), recipe={},
    )  # fmt: skip
    inputs = Inputs(np.zeros((count, 2)), np.linspace(0.5, 1.5, count), np.ones((h, w), bool))
    return job, inputs


def counts(shape=(7, 12, 15), dtype="uint16"):
    return np.random.default_rng(0).integers(1, 1000, size=shape).astype(dtype)


@pytest.mark.parametrize("window", [10, 16])
@pytest.mark.parametrize("dc", ["centre", "corner"])
def test_frames_are_cropped_embedded_and_turned_to_the_corner(tmp_path, window, dc):
    frames = counts()
    crop = (1, 3, 10)
    stored = np.fft.ifftshift(frames, axes=(1, 2)) if dc == "corner" else frames
    job, inputs = make(tmp_path, stored, crop=crop, window=window, dc=dc)
    inputs.mask[5, 6] = False
    share = read(
        job, replace(inputs, mask=np.fft.ifftshift(inputs.mask) if dc == "corner" else inputs.mask),
        tmp_path, 0, 1,
    )  # fmt: skip
    cropped = frames[:, 1:11, 3:13].copy()
    cropped[:, 4, 3] = 0
    room = np.zeros((7, window, window), frames.dtype)
    seen = np.zeros((window, window), bool)
    begin = window // 2 - 5
    room[:, begin : begin + 10, begin : begin + 10] = cropped
    seen[begin : begin + 10, begin : begin + 10] = True
    seen[begin + 4, begin + 3] = False
    np.testing.assert_array_equal(share.counts, np.fft.ifftshift(room, axes=(1, 2)))
    np.testing.assert_array_equal(share.measured, np.fft.ifftshift(seen))
    assert share.counts.dtype == frames.dtype
    np.testing.assert_array_equal(share.scale, inputs.normalisation)


@settings(max_examples=50, deadline=None)
@given(count=st.integers(0, 50), size=st.integers(1, 9))
def test_every_view_belongs_to_one_rank_and_shares_are_even(count, size):
    shares = [share_of(rank, size, count) for rank in range(size)]
    assert [j for low, high in shares for j in range(low, high)] == list(range(count))
    sizes = [high - low for low, high in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_the_shares_of_all_ranks_are_the_scan(tmp_path, size):
    frames = counts((7, 8, 8))
    job, inputs = make(tmp_path, frames)
    shares = [read(job, inputs, tmp_path, rank, size) for rank in range(size)]
    together = np.concatenate([share.counts for share in shares])
    np.testing.assert_array_equal(np.fft.fftshift(together, axes=(1, 2)), frames)
    np.testing.assert_array_equal(np.concatenate([s.index for s in shares]), np.arange(7))


@pytest.mark.parametrize("size", [1, 2, 9])
def test_a_share_knows_its_photons_and_their_sum(tmp_path, size):
    frames = counts((7, 8, 8))
    frames[3] = 0
    job, inputs = make(tmp_path, frames)
    inputs.mask[2, 5] = False
    scaled = frames * inputs.normalisation[:, None, None] * inputs.mask
    shares = [read(job, inputs, tmp_path, rank, size) for rank in range(size)]
    total = sum(share.total for share in shares)
    np.testing.assert_allclose(np.fft.fftshift(total), scaled.sum(axis=0), rtol=1e-12)
    photons = np.concatenate([share.photons for share in shares])
    np.testing.assert_allclose(photons, np.delete(scaled.sum(axis=(1, 2)), 3), rtol=1e-12)


class Recorder:
    """A preparation as a GPU's: two rooms in turn, copied only when a third is asked for."""

    def __init__(self, plan: FramePlan) -> None:
        self.plan = plan
        self.host = HostPreparation(plan)
        self.rooms: list[np.ndarray] = []
        self.asked: list[tuple] = []
        self.waiting: list[tuple[int, np.ndarray]] = []

    def room(self, count, shape, dtype):
        self.asked.append((count, shape, dtype))
        if len(self.rooms) < 2:
            self.rooms.append(np.empty((50, *shape), dtype))
        elif len(self.waiting) == 2:
            self.host.add(*self.waiting.pop(0))
        return self.rooms[(len(self.asked) - 1) % 2][:count]

    def add(self, offset, frames):
        assert frames.base is self.rooms[(len(self.asked) - 1) % 2]
        self.waiting.append((offset, frames))

    def finish(self):
        for waiting in self.waiting:
            self.host.add(*waiting)
        return self.host.finish()


@pytest.mark.parametrize("dtype", ["uint16", ">u2", "uint64"])
def test_frames_are_read_in_batches_into_the_rooms_of_the_preparation(tmp_path, monkeypatch, dtype):
    frames = counts((20, 12, 12), dtype)
    job, inputs = make(tmp_path, frames, crop=(1, 0, 10))
    monkeypatch.setattr(reading, "BATCH_BYTES", 3 * frames[0].nbytes + 1)
    made: list[Recorder] = []

    def preparation_of(plan):
        made.append(Recorder(plan))
        return made[0]

    share = read_share(job, inputs, tmp_path, 0, 1, preparation_of)
    (recorder,) = made
    native = np.dtype(dtype).newbyteorder("=")
    assert recorder.plan.count == 20
    assert recorder.plan.dtype == native
    # 6 frames in one file, 14 in the other.
    assert [count for count, *_ in recorder.asked] == [3, 3, 3, 3, 3, 3, 2]
    assert {tuple(asked[1:]) for asked in recorder.asked} == {((12, 12), native)}
    cropped = frames[:, 1:11, :10]
    np.testing.assert_array_equal(np.fft.fftshift(share.counts, axes=(1, 2)), cropped)
    assert share.counts.dtype == (np.float32 if dtype == "uint64" else np.uint16)


def test_a_rank_without_frames_prepares_none(tmp_path):
    job, inputs = make(tmp_path, counts((7, 8, 8)))
    share = read(job, inputs, tmp_path, 8, 9)
    assert share.counts.shape == (0, 8, 8)
    assert share.counts.dtype == np.uint16
    assert len(share.index) == len(share.photons) == 0
    assert share.total.shape == (8, 8)
    assert not share.total.any()


def test_files_of_different_types_are_refused(tmp_path):
    frames = counts((6, 8, 8))
    job, inputs = make(tmp_path, frames)
    with h5py.File(tmp_path / "part1.h5", "a") as file:
        stored = file["entry/data"][()]
        del file["entry/data"]
        file["entry/data"] = stored.astype("uint32")
    with pytest.raises(JobError, match=r"part1\.h5.*holds uint32 where .* are uint16"):
        read(job, inputs, tmp_path, 0, 1)


def test_compressed_frames_of_real_detectors_are_read(tmp_path):
    frames = counts((6, 16, 16), "int32")
    job, inputs = make(tmp_path, frames, **hdf5plugin.Bitshuffle(cname="lz4"))
    share = read(job, inputs, tmp_path, 0, 1)
    np.testing.assert_array_equal(np.fft.fftshift(share.counts, axes=(1, 2)), frames)


def test_a_moved_file_is_found_by_its_root(tmp_path, monkeypatch):
    job, inputs = make(tmp_path, counts())
    job = replace(
        job, frames=tuple(replace(b, file=f"/detector/disk/{b.file}") for b in job.frames)
    )
    with pytest.raises(JobError, match=r"/detector/disk/part0\.h5 is missing") as caught:
        read(job, inputs, tmp_path, 0, 1)
    assert "HXN_PTYCHO_ROOTS" in caught.value.hint
    monkeypatch.setenv("HXN_PTYCHO_ROOTS", f"/other=/nowhere:/detector/disk={tmp_path}")
    assert len(read(job, inputs, tmp_path, 0, 1).counts) == 7


@pytest.mark.parametrize(
    ("dtype", "spoil", "says"),
    [
        ("uint16", lambda f: f.__setitem__((2, 3, 3), 65535), "saturated: 1 pixels at 65535"),
        ("float32", lambda f: f.__setitem__((5, 0, 0), np.nan), "1 pixels that are not finite"),
        ("int32", lambda f: f.__setitem__((0, 1, 1), -1), "negative counts, down to -1"),
    ],
)
def test_frames_of_no_use_are_refused_or_dropped(tmp_path, dtype, spoil, says):
    frames = counts((7, 8, 8), dtype)
    spoil(frames)
    job, inputs = make(tmp_path, frames)
    job.recipe["saturated_pixels"] = "refuse"
    share = read(job, inputs, tmp_path, 0, 1)
    assert len(share.counts) == len(share.index) == len(share.scale) == 6
    assert share.empty == []
    with pytest.raises(JobError, match=f"1 of 7 frames cannot be used: .*{says}") as caught:
        check_frames(share.bad, [], 7, "refuse", "refuse")
    assert 'bad_frames="drop"' in caught.value.hint
    check_frames(share.bad, [], 7, "drop", "refuse")


def test_empty_frames_are_told_from_bad_ones(tmp_path):
    frames = counts((7, 8, 8), "int32")
    frames[4], frames[5, 2, 2] = 0, -3
    job, inputs = make(tmp_path, frames)
    share = read(job, inputs, tmp_path, 0, 1)
    assert share.bad == ["frame 5 has negative counts, down to -3"]
    assert share.empty == ["frame 4 is empty"]
    np.testing.assert_array_equal(share.index, [0, 1, 2, 3, 6])
    np.testing.assert_array_equal(share.scale, inputs.normalisation[share.index])
    with pytest.raises(JobError, match="1 of 7 frames have no counts: frame 4") as caught:
        check_frames(share.bad, share.empty, 7, "drop", "refuse")
    assert 'empty_frames="drop"' in caught.value.hint
    check_frames(share.bad, share.empty, 7, "drop", "drop")


def test_more_than_half_of_no_use_are_refused_whatever_the_recipe_says():
    bad, empty = ["frame 1 is odd"], ["frame 0 is empty", "frame 2 is empty"]
    check_frames(bad, empty, 6, "drop", "drop")
    says = r"3 of 5 frames cannot be used \(2 of them have no counts\), more than half: frame 1"
    with pytest.raises(JobError, match=says) as caught:
        check_frames(bad, empty, 5, "drop", "drop")
    assert "shutter" in caught.value.hint


def test_a_masked_fault_is_none(tmp_path):
    frames = counts((7, 8, 8))
    frames[:, 2, 2] = 65535
    job, inputs = make(tmp_path, frames)
    inputs.mask[2, 2] = False
    share = read(job, inputs, tmp_path, 0, 1)
    assert share.bad == []
    assert share.saturated_pixels == 0


def test_a_saturated_pixel_is_not_measured_in_its_frame(tmp_path):
    frames = counts((7, 8, 8))
    frames[2, 2, 3] = 65535
    job, inputs = make(tmp_path, frames)
    share = read(job, inputs, tmp_path, 0, 1)
    assert share.bad == []
    assert share.saturated_pixels == 1
    assert share.measured.all()
    for j in range(7):
        missed = np.argwhere(~np.fft.fftshift(share.measured_in(j)))
        np.testing.assert_array_equal(missed, [[2, 3]] if j == 2 else np.empty((0, 2)))
    seen = np.full((8, 8), 7)
    seen[2, 3] = 6
    np.testing.assert_array_equal(np.fft.fftshift(share.seen), seen)


def test_some_frames_are_prepared_in_the_order_asked_for(tmp_path):
    frames = counts((20, 12, 12))
    frames[7], frames[9, 4, 4] = 0, 65535
    job, inputs = make(tmp_path, frames, crop=(1, 0, 10))
    job.recipe.update(orientation="transpose", saturated_pixels="refuse")
    whole = read(job, inputs, tmp_path, 0, 1)
    which = [18, 3, 4, 5, 6, 7, 8, 9, 19, 0]
    some = prepare_some(job, inputs, tmp_path, which)
    assert some.empty == ["frame 7 is empty"]
    assert some.bad == ["frame 9 is saturated: 1 pixels at 65535"]
    np.testing.assert_array_equal(some.index, [18, 3, 4, 5, 6, 8, 19, 0])
    for counted, number in zip(some.counts, some.index, strict=True):
        (k,) = np.flatnonzero(whole.index == number)
        np.testing.assert_array_equal(counted, whole.counts[k])
    np.testing.assert_array_equal(some.scale, inputs.normalisation[some.index])
    assert len(prepare_some(job, inputs, tmp_path, []).counts) == 0
    with pytest.raises(JobError, match="frame 20 is none of the scan's 20"):
        prepare_some(job, inputs, tmp_path, [3, 20])


def test_what_does_not_agree_is_refused_with_both_numbers(tmp_path):
    job, inputs = make(tmp_path, counts((7, 8, 8)))
    with pytest.raises(JobError, match="5 positions for 7 frames"):
        read(job, replace(inputs, positions_m=np.zeros((5, 2))), tmp_path, 0, 1)
    with pytest.raises(JobError, match="6 normalisation values for 7 frames"):
        read(job, replace(inputs, normalisation=np.ones(6)), tmp_path, 0, 1)
    with pytest.raises(JobError, match="no measured pixel"):
        read(job, replace(inputs, mask=np.zeros((8, 8), bool)), tmp_path, 0, 1)
    other = replace(job.frames[0], dataset="entry/nothing")
    with pytest.raises(JobError, match=r"part0.h5 has no dataset entry/nothing"):
        read(replace(job, frames=(other, job.frames[1])), inputs, tmp_path, 0, 1)
    with pytest.raises(JobError, match="holds frames of 8 x 8 pixels where 8 x 9 are expected"):
        read(
            replace(job, frame_shape=(8, 9)),
            replace(inputs, mask=np.ones((8, 9), bool)),
            tmp_path, 0, 1,
        )  # fmt: skip
    longer = replace(job.frames[1], count=90)
    with pytest.raises(JobError, match=r"part1.h5 holds 7 frames where 92 are needed"):
        read(
            replace(job, frames=(job.frames[0], longer)),
            replace(inputs, positions_m=np.zeros((92, 2)), normalisation=np.ones(92)),
            tmp_path, 0, 1,
        )  # fmt: skip
    (tmp_path / "part1.h5").write_bytes((tmp_path / "part1.h5").read_bytes()[:1500])
    with pytest.raises(JobError, match=r"part1.h5 cannot be read"):
        read(job, inputs, tmp_path, 0, 1)


def test_geometry_puts_the_beam_in_the_middle_of_its_window():
    job = Job("j", "d", "r", 1, (), (8, 8), "uint16", "centre", (0, 0, 8), 8,
              1e-10, 1.0, (1.0, 1.0), (1e-8, 2e-8), {})  # fmt: skip
    positions = np.array([[3e-8, 10e-8], [0, 0], [-2.4e-8, 3.1e-8]])
    geometry = Geometry.of(job, positions)
    np.testing.assert_array_equal(geometry.positions, [[5, 5], [2, 0], [0, 2]])
    assert geometry.object_shape == (13, 13)
    # Stage place of a window's middle = origin + pixel * (corner + 4), to the rounding.
    centres = geometry.origin_m + np.array([1e-8, 2e-8]) * (geometry.positions + 4)
    np.testing.assert_allclose(centres, positions, atol=1.01e-8)
