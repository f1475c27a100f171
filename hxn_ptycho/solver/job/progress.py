"""What a running job says of itself: ``progress.jsonl``."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .files import PROGRESS_FILE


class ProgressWriter:
    """Appends to ``progress.jsonl``: one JSON object a line, non-finite numbers as null."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / PROGRESS_FILE

    def __call__(self, event: str, **fields: Any) -> None:
        """Append one line ``{"event": event, "time": ..., **fields}`` in a single write."""
        line = json.dumps(_finite({"event": event, "time": time.time(), **fields})) + "\n"
        # O_APPEND and one write: ranks may report a failure at the same moment.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def read_progress(folder: str | os.PathLike[str], offset: int = 0) -> tuple[list[dict], int]:
    """Return the whole lines of ``progress.jsonl`` after byte `offset`, and the next offset.

    A line still being written is left for the next call; a missing file has no lines.
    """
    try:
        with open(Path(folder) / PROGRESS_FILE, "rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], offset + len(whole)


def _finite(value: Any) -> Any:
    """Replace numpy scalars and arrays by plain ones, and non-finite numbers by None."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _finite(value.tolist())
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
