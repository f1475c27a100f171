"""The flavours of scan that can be read: one module each, all in one table.

To add one: a module as `Flavour` says, and its name in `FLAVOURS`. Its settings become a table of
``hxn.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from . import classic, imported, panda, step, zebra
from .tables import Table

if TYPE_CHECKING:
    from ..scan import Scan
    from .config import BeamlineConfig
    from .run import Run


class Flavour(Protocol):
    """What a flavour's module has.

    Attributes
    ----------
    NAME : str
        Of its table in ``hxn.toml``.
    WHAT : str
        What messages call such a scan, and how it is told.
    Settings : type of Table, or None
        What may be set in its table. A flavour that has settings takes no run while its table is
        not there.
    """

    @property
    def NAME(self) -> str: ...  # noqa: D102
    @property
    def WHAT(self) -> str: ...  # noqa: D102
    @property
    def Settings(self) -> type[Table] | None: ...  # noqa: D102

    def takes(self, start: Mapping[str, Any], config: BeamlineConfig) -> bool:
        """Return whether a run's start document is of this flavour."""

    def diffracts(
        self, start: Mapping[str, Any], keys: Mapping[str, Any], config: BeamlineConfig
    ) -> bool:
        """Return whether a run with these data keys holds what ptychography needs."""

    def expected(self, start: Mapping[str, Any]) -> int | None:
        """Return how many frames it should have; None if its start document does not say."""

    def read(self, run: Run) -> Scan:
        """Read it; raises ScanError, CatalogError."""


#: Asked in this order; the first that takes a run reads it.
FLAVOURS: tuple[Flavour, ...] = (panda, zebra, imported, classic, step)


def flavour_of(start: Mapping[str, Any], config: BeamlineConfig) -> Flavour | None:
    """Return which flavour a run is of, by its start document; None: of none that is known."""
    return next((flavour for flavour in FLAVOURS if flavour.takes(start, config)), None)
