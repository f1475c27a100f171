"""Runs in a `databroker.v0.Broker`: HXN's own ``db``, on MongoDB or SQLite."""

from __future__ import annotations

from .backend import V0Store
from .describing import is_of
from .opening import open_v0

__all__ = ["V0Store", "is_of", "open_v0"]
