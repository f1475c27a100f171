"""Every kernel compiles for every architecture that is built, without registers spilt.

Each architecture is compiled by itself: one fat binary of all takes nvcc as long, since only the
preprocessor's share is saved, and a kernel for one would fail with those for the others.
"""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from hxn_ptycho.solver.build import Built, Unit

from .cases import CASES, COMPILER

# (unit, architecture, kernel): bytes of stores and loads that are known of, and why they are
# borne. What spills less, or no more, fails too: the table is to be true.
EXPECTED_SPILLS: dict[tuple[str, str, str], int] = {
    # Two of the 96 registers that let two blocks of ten warps run on a multiprocessor.
    ("fused-512-single", "sm_80", "fused_constrain_few"): 16,
    ("fused-512-single", "sm_90", "fused_constrain_few"): 16,
}

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs nvcc and g++")


# What comes last waits for all before it, on a machine with few cores.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", list(CASES), ids=list(CASES))
def test_compiles_without_spills(name: str, compiled: dict[str, Future[Built]]) -> None:
    unit: Unit
    unit, arch = CASES[name]
    built = compiled[name].result()
    assert built.path.stat().st_size > 0
    assert built.resources, f"{unit.source} has no kernel"
    spills = {
        (unit.name, arch, each.kernel): each.spill_stores + each.spill_loads
        for each in built.resources
    }
    found = {key: spilt for key, spilt in spills.items() if spilt}
    expected = {
        key: spilt for key, spilt in EXPECTED_SPILLS.items() if key[:2] == (unit.name, arch)
    }
    assert found == expected
