from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from hxn_ptycho.launch import Gpu, gpus, why_no_gpu
from hxn_ptycho.launch.gpu import _look

H100 = ("NVIDIA H100 80GB HBM3", 85_000_000_000, 9, 0)
A100 = ("NVIDIA A100", 42_000_000_000, 8, 0)


FIND = importlib.util.find_spec


class FakeDriver:
    """As libcuda.so.1 answers: a status, and what was asked for through a pointer."""

    def __init__(self, *cards: tuple[str, int, int, int], init: int = 0) -> None:
        self.cards = cards
        self.init = init

    def cuInit(self, flags: int) -> int:
        return self.init

    def cuGetErrorName(self, status: int, text: Any) -> int:
        text._obj.value = b"CUDA_ERROR_TEST"
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self.cards)
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:
        device._obj.value = number
        return 0

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:
        name.value = self.cards[device.value][0].encode()
        return 0

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> int:
        memory._obj.value = self.cards[device.value][1]
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:
        value._obj.value = self.cards[device.value][{75: 2, 76: 3}.get(attribute, 1)]
        if attribute == 97:
            value._obj.value = 232_448
        return 0

    def cuDeviceGetUuid(self, uuid: Any, device: Any) -> int:
        uuid._obj[:] = bytes([device.value] * 16)
        return 0


Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make this process see a driver (None: there is none) and these installed packages."""

    def make(driver: FakeDriver | None, packages: tuple[str, ...] = ("pycuda", "skcuda")) -> None:
        def load(name: str) -> FakeDriver:
            assert name == "libcuda.so.1"
            if driver is None:
                raise OSError("libcuda.so.1: cannot open shared object file")
            return driver

        monkeypatch.setattr(ctypes, "CDLL", load)
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name: FIND("json" if name in packages else "no_such_module"),
        )
        _look.cache_clear()

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield make
    _look.cache_clear()


def test_gpus_are_what_the_driver_says(machine: Machine) -> None:
    machine(FakeDriver(H100, A100))
    assert gpus() == (
        Gpu(
            "NVIDIA H100 80GB HBM3",
            85_000_000_000,
            (9, 0),
            232_448,
            "GPU-00000000-0000-0000-0000-000000000000",
        ),
        Gpu(
            "NVIDIA A100",
            42_000_000_000,
            (8, 0),
            232_448,
            "GPU-01010101-0101-0101-0101-010101010101",
        ),
    )
    assert why_no_gpu() == ""


def test_without_a_driver_there_is_none(machine: Machine) -> None:
    machine(None)
    assert gpus() == ()
    assert why_no_gpu() == "no NVIDIA driver on this machine (no libcuda.so.1)"


@pytest.mark.parametrize("driver", [FakeDriver(), FakeDriver(H100, init=100)])
def test_a_hidden_gpu_is_told_from_none(
    machine: Machine, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(driver)
    assert why_no_gpu() == "the NVIDIA driver finds no GPU"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    machine(driver)
    assert gpus() == ()
    assert why_no_gpu() == "no GPU is visible: CUDA_VISIBLE_DEVICES is ''"


def test_a_driver_that_refuses_is_quoted(machine: Machine) -> None:
    machine(FakeDriver(H100, init=803))
    assert gpus() == ()
    assert "CUDA_ERROR_TEST (803); the driver and its CUDA library differ" in why_no_gpu()
    machine(FakeDriver(H100, init=999))
    assert why_no_gpu().endswith("CUDA_ERROR_TEST (999); does nvidia-smi run?")


def test_missing_packages_are_named(machine: Machine) -> None:
    machine(FakeDriver(H100), packages=())
    assert why_no_gpu() == 'pycuda and skcuda missing: pip install "hxn_ptycho[gpu]"'
    machine(FakeDriver(H100), packages=("pycuda",))  # enough for the fused kernels
    assert why_no_gpu() == ""
