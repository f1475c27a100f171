"""Resource and Datum documents, and data keys, of arrays that are kept in files."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np


def resource(spec: str, root: Path, path: Path, **kwargs: Any) -> tuple[dict[str, Any], str]:
    """Return a Resource document, less ``run_start``, and its uid."""
    uid = str(uuid.uuid4())
    return {
        "uid": uid,
        "spec": spec,
        "root": str(root),
        "resource_path": str(path.relative_to(root)),
        "resource_kwargs": kwargs,
        "path_semantics": "posix",
    }, uid


def datum(resource_uid: str, number: int, **kwargs: Any) -> dict[str, Any]:
    """Return a Datum document of a resource."""
    return {
        "resource": resource_uid,
        "datum_id": f"{resource_uid}/{number}",
        "datum_kwargs": kwargs,
    }


def external(
    source: str, shape: tuple[int, ...], dtype: Any, kind: str = "FILESTORE:"
) -> dict[str, Any]:
    """Return the data key of an array kept in a file; "STREAM:" for stream documents."""
    return {
        "source": source,
        "dtype": "array",
        "dtype_numpy": np.dtype(dtype).str,
        "shape": list(shape),
        "external": kind,
    }
