"""Say where a run's data lie, and read the small ones. Frames never come through the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..solver.frame_files import open_dataset
from ..solver.h5_files import FrameFileError, Roots, find_file, open_h5
from .detector_files import expand
from .documents import uri_path
from .errors import CatalogError
from .external import ExternalArray, join
from .find import open_run
from .requests import data_source, node, table

if TYPE_CHECKING:
    from databroker import Broker

# A stream whose events each name a frame of an external array has a column of this name.
FRAME_COLUMN = "{}_frame"


def resolve(
    broker: Broker, uid: str, key: str, stream: str = "primary", roots: Roots = ()
) -> ExternalArray:
    """Return where an external array lies; of its files only the headers are read.

    Parameters
    ----------
    broker : databroker.Broker
    uid : str
        Full uid of the run.
    key : str
        Data key, as ``merlin1``.
    stream : str
    roots : sequence of (str, str)
        (old, new): a file that does not exist where the run says is looked for in `new`, if it was
        in the folder `old`.

    Returns
    -------
    ExternalArray
        In the order of the stream's events, one frame each, where these name frames one by one;
        else as the files have them.

    Raises
    ------
    CatalogError
        If there is no such run, stream or key, if it is not kept in HDF5 files, or if a file is
        missing, damaged, or without the dataset; if an event names a frame that no file has.
    """
    source = data_source(broker, uid, stream, key)
    if source is None:
        node(broker, uid, stream, key)  # says what is missing
        raise CatalogError(
            f"{key} of run {uid[:8]} is kept in the catalog, not in a file: read() gives it"
        )
    return _locate(broker, uid, key, stream, source, roots)


def read(
    broker: Broker, uid: str, key: str, stream: str = "primary", roots: Roots = ()
) -> NDArray[Any]:
    """Read a whole small array: encoders, an ion chamber. Not for frames.

    An external one is read from its files, one after the other, or through the catalog where they
    cannot be reached; a column of the stream's table as an array of its own type, NaN where an
    event has no number.

    Parameters
    ----------
    broker, uid, key, stream, roots
        As `resolve`.

    Raises
    ------
    CatalogError
        If there is no such run, stream or key, or it cannot be read.
    """
    source = data_source(broker, uid, stream, key)
    if source is None:
        rows = table(broker, uid, stream, [key])
        if rows is not None and key in rows.column_names:
            return _column(rows[key])
        return _read_through_catalog(broker, uid, key, stream)
    if missing := _missing(source, roots):
        return _read_through_catalog(broker, uid, key, stream, missing)
    try:
        return _read_blocks(_locate(broker, uid, key, stream, source, roots))
    except FrameFileError as error:
        raise CatalogError(f"{key} of run {uid[:8]}: {error.sentence}") from error


def baseline(broker: Broker, uid: str) -> dict[str, float]:
    """Return the first reading of each number in the run's baseline; empty if it has none.

    Raises
    ------
    CatalogError
        If there is no such run.
    """
    rows = table(broker, uid, "baseline")
    if rows is None:
        open_run(broker, uid)
        return {}
    return {
        key: float(value)
        for key, (value, *_) in _readings(rows.slice(0, 1))
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def read_table(broker: Broker, uid: str, stream: str) -> dict[str, list[Any]]:
    """Return the columns of a stream's table; empty lists if it has no rows yet.

    Raises
    ------
    CatalogError
        If there is no such run or stream.
    """
    rows = table(broker, uid, stream)
    if rows is None:
        keys = node(broker, uid, stream).metadata["data_keys"]
        return {"seq_num": [], "time": [], **{key: [] for key in keys}}
    frame = rows.to_pandas()
    return {name: list(frame[name]) for name in frame.columns if not name.startswith("ts_")}


def _locate(
    broker: Broker, uid: str, key: str, stream: str, source: Any, roots: Roots
) -> ExternalArray:
    """Return where the files of a data source are, by their headers, as the events have them."""
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
    try:
        array = join([expand(path, parameters["dataset"], roots) for path in _files(source)])
        frames = _frames(broker, uid, key, stream)
        return array if frames is None else array.take(frames)
    except CatalogError as error:
        raise CatalogError(f"{key} of run {uid[:8]}: {error}") from error


def _frames(broker: Broker, uid: str, key: str, stream: str) -> NDArray[np.int64] | None:
    """Return which frame of its files each event has; None if the events do not say."""
    name = FRAME_COLUMN.format(key)
    rows = table(broker, uid, stream, [name])
    if rows is None or name not in rows.column_names:
        return None
    # An event may be without: its detector did not take part.
    return rows[name].drop_null().to_numpy().astype(np.int64)


def _read_through_catalog(
    broker: Broker, uid: str, key: str, stream: str, missing: str = ""
) -> NDArray[Any]:
    """Read what is kept in the catalog itself, or in files that only its server reaches."""
    try:
        values = np.asarray(node(broker, uid, stream, key).read())
    except (KeyError, ValueError, RuntimeError, OSError) as error:
        raise CatalogError(f"{key} of run {uid[:8]} cannot be read: {missing or error}") from error
    frames = _frames(broker, uid, key, stream) if missing else None
    return values if frames is None else values[frames]


def _files(source: Any) -> list[Path]:
    assets = sorted(source.assets, key=lambda asset: asset.num or 0)
    return [uri_path(asset.data_uri) for asset in assets]


def _missing(source: Any, roots: Roots) -> str:
    """Return what is to be said of the first file that is not on this host; nothing if all are."""
    try:
        for path in _files(source):
            find_file(str(path), path.parent, roots)
    except FrameFileError as error:
        return error.sentence
    return ""


def _read_blocks(array: ExternalArray) -> NDArray[Any]:
    parts = []
    for block in array.blocks:
        with open_h5(block.file) as file:
            values = open_dataset(file, block.dataset)
            whole = values[()] if values.ndim > 3 else None
            parts.append(
                values[block.start : block.start + block.count]
                if whole is None
                else whole.reshape(array.shape[-3:])[block.start : block.start + block.count]
            )
    return np.concatenate(parts) if parts else np.empty(array.shape, array.dtype)


def _column(values: Any) -> NDArray[Any]:
    """Return a column of an Arrow table as an array: numbers of its type, texts as such."""
    array = values.to_numpy()
    return array.astype(str) if array.dtype == object and not values.null_count else array


def _readings(rows: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the columns that are readings, not the numbers and times of their events."""
    for name in rows.column_names:
        if name not in ("seq_num", "time") and not name.startswith("ts_") and rows.num_rows:
            yield name, rows[name].to_pylist()
