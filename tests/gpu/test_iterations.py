"""Both ways of the CUDA device against the paper's equations in float64, one iteration and many."""

from __future__ import annotations

import numpy as np
import pytest

from hxn_ptycho.solver.units import WINDOWS

from ..solver import transcription
from ..solver.cases import make_case
from .cases import cuda_device, difference, expected, run

# Fused windows besides those built ahead: idle lanes, idle threads, strips of 3, 5, 6 columns.
OTHERS = (72, 75, 90, 100, 135, 144, 150, 162, 180, 250, 300, 360, 432, 480)


def check_one(device, case, tolerance, **options):
    reports = run(device, update_order=options.get("order", "PO"))
    _, probe, obj, (change_probe, change_object) = expected(case, **options)
    found_probe, found_object = device.get()
    assert difference(found_probe, probe) < tolerance
    assert difference(found_object, obj) < tolerance
    np.testing.assert_allclose(reports[0].error_probe, change_probe, rtol=20 * tolerance)
    np.testing.assert_allclose(reports[0].error_object, change_object, rtol=20 * tolerance)
    wanted = transcription.error_fourier(
        probe, obj, case.views.positions, case.intensity, case.views.measured
    )
    assert reports[0].error_fourier == pytest.approx(wanted, rel=20 * tolerance)


@pytest.mark.parametrize("window", [*WINDOWS, *OTHERS])
def test_every_fused_window(gpu, window):
    case = make_case(n=window, views=5, probe_modes=2, shape=(window + 7, window + 12))
    with cuda_device(gpu, case) as device:
        check_one(device, case, 1e-5)
        assert "fused" in device.name


@pytest.mark.parametrize("modes", [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 16])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_any_number_of_modes(gpu, modes, dtype):
    case = make_case(n=64, views=37, probe_modes=modes, shape=(80, 91))
    with cuda_device(gpu, case, dtype=dtype) as device:
        check_one(device, case, 1e-5)


@pytest.mark.parametrize("window", [192, 512])
def test_sixteen_modes_of_large_windows(gpu, window):
    case = make_case(n=window, views=3, probe_modes=16, shape=(window + 3, window + 5))
    with cuda_device(gpu, case) as device:
        check_one(device, case, 1e-5)


@pytest.mark.parametrize("algorithm", ["DM", "RAAR", "ER"])
@pytest.mark.parametrize("order", ["PO", "OP"])
@pytest.mark.parametrize(
    ("plain", "double", "window", "modes"),
    [
        (False, False, 96, (3, 1)),
        (True, False, 94, (3, 2)),
        (True, True, 94, (2, 2)),
        (True, True, 96, (1, 1)),
        (True, False, 35, (2, 1)),
        (True, True, 37, (17, 1)),
    ],
)
def test_every_algorithm_and_order(gpu, algorithm, order, plain, double, window, modes):
    case = make_case(
        n=window, views=9, probe_modes=modes[0], object_modes=modes[1],
        shape=(window + 20, window + 31),
    )  # fmt: skip
    with cuda_device(gpu, case, algorithm, plain=plain, double=double) as device:
        check_one(device, case, 1e-12 if double else 1e-5, algorithm=algorithm, order=order)


def test_exit_waves_are_those_of_the_equations(gpu):
    case = make_case(n=128, views=7, probe_modes=3, shape=(140, 150))
    with cuda_device(gpu, case) as device:
        run(device)
        psi, *_ = expected(case)
        assert difference(device._waves.exit_waves(), psi) < 1e-5


@pytest.mark.parametrize(
    ("plain", "double", "tolerance"),
    [(False, False, 2e-3), (True, False, 2e-3), (True, True, 1e-8)],
)
def test_fifty_iterations_follow_the_equations(gpu, plain, double, tolerance):
    """A wrong order of the updates passes one iteration; 50 show it."""
    case = make_case(n=64, views=40, probe_modes=3, shape=(110, 120))
    with cuda_device(gpu, case, plain=plain, double=double) as device:
        reports = run(device, 50)
        _, probe, obj, _ = expected(case, 50)
        found_probe, found_object = device.get()
        assert difference(found_probe, probe) < tolerance
        assert difference(found_object, obj) < tolerance
        wanted = transcription.error_fourier(
            probe, obj, case.views.positions, case.intensity, case.views.measured
        )
        assert reports[-1].error_fourier == pytest.approx(wanted, rel=max(tolerance, 1e-8))


