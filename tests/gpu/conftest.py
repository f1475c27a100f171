"""These run by plain pytest where there is a GPU, and say why they are skipped elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _why_none() -> str:
    """Return why no GPU can be used, or an empty text."""
    try:
        import pycuda.driver as driver
    except ImportError as error:
        return f"no PyCUDA: {error}"
    try:
        driver.init()
        return "" if driver.Device.count() else "no GPU"
    except driver.Error as error:
        return f"no GPU: {error}"


REASON = _why_none()


def pytest_collection_modifyitems(items):
    if REASON:
        for item in items:
            if HERE in Path(item.fspath).parents:
                item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="session")
def gpu():
    from hxn_ptycho.solver.cuda.gpu import Gpu

    opened = Gpu()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    """Fill memory of undefined content with NaN: what a kernel leaves out is seen."""
    if REASON:
        return
    from hxn_ptycho.solver.cuda.driver import drv
    from hxn_ptycho.solver.cuda.gpu import Gpu

    plain = Gpu.empty

    def empty(self, shape, dtype):
        array = plain(self, shape, dtype)
        if array.nbytes:
            drv.memset_d8_async(array.pointer, 0xFF, array.nbytes, self.stream)
            self.stream.synchronize()
        return array

    monkeypatch.setattr(Gpu, "empty", empty)
