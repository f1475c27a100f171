"""Datasets on file: where they are on this host, and what shape and type they have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import h5py
import numpy as np

from ..solver.job import relocate

CHUNK_BYTES = 8 * 2**20

# Prefixes of paths, (old, new): where files that were moved are now.
Roots = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Dataset:
    """What a dataset on file is: its shape, first axis the frames or readings, and its type."""

    shape: tuple[int, ...]
    dtype: str


def look_up(path: Path, dataset: str, roots: Roots = ()) -> Dataset | None:
    """Return what `dataset` in `path` is, or None where it cannot be read from this host now."""
    try:
        with open_h5(on_this_host(path, roots)) as file:
            found = file[dataset]
            return Dataset(tuple(found.shape), found.dtype.str)
    except (OSError, KeyError, AttributeError):  # AttributeError: a group of that name
        return None


def on_this_host(path: Path, roots: Roots = ()) -> Path:
    """Return where `path` is on this host: itself if it exists, else below a new root."""
    place = relocate(str(path), path.parent)
    if not place.exists():
        for old, new in roots:
            if path.is_relative_to(old):
                moved = Path(new) / path.relative_to(old)
                if moved.exists():
                    return moved
    return place


def open_h5(path: str | os.PathLike[str]) -> h5py.File:
    """Open a file that a detector may still hold open: SWMR if it can be, and without locking."""
    try:
        return h5py.File(path, "r", libver="latest", swmr=True, locking=False)
    except (OSError, ValueError):
        return h5py.File(path, "r", locking=False)


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
