"""A simulated PandA: it drives a fly scan, triggers detectors, and records encoders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fly.panda import CHANNELS, ION_CHAMBER, PandAForm
from ..fly.trajectory import Measured
from .endstation import Endstation
from .files import GrowingFile, new_path
from .flyer import Flyer
from .stages import Stage

Encoders = Mapping[Stage, tuple[str, float]]


class PandA(Flyer, PandAForm):
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

    @property
    def path(self) -> Path | None:
        """Of its last file."""
        return None if self._file is None else self._file.path

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
