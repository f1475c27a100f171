"""Masters, links and virtual datasets, resolved into the files in which the frames lie."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hxn_ptycho.catalog.detector_files import expand
from hxn_ptycho.catalog.errors import CatalogError
from hxn_ptycho.catalog.external import ExternalArray
from hxn_ptycho.solver.frame_files import FrameFiles, read_frames

from ..detector_writers import FRAMES, make_frames, write_eiger, writing


def read(array: ExternalArray) -> np.ndarray:
    """Read as the solver does."""
    count, height, width = array.shape
    out = np.zeros((count, height, width), array.dtype)
    begin = 0
    with FrameFiles("/", (height, width)) as files:
        for block in array.blocks:
            part = out[begin : begin + block.count]
            read_frames(files.open(block), block.start, block.start + block.count, part)
            begin += block.count
    assert begin == count
    return out


def refusal(path: Path, dataset: str, roots: tuple[tuple[str, str], ...] = ()) -> str:
    with pytest.raises(CatalogError) as caught:
        expand(path, dataset, roots)
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
@pytest.mark.parametrize(
    ("forms", "dataset"),
    [
        (forms, dataset)
        for forms in ("links", "virtual", "both")
        for dataset in ("/entry/data", "/entry/data/data", "entry/data/data_000001", FRAMES)
        if forms != "virtual" or "0001" not in dataset
    ],
)
def test_an_eiger_master_by_whatever_name(
    tmp_path: Path, dtype: str, forms: str, dataset: str
) -> None:
    frames = make_frames(10, dtype=dtype)
    master = write_eiger(tmp_path, frames, virtual=forms != "links", links=forms != "virtual")
    array = expand(master, dataset)
    assert (array.shape, array.dtype) == ((10, 6, 7), np.dtype(dtype))
    assert [(Path(b.file).name, b.dataset, b.start, b.count) for b in array.blocks] == [
        (f"series_7_data_{k:06d}.h5", "/entry/data/data", 0, count)
        for k, count in ((1, 4), (2, 4), (3, 2))
    ]
    np.testing.assert_array_equal(read(array), frames)


def test_a_data_file_and_a_later_part_stand_for_themselves(tmp_path: Path) -> None:
    frames = make_frames(10)
    master = write_eiger(tmp_path, frames)
    np.testing.assert_array_equal(read(expand(master, "/entry/data/data_000002")), frames[4:8])
    part = tmp_path / "series_7_data_000003.h5"
    np.testing.assert_array_equal(read(expand(part, "/entry/data/data")), frames[8:])


@pytest.mark.parametrize("virtual", [False, True])
def test_a_missing_data_file_is_named_with_every_place(tmp_path: Path, virtual: bool) -> None:
    master = write_eiger(tmp_path / "old", make_frames(10), virtual=virtual, links=not virtual)
    gone = tmp_path / "old" / "series_7_data_000002.h5"
    frames = gone.read_bytes()
    gone.unlink()
    said = refusal(master, "/entry/data", ((str(tmp_path), "/nowhere"),))
    assert "series_7_data_000002.h5 is missing" in said
    assert str(gone) in said
    assert "series_7_master.h5 refers to it" in said
    gone.write_bytes(frames)
    assert expand(master, "/entry/data").shape == (10, 6, 7)


@pytest.mark.parametrize("virtual", [False, True])
def test_the_whole_series_moved_elsewhere(tmp_path: Path, virtual: bool) -> None:
    frames = make_frames(10)
    master = write_eiger(tmp_path / "old" / "S1", frames, virtual=virtual, links=not virtual)
    (tmp_path / "old").rename(tmp_path / "new")
    said = refusal(master, "/entry/data", ((str(tmp_path / "other"), "/nowhere"),))
    assert "series_7_master.h5 is missing" in said
    array = expand(master, "/entry/data", ((str(tmp_path / "old"), str(tmp_path / "new")),))
    assert {Path(block.file).parent for block in array.blocks} == {tmp_path / "new" / "S1"}
    np.testing.assert_array_equal(read(array), frames)


@pytest.mark.parametrize("virtual", [False, True])
def test_links_that_name_the_old_folder_are_followed_under_the_root(
    tmp_path: Path, virtual: bool
) -> None:
    frames = make_frames(4)
    data = tmp_path / "data" / "raw.h5"
    data.parent.mkdir()
    with h5py.File(data, "w") as file:
        file["d"] = frames
    master = tmp_path / "master.h5"
    with h5py.File(master, "w") as file:
        if virtual:
            layout = h5py.VirtualLayout(shape=frames.shape, dtype=frames.dtype)
            layout[:] = h5py.VirtualSource("/beamline/raw.h5", "d", shape=frames.shape)
            file.create_virtual_dataset("entry/data/data", layout)
        else:
            file["entry/data/data"] = h5py.ExternalLink("/beamline/raw.h5", "/d")
    assert "looked for at /beamline/raw.h5" in refusal(master, "/entry/data/data")
    array = expand(master, "/entry/data/data", (("/beamline", str(data.parent)),))
    assert array.blocks[0].file == str(data)
    np.testing.assert_array_equal(read(array), frames)


def test_a_part_that_no_link_names_is_told(tmp_path: Path) -> None:
    master = write_eiger(tmp_path, make_frames(12))
    with h5py.File(master, "a") as file:
        del file["entry/data/data_000002"]
    assert "no data_000002" in refusal(master, "/entry/data")
    with h5py.File(master, "a") as file:
        file["entry/data/data_000002"] = h5py.ExternalLink("series_7_data_000002.h5", "/nothing")
    assert "data_000002 leads to a dataset that is not there" in refusal(master, "/entry/data")


def test_a_virtual_dataset_that_maps_too_little_is_refused(tmp_path: Path) -> None:
    master = write_eiger(tmp_path, make_frames(12), virtual=True, links=False)
    part = tmp_path / "series_7_data_000002.h5"
    with h5py.File(part, "a") as file:
        frames = file["entry/data/data"][:3]
        del file["entry/data/data"]
        file["entry/data/data"] = frames
    assert "has the shape (3, 6, 7)" in refusal(master, "/entry/data")
    layout = h5py.VirtualLayout(shape=(12, 6, 7), dtype="uint32")
    layout[4:8] = h5py.VirtualSource("series_7_data_000001.h5", "entry/data/data", shape=(4, 6, 7))
    with h5py.File(tmp_path / "gaps.h5", "w") as file:
        file.create_virtual_dataset("d", layout)
    said = refusal(tmp_path / "gaps.h5", "d")
    assert "maps 8 of its 12 frames to no file" in said
    assert "the first 0 and the last 11" in said


def test_a_virtual_dataset_may_be_out_of_order_and_of_parts(tmp_path: Path) -> None:
    frames = make_frames(12)
    write_eiger(tmp_path, frames)
    layout = h5py.VirtualLayout(shape=(5, 6, 7), dtype="uint32")
    for target, number, begin in ((3, 1, 1), (0, 2, 0)):
        name = f"series_7_data_{number:06d}.h5"
        count = 2 if target else 3
        source = h5py.VirtualSource(name, "entry/data/data", shape=(4, 6, 7))
        layout[target : target + count] = source[begin : begin + count]
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("d", layout)
    array = expand(tmp_path / "v.h5", "d")
    assert [(block.start, block.count) for block in array.blocks] == [(0, 3), (1, 2)]
    np.testing.assert_array_equal(read(array), frames[[4, 5, 6, 1, 2]])


def test_frames_taken_from_files_in_turn_are_left_to_hdf5(tmp_path: Path) -> None:
    frames = make_frames(9)
    layout = h5py.VirtualLayout(shape=frames.shape, dtype=frames.dtype)
    for k in range(3):
        with h5py.File(tmp_path / f"p{k}.h5", "w") as file:
            file["d"] = frames[k::3]
        layout[k::3] = h5py.VirtualSource(f"p{k}.h5", "d", shape=(3, 6, 7))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("d", layout)
    array = expand(tmp_path / "v.h5", "d")
    assert [block.file for block in array.blocks] == [str(tmp_path / "v.h5")]
    np.testing.assert_array_equal(read(array), frames)
    (tmp_path / "p1.h5").unlink()
    assert "p1.h5 is missing" in refusal(tmp_path / "v.h5", "d")


def test_area_detectors_write_one_dataset_under_two_names(tmp_path: Path) -> None:
    with writing(tmp_path / "merlin.h5", "swmr") as writer:
        writer.extend(3)
        for name in (FRAMES, "/entry/data/data", "/entry/data"):
            array = expand(tmp_path / "merlin.h5", name)
            assert array.shape == (3, 4, 5)
            assert array.blocks[0].dataset == FRAMES
        np.testing.assert_array_equal(read(array)[:, 0, 0], [1, 2, 3])
        writer.extend(4)
        assert expand(tmp_path / "merlin.h5", FRAMES).shape == (4, 4, 5)


def test_a_file_that_is_written_without_swmr_is_refused(tmp_path: Path) -> None:
    with writing(tmp_path / "merlin.h5", "latest") as writer:
        writer.extend(3)
        assert "writes it without SWMR" in refusal(tmp_path / "merlin.h5", FRAMES)
    assert expand(tmp_path / "merlin.h5", FRAMES).shape == (3, 4, 5)


@pytest.mark.parametrize("shape", [(6, 1, 6, 7), (1, 6, 6, 7), (2, 3, 6, 7), (1, 6, 1, 6, 7)])
def test_axes_before_the_frames_are_one_stack(tmp_path: Path, shape: tuple[int, ...]) -> None:
    frames = make_frames(6)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file[FRAMES] = frames.reshape(shape)
    array = expand(tmp_path / "f.h5", FRAMES)
    assert array.shape == (6, 6, 7)
    np.testing.assert_array_equal(read(array), frames)


def test_arrays_of_other_kinds_are_as_they_are(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["inenc2_val"] = np.arange(30.0)
        file["group/pairs"] = np.zeros((5, 2))
        file["number"] = 1
        file["round"] = h5py.SoftLink("/about")
        file["about"] = h5py.SoftLink("/round")
    assert expand(tmp_path / "f.h5", "inenc2_val").shape == (30,)
    assert expand(tmp_path / "f.h5", "/group/pairs").shape == (5, 2)
    assert "single number" in refusal(tmp_path / "f.h5", "number")
    assert "f.h5 has no dataset nothing" in refusal(tmp_path / "f.h5", "nothing")
    assert "has no dataset /entry/data" in refusal(tmp_path / "f.h5", "/entry/data")
    assert "round in a circle" in refusal(tmp_path / "f.h5", "round")


# What the detector says of its pixels


@pytest.mark.parametrize("virtual", [False, True])
def test_the_mask_and_the_saturation_of_a_master(tmp_path: Path, virtual: bool) -> None:
    bad = np.zeros((6, 7), "uint32")
    bad[2, 3], bad[5, 0] = 1, 2**31
    frames = make_frames(10, dtype="uint16")
    master = write_eiger(tmp_path, frames, virtual=virtual, mask=bad, cutoff=12345)
    array = expand(master, "/entry/data")
    assert array.mask is not None
    np.testing.assert_array_equal(np.argwhere(~array.mask), [[2, 3], [5, 0]])
    assert array.saturation == 12345
    # A data file has its master beside it.
    part = expand(tmp_path / "series_7_data_000001.h5", "/entry/data/data")
    assert part.mask is not None
    np.testing.assert_array_equal(part.mask, array.mask)


def test_places_of_nexus_and_values_beyond_the_type(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file[FRAMES] = make_frames(3, dtype="uint16")
    array = expand(tmp_path / "f.h5", FRAMES)
    assert array.mask is None
    assert array.saturation is None
    with h5py.File(tmp_path / "f.h5", "a") as file:
        mask = np.zeros((1, 6, 7), "uint8")
        mask[0, 1, 1] = 1
        file["entry/instrument/detector/pixel_mask"] = mask
        file["entry/instrument/detector/saturation_value"] = np.array([2**32 - 1])
    array = expand(tmp_path / "f.h5", FRAMES)
    assert array.mask is not None
    assert np.argwhere(~array.mask).tolist() == [[1, 1]]
    assert array.saturation == 65535


def test_a_mask_of_another_detector_is_refused(tmp_path: Path) -> None:
    master = write_eiger(tmp_path, make_frames(3), mask=np.zeros((6, 8), "uint32"))
    assert "is 6 x 8 for frames of 6 x 7 pixels" in refusal(master, "/entry/data")
