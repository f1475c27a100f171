"""What Resource and Datum documents stand for, against the handlers that beamlines use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from area_detector_handlers.handlers import (
    AreaDetectorHDF5Handler,
    AreaDetectorHDF5SWMRHandler,
    TimepixHDF5Handler,
)

from hxn_ptycho.specs import SPECS, Resource

from ..hxn_documents import AREA_DETECTOR_FRAMES, FRAMES
from ..hxn_documents.parts import resource, write_frames

COUNT = 12


def read_place(of: Resource, **kwargs: Any) -> np.ndarray:
    place = of.place(kwargs)
    with h5py.File(place.path) as file:
        values = file[place.dataset][()]
    return values if place.length is None else values[place.first :][: place.length]


@pytest.mark.parametrize("frame_per_point", [1, 3])
@pytest.mark.parametrize(
    ("spec", "handler", "dataset"),
    [
        ("AD_HDF5", AreaDetectorHDF5Handler, AREA_DETECTOR_FRAMES),
        ("AD_HDF5_SWMR", AreaDetectorHDF5SWMRHandler, AREA_DETECTOR_FRAMES),
        ("TPX_HDF5", TimepixHDF5Handler, FRAMES),
    ],
)
def test_frames_by_point_are_those_of_the_real_handlers(
    tmp_path: Path, spec: str, handler: Any, dataset: str, frame_per_point: int
) -> None:
    frames = np.arange(COUNT * 6).reshape(COUNT, 2, 3)
    path = write_frames(tmp_path / "f.h5", frames, dataset)
    ours = Resource(resource(spec, path, frame_per_point=frame_per_point))
    for point in range(COUNT // frame_per_point):
        real = handler(str(path), frame_per_point=frame_per_point)
        np.testing.assert_array_equal(
            read_place(ours, point_number=point), np.asarray(real(point_number=point))
        )
        real.close()


@pytest.mark.parametrize("spec", ["MERLIN_FLY_STREAM_V2", "EIGER2_STREAM", "TPX_HDF5"])
def test_hxns_detectors_have_their_frames_at_nexus_place(tmp_path: Path, spec: str) -> None:
    place = Resource(resource(spec, tmp_path / "f.h5", frame_per_point=5)).place(
        {"point_number": 2}
    )
    assert place == (str(tmp_path / "f.h5"), FRAMES, 10, 5)


@pytest.mark.parametrize(
    ("spec", "kwargs", "dataset", "part"),
    [
        ("ZEBRA_HDF51_FLY_STREAM_V1", {"column": "enc1", "point_number": 1}, "enc1", (4, 4)),
        (
            "SIS_HDF51_FLY_STREAM_V1",
            {"column": "sclr1_ch4", "point_number": 0},
            "sclr1_ch4",
            (0, 4),
        ),
        ("PANDA", {"field": "inenc2_val"}, "inenc2_val", (0, None)),
        ("ROI_HDF5_FLY", {"det_elem": "Det1_Pt"}, "Det1_Pt", (0, None)),
        # A bulk file's frame_per_point is its number of frames; the datum is all of them.
        ("MERLIN_HDF5_BULK", {}, FRAMES, (0, None)),
    ],
)
def test_columns_and_whole_files(
    tmp_path: Path, spec: str, kwargs: dict[str, Any], dataset: str, part: tuple[int, int | None]
) -> None:
    place = Resource(resource(spec, tmp_path / "f.h5", frame_per_point=4)).place(kwargs)
    assert place == (str(tmp_path / "f.h5"), dataset, *part)


def test_an_eigers_series_is_its_master_file(tmp_path: Path) -> None:
    eiger = Resource(resource("AD_EIGER2", tmp_path / "abc", images_per_file=100))
    master = str(tmp_path / "abc_7_master.h5")
    assert eiger.place({"seq_id": 7}) == (master, "/entry/data", 0, None)
    assert eiger.place({"seq_id": 7, "frame_num": 3}) == (master, "/entry/data", 3, 1)


def test_a_dataset_that_the_resource_names_itself(tmp_path: Path) -> None:
    held = resource("AD_HDF5", tmp_path / "f.h5", dataset="/elsewhere", frame_per_point=1)
    assert Resource(held).place({"point_number": 3})[1:] == ("/elsewhere", 3, 1)


@pytest.mark.parametrize(
    ("root", "path"),
    [
        ("/", "data/2025/f.h5"),
        ("/data", "2025/f.h5"),
        ("/data/", "/2025/f.h5"),
        ("/data", "/data/2025/f.h5"),  # some devices give the root twice
        ("", "/data/2025/f.h5"),
    ],
)
def test_roots_and_paths(root: str, path: str) -> None:
    held = resource("AD_HDF5", Path("/x")) | {"root": root, "resource_path": path}
    assert Resource(held).path == "/data/2025/f.h5"


def test_a_column_that_is_not_named(tmp_path: Path) -> None:
    zebra = Resource(resource("ZEBRA_HDF51_FLY_STREAM_V1", tmp_path / "f.h5"))
    with pytest.raises(KeyError, match="column"):
        zebra.place({"point_number": 0})


def test_specs_that_are_not_frames_are_none_of_ours() -> None:
    assert "AD_TIFF" not in SPECS
    assert Resource(resource("AD_TIFF", Path("/x"))).spec is None
