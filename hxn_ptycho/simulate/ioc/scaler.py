"""A scaler record in front of a simulated scaler."""

from __future__ import annotations

import threading
import time

from ..scaler import Scaler
from .records import Writer, make_records, writable


class ScalerRecord:
    """CNT, TP and S4 of a scaler record; a put to CNT is complete when it has counted.

    Parameters
    ----------
    prefix : str
    scaler : Scaler
    beam : RLock
        Held by who computes light: one at a time.
    writer : Writer
    """

    def __init__(
        self, prefix: str, *, scaler: Scaler, beam: threading.RLock, writer: Writer
    ) -> None:
        self.scaler = scaler
        self._beam = beam
        pvs = {
            **writable(".CNT", "Done", choices=("Done", "Count")),
            **writable(".CONT", "OneShot", choices=("OneShot", "AutoCount")),
            **writable(".TP", 0.01),
            **writable(".S4", 0.0),
        }
        self.records = make_records(
            "Scaler", pvs, prefix, writer=writer, actions={".CNT": self._count}
        )

    def _count(self, value: str) -> str | None:
        if value != "Count":
            return None
        preset = float(self.records.value(".TP"))
        time.sleep(max(preset, 0.0) * self.scaler.endstation.pace)
        with self._beam:
            self.scaler.preset_time.put(preset)
            self.scaler.trigger()
            (reading,) = self.scaler.read().values()
        self.records.tell(".S4", reading["value"])
        return "Done"
