"""By what a Tiled server knows us: an API key of a file, of the environment, or a login."""

from __future__ import annotations

import os
import stat
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...home import Store
from ..errors import CatalogError

if TYPE_CHECKING:
    from tiled.client.context import Context

KEY_VARIABLE = "TILED_API_KEY"
LOGIN = "your login of Tiled"


@dataclass(frozen=True)
class Credentials:
    """What we show a server.

    Attributes
    ----------
    source : str
        Where it is from, in words for messages; never the key itself.
    key : str or None
        API key; None: a login that Tiled has kept, if there is one.
    """

    source: str
    key: str | None = field(default=None, repr=False)


def find_credentials(store: Store) -> Credentials:
    """Return the API key of ``api_key_file``, else of TILED_API_KEY, else a login.

    Raises
    ------
    CatalogError
        If the file cannot be read, can be read by others, or holds no key.
    """
    if store.api_key_file:
        path = Path(store.api_key_file).expanduser()
        return Credentials(f"the API key in {path}", _read(path))
    if key := os.environ.get(KEY_VARIABLE):
        return Credentials(f"the API key in {KEY_VARIABLE}", key)
    return Credentials(LOGIN)


def _read(path: Path) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise CatalogError(
                    f"{path} (api_key_file) can be read or written by others (mode {mode:04o}), "
                    f"so the key in it is no secret; chmod 600 {path}, and if others may have seen "
                    "it, revoke the key and make another"
                )
            words = file.read().split()
    except OSError as error:
        raise CatalogError(
            f"{path} (api_key_file) cannot be read ({error.strerror}); make a key with "
            "`tiled api_key create` and write it there, for you alone (mode 0600)"
        ) from error
    except UnicodeDecodeError as error:
        raise CatalogError(f"{path} (api_key_file) is no text file, so it holds no key") from error
    if len(words) != 1:
        raise CatalogError(
            f"{path} (api_key_file) must hold an API key, one word, and it holds {len(words)}"
        )
    return words[0]


@dataclass(frozen=True)
class Opening:
    """How a connection was made here."""

    store: Store
    credentials: Credentials


#: Of connections that were made here, by their Tiled context.
openings: weakref.WeakKeyDictionary[Any, Opening] = weakref.WeakKeyDictionary()


def credentials_in_use(context: Context) -> str:
    """Return where the credentials of a connection are from, in words."""
    if opening := openings.get(context):
        return opening.credentials.source
    if context.api_key:
        known = context.api_key == os.environ.get(KEY_VARIABLE)
        return f"the API key in {KEY_VARIABLE}" if known else "the API key it was opened with"
    return LOGIN if context.http_client.auth is not None else "no API key and no login"
