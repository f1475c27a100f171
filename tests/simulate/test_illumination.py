from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.simulate.diffraction import intensities
from hxn_ptycho.simulate.illumination import (
    default_powers,
    moving_modes,
    orthogonal,
    probe_modes,
    shift,
)


def spot(n: int = 32, width: float = 3.0) -> np.ndarray:
    y, x = np.meshgrid(*(np.arange(n) - n // 2,) * 2, indexing="ij")
    field = np.exp(-(y**2 + x**2) / (2 * width**2)) * np.exp(0.05j * (y**2 + x**2))
    return field / np.linalg.norm(field)


def gram(modes: np.ndarray) -> np.ndarray:
    flat = modes.reshape(len(modes), -1)
    return flat.conj() @ flat.T


@pytest.mark.parametrize("modes", [1, 2, 3, 7])
def test_default_powers_fall_and_sum_to_one(modes: int) -> None:
    powers = default_powers(modes)
    assert len(powers) == modes
    assert powers.sum() == pytest.approx(1)
    assert np.all(np.diff(powers) < 0)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=7))
@settings(max_examples=25, deadline=None)
def test_modes_are_orthogonal_with_the_powers_asked_for(powers: list[float]) -> None:
    modes = probe_modes(spot(), powers)
    np.testing.assert_allclose(gram(modes), np.diag(powers), atol=1e-10)


def test_the_first_mode_is_the_probe() -> None:
    probe = spot()
    first = probe_modes(probe, [0.7, 0.3])[0]
    np.testing.assert_allclose(first, np.sqrt(0.7) * probe, atol=1e-12)


@pytest.mark.parametrize("offset", [(0, 0), (3, -2), (0.5, 0.0)])
def test_shift_moves_the_beam_to_where_it_is_told(offset: tuple[float, float]) -> None:
    moved = shift(spot(), np.array([offset]))[0]
    weight = np.abs(moved) ** 2
    centre = [np.sum(weight * index) - 16 for index in np.indices(moved.shape)]
    np.testing.assert_allclose(centre, offset, atol=1e-6)


def test_orthogonal_modes_have_the_density_matrix_of_the_states() -> None:
    states = np.random.default_rng(3).normal(size=(4, 6, 6, 2)) @ [1, 1j]
    modes = orthogonal(states)
    off_diagonal = gram(modes) - np.diag(np.diag(gram(modes)))
    assert np.abs(off_diagonal).max() < 1e-10
    assert np.all(np.diff(np.diag(gram(modes)).real) < 0)

    def density(fields: np.ndarray) -> np.ndarray:
        flat = fields.reshape(len(fields), -1)
        return flat.T @ flat.conj()

    np.testing.assert_allclose(density(modes), density(states), atol=1e-10)


def test_a_moving_beam_is_a_multi_mode_probe_at_rest() -> None:
    generator = np.random.default_rng(1)
    probe = spot(width=2.5)
    path = np.array([(0, dx) for dx in (-4, -2, 0, 2, 4)])
    picture = generator.normal(size=(40, 44, 2)) @ [1, 0.3j]
    corner = np.array([[4, 6]])
    # The beam somewhere else is the probe in a window somewhere else.
    there = np.mean([intensities(probe[None], picture, corner + step)[0] for step in path], axis=0)
    modes = intensities(moving_modes(probe, path), picture, corner)[0]
    np.testing.assert_allclose(modes, there, rtol=1e-3, atol=1e-4 * there.max())
