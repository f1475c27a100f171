"""Synthetic data with known truth, and a simulated beamline that measures it.

``dataset()`` is a scan in memory with the truth behind it. The simulated beamline consists of ophyd
devices for a RunEngine (importing this package does not import them): an `endstation` of `stages`
and a beam; detectors (`merlin`, `eiger`) and a `scaler`, which any plan can trigger; and, for fly
scans (`plans`), a flyer for each form of scan documents: `panda`, `classic`, `zebra`, `streams`.
Detectors and ion chambers are ideal unless they are given `faults`.
"""

from .datasets import Dataset, dataset
from .sample import Sample

__all__ = ["Dataset", "Sample", "dataset"]
