"""The sample's rotation during a run, for those who put many together: tomography."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..catalog import baseline, start_document
from ..home import Home
from . import imported
from .config import load_config
from .motion import motor_names

if TYPE_CHECKING:
    from databroker import Broker


def rotation_deg(broker: Broker, uid: str, *, home: Home | None = None) -> float | None:
    """Return the angle below the stages that moved, degrees: of the baseline, or as imported.

    None if no motor of the scan has an ``angle_key`` in ``hxn.toml``, or the baseline does not have
    it.

    Raises
    ------
    CatalogError
        If there is no such run.
    ConfigError
        If ``HOME/hxn.toml`` cannot be used.
    """
    start = start_document(broker, uid)
    config = load_config(home)
    if imported.takes(start, config):
        angle = start["scan"].get("angle_deg")
        return None if angle is None else float(angle)
    motors = [config.motors[name] for name in motor_names(start) if name in config.motors]
    keys = [motor.angle_key for motor in motors if motor.angle_key is not None]
    read = baseline(broker, uid) if keys else {}
    return next((read[key] for key in keys if key in read), None)
