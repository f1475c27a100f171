"""Files written whole or not at all, and not over others unasked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Writers = Mapping[str, Callable[[Path], Any]]
"""File name within the folder, and what writes it to a path."""


class ExportError(ValueError):
    """What cannot be exported as asked; the message says why and what to do."""


def write_files(files: Writers, folder: str | os.PathLike[str], *, overwrite: bool) -> list[Path]:
    """Write some files into a folder, which is made if it is not there.

    Raises
    ------
    ExportError
        If one is there already and may not be replaced, or cannot be written.
    """
    there = [name for name in files if (Path(folder) / name).exists()]
    if there and not overwrite:
        raise ExportError(
            f"{Path(folder) / there[0]} is there already ({len(there)} of {len(files)} files are); "
            "choose another folder or label, or ask to overwrite"
        )
    written = []
    for name, write in files.items():
        target = Path(folder) / name
        partial = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                write(partial)
                os.replace(partial, target)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise ExportError(f"{target} cannot be written: {error.strerror or error}") from error
        written.append(target)
    return written
