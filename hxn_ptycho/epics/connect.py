"""Wait until the PVs of devices are there, or say which are not, and what to do."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import ophyd
from ophyd import Device
from ophyd.signal import EpicsSignalBase

_SHOWN = 6


class NotReachableError(RuntimeError):
    """PVs do not answer."""


def check_control_layer() -> None:
    """Refuse to go on without pyepics; ophyd without it makes devices that do nothing.

    Raises
    ------
    RuntimeError
        Saying what to install.
    """
    layer = ophyd.get_cl().name
    if layer != "pyepics":
        raise RuntimeError(
            f"ophyd speaks to PVs by {layer!r}, which is no EPICS: "
            "pip install 'hxn_ptycho[epics]' (pyepics), and unset OPHYD_CONTROL_LAYER"
        )


def connect(*devices: Device, timeout: float = 5.0) -> None:
    """Wait until all PVs that these devices use are connected.

    Parameters
    ----------
    *devices
        All are waited for at once.
    timeout : float, s

    Raises
    ------
    NotReachableError
        Naming the PVs, and where they were looked for.
    """
    signals = [signal for device in devices for signal in _used(device)]
    deadline = time.monotonic() + timeout
    while missing := [signal for signal in signals if not signal.connected]:
        if time.monotonic() > deadline:
            raise NotReachableError(_problem(missing, len(signals), timeout))
        time.sleep(0.02)


def _used(device: Device) -> Iterator[Any]:
    """Yield the signals that a device uses: of an area detector's thousands, a few."""
    for walked in device.walk_signals(include_lazy=False):
        if isinstance(walked.item, EpicsSignalBase):
            yield walked.item
    names = (*device.stage_sigs, *device.read_attrs, *device.configuration_attrs)
    for name in dict.fromkeys((*names, *getattr(device, "also_used", ()))):
        part = getattr(device, name) if isinstance(name, str) else name
        if isinstance(part, EpicsSignalBase):
            yield part
        elif isinstance(part, Device):
            yield from _used(part)


def _problem(missing: list[Any], number: int, timeout: float) -> str:
    names = list(dict.fromkeys(signal.pvname for signal in missing))
    shown = ", ".join(names[:_SHOWN]) + (
        f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    )
    places = " ".join(
        f"{name}={os.environ.get(name, '(not set)')}"
        for name in ("EPICS_CA_ADDR_LIST", "EPICS_CA_AUTO_ADDR_LIST", "EPICS_CA_SERVER_PORT")
    )
    return (
        f"{len(missing)} of {number} PVs do not answer within {timeout:.0f} s: {shown}. "
        f"Looked for with {places}. Does the IOC run (the simulated one: hxn-ptycho ioc), and do "
        "these say where (they are read once, when Python starts)? "
        "Without EPICS: unset HXN_PTYCHO_EPICS"
    )
