"""A stream of a run on its way into the catalog: its descriptor, its arrays, its events as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..specs import Place, Resource
from .hdf5 import Roots
from .referenced import ReferencedArray

Document = dict[str, Any]


@dataclass
class References:
    """What the keys of one event refer to.

    Attributes
    ----------
    places : dict of Place
        By key.
    resources : dict of Resource
        Theirs, by key.
    lost : dict of str
        Why other keys are left out, in words that follow "events of the key".
    """

    places: dict[str, Place] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)


@dataclass
class EventStream:
    """A stream; a second descriptor of the same keys only continues it.

    Attributes
    ----------
    descriptor : dict
        As the catalog gets it: shapes and types those of the files, columns of frames' numbers.
    arrays : dict of ReferencedArray
        By key, as events have referred to them.
    columns : dict
        Names of the columns that tell which frames of a key's array an event's are: the first
        one's number, and how many, if an event's may be several.
    held : list of dict
        Events that wait until the run stops.
    after : list of (name, document)
        What waits until the descriptor has gone out.
    announced : bool
        Whether the descriptor has gone out: columns stay as they are then.
    """

    descriptor: Document
    arrays: dict[str, ReferencedArray] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    held: list[Document] = field(default_factory=list)
    after: list[tuple[str, Document]] = field(default_factory=list)
    announced: bool = False

    def __post_init__(self) -> None:
        keys = self.descriptor["data_keys"]
        self.keys = frozenset(keys)
        self.external = [key for key, data_key in keys.items() if "external" in data_key]

    def is_continued_by(self, descriptor: Document) -> bool:
        """Whether a descriptor is of this stream, with the same keys."""
        return (
            descriptor["name"] == self.descriptor["name"]
            and self.keys == descriptor["data_keys"].keys()
        )

    def is_live(self, places: dict[str, Place]) -> bool:
        """Whether the numbers of an event's frames can be told before the run has ended."""
        for key, place in places.items():
            array = self.arrays.get(key) or ReferencedArray(key)
            if not array.is_live(place):
                return False
            if self.announced and (place.length is not None) != bool(self.columns.get(key)):
                return False
        return True

    def open(self, roots: Roots) -> Document:
        """Return the descriptor, completed by what the files are now."""
        self.announced = True
        keys = self.descriptor["data_keys"]
        for key, array in self.arrays.items():
            found = array.look_up(roots)
            if found is not None:
                keys[key].update(
                    shape=list(found.shape[1:]), dtype_numpy=found.dtype, dtype="array"
                )
            self.columns.setdefault(key, _columns(array))
            for column in self.columns[key]:
                keys[column] = {"dtype": "integer", "shape": [], "source": f"frames of {key}"}
        return self.descriptor

    def settle(self, references: Sequence[References], roots: Roots) -> list[str]:
        """Take the files' lengths, now that the run has ended; return what must be noted.

        Parameters
        ----------
        references : sequence of References
            Of the events that were held.
        roots
        """
        notes: list[str] = []
        for key, array in self.arrays.items():
            notes += array.settle(self.descriptor["data_keys"][key], roots)
            columns = _columns(array)
            if array.several and array.is_in_order([each.places.get(key) for each in references]):
                columns = ()  # frames one after the other need none
            if self.announced and columns != self.columns.get(key, ()):
                notes.append(
                    f"{key}: its events changed from whole files or single frames to other ones in "
                    "mid-run; the catalog cannot tell which frames are whose"
                )
            self.columns.setdefault(key, columns)
        return notes

    def row(self, event: Document, references: References) -> Document:
        """Return an event as a row of numbers: its frames' numbers instead of datum ids."""
        places, gone = references.places, {*references.places, *references.lost}
        time = event["time"]
        data = {key: value for key, value in event["data"].items() if key not in gone}
        # HXN's timestamps may be datum ids.
        timestamps = {
            key: value if isinstance(value, int | float) else time
            for key, value in event["timestamps"].items()
            if key not in gone
        }
        for key, columns in self.columns.items():
            if columns and key in places:
                for column, number in zip(
                    columns, self.arrays[key].frames(places[key]), strict=False
                ):
                    data[column], timestamps[column] = number, time
        filled = {key: value for key, value in event.get("filled", {}).items() if key not in gone}
        return {**event, "data": data, "timestamps": timestamps, "filled": filled}


def _columns(array: ReferencedArray) -> tuple[str, ...]:
    if not array.by_point:
        return ()
    first = f"{array.key}_frame"
    return (first, f"{array.key}_frames") if array.several else (first,)
