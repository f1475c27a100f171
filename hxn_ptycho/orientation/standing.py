"""Which class is ahead, by how much, and whether that is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..solver.orientation import Orientation

#: By how much the first must be ahead of the second, as a share of the second's error.
LEAD = 0.03
#: At how many values of the error in a row, one every ten iterations.
VALUES = 3
#: By how much the error of one that has settled still falls over as many values, as a share.
SETTLED = 0.01

#: Iteration -> error_fourier, of one reconstruction.
Curve = Mapping[int, float]


@dataclass(frozen=True)
class Standing:
    """The classes at one iteration.

    Attributes
    ----------
    iteration : int
    errors : dict
        Class (its first orientation) -> ``error_fourier``, best first.
    """

    iteration: int
    errors: dict[Orientation, float]

    @property
    def best(self) -> Orientation:
        """The class ahead."""
        return next(iter(self.errors))

    @property
    def lead(self) -> float:
        """How far it is ahead of the second: 0.1 is an error smaller by 10 %."""
        first, second, *_ = self.errors.values()
        return 1 - first / second if second > 0 else 0.0


def standings(curves: Mapping[Orientation, Sequence[Curve]]) -> list[Standing]:
    """Return how the classes stood at each iteration that all have reached.

    Parameters
    ----------
    curves : dict
        Class -> a curve for each of its reconstructions, the best of which counts.
    """
    every = [curve for each in curves.values() for curve in each]
    reached = set.intersection(*(set(curve) for curve in every)) if every else set()
    return [
        Standing(
            iteration,
            dict(
                sorted(
                    (
                        (name, min(curve[iteration] for curve in each))
                        for name, each in curves.items()
                    ),
                    key=lambda item: item[1],
                )
            ),
        )
        for iteration in sorted(reached)
    ]


def decided(stood: list[Standing]) -> bool:
    """Whether the same class was clearly ahead at each of the last values of the error.

    Once is not enough: at the start, before anything fits, a wrong one may be ahead.
    """
    last = stood[-VALUES:]
    return (
        len(last) == VALUES
        and len({each.best for each in last}) == 1
        and all(each.lead >= LEAD for each in last)
    )


def settled(curve: Curve) -> bool:
    """Whether a reconstruction's error has stopped falling."""
    last = [curve[iteration] for iteration in sorted(curve)][-VALUES:]
    return len(last) == VALUES and last[0] - last[-1] < SETTLED * last[0]
