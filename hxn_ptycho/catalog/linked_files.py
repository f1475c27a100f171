"""Files that refer to each other: followed from one to the next, wherever they are now."""

from __future__ import annotations

from pathlib import Path

import h5py

from ..solver.h5_files import FrameFileError, Roots, first_that_exists, open_h5, places
from ..solver.virtual_frames import folders_of, source_places

_LINKS = 32
_OPEN_FILES = 64


class LinkedFiles:
    """Opens HDF5 files, and follows links from one to another; a context.

    Parameters
    ----------
    roots : sequence of (str, str)
        (old, new): where files of the folder `old` are looked for too.
    """

    def __init__(self, roots: Roots = ()) -> None:
        self._roots = roots
        self._files: dict[Path, h5py.File] = {}

    def __enter__(self) -> LinkedFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def file(self, path: Path) -> h5py.File:
        """Return an open file; it stays open until many others were asked for after it."""
        file = self._files.pop(path, None) or open_h5(path)
        self._files[path] = file  # the last one asked for
        if len(self._files) > _OPEN_FILES:
            self._files.pop(next(iter(self._files))).close()
        return file

    def follow(self, path: Path, name: str, below: str = "") -> tuple[Path, str] | None:
        """Return the file and the name there of an object, through links; None: it is not there.

        HDF5 follows links itself, but looks for files in fewer places, and says less of one that
        is missing.
        """
        rest = [part for part in f"{name}/{below}".split("/") if part]
        done = ""
        links = 0
        while rest:
            group = self.file(path)[done or "/"]
            link = group.get(rest[0], getlink=True) if isinstance(group, h5py.Group) else None
            if link is None:
                return None
            part = rest.pop(0)
            if not isinstance(link, h5py.ExternalLink | h5py.SoftLink):
                done += f"/{part}"
                continue
            links += 1
            if links > _LINKS:
                raise FrameFileError(f"{path}:/{name} is a link that leads round in a circle")
            rest[:0] = [each for each in link.path.split("/") if each]
            if isinstance(link, h5py.ExternalLink):
                path, done = self.beside(link.filename, path), ""
            elif link.path.startswith("/"):
                done = ""
        return path, done or "/"

    def beside(self, file: str, path: Path) -> Path:
        """Return where a file is that the file `path` names: as it says, beside, or moved."""
        if file in (".", ""):
            return path
        where = [*source_places(file, folders_of(path)), *places(file, path.parent, self._roots)]
        try:
            return first_that_exists(file, dict.fromkeys(where))
        except FrameFileError as error:
            raise FrameFileError(f"{error}; {path} refers to it", error.hint) from error
