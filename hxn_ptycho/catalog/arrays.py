"""Say where a run's data lie, and read the small ones. Frames never come through the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..solver.frame_files import open_dataset
from ..solver.h5_files import FrameFileError, Roots, find_file, open_h5
from .backend import Backend, Contents, Source, backend_of
from .detector_files import expand
from .errors import CatalogError
from .external import ExternalArray, join

if TYPE_CHECKING:
    from databroker import Broker

# A stream whose events each name a frame of an external array has a column of this name; if they
# each name several, that of the first, and another of how many.
FRAME_COLUMN = "{}_frame"
COUNT_COLUMN = "{}_frames"


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
    store = backend_of(broker)
    known = store.contents(uid, stream)
    if key not in known.sources:
        store.require(uid, stream, key)
        raise CatalogError(
            f"{key} of run {uid[:8]} is kept in the catalog, not in a file: read() gives it"
            if known.has_column(key)
            else f"{key} of run {uid[:8]} cannot be read by reference, if at all: read() tries"
        )
    return _locate(store, uid, key, stream, known, roots)


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
    store = backend_of(broker)
    known = store.contents(uid, stream)
    if known.has_column(key):
        return _as_array(store.columns(uid, stream, known, [key])[key])
    missing = _missing(known.sources[key], roots) if key in known.sources else ""
    if missing or key not in known.sources:
        return _read_through_catalog(store, uid, key, stream, known, missing)
    try:
        return _read_blocks(_locate(store, uid, key, stream, known, roots))
    except FrameFileError as error:
        raise CatalogError(f"{key} of run {uid[:8]}: {error.sentence}") from error


def why_unreadable(broker: Broker, uid: str, key: str, stream: str = "primary") -> str:
    """Return why others cannot read an array's files through the catalog; empty if they can.

    A Tiled server registers files that it may not read, or that are not on its host, without
    complaint. `resolve` finds them all the same.

    Raises
    ------
    CatalogError
        If there is no such run, stream or key; `CatalogAway` if the store does not answer.
    """
    return backend_of(broker).why_unreadable(uid, stream, key)


def baseline(broker: Broker, uid: str) -> dict[str, float]:
    """Return the first reading of each number in the run's baseline; empty if it has none.

    Raises
    ------
    CatalogError
        If there is no such run.
    """
    store = backend_of(broker)
    known = store.contents(uid, "baseline")
    if not known.tables:
        if store.metadata(uid) is None:
            raise CatalogError(f"there is no run {uid!r} in the catalog {store.name}")
        return {}
    values = store.columns(uid, "baseline", known)
    first = {key: readings[0].as_py() for key, readings in values.items() if len(readings)}
    return {
        key: float(value)
        for key, value in first.items()
        if key not in ("seq_num", "time")
        and not key.startswith("ts_")
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    }


def read_table(broker: Broker, uid: str, stream: str) -> dict[str, list[Any]]:
    """Return the columns of a stream's table; empty lists if it has no rows yet.

    Raises
    ------
    CatalogError
        If there is no such run or stream.
    """
    store = backend_of(broker)
    known = store.contents(uid, stream)
    if not known.tables:
        store.require(uid, stream)
        keys = next(d["data_keys"] for d in store.descriptors(uid) if d["name"] == stream)
        return {"seq_num": [], "time": [], **{key: [] for key in keys}}
    return {
        name: values.to_pandas().tolist()
        for name, values in store.columns(uid, stream, known).items()
        if not name.startswith("ts_")
    }


def _locate(
    store: Backend, uid: str, key: str, stream: str, known: Contents, roots: Roots
) -> ExternalArray:
    """Return where the files of a data source are, by their headers, as the events have them."""
    source = known.sources[key]
    if source.mimetype != "application/x-hdf5" or not source.dataset:
        raise CatalogError(
            f"{key} of run {uid[:8]} is kept as {source.mimetype}, dataset "
            f"{source.dataset!r}; only datasets in HDF5 files can be read by reference"
        )
    if source.part and source.frames is None:
        raise CatalogError(
            f"{key} of run {uid[:8]} is the part {source.part} of a dataset, which cannot "
            "be read by reference"
        )
    try:
        files = [expand(path, source.dataset, roots) for path in source.files]
        frames = _frames(store, uid, key, stream, known)
        if source.frames is not None:
            frames = _in_files(frames, source.frames, [file.shape[0] for file in files])
        return join(files) if frames is None else join(files).take(frames)
    except CatalogError as error:
        raise CatalogError(f"{key} of run {uid[:8]}: {error}") from error


def _frames(
    store: Backend, uid: str, key: str, stream: str, known: Contents
) -> NDArray[np.int64] | None:
    """Return which frame of its files each event has; None if the events do not say."""
    names = [FRAME_COLUMN.format(key), COUNT_COLUMN.format(key)]
    if not known.has_column(names[0]):
        return None
    found = store.columns(uid, stream, known, names)
    # An event may be without: its detector did not take part.
    first = found[names[0]].drop_null().to_numpy().astype(np.int64)
    if names[1] not in found:
        return first
    counts = found[names[1]].drop_null().to_numpy().astype(np.int64)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(first, counts) + within


def _in_files(
    frames: NDArray[np.int64] | None, spans: tuple[tuple[int, int], ...], lengths: list[int]
) -> NDArray[np.int64]:
    """Return which frames of all that the files have now `frames` of the array are.

    Parameters
    ----------
    frames : ndarray, int, or None
        Numbers in the array as it was stored; None: all of it.
    spans : tuple of (int, int)
        First frame and number of frames in each file that are the array's.
    lengths : list of int
        How many frames each file has now: more, if it was written on after the run was stored.

    Raises
    ------
    CatalogError
        If a file has not as many as is needed.
    """
    starts, counts = np.array(spans, np.int64).T
    have = np.array(lengths, np.int64)
    ends = np.cumsum(counts)
    numbers = np.arange(ends[-1]) if frames is None else frames
    of = np.minimum(np.searchsorted(ends, numbers, side="right"), len(ends) - 1)
    local = numbers - (ends - counts)[of] + starts[of]
    short = local >= have[of]
    if short.any():
        place = int(np.flatnonzero(short)[0])
        raise CatalogError(
            f"frame {int(local[place])} of its file number {int(of[place]) + 1} is needed, and the "
            f"file has {have[of[place]]}: it is cut off, or still being written"
        )
    return np.asarray(local + (np.cumsum(have) - have)[of], np.int64)


def _read_through_catalog(
    store: Backend, uid: str, key: str, stream: str, known: Contents, missing: str
) -> NDArray[Any]:
    """Read what is kept in the catalog itself, or in files that only its server reaches."""
    try:
        values = store.read(uid, stream, key)
    except CatalogError as error:
        raise type(error)(f"{error}; {missing}" if missing else str(error)) from error
    frames = _frames(store, uid, key, stream, known) if missing else None
    return values if frames is None else values[frames]


def _missing(source: Source, roots: Roots) -> str:
    """Return what is to be said of the first file that is not on this host; nothing if all are."""
    try:
        for path in source.files:
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


def _as_array(values: Any) -> NDArray[Any]:
    """Return a column of an Arrow table as an array: numbers of its type, texts as such."""
    array = values.to_numpy()
    return array.astype(str) if array.dtype == object and not values.null_count else array
