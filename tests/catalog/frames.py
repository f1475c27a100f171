"""Frames as a reader of `ExternalArray` finds them."""

from __future__ import annotations

import h5py
import numpy as np

from hxn_ptycho.catalog import ExternalArray


def frames_in(array: ExternalArray) -> np.ndarray:
    """Return all frames of an array, from its files."""
    parts = []
    for block in array.blocks:
        with h5py.File(block.file) as file:
            parts.append(file[block.dataset][block.start :][: block.count])
    return np.concatenate(parts)
