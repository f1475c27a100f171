"""What a derived run's documents say."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from .._version import __version__
from ..catalog import CatalogError
from ..recipe import Recipe

PLAN_NAME = "ptycho_recon"
ANALYSIS_STAGE = "reconstruction"

# What a raw start document says of the measuring, not of sample, user or beamline.
_OF_THE_SCAN = frozenset(
    ("uid", "time", "scan_id", "plan_name", "plan_type", "plan_args", "plan_pattern",
     "plan_pattern_args", "plan_pattern_module", "scan", "scan_input", "scan_range", "shape",
     "extents", "snaking", "snake", "delta", "dwell", "exposure_time", "dead_time", "fly_type",
     "motors", "motor", "motor1", "motor2", "detectors", "num_points", "num_intervals",
     "num_frames", "hints", "ptycho", "versions", "tiled_specs", "tiled_access_tags")
)  # fmt: skip


def start_document(
    derived_uid: str,
    job_uid: str,
    raw_start: Mapping[str, Any],
    recipe: Recipe,
    ranks: int,
    device: str,
) -> dict[str, Any]:
    """Return the derived run's start document, with the raw run's sample and user metadata."""
    return {
        **{key: value for key, value in raw_start.items() if key not in _OF_THE_SCAN},
        "uid": derived_uid,
        "time": time.time(),
        "scan_id": raw_start.get("scan_id", 0),
        "plan_name": PLAN_NAME,
        "analysis_stage": ANALYSIS_STAGE,
        "raw_uid": raw_start["uid"],
        "parent_uids": [raw_start["uid"]],
        "raw_scan_id": raw_start.get("scan_id", 0),
        "job_uid": job_uid,
        "analysis": {
            "package": "hxn_ptycho",
            "version": __version__,
            "algorithm": recipe.algorithm,
            "probe_modes": recipe.probe_modes,
            "object_modes": recipe.object_modes,
            "iterations": recipe.iterations,
            "device": device,
            "ranks": ranks,
            "recipe": recipe.model_dump(mode="json"),
        },
    }


def iterations_descriptor(probe_modes: int, object_modes: int) -> dict[str, Any]:
    """Return the descriptor of stream ``iterations``.

    Its table has numbers only, because SQLite holds no lists: ``error_probe`` and ``error_object``
    are the largest of the modes, and each mode has a column of its own if there are several.
    """
    source = "hxn_ptycho.solver"
    number = {"dtype": "number", "shape": [], "source": source}
    modes = {
        key: dict(number)
        for name, count in (("error_probe", probe_modes), ("error_object", object_modes))
        for key in (name, *_mode_keys(name, count))
    }
    return {
        "data_keys": {
            "iteration": {"dtype": "integer", "shape": [], "source": source},
            **modes,
            "error_fourier": dict(number),
            "seconds": {**number, "units": "s"},
        },
        "hints": {"reconstruction": {"fields": ["error_object", "error_fourier"]}},
    }


def iteration_row(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of ``progress.jsonl`` as a row of stream ``iterations``."""
    data: dict[str, Any] = {key: line.get(key) for key in ("iteration", "error_fourier", "seconds")}
    for name in ("error_probe", "error_object"):
        values = line.get(name) or []
        data[name] = max((value for value in values if value is not None), default=None)
        data.update(zip(_mode_keys(name, len(values)), values, strict=False))
    return {"time": line.get("time", time.time()), "data": data}


def _mode_keys(name: str, count: int) -> list[str]:
    return [f"{name}_{mode}" for mode in range(count)] if count > 1 else []


def read_result(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what the stop document says of a result file, and its errors as progress lines.

    Raises
    ------
    CatalogError
        If it is missing, damaged or no result of ours.
    """
    try:
        with h5py.File(path, "r") as file:
            attributes = file.attrs
            errors = {name: file[f"errors/{name}"][()] for name in ("iteration", "probe", "object")}
            fourier = file["errors/fourier"][()]
            facts = {
                "object_shape": file["object"].shape,
                "probe_shape": file["probe"].shape,
                "iterations": int(errors["iteration"][-1]) if len(errors["iteration"]) else 0,
                "seconds": _number(attributes["seconds"]),
                "seconds_total": _number(attributes["seconds_total"]),
                "error_fourier": _number(attributes["error_fourier"]),
                "pixel_size_m": [float(side) for side in attributes["pixel_size"]],
                "probe_power": [float(share) for share in file["probe_power"][()]],
                "device": str(attributes["device"]),
                "communicator": str(attributes["communicator"]),
                "ranks": int(attributes["ranks"]),
                "frames_dropped": int(attributes.get("frames_dropped", 0)),
                "saturated_pixels": int(attributes.get("saturated_pixels", 0)),
                "recipe": json.loads(attributes["recipe"]),
            }
    except FileNotFoundError as error:
        raise CatalogError(
            f"there is no result to publish: {path} does not exist; run the job again"
        ) from error
    except (OSError, KeyError, ValueError) as error:
        raise CatalogError(f"{path} is not a whole result file: {error}") from error
    now = time.time()
    rows = [
        {
            "event": "iteration",
            "iteration": int(number),
            "error_probe": [_number(value) for value in probe],
            "error_object": [_number(value) for value in object_],
            "error_fourier": _number(misfit),
            "seconds": None,
            "time": now,
        }
        for number, probe, object_, misfit in zip(
            errors["iteration"], errors["probe"], errors["object"], fourier, strict=True
        )
    ]
    return facts, rows


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
