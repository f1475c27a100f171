"""What is said of frames, and how the host prepares them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.solver.job import Job
from hxn_ptycho.solver.preparation import (
    FramePlan,
    HostPreparation,
    Prepared,
    Statistics,
    describe_faults,
)


def plan_of(mask: np.ndarray, dtype: str, count: int, crop=None, window=None, dc="centre"):
    crop = crop or (0, 0, min(mask.shape))
    job = Job(
        job_uid="j", derived_uid="d", raw_uid="r", scan_id=1, frames=(),
        frame_shape=mask.shape, frame_dtype=dtype, dc=dc, crop=crop, fft_window=window or crop[2],
        wavelength_m=1e-10, distance_m=1.0, detector_pixel_m=(55e-6, 55e-6),
        object_pixel_m=(1e-8, 1e-8), recipe={},
    )  # fmt: skip
    return FramePlan.of(job, mask, count)


def prepare(frames: np.ndarray, mask=None, scale=None, batch: int = 3, **keys) -> Prepared:
    """Prepare frames on the host, a few at a time; a warning is an error."""
    mask = np.ones(frames.shape[1:], bool) if mask is None else mask
    preparation = HostPreparation(plan_of(mask, frames.dtype.name, len(frames), **keys))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for low in range(0, len(frames), batch):
            part = frames[low : low + batch]
            room = preparation.room(len(part), part.shape[1:], part.dtype)
            room[:] = part
            preparation.add(low, room)
        return preparation.finish(np.ones(len(frames)) if scale is None else scale)


def fault(frame: np.ndarray) -> str:
    """What is wrong with one frame, said plainly."""
    if frame.dtype.kind == "f" and not np.isfinite(frame).all():
        return f"has {np.count_nonzero(~np.isfinite(frame))} pixels that are not finite"
    if not frame.any():
        return "is empty"
    if frame.dtype.kind in "iu":
        top = np.iinfo(frame.dtype).max
        if frame.max() == top:
            return f"is saturated: {np.count_nonzero(frame == top)} pixels at {top}"
    if frame.min() < 0:
        return f"has negative counts, down to {frame.min():g}"
    return ""


_EXTREMES = {
    "uint8": [255],
    "uint16": [65535, 65534],
    "uint32": [2**32 - 1, 2**31],
    "int16": [-1, 32767, -32768],
    "int32": [-1, -1000000, 2**31 - 1],
    "float32": [np.nan, np.inf, -np.inf, -1.5, 3e38, -3e38],
}


@settings(max_examples=100, deadline=None)
@given(dtype=st.sampled_from(sorted(_EXTREMES)), count=st.integers(0, 9), seed=st.integers(0, 999))
def test_every_frame_is_judged_as_one_by_one(dtype, count, seed):
    """Any faults, several in one frame, some of them masked."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 100, size=(count, 6, 7)).astype(dtype)
    for frame in frames:
        if rng.uniform() < 0.2:
            frame[:] = 0
        for value in _EXTREMES[dtype]:
            if rng.uniform() < 0.3:
                frame.flat[rng.integers(42, size=rng.integers(1, 4))] = value
    mask = rng.uniform(size=(6, 7)) > 0.2
    scale = rng.uniform(0.5, 2, size=count)
    found = prepare(frames, mask, scale)
    window = np.fft.ifftshift(np.where(mask, frames, 0)[:, :6, :6], axes=(1, 2)).astype(dtype)
    faults = {j: text for j, frame in enumerate(window) if (text := fault(frame))}
    assert found.faults == faults
    assert list(found.faults) == sorted(faults)
    good = np.array([j not in faults for j in range(count)], bool)
    np.testing.assert_array_equal(found.good, good)
    np.testing.assert_array_equal(found.counts, window[good])
    assert found.counts.dtype == dtype
    scaled = window[good].astype(float) * scale[good, None, None]
    np.testing.assert_allclose(found.photons, scaled.sum(axis=(1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.total, scaled.sum(axis=0), rtol=1e-12)


def test_of_several_faults_the_gravest_is_named():
    statistics = Statistics(
        peak=np.array([0.0, 0, 32767, 9, 0, 9]),
        low=np.array([-4.0, 0, -4, -4, -4, 0]),
        non_finite=np.array([3, 0, 0, 0, 0, 0]),
        saturated=np.array([0, 0, 2, 0, 0, 0]),
        photons=np.zeros(6),
    )
    assert describe_faults(statistics, np.dtype("int16")) == {
        0: "has 3 pixels that are not finite",
        1: "is empty",
        2: "is saturated: 2 pixels at 32767",
        3: "has negative counts, down to -4",
        4: "has negative counts, down to -4",
    }


@pytest.mark.parametrize(
    ("dtype", "value", "says"),
    [
        ("float32", np.nan, "has 2 pixels that are not finite"),
        ("float64", 1e300, "has 2 pixels that are not finite"),  # kept in 32 bits
        ("int32", -7, "has negative counts, down to -7"),
        ("int64", -7, "has negative counts, down to -7"),
        ("uint16", 65535, "is saturated: 2 pixels at 65535"),
        ("uint32", 2**32 - 1, f"is saturated: 2 pixels at {2**32 - 1}"),
    ],
)
def test_a_fault_is_one_only_where_the_detector_measured(dtype, value, says):
    frames = np.full((5, 8, 8), 3, dtype)
    frames[1:3, 2, 2:4] = value
    assert prepare(frames).faults == {1: says, 2: says}
    mask = np.ones((8, 8), bool)
    mask[2, 2:4] = False
    masked = prepare(frames, mask)
    assert masked.faults == {}
    np.testing.assert_array_equal(masked.photons, 62 * 3)
    # Nor is one outside the crop.
    assert prepare(frames, crop=(4, 0, 4)).faults == {}


def test_frames_of_no_use_leave_no_trace_in_the_sum():
    frames = np.full((4, 8, 8), 3, np.float32)
    frames[2, 0, 0] = np.inf
    found = prepare(frames, scale=np.array([1.0, 2, 4, 8]))
    np.testing.assert_array_equal(found.total, 3 * 11)
    np.testing.assert_array_equal(found.photons, 3 * 64 * np.array([1, 2, 8]))


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(st.integers(4, 20), st.integers(4, 20)),
    crop=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    rim=st.integers(0, 5),
    dc=st.sampled_from(["centre", "corner"]),
)
def test_the_plan_says_where_each_pixel_of_the_window_comes_from(shape, crop, rim, dc):
    side = 1 + int(crop[2] * (min(shape) - 1))
    corner = [int(part * (length - side)) for part, length in zip(crop, shape, strict=False)]
    mask = np.random.default_rng(0).uniform(size=shape) > 0.2
    keys = {"crop": (*corner, side), "window": side + rim, "dc": dc}
    plan = plan_of(mask, "uint16", 1, **keys)
    frame = np.arange(1, mask.size + 1).reshape(shape).astype("uint16")
    taken = frame[plan.rows][:, plan.columns]
    taken[plan.rows < 0], taken[:, plan.columns < 0] = 0, 0
    centred, centred_mask = (np.fft.fftshift(a) if dc == "corner" else a for a in (frame, mask))
    part = tuple(slice(c, c + side) for c in corner)
    begin = (side + rim) // 2 - side // 2
    inside = (slice(begin, begin + side),) * 2
    wanted, measured = np.zeros((2, side + rim, side + rim), int)
    wanted[inside], measured[inside] = centred[part], centred_mask[part]
    np.testing.assert_array_equal(taken, np.fft.ifftshift(wanted))
    np.testing.assert_array_equal(plan.measured, np.fft.ifftshift(measured))
    found = prepare(frame[None], mask, **keys)
    if found.good.all():
        np.testing.assert_array_equal(found.counts[0], np.fft.ifftshift(wanted * measured))
