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


def flavour_of(
    start: Mapping[str, Any], config: BeamlineConfig, keys: Mapping[str, Any] | None = None
) -> tuple[Flavour | None, Mapping[str, Any]]:
    """Return which flavour a run is of, and its start document as that flavour is to read it.

    Parameters
    ----------
    start : mapping
        Start document.
    config : BeamlineConfig
    keys : mapping, optional
        Data keys. HXN's plans write into the ``md`` that they are given, so that the next plan may
        carry the `scan` of the one before: where its data are not of that type, it is left out.
    """
    found = _first(start, config)
    if keys is None or found is None or found.diffracts(start, keys, config):
        return found, start
    own = {key: value for key, value in start.items() if key != "scan"}
    other = _first(own, config)
    if other is not None and other.diffracts(own, keys, config):
        return other, own
    return found, start


def _first(start: Mapping[str, Any], config: BeamlineConfig) -> Flavour | None:
    return next((flavour for flavour in FLAVOURS if flavour.takes(start, config)), None)
