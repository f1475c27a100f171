"""Scans of stream documents: with encoders in files and no event at all, or in steps."""

from __future__ import annotations

import numpy as np
import pytest

from hxn_ptycho.beamline import expected_frames, is_ptychography, read_scan
from hxn_ptycho.catalog import Catalogs, read_table
from hxn_ptycho.scan import ScanError

from ..hxn_documents import make_stream_scan
from .conftest import Store
from .edits import change, read_frames, set_column, set_start


@pytest.mark.parametrize("step", [False, True])
def test_both_kinds_are_read(catalogs: Catalogs, store: Store, step: bool) -> None:
    scan = store(make_stream_scan, step=step, extra_frames=2)
    assert is_ptychography(scan.start, scan.named("descriptor"))
    assert expected_frames(scan.start) == 20
    assert bool(read_table(catalogs.raw, scan.uid, "primary")["seq_num"]) == step
    got = read_scan(catalogs.raw, scan.uid)
    np.testing.assert_array_equal(read_frames(got), scan.frames)
    yx = np.stack([scan.positions["zpssy"], scan.positions["zpssx"]], axis=1)
    np.testing.assert_allclose(got.positions_m, 1e-6 * yx, atol=1e-14)
    assert scan.normalisation is not None
    np.testing.assert_allclose(got.normalisation, scan.normalisation[0] / scan.normalisation)


def test_a_fly_scan_without_a_scan_type_is_read_by_its_encoders(
    catalogs: Catalogs, store: Store
) -> None:
    about = {"scan": None, "num_points": 20, "detectors": ["merlin1"]}
    scan = store(make_stream_scan, set_start(**about))
    assert is_ptychography(scan.start, scan.named("descriptor"))
    got = read_scan(catalogs.raw, scan.uid).positions_m
    np.testing.assert_allclose(got[:, 1], 1e-6 * scan.positions["zpssx"], atol=1e-14)


def test_missing_readings_are_told(catalogs: Catalogs, store: Store) -> None:
    fly = store(make_stream_scan, change("panda", "INENC2_VAL", lambda old: old[:-30]))
    with pytest.raises(ScanError, match="inenc2_val"):
        read_scan(catalogs.raw, fly.uid)
    step = store(
        make_stream_scan, set_column("zpssy", lambda row, old: None if row == 3 else old), step=True
    )
    with pytest.raises(ScanError, match=r"1 of 20 positions of zpssy .* first at frame 3"):
        read_scan(catalogs.raw, step.uid)
