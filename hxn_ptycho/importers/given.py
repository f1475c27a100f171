"""What a person says of a file beside what it says itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..optics import object_pixel, wavelength_from_energy
from .errors import ImportFileError


@dataclass(frozen=True)
class Geometry:
    """Energy, distance and pixel of a measurement.

    Attributes
    ----------
    energy_kev : float, keV
    distance_m : float, m
        From sample to detector.
    detector_pixel_m : (float, float), m
        (y, x).
    """

    energy_kev: float
    distance_m: float
    detector_pixel_m: tuple[float, float]

    def object_pixel_m(self, shape: tuple[int, int]) -> tuple[float, float]:
        """Return the object's pixel (y, x), m, of frames of (h, w) pixels taken as a whole."""
        wavelength = wavelength_from_energy(self.energy_kev)
        y, x = (
            object_pixel(wavelength, self.distance_m, n, self.detector_pixel_m)[axis]
            for axis, n in enumerate(shape)
        )
        return y, x


@dataclass(frozen=True)
class Given:
    """What is known of a file from elsewhere; it outweighs what the file says.

    Attributes
    ----------
    energy_kev, distance_m, detector_pixel_um : float or None
    dc : {"corner", "centre"} or None
        Where the direct beam is in a frame.
    x_direction, y_direction : float
        +1 or -1, as set in ptycho_gui for its files.
    """

    energy_kev: float | None = None
    distance_m: float | None = None
    detector_pixel_um: float | None = None
    dc: Literal["corner", "centre"] | None = None
    x_direction: float = -1.0
    y_direction: float = -1.0

    def __post_init__(self) -> None:
        if self.dc not in (None, "corner", "centre"):
            raise ImportFileError(f"dc = {self.dc!r}: it is corner or centre")
        for name in ("x_direction", "y_direction"):
            if abs(getattr(self, name)) != 1:
                raise ImportFileError(f"{name} = {getattr(self, name)!r}: it is 1 or -1")

    def geometry(
        self,
        source: str,
        *,
        energy_kev: float | None = None,
        distance_m: float | None = None,
        detector_pixel_um: tuple[float, float] | None = None,
    ) -> Geometry:
        """Return the geometry of a file that says these itself (None: it does not).

        Raises
        ------
        ImportFileError
            If a number is known from neither, or cannot be.
        """
        pixel = detector_pixel_um
        if self.detector_pixel_um is not None:
            pixel = (self.detector_pixel_um, self.detector_pixel_um)
        energy = energy_kev if self.energy_kev is None else self.energy_kev
        distance = distance_m if self.distance_m is None else self.distance_m
        missing = [
            key
            for key, value in (
                ("energy_kev", energy), ("distance_m", distance), ("detector_pixel_um", pixel)
            )
            if value is None
        ]  # fmt: skip
        if energy is None or distance is None or pixel is None:
            raise ImportFileError(
                f"{source} does not say {' and '.join(missing)}; give "
                + " ".join(f"--{key.replace('_', '-')} NUMBER" for key in missing)
            )
        for name, value, unit, low, high, hint in (
            ("energy", energy, "keV", 0.05, 500.0, "8.8 for 8800 eV"),
            ("distance", distance, "m", 1e-3, 100.0, "0.5 for 500 mm"),
            ("detector pixel", pixel[0], "um", 0.1, 5000.0, "55 for 55e-6 m"),
            ("detector pixel", pixel[1], "um", 0.1, 5000.0, "55 for 55e-6 m"),
        ):
            if not low <= value <= high:  # NaN too
                raise ImportFileError(
                    f"{name} {value:g} {unit} is out of range ({low:g} to {high:g} {unit}); "
                    f"give it in {unit}: {hint}"
                )
        return Geometry(float(energy), float(distance), (pixel[0] * 1e-6, pixel[1] * 1e-6))
