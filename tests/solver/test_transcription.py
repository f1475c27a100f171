"""The CPU device against the paper's equations, one iteration and many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.solver.communicator import Alone
from hxn_ptycho.solver.difference_map import Schedule, error_fourier, iterate
from hxn_ptycho.solver.finish import Average

from . import transcription
from .cases import SCHEDULE, Case, make_case, with_gaps


def run(case: Case, iterations: int = 1, order: str = "PO", **options):
    device = case.device(update_order=order, **options)
    reports = []
    schedule = Schedule(**{**SCHEDULE, "iterations": iterations, "update_order": order})
    iterate(device, Alone(), schedule, reports.append)
    return device, reports


def expected(case: Case, iterations: int = 1, **options):
    psi, probe, obj = None, case.probe, case.obj
    for _ in range(iterations):
        psi, probe, obj, *change = transcription.iterate(
            psi, probe, obj, case.views.positions, case.intensity, case.measured, **options
        )
    return probe, obj, change


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


TOLERANCE = {"double": 1e-12, "single": 1e-5}


@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize("algorithm", ["DM", "RAAR", "ER"])
@pytest.mark.parametrize("order", ["PO", "OP"])
@pytest.mark.parametrize("modes", [(1, 1), (3, 1), (1, 2), (3, 2)])
def test_one_iteration_follows_the_equations(precision, algorithm, order, modes):
    case = make_case(probe_modes=modes[0], object_modes=modes[1])
    device, reports = run(case, order=order, algorithm=algorithm, double=precision == "double")
    probe, obj, (change_probe, change_object) = expected(case, order=order, algorithm=algorithm)
    found_probe, found_object = device.get()
    tolerance = TOLERANCE[precision]
    assert difference(found_probe, probe) < tolerance
    assert difference(found_object, obj) < tolerance
    np.testing.assert_allclose(reports[0].error_probe, change_probe, rtol=10 * tolerance)
    np.testing.assert_allclose(reports[0].error_object, change_object, rtol=10 * tolerance)
    wanted = transcription.error_fourier(
        probe, obj, case.views.positions, case.intensity, case.measured
    )
    assert reports[0].error_fourier == pytest.approx(wanted, rel=10 * tolerance)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(8, 40),
    extra=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    views=st.integers(2, 9),
    probe_modes=st.integers(1, 4),
    object_modes=st.integers(1, 2),
    masked=st.booleans(),
    dtype=st.sampled_from(["uint8", "uint16", "uint32", "int32", "float32"]),
    gaps=st.sampled_from([0, 0.01, 0.3]),
    beta=st.floats(0.1, 1.5),
    seed=st.integers(0, 1000),
)
def test_any_case_follows_the_equations(
    n, extra, views, probe_modes, object_modes, masked, dtype, gaps, beta, seed
):
    case = make_case(
        n, views, probe_modes, object_modes, (n + extra[0], n + extra[1]), masked, dtype, seed
    )
    if gaps:
        case = with_gaps(case, gaps)
    device, _ = run(case, beta=beta, double=True)
    probe, obj, _ = expected(case, beta=beta)
    found_probe, found_object = device.get()
    assert difference(found_probe, probe) < 1e-12
    assert difference(found_object, obj) < 1e-12


@pytest.mark.parametrize("precision", ["double", "single"])
def test_pixels_that_single_views_miss_are_left_out_there_only(precision):
    case = with_gaps(make_case(), 0.1)
    device, reports = run(case, iterations=3, double=precision == "double")
    probe, obj, _ = expected(case, iterations=3)
    tolerance = 10 * TOLERANCE[precision]
    assert difference(device.get()[1], obj) < tolerance
    wanted = transcription.error_fourier(
        probe, obj, case.views.positions, case.intensity, case.measured
    )
    assert reports[-1].error_fourier == pytest.approx(wanted, rel=10 * tolerance)
    # Had they been measured as 0, all else would be another.
    _, other, _ = expected(Case(replace(case.views, gaps=None), case.probe, case.obj), iterations=3)
    assert difference(other, obj) > 1e-2


def test_many_iterations_follow_the_equations():
    """A wrong order of the updates passes one iteration; 50 show it."""
    case = make_case(n=16, views=30, probe_modes=2, shape=(40, 40))
    device, reports = run(case, iterations=50, double=True)
    probe, obj, _ = expected(case, iterations=50)
    found_probe, found_object = device.get()
    assert difference(found_probe, probe) < 1e-8
    assert difference(found_object, obj) < 1e-8
    wanted = transcription.error_fourier(
        probe, obj, case.views.positions, case.intensity, case.measured
    )
    assert reports[-1].error_fourier == pytest.approx(wanted, rel=1e-8)


def test_a_device_that_computes_ahead_does_the_same_in_the_same_order():
    case = make_case(n=16, views=20, probe_modes=2, shape=(40, 40))
    plain, wanted = run(case, iterations=8, double=True)
    device, order, found = case.device(double=True), [], []
    device.computes_ahead = True
    update = device.update_views
    device.update_views = lambda: (order.append("views"), update())

    def report(line):
        order.append("report")
        found.append(line)

    iterate(device, Alone(), Schedule(**{**SCHEDULE, "iterations": 8}), report)
    # Each iteration's views are moved once, the next one's before this one's report.
    assert order == ["views", *["views", "report"] * 7, "report"]
    np.testing.assert_array_equal(device.get()[1], plain.get()[1])
    assert [line.error_fourier for line in found] == [line.error_fourier for line in wanted]


def test_unlit_pixels_keep_their_value():
    case = make_case(masked=False)
    case.probe[:, :, :5] = 0
    device, _ = run(case, double=True)
    _, obj, _ = expected(case)
    found = device.get()[1]
    unlit = np.ones(obj.shape[1:], bool)
    for row, column in case.views.positions:
        unlit[row : row + 24, column + 5 : column + 24] = False
    # The probe is updated first, so what it lights in this iteration may reach the dark columns:
    # the transcription says which pixels stay.
    kept = unlit & (obj == case.obj)[0]
    np.testing.assert_array_equal(found[0][kept], case.obj[0][kept])
    assert difference(found, obj) < 1e-12


def test_a_pixel_without_light_becomes_zero_where_photons_were_counted():
    """Eq. (4): where the sum over the modes is 0, the constrained wave is 0, never NaN."""
    case = make_case(masked=False)
    case.probe[:] = 0
    case.probe[:, 12, 12] = 0
    device = case.device(double=True)
    device.update_views()
    sums = device.probe_sums()
    assert np.all(sums.numerator == 0)


def test_clamps_hold_the_object():
    case = make_case()
    device, _ = run(case, object_amplitude=(0.5, 0.9), object_phase=(-0.2, 0.1), double=True)
    obj = device.get()[1]
    assert np.abs(obj).min() >= 0.5 - 1e-12
    assert np.abs(obj).max() <= 0.9 + 1e-12
    assert np.angle(obj).min() >= -0.2 - 1e-12
    assert np.angle(obj).max() <= 0.1 + 1e-12


@pytest.mark.parametrize(("part", "key"), [(0, "probe_start"), (1, "object_start")])
def test_starts_hold_an_update_back(part, key):
    case = make_case()
    device = case.device(double=True)
    reports = []
    schedule = Schedule(**{**SCHEDULE, "iterations": 3, key: 2})

    seen = []

    def report(line):
        reports.append(line)
        seen.append(device.get()[part])

    iterate(device, Alone(), schedule, report)
    first = [case.probe, case.obj][part]
    np.testing.assert_array_equal(seen[1], first)
    assert difference(seen[2], first) > 1e-6
    change = [r.error_probe if part == 0 else r.error_object for r in reports]
    assert np.all(change[1] == 0)
    assert np.all(change[2] > 0)


@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize(("average_start", "averaged"), [(1.0, [5]), (0.5, [3, 4, 5]), (0.0, None)])
def test_the_device_averages_what_the_schedule_selects(precision, average_start, averaged):
    case = make_case()
    device = case.device(double=precision == "double")
    schedule = Schedule(**{**SCHEDULE, "iterations": 5, "average_start": average_start})
    wanted = Average()

    def report(line):
        if averaged is None or line.iteration in averaged:
            wanted.add(*device.get())

    iterate(device, Alone(), schedule, report)
    # What is set afterwards is not part of it.
    device.set(case.probe, case.obj)
    for found, expected_mean in zip(device.means(), wanted.means(), strict=True):
        assert found.dtype == np.complex128
        np.testing.assert_array_equal(found, expected_mean)


def test_error_fourier_is_measured_when_the_schedule_says():
    case = make_case()
    device = case.device(double=True)
    reports = []
    schedule = Schedule(**{**SCHEDULE, "iterations": 7, "error_every": 3})
    iterate(device, Alone(), schedule, reports.append)
    assert [r.iteration for r in reports if np.isfinite(r.error_fourier)] == [1, 3, 6, 7]
    assert error_fourier(device, Alone()) == pytest.approx(reports[-1].error_fourier)
