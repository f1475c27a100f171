"""A catalog on a Tiled server: open it, and say where it is."""

from __future__ import annotations

import os
import warnings
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx

from ...home import Store
from ..errors import CatalogError, NotAllowed
from .connection import address_of, away, impatient, is_served_here, server_address
from .credentials import KEY_VARIABLE, Credentials, Opening, find_credentials, openings
from .permissions import not_accepted

if TYPE_CHECKING:
    from databroker import Broker
    from tiled.client.context import Context

    from .backend import TiledStore

SPEC = "CatalogOfBlueskyRuns"
_REACH_SECONDS = 30.0


def open_remote(store: Store) -> Broker:
    """Return the catalog on a server.

    It never asks for a password: a worker has nobody to ask.

    Parameters
    ----------
    store : Store
        With ``tiled`` or ``profile``.

    Raises
    ------
    CatalogError
        If the server refuses, or there is no catalog of Bluesky runs; `CatalogAway` if it does not
        answer.
    """
    from databroker import Broker

    address, path = store.tiled, list[str]()
    profile: dict[str, Any] = {}
    if store.profile:
        name, *path = _parts(store.profile)
        profile = _profile(name)
        if "direct" in profile:
            node = _open_direct(name, path)
            openings[node.context] = Opening(store, Credentials(f"the Tiled profile {name}"))
            return Broker(node)
        address = profile["uri"]
    credentials = find_credentials(store)
    context, above = _connect(address, credentials, profile)
    path = [*above, *path]
    node = _node(context, path, credentials)
    _check_is_catalog(node, address_of(context, path))
    openings[context] = Opening(store, credentials)
    return Broker(node)


def describe_remote(store: TiledStore) -> Store:
    """Return how another process opens this catalog of a server.

    Raises
    ------
    CatalogError
        If it would need an API key that only this process has.
    """
    context = store.runs.context
    if opening := openings.get(context):
        return opening.store
    if is_served_here(context):
        raise CatalogError(
            f"the catalog {store.name} is served by this process itself, so no other can open it; "
            "name its Tiled profile in config.toml: [catalogs.raw] profile = "
            '"NAME/PATH", and likewise [catalogs.processed]'
        )
    address = address_of(context, store.runs.path_parts)
    if context.api_key and context.api_key != os.environ.get(KEY_VARIABLE):
        raise CatalogError(
            f"the catalog {address} was opened with an API key that only this process has, and a "
            "worker needs one too; write it into a file for you alone (mode 0600) and name both "
            f'in config.toml, as [catalogs.raw] tiled = "{address}" api_key_file = "FILE", or set '
            f"{KEY_VARIABLE} before the worker is started"
        )
    return Store(tiled=address)


def is_at(store: TiledStore, known: Store) -> bool:
    """Whether `known` says where this catalog is."""
    context = store.runs.context
    if opening := openings.get(context):
        return opening.store == known
    address, path = known.tiled, []
    if known.profile:
        name, *path = _parts(known.profile)
        address = _profile(name).get("uri", "")
    if not address:
        return False
    return _place(address, path) == _place(str(context.api_uri), store.runs.path_parts)


def _connect(
    address: str, credentials: Credentials, profile: dict[str, Any]
) -> tuple[Context, list[str]]:
    """Return a connection with credentials, and the path that the address has on the server."""
    from tiled.client.context import Context

    options = {key: profile[key] for key in ("headers", "verify", "trust_env") if key in profile}
    try:
        # The client itself tries for 45 s.
        httpx.get(address, timeout=_REACH_SECONDS, **options)
        context, path = Context.from_any_uri(address, api_key=credentials.key, **options)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise CatalogError(f"{address!r} is no address of a Tiled server: {error}") from error
    except httpx.TransportError as error:
        raise away(address, error) from error
    except (httpx.HTTPStatusError, KeyError, ValueError, TypeError) as error:
        raise CatalogError(
            f"what answers at {address} is no Tiled server: {type(error).__name__}; correct the "
            "address in config.toml, as https://HOST/api/v1/metadata/PATH"
        ) from error
    known = context.server_info.authentication
    if not context.authenticated and known.required:
        logged_in = bool(known.providers) and context.use_cached_tokens()
        if not logged_in:
            raise CatalogError(
                f"the Tiled server {server_address(context)} asks who you are, and there is "
                f"neither an API key nor a login; name a file with one as api_key_file in "
                f"config.toml, set {KEY_VARIABLE}"
                + (f", or run `tiled login {address}`" if known.providers else "")
            )
    return impatient(context), path


