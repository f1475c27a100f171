"""Synthetic data with known truth, and a simulated beamline that measures it.

``dataset()`` is a scan in memory with the truth behind it. The simulated beamline (`endstation`,
`stages`, `merlin`, `panda`, `plans`) consists of ophyd devices for a RunEngine; importing this
package does not import them.
"""

from .datasets import Dataset, dataset
from .sample import Sample

__all__ = ["Dataset", "Sample", "dataset"]
