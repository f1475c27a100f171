"""One job on this rank, from the job folder to its result."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .._version import __version__
from . import finish, initial
from .backend import Backend, open_backend, process_peak_bytes
from .communicator import Communicator
from .device import Complex, Device, Views
from .difference_map import Report, Schedule, best_scale, error_fourier, iterate
from .frames import Geometry, Share, check_frames, read_share
from .job import (
    CHECKPOINT_FILE,
    Inputs,
    Job,
    JobError,
    ProgressWriter,
    ResultData,
    read_array,
    write_arrays,
)
from .metrics import illumination

log = logging.getLogger("hxn_ptycho.solver")


def reconstruct(folder: Path, communicator: Communicator, begun: float) -> Path | None:
    """Run the job of `folder`; rank 0 reports progress, writes the result and returns its path.

    Parameters
    ----------
    folder : Path
        A job folder.
    communicator : Communicator
    begun : float
        ``time.perf_counter()`` at the start of the program, for ``seconds_total``.

    Raises
    ------
    JobError
        If the job cannot be run.
    """
    start = _Start(begun)
    start.has("imports")
    job, inputs = Job.read(folder), Inputs.read(folder)
    backend = open_backend(job, inputs, communicator)
    start.has("device")
    try:
        path = _reconstruct(job, inputs, folder, communicator, backend, start)
    except Exception:
        # With others, a GPU may be waiting for sums that never come: all ranks are ended instead.
        if communicator.size == 1:
            backend.close()
        raise
    backend.close()
    return path


def _reconstruct(
    job: Job,
    inputs: Inputs,
    folder: Path,
    communicator: Communicator,
    backend: Backend,
    start: _Start,
) -> Path | None:
    recipe = job.recipe
    lead = communicator.rank == 0
    share = read_share(
        job, inputs, folder, communicator.rank, communicator.size, backend.preparation
    )
    bad, empty = (
        [fault for part in communicator.gather(own) for fault in part]
        for own in (share.bad, share.empty)
    )
    check_frames(
        bad, empty, job.number_of_frames, recipe["bad_frames"], recipe.get("empty_frames", "drop")
    )
    saturated = sum(communicator.gather(share.saturated_pixels))
    used = np.concatenate(communicator.gather(share.index))
    geometry = Geometry.of(job, inputs.positions_m)
    views = Views(
        share.counts, share.scale, share.measured, geometry.positions[share.index], share.gaps
    )
    light = _Light.measure(share, communicator)
    start.has("frames")
    for frames, what in ((bad, "that cannot be used"), (empty, "without counts")):
        if frames:
            _say(f"{len(frames)} frames {what} dropped: {'; '.join(frames[:10])}", lead)
    if saturated:
        _say(f"{saturated} saturated pixels of single frames masked", lead)

    probe, obj = _first_guesses(job, folder, geometry, light)
    start.has("first_guesses")
    device = backend.device(views, probe, obj)
    start.has("waves")
    progress = ProgressWriter(folder) if lead else None
    memory = communicator.gather(device.memory_bytes)
    if progress is not None:
        if backend.facts:
            progress("device", **backend.facts)
        progress(
            "started",
            device=device.name,
            ranks=communicator.size,
            communicator=communicator.name,
            memory_bytes=sum(memory),
            views=len(used),
            dropped=len(bad) + len(empty),
            saturated_pixels=saturated,
            object_shape=list(geometry.object_shape),
            startup_seconds=start.elapsed,
            startup=start.seconds,
        )
    _say(f"first iteration after {start.elapsed:.2f} s: {start}", lead)

    history = _History(job, folder, device, progress, geometry.origin_m)
    iterate(device, communicator, Schedule.of(recipe), history.add)
    seconds = history.reports[-1].seconds
    _say(f"{recipe['iterations']} iterations in {seconds:.2f} s", lead)

    probe, obj, power = _finish(*device.means(), geometry.positions[used])
    # A mean fits the data best when it is a little larger than the mean of its iterates.
    device.set(probe, obj)
    probe, obj = finish.gauge(probe * best_scale(device, communicator), obj, light.photons)
    device.set(probe, obj)
    error = error_fourier(device, communicator)  # of what is published
    on_host = max(communicator.gather(process_peak_bytes()))
    on_device = max(communicator.gather(backend.peak_bytes()))
    if progress is None:
        return None
    probe = probe * initial.binning_ramp(job.fft_window, recipe["binning"]).conj()
    kind = np.complex128 if recipe["precision"] == "double" else np.complex64
    result = ResultData(
        object=obj.astype(kind),
        probe=probe.astype(kind),
        positions=geometry.positions[used],
        positions_m=inputs.positions_m[used],
        iteration=np.array([report.iteration for report in history.reports]),
        error_probe=np.stack([report.error_probe for report in history.reports]),
        error_object=np.stack([report.error_object for report in history.reports]),
        error_fourier_curve=np.array([report.error_fourier for report in history.reports]),
        probe_power=power,
        pixel_size=job.object_pixel_m,
        origin_m=geometry.origin_m,
        wavelength=job.wavelength_m,
        raw_uid=job.raw_uid,
        scan_id=job.scan_id,
        recipe=recipe,
        version=__version__,
        device=device.name,
        communicator=communicator.name,
        ranks=communicator.size,
        seconds=seconds,
        seconds_total=start.elapsed,
        error_fourier=error,
        frames_dropped=len(bad) + len(empty),
        saturated_pixels=saturated,
    )
    path = result.write(folder)
    if (kernels := backend.profile()) is not None:
        progress("profile", kernels=kernels)
    progress(
        "finished",
        seconds=seconds,
        error_fourier=error,
        peak_memory_bytes=on_host,  # of the largest rank, as the next
        peak_device_bytes=on_device,
    )
    return path


class _Start:
    """Where the time of the start goes: seconds by name, and all since the program began."""

    def __init__(self, begun: float) -> None:
        self.seconds: dict[str, float] = {}
        self._begun = begun

    def __str__(self) -> str:
        return ", ".join(f"{name} {seconds:.2f}" for name, seconds in self.seconds.items())

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._begun

    def has(self, name: str) -> None:
        """Name what was done since the last call."""
        self.seconds[name] = self.elapsed - sum(self.seconds.values())


@dataclass(frozen=True)
class _Light:
    """What all frames together say: their mean, and the photons of a bright one.

    The mean of a pixel is over the frames in which it was measured; 0 where it never was. The
    photons are those measured: of frames with saturated pixels too few.
    """

    mean_intensity: np.ndarray
    photons: float

    @classmethod
    def measure(cls, share: Share, communicator: Communicator) -> _Light:
        total, seen = share.total.copy(), share.seen.astype(np.float64)
        for array in (total, seen):
            communicator.sum_array(array)
        every = np.concatenate(communicator.gather(share.photons))
        return cls(total / np.maximum(seen, 1), float(np.percentile(every, 99)))


@dataclass
class _History:
    """Keeps the reports; on rank 0 also writes the progress and the checkpoints."""

    job: Job
    folder: Path
    device: Device
    progress: ProgressWriter | None
    origin_m: tuple[float, float]
    reports: list[Report] = field(default_factory=list)

    def add(self, report: Report) -> None:
        self.reports.append(report)
        errors = [*report.error_probe, *report.error_object]
        if not all(map(math.isfinite, errors)):
            raise JobError(
                f"the reconstruction blew up in iteration {report.iteration}",
                "try a smaller beta, a better first probe, or clamp the object with "
                "object_amplitude = [0, 1.2]",
            )
        every = self.job.recipe["checkpoint_every"]
        checkpoint = bool(every) and report.iteration % every == 0
        pictures = self.device.get() if checkpoint else None  # which all ranks must ask for
        if self.progress is None:
            return
        self.progress(
            "iteration",
            iteration=report.iteration,
            error_probe=report.error_probe,
            error_object=report.error_object,
            error_fourier=report.error_fourier,
            seconds=report.seconds,
        )
        if pictures is not None:
            probe, obj = pictures
            path = self.folder / CHECKPOINT_FILE
            write_arrays(path, object_origin_m=self.origin_m, probe=probe, object=obj)


def _first_guesses(
    job: Job, folder: Path, geometry: Geometry, light: _Light
) -> tuple[Complex, Complex]:
    """Return the first probe (M_P, n, n) and object (M_O, H, W), complex128, alike on all ranks."""
    recipe = job.recipe
    generator = np.random.default_rng(recipe["seed"])
    if job.start["probe"]:
        given, _ = read_array(job.start["probe"], folder)
        if given.shape[1:] != (job.fft_window, job.fft_window):
            raise JobError(
                f"the first probe is {given.shape[1:]} for a window of {job.fft_window}",
                "prepare the job again",
            )
        given = given * initial.binning_ramp(job.fft_window, recipe["binning"])
    elif recipe["probe"] == "random":
        given = initial.random_probe(light.mean_intensity, generator)[None]
    else:
        given = initial.probe_from_data(light.mean_intensity)[None]
    photons = float(light.mean_intensity.sum())
    probe = initial.scale_to(
        initial.further_modes(given, recipe["probe_modes"], recipe["probe_mode_power"], generator),
        photons,
    )
    kind = recipe["object"] if recipe["object"] in ("ones", "random") else "ones"
    obj = initial.make_object(kind, recipe["object_modes"], geometry.object_shape, generator)
    if job.start["object"]:
        given, origin = read_array(job.start["object"], folder)
        offset = None
        if origin is not None:
            steps = [
                round((there - here) / pixel)
                for there, here, pixel in zip(
                    origin, geometry.origin_m, job.object_pixel_m, strict=True
                )
            ]
            offset = (steps[0], steps[1])
        obj = initial.place_object(obj, given, offset)
    return probe, obj


def _finish(
    probe: Complex, obj: Complex, positions: np.ndarray
) -> tuple[Complex, Complex, np.ndarray]:
    """Return mean probe and object, modes orthogonal, ramp removed, and the modes' powers."""
    probe, power = finish.orthonormalise(probe)
    light = illumination(probe, positions, (obj.shape[1], obj.shape[2]))
    if len(obj) > 1:
        obj, _ = finish.orthonormalise(obj, weight=light)
    probe, obj = finish.remove_ramp(probe, obj, light)
    return probe, obj, power


def _say(text: str, lead: bool) -> None:
    if lead:
        log.info(text)
