"""Memory of a GPU, by arithmetic: against what the arrays of a known case take."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hxn_ptycho.solver.memory import (
    NCCL_BYTES,
    SPARE_BYTES,
    Case,
    Estimate,
    batch_of,
    chunk_of,
    fewest_gpus,
    why_not_fused,
)

HEADLINE = Case(10_000, 192, 5, 1, (1400, 1400), "uint16")
HOPPER = 227 * 1024


def test_the_headline_case() -> None:
    """14.75 GB of exit waves and 0.6 GB of auxiliary ones, counts of 2 bytes, some pictures."""
    estimate = Estimate.of(HEADLINE, plain=False)
    pixels = 10_000 * 192 * 192
    assert estimate.counts == 2 * pixels
    assert estimate.waves == pytest.approx(pixels * 5 * 8 + 0.6e9, rel=0.002)
    assert 1400 * 1400 * 8 * 5 < estimate.pictures < 1400 * 1400 * 8 * 10
    assert estimate.sums == 0
    half = Estimate.of(replace(HEADLINE, storage="half"), plain=False)
    assert half.waves == pytest.approx(pixels * 5 * 4 + 0.6e9, rel=0.002)
    assert str(estimate).startswith("16.")


def test_counts_that_are_computed_are_floats_until_all_are_known() -> None:
    """As those of 32 bits; one that is whole on file may be none after a flat, or too large."""
    pixels = 10_000 * 192 * 192
    for changes, b in (({"corrected": True}, 1), ({"binning": 2}, 2), ({"binning": 4}, 4)):
        case = replace(HEADLINE, **changes)
        tables = 12 * (192 * b) ** 2
        assert Estimate.of(case, plain=False).counts == 6 * pixels + tables
        assert Estimate.of(replace(case, double=True), plain=True).counts == 10 * pixels + tables


def test_what_ranks_share_and_what_each_has() -> None:
    one, four = (Estimate.of(HEADLINE, ranks, plain=False) for ranks in (1, 4))
    assert four.counts == one.counts / 4
    assert four.waves - 0.6e9 == pytest.approx((one.waves - 0.6e9) / 4, rel=0.01)
    assert four.sums == NCCL_BYTES
    assert Estimate.of(HEADLINE, 4, plain=False, nccl=False).sums == 0
    # An odd division: the rank with most views counts.
    assert Estimate.of(HEADLINE, 3, plain=False).counts == 3334 * 192 * 192 * 2


def test_cufft_is_asked_for_its_part_where_it_can_be() -> None:
    case = replace(HEADLINE, double=True, frame_dtype="uint32")
    asked: list[tuple[int, int, bool]] = []

    def work(window: int, batch: int, double: bool) -> int:
        asked.append((window, batch, double))
        return 12_345

    found = Estimate.of(case, plain=True, cufft_bytes=work)
    chunk = chunk_of(10_000, 192, 5, True)
    assert asked == [(192, 5 * chunk, True)]
    assert found.waves == (10_000 + chunk) * 5 * 192 * 192 * 16 + 10_000 * 16 + 12_345
    assert found.counts == 10 * 10_000 * 192 * 192


@given(
    st.builds(
        Case,
        st.integers(1, 30_000),
        st.sampled_from([64, 128, 188, 192, 256, 512]),
        st.integers(1, 20),
        st.integers(1, 2),
        st.tuples(st.integers(600, 3000), st.integers(600, 3000)),
        st.sampled_from(["uint8", "uint16", "uint32", "float32"]),
        st.booleans(),
    ),
    st.floats(1e8, 2e11),
)
def test_the_fewest_gpus_fit_and_one_fewer_do_not(case: Case, memory: float) -> None:
    plain = bool(why_not_fused(case, HOPPER))
    number = fewest_gpus(case, memory, plain=plain)
    if number is None:
        assert not Estimate.of(case, case.views, plain=plain).fits(memory)
        assert not Estimate.of(case, 1, plain=plain).fits(memory)
        return
    assert Estimate.of(case, number, plain=plain).total + SPARE_BYTES <= memory
    if number > 1:
        assert not Estimate.of(case, number - 1, plain=plain).fits(memory)


@given(st.integers(0, 5000), st.sampled_from([64, 192, 512]), st.integers(1, 16))
def test_batches_are_of_about_equal_size(views: int, window: int, modes: int) -> None:
    batch = batch_of(views, window, modes, 8)
    assert batch * modes * window**2 * 8 <= max(0.3e9, modes * window**2 * 8)
    assert (batch == 0) == (views == 0)
    if views:
        batches = -(-views // batch)
        assert views - (batches - 1) * batch > 0


def test_why_not_the_fused_kernels() -> None:
    assert why_not_fused(HEADLINE, HOPPER) == ""
    assert why_not_fused(replace(HEADLINE, double=True), HOPPER) == "double precision"
    assert why_not_fused(replace(HEADLINE, object_modes=2), HOPPER) == "2 object modes"
    assert "17 probe modes" in why_not_fused(replace(HEADLINE, probe_modes=17), HOPPER)
    assert why_not_fused(replace(HEADLINE, window=188), HOPPER) == "a window of 188"
    many = replace(HEADLINE, probe_modes=16, window=512)
    assert "bytes of shared memory, the GPU has 65536" in why_not_fused(many, 65_536)
