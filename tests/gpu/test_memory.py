"""What a job needs of the GPU's memory is known before, and kept to."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from hxn_ptycho.solver.memory import Case, Estimate

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
    from hxn_ptycho.solver.cuda.cufft import work_bytes

    case = make_case(n=64, views=300, probe_modes=3, shape=(300, 280))
    gc.collect()
    before = gpu.held_bytes
    with cuda_device(gpu, case, plain=plain, storage=storage, double=double) as device:
        run(device, 2)
        device.add_to_average()
        held = gpu.held_bytes - before
        sizes = Case(300, 64, 3, 1, (300, 280), np.uint16, double=double, storage=storage)
        estimate = Estimate.of(sizes, plain=plain, cufft_bytes=work_bytes)
        assert held <= estimate.total <= 1.2 * held


def test_the_headline_keeps_to_what_was_promised(gpu):
    """Exit waves, counts, 10 % more, and 0.6 GB of auxiliary waves: 10,000 x 192 x 192 x 5."""
    pixels = 10_000 * 192 * 192
    case = Case(10_000, 192, 5, 1, (1400, 1400), np.uint16)
    estimate = Estimate.of(case, plain=False)
    assert estimate.total <= 1.1 * (pixels * 5 * 8 + pixels * 2) + 0.6e9
