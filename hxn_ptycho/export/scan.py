"""A scan's frames, prepared as for a reconstruction, in the file formats of other programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .files import ExportError, write_files
from .prepared import PreparedScan
from .scan_cxi import write_cxi
from .scan_ptycho_gui import write_ptycho_gui

__all__ = ["SCAN_FORMATS", "PreparedScan", "write_scan"]

SCAN_FORMATS: dict[str, tuple[str, Callable[[Path, PreparedScan], Any]]] = {
    "ptycho_gui": ("scan_{}.h5", write_ptycho_gui),
    "cxi_frames": ("scan_{}_frames.cxi", write_cxi),
    "pynx": ("scan_{}_pynx.cxi", partial(write_cxi, positions_last=True)),
}
"""Name of the file, and what writes it."""


def write_scan(
    scan: PreparedScan, format: str, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> list[Path]:
    """Write a scan for another program; its frames are read a batch at a time.

    ``ptycho_gui``
        ``scan_<id>.h5``, as HXN's program writes it itself: amplitudes, turned by
        ``numpy.rot90(axes=(1, 0))``, DC at [0, 0]. Its directions are to be left at -1.
    ``cxi_frames``
        ``scan_<id>_frames.cxi``: counts, DC in the middle, positions (N, 3) as CXI has them.
    ``pynx``
        The same, positions (3, N), as PyNX reads and writes them.

    Raises
    ------
    ExportError
        For an unknown format, a file that is there already, a folder that cannot be written, or
        what the format cannot hold.
    """
    if format not in SCAN_FORMATS:
        raise ExportError(f"unknown format {format!r}; choose one of {', '.join(SCAN_FORMATS)}")
    name, write = SCAN_FORMATS[format]
    files = {name.format(scan.scan_id): lambda path: write(path, scan)}
    return write_files(files, folder, overwrite=overwrite)
