"""What start documents say alike, whichever plan wrote them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Start = Mapping[str, Any]


def scan_type(start: Start) -> str | None:
    """Return ``start["scan"]["type"]``; None if there is none."""
    scan = start.get("scan")
    kind = scan.get("type") if isinstance(scan, Mapping) else None
    return None if kind is None else str(kind)


def number_announced(start: Start) -> int | None:
    """Return how many frames a scan's ``shape`` announces; None if there is none."""
    scan = start.get("scan")
    shape = scan.get("shape") if isinstance(scan, Mapping) else None
    shape = shape or start.get("shape")
    return math.prod(int(size) for size in shape) if shape else None
