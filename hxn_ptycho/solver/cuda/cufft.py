"""cuFFT, through scikit-cuda, for what the fused kernels do not cover."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..job import JobError
from .gpu import DeviceArray, Gpu

_LIBRARY = "libcufft.so"
_WITHOUT = (
    'or choose fft_window = "fast", one object mode and single precision, which the fused kernels '
    'do without cuFFT; or device = "cpu"'
)


class Fft:
    """Unnormalised 2-D transforms of `batch` planes (n, n), in place, on the GPU's stream.

    cuFFT's work area is an array of ours, so that it is counted and its want is told in words.
    """

    def __init__(self, gpu: Gpu, window: int, batch: int, double: bool) -> None:
        self._gpu, self._cufft = gpu, _load_cufft()
        self._execute = self._cufft.cufftExecZ2Z if double else self._cufft.cufftExecC2C
        if batch == 0:
            return
        self._plan, size = _plan(window, batch, double)
        # Not at exit: the context may be gone by then, and everything goes with it.
        weakref.finalize(self, self._cufft.cufftDestroy, self._plan).atexit = False
        self._work = gpu.empty((max(size, 1),), np.uint8)
        self._cufft.cufftSetWorkArea(self._plan, self._work.pointer)
        self._cufft.cufftSetStream(self._plan, gpu.stream.handle)

    def forward(self, planes: DeviceArray) -> None:
        """Transform, with exp(-i)."""
        self._run(planes, self._cufft.CUFFT_FORWARD)

    def inverse(self, planes: DeviceArray) -> None:
        """Transform back, n^2 times too large."""
        self._run(planes, self._cufft.CUFFT_INVERSE)

    def _run(self, planes: DeviceArray, direction: int) -> None:
        with self._gpu.profiler.measure("cufft", self._gpu.stream):
            self._execute(self._plan, planes.pointer, planes.pointer, direction)


def _plan(window: int, batch: int, double: bool) -> tuple[Any, int]:
    """Return a plan without a work area, and the bytes of it that it needs."""
    cufft = _load_cufft()
    sides = (ctypes.c_int * 2)(window, window)
    try:
        plan = cufft.cufftCreate()
        cufft.cufftSetAutoAllocation(plan, 0)
        kind = cufft.CUFFT_Z2Z if double else cufft.CUFFT_C2C
        size = cufft.cufftMakePlanMany(plan, 2, sides, None, 1, 0, None, 1, 0, kind, batch)
    except cufft.cufftError as error:
        raise JobError(
            f"cuFFT cannot plan {batch} transforms of {window} x {window}: {type(error).__name__}",
            "is the GPU's memory full? Ask nvidia-smi; is cuFFT of a CUDA newer than the driver? "
            f"Use that of the driver's CUDA; {_WITHOUT}",
        ) from error
    return plan, int(size)


def work_bytes(window: int, batch: int, double: bool) -> int:
    """Return the bytes that cuFFT works in; a GPU's context is current.

    Raises
    ------
    JobError
        If cuFFT is missing, or cannot plan this.
    """
    if batch == 0:
        return 0
    plan, size = _plan(window, batch, double)
    _load_cufft().cufftDestroy(plan)
    return max(size, 1)


@cache
def _load_cufft() -> Any:
    """Return scikit-cuda's module of cuFFT.

    It asks the loader for ``libcufft.so`` and finds neither the versioned names that a plain
    runtime has (libcufft.so.12) nor what pip installs. To have loaded such a file before is of no
    use: glibc takes a loaded library for the one asked for only if its SONAME, versioned too, is
    the same. So, where the loader finds none, the import's own request is answered with a file
    that is there.

    Raises
    ------
    JobError
        If scikit-cuda cannot be imported, or there is no cuFFT.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pkg_resources, which it uses, is deprecated
            try:
                from skcuda import cufft
            except OSError:
                with _answering(_LIBRARY, _find_library()):
                    from skcuda import cufft
    except OSError as error:
        raise JobError(
            f"this job needs cuFFT, and its library {_LIBRARY} is not found: {error}",
            "install the CUDA toolkit's cuFFT and have its folder in LD_LIBRARY_PATH, or "
            f"pip install nvidia-cufft; {_WITHOUT}",
        ) from error
    except Exception as error:  # pkg_resources has errors of its own
        raise JobError(
            f"this job needs scikit-cuda for cuFFT, which cannot be imported: {error!r}",
            f'pip install "hxn_ptycho[gpu]" (scikit-cuda needs setuptools < 81); {_WITHOUT}',
        ) from error
    return cufft


def _find_library() -> str:
    """Return a path, or a name that the loader knows, of some cuFFT; else the plain name."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [Path(home) / "lib64" for home in homes if home]
    for place in filter(None, sys.path):
        folders += sorted(Path(place).glob("nvidia/*/lib"), reverse=True)  # cu13, cufft
    for folder in folders:
        for file in sorted(folder.glob(f"{_LIBRARY}*")):
            return str(file)
    return ctypes.util.find_library("cufft") or _LIBRARY


@contextmanager
def _answering(name: str, path: str) -> Iterator[None]:
    """Let ``ctypes.cdll.LoadLibrary(name)`` load `path` meanwhile."""
    original: Callable[[str], ctypes.CDLL] = ctypes.cdll.LoadLibrary

    def load(asked: str) -> ctypes.CDLL:
        return original(path if asked == name else asked)

    ctypes.cdll.LoadLibrary = load  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        del ctypes.cdll.LoadLibrary  # the instance's, which hid the class's
