"""What an IPython session at the simulated beamline keeps from one day to the next."""

from __future__ import annotations

import json
import os
from collections import UserDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..catalog import CatalogError, find_run, start_document

if TYPE_CHECKING:
    from databroker import Broker


class FileMetadata(UserDict[str, Any]):
    """A RunEngine's ``md`` that is kept in a JSON file.

    A key is on disk as soon as it is set. What is changed inside a value (``md["a"]["b"] = 1``)
    is written with the next key; two sessions overwrite each other key by key, never half a file.

    Parameters
    ----------
    path : Path
        Need not exist.

    Raises
    ------
    ValueError
        If the file is not a JSON object.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        super().__init__()
        self.data = self._read()

    def __setitem__(self, key: str, value: Any) -> None:
        self.data = {**self._read(), **self.data, key: value}
        self._write()

    def __delitem__(self, key: str) -> None:
        del self.data[key]
        self._write()

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        except json.JSONDecodeError as error:
            raise ValueError(f"{self.path} is not JSON ({error}); mend it or remove it") from error
        if not isinstance(content, dict):
            raise ValueError(f"{self.path} holds no keys and values; mend it or remove it")
        return content

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        partial.write_text(json.dumps(self.data, indent=1, default=str) + "\n")
        os.replace(partial, self.path)


def next_scan_id(broker: Broker) -> Callable[[Mapping[str, Any]], int]:
    """Return a ``scan_id_source`` for a RunEngine: scans are numbered on from the catalog's last.

    A second session, or one after an import, therefore does not give a number twice.
    """

    def source(md: Mapping[str, Any]) -> int:
        last = 0
        try:
            last = int(
                start_document(broker, find_run(broker, -1, derived=False)).get("scan_id") or 0
            )
        except CatalogError:  # no run yet
            last = 0
        return last + 1

    return source
