"""What a Tiled server lets us do, and what to say when it does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx

from ..errors import NotAllowed
from .connection import address_of, is_served_here, server_address
from .credentials import credentials_in_use

if TYPE_CHECKING:
    from tiled.client.context import Context

    from .backend import TiledStore

_SCOPES = {
    "read": ("read:metadata", "read:data"),
    "write to": (
        *("read:metadata", "read:data", "create:node", "write:metadata", "write:data"),
        *("delete:node", "delete:revision", "register"),
    ),
}


def lacks_scopes(store: TiledStore) -> tuple[str, ...]:
    """Return which scopes the API key in use lacks to store runs; empty also if it does not say."""
    context = store.runs.context
    links = context.server_info.authentication.links
    if is_served_here(context) or context.api_key is None or not (links and links.apikey):
        return ()  # a login, or the one key of a server for one user
    has = set(context.which_api_key()["scopes"] or ["inherit"])
    return () if "inherit" in has else tuple(s for s in _SCOPES["write to"] if s not in has)


@contextmanager
def refusals(store: TiledStore) -> Iterator[None]:
    """Say in words what to do where a server does not let us.

    Raises
    ------
    NotAllowed
        In place of its answer.
    """
    from tiled.client.auth import CannotRefreshAuthentication

    context = store.runs.context
    address = address_of(context, store.runs.path_parts)
    try:
        yield
    except CannotRefreshAuthentication as error:
        raise NotAllowed(
            f"your login at {server_address(context)} has run out; run `tiled login {address}`"
        ) from error
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise
        by = credentials_in_use(context)
        # Tiled answers both with 401.
        if "permission" not in str(error) and error.response.status_code != HTTPStatus.FORBIDDEN:
            raise NotAllowed(not_accepted(context, by)) from error
        does = "read" if error.request.method == "GET" else "write to"
        raise NotAllowed(
            f"{by} may not {does} {address}; it takes one with the scopes "
            f"{' '.join(_SCOPES[does])}, which the server's administrator can make"
        ) from error


def not_accepted(context: Context, by: str) -> str:
    """Return what to say of a key that the server does not know."""
    return (
        f"the Tiled server {server_address(context)} does not accept {by}: it is wrong, revoked or "
        "out of date; make another with `tiled api_key create`"
    )
