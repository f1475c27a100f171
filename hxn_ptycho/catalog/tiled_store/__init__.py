"""Runs in a Tiled catalog of Bluesky runs in SQL: embedded in this process, or on a server."""

from __future__ import annotations

from .backend import TiledStore

__all__ = ["TiledStore"]
