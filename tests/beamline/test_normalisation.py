from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hxn_ptycho.beamline.normalisation import normalisation
from hxn_ptycho.scan import ScanError


@given(st.lists(st.floats(1e3, 5e3), min_size=1, max_size=50))
def test_normalised_readings_are_all_the_first(counts: list[float]) -> None:
    factors = normalisation(1, counts)
    np.testing.assert_allclose(factors * counts, counts[0])


@pytest.mark.parametrize("lost", [0.0, 3.0, -1.0, np.nan, np.inf])
def test_drop_outs_take_the_reading_before(lost: float, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        factors = normalisation(7, [100, 110, lost, lost, 120])
    np.testing.assert_allclose(factors, [1, 100 / 110, 100 / 110, 100 / 110, 100 / 120])
    assert "scan 7: 2 of 5 readings" in caplog.text


def test_drop_outs_at_the_start_take_the_first_good_reading() -> None:
    np.testing.assert_allclose(normalisation(1, [0, 0, 100, 50]), [1, 1, 1, 2])


@pytest.mark.parametrize("counts", [[0, 0], [np.nan, np.nan], [-1, -2, 0]])
def test_a_dead_ion_chamber_is_refused(counts: list[float]) -> None:
    with pytest.raises(ScanError, match=rf"scan 3: none of the {len(counts)} readings"):
        normalisation(3, counts)
