"""One run in the catalog: which stream has which data, and what else its documents say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..catalog import ExternalArray, baseline, descriptors, resolve
from ..catalog import read as read_array
from ..recipe import Recipe
from ..scan import ScanError
from .checks import check_frame_shape

if TYPE_CHECKING:
    from databroker import Broker

    from .config import BeamlineConfig

_BASELINE = "baseline"
_FIRST = "primary"


@dataclass(frozen=True)
class Run:
    """A run that is to become a `Scan`.

    Attributes
    ----------
    broker : databroker.Broker
    uid : str
    start : dict
        Start document.
    config : BeamlineConfig
    recipe : Recipe
        What it sets itself (the energy), or does not use (the ion chamber, the angle), the
        documents need not have.
    """

    broker: Broker
    uid: str
    start: Mapping[str, Any]
    config: BeamlineConfig
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"scan {self.start.get('scan_id')}"

    @cached_property
    def streams(self) -> dict[str, Mapping[str, Any]]:
        """Data keys of each stream but the baseline, the primary one first."""
        found = {
            descriptor["name"]: descriptor["data_keys"]
            for descriptor in descriptors(self.broker, self.uid)
            if descriptor["name"] != _BASELINE
        }
        return dict(sorted(found.items(), key=lambda stream: stream[0] != _FIRST))

    @cached_property
    def keys(self) -> dict[str, Mapping[str, Any]]:
        """All data keys but the baseline's; of one that is in several streams, the first's."""
        return {
            key: data_key
            for data_keys in reversed(self.streams.values())
            for key, data_key in data_keys.items()
        }

    @cached_property
    def baseline(self) -> dict[str, float]:
        """The first reading of each number in the baseline."""
        return baseline(self.broker, self.uid)

    def stream_of(self, key: str) -> str:
        """Return the stream that has a data key; fly scanners do not all use ``primary``."""
        return next(stream for stream, data_keys in self.streams.items() if key in data_keys)

    def frames(self, key: str) -> ExternalArray:
        """Return where a detector's frames are.

        Raises
        ------
        ScanError
            If they are no stack of frames, or there is none.
        CatalogError
            If the files cannot be found or opened.
        """
        found = resolve(self.broker, self.uid, key, self.stream_of(key), self.config.roots)
        check_frame_shape(self.start.get("scan_id"), key, found.shape)
        return found

    def read(self, key: str) -> NDArray[np.float64]:
        """Return all values of a data key, in order, whether in files or in the table.

        A value that is missing in the table is NaN.

        Raises
        ------
        ScanError
            If they are no numbers.
        CatalogError
            If the files cannot be found or opened.
        """
        values = read_array(self.broker, self.uid, key, self.stream_of(key), self.config.roots)
        try:
            return np.asarray(values, float).ravel()
        except (TypeError, ValueError):
            raise ScanError(
                f"{self.name}: {key} is no array of numbers but of {values.dtype}"
            ) from None
