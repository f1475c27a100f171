"""The connection to a Tiled server: one that is away is said to be at once.

Tiled's client tries a request again for up to 45 s by itself, silently. Here it is the caller who
knows whether to wait: a callback on the RunEngine's thread does not, a worker does.
"""

from __future__ import annotations

import copy
import weakref
from typing import TYPE_CHECKING, Any

import httpx

from ..errors import CatalogAway

if TYPE_CHECKING:
    from tiled.client.context import Context

_SERVER_ERROR = 500
#: Ours, by another's.
_impatient: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


class _Impatient(httpx.BaseTransport):
    """Raises `CatalogAway`, which Tiled's client does not try again, where a server is not there.

    Parameters
    ----------
    inner : httpx.BaseTransport
    address : str
        Of the server, for messages.
    """

    def __init__(self, inner: httpx.BaseTransport, address: str) -> None:
        self._inner = inner
        self._address = address

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        try:
            response = self._inner.handle_request(request)
        except httpx.UnsupportedProtocol:
            raise
        except httpx.TransportError as error:
            raise away(self._address, error) from error
        if response.status_code >= _SERVER_ERROR:
            response.close()
            raise CatalogAway(
                f"the Tiled server {self._address} answers {response.status_code} "
                f"{response.reason_phrase}: it, or the database behind it, is not well; its log "
                f"says why (request {response.headers.get('x-tiled-request-id', 'unknown')})"
            )
        return response

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


def away(address: str, error: Exception) -> CatalogAway:
    """Return what to raise when the server does not answer."""
    said = " ".join(str(error).split()) or type(error).__name__
    return CatalogAway(
        f"the Tiled server {address} does not answer ({said}); see that it runs and that this "
        "host reaches it"
    )


def is_served_here(context: Context) -> bool:
    """Whether the server is in this process, not at the other end of a connection."""
    return getattr(context.http_client, "app", None) is not None


def impatient(context: Context) -> Context:
    """Return a connection of our own to the same server, with the same credentials.

    The one that was given is its owner's, and stays as patient as it was.
    """
    if is_served_here(context) or isinstance(context.http_client._transport, _Impatient):
        return context
    if context not in _impatient:
        own = copy.copy(context)
        client = own.http_client
        client._transport = _Impatient(client._transport, server_address(context))
        _impatient[context] = own
    return _impatient[context]


def server_address(context: Context) -> str:
    """Return the server's address, as a browser takes it."""
    url = context.api_uri
    return str(url.copy_with(path=url.path.partition("/api/")[0] or "/")).rstrip("/")


def address_of(context: Context, path: list[str]) -> str:
    """Return the address of a node, as config.toml has it."""
    return "/".join([str(context.api_uri).rstrip("/"), "metadata", *path])
