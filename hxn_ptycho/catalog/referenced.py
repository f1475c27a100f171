"""What the events of a stream refer to: for each key one array, over all its files in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..specs import Place, Resource, other_datasets
from .hdf5 import Dataset, Roots, look_up, look_up_master

Document = dict[str, Any]


@dataclass
class File:
    """One file of an array.

    Attributes
    ----------
    resource : Resource
    path, dataset : str
    used : int
        Frames that events have told of: the last one's number, plus one.
    found : Dataset or None
        What is on file, or None if it cannot be read.
    length, begin : int
        Frames in the array, and the first one's number in it; known when the run has ended.
    """

    resource: Resource
    path: str
    dataset: str
    used: int = 0
    found: Dataset | None = None
    length: int = 0
    begin: int = 0


@dataclass
class ReferencedArray:
    """The array of one key.

    Attributes
    ----------
    key : str
    files : dict of File
        By path and dataset, in the order in which events refer to them.
    by_point : bool
        Whether events refer to frames by number, rather than to whole files.
    several : bool
        Whether an event stands for several frames.
    settled : bool
        Whether the run has ended, and with it the files' lengths are known.
    """

    key: str
    files: dict[tuple[str, str], File] = field(default_factory=dict)
    by_point: bool = False
    several: bool = False
    settled: bool = False

    def is_live(self, place: Place) -> bool:
        """Whether the frame's number in the array is known before the run has ended.

        It is in the first file, as later ones begin where that one ends.
        """
        if place.length is None:
            return not self.by_point
        return place.length == 1 and (
            not self.files
            or (
                self.by_point
                and not self.several
                and len(self.files) == 1
                and place[:2] in self.files
            )
        )

    def add(self, resource: Resource, place: Place) -> None:
        """Take what an event refers to."""
        file = self.files.get(place[:2])
        if file is None:
            file = self.files[place[:2]] = File(resource, place.path, place.dataset)
        if place.length is not None:
            self.by_point = True
            self.several |= place.length > 1
            file.used = max(file.used, place.first + place.length)

    def look_up(self, roots: Roots) -> Dataset | None:
        """Return what the first file holds that can be read now."""
        for file in self.files.values():
            file.found = file.found or _look_up(file, roots)
            if file.found is not None:
                return file.found
        return None

    def settle(self, data_key: Document, roots: Roots) -> Iterator[str]:
        """Take each file's length, now that the run has ended; yield what must be noted."""
        self.settled = True
        begin, first = 0, ""
        unread: list[File] = []
        short: list[tuple[File, int]] = []
        longer: list[tuple[File, int]] = []
        for file in self.files.values():
            file.found = _look_up(file, roots, first)
            first = first or file.dataset
            if file.found is None:
                unread.append(file)
                file.found = declared(data_key, file.resource, file.used if self.by_point else None)
            elif file.used > file.found.shape[0] and not self.several:
                short.append((file, file.found.shape[0]))
            elif self._are_more_frames_odd(file) and file.found.shape[0] > file.used:
                longer.append((file, file.found.shape[0]))
            file.length = file.found.shape[0]
            if self.by_point and not self.several:
                # A detector may still be writing what events tell of already.
                file.length = max(file.length, file.used)
            file.begin, begin = begin, begin + file.length
        if unread:
            found = unread[0].found
            assert found is not None
            yield (
                f"{self.key}: {_some([file.path for file in unread])} could not be opened when the "
                f"scan was stored; shape {found.shape} and type {found.dtype} are as the scan "
                "declared them"
            )
        if short:
            file, length = short[0]
            yield (
                f"{self.key}: {_some([file.path for file, _ in short])} had {length} frames when "
                f"the scan was stored, and events refer to {file.used}"
            )
        if longer:
            file, length = longer[0]
            yield (
                f"{self.key}: {_some([file.path for file, _ in longer])} has {length} frames or "
                f"readings, and events refer to the first {file.used}: the others are not used"
            )
        names = Counter(file.dataset for file in self.files.values())
        if len(names) > 1:
            yield f"{self.key}: its files have different datasets, {sorted(names)}"

    def _are_more_frames_odd(self, file: File) -> bool:
        """Whether a file should have what events tell of; ranges are meant as they are."""
        spec = file.resource.spec
        return self.several and not (spec is not None and spec.by_range)

    def frames(self, place: Place) -> tuple[int, int]:
        """Return the first frame, counted in the array, and how many, of a place by number."""
        assert place.length is not None
        if not self.settled:
            return place.first, place.length  # in the first file: see is_live
        file = self.files[place[:2]]
        start = min(place.first, file.length)
        return file.begin + start, min(place.length, file.length - start)

    def is_in_order(self, places: Sequence[Place | None]) -> bool:
        """Whether the events, one after the other, stand for exactly the frames of the array."""
        reached = 0
        for place in places:
            if place is None:
                return False
            start, count = self.frames(place)
            if start != reached:
                return False
            reached += count
        return reached == sum(file.length for file in self.files.values())


def declared(data_key: Document, resource: Resource, used: int | None = None) -> Dataset:
    """Return what the scan said of a dataset.

    Parameters
    ----------
    data_key : dict
        Its shape is that of the whole, (n, ...), or of one reading, (1, ...) or (...).
    resource : Resource
    used : int, optional
        Frames that events refer to by number: the shape is then one reading's.
    """
    shape = tuple(int(size) for size in data_key.get("shape") or ())
    dtype = data_key.get("dtype_numpy") or data_key.get("dtype_str") or "<f8"
    if used is not None:
        # (n, h, w), (h, w), (n,) or nothing, and area detectors' (w, h, 0).
        if len(shape) == 3 and shape[2] == 0:
            shape = (0, shape[1], shape[0])
        return Dataset((used, *(shape if len(shape) == 2 else shape[1:])), dtype)
    shape = shape or (1,)
    if resource.frame_per_point and shape[0] == 1:
        shape = (resource.frame_per_point, *shape[1:])
    return Dataset(shape, dtype)


def _look_up(file: File, roots: Roots, preferred: str = "") -> Dataset | None:
    path = Path(file.path)
    names = dict.fromkeys((preferred or file.dataset, file.dataset))
    for dataset in dict.fromkeys((*names, *(each for n in names for each in other_datasets(n)))):
        found = look_up(path, dataset, roots)
        if found is not None:
            file.dataset = dataset
            return found
    return look_up_master(path, file.dataset, roots)


def _some(paths: Sequence[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{len(paths)} files, {paths[0]} the first,"
