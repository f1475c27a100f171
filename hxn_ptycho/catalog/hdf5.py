"""Datasets on file: where they are on this host, and what shape and type they have."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import h5py
import numpy as np

from ..solver.h5_files import Roots, find_file, open_h5
from ..solver.job import JobError
from .detector_files import expand
from .errors import CatalogError

__all__ = [
    "FRAMES_KEY",
    "Dataset",
    "Roots",
    "chunk_length",
    "file_uri",
    "look_up",
    "look_up_master",
    "uri_path",
]

# Of an external array's metadata: which frames of each of its files belong to it.
FRAMES_KEY = "frames"
CHUNK_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Dataset:
    """What a dataset on file is: its shape, first axis the frames or readings, and its type."""

    shape: tuple[int, ...]
    dtype: str


def look_up(path: Path, dataset: str, roots: Roots = ()) -> Dataset | None:
    """Return what `dataset` in `path` is, or None where it cannot be read from this host now."""
    try:
        with open_h5(find_file(str(path), path.parent, roots)) as file:
            found = file.get(dataset)
            if isinstance(found, h5py.Dataset) and found.shape:
                return Dataset(tuple(found.shape), found.dtype.str)
    except (OSError, KeyError, JobError):
        pass  # what is to be said of it depends on whose it is
    return None


def look_up_master(path: Path, dataset: str, roots: Roots = ()) -> Dataset | None:
    """As `look_up`, of a file whose frames lie in others, as an Eiger's master."""
    try:
        array = expand(path, dataset, roots)
    except CatalogError:
        return None
    return Dataset(array.shape, array.dtype.str)


def file_uri(path: Path) -> str:
    """Return the address of a file as Tiled takes it: it does not decode %20."""
    return f"file://localhost{path}"


def uri_path(uri: str) -> Path:
    """Return the path in a file's address, encoded or not."""
    path = urlparse(uri).path
    return Path(path) if os.path.exists(path) else Path(unquote(path))


def chunk_length(dataset: Dataset) -> int:
    """Return how many frames a reader of the catalog fetches at once: some MB."""
    size = np.dtype(dataset.dtype).itemsize * int(np.prod(dataset.shape[1:]))
    return max(1, min(dataset.shape[0] or 1, CHUNK_BYTES // max(size, 1)))
