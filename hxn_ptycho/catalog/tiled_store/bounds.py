"""How long a Tiled server is waited for: it may refuse, or accept and never answer.

Tiled's client tries a request for 45 s, each time for up to 30. Here each is bounded, and given up
when nothing was heard for a while, for the threads that ask by this room only: the client may be a
user's own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import httpx

from ..errors import CatalogAway

CONNECT_SECONDS = 3.0
#: For the first byte of an answer.
ANSWER_SECONDS = 15.0
#: After so long without an answer nothing more is asked.
SILENT_SECONDS = 5.0


class _Scope(threading.local):
    answer: float | None = None  # None: nothing is bounded now
    asked: float | None = None  # when the first request was made that has had no answer


_scope = _Scope()


@contextmanager
def bounded(client: Any, answer: float | None = None) -> Iterator[None]:
    """Bound the requests of a Tiled client that this thread makes meanwhile.

    Parameters
    ----------
    client : Tiled client
    answer : float, optional
        Seconds to wait for the first byte of an answer; default: `ANSWER_SECONDS`.

    Raises
    ------
    CatalogAway
        Where nothing was heard for some seconds and more would be asked.
    """
    hooks = client.context.http_client.event_hooks
    if _before not in hooks["request"]:
        client.context.http_client.event_hooks = {
            "request": [*hooks["request"], _before],
            "response": [*hooks["response"], _after],
        }
    if _scope.answer is not None:  # within another
        yield
        return
    _scope.answer, _scope.asked = answer or ANSWER_SECONDS, None
    try:
        yield
    finally:
        _scope.answer = None


def _before(request: httpx.Request) -> None:
    if _scope.answer is None:
        return
    now = time.monotonic()
    if _scope.asked is None:
        _scope.asked = now
    if now - _scope.asked > SILENT_SECONDS:
        raise CatalogAway(
            f"the server {request.url.netloc.decode()} has not answered for "
            f"{now - _scope.asked:.0f} s"
        )
    limits = {"connect": CONNECT_SECONDS, "read": _scope.answer, "pool": CONNECT_SECONDS}
    given = dict(request.extensions.get("timeout") or {})
    for name, limit in limits.items():
        given[name] = limit if given.get(name) is None else min(limit, given[name])
    request.extensions["timeout"] = given


def _after(response: httpx.Response) -> None:
    if response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        _scope.asked = None
