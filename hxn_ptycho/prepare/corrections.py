"""What a recipe names to correct frames by: a dark frame, a flat field, bad pixels; from files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..recipe import Recipe, RecipeError
from ..scan import Scan
from ..solver.frame_files import open_dataset
from ..solver.h5_files import FrameFileError, open_h5

log = logging.getLogger(__name__)

KEYS = ("dark", "flat", "bad_pixels")
_HDF5, _NUMPY, _TIFF = (".h5", ".hdf5", ".hdf", ".nxs", ".cxi"), (".npy",), (".tif", ".tiff")
_BATCH_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Corrections:
    """What is done to all frames of a scan, pixel by pixel.

    Attributes
    ----------
    dark : ndarray (h, w), float32, or None
        Subtracted.
    flat : ndarray (h, w), float32, or None
        Divided by; its mean over the pixels that are believed is 1.
    bad : ndarray (h, w), bool
        Pixels that are not believed: those of the run, of the file of bad pixels, and those
        without a usable dark or flat.
    """

    dark: NDArray[np.float32] | None
    flat: NDArray[np.float32] | None
    bad: NDArray[np.bool_]


def split_dataset(value: str) -> tuple[str, str]:
    """Return the file and the dataset of ``FILE`` (dataset empty) or ``FILE:/DATASET``."""
    file, colon, dataset = value.rpartition(":/")
    return (file, f"/{dataset}") if colon else (value, "")


def read_corrections(scan: Scan, recipe: Recipe) -> Corrections:
    """Read what the recipe names.

    Raises
    ------
    RecipeError
        If a file is missing, is no image, has another shape than the frames, or nothing usable.
    """
    shape = scan.frame_shape
    bad = np.zeros(shape, bool) if scan.mask is None else ~scan.mask
    if recipe.bad_pixels is not None:
        named = _read("bad_pixels", recipe.bad_pixels, shape)
        log.info("%d bad pixels are masked by %s", np.count_nonzero(named), recipe.bad_pixels)
        bad |= named
        if bad.all():
            raise RecipeError(
                f"bad_pixels = {recipe.bad_pixels!r} leaves no pixel: in it, good pixels are 0"
            )
    dark = None
    if recipe.dark is not None:
        dark = _read("dark", recipe.dark, shape)
        bad |= _masked("dark", recipe.dark, ~np.isfinite(dark), ~bad)
        dark = np.where(np.isfinite(dark), dark, 0)
    flat = None
    if recipe.flat is not None:
        flat = _read("flat", recipe.flat, shape)
        good = np.isfinite(flat) & (flat > 0)
        if not (good & ~bad).any():
            raise RecipeError(f"flat = {recipe.flat!r} is nowhere above 0")
        bad |= _masked("flat", recipe.flat, ~good, ~bad)
        flat = np.where(good, flat, 1) / flat[~bad].mean()
    return Corrections(
        None if dark is None else dark.astype(np.float32),
        None if flat is None else flat.astype(np.float32),
        bad,
    )


def check_dark(
    dark: NDArray[np.floating], frames: NDArray[np.floating], measured: NDArray[np.bool_]
) -> None:
    """Warn of a dark (h, w) that is brighter than the mean of the frames (h, w)."""
    if not measured.any():
        return
    mean, lit = float(dark[measured].mean()), float(frames[measured].mean())
    if mean > lit:
        log.warning(
            "the dark frame has %.3g counts a pixel and the frames only %.3g: is it the dark of "
            "this scan, of the same exposure time?",
            mean,
            lit,
        )


def _masked(
    key: str, file: str, which: NDArray[np.bool_], believed: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return `which`, saying how many believed pixels have no usable value in a file."""
    if count := np.count_nonzero(which & believed):
        log.warning("%d pixels have no usable value in %s = %r: masked", count, key, file)
    return which


def _read(key: str, value: str, shape: tuple[int, int]) -> NDArray[Any]:
    """Return the mean (h, w) of the images of a file; of bad pixels, whether any is not 0."""
    file, dataset = split_dataset(value)
    path = Path(file).expanduser()
    kind = path.suffix.lower()
    try:
        if kind in _NUMPY:
            return _reduce(key, iter([np.load(path, allow_pickle=False, mmap_mode="r")]), shape)
        if kind in _TIFF:
            import tifffile

            return _reduce(key, iter([tifffile.imread(path)]), shape)
        if kind in _HDF5 or dataset:
            if not path.exists():
                raise FileNotFoundError
            with open_h5(path) as opened:
                return _reduce(key, _batches(opened, dataset, shape), shape)
        known = ", ".join((*_HDF5, *_NUMPY, *_TIFF))
        raise ValueError(f"its name ends with none of {known}")
    except FileNotFoundError:
        raise RecipeError(f"{key} = {value!r}: there is no file {path}") from None
    except FrameFileError as error:
        raise RecipeError(f"{key} = {value!r} cannot be used: {error.sentence}") from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"{key} = {value!r} cannot be used: {error}") from error


def _reduce(key: str, batches: Iterator[NDArray], shape: tuple[int, int]) -> NDArray[Any]:
    total: NDArray[Any] = np.zeros(shape, bool if key == "bad_pixels" else np.float64)
    count = 0
    for images in batches:
        if images.dtype.kind not in "fiub":
            raise ValueError(f"{images.dtype} is no type of counts")
        if images.shape[-2:] != shape or images.ndim < 2:
            raise ValueError(
                f"it holds {' x '.join(map(str, images.shape))} values, the frames have "
                f"{' x '.join(map(str, shape))} pixels"
            )
        images = images.reshape(-1, *shape)
        if key == "bad_pixels":
            total |= (images != 0).any(axis=0)
        else:
            total += images.sum(axis=0, dtype=np.float64)
        count += len(images)
    if not count:
        raise ValueError("it holds no image")
    return total if key == "bad_pixels" else total / count


def _batches(file: h5py.File, dataset: str, shape: tuple[int, int]) -> Iterator[NDArray]:
    """Yield the images of an HDF5 dataset, some at a time."""
    source = open_dataset(file, dataset or _only_image(file, shape))
    if source.ndim < 3:
        yield source[()]
        return
    image_bytes = source.dtype.itemsize * int(np.prod(source.shape[1:]))
    step = max(1, _BATCH_BYTES // max(1, image_bytes))
    for first in range(0, len(source), step):
        yield source[first : first + step]


def _only_image(file: h5py.File, shape: tuple[int, int]) -> str:
    """Return the one dataset that has images of this shape, or say which ones there are."""
    found: list[str] = []

    def look(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None and item.shape[-2:] == shape:
            found.append(f"/{name}")

    file.visititems(look)
    if len(found) == 1:
        return found[0]
    size = " x ".join(map(str, shape))
    if not found:
        raise ValueError(f"no dataset in it has images of {size} pixels")
    raise ValueError(
        f"{len(found)} datasets in it have images of {size} pixels: name one, FILE:/DATASET, of "
        f"{', '.join(found)}"
    )
