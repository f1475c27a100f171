"""Which square of the detector is used, and the FFT window it is computed in."""

from __future__ import annotations

from dataclasses import dataclass

from ..optics import object_pixel, wavelength_from_energy
from ..recipe import Recipe
from ..scan import Scan, ScanError
from ..solver.orientation import Orientation, matrix

LEAST = 8  # pixels of a window, binned


@dataclass(frozen=True)
class Window:
    """The geometry of one reconstruction.

    Attributes
    ----------
    crop : (int, int, int)
        Row, column and side (y0, x0, n) of the square of a frame on file that is used; the direct
        beam is its pixel [n // 2, n // 2]; n is a multiple of `binning`.
    binning : int
        Detector pixels, along an axis, that are added up to one.
    fft_window : int
        Side of the FFT window, at least the crop's after binning.
    wavelength_m, distance_m : float, m
    detector_pixel_m : (float, float), m
        (y, x) of the frames as they are turned, before binning.
    object_pixel_m : (float, float), m
        (y, x), of the frames as they are turned.
    """

    crop: tuple[int, int, int]
    binning: int
    fft_window: int
    wavelength_m: float
    distance_m: float
    detector_pixel_m: tuple[float, float]
    object_pixel_m: tuple[float, float]

    @property
    def side_m(self) -> tuple[float, float]:
        """Height and width of a view on the sample, m."""
        return (
            self.fft_window * self.object_pixel_m[0],
            self.fft_window * self.object_pixel_m[1],
        )


def choose_window(scan: Scan, recipe: Recipe) -> Window:
    """Choose the crop and the FFT window.

    Energy, distance and orientation are the run's, unless the recipe has its own.

    Parameters
    ----------
    scan : Scan
    recipe : Recipe
        Its `centre` a pixel; where it is a word, the middle is taken.

    Raises
    ------
    ScanError
        If the window does not fit into the frames, or energy or distance are unusable.
    """
    crop = _crop(scan.frame_shape, recipe)
    side = crop[2] // recipe.binning
    if recipe.fft_window == "fast":
        side = fast_side(side)
    wavelength = scan.wavelength_m
    if recipe.energy_kev is not None:
        wavelength = wavelength_from_energy(recipe.energy_kev)
    distance = scan.distance_m if recipe.distance_m is None else recipe.distance_m
    # NaN fails these comparisons too.
    for name, value, key in (
        ("wavelength", wavelength, "energy_kev"),
        ("distance to the detector", distance, "distance_m"),
        ("detector pixel", min(scan.detector_pixel_m), "the detector's entry in hxn.toml"),
    ):
        if not 0 < value < float("inf"):
            raise ScanError(
                f"scan {scan.scan_id}: the {name} is {value:g} m, which cannot be; set {key}"
            )
    orientation = scan.orientation if recipe.orientation is None else recipe.orientation
    turned = turned_pixel(scan.detector_pixel_m, orientation)
    binned = (turned[0] * recipe.binning, turned[1] * recipe.binning)
    pixel = object_pixel(wavelength, distance, side, binned)
    return Window(crop, recipe.binning, side, wavelength, distance, turned, pixel)


def turned_pixel(pixel_m: tuple[float, float], orientation: Orientation) -> tuple[float, float]:
    """Return (y, x) of a pixel (y, x) on file once the frame is turned: its sides may change."""
    y, x = pixel_m
    return (x, y) if matrix(orientation)[0, 0] == 0 else (y, x)


def _crop(frame_shape: tuple[int, int], recipe: Recipe) -> tuple[int, int, int]:
    height, width = frame_shape
    frames = f"{height} x {width} pixels"
    if isinstance(recipe.centre, str):
        y, x = height // 2, width // 2
    else:
        y, x = round(recipe.centre[0]), round(recipe.centre[1])
        if not (0 < y < height and 0 < x < width):
            raise ScanError(
                f"centre = [{recipe.centre[0]:g}, {recipe.centre[1]:g}] is not inside the frames "
                f"of {frames}; it is the (y, x) pixel of the direct beam"
            )
    binning = recipe.binning
    by = f" binned by {binning}" if binning > 1 else ""
    # Even after binning, so that the direct beam is in the middle of the window too.
    largest = 2 * min(y, height - y, x, width - x) // (2 * binning) * (2 * binning)
    side = largest if recipe.window is None else recipe.window
    if recipe.window is not None and side > min(height, width):
        raise ScanError(
            f"window = {side} is larger than the frames of {frames}; choose at most {largest}"
        )
    y0, x0 = y - side // 2, x - side // 2
    if y0 < 0 or x0 < 0 or y0 + side > height or x0 + side > width:
        raise ScanError(
            f"a window of {side} pixels around the direct beam at ({y}, {x}) does not fit into "
            f"the frames of {frames}; choose at most window = {largest}, or another centre"
        )
    if side < LEAST * binning:
        raise ScanError(
            f"a window of {side} pixels{by} around the direct beam at ({y}, {x}) of the frames of "
            f"{frames} is too small: it needs at least {LEAST * binning}; choose another centre"
            + (", or a smaller binning" if by else "")
        )
    return y0, x0, side


def fast_side(side: int) -> int:
    """Return the smallest even number from `side` on whose only prime factors are 2, 3 and 5."""
    candidate = side + side % 2
    while not _is_smooth(candidate):
        candidate += 2
    return candidate


def _is_smooth(number: int) -> bool:
    for factor in (2, 3, 5):
        while number % factor == 0:
            number //= factor
    return number == 1
