"""PyCUDA's driver, or a sentence about why it is not there."""

from __future__ import annotations

from ..job import JobError

try:
    import pycuda.driver as drv
except ImportError as error:
    raise JobError(
        f"the GPU needs PyCUDA, which cannot be imported: {error}",
        'pip install "hxn_ptycho[gpu]" where the NVIDIA driver is, or set device = "cpu"',
    ) from error

__all__ = ["drv"]
