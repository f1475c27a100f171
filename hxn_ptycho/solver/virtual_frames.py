"""Virtual datasets: frames that lie in other files, read as zeros where one of those is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from .h5_files import FrameFileError

UNLIMITED = h5py.h5s.UNLIMITED


@dataclass(frozen=True)
class Selection:
    """A regular selection of a dataset, a tuple an axis: `count` blocks, `stride` apart."""

    start: tuple[int, ...]
    stride: tuple[int, ...]
    count: tuple[int, ...]
    block: tuple[int, ...]

    def lengths(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return how many elements are selected along each axis of a dataset of this shape."""
        return tuple(
            block * (max(0, (size - start - block) // stride + 1) if count == UNLIMITED else count)
            for start, stride, count, block, size in zip(
                self.start, self.stride, self.count, self.block, shape, strict=True
            )
        )

    def ends(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return one past the last element that is selected along each axis."""
        return tuple(
            start if length == 0 else start + stride * (length // block - 1) + block
            for start, stride, block, length in zip(
                self.start, self.stride, self.block, self.lengths(shape), strict=True
            )
        )

    def run(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """Return (first, count) if it is consecutive whole frames of such a dataset, else None."""
        whole = zip(self.start[1:], self.ends(shape)[1:], self.lengths(shape)[1:], strict=True)
        lengths = self.lengths(shape)
        if any((start, end, length) != (0, size, size)
               for (start, end, length), size in zip(whole, shape[1:], strict=True)):  # fmt: skip
            return None
        if self.ends(shape)[0] - self.start[0] != lengths[0]:
            return None
        return self.start[0], lengths[0]


@dataclass(frozen=True)
class Mapping:
    """One source of a virtual dataset.

    Attributes
    ----------
    file, dataset : str
        As the virtual dataset has them: a relative path is that from its own file's folder.
    target : Selection
        Where its elements are in the virtual dataset.
    source : Selection or None
        Where they are in the source; None: all of it.
    """

    file: str
    dataset: str
    target: Selection
    source: Selection | None

    def run(
        self, shape: tuple[int, ...], source_shape: tuple[int, ...]
    ) -> tuple[int, int, int] | None:
        """Return (first frame, first frame of the source, count) if it maps frame after frame."""
        target = self.target.run(shape)
        source = (0, source_shape[0]) if self.source is None else self.source.run(source_shape)
        if target is None or source is None or shape[1:] != source_shape[1:]:
            return None
        return target[0], source[0], min(target[1], source[1])


def mappings(dataset: h5py.Dataset) -> list[Mapping]:
    """Return the sources of a virtual dataset.

    Raises
    ------
    FrameFileError
        If one is mapped in a way that cannot be followed.
    """
    try:
        sources = dataset.virtual_sources()
    except (RuntimeError, ValueError) as error:
        raise FrameFileError(
            f"{name_of(dataset)} is virtual, and what it maps cannot be read: {error}",
            "give the files of the frames themselves",
        ) from error
    found = []
    for each in sources:
        target = _selection(dataset, each.vspace)
        source = _selection(dataset, each.src_space)
        if "%b" in each.file_name + each.dset_name:
            raise FrameFileError(
                f"{name_of(dataset)} maps files by a pattern of names, {each.file_name}, "
                "which cannot be followed here",
                "give the files of the frames themselves",
            )
        if target is None:
            target = Selection((0,) * dataset.ndim, (1,) * dataset.ndim, dataset.shape,
                               (1,) * dataset.ndim)  # fmt: skip
        found.append(Mapping(each.file_name, each.dset_name, target, source))
    return found


def source_places(file: str, folders: list[Path]) -> Iterator[Path]:
    """Yield where HDF5 looks for a file that another one names: as it says, then beside it."""
    if Path(file).is_absolute():
        yield Path(file)
    for folder in folders:
        yield folder / file
        yield folder / Path(file).name


def folders_of(path: str | Path) -> list[Path]:
    """Return the folders beside a file: its own, and that of what it is a link to."""
    return list(dict.fromkeys([Path(path).absolute().parent, Path(path).resolve().parent]))


def check_covered(dataset: h5py.Dataset, sources: list[Mapping]) -> None:
    """Raise if a frame is not wholly mapped, or twice; the sources are not looked at.

    Raises
    ------
    FrameFileError
        With the frames.
    """
    shape = dataset.shape
    mapped = np.zeros(shape[0], np.int64)
    for each in sources:
        target = each.target
        lengths = target.lengths(shape)
        first = target.start[0] + target.stride[0] * np.arange(lengths[0] // target.block[0])
        mapped[(first[:, None] + np.arange(target.block[0])).ravel()] += math.prod(lengths[1:])
    wrong = np.flatnonzero(mapped != math.prod(shape[1:]))
    if len(wrong):
        raise FrameFileError(
            f"{name_of(dataset)} is virtual and maps {len(wrong)} of its {shape[0]} frames to no "
            f"file, or not wholly, the first {wrong[0]} and the last {wrong[-1]}: they would read "
            "as zeros",
            "was the scan cut short? Give the files of the frames themselves",
        )


def check_source(dataset: h5py.Dataset, mapping: Mapping, source: h5py.Dataset) -> None:
    """Raise if a source holds less than a virtual dataset takes from it.

    Raises
    ------
    FrameFileError
        With both numbers.
    """
    wanted = math.prod(mapping.target.lengths(dataset.shape))
    if mapping.source is None:
        enough = source.size == wanted
    else:
        ends = mapping.source.ends(source.shape) if source.ndim == len(mapping.source.start) else ()
        enough = (
            len(ends) == source.ndim
            and all(end <= size for end, size in zip(ends, source.shape, strict=True))
            and math.prod(mapping.source.lengths(source.shape)) >= wanted
        )
    if not enough:
        raise FrameFileError(
            f"{name_of(source)} has the shape {source.shape}, and {name_of(dataset)} takes "
            f"{mapping.target.lengths(dataset.shape)} from it: the rest would read as zeros",
            "was the scan cut short, or is the file still being written?",
        )


def _selection(dataset: h5py.Dataset, space: h5py.h5s.SpaceID) -> Selection | None:
    """Return a selection of a data space; None: all of it."""
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS:
        return None
    if not space.is_regular_hyperslab():
        raise FrameFileError(
            f"{name_of(dataset)} maps irregular parts of files, which cannot be checked here",
            "give the files of the frames themselves",
        )
    return Selection(*(tuple(int(i) for i in part) for part in space.get_regular_hyperslab()))


def name_of(dataset: h5py.Dataset) -> str:
    """Return how a dataset is named in messages: file and place."""
    return f"{dataset.file.filename}:{dataset.name}"
