"""Read what only a handler knows: values of specs that are none of ours."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CatalogError
from .loading import unfilled

GROUP = "databroker.handlers"


def read_filled(header: Any, stream: str, key: str) -> NDArray[np.generic]:
    """Return the values of a key as databroker fills them, joined.

    Handlers are those of the broker; one that it lacks is looked for among the installed packages'.

    Parameters
    ----------
    header : databroker.v0.Header
    stream, key : str

    Returns
    -------
    ndarray
        Of the one event; (events, ...) if there are several of one shape; else all, one after the
        other along the first axis.

    Raises
    ------
    CatalogError
        If there is no handler, or it fails.
    """
    registry = header.db.reg
    values = []
    for name, event in unfilled(header, stream_name=stream):
        datum_id = event["data"].get(key) if name == "event" else None
        if datum_id is None:
            continue
        try:
            spec = registry.resource_given_datum_id(datum_id)["spec"]
        except (registry.DatumNotFound, KeyError) as error:
            raise CatalogError(
                f"{key} of run {header.start['uid'][:8]} refers to the Datum document "
                f"{datum_id!r}, which the broker's registry does not have"
            ) from error
        _find_handler(registry, spec, key, header.start["uid"])
        try:
            values.append(np.asarray(registry.retrieve(datum_id)))
        except Exception as error:
            raise CatalogError(
                f"{key} of run {header.start['uid'][:8]} cannot be read by the handler of "
                f"{spec!r}, {registry.handler_reg[spec]!r}: {type(error).__name__}: {error}"
            ) from error
    if len(values) == 1:
        return values[0]
    if not values:
        raise CatalogError(f"{key} of run {header.start['uid'][:8]} has no values")
    same = len({value.shape for value in values}) == 1
    return np.stack(values) if same else np.concatenate([np.atleast_1d(each) for each in values])


def _find_handler(registry: Any, spec: str, key: str, uid: str) -> None:
    if spec in registry.handler_reg:
        return
    for found in importlib.metadata.entry_points(group=GROUP, name=spec):
        registry.register_handler(spec, found.load())
        return
    raise CatalogError(
        f"{key} of run {uid[:8]} is kept as {spec!r}, which no handler reads: install the package "
        f"that has one, or db.reg.register_handler({spec!r}, ...)"
    )
