"""Which square of the detector is used, and the FFT window it is computed in."""

from __future__ import annotations

from dataclasses import dataclass

from ..optics import object_pixel, wavelength_from_energy
from ..recipe import Recipe
from ..scan import Scan, ScanError


@dataclass(frozen=True)
class Window:
    """The geometry of one reconstruction.

    Attributes
    ----------
    crop : (int, int, int)
        Row, column and side (y0, x0, n) of the square of a frame that is used; the direct beam is
        its pixel [n // 2, n // 2].
    fft_window : int
        Side of the FFT window, at least the crop's.
    wavelength_m, distance_m : float, m
    object_pixel_m : (float, float), m
    """

    crop: tuple[int, int, int]
    fft_window: int
    wavelength_m: float
    distance_m: float
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

    Energy and distance are the run's, unless the recipe has its own.

    Raises
    ------
    ScanError
        If the window does not fit into the frames, or energy or distance are unusable.
    """
    crop = _crop(scan.frame_shape, recipe)
    side = fast_side(crop[2]) if recipe.fft_window == "fast" else crop[2]
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
    pixel = object_pixel(wavelength, distance, side, scan.detector_pixel_m)
    return Window(crop, side, wavelength, distance, pixel)


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
    largest = 2 * min(y, height - y, x, width - x)
    side = largest if recipe.window is None else recipe.window
    if recipe.window is not None and side > min(height, width):
        raise ScanError(
            f"window = {side} is larger than the frames of {frames}; choose at most {largest}"
        )
    y0, x0 = y - side // 2, x - side // 2
    if side < 8 or y0 < 0 or x0 < 0 or y0 + side > height or x0 + side > width:
        raise ScanError(
            f"a window of {side} pixels around the direct beam at ({y}, {x}) does not fit into "
            f"the frames of {frames}; choose at most window = {largest}, or another centre"
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
