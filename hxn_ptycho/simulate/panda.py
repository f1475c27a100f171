"""A simulated PandA: it drives a fly scan, triggers detectors, and records encoders."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .endstation import Endstation
from .files import GrowingFile, datum, external, new_path, resource
from .flyer import ION_CHAMBER, SAMPLES, Flyer
from .stages import Stage
from .trajectory import Measured

SPEC = "PANDA"
CHANNELS = ("inenc1_val", "inenc2_val", "inenc3_val", "inenc4_val")

Encoders = Mapping[Stage, tuple[str, float]]


class PandA(Flyer):
    """A PandA-like flyer in HXN's present form: one event, everything in files.

    Parameters
    ----------
    prefix, name, endstation, folder
        As for `Flyer`.
    encoders : mapping of Stage to (str, float)
        The channel that follows each stage, and its scale, units a count.
    **kwargs
        As for `Flyer`.
    """

    scan_type = "2D_FLY_PANDA"

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        endstation: Endstation,
        encoders: Encoders,
        folder: str | Path,
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix, name=name, endstation=endstation, folder=folder, **kwargs)
        self.encoders = dict(encoders)
        self._file: GrowingFile | None = None
        self._datum_ids: dict[str, str] = {}

    def describe_collect(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the data keys of the only stream, as long as the files now are."""
        source = f"PV:{self.prefix}DATA:"
        keys = {c: external(source, (self._frames * SAMPLES,), np.int32) for c in CHANNELS}
        keys[ION_CHAMBER] = external(source, (self._frames,), np.float64)
        for detector in self.detectors:
            keys[detector.name] = detector.data_key(detector.frames_written)
        return {"primary": keys}

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield Resource and Datum documents: the PandA's file, then each detector's."""
        if not self._frames or self._file is None or self._datum_ids:
            return
        document, uid = resource(SPEC, self.folder, self._file.path)
        assets: list[tuple[str, dict[str, Any]]] = [("resource", document)]
        for i, field in enumerate((*CHANNELS, ION_CHAMBER)):
            assets.append(("datum", datum(uid, i, field=field)))
            self._datum_ids[field] = f"{uid}/{i}"
        for detector in self.detectors:
            for name, document in detector.asset_docs():
                assets.append((name, document))
                if name == "datum":
                    self._datum_ids[detector.name] = document["datum_id"]
        yield from assets

    def collect(self) -> Iterator[dict[str, Any]]:
        """Yield the only event; none if there is no frame."""
        if not self._datum_ids or not self._take():
            return
        now = time.time()
        timestamps: dict[str, Any] = dict.fromkeys(self._datum_ids, now)
        # HXN's scaler puts its datum id here too; who reads documents strictly falls over it.
        timestamps[ION_CHAMBER] = self._datum_ids[ION_CHAMBER]
        yield {
            "time": now,
            "data": dict(self._datum_ids),
            "timestamps": timestamps,
            "filled": dict.fromkeys(self._datum_ids, False),
        }

    def _open(self, rows: range) -> None:
        self._datum_ids = {}
        self._file = GrowingFile(
            new_path(self.folder),
            {**dict.fromkeys(CHANNELS, ((), np.int32)), ION_CHAMBER: ((), np.float64)},
            chunk={**dict.fromkeys(CHANNELS, 4096), ION_CHAMBER: 1024},
        )

    def _record(self, measured: Measured) -> None:
        assert self._file is not None
        for channel in CHANNELS:
            counts = self._counts(channel, measured)
            self._file.extend(channel, np.rint(counts).ravel().astype(np.int32))
        self._file.extend(ION_CHAMBER, measured.ion_chamber)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _counts(self, channel: str, measured: Measured) -> NDArray[np.float64]:
        """Return what an encoder reads, (N, S) counts; 0 where it follows no stage."""
        y, x = measured.path_um[..., 0], measured.path_um[..., 1]
        places = {self.endstation.y: y, self.endstation.x: x}
        for stage, (follows, scale) in self.encoders.items():
            if follows == channel:
                where = places.get(stage, np.full(y.shape, float(stage.position)))
                noise = self.endstation.generator.normal(0, self.encoder_noise_um, y.shape)
                return (where + noise) / scale
        return np.zeros(y.shape)
