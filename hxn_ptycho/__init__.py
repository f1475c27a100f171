"""Ptychography at the beamline: from the end of a fly scan to a picture in databroker.

The public names are imported on first use, so that ``import hxn_ptycho`` costs nothing and the
solver starts on a host where nothing of Bluesky is installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import results
    from .catalog import open_catalog
    from .orientation import orient
    from .recipe import Recipe
    from .trigger import AutoReconstruct, end_of_run
    from .worker import reconstruct, show_frames

__all__ = [
    "AutoReconstruct",
    "Recipe",
    "__version__",
    "end_of_run",
    "open_catalog",
    "orient",
    "reconstruct",
    "results",
    "show_frames",
]

_ROOM_OF = {
    "AutoReconstruct": "trigger",
    "Recipe": "recipe",
    "end_of_run": "trigger",
    "open_catalog": "catalog",
    "orient": "orientation",
    "reconstruct": "worker",
    "show_frames": "worker",
}


def __getattr__(name: str) -> Any:
    if name == "results":  # a module that can be called: results(scan_id=1), results.compare(a, b)
        return import_module(".results", __name__)
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_ROOM_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
