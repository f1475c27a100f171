"""How long each kernel takes, by events, where it is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .driver import drv

# Set by ``python -m hxn_ptycho.solver --profile``.
PROFILE_VARIABLE = "HXN_PTYCHO_PROFILE"


class Profiler:
    """Events before and after every kernel; measures nothing unless PROFILE_VARIABLE is set.

    While it measures, kernels that else run beside each other on two streams run one after the
    other (`fused`), so that an iteration takes a little longer.
    """

    def __init__(self) -> None:
        self.on = bool(os.environ.get(PROFILE_VARIABLE))
        self._pairs: list[tuple[str, Any, Any]] = []
        self._seconds: dict[str, float] = {}
        self._calls: dict[str, int] = {}

    @contextmanager
    def measure(self, name: str, stream: Any) -> Iterator[None]:
        """Measure what is queued on `stream` meanwhile."""
        if not self.on:
            yield
            return
        before, after = drv.Event(), drv.Event()
        before.record(stream)
        yield
        after.record(stream)
        self._pairs.append((name, before, after))
        if len(self._pairs) > 4096:
            self._collect()

    def table(self) -> list[dict[str, Any]]:
        """Return name, calls, seconds and share of the whole of every kernel, longest first."""
        self._collect()
        total = sum(self._seconds.values()) or 1.0
        rows = sorted(self._seconds.items(), key=lambda item: -item[1])
        return [
            {"name": n, "calls": self._calls[n], "seconds": s, "share": s / total} for n, s in rows
        ]

    def _collect(self) -> None:
        for name, before, after in self._pairs:
            after.synchronize()
            seconds = after.time_since(before) * 1e-3
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds
            self._calls[name] = self._calls.get(name, 0) + 1
        self._pairs.clear()