def _node(context: Context, path: list[str], credentials: Credentials) -> Any:
    """Return the client of a node of the server."""
    from tiled.client import from_context

    address = address_of(context, path)
    try:
        return from_context(context, node_path_parts=path)
    except httpx.HTTPStatusError as error:
        match error.response.status_code:
            case HTTPStatus.UNAUTHORIZED:
                raise NotAllowed(not_accepted(context, credentials.source)) from error
            case HTTPStatus.FORBIDDEN:
                raise NotAllowed(
                    f"{credentials.source} may not read {address}; ask the server's administrator"
                ) from error
            case HTTPStatus.NOT_FOUND:
                raise CatalogError(
                    f"there is nothing at {address}, or {credentials.source} may not see it; "
                    + how_to_make(address)
                ) from error
        raise CatalogError(f"{address} cannot be opened: {error}") from error


def _check_is_catalog(node: Any, address: str) -> None:
    if any(
        spec.name == SPEC and (spec.version or "").startswith("3.")
        for spec in getattr(node, "specs", ())
    ):
        return
    raise CatalogError(
        f"{address} is no catalog of Bluesky runs (it lacks the spec {SPEC} 3.0); "
        + how_to_make(f"{address}/NAME")
    )


def how_to_make(address: str) -> str:
    """Return how one makes a catalog, as a line of Python."""
    above, _, name = address.rpartition("/")
    return (
        "in Python one makes a catalog by: from tiled.client import from_uri; "
        f'from tiled.structures.core import Spec; from_uri("{above}").create_container("{name}", '
        f'metadata={{"name": "{name}"}}, specs=[Spec("{SPEC}", version="3.0")])'
    )


def profile_of(place: str) -> dict[str, Any]:
    """Return a Tiled profile whose root is what another has at "NAME/PATH".

    Raises
    ------
    CatalogError
        If there is none of this name, or it has no address.
    """
    name, *path = _parts(place)
    profile = _profile(name)
    if "direct" in profile:
        raise CatalogError(
            f"the Tiled profile {name} has no address but is served by the process that opens it: "
            f'notebooks open the catalog by tiled.client.from_profile("{name}")'
            + "".join(f'["{part}"]' for part in path)
        )
    server, _, above = str(profile["uri"]).rstrip("/").partition("/metadata")
    api = server if "/api/" in server else f"{server}/api/v1"
    return {**profile, "uri": "/".join([f"{api}/metadata", *_parts(above), *path])}


def _profile(name: str) -> dict[str, Any]:
    """Return what a Tiled profile says."""
    from tiled.profiles import list_profiles, load_profiles

    profiles = load_profiles()
    if name not in profiles:
        raise CatalogError(
            f"there is no Tiled profile {name!r}, which config.toml names; there are "
            f"{', '.join(sorted(list_profiles())) or 'none'} (see `tiled profile list`)"
        )
    return dict(profiles[name][1])


def _open_direct(name: str, path: list[str]) -> Any:
    """Return a catalog that a profile has this process serve to itself."""
    from tiled.client import from_profile

    with warnings.catch_warnings():
        # Starlette's advice about its test client is not for our users.
        warnings.filterwarnings("ignore", message=".*starlette.testclient.*")
        node = from_profile(name)
    try:
        for part in path:
            node = node[part]
    except KeyError as error:
        raise CatalogError(
            f"the Tiled profile {name} has no {'/'.join(path)}; it has {', '.join(sorted(node))}"
        ) from error
    _check_is_catalog(node, f"{name}/{'/'.join(path)}")
    return node


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _place(address: str, path: list[str]) -> tuple[str, list[str]]:
    """Return which server an address is of, and the path on it, with `path` behind."""
    url = httpx.URL(address)
    return url.netloc.decode(), [*_parts(url.path.partition("/metadata")[2]), *path]
