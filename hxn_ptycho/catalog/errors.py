"""What goes wrong with a catalog, in words for the person at the beamline."""

from __future__ import annotations


class CatalogError(RuntimeError):
    """A catalog cannot do what was asked; the message says why and what to do."""


class CatalogAway(CatalogError):
    """The store does not answer now: what was asked may well be done later."""


class NotAllowed(CatalogError):
    """The store does not let us; who may, can, and nothing else helps."""


class Unsupported(Exception):
    """A run with something in it that only the store's next writer stores."""
