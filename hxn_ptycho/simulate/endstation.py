"""The simulated endstation: what light reaches the detector, given where the stages are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from ophyd.positioner import SoftPositioner

from ..optics import object_pixel, zone_plate_probe
from ..recipe import ZonePlate
from .diffraction import windows
from .faults import IonChamber
from .illumination import shift
from .sample import Sample

SILICON_111_M = 3.1355893e-10
_FRACTIONS = 4  # places of the beam within an object pixel, an axis


@dataclass(frozen=True)
class Geometry:
    """Where and how large a detector is.

    Attributes
    ----------
    n : int
        Rows, and columns.
    pixel_m : float, m
        Of the detector.
    distance_m : float, m
        From the sample.
    """

    n: int
    pixel_m: float
    distance_m: float


class Endstation:
    """A monochromatic beam, a zone plate, and a sample on stages.

    The stages carry the sample: y is up and x to the left, seen along the beam, so that a stage at
    +x brings the beam to a higher column of the sample, and a stage at +y to a higher row.

    Parameters
    ----------
    bragg : SoftPositioner
        Angle of the Si(111) monochromator, degrees: it sets the wavelength.
    x, y : SoftPositioner
        Stages, um.
    rotation : SoftPositioner, optional
        Below the stages, degrees; x is across the beam at 0.
    sample : Sample, optional
    zone_plate : ZonePlate, optional
        Default: 160 um, 40 nm, a central stop of 60 um, 116 um out of focus: a beam of 0.3 um.
    flux : float
        Photons a second on the sample, on average.
    ion_chamber : IonChamber, optional
        Before the sample.
    pace : float
        How long things take: 1 as they do, 0 no longer than it takes to compute them.
    seed : int, optional
        Of the beam's fluctuation and the photons' noise; default: another one each time.
    """

    def __init__(
        self,
        bragg: SoftPositioner,
        x: SoftPositioner,
        y: SoftPositioner,
        rotation: SoftPositioner | None = None,
        *,
        sample: Sample | None = None,
        zone_plate: ZonePlate | None = None,
        flux: float = 1.5e8,
        ion_chamber: IonChamber | None = None,
        pace: float = 1.0,
        seed: int | None = None,
    ) -> None:
        self.bragg, self.x, self.y, self.rotation = bragg, x, y, rotation
        self.sample = sample or Sample()
        self.zone_plate = zone_plate or ZonePlate(
            diameter=160e-6, outer_zone_width=40e-9, central_stop=60e-6, defocus=116e-6
        )
        self.flux, self.pace = flux, pace
        self.ion_chamber = ion_chamber or IonChamber()
        self.generator = np.random.default_rng(seed)
        self._drift = 0.0
        self._step = 1.0
        self._seen_by: set[Any] = set()
        self._pictures: dict[tuple[float, float], _Picture] = {}
        self._probes: dict[tuple[Geometry, float], NDArray[np.complex64]] = {}

    @property
    def wavelength_m(self) -> float:
        """By Bragg's law."""
        return float(2 * SILICON_111_M * np.sin(np.deg2rad(self.bragg.position)))

    def brightness(self, frames: int) -> NDArray[np.float64]:
        """Return the beam's intensity (1: the mean) during the next frames.

        A slow drift of some percent, and half a percent from frame to frame.
        """
        memory, spread = 0.98, 0.02
        kicks = self.generator.normal(0, spread * np.sqrt(1 - memory**2), frames)
        drift = np.empty(frames)
        for i, kick in enumerate(kicks):
            self._drift = memory * self._drift + kick
            drift[i] = self._drift
        return np.clip(1 + drift + self.generator.normal(0, 0.005, frames), 0.5, None)

    def new_step(self) -> None:
        """Forget the beam of the last point of a step scan."""
        self._seen_by.clear()

    def step_brightness(self, device: Any) -> float:
        """Return the beam's intensity at this point of a step scan.

        The same for all devices triggered there; a device that asks again is at the next point.
        """
        if not self._seen_by or device in self._seen_by:
            self._step = float(self.brightness(1)[0])
            self._seen_by.clear()
        self._seen_by.add(device)
        return self._step

    def places_m(self, path_um: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return where the beam is on the sample, (..., 2) m, for stages at (y, x) um."""
        turn = 0.0 if self.rotation is None else np.deg2rad(self.rotation.position)
        return np.asarray(path_um) * np.array([1.0, np.cos(turn)]) * 1e-6

    def probe(self, geometry: Geometry) -> NDArray[np.complex64]:
        """Return the coherent probe (n, n) on the object pixel of a detector; power 1."""
        return self._shifted(geometry)[0, 0]

    def look(self, geometry: Geometry, places_m: NDArray[np.floating]) -> None:
        """Make ready what frames at these places (..., 2), m, need, so that they come fast."""
        self._shifted(geometry)
        self._indices(geometry, places_m)

    def expose(
        self, geometry: Geometry, path_um: NDArray[np.floating], photons: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Return the light on the detector, summed over the beam's way during each frame.

        Parameters
        ----------
        geometry : Geometry
        path_um : ndarray (N, S, 2), um
            Where the stages are, (y, x), at S equally spaced times of each frame.
        photons : ndarray (N,)
            On the sample, a frame.

        Returns
        -------
        ndarray (N, n, n), float32
            Expected photons, DC at [n // 2, n // 2].
        """
        probes = self._shifted(geometry)
        picture, corners, fractions = self._indices(geometry, self.places_m(path_um))
        frames = np.empty((len(path_um), geometry.n, geometry.n), np.float32)
        for j, light in enumerate(photons):
            views = windows(picture, corners[j], geometry.n)
            views = views * probes[fractions[j, :, 0], fractions[j, :, 1]]
            far = scipy.fft.fft2(views, norm="ortho", overwrite_x=True)
            total = np.sum(far.real**2 + far.imag**2, axis=0) * (light / path_um.shape[1])
            frames[j] = scipy.fft.fftshift(total)
        return frames

    def pixel_m(self, geometry: Geometry) -> tuple[float, float]:
        """Return the object pixel (y, x), m, that a detector gives."""
        return object_pixel(self.wavelength_m, geometry.distance_m, geometry.n, geometry.pixel_m)

    def _shifted(self, geometry: Geometry) -> NDArray[np.complex64]:
        """Return the probe (f, f, n, n) at the fractions of a pixel (y, x)."""
        key = (geometry, self.wavelength_m)
        if key not in self._probes:
            optics = self.zone_plate
            probe = zone_plate_probe(
                geometry.n,
                self.pixel_m(geometry),
                self.wavelength_m,
                diameter_m=optics.diameter,
                outer_zone_width_m=optics.outer_zone_width,
                central_stop_m=optics.central_stop,
                defocus_m=optics.defocus,
            )
            steps = np.arange(_FRACTIONS) / _FRACTIONS
            offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
            moved = shift(probe, offsets).astype(np.complex64)
            self._probes = {key: moved.reshape(_FRACTIONS, _FRACTIONS, *probe.shape)}
        return self._probes[key]

    def _indices(
        self, geometry: Geometry, places_m: NDArray[np.floating]
    ) -> tuple[NDArray[np.complex64], NDArray[np.intp], NDArray[np.intp]]:
        """Return the picture, the views' corners in it, and the fractions of a pixel."""
        pixel = self.pixel_m(geometry)
        fine = np.rint(places_m / np.array(pixel) * _FRACTIONS).astype(np.intp)
        whole, fractions = np.divmod(fine, _FRACTIONS)
        low = whole.reshape(-1, 2).min(axis=0) - geometry.n // 2
        high = whole.reshape(-1, 2).max(axis=0) - geometry.n // 2 + geometry.n
        picture = self._pictures.get(pixel)
        if picture is None or not picture.holds(low, high):
            picture = _Picture.of(self.sample, pixel, low - 64, high + 64)
            self._pictures = {pixel: picture}
        return picture.transmission, whole - geometry.n // 2 - picture.corner, fractions


@dataclass(frozen=True)
class _Picture:
    """The sample's transmission on whole pixels of a lattice through (0, 0)."""

    corner: NDArray[np.intp]
    transmission: NDArray[np.complex64]

    @classmethod
    def of(
        cls,
        sample: Sample,
        pixel: tuple[float, float],
        low: NDArray[np.intp],
        high: NDArray[np.intp],
    ) -> _Picture:
        rows, columns = (high - low).tolist()
        origin = (float(low[0] * pixel[0]), float(low[1] * pixel[1]))
        return cls(low, sample.render((rows, columns), pixel, origin).astype(np.complex64))

    def holds(self, low: NDArray[np.intp], high: NDArray[np.intp]) -> bool:
        end = self.corner + np.array(self.transmission.shape)
        return bool(np.all(low >= self.corner) and np.all(high <= end))
