"""Opening and reading the files that detectors write."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.solver.frame_files import FrameFiles, open_dataset, read_frames, stack_shape
from hxn_ptycho.solver.frames import read_share
from hxn_ptycho.solver.h5_files import FrameFileError, find_file, open_h5
from hxn_ptycho.solver.job import FrameBlock, Inputs, Job
from hxn_ptycho.solver.preparation import HostPreparation

from ..detector_writers import FRAMES, make_frames, writing


def read(block: FrameBlock, folder: Path, shape: tuple[int, int]) -> np.ndarray:
    out = np.zeros((block.count, *shape), "uint32")
    with FrameFiles(folder, shape) as files:
        dataset = files.open(block)
        out = out.astype(dataset.dtype)
        read_frames(dataset, block.start, block.start + block.count, out)
    return out


def refusal(block: FrameBlock, folder: Path, shape: tuple[int, int] = (6, 7)) -> str:
    with FrameFiles(folder, shape) as files, pytest.raises(FrameFileError) as caught:
        files.open(block)
    return caught.value.sentence


# While another process writes


def test_a_swmr_file_is_read_at_its_present_length_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "growing.h5"
    with writing(path, "swmr") as writer:
        writer.extend(3)
        block = FrameBlock("growing.h5", FRAMES, 0, 3)
        np.testing.assert_array_equal(read(block, tmp_path, (4, 5))[:, 0, 0], [1, 2, 3])
        assert "holds 3 frames where 5 are needed" in refusal(
            FrameBlock("growing.h5", FRAMES, 0, 5), tmp_path, (4, 5)
        )
        with open_h5(path) as held:
            writer.extend(5)
            block = FrameBlock("growing.h5", "/entry/data/data", 2, 3)
            np.testing.assert_array_equal(read(block, tmp_path, (4, 5))[:, 3, 4], [3, 4, 5])
            dataset = held[FRAMES]
            dataset.refresh()
            assert len(dataset) == 5
    assert read(FrameBlock("growing.h5", FRAMES, 0, 5), tmp_path, (4, 5))[4].min() == 5


def test_the_solver_reads_a_share_of_a_file_that_is_being_written(tmp_path: Path) -> None:
    with writing(tmp_path / "growing.h5", "swmr") as writer:
        writer.extend(6)
        job = Job(
            job_uid="j", derived_uid="d", raw_uid="r", scan_id=1,
            frames=(FrameBlock("growing.h5", FRAMES, 0, 6),), frame_shape=(4, 5),
            frame_dtype="uint16", dc="centre", crop=(0, 0, 4), fft_window=4, wavelength_m=1e-10,
            distance_m=1.0, detector_pixel_m=(55e-6, 55e-6), object_pixel_m=(1e-8, 1e-8), recipe={},
        )  # fmt: skip
        inputs = Inputs(np.zeros((6, 2)), np.ones(6), np.ones((4, 5), bool))
        share = read_share(job, inputs, tmp_path, 1, 2, HostPreparation)
    np.testing.assert_array_equal(share.counts[:, 0, 0], [4, 5, 6])


@pytest.mark.parametrize("mode", ["latest", "old"])
def test_a_file_that_is_written_without_swmr_is_refused_until_it_is_closed(
    tmp_path: Path, mode: str
) -> None:
    block = FrameBlock("frames.h5", FRAMES, 0, 2)
    with writing(tmp_path / "frames.h5", mode) as writer:
        writer.extend(2)
        said = refusal(block, tmp_path, (4, 5))
        assert "frames.h5 is open in a program that writes it without SWMR" in said
        assert "have the detector write in SWMR mode" in said
        assert "h5clear -s" in said
    np.testing.assert_array_equal(read(block, tmp_path, (4, 5))[:, 0, 0], [1, 2])


def test_what_a_writer_that_died_had_flushed_is_read(tmp_path: Path) -> None:
    with writing(tmp_path / "frames.h5", "swmr") as writer:
        writer.extend(2)
        writer.kill()
    found = read(FrameBlock("frames.h5", FRAMES, 0, 2), tmp_path, (4, 5))
    np.testing.assert_array_equal(found[:, 0, 0], [1, 2])


@pytest.mark.parametrize("userblock", [0, 512, 4096])
@pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
def test_files_of_every_format_are_opened(tmp_path: Path, libver: str, userblock: int) -> None:
    frames = make_frames(3)
    low = (libver, "latest") if libver != "latest" else libver
    with h5py.File(tmp_path / "f.h5", "w", libver=low, userblock_size=userblock) as file:
        file["d"] = frames
    np.testing.assert_array_equal(read(FrameBlock("f.h5", "d", 0, 3), tmp_path, (6, 7)), frames)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_this_user_may_not_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["d"] = make_frames(3)
    (tmp_path / "f.h5").chmod(0)
    assert "may not be read by this user" in refusal(FrameBlock("f.h5", "d", 0, 3), tmp_path)


# Where files are


def test_a_file_that_was_moved_is_found_by_its_roots(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "new" / "sub").mkdir(parents=True)
    (tmp_path / "new" / "sub" / "f.h5").touch()
    roots = (("/else", "/nowhere"), ("/data", str(tmp_path / "new")))
    found = tmp_path / "new" / "sub" / "f.h5"
    assert find_file("/data/sub/f.h5", tmp_path, roots) == found
    assert find_file(str(found), tmp_path, roots) == found
    assert find_file("new/sub/f.h5", tmp_path) == found
    with pytest.raises(FrameFileError) as caught:
        find_file("/data/sub/g.h5", tmp_path, roots)
    assert f"looked for at /data/sub/g.h5, {tmp_path}/new/sub/g.h5" in str(caught.value)
    assert "HXN_PTYCHO_ROOTS=OLD=NEW" in caught.value.hint

    monkeypatch.setenv("HXN_PTYCHO_ROOTS", f"/data={tmp_path / 'new'}")
    assert find_file("/data/sub/f.h5", tmp_path) == found


def test_a_root_inside_the_one_it_replaces_is_applied_once(tmp_path: Path, monkeypatch) -> None:
    # What resolve() gave is the path that exists; the solver sees the same variable.
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "f.h5").touch()
    monkeypatch.setenv("HXN_PTYCHO_ROOTS", f"{tmp_path}={tmp_path / 'new'}")
    found = find_file(str(tmp_path / "f.h5"), tmp_path)
    assert found == tmp_path / "new" / "f.h5"
    assert find_file(str(found), tmp_path) == found


# Compression

FILTERS = {
    "bitshuffle": hdf5plugin.Bitshuffle(cname="lz4"),
    "LZ4": hdf5plugin.LZ4(),
    "Blosc": hdf5plugin.Blosc(),
    "Zstandard": hdf5plugin.Zstd(),
}

# A process of its own: a filter that is once registered stays.
_READ = """
import sys
if sys.argv[1] == "without":
    sys.modules["hdf5plugin"] = None
