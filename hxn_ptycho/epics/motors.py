"""Motors that a flyer can fly."""

from __future__ import annotations

import time
from typing import Any

from ophyd import Component, Device, EpicsMotor, EpicsSignalRO
from ophyd import FormattedComponent as Formatted
from ophyd.device import required_for_connection
from ophyd.positioner import PositionerBase
from ophyd.status import wait as status_wait

from .waiting import check_answers


class Stage(EpicsMotor):
    """A motor record.

    It remembers that it was stopped, so that a fly scan along it ends too. And a move is over when
    the record completes the put: what ophyd goes by, that DMOV was 0 and is 1 again, a client that
    is busy may miss of a short move, and then waits for ever.
    """

    max_velocity = Component(EpicsSignalRO, ".VMAX", kind="omitted", auto_monitor=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.stops = 0  # how often it has been asked to stop
        self._awaited: Any = None  # the status of the move that the record is to complete
        super().__init__(*args, **kwargs)

    def move(self, position: float, wait: bool = True, **kwargs: Any) -> Any:
        """Move to a position, as ``EpicsMotor.move``."""
        check_answers(self)
        self._started_moving = False
        status = self._awaited = PositionerBase.move(self, position, **kwargs)
        self.user_setpoint.put(
            position, wait=False, use_complete=True, callback=lambda **_: self._completed(status)
        )
        if wait:
            try:
                status_wait(status)
            except KeyboardInterrupt:
                self.stop()
                raise
        return status

    def _completed(self, status: Any) -> None:
        if status is not self._awaited:
            return  # it was sent elsewhere meanwhile
        self._set_position(self.user_readback.get(use_monitor=False))
        self._awaited = None
        # From here on as ophyd does when it sees a motor come to rest: it looks at limit switches
        # and alarms.
        self._moving = True
        super()._move_changed(timestamp=time.time(), value=1)

    @required_for_connection
    def _move_changed(
        self, timestamp: Any = None, value: Any = None, sub_type: Any = None, **kwargs: Any
    ) -> None:
        if self._awaited is None or value != 1:
            super()._move_changed(timestamp=timestamp, value=value, sub_type=sub_type, **kwargs)

    def stop(self, *, success: bool = False) -> None:
        """Stop where it is; a fly scan along this stage ends."""
        self.stops += 1
        super().stop(success=success)


class Monochromator(Device):
    """A double-crystal monochromator: its Bragg angle sets the photon energy.

    The prefix is that of its axes, up to their names.
    """

    th = Formatted(Stage, "{self.prefix}Bragg}}Mtr")
