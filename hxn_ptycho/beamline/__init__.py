"""HXN's documents read into a `Scan`, one module a flavour of scan.

A flavour is told by ``start["scan"]["type"]``; the table `FLAVOURS` says who reads which. What the
documents do not say (encoders, directions, detectors) is in ``hxn.toml``, see `load_config`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..catalog import CatalogError, start_document, stop_document
from ..home import Home
from ..scan import Scan, ScanError
from . import imported, panda
from .checks import check_ended
from .config import BeamlineConfig, load_config

if TYPE_CHECKING:
    from databroker import Broker

__all__ = [
    "BeamlineConfig",
    "expected_frames",
    "is_ptychography",
    "load_config",
    "read_scan",
    "saturation",
]


@dataclass(frozen=True)
class Flavour:
    """Who reads a kind of scan.

    Attributes
    ----------
    takes : callable (start, config) -> bool
        Whether a run's start document is of this flavour.
    diffracts : callable (start, data_keys, config) -> bool
        Whether such a run, with these data keys, holds what ptychography needs.
    expected : callable (start) -> int or None
        How many frames it should have.
    read : callable (broker, uid, start, config) -> Scan
    """

    takes: Callable[[Mapping[str, Any], BeamlineConfig], bool]
    diffracts: Callable[[Mapping[str, Any], set[str], BeamlineConfig], bool]
    expected: Callable[[Mapping[str, Any]], int | None]
    read: Callable[[Broker, str, Mapping[str, Any], BeamlineConfig], Scan]


FLAVOURS = (
    Flavour(panda.takes, panda.diffracts, panda.expected, panda.read),
    Flavour(imported.takes, imported.diffracts, imported.expected, imported.read),
)

# Fly scans of HXN that this version does not read, by scan type and by plan name.
_OTHER_TYPES = {
    "FIP_2D_FLY": "a Zebra fly scan",
    "XRF_FLY": "a Zebra fly scan",
}
_OTHER_PLANS = {"FlyPlan2D": "a classic fly scan", "FlyPlan1D": "a classic fly scan of one line"}


def is_ptychography(start: Mapping[str, Any], descriptors: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a run can be reconstructed: a fly scan of a known flavour with diffraction.

    Parameters
    ----------
    start : dict
        Start document.
    descriptors : list of dict
        Event descriptors seen so far.

    Raises
    ------
    ConfigError
        If ``HOME/hxn.toml`` cannot be used.
    """
    if "analysis_stage" in start:  # what came out of a reconstruction is not to go into one
        return False
    config = load_config()
    flavour = _flavour(start, config)
    keys = {key for descriptor in descriptors for key in descriptor["data_keys"]}
    return flavour is not None and flavour.diffracts(start, keys, config)


def expected_frames(start: Mapping[str, Any]) -> int | None:
    """Return how many frames a scan should have by its start document; None if it does not say."""
    flavour = _flavour(start, load_config())
    return None if flavour is None else flavour.expected(start)


def read_scan(
    broker: Broker, uid: str, *, home: Home | None = None, allow_partial: bool = False
) -> Scan:
    """Read what a run measured. Frames stay where they are.

    Parameters
    ----------
    broker : databroker.Broker
    uid : str
        Full uid of the run.
    home : Home, optional
        Whose ``hxn.toml`` counts; default: the one in force.
    allow_partial : bool
        Take a scan that was stopped, aborted or failed with the frames that it has.

    Raises
    ------
    ScanError
        If the run is not a ptychography scan, is not complete, or its files and documents do not
        fit together; with the numbers.
    ConfigError
        If ``HOME/hxn.toml`` cannot be used.
    """
    try:
        start = start_document(broker, uid)
        config = load_config(home)
        flavour = _flavour(start, config)
        if flavour is None:
            raise ScanError(_why_not(start, config))
        stop = stop_document(broker, uid)
        if not allow_partial:
            check_ended(start, stop)
        scan = flavour.read(broker, uid, start, config)
    except CatalogError as error:
        raise ScanError(str(error)) from error
    expected = flavour.expected(start)
    found = scan.number_of_frames
    if expected is not None and found != expected and not (allow_partial and found < expected):
        raise ScanError(
            f"scan {scan.scan_id} has {found} of {expected} frames: "
            + (
                "it was stopped before its end; measure it again, or take the partial scan "
                "explicitly (allow_partial)"
                if found < expected
                else "its files hold more than its start document announces"
            )
        )
    return scan


def saturation(scan: Scan, home: Home | None = None) -> int | None:
    """Return the counts from which on a pixel of a scan's detector is not to be trusted.

    None if the detector is not in the tables (imported data).
    """
    names = (scan.start.get("scan") or {}).get("detectors") or ()
    detectors = load_config(home).detectors
    return next((detectors[name].saturation for name in names if name in detectors), None)


def _flavour(start: Mapping[str, Any], config: BeamlineConfig) -> Flavour | None:
    return next((flavour for flavour in FLAVOURS if flavour.takes(start, config)), None)


def _why_not(start: Mapping[str, Any], config: BeamlineConfig) -> str:
    """Say why no flavour takes a run."""
    name = f"scan {start.get('scan_id')} (plan {start.get('plan_name') or 'unknown'})"
    if "analysis_stage" in start:
        return f"{name} is the result of an analysis, not a scan; give the scan that it came from"
    kind = (start.get("scan") or {}).get("type") if isinstance(start.get("scan"), dict) else None
    other = _OTHER_TYPES.get(str(kind)) or _OTHER_PLANS.get(str(start.get("plan_name")))
    if other:
        return f"{name} is {other}, which this version cannot read yet"
    known = ", ".join((*config.panda.scan_types, imported.SCAN_TYPE))
    if kind is None:
        return (
            f"{name} is not a ptychography scan: its start document has no scan type "
            f'(start["scan"]["type"], one of {known})'
        )
    return f"{name} is not a ptychography scan that is known: its type is {kind!r}, not {known}"
