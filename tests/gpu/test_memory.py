"""What a job needs of the GPU's memory is known before, and kept to."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from ..solver.cases import make_case
from .cases import cuda_device, run


@pytest.mark.parametrize(
    ("plain", "storage", "double"),
    [
        (False, "single", False),
        (False, "half", False),
        (True, "single", False),
        (True, "single", True),
    ],
)
def test_the_estimate_holds(gpu, plain, storage, double):
    from hxn_ptycho.solver.cuda.memory import Estimate

    case = make_case(n=64, views=300, probe_modes=3, shape=(300, 280))
    gc.collect()
    before = gpu.held_bytes
    with cuda_device(gpu, case, plain=plain, storage=storage, double=double) as device:
        run(device, 2)
        device.add_to_average()
        held = gpu.held_bytes - before
        estimate = Estimate.of(
            views=300, window=64, probe_modes=3, object_modes=1, object_shape=(300, 280),
            frame_dtype=np.dtype(np.uint16), double=double, storage=storage, plain=plain,
        )  # fmt: skip
        assert held <= estimate.total <= 1.2 * held


def test_the_headline_keeps_to_what_was_promised(gpu):
    """Exit waves, counts, 10 % more, and 0.6 GB of auxiliary waves: 10,000 x 192 x 192 x 5."""
    from hxn_ptycho.solver.cuda.memory import Estimate

    pixels = 10_000 * 192 * 192
    estimate = Estimate.of(
        views=10_000, window=192, probe_modes=5, object_modes=1, object_shape=(1400, 1400),
        frame_dtype=np.dtype(np.uint16), double=False, storage="single", plain=False,
    )  # fmt: skip
    assert estimate.total <= 1.1 * (pixels * 5 * 8 + pixels * 2) + 0.6e9
