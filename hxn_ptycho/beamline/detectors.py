"""Which detector of a run saw diffraction."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..scan import ScanError

if TYPE_CHECKING:
    from .config import BeamlineConfig
    from .run import Run
    from .tables import Detector

log = logging.getLogger(__name__)


def named_detectors(start: Mapping[str, Any]) -> list[str]:
    """Return the detectors that a plan named, in its order; empty if its metadata has none."""
    scan = start.get("scan")
    inner = scan.get("detectors") if isinstance(scan, Mapping) else None
    return [str(name) for name in inner or start.get("detectors") or ()]


def may_diffract(start: Mapping[str, Any], config: BeamlineConfig) -> bool:
    """Return whether a start document leaves it open, or says, that diffraction is measured."""
    named = named_detectors(start)
    return not named or any(_table_of(name, config) for name in named)


def has_diffraction(keys: Iterable[str], config: BeamlineConfig) -> bool:
    """Return whether a detector that sees diffraction is among these data keys."""
    return any(_table_of(key, config, by_name=False) for key in keys)


def find_detector(run: Run) -> tuple[str, Detector]:
    """Return the data key and the table of the detector that saw diffraction.

    Of several, the first that the plan named.

    Raises
    ------
    ScanError
        If the run has data of none.
    """
    config = run.config
    order = [_table_of(name, config) for name in named_detectors(run.start)]
    present = {
        name: key for name in config.detectors for key in config.data_keys(name) if key in run.keys
    }
    found = [name for name in dict.fromkeys([*order, *present]) if name in present]
    if not found:
        raise ScanError(
            f"{run.name} is not a ptychography scan: it has no diffraction detector "
            f"(it has {', '.join(sorted(run.keys))}; hxn.toml knows {', '.join(config.detectors)})"
        )
    name = str(found[0])
    if len(found) > 1:
        log.info("%s: frames are those of %s, one of %s", run.name, name, ", ".join(present))
    return present[name], config.detectors[name]


def _table_of(key: str, config: BeamlineConfig, *, by_name: bool = True) -> str | None:
    """Return the name of the table for a data key, or for a device's name."""
    if by_name and key in config.detectors:
        return key
    return next((name for name in config.detectors if key in config.data_keys(name)), None)
