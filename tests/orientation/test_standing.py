from __future__ import annotations

import pytest

from hxn_ptycho.orientation.standing import decided, settled, standings


def curves(**errors: list[float]):
    """Classes, each with one reconstruction, of these errors at iterations 10, 20, ..."""
    return {
        name: [{10 * (i + 1): error for i, error in enumerate(values)}]
        for name, values in errors.items()
    }


def test_the_best_reconstruction_of_a_class_counts():
    stood = standings({"identity": [{10: 0.3}, {10: 0.1}], "flip_y": [{10: 0.2}, {10: 0.25}]})
    assert stood[0].errors == {"identity": 0.1, "flip_y": 0.2}
    assert stood[0].best == "identity"
    assert stood[0].lead == pytest.approx(0.5)


def test_only_iterations_that_all_have_reached_are_compared():
    both = {"identity": [{10: 0.3, 20: 0.1}], "flip_y": [{10: 0.2}]}
    (only,) = standings(both)
    assert only.iteration == 10
    assert only.best == "flip_y"
    assert standings({"identity": [{10: 0.3}], "flip_y": [{}]}) == []


def test_one_that_leads_steadily_has_won():
    assert decided(standings(curves(identity=[0.2, 0.1, 0.1, 0.1], flip_y=[0.19, 0.2, 0.2, 0.2])))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([0.1, 0.1], [0.2, 0.2]),  # too early
        ([0.1, 0.2, 0.1], [0.2, 0.1, 0.2]),  # another was ahead in between
        ([0.198, 0.198, 0.198], [0.2, 0.2, 0.2]),  # by too little
        ([0.1, 0.1, 0.199], [0.2, 0.2, 0.2]),  # no longer
        ([0.2, 0.2, 0.2], [0.2, 0.2, 0.2]),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    ],
)
def test_otherwise_it_is_open(first, second):
    assert not decided(standings(curves(identity=first, flip_y=second)))


def test_settled():
    assert not settled({10: 0.2, 20: 0.15, 30: 0.1})
    assert not settled({10: 0.1, 20: 0.1})
    assert settled({10: 0.2, 20: 0.1, 30: 0.0999, 40: 0.0998})
