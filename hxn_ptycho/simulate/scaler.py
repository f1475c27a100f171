"""A simulated scaler: it counts an ion chamber's current in step scans."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from ophyd import Component, Device, Signal
from ophyd.status import DeviceStatus

from ..fly.panda import ION_CHAMBER
from .endstation import Endstation


class Scaler(Device):
    """A scaler whose channel 4 counts the ion chamber before the sample.

    Parameters
    ----------
    prefix : str
        Used in the documents' ``source`` only.
    name : str
        ``name + "_ch4"`` is its data key.
    endstation : Endstation
        Whose beam it measures; the same, at a point of a scan, as the detectors see.
    """

    preset_time = Component(Signal, value=0.01, kind="config")

    def __init__(
        self, prefix: str = "", *, name: str, endstation: Endstation, **kwargs: Any
    ) -> None:
        super().__init__(prefix, name=name, **kwargs)
        self.endstation = endstation
        self._value, self._when, self._points = 0.0, 0.0, 0

    @property
    def _key(self) -> str:
        return f"{self.name}_{ION_CHAMBER.rpartition('_')[2]}"

    def stage(self) -> list[Any]:
        """Be ready for a scan."""
        self._points = 0
        self.endstation.new_step()
        return super().stage()

    def trigger(self) -> DeviceStatus:
        """Count once."""
        brightness = np.array([self.endstation.step_brightness(self)])
        (self._value,) = self.endstation.ion_chamber.count(
            brightness,
            float(self.preset_time.get()),
            self.endstation.generator,
            first=self._points,
        )
        self._points += 1
        self._when = time.time()
        status = DeviceStatus(self)
        status.set_finished()
        return status

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe the counts."""
        return {
            self._key: {
                "source": f"PV:{self.prefix}.S4",
                "dtype": "number",
                "dtype_numpy": "<f8",
                "shape": [],
            }
        }

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the last counts."""
        return {self._key: {"value": float(self._value), "timestamp": self._when}}
