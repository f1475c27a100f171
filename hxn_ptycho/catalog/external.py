"""Where an array lies that is kept in files: by reference, frame after frame."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..solver.job import FrameBlock
from .errors import CatalogError


@dataclass(frozen=True)
class ExternalArray:
    """Where an external array lies.

    Attributes
    ----------
    blocks : tuple of FrameBlock
        Files that exist on this host and datasets, in order; joined along the first axis they are
        the array. Counted in frames: see `shape`.
    shape : tuple of int
        Of the whole array. More than three axes on file, (N, 1, h, w) or (points, frames a point,
        h, w), are a stack of frames (N, h, w), in the order in which they lie there.
    dtype : numpy.dtype
        Of an element on file.
    mask : ndarray (h, w), bool, or None
        True where the detector measured, as its own file says (Eiger's ``pixel_mask``); None: the
        file says nothing.
    saturation : int or None
        Counts from which on a pixel is not to be trusted, as the detector's file says.
    """

    blocks: tuple[FrameBlock, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    mask: NDArray[np.bool_] | None = field(default=None, compare=False)
    saturation: int | None = None

    def take(self, frames: NDArray[np.integer[Any]]) -> ExternalArray:
        """Return the array of these frames (or readings) in this order, by reference.

        Consecutive ones stay together, so that the blocks are as few as can be.

        Raises
        ------
        CatalogError
            If one is not among the array's.
        """
        numbers = np.asarray(frames, np.int64)
        wrong = (numbers < 0) | (numbers >= self.shape[0])
        if wrong.any():
            raise CatalogError(
                f"event {int(np.flatnonzero(wrong)[0]) + 1} names frame "
                f"{int(numbers[wrong][0])} of {self.shape[0]}: a file is cut off or missing"
            )
        if not len(numbers):
            return replace(self, blocks=(), shape=(0, *self.shape[1:]))
        # A run ends where the next frame is not the next one, or lies in another block.
        ends = np.cumsum([block.count for block in self.blocks])
        of = np.searchsorted(ends, numbers, side="right")
        cuts = np.flatnonzero((np.diff(numbers) != 1) | (np.diff(of) != 0)) + 1
        first = np.concatenate([[0], cuts])
        counts = np.diff([*first.tolist(), len(numbers)])
        starts = ends - [block.count for block in self.blocks]
        blocks = tuple(
            FrameBlock(block.file, block.dataset, block.start + number - start, count)
            for block, number, start, count in zip(
                (self.blocks[k] for k in of[first].tolist()),
                numbers[first].tolist(),
                starts[of[first]].tolist(),
                counts.tolist(),
                strict=True,
            )
        )
        return replace(self, blocks=blocks, shape=(len(numbers), *self.shape[1:]))


def join(arrays: list[ExternalArray]) -> ExternalArray:
    """Return several files' arrays as one, in order.

    Raises
    ------
    CatalogError
        If their frames differ in shape or type.
    """
    first = arrays[0]
    if any((a.shape[1:], a.dtype) != (first.shape[1:], first.dtype) for a in arrays):
        raise CatalogError(
            "its files differ: "
            + "; ".join(f"{a.blocks[0].file} has {a.shape} {a.dtype}" for a in arrays if a.blocks)
        )
    masks = [a.mask for a in arrays if a.mask is not None]
    return replace(
        first,
        blocks=tuple(block for a in arrays for block in a.blocks),
        shape=(sum(a.shape[0] for a in arrays), *first.shape[1:]),
        # A pixel was measured where every file says so.
        mask=np.logical_and.reduce(masks) if masks else None,
        saturation=min((a.saturation for a in arrays if a.saturation is not None), default=None),
    )
