"""Diffraction data with known truth, for tests and benchmarks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ..optics import object_pixel, wavelength_from_energy, zone_plate_probe
from ..scan import Scan
from ..solver.job import FrameBlock
from .diffraction import count, intensities, windows
from .faults import Faults
from .illumination import default_powers, moving_modes
from .illumination import probe_modes as orthogonal_modes
from .sample import Sample

_CHUNK = 64  # views computed at once: 64 x 128 x 128 complex64 = 8 MB, near a cache's size


@dataclass(frozen=True)
class Dataset:
    """A scan and the truth behind it.

    Attributes
    ----------
    frames : ndarray (N, h, w), uint16
        Counts on file, the direct beam at `beam_pixel`: [n // 2, n // 2] without faults.
    positions_m : ndarray (N, 2), float64, m
        Where the beam's centre is on the sample, (y, x); row by row. Whole object pixels apart.
    probe : ndarray (M, n, n), complex128
        The true modes, orthogonal, by falling power; ``sum |probe|^2`` = photons in a view with
        nothing in the beam.
    object : ndarray (H, W), complex128
        The true transmission.
    origin : (float, float), m
        Place (y, x) of the centre of object pixel [0, 0], on the same axes as `positions_m`.
    pixel_size : (float, float), m
        Of the object, (y, x).
    wavelength_m, distance_m : float, m
    detector_pixel_m : (float, float), m
    faults : Faults
        Of the detector: its true dark counts, flat field, bad pixels, orientation.
    """

    frames: NDArray[np.uint16]
    positions_m: NDArray[np.float64]
    probe: NDArray[np.complex128]
    object: NDArray[np.complex128]
    origin: tuple[float, float]
    pixel_size: tuple[float, float]
    wavelength_m: float
    distance_m: float
    detector_pixel_m: tuple[float, float]
    faults: Faults = field(default_factory=Faults)

    @property
    def beam_pixel(self) -> tuple[int, int]:
        """The pixel (row, column) of the direct beam in a frame on file."""
        return self.faults.beam_pixel(self.probe.shape[-2:])

    @property
    def corners(self) -> NDArray[np.intp]:
        """Row and column (N, 2) of each view's [0, 0] pixel in `object`."""
        n = self.probe.shape[-1]
        places = (self.positions_m - self.origin) / self.pixel_size
        return np.rint(places).astype(np.intp) - n // 2

    @property
    def powers(self) -> NDArray[np.float64]:
        """Share (M,) of each probe mode; sums to 1."""
        powers = np.sum(np.abs(self.probe) ** 2, axis=(-2, -1))
        return powers / powers.sum()

    @property
    def scanned(self) -> NDArray[np.bool_]:
        """True (H, W) where the illumination, over all views, exceeds 5 % of its maximum."""
        light, n = np.sum(np.abs(self.probe) ** 2, axis=0), self.probe.shape[-1]
        dose = np.zeros(self.object.shape)
        for row, column in self.corners:
            dose[row : row + n, column : column + n] += light
        return dose > 0.05 * dose.max()

    def expected(self, first: int = 0, last: int | None = None) -> NDArray[np.float32]:
        """Return the light (n, n) of frames first..last-1: `frames` without noise and faults."""
        return intensities(self.probe, self.object, self.corners[first:last])

    def scan(self, file: str | os.PathLike[str], *, uid: str = "", scan_id: int = 1) -> Scan:
        """Write the frames to an HDF5 file, as ``/entry/data/data``, and return the Scan."""
        with h5py.File(file, "w") as target:
            target.create_dataset(
                "entry/data/data", data=self.frames, chunks=(1, *self.frames.shape[1:])
            )
        block = FrameBlock(str(Path(file).absolute()), "/entry/data/data", 0, len(self.frames))
        return Scan(
            uid=uid or "simulated",
            scan_id=scan_id,
            frames=(block,),
            frame_shape=(self.frames.shape[1], self.frames.shape[2]),
            frame_dtype=self.frames.dtype.name,
            dc="centre",
            positions_m=self.positions_m,
            wavelength_m=self.wavelength_m,
            distance_m=self.distance_m,
            detector_pixel_m=self.detector_pixel_m,
            normalisation=np.ones(len(self.frames)),
            orientation=self.faults.orientation,
            saturation=self.faults.saturation,
        )


def dataset(
    n: int = 128,
    grid: tuple[int, int] = (30, 30),
    probe_modes: int = 3,
    photons: float = 1e6,
    *,
    powers: Sequence[float] | None = None,
    fly: bool = False,
    step_px: float | None = None,
    beam: float = 0.32,
    jitter: float = 0.2,
    seed: int = 0,
    energy_kev: float = 12.0,
    distance_m: float = 0.5,
    detector_pixel_m: float = 55e-6,
    sample: Sample | None = None,
    faults: Faults | None = None,
) -> Dataset:
    """Simulate a scan with known truth.

    Lengths of the optics follow the window, so that data of any `n` are alike: a defocused
    zone-plate beam about `beam` of the window wide, steps of about a quarter of that.

    Parameters
    ----------
    n : int
        Side of a frame, pixels.
    grid : (int, int)
        Rows and columns of the scan.
    probe_modes : int
        Number of orthogonal probe modes. With `fly`, 1 to say that the beam is coherent (the
        default number is then taken as 1 too; more than 3 is refused).
    photons : float
        Mean number of photons in a frame.
    powers : sequence of float, optional
        Share of each mode, falling; default 0.7, 0.2, 0.1 for three.
    fly : bool
        The beam is coherent and moves by one step, along x, while a frame is exposed. `probe`
        then holds the modes that this amounts to, and `probe_modes` and `powers` do not count.
    step_px : float, optional
        Mean step of the scan, object pixels; default a quarter of the beam's width.
    beam : float
        Width of the beam as a share of the window.
    jitter : float
        Random displacement of each position, as a share of the step (0: a strict raster, whose
        periodicity a reconstruction picks up).
    seed : int
        Of jitter, noise and sample. The same arguments give the same data.
    energy_kev, distance_m, detector_pixel_m : float
    sample : Sample, optional
        Default ``Sample(seed=seed)``.
    faults : Faults, optional
        Of the detector; default: none. A saturation keeps a bright pixel from being refused.

    Returns
    -------
    Dataset

    Raises
    ------
    SaturationError
        If a pixel would count more than uint16 holds.
    """
    generator = np.random.default_rng(seed)
    wavelength = wavelength_from_energy(energy_kev)
    pixel = object_pixel(wavelength, distance_m, n, detector_pixel_m)
    step = beam * n / 4 if step_px is None else step_px

    outer_zone = 4.0 * pixel[0]  # the cone then covers a quarter of the detector
    diameter = 200e-6
    coherent = zone_plate_probe(
        n,
        pixel,
        wavelength,
        diameter_m=diameter,
        outer_zone_width_m=outer_zone,
        central_stop_m=0.3 * diameter,
        defocus_m=beam * n * pixel[0] * outer_zone / wavelength,
    )
    if fly:
        path = np.stack([np.zeros(15), ((np.arange(15) + 0.5) / 15 - 0.5) * step], axis=1)
        probe = moving_modes(coherent, path)
    else:
        shares = default_powers(probe_modes) if powers is None else np.asarray(powers, float)
        if len(shares) != probe_modes:
            raise ValueError(f"{len(shares)} powers for {probe_modes} probe modes")
        probe = orthogonal_modes(coherent, list(shares / shares.sum()))

    rows, columns = np.meshgrid(*(np.arange(k) - (k - 1) / 2 for k in grid), indexing="ij")
    places = np.stack([rows.ravel(), columns.ravel()], axis=1) * step
    places += generator.uniform(-jitter, jitter, places.shape) * step
    places = np.rint(places).astype(int)  # whole pixels, so that the model is exact
    low, high = places.min(axis=0) - n // 2, places.max(axis=0) - n // 2 + n
    origin = (float(low[0] * pixel[0]), float(low[1] * pixel[1]))
    picture = (sample or Sample(seed=seed)).render(tuple((high - low).tolist()), pixel, origin)

    corners = places - n // 2 - low
    light = np.sum(np.abs(probe) ** 2, axis=0)
    views = windows(np.abs(picture) ** 2, corners, n)
    probe *= np.sqrt(photons / np.mean(np.einsum("jyx,yx->j", views, light)))

    faults = faults or Faults()
    frames = np.empty((len(places), n, n), np.uint16)
    for i in range(0, len(places), _CHUNK):
        light = intensities(probe, picture, corners[i : i + _CHUNK])
        frames[i : i + _CHUNK] = count(light, generator, faults, first=i)
    return Dataset(
        frames=frames,
        positions_m=places * np.array(pixel),
        probe=probe,
        object=picture,
        origin=origin,
        pixel_size=pixel,
        wavelength_m=wavelength,
        distance_m=distance_m,
        detector_pixel_m=(detector_pixel_m, detector_pixel_m),
        faults=faults,
    )
