"""The scaler that counts the ion chamber in step scans."""

from __future__ import annotations

from ophyd import Component, Device, EpicsSignal, EpicsSignalRO


class Scaler(Device):
    """A scaler record whose channel 4 counts the ion chamber before the sample.

    ophyd's own classes of scalers want the PVs, or name the data keys, of 32 channels.
    """

    count = Component(EpicsSignal, ".CNT", trigger_value=1, kind="omitted")
    count_mode = Component(EpicsSignal, ".CONT", string=True, kind="config")
    preset_time = Component(EpicsSignal, ".TP", kind="config")
    ch4 = Component(EpicsSignalRO, ".S4", kind="hinted")

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.stage_sigs["count_mode"] = "OneShot"
