"""The status of a fly scan, which progress bars can watch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ophyd import Device
from ophyd.status import DeviceStatus


class FlyStatus(DeviceStatus):
    """Status of a fly scan; its watchers hear how many frames there are (for progress bars)."""

    def __init__(self, device: Device, label: str, frames: int) -> None:
        super().__init__(device)
        self._title, self._frames = label, frames
        self._began = time.monotonic()
        self._watchers: list[Callable[..., Any]] = []

    def watch(self, function: Callable[..., Any]) -> None:
        """Call `function` with the progress, as bluesky's progress bars want it."""
        self._watchers.append(function)

    def tell(self, frames: int) -> None:
        """Tell the watchers how many frames there are now."""
        for watcher in self._watchers:
            watcher(
                name=self._title,
                current=frames,
                initial=0,
                target=self._frames,
                unit="frames",
                precision=0,
                fraction=1 - frames / self._frames,
                time_elapsed=time.monotonic() - self._began,
            )
