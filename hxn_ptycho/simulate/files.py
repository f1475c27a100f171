"""HDF5 files that grow while they can be read (SWMR), as area detectors and PandAs write them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray


class GrowingFile:
    """Datasets that grow along their first axis.

    Parameters
    ----------
    path : Path
        Its folder is made; the file must not exist.
    datasets : mapping of str to (shape, dtype)
        The shape of one item (without the growing axis) and its type, a dataset each.
    chunk : mapping of str to int
        Items a chunk; 1 where not given.
    links : mapping of str to str
        Soft links: where, and to what.
    compression : mapping, optional
        How items are compressed, as for ``h5py.Group.create_dataset``.
    """

    def __init__(
        self,
        path: Path,
        datasets: Mapping[str, tuple[tuple[int, ...], Any]],
        *,
        chunk: Mapping[str, int] | None = None,
        links: Mapping[str, str] | None = None,
        compression: Mapping[str, Any] | None = None,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        # Unlocked, as at the beamline: readers on other hosts open it while it grows.
        self._file = h5py.File(path, "x", libver="latest", locking=False)
        for name, (shape, dtype) in datasets.items():
            self._file.create_dataset(
                name,
                shape=(0, *shape),
                maxshape=(None, *shape),
                chunks=((chunk or {}).get(name, 1), *shape),
                dtype=dtype,
                **(compression or {}),
            )
        for place, target in (links or {}).items():
            self._file[place] = h5py.SoftLink(target)
        self._file.swmr_mode = True

    def append(self, **items: NDArray) -> None:
        """Append items to datasets of these names (keys in the root group), and flush."""
        for name, values in items.items():
            self.extend(name, values)

    def extend(self, name: str, values: NDArray) -> None:
        """Append `values` to the dataset `name` and flush it."""
        dataset = self._file[name]
        start = len(dataset)
        dataset.resize(start + len(values), axis=0)
        dataset[start:] = values
        dataset.flush()

    def close(self) -> None:
        """Close the file; again is allowed."""
        self._file.close()


def new_path(root: Path, ending: str = "") -> Path:
    """Return a path for a new file, in a folder for the day: root/2026/11/23/<uid><ending>.h5."""
    return root / datetime.now().strftime("%Y/%m/%d") / f"{uuid.uuid4()}{ending}.h5"
