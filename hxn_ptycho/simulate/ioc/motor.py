"""Motor records that show simulated stages."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from caproto.server import PVGroup, pvproperty

from ..stages import Stage
from .records import Writer, completed, literal

_SECONDS_TO_VELOCITY = 0.01


class RecordedStage(Stage):
    """A stage that tells, at once and in its own thread, where it is and that it has arrived."""

    def __init__(self, **kwargs: Any) -> None:
        self.listeners: list[Callable[[float], None]] = []
        self.arrived: Callable[[], None] | None = None
        super().__init__(**kwargs)

    def _set_position(self, value: float, **kwargs: Any) -> None:
        super()._set_position(value, **kwargs)
        for listener in tuple(self.listeners):
            listener(float(value))

    def _done_moving(self, **kwargs: Any) -> None:
        super()._done_moving(**kwargs)
        if self.arrived is not None:
            self.arrived()


# Puts to the record and its fields, as caproto calls them.


async def _put_value(record: Any, instance: Any, value: float) -> float:
    low, high = record.stage.limits
    inside = not low < high or low <= value <= high
    record.writer.tell(record.fields.limit_violation, int(not inside))
    if not inside:
        return float(instance.value)
    await instance.write(value, verify_value=False)
    arrived = await asyncio.get_running_loop().run_in_executor(None, record.go, float(value))
    await completed(arrived)
    return float(value)


async def _put_stop(fields: Any, instance: Any, value: int) -> int:
    if value:
        fields.parent.group.halt()
    return 0


async def _put_velocity(fields: Any, instance: Any, value: float) -> float:
    stage = fields.parent.group.stage
    if value > 0:
        stage.speed = min(float(value), float(fields.max_velocity.value))
    return float(stage.speed)


class MotorRecord(PVGroup):
    """A motor record in front of a stage: VAL, RBV, DMOV, MOVN, STOP, VELO, limits.

    As the record does, it does not move to where the limits forbid, and says so in LVIO only.
    """

    motor = pvproperty(value=0.0, name="", record="motor", precision=4, put=_put_value)
    motor.fields.stop.putter(_put_stop)
    motor.fields.velocity.putter(_put_velocity)

    def __init__(self, prefix: str, *, stage: RecordedStage, writer: Writer) -> None:
        super().__init__(literal(prefix))
        self.stage, self.writer = stage, writer
        self._target: float | None = None  # of a move that the stage is still to begin
        self._running = False
        self._at_rest: Future[None] = Future()
        self._lock = threading.RLock()  # a move so short that it ends at once ends within itself
        low, high = stage.limits
        fields = self.fields
        first = {
            fields.velocity: stage.speed,
            fields.max_velocity: 10 * stage.speed,
            fields.seconds_to_velocity: _SECONDS_TO_VELOCITY,
            fields.engineering_units: stage.egu,
            fields.user_low_limit: low,
            fields.user_high_limit: high,
            fields.dial_low_limit: low,
            fields.dial_high_limit: high,
            fields.done_moving_to_value: 1,
            fields.user_readback_value: stage.position,
            fields.dial_readback_value: stage.position,
            self.motor: stage.position,
        }
        for channel, value in first.items():
            writer.tell(channel, value)
        for channel in (self.motor, fields.user_readback_value):
            channel._data.update(precision=stage.precision, units=stage.egu)
            channel._data.update(
                lower_ctrl_limit=low, upper_ctrl_limit=high,
                lower_disp_limit=low, upper_disp_limit=high,
            )  # fmt: skip
        stage.listeners.append(self._at)
        stage.arrived = self._arrived

    @property
    def fields(self) -> Any:
        """The record's fields."""
        return self.motor.field_inst

    def go(self, target: float) -> Future[None]:
        """Move, or turn round where it moves: it stops, and moves on when it has.

        Returns
        -------
        Future
            Done when it has come to rest.
        """
        with self._lock:
            self._target = target
            self.writer.tell(self.fields.direction_of_travel, int(target >= self.stage.position))
            self.writer.tell(self.fields.motor_is_moving, 1)
            self.writer.tell(self.fields.done_moving_to_value, 0)
            if self._running:
                self.stage.stop()
            else:
                self._running, self._at_rest = True, Future()
                at_rest = self._at_rest
                self._begin()
                return at_rest
            return self._at_rest

    def halt(self) -> None:
        """Stop where it is."""
        with self._lock:
            self._target = None
            self.stage.stop()

    def _begin(self) -> None:
        target, self._target = self._target, None
        self.stage.set(target)

    def _at(self, position: float) -> None:
        self.writer.tell(self.fields.user_readback_value, position)
        self.writer.tell(self.fields.dial_readback_value, position)

    def _arrived(self) -> None:
        with self._lock:
            if self._target is not None:
                self._begin()
                return
            self._running = False
            self.writer.tell(self.fields.motor_is_moving, 0)
            self.writer.tell(self.fields.done_moving_to_value, 1)
            self.writer.complete(self._at_rest)
