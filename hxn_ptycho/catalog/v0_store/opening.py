"""Open a `databroker.v0.Broker` by its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...home import Store, without_secrets
from ..errors import CatalogAway, CatalogError
from .describing import is_passing, place
from .preparing import prepare
from .sqlite_kind import is_sqlite

if TYPE_CHECKING:
    from databroker import Broker


def open_v0(store: Store) -> Broker:
    """Return the broker of a configuration, or of the name of one.

    Raises
    ------
    CatalogError
        If there is no such configuration, or it cannot be opened; `CatalogAway` if the database
        does not answer.
    """
    what = (
        f"the databroker.v0 catalog {store.v0!r}"
        if isinstance(store.v0, str)
        else "the databroker.v0 catalog of this configuration"
    )
    try:
        broker = _open(store)
        what = f"the databroker.v0 catalog {broker.name or place(broker)}"
        prepare(broker)
        _ask(broker)
    except CatalogError:
        raise
    except Exception as error:
        kind = CatalogAway if is_passing(error) else CatalogError
        raise kind(
            f"{what} cannot be opened: {type(error).__name__}: {without_secrets(str(error))}"
        ) from error
    return broker


def _open(store: Store) -> Any:
    from databroker import utils
    from databroker.v0 import Broker

    if isinstance(store.v0, dict):
        _require_folders(store.v0)
        return Broker.from_config(store.v0)
    if store.v0 == "temp":
        raise CatalogError('databroker\'s "temp" is a new, empty catalog in each process')
    try:
        config = utils.lookup_config(store.v0)
    except FileNotFoundError as error:
        known = ", ".join(sorted(utils.list_configs(utils.CONFIG_SEARCH_PATH))) or "none"
        raise CatalogError(
            f"databroker has no configuration {store.v0!r} (it has: {known}): make "
            f"~/.config/databroker/{store.v0}.yml, as databroker.v0.Broker.named takes it"
        ) from error
    if not isinstance(config, dict) or not {"metadatastore", "assets"} <= set(config):
        raise CatalogError(
            f"databroker's configuration {store.v0!r} has no metadatastore and assets: it is none "
            "of databroker.v0's"
        )
    _require_folders(config)
    return Broker.from_config(config, name=store.v0)


def _require_folders(config: dict[str, Any]) -> None:
    """Raise if a file system is away in which databroker would make its files anew."""
    for part in ("metadatastore", "assets"):
        for key in ("directory", "dbpath"):
            folder = Path(config[part]["config"].get(key, "/")).absolute().parent
            if key == "directory" and not folder.is_dir():
                raise FileNotFoundError(f"the folder {folder} is not there")


def _ask(broker: Any) -> None:
    """Ask both databases something, so that what is wrong with them is told now."""
    if is_sqlite(broker.mds):
        broker.mds._runstart_col.refresh()
    elif hasattr(broker.mds, "_db"):
        broker.mds._db.command("ping")
    _ = broker.reg._resource_col