import h5py
assert not h5py.h5z.filter_avail(int(sys.argv[4]))
from hxn_ptycho.solver.frame_files import FrameFiles, read_frames
from hxn_ptycho.solver.h5_files import FrameFileError
from hxn_ptycho.solver.job import FrameBlock
import numpy as np
with FrameFiles(sys.argv[2], (6, 7)) as files:
    try:
        dataset = files.open(FrameBlock("f.h5", sys.argv[3], 0, 3))
    except FrameFileError as error:
        print(error.sentence)
    else:
        out = np.empty((3, 6, 7), dataset.dtype)
        read_frames(dataset, 0, 3, out)
        print(int(out.sum(dtype=int)))
"""


@pytest.mark.parametrize("name", FILTERS)
def test_compressed_frames_are_read_and_a_filter_that_is_missing_is_named(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HDF5_PLUGIN_PATH", raising=False)
    frames, options = make_frames(3), FILTERS[name]
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("d", data=frames, chunks=(1, 6, 7), **options)
    said = {
        how: subprocess.run(
            [sys.executable, "-c", _READ, how, str(tmp_path), "d", str(options["compression"])],
            capture_output=True, text=True, check=True,
        ).stdout
        for how in ("with", "without")
    }  # fmt: skip
    assert int(said["with"]) == frames.sum(dtype=int)
    assert f"is compressed with {name}" in said["without"]
    assert "pip install hdf5plugin" in said["without"]


# More axes than three


@settings(max_examples=40, deadline=None)
@given(
    leading=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_leading_axes_are_one_stack_of_frames(
    tmp_path_factory: pytest.TempPathFactory, leading: list[int], ends: tuple[float, float]
) -> None:
    count = int(np.prod(leading))
    frames = make_frames(count, (2, 3))
    path = tmp_path_factory.mktemp("stack") / "f.h5"
    with h5py.File(path, "w") as file:
        file["d"] = frames.reshape(*leading, 2, 3)
    start, stop = sorted(round(end * count) for end in ends)
    found = read(FrameBlock(str(path), "d", start, stop - start), path.parent, (2, 3))
    np.testing.assert_array_equal(found, frames[start:stop])
    assert stack_shape((*leading, 2, 3)) == (count, 2, 3)


# Files that are not whole


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    frames = make_frames(3)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["a/d"] = frames
        file["gone"] = h5py.ExternalLink("nothing.h5", "/d")
    assert "f.h5 has no dataset b" in refusal(FrameBlock("f.h5", "b", 0, 3), tmp_path)
    assert "nothing.h5" in refusal(FrameBlock("f.h5", "gone", 0, 3), tmp_path)
    assert "f.h5:a is a group" in refusal(FrameBlock("f.h5", "a", 0, 3), tmp_path)
    assert "6 x 7 pixels where 6 x 8" in refusal(FrameBlock("f.h5", "a/d", 0, 3), tmp_path, (6, 8))
    assert "3 frames where 4 are" in refusal(FrameBlock("f.h5", "a/d", 1, 3), tmp_path)
    (tmp_path / "text.h5").write_text("this is no HDF5 file, but long enough for a signature")
    assert "text.h5 cannot be read" in refusal(FrameBlock("text.h5", "d", 0, 1), tmp_path)


def test_a_copy_made_while_the_file_was_written_is_refused_where_it_is_cut_off(
    tmp_path: Path,
) -> None:
    # HDF5 does not look at the length of a file that is marked as being written.
    frames = make_frames(50)
    with h5py.File(tmp_path / "f.h5", "w", libver="latest") as file:
        file["d"] = frames
        end = file["d"].id.get_offset() + frames.nbytes
        file.swmr_mode = True
        file.flush()
        whole = (tmp_path / "f.h5").read_bytes()
    (tmp_path / "copy.h5").write_bytes(whole)
    (tmp_path / "cut.h5").write_bytes(whole[: end - 1])
    np.testing.assert_array_equal(read(FrameBlock("copy.h5", "d", 0, 50), tmp_path, (6, 7)), frames)
    said = refusal(FrameBlock("cut.h5", "d", 0, 50), tmp_path)
    assert f"is cut off: it has {end - 1} bytes and needs {end}" in said


# Virtual datasets


def write_parts(folder: Path, frames: np.ndarray, each: int = 4) -> list[Path]:
    paths = []
    for number, begin in enumerate(range(0, len(frames), each)):
        paths.append(folder / f"part{number}.h5")
        with h5py.File(paths[-1], "w") as file:
            file["d"] = frames[begin : begin + each]
    return paths


def source(path: Path | str, count: int = 4) -> h5py.VirtualSource:
    return h5py.VirtualSource(str(path), "d", shape=(count, 6, 7))


@pytest.mark.parametrize("beside", [True, False], ids=["relative", "absolute"])
def test_a_virtual_dataset_is_read_unless_a_source_is_missing(tmp_path: Path, beside: bool) -> None:
    frames = make_frames(12)
    paths = write_parts(tmp_path, frames)
    layout = h5py.VirtualLayout(shape=frames.shape, dtype=frames.dtype)
    for k, path in enumerate(paths):
        layout[4 * k : 4 * k + 4] = source(path.name if beside else path)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("d", layout)
    block = FrameBlock("v.h5", "d", 0, 12)
    np.testing.assert_array_equal(read(block, tmp_path, (6, 7)), frames)
    paths[1].rename(tmp_path / "elsewhere.h5")
    with h5py.File(tmp_path / "v.h5") as file:
        assert not file["d"][4:8].any(), "HDF5 itself reads zeros: the trap"
    said = refusal(block, tmp_path)
    assert "part1.h5 is missing" in said
    assert str(tmp_path / "part1.h5") in said


def test_a_virtual_dataset_of_frames_taken_in_turn(tmp_path: Path) -> None:
    frames = make_frames(11)
    layout = h5py.VirtualLayout(shape=frames.shape, dtype=frames.dtype)
    for k in range(3):
        part = frames[k::3]
        with h5py.File(tmp_path / f"part{k}.h5", "w") as file:
            file["d"] = part
        layout[k::3] = source(f"part{k}.h5", len(part))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("d", layout)
    block = FrameBlock("v.h5", "d", 2, 9)
    np.testing.assert_array_equal(read(block, tmp_path, (6, 7)), frames[2:])
    with h5py.File(tmp_path / "part2.h5", "w") as file:
        file["d"] = frames[2:4]
    assert "part2.h5:/d has the shape (2, 6, 7)" in refusal(block, tmp_path)


def test_a_virtual_dataset_that_maps_a_part_only_is_refused(tmp_path: Path) -> None:
    write_parts(tmp_path, make_frames(12))
    layout = h5py.VirtualLayout(shape=(12, 6, 7), dtype="uint32")
    layout[0:4], layout[8:12] = source("part0.h5"), source("part2.h5")
    cut = h5py.VirtualLayout(shape=(4, 6, 7), dtype="uint32")
    cut[:, :, :5] = h5py.VirtualSource("part0.h5", "d", shape=(4, 6, 7))[:, :, :5]
    twice = h5py.VirtualLayout(shape=(4, 6, 7), dtype="uint32")
    twice[:] = source("part0.h5")
    twice[1:3] = h5py.VirtualSource("part1.h5", "d", shape=(4, 6, 7))[:2]
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("gap", layout)
        file.create_virtual_dataset("cut", cut)
        file.create_virtual_dataset("twice", twice)
    said = refusal(FrameBlock("v.h5", "gap", 0, 12), tmp_path)
    assert "4 of its 12 frames to no file" in said
    assert "the first 4 and the last 7" in said
    assert "4 of its 4 frames" in refusal(FrameBlock("v.h5", "cut", 0, 4), tmp_path)
    assert "2 of its 4 frames" in refusal(FrameBlock("v.h5", "twice", 0, 4), tmp_path)


def test_a_virtual_dataset_that_grows_with_its_source(tmp_path: Path) -> None:
    frames = make_frames(5)
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.create_dataset("d", data=frames, maxshape=(None, 6, 7), chunks=(1, 6, 7))
    unlimited = h5py.h5s.UNLIMITED
    layout = h5py.VirtualLayout(shape=(4, 6, 7), maxshape=(None, 6, 7), dtype="uint32")
    layout[:unlimited] = h5py.VirtualSource(
        "s.h5", "d", shape=(4, 6, 7), maxshape=(None, 6, 7), dtype="uint32"
    )[:unlimited]
    with h5py.File(tmp_path / "v.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("d", layout)
    block = FrameBlock("v.h5", "d", 0, 5)
    np.testing.assert_array_equal(read(block, tmp_path, (6, 7)), frames)
    (tmp_path / "s.h5").unlink()
    assert "is missing" in refusal(replace(block, count=0), tmp_path)


def test_mappings_that_cannot_be_checked_are_refused(tmp_path: Path) -> None:
    write_parts(tmp_path, make_frames(4))
    layout = h5py.VirtualLayout(shape=(4, 6, 7), dtype="uint32")
    layout[[0, 1, 3]] = h5py.VirtualSource("part0.h5", "d", shape=(4, 6, 7))[:3]
    with h5py.File(tmp_path / "v.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("d", layout)
    assert "maps irregular parts" in refusal(FrameBlock("v.h5", "d", 0, 4), tmp_path)


def test_a_virtual_dataset_of_a_virtual_dataset(tmp_path: Path) -> None:
    frames = make_frames(8)
    paths = write_parts(tmp_path, frames)
    inner = h5py.VirtualLayout(shape=frames.shape, dtype=frames.dtype)
    for k, path in enumerate(paths):
        inner[4 * k : 4 * k + 4] = source(path.name)
    outer = h5py.VirtualLayout(shape=frames.shape, dtype=frames.dtype)
    outer[:] = source(".", 8)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("d", inner)
        file.create_virtual_dataset("outer", outer)
    block = FrameBlock("v.h5", "outer", 0, 8)
    np.testing.assert_array_equal(read(block, tmp_path, (6, 7)), frames)
    paths[0].unlink()
    assert "part0.h5 is missing" in refusal(block, tmp_path)


def test_one_file_is_opened_once_for_its_blocks(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, make_frames(8))
    with FrameFiles(tmp_path, (6, 7)) as files:
        first = files.open(FrameBlock("part0.h5", "d", 0, 1))
        assert files.open(FrameBlock("part0.h5", "d", 3, 1)) is first
        other = files.open(FrameBlock("part1.h5", "d", 0, 4))
        assert not first
        assert Path(other.file.filename) == paths[1]
    assert not other
    with h5py.File(paths[0]) as file:
        assert open_dataset(file, "d").shape == (4, 6, 7)
