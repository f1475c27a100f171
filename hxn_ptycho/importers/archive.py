"""NumPy archives (.npz, .npz.bz2) with the arrays ``data``, ``scan`` and, perhaps, ``probe``."""

from __future__ import annotations

import bz2
import shutil
import tempfile
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from .measured import ImportFileError, Measured, checked

IN_MEMORY = 256 * 2**20  # bytes of a decompressed archive; a larger one goes through a file
NEEDED, OPTIONAL = ("data", "scan"), ("probe",)


def read_archive(path: Path) -> Measured:
    """Read a scan from a NumPy archive, compressed by bzip2 or not (its first bytes say).

    Parameters
    ----------
    path : Path
        ``data`` (..., N, h, w): counts, DC at the corner; ``scan`` (..., N, 2): row and column of
        each window's corner in the object, pixels; ``probe`` (..., modes, h, w), optional.

    Raises
    ------
    ImportFileError
        If it cannot be read, is no such archive, is truncated, or its arrays do not fit.
    """
    try:
        with ExitStack() as stack:
            file: IO[bytes] = stack.enter_context(path.open("rb"))
            if file.read(3) == b"BZh":
                packed = stack.enter_context(bz2.open(path))
                file = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=IN_MEMORY))
                shutil.copyfileobj(packed, file, 2**20)
            file.seek(0)
            arrays = _read(path, file)
    except (EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ImportFileError(
            f"{path.name} is truncated or damaged ({error}); copy it again"
        ) from error
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read: {error.strerror or error}") from error
    return checked(path.name, arrays["data"], arrays["scan"], arrays.get("probe"))


def _read(path: Path, file: IO[bytes]) -> dict[str, NDArray]:
    start = file.read(4)
    file.seek(0)
    if start != b"PK\x03\x04":
        raise ImportFileError(
            f"{path.name} is not a NumPy archive (.npz, or .npz.bz2): it begins with {start!r}"
        )
    with np.load(file, allow_pickle=False) as archive:
        missing = [key for key in NEEDED if key not in archive.files]
        if missing:
            raise ImportFileError(
                f"{path.name} holds {', '.join(archive.files) or 'nothing'}; expected data "
                "(frames, DC at the corner), scan (positions, object pixels) and perhaps probe: "
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            )
        wanted = [key for key in (*NEEDED, *OPTIONAL) if key in archive.files]
        arrays = {}
        for key in wanted:
            try:
                arrays[key] = archive[key]
            except ValueError as error:
                raise ImportFileError(f"{path.name}: {key} cannot be read: {error}") from error
        return arrays