@pytest.mark.parametrize("window", [64, 192, 200])
def test_half_storage_stays_near(gpu, window):
    case = make_case(n=window, views=12, probe_modes=3, shape=(window + 30, window + 20))
    with cuda_device(gpu, case, storage="half") as device:
        reports = run(device, 20)
        _, probe, obj, _ = expected(case, 20)
        wanted = transcription.error_fourier(
            probe, obj, case.views.positions, case.intensity, case.views.measured
        )
        assert reports[-1].error_fourier == pytest.approx(wanted, rel=0.02)
        assert 1e-7 < difference(device.get()[1], obj) < 0.05


def test_clamps_hold_the_object(gpu):
    case = make_case(n=64, views=9, shape=(80, 90))
    with cuda_device(gpu, case, object_amplitude=(0.5, 0.9), object_phase=(-0.2, 0.1)) as device:
        run(device, 2)
        obj = device.get()[1]
    assert np.abs(obj).min() >= 0.5 - 1e-6
    assert np.abs(obj).max() <= 0.9 + 1e-6
    assert np.angle(obj).min() >= -0.2 - 1e-6
    assert np.angle(obj).max() <= 0.1 + 1e-6


@pytest.mark.parametrize("plain", [False, True])
def test_starts_hold_an_update_back(gpu, plain):
    case = make_case(n=64, views=9, shape=(80, 90))
    with cuda_device(gpu, case, plain=plain) as device:
        run(device, 2, probe_start=2)
        np.testing.assert_array_equal(device.get()[0], case.probe.astype(np.complex64))
        assert difference(device.get()[1], case.obj) > 1e-3


@pytest.mark.parametrize(("plain", "window"), [(False, 64), (False, 200), (False, 162), (True, 50)])
def test_moving_everything_together_changes_no_fit(gpu, plain, window):
    case = make_case(n=window, views=7, probe_modes=2, shape=(window + 20, window + 20))
    y = np.arange(window) - window // 2
    spot = np.exp(-(y[:, None] ** 2 + y[None] ** 2) / 8)
    case.probe[:] = spot * np.array([1, 0.5j])[:, None, None]
    case.obj[:, :6], case.obj[:, -6:], case.obj[:, :, :6], case.obj[:, :, -6:] = 1, 1, 1, 1
    with (
        cuda_device(gpu, case, plain=plain) as device,
        cuda_device(gpu, case, plain=plain) as moved,
    ):
        moved.roll(-2, 3)
        assert moved.misfit() == pytest.approx(device.misfit(), rel=1e-4)
        np.testing.assert_array_equal(moved.get()[0], np.roll(device.get()[0], (-2, 3), (1, 2)))
        found, wanted = (each.probe_sums().numerator.get() for each in (moved, device))
        assert difference(found, np.roll(wanted, (-2, 3), (1, 2))) < 1e-3


def test_the_probe_s_centre(gpu):
    case = make_case(n=64, views=2, shape=(80, 90))
    intensity = np.sum(np.abs(case.probe) ** 2, axis=0)
    pixel = np.arange(64)
    wanted = [np.sum(intensity.sum(axis=a) * pixel) / intensity.sum() for a in (1, 0)]
    with cuda_device(gpu, case) as device:
        assert device.probe_centre() == pytest.approx(wanted, rel=1e-5)


def test_means_are_those_of_the_host(gpu):
    from hxn_ptycho.solver.finish import Average

    case = make_case(n=64, views=9, probe_modes=2, shape=(80, 90))
    average = Average()
    with cuda_device(gpu, case) as device:
        rng = np.random.default_rng(5)
        for _ in range(3):
            turn = np.exp(1j * rng.uniform(0, 6, (2, 1, 1)))
            probe = (case.probe * turn * rng.uniform(0.9, 1.1)).astype(np.complex64)
            obj = (case.obj * turn[:1]).astype(np.complex64)
            device.set(probe, obj)
            device.add_to_average()
            average.add(probe, obj)
        for found, wanted in zip(device.means(), average.means(), strict=True):
            assert difference(found, wanted) < 1e-6


def test_no_view_is_no_error(gpu):
    """A rank may have none."""
    case = make_case(n=64, views=3, shape=(80, 90))
    views = case.views
    case.views = type(views)(views.counts[:0], views.scale[:0], views.measured, views.positions[:0])
    for plain in (False, True):
        with cuda_device(gpu, case, plain=plain) as device:
            device.update_views()
            assert not device.probe_sums().numerator.get().any()
            assert not device.object_sums().denominator.get().any()
            assert device.misfit() == (0, 0)
