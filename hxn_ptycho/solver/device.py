"""What the algorithm asks of a device: a Protocol, and the numbers that pass through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .preparation import Gaps

Complex = NDArray[np.complexfloating]


@dataclass(frozen=True)
class Projection:
    """One way of moving the exit waves, with five numbers.

    Every method here has the form, with PO the product of eq. (2) and Fc the constraint of eq. (4),

        V    = F(product PO + wave psi)
        psi' = keep psi + F^-1[constrained Fc(V) + free V]

    For the difference map, eq. (3), PO = (F^-1 V + psi) / 2 makes
    ``psi' = (1 - beta / 2) psi + F^-1[beta Fc(V) - beta / 2 V]``: two transforms, and the product
    is not needed a second time. RAAR follows likewise.
    """

    product: float
    wave: float
    keep: float
    constrained: float
    free: float

    @classmethod
    def of(cls, algorithm: str, beta: float) -> Projection:
        """Return the numbers of "DM" (eq. (3)), "RAAR" (Luke, Inverse Probl. 21 (2005) 37), "ER".

        Raises
        ------
        ValueError
            For another algorithm.
        """
        if algorithm == "DM":
            return cls(2.0, -1.0, 1.0 - beta / 2, beta, -beta / 2)
        if algorithm == "RAAR":  # beta psi + beta F^-1 Fc[2PO - psi] + (1 - 2 beta) PO
            return cls(2.0, -1.0, 0.5, beta, 0.5 - beta)
        if algorithm == "ER":  # F^-1 Fc[PO]
            return cls(1.0, 0.0, 0.0, 1.0, 0.0)
        raise ValueError(f"there is no algorithm {algorithm!r}")


@dataclass
class Sums:
    """A numerator and its denominator of eq. (5) or (6), where the device keeps them.

    Attributes
    ----------
    numerator : array (modes, rows, columns), complex
    denominator : array (rows, columns), real
    whole : array, optional
        Real numbers, of which numerator and denominator are two parts: added up at once.
    add_up : callable, optional
        Adds up over the ranks what is needed, where the device itself knows better what that is.
    """

    numerator: Any
    denominator: Any
    whole: Any = None
    add_up: Callable[[], None] | None = None

    @property
    def pieces(self) -> tuple[Any, ...]:
        """The arrays that are to be added up over the ranks."""
        return (self.numerator, self.denominator) if self.whole is None else (self.whole,)


@dataclass(frozen=True)
class Views:
    """This rank's share of the measured data.

    Attributes
    ----------
    counts : array (N, n, n)
        Photon counts, where and how the device keeps them. On the CPU an ndarray, DC at [0, 0]; 0
        where not measured. On a GPU what was not measured is marked among them, see ``cuda.waves``.
    scale : ndarray (N,), float64
        What the counts of each view are multiplied by.
    measured : ndarray (n, n), bool
        False where the detector did not measure: masked, or the rim of the window.
    positions : ndarray (N, 2), int64
        Row and column of each window's [0, 0] pixel in the object.
    gaps : Gaps, optional
        Pixels, of those in `measured`, that were not measured in single views: left as they are by
        eq. (4), and left out of ``error_fourier``. None: none, or, on a GPU, marked in `counts`.
    """

    counts: Any
    scale: NDArray[np.float64]
    measured: NDArray[np.bool_]
    positions: NDArray[np.int64]
    gaps: Gaps | None = None

    @property
    def window(self) -> int:
        """Side of the FFT window."""
        return self.measured.shape[-1]


class Device(Protocol):
    """Where the exit waves live, and who computes with them.

    A device holds the views of one rank, and a probe (M_P, n, n) and an object (M_O, H, W) that
    are the same on every rank. It starts from psi = P O. In an iteration only scalars leave it,
    besides what is summed over the ranks: on a GPU all else would wait for the bus.
    """

    name: str
    window: int
    #: Whether it computes on while this process does something else, as a GPU does.
    computes_ahead: bool

    @property
    def memory_bytes(self) -> int:
        """Bytes that the device holds for this rank."""

    def update_views(self) -> None:
        """Move the exit waves by eqs. (3) and (4)."""

    def probe_sums(self) -> Sums:
        """Return this rank's part of eq. (5), with the object of the moment."""

    def object_sums(self) -> Sums:
        """Return this rank's part of eq. (6), with the probe of the moment."""

    def update_probe(self, sums: Sums) -> None:
        """Put eq. (5) in place of the probe; `sums` are over all ranks."""

    def update_object(self, sums: Sums) -> None:
        """Put eq. (6), clamped, in place of the object; `sums` are over all ranks."""

    def change(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return eq. (7) of the last updates: (M_P,) and (M_O,); zero where none was made.

        Waits for those updates only, not for what was asked of the device since.
        """

    def probe_centre(self) -> tuple[float, float]:
        """Return the centre of mass (row, column) of ``sum_k |P_k|^2``, pixels of the window.

        Waits for the last update of the probe only.
        """

    def roll(self, rows: int, columns: int) -> None:
        """Move probe, object and exit waves together by whole pixels; what leaves comes in again.

        The product P O moves as one and its diffraction stays as it is.
        """

    def misfit(self) -> tuple[float, float]:
        """Return this rank's two sums of ``error_fourier`` for the P and O of the moment."""

    def add_to_average(self) -> None:
        """Add the probe and object of the moment to their means."""

    def means(self) -> tuple[Complex, Complex]:
        """Return mean probe and object on the host, complex128, as `finish.Average.means`.

        All ranks call it: each may have a part of the object only.
        """

    def get(self) -> tuple[Complex, Complex]:
        """Return copies of probe (M_P, n, n) and object (M_O, H, W) on the host.

        All ranks call it, as `means`.
        """

    def set(self, probe: Complex, obj: Complex) -> None:
        """Replace probe and object; the exit waves stay."""
