"""First guesses of probe and object, from the run, a zone plate, a file or an earlier result."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..home import Home
from ..optics import OpticsError, object_pixel, zone_plate_probe
from ..recipe import Recipe, RecipeError
from ..scan import Scan, ScanError
from .window import Window

Complex = NDArray[np.complexfloating]
Kind = Literal["probe", "object"]

_FILE_TYPES = (".npy", ".npz", ".h5", ".hdf5")
_UID = re.compile(r"[0-9a-f]{4,8}(-?[0-9a-f]*){0,4}", re.IGNORECASE)
WORDS = {"probe": ("auto", "data", "zone-plate", "random"), "object": ("ones", "random")}


@dataclass(frozen=True)
class Start:
    """A first guess.

    Attributes
    ----------
    array : ndarray (modes, rows, columns), complex
    origin_m : (float, float) or None, m
        Of an object: stage (y, x) of the centre of pixel [0, 0]; None: unknown, the middle is laid
        on the middle.
    """

    array: Complex
    origin_m: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Given:
    """What a file holds; `pixel_m` and `origin_m` where it says them."""

    array: Complex
    pixel_m: tuple[float, float] | None
    origin_m: tuple[float, float] | None


def probe_start(scan: Scan, recipe: Recipe, window: Window, home: Home) -> Start | None:
    """Return the first probe (modes, n, n) on the window's object pixel; None: the solver makes it.

    Raises
    ------
    RecipeError
        If the recipe's probe is neither a word of it, nor a file, nor a result's uid, or the
        optics do not fit into the window.
    ScanError
        If the probe that came with the run cannot be read.
    """
    n, pixel = window.fft_window, window.object_pixel_m
    if recipe.probe in ("data", "random") or (recipe.probe == "auto" and scan.start_probe is None):
        return None
    if recipe.probe == "zone-plate":
        assert recipe.zone_plate is not None  # the recipe sees to it
        plate = recipe.zone_plate
        try:
            probe = zone_plate_probe(
                n,
                pixel,
                window.wavelength_m,
                diameter_m=plate.diameter,
                outer_zone_width_m=plate.outer_zone_width,
                central_stop_m=plate.central_stop,
                defocus_m=plate.defocus,
            )
        except OpticsError as error:
            raise RecipeError(f'probe = "zone-plate": {error}') from error
        return Start(probe[None])
    if recipe.probe == "auto":
        assert scan.start_probe is not None
        file, dataset = scan.start_probe
        try:
            given = _read_h5(Path(file), dataset)
        except (OSError, KeyError, ValueError) as error:
            raise ScanError(
                f"the first probe that came with scan {scan.scan_id}, {file}:{dataset}, cannot be "
                f'used: {error}; choose another start, as probe = "data"'
            ) from error
    else:
        given = _find(recipe.probe, "probe", home)
    given_pixel = given.pixel_m or _meant(given.array.shape[-1], window)
    modes = given.array[: int(recipe.probe_modes)]
    return Start(recentre(modes, given_pixel, n, pixel))


def _meant(pixels: int, window: Window) -> tuple[float, float]:
    """Return the object pixel of a probe without a word on it.

    One of as many pixels as the FFT window is meant for it; one of k others, for a window of k
    detector pixels, not binned.
    """
    if pixels == window.fft_window:
        return window.object_pixel_m
    return object_pixel(window.wavelength_m, window.distance_m, pixels, window.detector_pixel_m)


def object_start(recipe: Recipe, window: Window, home: Home) -> Start | None:
    """Return the first object (modes, rows, columns); None: the solver makes it.

    Raises
    ------
    RecipeError
        If the recipe's object is neither a word of it, nor a file, nor a result's uid.
    """
    if recipe.object in WORDS["object"]:
        return None
    given = _find(recipe.object, "object", home)
    modes = given.array[: recipe.object_modes]
    if given.pixel_m is not None:
        modes = rescale(modes, given.pixel_m, window.object_pixel_m)
    return Start(modes, given.origin_m)


def recentre(
    array: Complex, pixel_m: tuple[float, float], n: int, new_pixel_m: tuple[float, float]
) -> Complex:
    """Return `array` (modes, h, w) on n x n pixels of another size, middle on middle.

    Cubic splines; beyond the given array 0. The middle is pixel [h // 2, w // 2].
    """
    ratio = _ratio(pixel_m, new_pixel_m)
    rows, columns = (
        (np.arange(n) - n // 2) * ratio[axis] + array.shape[1 + axis] // 2 for axis in (0, 1)
    )
    return _sample(array, rows, columns)


def rescale(
    array: Complex, pixel_m: tuple[float, float], new_pixel_m: tuple[float, float]
) -> Complex:
    """Return `array` (modes, h, w) on pixels of another size, [0, 0] staying where it is."""
    ratio = _ratio(pixel_m, new_pixel_m)
    rows, columns = (
        np.arange(int((array.shape[1 + axis] - 1) / ratio[axis]) + 1) * ratio[axis]
        for axis in (0, 1)
    )
    return _sample(array, rows, columns)


def _ratio(pixel_m: tuple[float, float], new_pixel_m: tuple[float, float]) -> tuple[float, float]:
    """Return the new pixel in old ones; exactly 1 where they differ by rounding only."""
    ratios = [new / old for old, new in zip(pixel_m, new_pixel_m, strict=True)]
    y, x = (1.0 if abs(ratio - 1) < 1e-6 else ratio for ratio in ratios)
    return y, x


def _sample(array: Complex, rows: NDArray[np.floating], columns: NDArray[np.floating]) -> Complex:
    grid = np.meshgrid(rows, columns, indexing="ij")
    # Without a spline where pixels fall on pixels, so that nothing is changed.
    whole = all((axis == np.rint(axis)).all() for axis in (rows, columns))
    order = 0 if whole else 3
    return np.stack(
        [ndimage.map_coordinates(mode, grid, order=order, mode="constant") for mode in array]
    )


def is_file(value: str) -> bool:
    """Whether a recipe's probe or object names a file, and no word of it nor a result."""
    return os.sep in value or Path(value).suffix.lower() in _FILE_TYPES


def _find(value: str, kind: Kind, home: Home) -> _Given:
    if is_file(value):
        return _read_file(Path(value).expanduser(), kind)
    if not _UID.fullmatch(value):
        words = ", ".join(WORDS[kind])
        raise RecipeError(
            f"{kind} = {value!r} is none of {words}, nor a file ({', '.join(_FILE_TYPES)}), nor a "
            "result's uid"
        )
    # Only here: catalogs take a second to import, and a bare compute host has no databroker.
    from ..catalog import CatalogAway, CatalogError
    from ..results import results

    try:
        result = results(uid=value, home=home)[-1]
    except CatalogAway:  # it may well be there
        raise
    except CatalogError as error:
        raise RecipeError(f"{kind} = {value!r}: {error}; hxn-ptycho results lists them") from error
    if result.result_file is None:
        raise RecipeError(
            f"{kind} = {value!r}: reconstruction {result.uid[:8]} of scan {result.scan_id} has no "
            "result to start from"
        )
    return _read_file(result.result_file, kind)


def _read_file(path: Path, kind: Kind) -> _Given:
    try:
        if path.suffix.lower() == ".npy":
            return _Given(_complex_modes(np.load(path, allow_pickle=False)), None, None)
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                if kind not in arrays:
                    raise KeyError(f"no array {kind!r}, only {', '.join(arrays)}")
                return _Given(_complex_modes(arrays[kind]), None, None)
        return _read_h5(path, kind)
    except FileNotFoundError:
        raise RecipeError(f"{kind} = {str(path)!r}: there is no such file") from None
    except (OSError, KeyError, ValueError) as error:
        raise RecipeError(f"{kind} = {str(path)!r} cannot be used: {error}") from error


def _read_h5(path: Path, dataset: str) -> _Given:
    """Read a dataset; where its pixel and origin are, if it or (a result) the file says so."""
    with h5py.File(path, "r", locking=False) as file:
        if dataset not in file:
            raise KeyError(f"no dataset {dataset!r}, only {', '.join(file)}")
        array = _complex_modes(file[dataset][()])
        own = file[dataset].attrs
        pixel = _pair(own.get("pixel_size", file.attrs.get("pixel_size")))
        origin = _pair(own.get("origin_m", file.attrs.get("origin_m")))
        return _Given(array, pixel, origin)


def _pair(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    y, x = np.broadcast_to(np.asarray(value, float), 2)
    return float(y), float(x)


def _complex_modes(array: NDArray[Any]) -> Complex:
    """Return an array as (modes, rows, columns) complex128, or say why it cannot be."""
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"shape {array.shape} is not (modes, rows, columns)")
    if array.dtype.kind not in "fciu":
        raise ValueError(f"type {array.dtype} is no number")
    if not np.isfinite(array).all():
        raise ValueError("it has values that are NaN or infinite")
    if not array.any():
        raise ValueError("it is zero everywhere")
    return array.astype(np.complex128)
