"""Find and open the HDF5 files that detectors write: the one way, for every room.

A file may have been moved, may still be open for writing, and may be compressed by a filter that
HDF5 does not bring.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py

from .job import ROOTS_VARIABLE, JobError, relocate

Roots = Sequence[tuple[str, str]]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Bits of the superblock's consistency flags (HDF5 file format, "Superblock", versions 2 and 3).
_WRITTEN, _SWMR = 1, 4
# Filters that detectors and their software use, by the number that The HDF Group gave them.
_FILTERS = {
    1: "gzip",
    4: "szip",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle (LZ4 or Zstandard)",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32019: "JPEG",
    32024: "SZ3",
    32026: "Blosc2",
}


class FrameFileError(JobError):
    """A file of frames cannot be used; `hint` says what to do about it."""

    @property
    def sentence(self) -> str:
        """Reason and hint in one."""
        return f"{self}; {self.hint}" if self.hint else str(self)


def find_file(file: str, folder: str | os.PathLike[str], roots: Roots = ()) -> Path:
    """Return the path at which `file` exists on this host.

    Parameters
    ----------
    file : str
        As it was recorded; a relative path is taken from `folder`.
    folder : path
    roots : sequence of (str, str)
        (old, new): where files of the folder `old` are now. They are looked for there if they are
        neither where ``HXN_PTYCHO_ROOTS`` says nor where they were.

    Raises
    ------
    FrameFileError
        If it is nowhere, with every place that was looked at.
    """
    return first_that_exists(file, places(file, folder, roots))


def places(file: str, folder: str | os.PathLike[str], roots: Roots = ()) -> list[Path]:
    """Return where `find_file` looks, in order."""
    where = [relocate(file, folder), Path(folder) / file]
    for old, new in roots:
        if Path(file).is_relative_to(old):
            where.append(Path(new) / Path(file).relative_to(old))
    return list(dict.fromkeys(where))


def first_that_exists(file: str, where: Iterable[Path]) -> Path:
    """Return the first of the places that exists; raise `FrameFileError` naming all, if none."""
    looked_at = []
    for path in where:
        if os.path.exists(path):
            return path
        looked_at.append(path)
    raise FrameFileError(
        f"the file {file} is missing: it does not exist on this host"
        + (f", looked for at {', '.join(map(str, looked_at))}"
           if [str(path) for path in looked_at] != [file] else ""),
        f"if it was moved, set {ROOTS_VARIABLE}=OLD=NEW (the folder it was in, and the one it is "
        "in) or add that pair to [roots] in hxn.toml",
    )  # fmt: skip


def open_h5(path: str | os.PathLike[str]) -> h5py.File:
    """Open a file that a detector may still hold open; without locking.

    A file whose superblock says that a SWMR writer has it open is opened so, at its present length;
    any other plainly. One that is open to a writer without SWMR is refused.

    Raises
    ------
    FrameFileError
        If it is missing, damaged, or open to a writer that readers must not meet.
    """
    try:
        version, flags = _superblock(path)
        if flags & _SWMR:
            return h5py.File(path, "r", libver="latest", swmr=True, locking=False)
        if flags & _WRITTEN or (version < 3 and _is_locked(path)):
            raise FrameFileError(
                f"{path} is open in a program that writes it without SWMR: what it holds by now "
                "cannot be read safely",
                "wait until the scan has closed it, or have the detector write in SWMR mode; if "
                f"its writer died, `h5clear -s {path}` makes it readable",
            )
        return h5py.File(path, "r", locking=False)
    except FrameFileError:
        raise
    except FileNotFoundError as error:
        raise FrameFileError(f"the file {path} is missing") from error
    except PermissionError as error:
        raise FrameFileError(
            f"{path} may not be read by this user", "ask its owner for leave (chmod, or a group)"
        ) from error
    except OSError as error:
        raise FrameFileError(f"{path} cannot be read, it may be cut off: {error}") from error


def load_filters(dataset: h5py.Dataset) -> None:
    """Register the compression filters that a dataset needs, if they are not.

    Raises
    ------
    FrameFileError
        If one is not installed, by its name.
    """
    plist = dataset.id.get_create_plist()
    for code, *_, label in (plist.get_filter(i) for i in range(plist.get_nfilters())):
        if h5py.h5z.filter_avail(code):
            continue
        try:
            import hdf5plugin  # noqa: F401 (registers the filters it brings)
        except ImportError:
            hint = "pip install hdf5plugin"
        else:
            hint = "hdf5plugin has it not: install its HDF5 plugin, and set HDF5_PLUGIN_PATH"
        if not h5py.h5z.filter_avail(code):
            name = _FILTERS.get(code) or label.decode(errors="replace") or "unknown"
            raise FrameFileError(
                f"{dataset.file.filename}:{dataset.name} is compressed with {name} (HDF5 filter "
                f"{code}), which is not installed here",
                hint,
            )


def _superblock(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return version and consistency flags of an HDF5 file; (0, 0) if it is none."""
    with open(path, "rb") as file:
        size, place = os.fstat(file.fileno()).st_size, 0
        while place < size:  # 0, 512, 1024, 2048...: a user block may come before it
            file.seek(place)
            head = file.read(12)
            if head.startswith(_SIGNATURE) and len(head) == 12:
                return head[8], head[11] if head[8] >= 3 else 0
            place = 2 * place or 512
    return 0, 0


def _is_locked(path: str | os.PathLike[str]) -> bool:
    """Whether a program holds HDF5's lock on the file of a writer.

    Older files say nothing of their writer. The lock is let go at once, and where the file system
    has none, nothing can be known.
    """
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False
