"""A simulated Zebra: an event a row, each row with files of its own (as at SRX)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..fly.documents import datum, external, resource
from ..fly.trajectory import FlyCall, Measured, Trajectory
from .endstation import Endstation
from .files import GrowingFile, new_path
from .flyer import Flyer

ZEBRA_SPEC = "ZEBRA_HDF51_FLY_STREAM_V1"
SCALER_SPEC = "SIS_HDF51_FLY_STREAM_V1"
COLUMNS = ("time", "enc1", "enc2")
SCALERS = ("i0", "im", "it")

ScanType = Literal["XRF_FLY", "FIP_2D_FLY"]


class ZebraFlyer(Flyer):
    """A Zebra-like flyer: the fast stage flies, the slow one steps, and each row is collected.

    A row has a file of the Zebra (``enc1``: the fast stage, ``enc2``: the slow one, both in the
    stages' units, in the middle of a frame; ``time``, s), one of the scaler (``i0``, ``im``,
    ``it``: before the sample, between, after it) and one of each detector. A row that did not come
    to its end is lost, as it is there: its files are written, but no document tells of them.

    Parameters
    ----------
    prefix, name, endstation, folder
        As for `Flyer`.
    scan_type : {"XRF_FLY", "FIP_2D_FLY"}
        What the start document says, unless the plan decides: `scan_input` begins with the start
        and the stop of the fast axis, or with its centre and range.
    spec : {"MERLIN_FLY_STREAM_V2", "MERLIN_HDF5_BULK"}
        Of the detectors' Resource.
    **kwargs
        As for `Flyer`.
    """

    absolute = True
    fly_types = ("soft", "pyramid")

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        endstation: Endstation,
        folder: str | Path,
        scan_type: ScanType = "XRF_FLY",
        spec: Literal["MERLIN_FLY_STREAM_V2", "MERLIN_HDF5_BULK"] = "MERLIN_FLY_STREAM_V2",
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix, name=name, endstation=endstation, folder=folder, **kwargs)
        self.scan_type: str = scan_type
        self.spec = spec
        self._zebra: GrowingFile | None = None
        self._scaler: GrowingFile | None = None
        self._assets: deque[tuple[str, dict[str, Any]]] = deque()
        self._events: deque[dict[str, Any]] = deque()

    def start_document(self, call: FlyCall) -> dict[str, Any]:
        """Return a start document as SRX's ``scan_and_fly``, or HXN's, has it."""
        start = super().start_document(call)
        fast, slow = call.fast, call.slow
        along: list[float] = [fast.start, fast.end]
        if self.scan_type == "FIP_2D_FLY":
            along = [(fast.start + fast.end) / 2, fast.end - fast.start]
        period = call.exposure_s + call.dead_s
        start["scan"] |= {
            "scan_input": [*along, fast.number, slow.start, slow.end, slow.number, period],
            "detectors": [self.name, "sclr1", *(detector.name for detector in call.detectors)],
            "dwell": period,
            "delta": {"val": 0.0, "units": fast.motor.egu},
            "snake": call.fly_type == "pyramid",
            "sample_name": "",
        }
        return start

    @property
    def frames_written(self) -> int:
        """Frames of the last scan's complete rows."""
        if self._trajectory is None:
            return 0
        each = self._trajectory.shape[0]
        return self._frames // each * each

    def describe_collect(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the data keys of the only stream: those of a row."""
        assert self._trajectory is not None
        each = self._trajectory.shape[0]
        keys = {c: external(f"PV:{self.prefix}PC", (each,), np.float64) for c in COLUMNS}
        keys |= {s: external("PV:SCLR1:", (each,), np.float64) for s in SCALERS}
        for detector in self.detectors:
            keys[detector.name] = detector.data_key(each)
        return {"primary": keys}

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield Resource and Datum documents of the row, if it is complete."""
        self._tell()
        while self._assets:
            yield self._assets.popleft()

    def collect(self) -> Iterator[dict[str, Any]]:
        """Yield the event of the row."""
        while self._events:
            yield self._events.popleft()

    def _tell(self) -> None:
        """Make the documents of a row."""
        each = self._trajectory.shape[0] if self._trajectory is not None else 0
        if not self._take() or self._part_frames < each:
            return
        ids: dict[str, str] = {}
        zebra, scaler = self._zebra, self._scaler
        assert zebra is not None
        assert scaler is not None
        of = [(ZEBRA_SPEC, self.folder, zebra.path, COLUMNS)]
        of += [(SCALER_SPEC, self.folder, scaler.path, SCALERS)]
        for spec, root, path, columns in of:
            document, uid = resource(spec, root, path, frame_per_point=each)
            self._assets.append(("resource", document))
            for i, column in enumerate(columns):
                made = datum(uid, i, column=column, point_number=0)
                self._assets.append(("datum", made))
                ids[column] = made["datum_id"]
        for detector in self.detectors:
            document, uid = resource(
                self.spec, detector.folder, detector.path, frame_per_point=each
            )
            made = datum(uid, 0, point_number=0)
            self._assets += [("resource", document), ("datum", made)]
            ids[detector.name] = made["datum_id"]
        now = time.time()
        # The Zebra's and the scaler's timestamps are datum ids, too.
        timestamps: dict[str, Any] = dict.fromkeys(COLUMNS, ids["time"])
        timestamps |= {s: ids[s] for s in SCALERS}
        timestamps |= {detector.name: now for detector in self.detectors}
        self._events.append(
            {
                "time": now,
                "data": ids,
                "timestamps": timestamps,
                "filled": dict.fromkeys(ids, False),
            }
        )

    def _split(self, trajectory: Trajectory, max_points: int | None) -> tuple[range, ...]:
        return tuple(range(row, row + 1) for row in range(trajectory.shape[1]))

    def _open(self, rows: range) -> None:
        self._zebra = GrowingFile(
            new_path(self.folder), dict.fromkeys(COLUMNS, ((), np.float64)), chunk=_chunk(COLUMNS)
        )
        self._scaler = GrowingFile(
            new_path(self.folder), dict.fromkeys(SCALERS, ((), np.float64)), chunk=_chunk(SCALERS)
        )

    def _record(self, measured: Measured) -> None:
        assert self._trajectory is not None
        assert self._zebra is not None
        assert self._scaler is not None
        y, x = self._read_um(measured).T
        fast_is_x = self._trajectory.fast is self.endstation.x
        middle = np.arange(measured.count) + self._part_frames + 0.5
        self._zebra.append(
            time=middle * measured.period_s, enc1=x if fast_is_x else y, enc2=y if fast_is_x else x
        )
        # One chamber before the sample, and two readings that follow it.
        i0 = measured.ion_chamber
        self._scaler.append(i0=i0, im=np.rint(0.8 * i0), it=np.rint(0.5 * i0))

    def _close(self) -> None:
        for file in (self._zebra, self._scaler):
            if file is not None:
                file.close()


def _chunk(names: tuple[str, ...]) -> dict[str, int]:
    return dict.fromkeys(names, 1024)
