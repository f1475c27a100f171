from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hxn_ptycho.solver.orientation import (
    CLASSES,
    ORIENTATIONS,
    Orientation,
    compose,
    inverse,
    matrix,
    turn,
    twin,
)

FRAME = np.arange(12).reshape(3, 4)

# As NumPy's own functions turn arrays.
NUMPY = {
    "identity": lambda a: a,
    "rot90": lambda a: np.rot90(a),
    "rot180": lambda a: np.rot90(a, 2),
    "rot270": lambda a: np.rot90(a, axes=(1, 0)),
    "flip_y": np.flipud,
    "flip_x": np.fliplr,
    "transpose": np.transpose,
    "antitranspose": lambda a: np.rot90(a, 2).T,
}
names = st.sampled_from(ORIENTATIONS)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_frames_are_turned_as_numpy_turns_them(name: Orientation) -> None:
    np.testing.assert_array_equal(turn(FRAME, name), NUMPY[name](FRAME))
    np.testing.assert_array_equal(turn(np.stack([FRAME, FRAME]), name)[1], NUMPY[name](FRAME))


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_the_matrix_says_where_a_pixel_was_around_the_middle(name: Orientation) -> None:
    frame = np.arange(25).reshape(5, 5)  # odd: its middle is a pixel
    turned = turn(frame, name)
    for y in range(-2, 3):
        for x in range(-2, 3):
            from_y, from_x = matrix(name) @ (y, x)
            assert turned[2 + y, 2 + x] == frame[2 + from_y, 2 + from_x]


@given(names, names)
def test_one_after_the_other_is_one(first: Orientation, second: Orientation) -> None:
    both = turn(turn(FRAME, first), second)
    np.testing.assert_array_equal(turn(FRAME, compose(first, second)), both)


@given(names)
def test_an_orientation_is_undone_by_its_inverse(name: Orientation) -> None:
    np.testing.assert_array_equal(turn(turn(FRAME, name), inverse(name)), FRAME)


def test_the_eight_are_four_pairs_of_twins() -> None:
    assert sorted(name for pair in CLASSES for name in pair) == sorted(ORIENTATIONS)
    assert all(twin(first) == second and twin(second) == first for first, second in CLASSES)


@given(st.integers(0, 2**32 - 1), names)
def test_twins_are_the_frames_of_conjugate_waves(seed: int, name: Orientation) -> None:
    """The frame of conj(psi) is that of psi turned by 180 degrees about the direct beam."""
    rng = np.random.default_rng(seed)
    wave = rng.normal(size=(7, 7)) + 1j * rng.normal(size=(7, 7))
    frame, of_conjugate = (
        np.fft.fftshift(np.abs(np.fft.fft2(w)) ** 2) for w in (wave, wave.conj())
    )
    np.testing.assert_allclose(turn(of_conjugate, name), turn(frame, twin(name)), rtol=1e-9)
