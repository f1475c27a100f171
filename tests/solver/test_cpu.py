"""What is the CPU device's own: its transforms, moving everything together, its memory."""

from __future__ import annotations

import numpy as np
import pytest

from hxn_ptycho.bench import run
from hxn_ptycho.solver import cpu_fft
from hxn_ptycho.solver.difference_map import keep_centred

from .cases import make_case


@pytest.mark.parametrize("n", [1, 2, 35, 64, 96, 100, 128, 160, 188, 192, 240, 250, 343, 512])
@pytest.mark.parametrize(("real", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_strip_is_transformed_as_numpy_does(n, real, tolerance, sign):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, cpu_fft.LANES)) + 1j * rng.normal(size=(n, cpu_fft.LANES))
    strip = np.stack([x.real, x.imag], axis=1).astype(real).ravel()
    room = np.full_like(strip, np.nan)
    in_room = cpu_fft.transform(strip, room, n, *cpu_fft.plan(n, real), real(sign))
    found = (room if in_room else strip).reshape(n, 2, cpu_fft.LANES)
    wanted = np.fft.fft(x, axis=0) if sign == 1 else np.fft.ifft(x, axis=0) * n
    error = np.abs(found[:, 0] + 1j * found[:, 1] - wanted).max()
    assert error < tolerance * np.abs(wanted).max()


def strayed_case(rows: int, columns: int):
    """A narrow spot `rows`, `columns` off the middle, and an object with room round the views."""
    case = make_case(n=32, views=7, probe_modes=2, shape=(60, 60), masked=False)
    y = np.arange(32) - 16
    spot = np.exp(-((y[:, None] - rows) ** 2 + (y[None] - columns) ** 2) / 8)
    case.probe[:] = spot * np.array([1, 0.5j])[:, None, None]
    case.obj[:, :6], case.obj[:, -6:], case.obj[:, :, :6], case.obj[:, :, -6:] = 1, 1, 1, 1
    return case


def test_moving_everything_together_changes_no_fit():
    device, moved = (strayed_case(0, 0).device(double=True) for _ in range(2))
    moved.roll(-2, 3)
    # The spot's tails, which come in again at the other edge of the window, are below 1e-6.
    assert moved.misfit() == pytest.approx(device.misfit(), rel=1e-6)
    wanted = np.roll(device.get()[0], (-2, 3), (1, 2))
    np.testing.assert_array_equal(moved.get()[0], wanted)
    # The exit waves have moved too: eq. (5) gives the same numerator, moved.
    found, wanted = (each.probe_sums().numerator for each in (moved, device))
    wanted = np.roll(wanted, (-2, 3), (1, 2))
    assert np.linalg.norm(found - wanted) < 1e-4 * np.linalg.norm(wanted)


@pytest.mark.parametrize(
    ("stray", "left"), [((3, -2), (0, 0)), ((0, 1), (0, 0)), ((0.6, -0.6), (0.6, -0.6))]
)
def test_a_probe_that_strayed_is_fetched_back(stray, left):
    device = strayed_case(*stray).device(double=True)
    keep_centred(device)
    assert device.probe_centre() == pytest.approx([16 + s for s in left], abs=0.01)


def test_a_rank_keeps_to_its_memory():
    """Exit waves and frames at their stored type, 20 % more, and 300 MB."""
    views, window, modes = 100, 192, 5
    measured = run(ranks=1, views=views, window=window, probe_modes=modes, iterations=2)
    held = views * window**2 * (modes * 8 + 2)
    assert held < measured["memory_bytes"] <= 1.2 * held + 300e6
