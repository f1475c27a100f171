"""An array that stream documents tell of, piece by piece: which files, which frames of each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import Unsupported
from .hdf5 import Dataset, Roots, look_up, uri_path

Document = dict[str, Any]

# What else a StreamResource may say of an HDF5 file, without changing what its dataset is.
_PLAIN = {"dataset", "path", "chunk_shape", "swmr", "join_method", "spec", "multiplier", "timeout"}


@dataclass(frozen=True)
class ArrayFiles:
    """Where an array is.

    Attributes
    ----------
    paths : list of Path
    dataset : str
    found : Dataset
        Shape and type of the whole.
    frames : list of (int, int), or None
        First frame and number of frames in each file; None: whatever they have.
    notes : list of str
        What must be noted about it.
    """

    paths: list[Path]
    dataset: str
    found: Dataset
    frames: list[tuple[int, int]] | None
    notes: list[str]


@dataclass
class StreamedArray:
    """One key's array.

    Attributes
    ----------
    key : str
    data_key : dict
        Of the descriptor; its shape is one reading's, (n, ...).
    spans : dict of [start, stop]
        Readings of each resource that its datums tell of, by the resource's uid.
    """

    key: str
    data_key: Document
    spans: dict[str, list[int]] = field(default_factory=dict)
    _resources: dict[str, Document] = field(default_factory=dict)
    _unread: list[Path] = field(default_factory=list)

    def add(self, resource: Document, datum: Document) -> None:
        """Take a stream_datum and its stream_resource.

        Raises
        ------
        Unsupported
            If it leaves readings out.
        """
        uid, indices = resource["uid"], datum["indices"]
        self._resources[uid] = resource
        span = self.spans.setdefault(uid, [indices["start"], indices["start"]])
        if indices["start"] != span[1]:
            raise Unsupported("made of readings that do not follow one another")
        span[1] = indices["stop"]

    def files(
        self, made_here: Mapping[str, Dataset], numbered: Collection[str], roots: Roots
    ) -> ArrayFiles:
        """Return where the array is.

        Parameters
        ----------
        made_here : mapping of Dataset
            By the uids of stream resources that stand for Resources: what of them is the array.
        numbered : collection of str
            Uids of those whose length must stay what it is now.
        roots : sequence of (old, new)

        Raises
        ------
        Unsupported
            If it is not one dataset of HDF5 files.
        """
        parts = list(self._parts(made_here, roots))
        datasets = {resource["parameters"]["dataset"] for resource, *_ in parts}
        if len(datasets) != 1:
            raise Unsupported(f"in datasets of different names, {sorted(datasets)}")
        shape = (sum(count for *_, count in parts), *parts[0][1].shape[1:])
        # How long a file of a bulk detector is, is known when it is closed.
        open_ended = self.spans.keys() <= made_here.keys() - set(numbered)
        notes = [
            f"{self.key}: {uri_path(resource['uri'])} had {found.shape[0]} frames when the scan "
            f"was stored, and {start + count} were told of"
            for resource, found, start, count in parts
            if found.shape[0] < start + count
        ]
        notes += [
            f"{self.key}: {path} could not be opened when the scan was stored; shape "
            f"{shape} and type {parts[0][1].dtype} are as the scan declared them"
            for path in self._unread
        ]
        return ArrayFiles(
            [uri_path(resource["uri"]) for resource, *_ in parts],
            datasets.pop(),
            Dataset(shape, parts[0][1].dtype),
            None if open_ended else [(start, count) for *_, start, count in parts],
            notes,
        )

    def _parts(
        self, made_here: Mapping[str, Dataset], roots: Roots
    ) -> Iterator[tuple[Document, Dataset, int, int]]:
        """Yield each file: its resource, what is in it, its first frame and how many."""
        reached = 0
        for uid, (start, stop) in self.spans.items():
            resource = self._resources[uid]
            if uid in made_here:
                yield resource, made_here[uid], 0, made_here[uid].shape[0]
                continue
            parameters = resource.get("parameters", {})
            if resource.get("mimetype") != "application/x-hdf5" or not parameters.get("dataset"):
                raise Unsupported(f"no dataset in an HDF5 file but {resource.get('mimetype')}")
            if not parameters.keys() <= _PLAIN:
                raise Unsupported(f"given by {sorted(parameters.keys() - _PLAIN)}")
            found = look_up(uri_path(resource["uri"]), parameters["dataset"], roots)
            shape = tuple(self.data_key.get("shape") or ())
            each = _frames_each(shape, found)
            # A further file's readings are counted on, or anew.
            first = start - reached if reached and start == reached else start
            reached = stop
            count = (stop - start) * each
            if found is None:
                self._unread.append(uri_path(resource["uri"]))
                dtype = self.data_key.get("dtype_numpy") or "<f8"
                found = Dataset((first * each + count, *shape[1:]), dtype)
            yield resource, found, first * each, count


def _frames_each(shape: tuple[int, ...], found: Dataset | None) -> int:
    """Return how many frames one reading of a shape is: (n, h, w), where files have (N, h, w)."""
    if not shape or (found is not None and len(shape) != len(found.shape)):
        return 1
    return int(shape[0]) or 1
