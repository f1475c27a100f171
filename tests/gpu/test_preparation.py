"""Frames prepared on the GPU are those that the host prepares."""

from __future__ import annotations

import numpy as np
import pytest

from hxn_ptycho.solver.preparation import FramePlan, HostPreparation


def plan_of(rng, n: int, shape: tuple[int, int], dtype: str, count: int) -> FramePlan:
    """A window of n with a rim, from a crop somewhere in the frame, DC moved to [0, 0]."""
    side = min(n, *shape) - 2
    pixels = []
    for length in shape:
        along = np.full(n, -1)
        first = rng.integers(0, length - side + 1)
        along[(np.arange(side) - side // 2) % n] = first + np.arange(side)
        pixels.append(along)
    rows, columns = pixels
    mask = rng.uniform(size=shape) > 0.05
    inside = np.ix_(rows >= 0, columns >= 0)
    measured = np.zeros((n, n), bool)
    measured[inside] = mask[np.ix_(rows[rows >= 0], columns[columns >= 0])]
    return FramePlan(count, rows, columns, mask, measured, np.dtype(dtype))


def prepare(preparation, frames: np.ndarray, scale: np.ndarray, batch: int):
    for low in range(0, len(frames), batch):
        part = frames[low : low + batch]
        room = preparation.room(len(part), part.shape[1:], part.dtype)
        room[:] = part
        preparation.add(low, room)
    return preparation.finish(scale)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32", "float32", "int16"])
@pytest.mark.parametrize(("n", "strip"), [(64, 4), (48, 48), (90, 3)])
@pytest.mark.parametrize("bad", [False, True])
def test_the_gpu_prepares_as_the_host_does(gpu, dtype, n, strip, bad):
    from hxn_ptycho.solver.cuda.frames import GpuPreparation
    from hxn_ptycho.solver.cuda.waves import UNMEASURED

    rng = np.random.default_rng(n)
    plan = plan_of(rng, n, (101, 97), dtype, 23)
    frames = rng.poisson(9, size=(23, 101, 97)).astype(dtype)
    if bad:
        frames[3] = 0
        row, column = (int(a[5]) for a in (plan.rows, plan.columns))
        frames[7, row, column] = np.nan if plan.dtype.kind == "f" else np.iinfo(dtype).max
        frames[22] = 0
    scale = rng.uniform(0.5, 2, size=23)
    wanted = prepare(HostPreparation(plan), frames, scale, 5)
    found = prepare(GpuPreparation(gpu, plan, strip), frames, scale, 5)
    assert found.faults == wanted.faults
    np.testing.assert_array_equal(found.good, wanted.good)
    np.testing.assert_allclose(found.photons, wanted.photons, rtol=1e-12)
    np.testing.assert_allclose(found.total, wanted.total, rtol=1e-9, atol=1e-9)
    counts = found.counts.get()
    assert counts.dtype == np.uint16  # whatever the file's type: all of them are small integers
    views = counts.reshape(-1, n // strip, n, strip).transpose(0, 2, 1, 3).reshape(-1, n, n)
    np.testing.assert_array_equal(views[:, plan.measured], wanted.counts[:, plan.measured])
    assert np.all(views[:, ~plan.measured] == UNMEASURED["uint16"])


def test_what_is_no_small_integer_stays_a_float(gpu):
    from hxn_ptycho.solver.cuda.frames import GpuPreparation

    rng = np.random.default_rng(1)
    plan = plan_of(rng, 64, (80, 70), "float32", 4)
    frames = rng.uniform(0, 9, size=(4, 80, 70)).astype(np.float32)
    found = prepare(GpuPreparation(gpu, plan, 64), frames, np.ones(4), 2)
    counts = found.counts.get().reshape(4, 64, 64)
    assert counts.dtype == np.float32
    wanted = prepare(HostPreparation(plan), frames, np.ones(4), 2)
    np.testing.assert_array_equal(counts[:, plan.measured], wanted.counts[:, plan.measured])
    assert np.all(counts[:, ~plan.measured] == -1)
