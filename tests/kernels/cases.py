"""What is compiled, and by what."""

from __future__ import annotations

import shutil

from hxn_ptycho.solver.build import find_nvcc, units
from hxn_ptycho.solver.units import ARCHS

CASES = {f"{unit.name}-{arch}": (unit, arch) for unit in units() for arch in ARCHS}
COMPILER = find_nvcc() if shutil.which("g++") else None
