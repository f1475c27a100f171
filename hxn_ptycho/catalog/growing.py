"""A run that is read while it is written: rows appear as they are appended."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from .errors import CatalogError
from .store import remove, stored
from .writing import retrying, runs, writing

if TYPE_CHECKING:
    from databroker import Broker

RUN_SPEC = "BlueskyRun"
STREAM_SPEC = "BlueskyEventStream"
SPEC_VERSION = "3.0"
INTERNAL = "internal"


class GrowingRun:
    """Writes one run piece by piece, in the layout of Bluesky's own Tiled writer.

    That writer shows events only when a run stops, or stores them one by one at 35 ms each.

    Parameters
    ----------
    broker : databroker.Broker
    start : dict
        Start document; its ``uid`` names the run.
    """

    def __init__(self, broker: Broker, start: Mapping[str, Any]) -> None:
        self.broker = broker
        self.start = dict(start)
        self.uid: str = self.start["uid"]
        self._node: Any = None
        self._streams: dict[str, Any] = {}
        self._tables: dict[str, Any] = {}
        self._schemas: dict[str, Any] = {}
        self._rows: dict[str, int] = {}

    def begin(self) -> None:
        """Store the start document; a run of this uid that is there is replaced.

        Raises
        ------
        CatalogError
            If the catalog cannot store it.
        """
        from tiled.structures.core import Spec

        def act() -> None:
            if stored(self.broker, self.uid) is not None:
                remove(self.broker, self.uid)
            self._node = runs(self.broker).create_container(
                key=self.uid,
                metadata={"start": self.start},
                specs=[Spec(RUN_SPEC, version=SPEC_VERSION)],
            )

        self._do(act)

    def describe(
        self, stream: str, data_keys: Mapping[str, Mapping[str, Any]], **more: Any
    ) -> None:
        """Open a stream, by the ``data_keys`` of an event descriptor.

        Keys without ``external`` are the columns of its table: ``dtype`` is "integer" or
        "number", or "array" for a list of numbers of any length.

        Raises
        ------
        CatalogError
            If the catalog cannot store it.
        """
        import pyarrow
        from tiled.structures.core import Spec

        types = {
            "integer": pyarrow.int64(),
            "number": pyarrow.float64(),
            "array": pyarrow.list_(pyarrow.float64()),
        }
        columns = {
            key: types[str(data_key["dtype"])]
            for key, data_key in data_keys.items()
            if "external" not in data_key
        }

        def act() -> None:
            if stream in self._node:
                self._node.delete_contents([stream], recursive=True, external_only=False)
            node = self._node.create_container(
                key=stream,
                metadata={
                    "uid": str(uuid.uuid4()),
                    "time": time.time(),
                    "data_keys": {key: dict(data_key) for key, data_key in data_keys.items()},
                    "configuration": {},
                    "hints": {},
                    **more,
                },
                specs=[Spec(STREAM_SPEC, version=SPEC_VERSION), Spec("composite")],
            )
            self._streams[stream] = getattr(node, "base", node)
            if columns:
                fields = {"seq_num": pyarrow.int64(), "time": pyarrow.float64(), **columns}
                fields.update({f"ts_{key}": pyarrow.float64() for key in columns})
                self._schemas[stream] = pyarrow.schema(list(fields.items()))
                self._tables[stream] = self._streams[stream].create_appendable_table(
                    self._schemas[stream], key=INTERNAL, metadata={}
                )

        self._do(act)
        self._rows[stream] = 0

    def append(self, stream: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to a stream's table: each the values of its columns and a ``time``.

        Raises
        ------
        CatalogError
            If the catalog cannot store them.
        """
        import pyarrow

        if not rows:
            return
        schema = self._schemas[stream]
        first = self._rows[stream] + 1
        columns: dict[str, list[Any]] = {
            name: [row["time"] if name.startswith("ts_") else row.get(name) for row in rows]
            for name in schema.names
        }
        columns["seq_num"] = list(range(first, first + len(rows)))
        table = pyarrow.table(columns, schema=schema)
        self._do(lambda: self._tables[stream].append_partition(0, table))
        self._rows[stream] += len(rows)

    def attach(
        self, stream: str, key: str, path: Path, dataset: str, dims: Sequence[str] = ()
    ) -> None:
        """Register a dataset of an HDF5 file as the array `key` of a stream.

        Raises
        ------
        CatalogError
            If the file cannot be opened, lacks the dataset, or the catalog cannot store it.
        """
        from tiled.structures.array import ArrayStructure, BuiltinDtype
        from tiled.structures.core import StructureFamily
        from tiled.structures.data_source import Asset, DataSource, Management

        try:
            with h5py.File(path, "r") as file:
                shape, dtype = file[dataset].shape, file[dataset].dtype
        except (OSError, KeyError) as error:
            raise CatalogError(f"{path} cannot be registered: {error}") from error
        source = DataSource(
            mimetype="application/x-hdf5",
            structure_family=StructureFamily.array,
            structure=ArrayStructure(
                data_type=BuiltinDtype.from_numpy_dtype(dtype),
                shape=shape,
                # One a mode: what a client fetches at once.
                chunks=((1,) * shape[0], *((size,) for size in shape[1:])),
                dims=tuple(dims) or None,
            ),
            parameters={"dataset": dataset, "swmr": False},
            management=Management.external,
            assets=[
                Asset(data_uri=path.as_uri(), is_directory=False, parameter="data_uris", num=0)
            ],
        )
        self._do(
            lambda: self._streams[stream].new(
                structure_family=StructureFamily.array,
                data_sources=[source],
                key=key,
                metadata={},
                specs=[],
            )
        )

    def end(self, exit_status: str, reason: str = "", **more: Any) -> None:
        """Store the stop document.

        Parameters
        ----------
        exit_status : {"success", "fail", "abort"}
        reason : str
        **more
            Further keys of the stop document.

        Raises
        ------
        CatalogError
            If the catalog cannot store it.
        """
        counts = {stream: self._rows[stream] for stream in self._tables}
        stop = {
            "uid": str(uuid.uuid4()),
            "run_start": self.uid,
            "time": time.time(),
            "exit_status": exit_status,
            "reason": reason,
            "num_events": counts,
            **more,
        }
        self._do(lambda: self._node.update_metadata(metadata={"stop": stop}, drop_revision=True))

    def _do(self, action: Any) -> None:
        def locked() -> None:
            with writing(self.broker):
                action()

        try:
            retrying(locked)
        except CatalogError:
            raise
        except Exception as error:
            raise CatalogError(
                f"run {self.uid[:8]} cannot be stored in the catalog {self.broker.name}: "
                f"{type(error).__name__}: {error}"
            ) from error
