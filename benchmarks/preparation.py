"""What preparing frames costs, beside reading them: 4,000 frames of 256 x 256, uint16.

    python benchmarks/preparation.py [--device cuda] [--frames 10000] [--side 256] [--repeats 5]
        [--compressed]

The file lies in the page cache: what is read is copied by h5py, a frame a chunk; with --compressed,
by bitshuffle and LZ4 as an Eiger does, it is unpacked too. In one run, turn about: reading alone,
then each way of preparing: of frames that are in memory already, into memory that was used before
(CPU), or read as in a job (GPU, where reading, copying and preparing overlap). Prints JSON: the
best of the repeats, and each way as a share of reading. On a CPU the seconds are those that the
processor worked, which neighbours change less.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hxn_ptycho.solver.frames import BATCH_BYTES, read_share
from hxn_ptycho.solver.job import FrameBlock, Inputs, Job
from hxn_ptycho.solver.preparation import FramePlan, HostPreparation, Preparation

# Keys of the recipe, and which images there are.
WAYS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "plain": ({}, ()),
    "masked": ({}, ("mask",)),
    "turned": ({"orientation": "transpose"}, ()),
    "binned": ({"binning": 2}, ()),
    "dark and flat": ({}, ("dark", "flat")),
    "all steps": (
        {
            "orientation": "transpose", "binning": 2, "threshold": 1.5,
            "zero_regions": [(0, 0, 20, 20)],
        },
        ("mask", "dark", "flat"),
    ),
    "all steps but binning": (
        {"orientation": "rot90", "threshold": 1.5, "zero_regions": [(0, 0, 20, 20)]},
        ("mask", "dark", "flat"),
    ),
}  # fmt: skip


def write_frames(path: Path, count: int, side: int, compressed: bool) -> np.ndarray:
    """Write frames of a disc of light, a saturated pixel in every fourth; return some of them."""
    rng = np.random.default_rng(0)
    y = np.arange(side) - side / 2
    light = 200 * np.exp(-np.add.outer(y**2, y**2) / (side / 6) ** 2)
    packed = {}
    if compressed:
        import hdf5plugin  # which a GPU host may lack

        packed = hdf5plugin.Bitshuffle(cname="lz4")
    some = rng.poisson(light, size=(64, side, side)).astype(np.uint16)
    some[::4, side // 2, side // 2] = 65535
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            "data", (count, side, side), np.uint16, chunks=(1, side, side),
            **packed,
        )  # fmt: skip
        for low in range(0, count, len(some)):
            dataset[low : low + len(some)] = some[: count - low]
    return some


def job_of(count: int, side: int, way: str) -> tuple[Job, Inputs]:
    recipe, images = WAYS[way]
    rng = np.random.default_rng(1)
    shape = (side, side)
    job = Job(
        job_uid="j", derived_uid="d", raw_uid="r", scan_id=1,
        frames=(FrameBlock("frames.h5", "data", 0, count),), frame_shape=shape,
        frame_dtype="uint16", dc="centre", crop=(0, 0, side),
        fft_window=side // recipe.get("binning", 1), wavelength_m=1e-10, distance_m=1.0,
        detector_pixel_m=(55e-6, 55e-6), object_pixel_m=(1e-8, 1e-8), recipe=recipe,
    )  # fmt: skip
    inputs = Inputs(
        np.zeros((count, 2)),
        rng.uniform(0.9, 1.1, count),
        rng.uniform(size=shape) > (0.01 if "mask" in images else -1),
        rng.uniform(0, 1, shape).astype(np.float32) if "dark" in images else None,
        rng.uniform(0.9, 1.1, shape).astype(np.float32) if "flat" in images else None,
    )
    return job, inputs


class Reading:
    """A preparation that does nothing with what is read."""

    def __init__(self, plan: FramePlan) -> None:
        self.memory = np.empty(BATCH_BYTES, np.uint8)

    def room(self, count: int, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
        size = count * shape[0] * shape[1] * dtype.itemsize
        return self.memory[:size].view(dtype).reshape(count, *shape)

    def add(self, offset: int, frames: np.ndarray) -> None:
        """Forget them."""

    def finish(self) -> Any:
        raise _Read


class _Read(Exception):
    """All is read."""


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    begun = clock()
    work()
    return clock() - begun


def read_only(folder: Path, count: int, side: int) -> Callable[[], object]:
    job, inputs = job_of(count, side, "plain")

    def work() -> None:
        with contextlib.suppress(_Read):
            read_share(job, inputs, folder, 0, 1, Reading)

    return work


def prepare_only(some: np.ndarray, count: int, side: int, way: str) -> Callable[[], object]:
    """Frames that are in memory, in a cache at best, as after reading them."""
    job, inputs = job_of(count, side, way)
    preparation = HostPreparation(FramePlan.of(job, inputs, np.arange(count)))
    batch = BATCH_BYTES // some[0].nbytes
    frames = preparation.room(batch, some.shape[1:], some.dtype)
    for low in range(0, batch, len(some)):
        frames[low : low + len(some)] = some[: batch - low]

    def work() -> None:
        for low in range(0, count, batch):
            preparation.add(low, frames[: min(batch, count - low)])

    work()  # the first time memory is used it has to be found, at the machine's pace of the day
    return work


def on_gpu(gpu: Any, folder: Path, count: int, side: int, way: str) -> Callable[[], object]:
    """Reading, copying and preparing, as in a job."""
    from hxn_ptycho.solver.cuda.frames import GpuPreparation
    from hxn_ptycho.solver.units import lines_of

    job, inputs = job_of(count, side, way)
    lines = lines_of(job.fft_window)
    strip = lines.columns if lines else job.fft_window

    def preparation_of(plan: FramePlan) -> Preparation:
        return GpuPreparation(gpu, plan, strip)

    def work() -> None:
        share = read_share(job, inputs, folder, 0, 1, preparation_of)
        gpu.synchronize()
        share.counts.free()

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compressed", action="store_true")
    options = parser.parse_args()
    count, side = options.frames, options.side
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    gpu = None
    if options.device == "cuda":
        from hxn_ptycho.solver.cuda.gpu import Gpu

        gpu = Gpu()
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        some = write_frames(folder / "frames.h5", count, side, options.compressed)

        def way_of(way: str) -> Callable[[], object]:
            if way == "reading":
                return read_only(folder, count, side)
            if gpu is not None:
                return on_gpu(gpu, folder, count, side, way)
            return prepare_only(some, count, side, way)

        for way in WAYS:  # compile and load
            way_of(way)()
        for _ in range(options.repeats):
            for way in ("reading", *WAYS):
                times.setdefault(way, []).append(seconds(way_of(way), clock))
    best = {way: min(each) for way, each in times.items()}
    print(
        json.dumps(
            {
                "device": gpu.name if gpu is not None else "cpu",
                "frames": count,
                "side": side,
                "seconds": best,
                "share_of_reading": {way: best[way] / best["reading"] for way in best},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
