"""Which GPUs this process may use, as the driver says, without a context on any of them."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

_DRIVER = "libcuda.so.1"
_NO_DEVICE = 100
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...
_SHARED = 97  # CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
# pycuda always; skcuda (cuFFT) for the windows that no fused kernel is made for.
_PACKAGES = ("pycuda", "skcuda")
_ADVICE = {
    34: "a stub of the driver is loaded: take the CUDA toolkit's stubs off LD_LIBRARY_PATH",
    35: "the driver is older than its CUDA library: update it",
    803: "the driver and its CUDA library differ in version: reboot, or mend the installation",
    804: "the CUDA library is newer than this driver allows: update the driver",
    802: "the GPUs are not ready: is nvidia-fabricmanager running?",
}


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes
    ----------
    name : str
    memory_bytes : int
        0 if unknown, as of GPUs on other hosts.
    compute_capability : (int, int)
        Major and minor.
    shared_block_bytes : int
        Most shared memory of a block; 0 if unknown.
    uuid : str
        As ``CUDA_VISIBLE_DEVICES`` takes it; empty if unknown.
    """

    name: str
    memory_bytes: int
    compute_capability: tuple[int, int]
    shared_block_bytes: int = 0
    uuid: str = ""


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs this process may use; none where there is no driver or no device.

    Asked once a process, as the driver itself reads ``CUDA_VISIBLE_DEVICES`` once.
    """
    return _look()[0]


def why_no_gpu() -> str:
    """Return why no GPU can be used, and what to do; empty if one can be."""
    found, reason = _look()
    if not found:
        return reason
    lacking = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if "pycuda" in lacking:  # a job that turns out to need skcuda is refused by the solver
        return f'{" and ".join(lacking)} missing: pip install "hxn_ptycho[gpu]"'
    return ""


@lru_cache
def _look() -> tuple[tuple[Gpu, ...], str]:
    """Return the GPUs, and why there are none."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return (), f"no NVIDIA driver on this machine (no {_DRIVER})"
    try:
        _ask(driver, driver.cuInit, 0)
        count = ctypes.c_int()
        _ask(driver, driver.cuDeviceGetCount, ctypes.byref(count))
        if not count.value:
            return (), _none_visible()
        return tuple(_describe(driver, number) for number in range(count.value)), ""
    except _DriverError as error:
        return (), str(error)


class _DriverError(RuntimeError):
    """The driver refused; the message says why."""


def _ask(driver: Any, function: Any, *arguments: Any) -> None:
    """Call a function of the driver.

    Raises
    ------
    _DriverError
        With the driver's name of the error.
    """
    status = function(*arguments)
    if status == _NO_DEVICE:
        raise _DriverError(_none_visible())
    if status != 0:
        text = ctypes.c_char_p()
        driver.cuGetErrorName(status, ctypes.byref(text))
        name = text.value.decode() if text.value else "an error without a name"
        advice = _ADVICE.get(status, "does nvidia-smi run?")
        raise _DriverError(f"the NVIDIA driver answers {name} ({status}); {advice}")


def _none_visible() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return "the NVIDIA driver finds no GPU"
    return f"no GPU is visible: CUDA_VISIBLE_DEVICES is {visible!r}"


def _describe(driver: Any, number: int) -> Gpu:
    device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(256)
    _ask(driver, driver.cuDeviceGet, ctypes.byref(device), number)
    _ask(driver, driver.cuDeviceGetName, name, len(name), device)
    _ask(driver, driver.cuDeviceTotalMem_v2, ctypes.byref(memory), device)
    found = []
    for attribute in (_MAJOR, _MINOR, _SHARED):
        value = ctypes.c_int()
        _ask(driver, driver.cuDeviceGetAttribute, ctypes.byref(value), attribute, device)
        found.append(value.value)
    major, minor, shared = found
    uuid = (ctypes.c_ubyte * 16)()
    _ask(driver, driver.cuDeviceGetUuid, ctypes.byref(uuid), device)
    return Gpu(
        name.value.decode(), memory.value, (major, minor), shared, f"GPU-{UUID(bytes=bytes(uuid))}"
    )
