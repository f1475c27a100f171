"""Say of a `databroker.v0.Broker` where it is, and how another process opens the same."""

from __future__ import annotations

import importlib
import json
import os
import queue
import sqlite3
from collections.abc import Mapping
from typing import Any

from ...home import Store, without_secrets
from ..errors import CatalogAway, CatalogError
from .preparing import HANDED_ON
from .sqlite_kind import is_sqlite


def is_passing(error: BaseException) -> bool:
    """Whether an error may go away by itself: a busy database, a server or folder not there."""
    if isinstance(error, CatalogAway | TimeoutError | queue.Empty) or is_lost(error):
        return True
    if isinstance(error, sqlite3.OperationalError):
        return "locked" in str(error) or "busy" in str(error)
    return isinstance(error, json.JSONDecodeError)  # plain databroker is writing its list of runs


def is_lost(error: BaseException) -> bool:
    """Whether a database is not there; what was asked last may have been done or not."""
    if isinstance(error, FileNotFoundError):
        return True
    if isinstance(error, sqlite3.OperationalError):
        return "unable to open" in str(error)
    # By name: pymongo is there where a broker is on MongoDB, and only there.
    return any(
        kind.__module__ == "pymongo.errors"
        and kind.__name__ in ("ConnectionFailure", "WTimeoutError", "ExecutionTimeout")
        for kind in type(error).__mro__
    )


def place(broker: Any) -> str:
    """Return where a broker keeps its runs, in words without any secret."""
    config = broker.mds.config
    if "directory" in config:
        return str(config["directory"])
    host = without_secrets(str(config.get("uri") or config.get("host") or "localhost"))
    return f"{config.get('database', '?')} on {host}"


def describe_v0(broker: Any) -> Store:
    """Return how another process opens a broker.

    Raises
    ------
    CatalogError
        If it cannot: it is of this process's memory, of a class that only this process has, or its
        configuration holds a password and is in no file of databroker's.
    """
    config: dict[str, Any] = {
        "metadatastore": _part(broker.mds),
        "assets": _part(broker.reg),
    }
    if broker.reg.root_map:
        config["root_map"] = dict(broker.reg.root_map)
    if handlers := _handlers(broker.reg):
        config["handlers"] = handlers
    if without_secrets(config) != config:
        if broker.name and is_of(broker, Store(v0=str(broker.name))):
            return Store(v0=str(broker.name))
        raise CatalogError(
            f"the broker {broker.name or place(broker)} was opened with a password, which must not "
            "go into a job: put its configuration into ~/.config/databroker/NAME.yml (mode 0600), "
            'open it by databroker.v0.Broker.named("NAME"), and the worker does so too'
        )
    return Store(v0=config)


def is_of(broker: Any, store: Store) -> bool:
    """Whether what config.toml says of a catalog is of a broker's databases."""
    from databroker.utils import lookup_config

    try:
        config = lookup_config(store.v0) if isinstance(store.v0, str) else store.v0
        return _databases(config) == [_config(broker.mds.config), _config(broker.reg.config)]
    except (OSError, KeyError, TypeError):
        return False  # no configuration of this name, or none of databroker.v0's


def _part(source: Any) -> dict[str, Any]:
    _refuse_memory(source)
    kind = _importable(type(source))
    config = _config(source.config)
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CatalogError(
            f"the configuration of {kind.__name__} holds more than texts and numbers ({error}): "
            "another process cannot open this broker"
        ) from error
    return {"module": kind.__module__, "class": kind.__name__, "config": config}


def _importable(kind: type) -> type:
    """Return the class that another process opens: databroker's own that a user's is derived from.

    Classes of an IPython profile are of this process only, and importing a beamline's package may
    connect to its devices.
    """
    own = [each for each in kind.__mro__ if each.__module__.startswith("databroker.")]
    for each in own or kind.__mro__[:1]:
        if _found(each):
            return each
    raise CatalogError(
        f"{kind.__module__}.{kind.__qualname__} is none of databroker's classes nor derived from "
        "one: another process cannot open this broker"
    )


def _found(kind: type) -> bool:
    if kind.__module__ == "__main__":
        return False
    try:
        return getattr(importlib.import_module(kind.__module__), kind.__name__, None) is kind
    except ImportError:
        return False


def _refuse_memory(source: Any) -> None:
    """Refuse databases in memory, as mongomock's: another process finds none of it."""
    if is_sqlite(source) or "dbpath" in source.config:
        in_memory = str(source.config.get("dbpath", "")).startswith((":memory:", "file::memory:"))
    else:
        # Not by the property of this name, which asks the server.
        database = next(
            (found for name, found in vars(source).items() if name.endswith("RO__db")), None
        )
        kind = type(getattr(database, "client", None))
        in_memory = database is not None and not kind.__module__.startswith("pymongo")
    if in_memory:
        raise CatalogError(
            f"the broker's {type(source).__name__} keeps its documents in the memory of this "
            "process, where the worker cannot read them: use databroker.v0 on MongoDB or SQLite, "
            "or leave the catalog out (AutoReconstruct() and a second subscription, "
            "RE.subscribe(hxn_ptycho.catalog.writer(catalogs.raw)))"
        )


def _handlers(registry: Any) -> dict[str, dict[str, str]]:
    """Return the handlers of a registry that opening it anew would not bring."""
    from databroker.assets.handlers import HandlerBase

    return {
        spec: {"module": handler.__module__, "class": handler.__name__}
        for spec, handler in registry.handler_reg.items()
        if isinstance(handler, type)
        and handler.__module__ not in HANDED_ON
        and not (issubclass(handler, HandlerBase) and handler.__module__.startswith("databroker."))
        and _found(handler)
    }


def _databases(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_config(config[part]["config"]) for part in ("metadatastore", "assets")]


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration whose folders are what they are from everywhere."""
    return {
        key: os.path.abspath(value) if key in ("directory", "dbpath") else value
        for key, value in config.items()
    }
