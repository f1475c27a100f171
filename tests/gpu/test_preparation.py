"""Frames prepared on the GPU, by every step and all together, against plain float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from hxn_ptycho.solver.orientation import ORIENTATIONS
from hxn_ptycho.solver.preparation import Gaps, HostPreparation, Prepared

from ..solver.frame_transcription import Options
from ..solver.test_preparation import check, plan_of, problems


def run(preparation, frames: np.ndarray, batch: int) -> Prepared:
    """Prepare frames, a few at a time."""
    for low in range(0, len(frames), batch):
        part = frames[low : low + batch]
        room = preparation.room(len(part), part.shape[1:], part.dtype)
        room[:] = part
        preparation.add(low, room)
    return preparation.finish()


def on_gpu(gpu, frames, o: Options, scale, strip=None, batch: int = 3, double=False) -> Prepared:
    """Prepare on the GPU, and give back what it has there as the host has it."""
    from dataclasses import replace

    from hxn_ptycho.solver.cuda.frames import GpuPreparation
    from hxn_ptycho.solver.cuda.waves import UNMEASURED

    n = o.window
    plan = plan_of(o, frames.shape[1:], frames.dtype.name, scale)
    found = run(GpuPreparation(gpu, plan, strip or n, double), frames, batch)
    strip = strip or n
    counts = found.counts.get().reshape(-1, n // strip, n, strip)
    counts = counts.transpose(0, 2, 1, 3).reshape(-1, n, n)
    none = counts == UNMEASURED[counts.dtype.name]
    assert none[:, ~plan.measured].all()
    gaps = [np.flatnonzero(each & plan.measured).astype(np.int32) for each in none]
    return replace(found, counts=np.where(none, 0, counts), gaps=Gaps.of(gaps))


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(problem=problems())
def test_all_steps_together_are_the_transcription(gpu, problem):
    frames, options, scale = problem
    check(on_gpu(gpu, frames, options, scale), frames, options, scale)
    found = on_gpu(gpu, frames, options, scale, double=True)
    # Frames of float32 that nothing is done to stay so.
    check(found, frames, options, scale, rtol=2e-6 if frames.dtype == np.float32 else 1e-12)


_N = 40
_ALONE = {
    "nothing": {},
    "corner": {"dc": "corner"},
    "rim": {"window": 45},
    "binning": {"binning": 2, "window": _N // 2},
    "coarse": {"binning": 4, "window": _N // 4 + 2},
    "threshold": {"threshold": 7.5},
    "saturation": {"saturation": 14},
    "refuse": {"saturation": 17, "saturated_pixels": "refuse"},
    "zero": {"zero_regions": [(0, 0, 9, 30), (20, 20, 100, 3)]},
    **{name: {"orientation": name} for name in ORIENTATIONS},
}


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float64"])
@pytest.mark.parametrize("name", _ALONE)
def test_each_step_alone_is_the_transcription(gpu, name, dtype):
    rng = np.random.default_rng(3)
    frames = rng.poisson(9, size=(7, 47, 53)).astype(dtype)
    frames[3] = 0
    o = Options(crop=(3, 5, _N), **{"window": _N, **_ALONE[name]})
    scale = rng.uniform(0.5, 2, size=7)
    check(on_gpu(gpu, frames, o, scale), frames, o, scale)


@pytest.mark.parametrize("name", ["dark", "flat", "mask"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64", "float32"])
def test_each_image_alone_is_the_transcription(gpu, name, dtype):
    rng = np.random.default_rng(4)
    frames = rng.poisson(9, size=(7, 47, 53)).astype(dtype)
    image = {
        "dark": rng.uniform(0, 5, size=(47, 53)).astype(np.float32),
        "flat": rng.uniform(-0.05, 2, size=(47, 53)).astype(np.float32),
        "mask": rng.uniform(size=(47, 53)) > 0.1,
    }[name]
    o = Options(crop=(3, 5, _N), window=_N, **{name: image})
    scale = rng.uniform(0.5, 2, size=7)
    for double in (False, True):
        check(on_gpu(gpu, frames, o, scale, double=double), frames, o, scale)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32", "float32", "int16"])
@pytest.mark.parametrize(("n", "strip"), [(64, 4), (48, 48), (90, 3)])
@pytest.mark.parametrize("binning", [1, 2])
def test_the_gpu_prepares_as_the_host_does(gpu, dtype, n, strip, binning):
    """Windows as real ones, in the order of each kernel; some frames of no use."""
    rng = np.random.default_rng(n)
    frames = rng.poisson(9, size=(23, 201, 197)).astype(dtype)
    frames[3] = frames[22] = 0
    frames[7, 100, 100] = np.nan if frames.dtype.kind == "f" else np.iinfo(dtype).max
    o = Options(
        crop=(5, 9, (n - 2) * binning), window=n, binning=binning, orientation="rot90",
        mask=rng.uniform(size=(201, 197)) > 0.05,
    )  # fmt: skip
    scale = rng.uniform(0.5, 2, size=23)
    wanted = run(HostPreparation(plan_of(o, (201, 197), dtype, scale)), frames, 5)
    found = on_gpu(gpu, frames, o, scale, strip, batch=5)
    assert (found.bad, found.empty) == (wanted.bad, wanted.empty)
    np.testing.assert_array_equal(found.good, wanted.good)
    np.testing.assert_array_equal(found.seen, wanted.seen)
    np.testing.assert_allclose(found.photons, wanted.photons, rtol=1e-12)
    np.testing.assert_allclose(found.total, wanted.total, rtol=1e-9, atol=1e-9)
    assert found.saturated_pixels == wanted.saturated_pixels
    # Whatever the file's type, and binned or not: all of them are small integers.
    assert found.counts.dtype == np.uint16
    np.testing.assert_array_equal(found.counts, wanted.counts)


def test_what_is_no_small_integer_stays_a_float(gpu):
    frames = np.random.default_rng(1).uniform(0, 9, size=(4, 80, 70)).astype(np.float32)
    o = Options(crop=(4, 4, 60), window=64)
    found = on_gpu(gpu, frames, o, np.ones(4))
    assert found.counts.dtype == np.float32
    check(found, frames, o, np.ones(4))
    frames = np.full((2, 64, 64), 65534, np.uint16)
    o = Options(crop=(0, 0, 64), window=32, binning=2)
    found = on_gpu(gpu, frames, o, np.ones(2))
    assert found.counts.dtype == np.float32
    np.testing.assert_array_equal(found.counts, 4 * 65534)
    o.flat = np.full((64, 64), 4, np.float32)
    found = on_gpu(gpu, frames, o, np.ones(2))
    assert found.counts.dtype == np.uint16
    np.testing.assert_array_equal(found.counts, 65534)


@pytest.mark.parametrize("plain", [False, True])
def test_a_saturated_pixel_is_left_as_it_is_in_its_view(gpu, plain):
    """Eq. (4) and error_fourier, with pixels of single views not measured, as on the host."""
    from ..solver.cases import make_case, with_gaps
    from .cases import cuda_device, difference
    from .cases import run as iterate

    case = with_gaps(make_case(n=64, views=9, shape=(90, 85)), 0.05)
    host = case.device(double=True)
    with cuda_device(gpu, case, plain=plain) as device:
        iterate(device, 3)
        iterate(host, 3)
        for found, wanted in zip(device.get(), host.get(), strict=True):
            assert difference(found, wanted) < 1e-4
        assert device.misfit() == pytest.approx(host.misfit(), rel=1e-4)
