"""Files of frames, checked before any work as the solver will open them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hxn_ptycho.prepare.checks import check_files
from hxn_ptycho.scan import Scan, ScanError
from hxn_ptycho.solver.job import FrameBlock

from ..detector_writers import FRAMES, make_frames, write_eiger, writing
from ..jobs import make_scan


def scan_of(folder: Path, *blocks: FrameBlock, shape: tuple[int, int]) -> Scan:
    return replace(make_scan(folder / "scan"), frames=blocks, frame_shape=shape)


def test_a_file_that_a_detector_still_writes(tmp_path: Path) -> None:
    path = tmp_path / "merlin.h5"
    scan = scan_of(tmp_path, FrameBlock(str(path), FRAMES, 0, 3), shape=(4, 5))
    with writing(path, "swmr") as writer:
        writer.extend(2)
        with pytest.raises(ScanError, match=r"scan 7: .*holds 2 frames where 3 are needed"):
            check_files(scan, tmp_path)
        writer.extend(3)
        check_files(scan, tmp_path)
    check_files(scan, tmp_path)


@pytest.mark.parametrize("mode", ["latest", "old"])
def test_a_file_that_is_written_without_swmr(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "merlin.h5"
    scan = scan_of(tmp_path, FrameBlock(str(path), FRAMES, 0, 3), shape=(4, 5))
    with writing(path, mode) as writer:
        writer.extend(3)
        with pytest.raises(ScanError, match=r"without SWMR.*wait until the scan has closed it"):
            check_files(scan, tmp_path)
    check_files(scan, tmp_path)


def test_a_virtual_dataset_without_one_of_its_files(tmp_path: Path) -> None:
    frames = make_frames(10)
    master = write_eiger(tmp_path, frames, virtual=True)
    scan = scan_of(tmp_path, FrameBlock(str(master), "entry/data/data", 0, 10), shape=(6, 7))
    check_files(scan, tmp_path)
    (tmp_path / "series_7_data_000002.h5").unlink()
    with pytest.raises(ScanError, match=r"series_7_data_000002\.h5 is missing.*as zeros"):
        check_files(scan, tmp_path)


def test_frames_with_an_axis_of_length_one(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["d"] = np.ones((3, 1, 4, 5))
    block = FrameBlock(str(tmp_path / "f.h5"), "d", 0, 3)
    check_files(scan_of(tmp_path, block, shape=(4, 5)), tmp_path)
    with pytest.raises(ScanError, match="frames of 4 x 5 pixels where 5 x 4 are expected"):
        check_files(scan_of(tmp_path, block, shape=(5, 4)), tmp_path)
