"""Each kernel by itself against float64 NumPy: random input, poisoned outputs, edges."""

from __future__ import annotations

import numpy as np
import pytest

from ..solver import transcription
from ..solver.cases import make_case
from .cases import cuda_device, difference

# (plain, double, window): sizes with idle lanes and threads, odd ones, one above a block.
WAYS = [
    (False, False, 64),
    (False, False, 150),
    (False, False, 200),
    (False, False, 75),
    (True, False, 50),
    (True, False, 33),
    (True, True, 51),
]
TOLERANCE = {False: 2e-6, True: 1e-13}


def case_of(window: int, **options):
    return make_case(n=window, views=13, probe_modes=3, shape=(window + 41, window + 22), **options)


@pytest.mark.parametrize(("plain", "double", "window"), WAYS)
def test_the_waves_start_from_the_product(gpu, plain, double, window):
    case = case_of(window)
    wanted = transcription.product(case.probe, case.obj, case.views.positions)
    with cuda_device(gpu, case, plain=plain, double=double) as device:
        assert difference(device._waves.exit_waves(), wanted) < TOLERANCE[double]


@pytest.mark.parametrize("algorithm", ["DM", "RAAR", "ER"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("plain", "double", "window"), WAYS)
def test_the_waves_move_by_the_equations(gpu, algorithm, masked, plain, double, window):
    case = case_of(window, masked=masked)
    psi = transcription.product(case.probe, case.obj, case.views.positions)
    with cuda_device(gpu, case, algorithm, plain=plain, double=double) as device:
        # Another probe, so that psi is not P O any more.
        probe = case.probe * np.exp(0.3j) + 0.1
        device.set(probe, case.obj)
        device.update_views()
        wanted = transcription.move_waves(
            psi, probe, case.obj, case.views.positions, case.intensity, case.views.measured,
            algorithm, 0.8,
        )  # fmt: skip
        assert difference(device._waves.exit_waves(), wanted) < 5 * TOLERANCE[double]


@pytest.mark.parametrize("plain", [False, True])
def test_no_light_becomes_zero_and_nothing_is_divided_by_it(gpu, plain):
    case = case_of(64, masked=False)
    case.probe[:] = 0
    with cuda_device(gpu, case, plain=plain) as device:
        device.update_views()
        assert not device._waves.exit_waves().any()


@pytest.mark.parametrize("plain", [False, True])
def test_hardly_any_light_overflows_nothing(gpu, plain):
    """Sums of 1e-36 under counts of 20: their quotient is infinite in single precision."""
    case = case_of(64, masked=False)
    case.probe *= 1e-18 / np.abs(case.probe).max()
    psi = transcription.product(case.probe, case.obj, case.views.positions)
    with cuda_device(gpu, case, plain=plain) as device:
        device.update_views()
        wanted = transcription.move_waves(
            psi, case.probe, case.obj, case.views.positions, case.intensity, case.views.measured,
            "DM", 0.8,
        )  # fmt: skip
        assert difference(device._waves.exit_waves(), wanted) < 1e-3


@pytest.mark.parametrize(("plain", "double", "window"), WAYS)
def test_sums_of_the_updates(gpu, plain, double, window):
    case = case_of(window)
    rows, columns = case.views.positions.T
    with cuda_device(gpu, case, plain=plain, double=double) as device:
        device.update_views()
        psi = device._waves.exit_waves().astype(np.complex128)
        o = transcription.windows(case.obj, case.views.positions, window)
        found = device.probe_sums()
        wanted = np.einsum("jlyx,jlkyx->kyx", o.conj(), psi)
        assert difference(found.numerator.get(), wanted) < TOLERANCE[double]
        wanted = np.einsum("jlyx->yx", np.abs(o) ** 2)
        assert difference(found.denominator.get(), wanted) < TOLERANCE[double]
        found = device.object_sums()
        numerator, denominator = np.zeros_like(case.obj), np.zeros(case.obj.shape[1:])
        for j, (r, c) in enumerate(zip(rows, columns, strict=True)):
            part = np.s_[..., r : r + window, c : c + window]
            numerator[part] += np.einsum("kyx,lkyx->lyx", case.probe.conj(), psi[j])
            denominator[part] += np.sum(np.abs(case.probe) ** 2, axis=0)
        assert difference(found.numerator.get(), numerator) < TOLERANCE[double]
        assert difference(found.denominator.get(), denominator) < TOLERANCE[double]


@pytest.mark.parametrize(("plain", "double", "window"), WAYS)
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_misfit(gpu, plain, double, window, dtype):
    case = case_of(window)
    with cuda_device(gpu, case, plain=plain, double=double, dtype=dtype) as device:
        wrong, total = device.misfit()
    wanted = transcription.error_fourier(
        case.probe, case.obj, case.views.positions, case.intensity, case.views.measured
    )
    assert np.sqrt(wrong / total) == pytest.approx(wanted, rel=TOLERANCE[double])
    assert total == pytest.approx(case.intensity[:, case.views.measured].sum(), rel=1e-6)


@pytest.mark.parametrize("double", [False, True])
def test_the_quotient_keeps_old_values_in_the_dark_and_tells_the_change(gpu, double):
    case = make_case(n=64, views=5, probe_modes=3, shape=(80, 90))
    rng = np.random.default_rng(2)
    with cuda_device(gpu, case, plain=True, double=double) as device:
        sums = device.probe_sums()
        numerator = rng.normal(size=(3, 64, 64)) + 1j * rng.normal(size=(3, 64, 64))
        denominator = rng.uniform(0.5, 2, size=(64, 64))
        denominator[3] = 1e-9 * denominator.max()
        denominator[5] = 0
        sums.numerator.set(numerator.astype(sums.numerator.dtype))
        sums.denominator.set(denominator.astype(sums.denominator.dtype))
        device.update_probe(sums)
        lit = denominator > 1e-8 * denominator.max()
        wanted = np.where(lit, numerator / np.where(lit, denominator, 1), case.probe)
        found = device.get()[0]
        assert difference(found, wanted) < TOLERANCE[double]
        np.testing.assert_array_equal(found[:, ~lit], case.probe.astype(found.dtype)[:, ~lit])
        change, none = device.change()
        np.testing.assert_allclose(change, transcription.change(wanted, case.probe), rtol=1e-5)
        assert not none.any()
        assert not device.change()[0].any()  # told once


def test_tiles_know_their_views():
    from hxn_ptycho.solver.cuda.denominators import TILE, views_of_tiles

    rng = np.random.default_rng(3)
    positions = rng.integers(0, [60, 70], size=(40, 2))
    starts, listed = views_of_tiles(positions, 50, (110, 120))
    down, across = 4, 4
    assert len(starts) == down * across + 1
    for tile in range(down * across):
        top, left = tile // across * TILE, tile % across * TILE
        inside = [
            j
            for j, (row, column) in enumerate(positions)
            if row < top + TILE and row + 50 > top and column < left + TILE and column + 50 > left
        ]
        assert sorted(listed[starts[tile] : starts[tile + 1]]) == inside
