"""Scans in the catalog read into a `Scan`, one module a flavour of scan.

A flavour is told by ``start["scan"]["type"]`` and data keys; the table `flavours.FLAVOURS` says who
reads which. What the documents do not say (encoders, directions, detectors) is in ``hxn.toml``, see
`load_config`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..catalog import CatalogAway, CatalogError, start_document, stop_document
from ..home import Home
from ..recipe import Recipe
from ..scan import Scan, ScanError
from . import imported
from .checks import check_ended
from .config import PACKAGED, BeamlineConfig, InForce, load_config, load_in_force
from .detectors import may_diffract
from .flavours import FLAVOURS, flavour_of
from .rotation import rotation_deg
from .run import Run
from .starts import scan_type

if TYPE_CHECKING:
    from databroker import Broker

log = logging.getLogger(__name__)

__all__ = [
    "PACKAGED",
    "BeamlineConfig",
    "InForce",
    "expected_frames",
    "is_ptychography",
    "load_config",
    "load_in_force",
    "read_scan",
    "rotation_deg",
]


def is_ptychography(start: Mapping[str, Any], descriptors: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a run can be reconstructed: a scan of a known flavour with diffraction.

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
    keys = {
        key: data_key
        for descriptor in descriptors
        if descriptor.get("name") != "baseline"  # it has motors that are not recorded with frames
        for key, data_key in descriptor["data_keys"].items()
    }
    flavour, start = flavour_of(start, config, keys)
    return flavour is not None and flavour.diffracts(start, keys, config)


def expected_frames(start: Mapping[str, Any]) -> int | None:
    """Return how many frames a scan should have by its start document.

    None if it does not say, or if it names its detectors and none of them sees diffraction.
    """
    config = load_config()
    flavour, _ = flavour_of(start, config)
    if flavour is None or (flavour is not imported and not may_diffract(start, config)):
        return None
    return flavour.expected(start)


def read_scan(
    broker: Broker,
    uid: str,
    *,
    home: Home | None = None,
    allow_partial: bool = False,
    recipe: Recipe | None = None,
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
    recipe : Recipe, optional
        What the scan is read for. What it does not use (``normalise``, ``angle_correction``) or
        gives itself (``energy_kev``), the documents need not have.

    Raises
    ------
    ScanError
        If the run is not a ptychography scan, is not complete, or its files and documents do not
        fit together; with the numbers.
    CatalogAway
        If the catalog does not answer.
    ConfigError
        If ``HOME/hxn.toml`` cannot be used.
    """
    try:
        start = start_document(broker, uid)
        config = load_config(home)
        run = Run(broker, uid, start, config, recipe or Recipe())
        flavour, as_read = flavour_of(start, config, run.keys)
        # After the keys: databroker.v0 keeps no notes, they are made when the run is read.
        stop = stop_document(broker, uid)
        if flavour is None or "analysis_stage" in start:
            raise ScanError(_why_not(start, config))
        if not allow_partial:
            check_ended(start, stop)
        if not run.keys:
            raise ScanError(f"{run.name} has no data: it ended before its first frame was stored")
        for note in (stop or {}).get("storage_notes", ()):  # what the catalog found odd
            log.warning("%s: %s", run.name, note)
        scan = replace(flavour.read(replace(run, start=as_read)), start=dict(start))
    except CatalogAway:  # nothing is known of the scan
        raise
    except CatalogError as error:
        raise ScanError(str(error)) from error
    expected = flavour.expected(as_read)
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


def _why_not(start: Mapping[str, Any], config: BeamlineConfig) -> str:
    """Say why no flavour takes a run."""
    name = f"scan {start.get('scan_id')} (plan {start.get('plan_name') or 'unknown'})"
    if "analysis_stage" in start:
        return f"{name} is the result of an analysis, not a scan; give the scan that it came from"
    read = [
        flavour for flavour in FLAVOURS if not flavour.Settings or flavour.NAME in config.flavours
    ]
    kind = scan_type(start)
    if kind is None:
        return (
            f"{name} is not a ptychography scan: it has no scan type "
            '(start["scan"]["type"]), and did not move two motors'
        )
    known = sorted(
        {
            str(each)
            for table in config.flavours.values()
            for each in getattr(table, "scan_types", ())
        }
    )
    return (
        f"{name} is not a ptychography scan that is known: its type is {kind!r}, not one of "
        f"{', '.join(known)}; hxn.toml says which types are {', '.join(each.WHAT for each in read)}"
    )
