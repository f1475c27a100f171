"""Simulated motors: they take time, have limits, and can be stopped."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Any

from ophyd import Component, Device
from ophyd.positioner import SoftPositioner

_TICK_S = 0.02


class Stage(SoftPositioner):
    """A motor that moves at a given speed.

    Parameters
    ----------
    name : str
    egu : str
        Unit of its position.
    speed : float
        Units a second.
    limits : (float, float), optional
        Beyond them a move is refused.
    init_pos : float
        Where it is at first.
    """

    def __init__(
        self,
        *,
        egu: str = "um",
        speed: float = 200.0,
        limits: tuple[float, float] | None = None,
        init_pos: float = 0.0,
        source: str = "simulated",
        **kwargs: Any,
    ) -> None:
        super().__init__(egu=egu, limits=limits, source=source, **kwargs)
        self.speed = speed
        self.precision = 4
        self._halt = threading.Event()
        self._set_position(float(init_pos))

    def describe(self) -> OrderedDict[str, dict[str, Any]]:
        """Describe the position as documents want it."""
        description = super().describe()
        description[self.name].update(shape=[], precision=self.precision)
        return description

    def stop(self, *, success: bool = False) -> None:
        """Stop where it is; a fly scan along this stage ends."""
        self._halt.set()

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for since the last move began."""
        return self._halt.is_set()

    def follow(self, position: float) -> None:
        """Report the position that a fly scan has brought the stage to."""
        self._set_position(float(position))

    def _setup_move(self, position: float, status: Any) -> None:
        self._run_subs(sub_type=self.SUB_START, timestamp=time.time())
        self._started_moving, self._moving = True, True
        self._halt.clear()
        start = self.position
        if abs(position - start) / self.speed < _TICK_S:
            self._arrive(position, True)
            return
        threading.Thread(
            target=self._run_move, args=(start, position), name=f"{self.name} moves", daemon=True
        ).start()

    def _run_move(self, start: float, target: float) -> None:
        began, duration = time.monotonic(), abs(target - start) / self.speed
        position = start
        while (part := (time.monotonic() - began) / duration) < 1:
            position = start + (target - start) * part
            self._set_position(position)
            if self._halt.wait(min(_TICK_S, duration * (1 - part))):
                self._arrive(position, False)
                return
        self._arrive(target, True)

    def _arrive(self, position: float, success: bool) -> None:
        self._moving = False
        self._set_position(float(position))
        self._done_moving(success=success)


class Monochromator(Device):
    """A double-crystal monochromator: its Bragg angle sets the photon energy."""

    th = Component(Stage, egu="deg", speed=1.0, limits=(3.0, 40.0), init_pos=9.4831)
