"""Say where a run's data lie, and read the small ones. Frames never come through the catalog."""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from ..solver.job import FrameBlock, relocate
from .errors import CatalogError
from .find import open_run
from .hdf5 import open_h5, uri_path
from .writing import runs

if TYPE_CHECKING:
    from databroker import Broker


@dataclass(frozen=True)
class ExternalArray:
    """Where an external array lies.

    Attributes
    ----------
    blocks : tuple of FrameBlock
        Files and datasets, in order; joined along the first axis they are the array.
    shape : tuple of int
        Of the whole array, as it is in the files.
    dtype : numpy.dtype
        Of an element on file.
    """

    blocks: tuple[FrameBlock, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def resolve(broker: Broker, uid: str, key: str, stream: str = "primary") -> ExternalArray:
    """Return where an external array lies; of its files only the headers are read.

    Parameters
    ----------
    broker : databroker.Broker
    uid : str
        Full uid of the run.
    key : str
        Data key, as ``merlin1``.
    stream : str

    Raises
    ------
    CatalogError
        If there is no such run, stream or key, if it is not kept in HDF5 files, or if a file is
        missing, damaged, or without the dataset.
    """
    source = _data_source(broker, uid, key, stream)
    if source is None:
        raise CatalogError(
            f"{key} of run {uid[:8]} is kept in the catalog, not in a file: read() gives it"
        )
    return _locate(source, uid, key)


def _locate(source: Any, uid: str, key: str) -> ExternalArray:
    """Return where the files of a data source are, by their headers."""
    parameters = source.parameters or {}
    if source.mimetype != "application/x-hdf5" or not parameters.get("dataset"):
        raise CatalogError(
            f"{key} of run {uid[:8]} is kept as {source.mimetype}, dataset "
            f"{parameters.get('dataset')!r}; only datasets in HDF5 files can be read by reference"
        )
    if parameters.get("slice"):
        raise CatalogError(
            f"{key} of run {uid[:8]} is the part {parameters['slice']} of a dataset, which cannot "
            "be read by reference"
        )
    dataset = parameters["dataset"]
    blocks, shapes, types = [], [], []
    for path in _files(source):
        shape, dtype = _header(path, dataset, key, uid)
        blocks.append(FrameBlock(str(path), dataset, 0, shape[0]))
        shapes.append(shape)
        types.append(dtype)
    if len({shape[1:] for shape in shapes}) > 1 or len(set(types)) > 1:
        raise CatalogError(
            f"the files of {key} of run {uid[:8]} differ: "
            + "; ".join(
                f"{block.file} has {shape} {dtype}"
                for block, shape, dtype in zip(blocks, shapes, types, strict=True)
            )
        )
    shape = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    return ExternalArray(tuple(blocks), shape, types[0])


def read(broker: Broker, uid: str, key: str, stream: str = "primary") -> NDArray[Any]:
    """Read a whole small array: encoders, an ion chamber. Not for frames.

    An external one is read from its files, or through the catalog where they cannot be reached.

    Raises
    ------
    CatalogError
        If there is no such run, stream or key, or it cannot be read.
    """
    source = _data_source(broker, uid, key, stream)
    if source is not None and all(
        relocate(str(path), path.parent).exists() for path in _files(source)
    ):
        parts = []
        for block in _locate(source, uid, key).blocks:
            with open_h5(relocate(block.file, Path(block.file).parent)) as file:
                parts.append(file[block.dataset][()])
        return np.concatenate(parts)
    try:
        return np.asarray(_node(broker, uid, key, stream).read())
    except (KeyError, ValueError, RuntimeError, OSError) as error:
        raise CatalogError(f"{key} of run {uid[:8]} cannot be read: {error}") from error


def baseline(broker: Broker, uid: str) -> dict[str, float]:
    """Return the first reading of each number in the run's baseline; empty if it has none.

    Raises
    ------
    CatalogError
        If there is no such run.
    """
    run = open_run(broker, uid).base
    try:
        found = run["baseline"]
    except KeyError:
        return {}
    stream = getattr(found, "base", found)
    values: dict[str, float] = {}
    for name in stream:
        if not name.startswith("internal"):
            continue  # arrays are no numbers
        table = stream[name].read()
        for key in table.columns:
            if key in ("seq_num", "time") or key.startswith("ts_") or not len(table):
                continue
            first = table[key].iloc[0]
            if isinstance(first, int | float | np.number) and not isinstance(first, bool):
                values[key] = float(first)
    return values


def read_table(broker: Broker, uid: str, stream: str) -> dict[str, list[Any]]:
    """Return the columns of a stream's table; empty lists if it has no rows yet.

    Raises
    ------
    CatalogError
        If there is no such run or stream.
    """
    run = open_run(broker, uid).base
    if stream not in run:
        raise CatalogError(f"run {uid[:8]} has no stream {stream!r}; it has {sorted(run)}")
    node = getattr(run[stream], "base", run[stream])
    if "internal" not in node:
        keys = run[stream].metadata["data_keys"]
        return {"seq_num": [], "time": [], **{key: [] for key in keys}}
    table = node["internal"].read()
    return {name: list(table[name]) for name in table.columns if not name.startswith("ts_")}


def _node(broker: Broker, uid: str, key: str, stream: str) -> Any:
    run = open_run(broker, uid).base
    try:
        found = run[stream]
    except KeyError:
        raise CatalogError(
            f"run {uid[:8]} has no stream {stream!r}; it has {sorted(run)}"
        ) from None
    try:
        return found[key]
    except KeyError:
        raise CatalogError(
            f"stream {stream!r} of run {uid[:8]} has no {key!r}; it has {sorted(found)}"
        ) from None


def _data_source(broker: Broker, uid: str, key: str, stream: str) -> Any:
    """Return Tiled's data source of an array in files of its own, or None of one in a table.

    One request: a client that walks to the array makes six, and a scan has several arrays.
    """
    from tiled.client.utils import MSGPACK_MIME_TYPE, ClientError, handle_error
    from tiled.structures.data_source import DataSource

    catalog = runs(broker)
    path = "/".join(quote(part, safe="") for part in (uid, stream, key))
    try:
        reply = handle_error(
            catalog.context.http_client.get(
                f"{catalog.uri}/{path}",
                headers={"Accept": MSGPACK_MIME_TYPE},
                params={"include_data_sources": True},
            )
        )
    except ClientError as error:
        if error.response.status_code != HTTPStatus.NOT_FOUND:
            raise CatalogError(f"{key} of run {uid[:8]} cannot be looked up: {error}") from error
        _node(broker, uid, key, stream)  # raises what is missing, or it is a column of a table
        return None
    sources = reply.json()["data"]["attributes"].get("data_sources") or ()
    if not sources or sources[0]["management"] != "external":
        return None
    return DataSource.from_json(sources[0])


def _files(source: Any) -> list[Path]:
    assets = sorted(source.assets, key=lambda asset: asset.num or 0)
    return [uri_path(asset.data_uri) for asset in assets]


def _header(path: Path, dataset: str, key: str, uid: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    where = relocate(str(path), path.parent)
    what = f"{where} with {key} of run {uid[:8]}"
    try:
        with open_h5(where) as file:
            if dataset not in file:
                raise CatalogError(f"{what} has no dataset {dataset}")
            found = file[dataset]
            if not found.shape:
                raise CatalogError(f"{what}: {dataset} is a single number, no array")
            _check_whole(where, found, what)
            return tuple(int(size) for size in found.shape), found.dtype
    except FileNotFoundError:
        raise CatalogError(
            f"{what} does not exist on this host; if the data were moved, set "
            "HXN_PTYCHO_ROOTS=OLD=NEW (the folder they were in, and the one they are in)"
        ) from None
    except OSError as error:
        raise CatalogError(f"{what} cannot be opened, it may be cut off: {error}") from error


def _check_whole(path: Path, dataset: Any, what: str) -> None:
    """Raise if the file is shorter than its contiguous dataset; chunks are checked as read."""
    offset = dataset.id.get_offset()
    if offset is None:
        return
    needed = offset + math.prod(dataset.shape) * dataset.dtype.itemsize
    size = path.stat().st_size
    if size < needed:
        raise CatalogError(f"{what} is cut off: it has {size} bytes and needs {needed}")
