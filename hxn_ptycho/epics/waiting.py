"""Put to PVs and wait for what they then say, but not for ever, as ophyd by itself does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 20.0
POLL_S = 0.01


def put(signal: Any, value: Any) -> None:
    """Set a signal, and wait until it reads back so.

    Raises
    ------
    TimeoutError
        If it does not, or is not there: at once, as ophyd would wait a second for each.
    """
    check_answers(signal)
    signal.set(value, timeout=PATIENCE_S).wait(2 * PATIENCE_S)


def check_answers(device: Any) -> None:
    """Refuse to go on with a signal, or a device, whose PVs were there and are not any more.

    Raises
    ------
    TimeoutError
    """
    if not device.connected:
        raise TimeoutError(f"{device.name} does not answer any more: is its IOC away?")


def wait(
    done: Callable[[], bool], problem: Callable[[], str], failed: Callable[[], bool] | None = None
) -> None:
    """Wait until `done`.

    Parameters
    ----------
    done : callable
    problem : callable
        What to say if it does not come.
    failed : callable, optional
        Whether it will not come.

    Raises
    ------
    TimeoutError
    """
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        late = time.monotonic() > deadline or (failed is not None and failed())
        if late and not done():  # it may have been done before it failed
            raise TimeoutError(problem())
        time.sleep(POLL_S)
