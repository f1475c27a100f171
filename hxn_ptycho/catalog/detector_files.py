"""What a detector's file stands for: the files in which the frames truly lie.

An Eiger writes a master file whose frames are in others: by external links, of which the first is
``/entry/data/data_000001``, or by a virtual dataset ``/entry/data/data``. Area detectors write one
dataset under two names. Documents name any of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py

from ..solver.frame_files import check_sources, open_dataset, stack_shape
from ..solver.h5_files import FrameFileError, Roots, find_file
from ..solver.job import FrameBlock, iterate_blocks
from ..solver.virtual_frames import Mapping, check_covered, check_source, mappings
from .detector_masks import master_of, read_mask, read_saturation
from .errors import CatalogError
from .external import ExternalArray, join
from .linked_files import LinkedFiles

# Names of one thing: NeXus' place for a detector's frames, and those that links and masters use.
_NAMES = ("entry/instrument/detector/data", "entry/data/data", "entry/data")
_NUMBERED = re.compile(r"data_(\d+)")


def expand(path: str | Path, dataset: str, roots: Roots = ()) -> ExternalArray:
    """Return where the frames lie that documents say are `dataset` of the file `path`.

    Parameters
    ----------
    path : path
        A detector's file, or the master of several.
    dataset : str
        The dataset; of an Eiger's master also the group that holds it, or the first of its numbered
        parts, which stands for all. ``/entry/data/data`` and ``/entry/instrument/detector/data``
        are two names of one thing: where the one is not, the other is taken.
    roots : sequence of (str, str)
        (old, new): where files of the folder `old` are looked for too. Files that others refer to
        are looked for where these say, beside them, and under the roots.

    Raises
    ------
    CatalogError
        If a file is missing (with every place that was looked at), damaged or without the dataset;
        if it is open to a writer that readers must not meet; if a virtual dataset maps only a part.
    """
    try:
        with LinkedFiles(roots) as files:
            found = find_file(str(path), Path(path).parent, roots)
            array = _array(files, found, dataset.strip("/"))
            if len(array.shape) != 3:
                return array
            master = master_of(found)
            return replace(
                array,
                mask=read_mask(files, master, array.shape[1:]),
                saturation=read_saturation(files, master, array.dtype),
            )
    except FrameFileError as error:
        raise CatalogError(error.sentence) from error


def _array(files: LinkedFiles, path: Path, name: str) -> ExternalArray:
    """Return where what `name` in `path` stands for lies."""
    names = (name, *_NAMES) if name in _NAMES else (name,)
    for each in names:
        parts = list(_parts(files, path, each))
        if parts:
            return join([_dataset(files, *part) for part in parts])
    raise FrameFileError(f"{path} has no dataset {'/' + name if '/' in name else name}")


def _parts(files: LinkedFiles, path: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Yield file and name of the datasets that `name` in `path` stands for; none: not there."""
    parent, _, last = name.rpartition("/")
    number = _NUMBERED.fullmatch(last)
    found = files.follow(path, name)
    if found is None:
        # What is not there itself may be there in numbered parts.
        if last == "data":
            yield from _numbered(files, path, parent)
    elif isinstance(files.file(found[0])[found[1]], h5py.Group):
        inner = files.follow(*found, "data")
        if inner is None:
            yield from _numbered(files, *found)
        else:
            yield inner
    elif number and found[0] != path and min(_members(files, path, parent)) == int(number[1]):
        yield from _numbered(files, path, parent)
    else:
        yield found


def _members(files: LinkedFiles, path: Path, name: str) -> dict[int, str]:
    """Return the numbered parts of a group, by number."""
    group = files.follow(path, name) if name else (path, "/")
    node = None if group is None else files.file(group[0])[group[1]]
    if not isinstance(node, h5py.Group):
        return {}
    found = ((_NUMBERED.fullmatch(each), each) for each in node)
    return dict(sorted((int(match[1]), each) for match, each in found if match))


def _numbered(files: LinkedFiles, path: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Yield the numbered parts of a group, in order; one that is missing is named."""
    members = _members(files, path, name)
    lost = set(range(min(members, default=0), max(members, default=0))) - set(members)
    if lost:
        raise FrameFileError(
            f"{path}:/{name} has {len(members)} parts up to {members[max(members)]} but no "
            f"data_{min(lost):06d}",
            "frames between are lost: was a file not copied?",
        )
    for member in members.values():
        found = files.follow(path, f"{name}/{member}")
        if found is None:
            raise FrameFileError(f"{path}:/{name}/{member} leads to a dataset that is not there")
        yield found


def _dataset(files: LinkedFiles, path: Path, name: str) -> ExternalArray:
    """Return where the elements of a dataset lie: there, or where it maps them."""
    dataset = files.file(path)[name]
    if not dataset.shape:
        raise FrameFileError(f"{path}: {name} is a single number, no array")
    shape = tuple(int(size) for size in stack_shape(dataset.shape))
    mapped = _mapped(files, path, name) if dataset.is_virtual else None
    if mapped is not None:
        return mapped
    open_dataset(files.file(path), name)
    return ExternalArray((FrameBlock(str(path), name, 0, shape[0]),), shape, dataset.dtype)


def _mapped(files: LinkedFiles, path: Path, name: str) -> ExternalArray | None:
    """Return where the frames of a virtual dataset lie; None if only HDF5 can put it together.

    That is where frames are put together of parts, or taken from files in turn. Its sources
    must then be where HDF5 finds them.
    """
    dataset = files.file(path)[name]
    shape = stack_shape(dataset.shape)
    sources = mappings(dataset)
    check_covered(dataset, sources)
    runs = []
    for each in sources:
        run = _run(files, path, name, each)
        if run is None:
            check_sources(files.file(path)[name])
            return None
        runs.append(run)
    if not runs:
        return None
    runs.sort(key=lambda run: run[0])
    blocks = tuple(block for _, source in runs for block in source.blocks)
    return ExternalArray(blocks, shape, runs[0][1].dtype)


def _run(
    files: LinkedFiles, path: Path, name: str, mapping: Mapping
) -> tuple[int, ExternalArray] | None:
    """Return the first frame of a mapping and where its frames lie, if they are consecutive."""
    file = files.beside(mapping.file, path)
    found = files.follow(file, mapping.dataset)
    if found is None:
        raise FrameFileError(f"{file} has no dataset {mapping.dataset}, which {path}:{name} maps")
    source = _dataset(files, *found)
    dataset = files.file(path)[name]
    on_file = files.file(found[0])[found[1]]
    check_source(dataset, mapping, on_file)
    if on_file.dtype != dataset.dtype or (source.shape, dataset.ndim) != (
        on_file.shape,
        on_file.ndim,
    ):
        return None
    run = mapping.run(dataset.shape, source.shape)
    if run is None:
        return None
    target, first, count = run
    blocks = tuple(
        replace(block, start=start, count=stop - start)
        for block, start, stop, _ in iterate_blocks(source.blocks, first, first + count)
    )
    return target, replace(source, blocks=blocks, shape=(count, *source.shape[1:]))
