"""HXN's classic fly scan: an event a frame, after each sub-scan; files known to a registry only."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from ..fly.panda import ION_CHAMBER
from ..fly.trajectory import FlyCall, Measured, Trajectory
from .detector import PixelDetector
from .endstation import Endstation
from .flyer import Flyer

_INSERTED_AT_ONCE = 1000  # databroker's SQLite registry waits 0.1 s for an insertion, no longer

Spec = Literal["TPX_HDF5", "MERLIN_FLY_STREAM_V2"]


class AssetRegistry(Protocol):
    """What is asked of an asset registry; databroker's are of this kind."""

    def insert_resource(
        self,
        spec: str,
        resource_path: str,
        resource_kwargs: dict[str, Any],
        root: str | None = None,
        path_semantics: str = "posix",
        uid: str | None = None,
    ) -> Any:
        """Keep a resource."""

    def bulk_insert_datum(
        self, resource: Any, datum_ids: Sequence[str], datum_kwarg_list: Sequence[dict[str, Any]]
    ) -> Any:
        """Keep many datums of a resource."""


class ClassicFlyer(Flyer):
    """HXN's classic flyer (``FlyPlan2D``).

    A scan is measured in sub-scans of whole lines, each with a file in each detector. After a
    sub-scan there is an event for each of its frames: positions in um, under the names of the
    stages; the ion chamber; and a datum id for each detector. Resource and Datum go straight into
    the registry: no document has them.

    Parameters
    ----------
    prefix, name, endstation, folder
        As for `Flyer`.
    registry : AssetRegistry
        ``databroker.assets.sqlite.Registry``, or another of its kind.
    position_scale : mapping of str to float
        By a stage's name: um of motion for a um recorded; 1 where not given.
    max_sub_scan_points : int
        Most frames in a sub-scan.
    spec : {"TPX_HDF5", "MERLIN_FLY_STREAM_V2"}
        Of the Resource.
    **kwargs
        As for `Flyer`.
    """

    scan_type = "FlyPlan2D"
    fly_types = ("soft", "pyramid")

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        endstation: Endstation,
        folder: str | Path,
        registry: AssetRegistry,
        position_scale: Mapping[str, float] | None = None,
        max_sub_scan_points: int = 65_536,
        spec: Spec = "TPX_HDF5",
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix, name=name, endstation=endstation, folder=folder, **kwargs)
        self.registry = registry
        self.position_scale = dict(position_scale or {})
        self.max_sub_scan_points = max_sub_scan_points
        self.spec = spec
        self._rows: list[tuple[float, float, float]] = []  # y, x, ion chamber

    def start_document(self, call: FlyCall) -> dict[str, Any]:
        """Return a start document as ``FlyPlan2D`` made it: no `scan`, but `plan_args`."""
        fast, slow = call.fast, call.slow
        asked = {
            "scan_start1": fast.start,
            "scan_end1": fast.end,
            "num1": fast.number,
            "scan_start2": slow.start,
            "scan_end2": slow.end,
            "num2": slow.number,
            "exposure_time": call.exposure_s,
            "dead_time": call.dead_s,
            "fly_type": call.fly_type or "soft",
            "return_speed": call.return_speed,
            "max_points": call.max_points or self.max_sub_scan_points,
        }
        return {
            "plan_name": "FlyPlan2D",
            "plan_type": "FlyPlan2D",
            "plan_args": {"motor1": repr(fast.motor), "motor2": repr(slow.motor), **asked},
            **asked,
            "motor1": fast.motor.name,
            "motor2": slow.motor.name,
            "motors": [fast.motor.name, slow.motor.name],
            "fast_axis": fast.motor.name,
            "shape": list(call.shape),
            "scan_range": [[fast.start, fast.end], [slow.start, slow.end]],
            "detectors": [detector.name for detector in call.detectors],
        }

    def describe_collect(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the data keys of the only stream: those of one frame."""
        number = {"dtype": "number", "dtype_numpy": "<f8", "shape": []}
        keys: dict[str, dict[str, Any]] = {}
        for stage in (self.endstation.x, self.endstation.y):
            keys[stage.name] = {**number, "source": f"PV:{self.prefix}PMAC", "units": stage.egu}
        keys[ION_CHAMBER] = {**number, "source": f"PV:{self.prefix}SCLR"}
        for detector in self.detectors:
            keys[detector.name] = detector.data_key()
        return {"primary": keys}

    def collect(self) -> Iterator[dict[str, Any]]:
        """Yield an event for each frame of the last sub-scan; none where there is none."""
        if not self._take():
            return
        ids = {detector.name: self._register(detector) for detector in self.detectors}
        scale_y, scale_x = (
            self.position_scale.get(stage.name, 1.0)
            for stage in (self.endstation.y, self.endstation.x)
        )
        now = time.time()
        filled = dict.fromkeys(ids, False)
        for number, (y, x, counts) in enumerate(self._rows):
            data: dict[str, Any] = {
                self.endstation.x.name: x / scale_x,
                self.endstation.y.name: y / scale_y,
                ION_CHAMBER: counts,
                **{name: those[number] for name, those in ids.items()},
            }
            yield {
                "time": now,
                "data": data,
                "timestamps": dict.fromkeys(data, now),
                "filled": dict(filled),
            }

    def _check_points(self, call: FlyCall) -> None:
        most = call.max_points or self.max_sub_scan_points
        if call.fast.number > most:  # a scan is split, a line is not
            raise ValueError(
                f"a line has {call.fast.number:,} frames, more than the {most:,} of a sub-scan"
            )

    def _split(self, trajectory: Trajectory, max_points: int | None) -> tuple[range, ...]:
        frames, lines = trajectory.shape
        each = (max_points or self.max_sub_scan_points) // frames
        return tuple(range(row, min(row + each, lines)) for row in range(0, lines, each))

    def _open(self, rows: range) -> None:
        self._rows = []

    def _record(self, measured: Measured) -> None:
        places = self._read_um(measured)
        counts = measured.ion_chamber
        self._rows += [
            (float(y), float(x), float(c)) for (y, x), c in zip(places, counts, strict=True)
        ]

    def _register(self, detector: PixelDetector) -> list[str]:
        """Tell the registry of a detector's file, and return the datum id of each frame."""
        uid = str(uuid.uuid4())
        resource = self.registry.insert_resource(
            self.spec,
            str(detector.path.relative_to(detector.folder)),
            {"frame_per_point": 1},
            root=str(detector.folder),
            uid=uid,
        )
        ids = [f"{uid}/{number}" for number in range(len(self._rows))]
        for first in range(0, len(ids), _INSERTED_AT_ONCE):
            some = ids[first : first + _INSERTED_AT_ONCE]
            numbers = [{"point_number": first + i} for i in range(len(some))]
            self.registry.bulk_insert_datum(resource, some, numbers)
        return ids
