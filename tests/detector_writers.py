"""Files as detectors write them: an Eiger's master, an area detector that still writes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

FRAMES = "/entry/instrument/detector/data"
BITSHUFFLE = hdf5plugin.Bitshuffle(cname="lz4")

_WRITER = f"""
import sys, h5py, numpy as np
path, mode = sys.argv[1:]
file = h5py.File(path, "w", libver="earliest" if mode == "old" else "latest")
frames = file.create_dataset("{FRAMES}", shape=(0, 4, 5), maxshape=(None, 4, 5),
                             chunks=(1, 4, 5), dtype="uint16")
file["entry/data/data"] = h5py.SoftLink("{FRAMES}")
file.flush()
if mode == "swmr":
    file.swmr_mode = True
print("open", flush=True)
for line in sys.stdin:
    length = int(line)
    begin = len(frames)
    frames.resize(length, axis=0)
    frames[begin:] = np.arange(begin, length)[:, None, None] + 1
    frames.flush()
    print("written", flush=True)
file.close()
"""


class Writer:
    """A process that has a file open for writing; its frame number j is j + 1 everywhere."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def extend(self, length: int) -> None:
        """Write up to `length` frames."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{length}\n")
        self._process.stdin.flush()
        self.wait_for("written")

    def wait_for(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{word}\n"

    def kill(self) -> None:
        """End it as a crash does: the file stays as it is."""
        self._process.kill()
        self._process.wait()


@contextmanager
def writing(path: Path, mode: str) -> Iterator[Writer]:
    """Have another process write `path`: "swmr", "latest" (not SWMR), "old" (HDF5 1.8 format)."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        writer = Writer(process)
        writer.wait_for("open")
        yield writer
    if process.returncode > 0:
        raise AssertionError(f"the writer ended with {process.returncode}")


def make_frames(count: int, shape: tuple[int, int] = (6, 7), dtype: str = "uint32") -> np.ndarray:
    """Return frames that all differ, in every pixel."""
    size = count * shape[0] * shape[1]
    return np.arange(1, size + 1).reshape(count, *shape).astype(dtype)


def write_eiger(
    folder: Path,
    frames: np.ndarray,
    *,
    each: int = 4,
    virtual: bool = False,
    links: bool = True,
    mask: np.ndarray | None = None,
    cutoff: int | None = None,
    **options: Any,
) -> Path:
    """Write an Eiger's data files of `each` frames, and their master; return the master's path.

    `virtual`: with a virtual dataset, as newer ones have it; `links`: with external links.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count, *shape = frames.shape
    master = folder / "series_7_master.h5"
    layout = h5py.VirtualLayout(shape=frames.shape, dtype=frames.dtype)
    with h5py.File(master, "w", libver="latest") as file:
        group = file.create_group("entry/data")
        for number, begin in enumerate(range(0, count, each), start=1):
            part = frames[begin : begin + each]
            name = f"series_7_data_{number:06d}.h5"
            with h5py.File(folder / name, "w", libver="latest") as target:
                dataset = target.create_dataset(
                    "entry/data/data", data=part, chunks=(1, *shape), **{**BITSHUFFLE, **options}
                )
                dataset.attrs["image_nr_low"] = begin + 1
                dataset.attrs["image_nr_high"] = begin + len(part)
            if links:
                group[f"data_{number:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
            layout[begin : begin + len(part)] = h5py.VirtualSource(
                name, "entry/data/data", shape=part.shape
            )
        if virtual:
            group.create_virtual_dataset("data", layout)
        special = file.create_group("entry/instrument/detector/detectorSpecific")
        if mask is not None:
            special.create_dataset("pixel_mask", data=mask, chunks=mask.shape, **BITSHUFFLE)
        if cutoff is not None:
            special["countrate_correction_count_cutoff"] = cutoff
    return master
