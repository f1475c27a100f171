"""A run that is read while it is written: rows appear as they are appended."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from ..backend import has_run, patiently
from ..hdf5 import FRAMES_KEY, Dataset
from .permissions import refusals
from .sources import data_source, look_up_all
from .tables import make_schema, make_table

if TYPE_CHECKING:
    from .backend import TiledStore

SPEC_VERSION = "3.0"
TABLE = "internal"


class GrowingRun:
    """Writes one run piece by piece, in the layout of Bluesky's own Tiled writer.

    That writer keeps events until the run stops, or stores them one by one; and it needs 25
    requests for a scan, of which a stop document waits for most, where this one needs 10.

    Parameters
    ----------
    store : TiledStore
    start : dict
        Start document; its ``uid`` names the run.
    lenient : bool
        Leave out what a table cannot hold, instead of raising `Unsupported`.
    """

    def __init__(self, store: TiledStore, start: Mapping[str, Any], lenient: bool = False) -> None:
        self.store = store
        self.lenient = lenient
        self.start = dict(start)
        self.uid: str = self.start["uid"]
        self._node: Any = None
        self._streams: dict[str, Any] = {}
        self._schemas: dict[str, Any] = {}
        self._tables: dict[str, Any] = {}
        self._rows: dict[str, int] = {}
        self._updates: dict[str, list[dict[str, Any]]] = {}

    def begin(self, replace: bool = False) -> bool:
        """Store the start document.

        Parameters
        ----------
        replace : bool
            Whether a whole run (one with a stop document) of this uid is replaced. One without is
            always: its writer died.

        Returns
        -------
        bool
            False if a whole run of this uid is there and stays; nothing more must be written.

        Raises
        ------
        CatalogError
            If the catalog cannot store it.
        """
        from tiled.structures.core import Spec

        def create() -> bool:
            self._node = self.store.runs.create_container(
                key=self.uid,
                metadata={"start": self.start},
                specs=[Spec("BlueskyRun", version=SPEC_VERSION)],
            )
            return True

        def act() -> bool:
            try:
                return create()
            except Exception as error:
                if not _is_conflict(error):
                    raise
            if not replace and has_run(self.store, self.uid, whole=True):
                return False
            self.store.remove(self.uid)
            return create()

        return self._do(act)

    def describe(self, stream: str, descriptor: Mapping[str, Any]) -> None:
        """Open a stream.

        Parameters
        ----------
        stream : str
        descriptor : mapping
            Of an event descriptor: ``data_keys``, and what else there is. Keys without
            ``external`` become the columns of the stream's table.

        Raises
        ------
        Unsupported
            If a column is neither a number, a truth value nor a text.
        CatalogError
            If the catalog cannot store it.
        """
        from tiled.structures.core import Spec

        data_keys = {key: dict(value) for key, value in descriptor["data_keys"].items()}
        schema = make_schema(data_keys, self.lenient)
        for name, keys in descriptor.get("object_keys", {}).items():
            for key in keys:
                if key in data_keys:
                    data_keys[key]["object_name"] = name
        left_out = ("name", "object_keys", "run_start", "data_keys")
        metadata = {
            "uid": str(uuid.uuid4()),
            "time": time.time(),
            "configuration": {},
            "hints": {},
            **{key: value for key, value in descriptor.items() if key not in left_out},
            "data_keys": data_keys,
        }

        def act() -> None:
            node = self._node.create_container(
                key=stream,
                metadata=metadata,
                specs=[Spec("BlueskyEventStream", version=SPEC_VERSION), Spec("composite")],
            )
            self._streams[stream] = getattr(node, "base", node)

        self._do(act)
        self._schemas[stream] = schema
        self._rows[stream] = 0

    def append(self, stream: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to a stream's table.

        Parameters
        ----------
        stream : str
        rows : sequence of mapping
            Each ``{"time": ..., "data": {...}, "timestamps": {...}}``; a key that is missing or
            None is null in the table, a timestamp that is missing is the row's time.

        Raises
        ------
        Unsupported
            If a value is not of the type that the descriptor declared.
        CatalogError
            If the catalog cannot store them.
        """
        if not rows:
            return
        table = make_table(self._schemas[stream], rows, self._rows[stream] + 1, self.lenient)

        def act() -> None:
            if stream not in self._tables:
                self._tables[stream] = self._streams[stream].create_appendable_table(
                    self._schemas[stream], key=TABLE, metadata={}
                )
            self._tables[stream].append_partition(0, table)

        self._do(act)
        self._rows[stream] += len(rows)

    def redescribe(self, stream: str, descriptor: Mapping[str, Any]) -> None:
        """Note that a stream has a second descriptor, as Bluesky's own writer does.

        Parameters
        ----------
        stream : str
            One that has been described.
        descriptor : mapping
            Of an event descriptor with the same ``data_keys``.

        Raises
        ------
        CatalogError
            If the catalog cannot store it.
        """
        kept = ("uid", "time", "configuration")
        updates = self._updates.setdefault(stream, [])
        updates.append({key: descriptor[key] for key in kept if descriptor.get(key)})
        self._do(
            lambda: self._streams[stream].update_metadata(
                metadata={"_config_updates": updates}, drop_revision=True
            )
        )

    def attach(
        self,
        stream: str,
        key: str,
        path: Path | Sequence[Path],
        dataset: str,
        *,
        found: Dataset | None = None,
        frames: Sequence[tuple[int, int]] | None = None,
        dims: Iterable[str] = (),
    ) -> None:
        """Register a dataset of an HDF5 file, or of several, as the array `key` of a stream.

        Parameters
        ----------
        stream, key : str
        path : Path or sequence of Path
            Files whose datasets, joined along the first axis, are the array.
        dataset : str
            The same in all.
        found : Dataset, optional
            Shape and type of the whole array; default: looked up in the files.
        frames : sequence of (int, int), optional
            First frame and number of frames of each file's dataset that belong to the array.
            Default: all that the files have when they are read.
        dims : iterable of str
            Names of the axes.

        Raises
        ------
        CatalogError
            If a file cannot be opened, lacks the dataset, or the catalog cannot store it.
        """
        paths = [path] if isinstance(path, Path) else list(path)
        source = data_source(paths, dataset, found or look_up_all(paths, dataset), dims)
        spans = [[int(start), int(count)] for start, count in frames or ()]
        if len(spans) == 1 and spans[0][0]:
            # Tiled joins whole files; of a single one it can take a part.
            source.parameters["slice"] = f"{spans[0][0]}:{sum(spans[0])}"
        self._do(
            lambda: self._streams[stream].new(
                structure_family=source.structure_family,
                data_sources=[source],
                key=key,
                metadata={FRAMES_KEY: spans} if spans else {},
                specs=[],
            )
        )

    def end(self, stop: Mapping[str, Any]) -> None:
        """Store the stop document; ``uid``, ``run_start``, ``time`` and ``num_events`` are given.

        Parameters
        ----------
        stop : mapping
            ``exit_status`` ("success", "fail" or "abort"), ``reason``, and any further keys.

        Raises
        ------
        CatalogError
            If the catalog cannot store it.
        """
        whole = {
            "uid": str(uuid.uuid4()),
            "run_start": self.uid,
            "time": time.time(),
            "num_events": {stream: count for stream, count in self._rows.items() if count},
            **stop,
        }
        self._do(lambda: self._node.update_metadata(metadata={"stop": whole}, drop_revision=True))

    def _do(self, action: Callable[[], Any]) -> Any:
        def locked() -> Any:
            with self.store.writing(), refusals(self.store):
                return action()

        return patiently(self.store, f"run {self.uid[:8]} cannot be stored", locked)


def _is_conflict(error: BaseException) -> bool:
    """Whether the catalog refused a name because it is taken."""
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code == 409
