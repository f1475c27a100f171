"""HXN's present form of a fly scan with a PandA: one event, everything in files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .documents import datum, external, resource
from .flyer import Flyer

SPEC = "PANDA"
CHANNELS = ("inenc1_val", "inenc2_val", "inenc3_val", "inenc4_val")
ION_CHAMBER = "sclr1_ch4"
SAMPLES = 10  # readings of the encoders within a frame


class PandAForm(Flyer):
    """The documents of a PandA's fly scan, whatever flies it."""

    scan_type = "2D_FLY_PANDA"

    def __init__(self, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(prefix, **kwargs)
        self._datum_ids: dict[str, str] = {}

    @property
    def path(self) -> Path | None:
        """Of the PandA's last file; None: it has written none."""
        raise NotImplementedError

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
        path = self.path
        if not self._frames or path is None or self._datum_ids:
            return
        document, uid = resource(SPEC, self.folder, path)
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
