"""A flyer whose scan is told in stream documents, as ophyd-async's detectors and PandA do."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from event_model import ComposeStreamResource
from event_model.documents import StreamRange

from ..fly.documents import external
from ..fly.panda import CHANNELS, ION_CHAMBER, SAMPLES
from ..fly.trajectory import Measured
from .endstation import Endstation
from .files import GrowingFile, new_path
from .flyer import Flyer
from .panda import Encoders

HDF5 = "application/x-hdf5"


class StreamFlyer(Flyer):
    """A PandA-like flyer in ophyd-async's form: no events, frames told while they come.

    A stream_resource a data key when the first frame is there, then a stream_datum for the frames
    that have come since, each time the plan collects. Encoders are those of `PandA`, the mean of
    each frame (one value a frame, float).

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
    streams = True

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
        self._composers: list[Any] = []
        self._told_frames = 0

    def describe_collect(self) -> dict[str, dict[str, Any]]:
        """Return the data keys: those of one frame."""
        source = f"ca://{self.prefix}DATA"
        keys = {c: external(source, (1,), np.float64, "STREAM:") for c in CHANNELS}
        keys[ION_CHAMBER] = external(source, (1,), np.float64, "STREAM:")
        for detector in self.detectors:
            keys[detector.name] = detector.data_key(1, kind="STREAM:")
        return keys

    def get_index(self) -> int:
        """Return how many frames there are."""
        return self._frames

    def collect_asset_docs(self, index: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield stream documents of the frames that are new, up to number `index`."""
        last = self._frames if index is None else min(index, self._frames)
        if last <= self._told_frames:
            return
        assets: deque[tuple[str, dict[str, Any]]] = deque()
        if not self._composers:
            for key, path, dataset, shape in self._arrays():
                made = ComposeStreamResource()(
                    mimetype=HDF5,
                    uri=f"file://localhost{path.absolute()}",
                    data_key=key,
                    parameters={"dataset": dataset, "chunk_shape": [1, *shape], "swmr": True},
                )
                self._composers.append(made.compose_stream_datum)
                assets.append(("stream_resource", dict(made.stream_resource_doc)))
        frames = StreamRange(start=self._told_frames, stop=last)
        assets.extend(
            ("stream_datum", dict(compose(indices=frames))) for compose in self._composers
        )
        self._told_frames = last
        yield from assets

    def _arrays(self) -> Iterator[tuple[str, Path, str, tuple[int, ...]]]:
        """Yield data key, file, dataset and the shape of an item of each array."""
        assert self._file is not None
        for key in (*CHANNELS, ION_CHAMBER):
            yield key, self._file.path, key, ()
        for detector in self.detectors:
            yield detector.name, detector.path, detector.DATASET, detector.frame_shape

    def _open(self, rows: range) -> None:
        self._composers, self._told_frames = [], 0
        self._file = GrowingFile(
            new_path(self.folder),
            dict.fromkeys((*CHANNELS, ION_CHAMBER), ((), np.float64)),
        )

    def _record(self, measured: Measured) -> None:
        assert self._file is not None
        noise = self.encoder_noise_um / np.sqrt(SAMPLES)
        y, x = measured.places_um.T
        places = {self.endstation.y: y, self.endstation.x: x}
        for channel in CHANNELS:
            values = np.zeros(measured.count)
            for stage, (follows, scale) in self.encoders.items():
                if follows == channel:
                    where = places.get(stage, np.full(measured.count, float(stage.position)))
                    values = where + self.endstation.generator.normal(0, noise, where.shape)
                    values /= scale
            self._file.extend(channel, values)
        self._file.extend(ION_CHAMBER, measured.ion_chamber)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
