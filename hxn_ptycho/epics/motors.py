"""Motors that a flyer can fly."""

from __future__ import annotations

from typing import Any

from ophyd import Component, Device, EpicsMotor, EpicsSignalRO
from ophyd import FormattedComponent as Formatted


class Stage(EpicsMotor):
    """A motor record that remembers that it was stopped, so that a fly scan along it ends too."""

    max_velocity = Component(EpicsSignalRO, ".VMAX", kind="omitted", auto_monitor=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.stops = 0  # how often it has been asked to stop
        super().__init__(*args, **kwargs)

    def stop(self, *, success: bool = False) -> None:
        """Stop where it is; a fly scan along this stage ends."""
        self.stops += 1
        super().stop(success=success)


class Monochromator(Device):
    """A double-crystal monochromator: its Bragg angle sets the photon energy.

    The prefix is that of its axes, up to their names.
    """

    th = Formatted(Stage, "{self.prefix}Bragg}}Mtr")
