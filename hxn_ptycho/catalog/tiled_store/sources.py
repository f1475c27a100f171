"""Datasets of HDF5 files as Tiled registers them: by reference, several files to an array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CatalogError
from ..hdf5 import Dataset, chunk_length, file_uri, look_up

if TYPE_CHECKING:
    from tiled.structures.data_source import DataSource


def look_up_all(paths: Sequence[Path], dataset: str) -> Dataset:
    """Return what the datasets of all files are, joined along the first axis.

    Raises
    ------
    CatalogError
        If a file cannot be opened or lacks the dataset.
    """
    datasets = []
    for path in paths:
        found = look_up(path, dataset)
        if found is None:
            raise CatalogError(f"{path} cannot be registered: it has no readable {dataset}")
        datasets.append(found)
    length = sum(found.shape[0] for found in datasets)
    return Dataset((length, *datasets[0].shape[1:]), datasets[0].dtype)


def data_source(
    paths: Sequence[Path], dataset: str, found: Dataset, dims: Iterable[str]
) -> DataSource[Any]:
    """Return what Tiled is told of an array.

    Parameters
    ----------
    paths : sequence of Path
        Files whose datasets, joined along the first axis, are the array.
    dataset : str
    found : Dataset
        Shape and type of the whole.
    dims : iterable of str
        Names of the axes.
    """
    import numpy as np
    from tiled.structures.array import ArrayStructure, BuiltinDtype
    from tiled.structures.core import StructureFamily
    from tiled.structures.data_source import Asset, DataSource, Management

    length, step = found.shape[0], chunk_length(found)
    first = [min(step, length - begin) for begin in range(0, length, step)] or [0]
    return DataSource(
        mimetype="application/x-hdf5",
        structure_family=StructureFamily.array,
        structure=ArrayStructure(
            data_type=BuiltinDtype.from_numpy_dtype(np.dtype(found.dtype)),
            shape=found.shape,
            chunks=(tuple(first), *((size,) for size in found.shape[1:])),
            dims=tuple(dims) or None,
        ),
        parameters={"dataset": dataset, "swmr": False},
        management=Management.external,
        assets=[
            Asset(data_uri=file_uri(path), is_directory=False, parameter="data_uris", num=number)
            for number, path in enumerate(paths)
        ],
    )
