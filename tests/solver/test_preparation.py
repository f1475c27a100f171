"""Every step of preparation, alone and all together, against a plain transcription."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.solver.job import Inputs, Job, JobError
from hxn_ptycho.solver.orientation import ORIENTATIONS
from hxn_ptycho.solver.preparation import (
    FramePlan,
    Gaps,
    HostPreparation,
    Prepared,
    Statistics,
    bad_frames,
    empty_frames,
)

from .frame_transcription import Options, pixels, verdict


def plan_of(o: Options, shape: tuple[int, int], dtype: str, scale: np.ndarray) -> FramePlan:
    job = Job(
        job_uid="j", derived_uid="d", raw_uid="r", scan_id=1, frames=(),
        frame_shape=shape, frame_dtype=dtype, dc=o.dc, crop=o.crop, fft_window=o.window,
        wavelength_m=1e-10, distance_m=1.0, detector_pixel_m=(55e-6, 55e-6),
        object_pixel_m=(1e-8, 1e-8), saturation=o.saturation,
        recipe={
            "orientation": o.orientation, "binning": o.binning, "threshold": o.threshold,
            "saturated_pixels": o.saturated_pixels, "zero_regions": o.zero_regions,
        },
    )  # fmt: skip
    mask = np.ones(shape, bool) if o.mask is None else o.mask
    inputs = Inputs(np.zeros((len(scale), 2)), scale, mask, o.dark, o.flat)
    return FramePlan.of(job, inputs, np.arange(len(scale)))


def prepare(
    frames: np.ndarray, o: Options, scale=None, batch: int = 3, double: bool = False
) -> Prepared:
    """Prepare frames on the host, a few at a time; a warning is an error."""
    scale = np.ones(len(frames)) if scale is None else scale
    plan = plan_of(o, frames.shape[1:], frames.dtype.name, scale)
    preparation = HostPreparation(plan, double)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for low in range(0, len(frames), batch):
            part = frames[low : low + batch]
            room = preparation.room(len(part), part.shape[1:], part.dtype)
            room[:] = part
            preparation.add(low, room)
        return preparation.finish()


def check(found: Prepared, frames: np.ndarray, o: Options, scale: np.ndarray, rtol=2e-6) -> None:
    """Compare with the transcription: counts, gaps, verdicts, sums."""
    truth = [pixels(frame, factor, o) for frame, factor in zip(frames, scale, strict=True)]
    verdicts = [verdict(each, o) for each in truth]
    assert [j for j, v in enumerate(verdicts) if v == "bad"] == list(found.bad)
    assert [j for j, v in enumerate(verdicts) if v == "empty"] == list(found.empty)
    good = [j for j, v in enumerate(verdicts) if v == "good"]
    np.testing.assert_array_equal(np.flatnonzero(found.good), good)
    assert len(found.counts) == len(good)
    total, seen = np.zeros((2, o.window, o.window))
    for k, j in enumerate(good):
        np.testing.assert_allclose(found.counts[k], truth[j].counts, rtol=rtol)
        total += truth[j].counts * scale[j]
        seen += truth[j].measured
        np.testing.assert_allclose(found.photons[k], truth[j].counts.sum() * scale[j], rtol=rtol)
    np.testing.assert_allclose(found.total, total, rtol=rtol)
    np.testing.assert_array_equal(found.seen, seen)
    assert found.saturated_pixels == sum(truth[j].saturated for j in good)
    masked = pixels(np.ones(frames.shape[1:], np.uint8), 1.0, o).measured
    for k, j in enumerate(good):
        gaps = np.empty(0, int) if found.gaps is None else found.gaps.of_frame(k)
        wanted = np.flatnonzero(masked & ~truth[j].measured)
        np.testing.assert_array_equal(gaps, wanted)


# Few types: a processor compiles some seconds for each. Those of the GPU are in tests/gpu.
_EXTREMES = {
    "bool": [],
    "uint8": [255, 254],
    "uint16": [65535, 65534],
    "int32": [-1, -1000000, 2**31 - 1, 2**31 - 2],
    "uint64": [2**64 - 1, 2**64 - 2, 2**53 + 1],
    "float32": [np.nan, np.inf, -np.inf, -1.5, 1e30, -3e38],
}


@st.composite
def problems(draw):
    """Frames of any type with any faults, and any options.

    Dark, flat and normalisation have few digits: what comes of small counts is exact in single
    precision too, and so on the right side of the threshold.
    """
    dtype = draw(st.sampled_from(sorted(_EXTREMES)))
    shape = draw(st.tuples(st.integers(4, 12), st.integers(4, 12)))
    binning = draw(st.integers(1, 3))
    binned = draw(st.integers(1, min(shape) // binning))
    side = binned * binning
    crop = (draw(st.integers(0, shape[0] - side)), draw(st.integers(0, shape[1] - side)), side)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frames = rng.integers(0, draw(st.sampled_from([2, 100])), size=(5, *shape)).astype(dtype)
    for frame in frames:
        if rng.uniform() < 0.1:
            frame[:] = 0
        for value in _EXTREMES[dtype]:
            if rng.uniform() < 0.15:
                frame.flat[rng.integers(frame.size, size=rng.integers(1, 4))] = value

    def image(values, odd, share):
        if not draw(st.booleans()):
            return None
        return np.where(rng.uniform(size=shape) < share, odd, values).astype(np.float32)

    mask = image(np.ones(shape), 0, 0.05)
    options = Options(
        crop=crop,
        window=binned + draw(st.integers(0, 3)),
        dc=draw(st.sampled_from(["centre", "corner"])),
        orientation=draw(st.sampled_from(ORIENTATIONS)),
        binning=binning,
        mask=None if mask is None else mask.astype(bool),
        dark=image(rng.integers(-8, 160, size=shape) / 8, np.nan, 0.03),
        flat=image(
            2.0 ** rng.integers(-1, 3, size=shape), draw(st.sampled_from([0, -1, np.inf])), 0.03
        ),
        threshold=draw(st.sampled_from([0.0, 0.0, 1.0, 30.25])),
        saturation=draw(st.sampled_from([None, None, 90, 10**6, 2**40])),
        saturated_pixels=draw(st.sampled_from(["mask", "mask", "refuse"])),
        zero_regions=draw(
            st.lists(st.tuples(*[st.integers(0, 11)] * 2, *[st.integers(1, 4)] * 2), max_size=2)
        ),
    )
    return frames, options, rng.integers(4, 16, size=len(frames)) / 8


@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_all_steps_together_are_the_transcription(problem):
    frames, options, scale = problem
    check(prepare(frames, options, scale), frames, options, scale)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("binning", [1, 4])
def test_a_large_frame_is_turned_and_binned_as_a_small_one(orientation, binning):
    """Larger than the squares in which it is transposed, the crop not in the middle."""
    frames = np.random.default_rng(0).integers(0, 1000, size=(2, 110, 130)).astype(np.uint16)
    o = Options(crop=(7, 20, 100), window=108 // binning, orientation=orientation, binning=binning)
    check(prepare(frames, o), frames, o, np.ones(2))


def test_of_several_faults_the_gravest_is_named():
    statistics = Statistics(
        low=np.array([-4.0, 0, 0, -4, -4, 0, 0, 0]),
        non_finite=np.array([3, 0, 0, 0, 0, 0, 0, 0]),
        saturated=np.array([0, 0, 2, 0, 0, 0, 64, 3]),
        left=np.array([64, 64, 62, 64, 64, 64, 0, 61]),
        photons=np.array([0.0, 0, 32767, 9, 0, 9, 0, 0]),
    )
    o = Options(crop=(0, 0, 8), window=8)
    plan = plan_of(o, (8, 8), "int16", np.ones(8))
    bad = {
        0: "has 3 pixels that are not finite",
        3: "has negative counts, down to -4",
        4: "has negative counts, down to -4",
        6: "has no pixel that is not saturated: 64 pixels at 32767",
    }
    assert bad_frames(statistics, plan) == bad
    empty = {1: "is empty", 7: "is empty but for 3 pixels at 32767"}
    assert empty_frames(statistics, plan) == empty
    o.saturated_pixels, o.saturation = "refuse", 900
    plan = plan_of(o, (8, 8), "int16", np.ones(8))
    says = "is saturated: {} pixels at 900 or more"
    more = {2: says.format(2), 6: says.format(64), 7: says.format(3)}
    assert bad_frames(statistics, plan) == bad | more
    assert empty_frames(statistics, plan) == {1: "is empty"}


@pytest.mark.parametrize(
    ("dtype", "value", "says"),
    [
        ("float32", np.nan, "has 2 pixels that are not finite"),
        ("float64", 1e300, "has 2 pixels that are not finite"),  # kept in 32 bits
        ("int32", -7, "has negative counts, down to -7"),
        ("uint16", 65535, "is saturated: 2 pixels at 65535"),
        ("int32", 2**31 - 1, f"is saturated: 2 pixels at {2**31 - 1}"),
        ("uint64", 2**64 - 1, f"is saturated: 2 pixels at {2**64 - 1}"),
    ],
)
def test_a_fault_is_one_only_where_the_detector_measured(dtype, value, says):
    frames = np.full((5, 8, 8), 3, dtype)
    frames[1:3, 2, 2:4] = value
    o = Options(crop=(0, 0, 8), window=8, saturated_pixels="refuse")
    assert prepare(frames, o).bad == {1: says, 2: says}
    o.mask = np.ones((8, 8), bool)
    o.mask[2, 2:4] = False
    masked = prepare(frames, o)
    assert masked.bad == {}
    np.testing.assert_array_equal(masked.photons, 62 * 3)
    # Nor is one outside the crop, nor in a zero region.
    assert prepare(frames, Options(crop=(4, 0, 4), window=4, saturated_pixels="refuse")).bad == {}
    o.mask, o.zero_regions = None, [(2, 2, 1, 2)]
    zeroed = prepare(frames, o)
    assert zeroed.bad == {}
    np.testing.assert_array_equal(zeroed.photons, 62 * 3)
    np.testing.assert_array_equal(zeroed.seen, 5)


def test_counts_near_the_largest_of_their_type_are_told_apart_exactly():
    """As float64, and as float32 more so, they are the same number."""
    largest = 2**64 - 1
    frames = np.full((2, 8, 8), 5, np.uint64)
    frames[0, 1, 1], frames[1, 1, 1] = largest, largest - 1
    o = Options(crop=(0, 0, 8), window=8)
    found = prepare(frames, o)
    assert found.saturated_pixels == 1
    assert len(found.gaps.of_frame(0)) == 1
    assert len(found.gaps.of_frame(1)) == 0
    o.saturation = 2**53 + 1
    frames[:] = 2**53
    frames[1, 2:4, 1] = 2**53 + 1
    assert prepare(frames, o).saturated_pixels == 2


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint64"])
def test_binned_counts_do_not_overflow(dtype):
    value = np.iinfo(dtype).max - 1
    frames = np.full((2, 8, 8), value, dtype)
    counts = prepare(frames, Options(crop=(0, 0, 8), window=2, binning=4)).counts
    np.testing.assert_allclose(counts, 16.0 * float(value), rtol=1e-6)


def test_with_double_precision_counts_are_as_precise():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 60000, size=(3, 20, 20)).astype(np.uint16)
    o = Options(
        crop=(0, 0, 20), window=10, binning=2, threshold=90000.0, orientation="rot270",
        dark=rng.uniform(0, 5, (20, 20)).astype(np.float32),
        flat=rng.uniform(0.5, 2, (20, 20)).astype(np.float32),
    )  # fmt: skip
    found = prepare(frames, o, double=True)
    assert found.counts.dtype == np.float64
    check(found, frames, o, np.ones(3), rtol=1e-12)


def test_the_type_of_the_counts_is_that_on_file_where_nothing_is_computed():
    o = Options(crop=(0, 0, 8), window=8)
    for dtype in ("uint8", "uint16", "int32", "float32"):
        assert plan_of(o, (8, 8), dtype, np.ones(1)).kept() == dtype
    for dtype in ("int64", "float64"):
        assert plan_of(o, (8, 8), dtype, np.ones(1)).kept() == np.float32
        assert plan_of(o, (8, 8), dtype, np.ones(1)).kept(double=True) == np.float64
    o.dark = np.zeros((8, 8), np.float32)
    assert plan_of(o, (8, 8), "uint8", np.ones(1)).kept() == np.float32
    assert plan_of(o, (8, 8), "uint8", np.ones(1)).kept(double=True) == np.float64
    with pytest.raises(JobError, match="complex64 hold no counts"):
        plan_of(o, (8, 8), "complex64", np.ones(1)).readable  # noqa: B018


def test_frames_of_no_use_leave_no_trace_in_the_sum():
    frames = np.full((4, 8, 8), 3, np.float32)
    frames[2, 0, 0] = np.inf
    found = prepare(frames, Options(crop=(0, 0, 8), window=8), np.array([1.0, 2, 4, 8]))
    np.testing.assert_array_equal(found.total, 3 * 11)
    np.testing.assert_array_equal(found.seen, 3)
    np.testing.assert_array_equal(found.photons, 3 * 64 * np.array([1, 2, 8]))


def test_gaps_of_many_frames_outgrow_their_room():
    """Half of the pixels of every frame are saturated: more than what is kept at a time."""
    rng = np.random.default_rng(0)
    frames = rng.choice(np.array([7, 65535], np.uint16), size=(400, 30, 30))
    o = Options(crop=(0, 0, 30), window=30)
    found = prepare(frames, o, batch=400)
    shown = np.fft.fftshift(found.counts, axes=(1, 2))
    np.testing.assert_array_equal(shown, np.where(frames == 7, 7, 0))
    assert len(found.gaps) == np.count_nonzero(frames == 65535) > 2**16 + 900
    for j in (0, 200, 399):
        wanted = np.flatnonzero(np.fft.ifftshift(frames[j] == 65535))
        np.testing.assert_array_equal(found.gaps.of_frame(j), wanted)


def test_gaps_say_how_often_a_pixel_was_measured():
    gaps = Gaps.of([np.array(pixels, np.int32) for pixels in ([1, 3], [], [3])])
    measured = np.array([[True, True], [False, True]])
    np.testing.assert_array_equal(gaps.times_seen(measured), [[3, 2], [0, 1]])
    assert [list(gaps.of_frame(j)) for j in range(3)] == [[1, 3], [], [3]]


def test_what_does_not_fit_is_refused():
    o = Options(crop=(0, 0, 8), window=8, dark=np.zeros((8, 9), np.float32))
    with pytest.raises(JobError, match=r"a dark of \(8, 9\) for frames of \(8, 8\)"):
        plan_of(o, (8, 8), "uint8", np.ones(1))
    with pytest.raises(JobError, match="crop of 8 pixels, binned by 3"):
        plan_of(Options(crop=(0, 0, 8), window=8, binning=3), (8, 8), "uint8", np.ones(1))
    with pytest.raises(JobError, match="binned by 2, does not make a part of a window of 3"):
        plan_of(Options(crop=(0, 0, 8), window=3, binning=2), (8, 8), "uint8", np.ones(1))
    preparation = HostPreparation(
        plan_of(Options(crop=(0, 0, 8), window=8), (8, 8), "uint8", np.ones(3))
    )
    with pytest.raises(ValueError, match="uint16 where the plan says"):
        preparation.room(1, (8, 8), np.dtype("uint16"))
