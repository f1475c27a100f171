"""The Tiled profile with which any notebook opens the same catalogs by name."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from ..home import Home, Store, find_home
from .errors import CatalogError
from .first_use import make
from .storage import configuration

PROFILE = "hxn_ptycho"


def install_profile(home: Home | str | os.PathLike[str] | None = None) -> Path:
    """Write the Tiled profile ``hxn_ptycho`` for this user and return its path.

    With it ``databroker.Broker.named("hxn_ptycho")`` is the raw catalog, and
    ``tiled.client.from_profile("hxn_ptycho")["processed"]`` the derived runs, in any
    notebook. Where config.toml names other stores, those are
    ``databroker.Broker.named("hxn_ptycho_processed")``. No key is written: who opens it has
    TILED_API_KEY or a login of their own.

    Raises
    ------
    CatalogError
        If the catalogs cannot be opened, a Tiled profile cannot name them, or it cannot be written.
    ConfigError
        If ``config.toml`` cannot be used.
    """
    import tiled.profiles

    where = home if isinstance(home, Home) else find_home(home)
    stores = where.config().catalogs
    if stores.raw.is_embedded or stores.processed.is_embedded:
        make(where)
    if stores.raw.is_embedded and stores.processed.is_embedded:
        profiles = {PROFILE: {"direct": configuration(where)}}
    else:
        profiles = {
            PROFILE: _profile_of(where, "raw", stores.raw),
            f"{PROFILE}_processed": _profile_of(where, "processed", stores.processed),
        }
    # The user's own folder of profiles; TILED_PROFILES moves it.
    path = tiled.profiles.paths[-1] / f"{PROFILE}.yml"
    text = yaml.safe_dump(profiles, sort_keys=False)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text)
        os.replace(partial, path)
    except OSError as error:
        raise CatalogError(
            f"the Tiled profile {path} cannot be written ({error.strerror}); set TILED_PROFILES "
            "to a folder that can"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    tiled.profiles.load_profiles.cache_clear()
    return path


def _profile_of(home: Home, name: str, store: Store) -> dict[str, Any]:
    """Return the profile of one catalog."""
    if store.is_embedded:
        whole = configuration(home)
        trees = [tree for tree in whole["trees"] if tree["path"] == f"/{name}"]
        return {"direct": {**whole, "trees": [{**trees[0], "path": "/"}]}}
    if store.v0:
        raise CatalogError(
            f"catalog {name} is a databroker.v0 broker (config.toml), which no Tiled profile can "
            "name; notebooks open it as you do, by databroker.v0.Broker"
        )
    if store.tiled:
        return {"uri": store.tiled}
    from .tiled_store.remote import profile_of

    return profile_of(store.profile)
