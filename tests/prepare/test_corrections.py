"""Dark, flat and bad pixels, as they come out of files."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
import tifffile

from hxn_ptycho.prepare import absolute_files
from hxn_ptycho.prepare.corrections import check_dark, read_corrections, split_dataset
from hxn_ptycho.recipe import Recipe, RecipeError
from hxn_ptycho.scan import Scan

from .frames import scan_of

SHAPE = (6, 5)


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    return scan_of(np.ones((4, *SHAPE), np.uint16), tmp_path / "frames.h5")


def write(path: Path, images: np.ndarray, dataset: str = "entry/data") -> str:
    """Write images in the way that the file's name says; return what a recipe says of it."""
    if path.suffix == ".npy":
        np.save(path, images)
    elif path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, images)
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset(dataset, data=images, chunks=images.shape, **hdf5plugin.LZ4())
            file["other"] = np.ones((3, 3))
    return str(path)


@pytest.mark.parametrize("name", ["d.npy", "d.tif", "d.tiff", "d.h5", "d.hdf5", "d.nxs"])
@pytest.mark.parametrize("leading", [(), (7,)])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_stack_is_averaged_and_bad_pixels_are_those_of_any(
    scan: Scan, tmp_path: Path, name: str, leading: tuple[int, ...], dtype: str
) -> None:
    rng = np.random.default_rng(0)
    images = (rng.poisson(0.5, (*leading, *SHAPE)) + (np.arange(5) > 2)).astype(dtype)
    file = write(tmp_path / name, images)
    stack = images.reshape(-1, *SHAPE)
    dark = read_corrections(scan, Recipe(dark=file)).dark
    assert dark.dtype == np.float32
    np.testing.assert_allclose(dark, stack.mean(axis=0), rtol=1e-6)
    bad = read_corrections(scan, Recipe(bad_pixels=file)).bad
    np.testing.assert_array_equal(bad, (stack != 0).any(axis=0))


def test_what_is_not_named_is_not_there(scan: Scan) -> None:
    none = read_corrections(scan, Recipe())
    assert none.dark is None
    assert none.flat is None
    assert not none.bad.any()


def test_a_large_stack_is_read_in_parts(
    scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hxn_ptycho.prepare.corrections._BATCH_BYTES", 500)
    images = np.random.default_rng(0).poisson(3, (50, *SHAPE)).astype(np.uint16)
    dark = read_corrections(scan, Recipe(dark=write(tmp_path / "d.h5", images))).dark
    np.testing.assert_allclose(dark, images.mean(axis=0), rtol=1e-6)


def test_a_flat_has_the_mean_1_over_good_pixels(scan: Scan, tmp_path: Path, caplog) -> None:
    flat = np.full(SHAPE, 200.0)
    flat[:, 2:] = 400.0
    flat[0, 0], flat[1, 1], flat[2, 2] = 0.0, np.nan, 1e9
    bad = np.zeros(SHAPE, np.uint8)
    bad[2, 2] = 1
    recipe = Recipe(flat=write(tmp_path / "f.npy", flat), bad_pixels=write(tmp_path / "b.npy", bad))
    found = read_corrections(scan, recipe)
    assert np.argwhere(found.bad).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert found.flat[~found.bad].mean() == pytest.approx(1)
    assert found.flat[5, 4] / found.flat[5, 0] == pytest.approx(2)
    assert (found.flat > 0).all()
    assert "2 pixels have no usable value in flat" in caplog.text


def test_a_dark_without_a_number_masks_its_pixel(scan: Scan, tmp_path: Path) -> None:
    dark = np.ones(SHAPE)
    dark[3, 3] = np.inf
    found = read_corrections(scan, Recipe(dark=write(tmp_path / "d.npy", dark)))
    assert np.argwhere(found.bad).tolist() == [[3, 3]]
    assert np.isfinite(found.dark).all()


def test_the_mask_of_the_run_is_kept(scan: Scan, tmp_path: Path) -> None:
    mask = np.ones(SHAPE, bool)
    mask[4, 4] = False
    bad = np.zeros(SHAPE, bool)
    bad[1, 2] = True
    scan = Scan(**{**vars(scan), "mask": mask})
    found = read_corrections(scan, Recipe(bad_pixels=write(tmp_path / "b.npy", bad)))
    assert np.argwhere(found.bad).tolist() == [[1, 2], [4, 4]]


def test_a_dataset_is_named_where_there_are_several(scan: Scan, tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        file["a/dark"], file["flat"] = np.full(SHAPE, 3), np.full(SHAPE, 4)
    dark = read_corrections(scan, Recipe(dark=f"{path}:/a/dark")).dark
    assert (dark == 3).all()
    with pytest.raises(RecipeError, match=r"2 datasets in it .* 6 x 5 .* /a/dark, /flat"):
        read_corrections(scan, Recipe(dark=str(path)))


@pytest.mark.parametrize("key", ["dark", "flat", "bad_pixels"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.npy", "there is no file .*none.npy"),
        ("none.h5:/entry/data", "there is no file .*none.h5"),
        ("none.tif", "there is no file .*none.tif"),
        ("some.h5:/nothing", "cannot be used: .*nothing"),
        ("some.h5:/entry", "/entry is a group, no dataset"),
        ("small.npy", "it holds 3 x 5 values, the frames have 6 x 5 pixels"),
        ("stack.npy", "it holds 2 x 6 x 4 values"),
        ("complex.npy", "complex128 is no type of counts"),
        ("empty.npy", "it holds no image"),
        ("text.tif", "cannot be used"),
        ("text.npy", "cannot be used"),
        ("text.h5", "cannot be used"),
        ("text.md", r"its name ends with none of \.h5"),
        ("other.h5", "no dataset in it has images of 6 x 5 pixels"),
    ],
)
def test_a_file_of_no_use_is_named(
    scan: Scan, tmp_path: Path, key: str, name: str, message: str
) -> None:
    write(tmp_path / "some.h5", np.ones(SHAPE))
    write(tmp_path / "other.h5", np.ones((3, 3)))
    np.save(tmp_path / "small.npy", np.ones((3, 5)))
    np.save(tmp_path / "stack.npy", np.ones((2, 6, 4)))
    np.save(tmp_path / "complex.npy", np.ones(SHAPE, complex))
    np.save(tmp_path / "empty.npy", np.ones((0, *SHAPE)))
    for suffix in ("tif", "npy", "h5", "md"):
        (tmp_path / f"text.{suffix}").write_text("no image at all")
    with pytest.raises(RecipeError, match=message) as caught:
        read_corrections(scan, Recipe(**{key: str(tmp_path / name)}))
    assert str(caught.value).startswith(f"{key} = '{tmp_path / name}'")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("flat", 0, "is nowhere above 0"), ("bad_pixels", 1, "leaves no pixel: .* good pixels are 0")],
)
def test_a_file_that_leaves_nothing_is_refused(scan, tmp_path, key, value, message) -> None:
    file = write(tmp_path / "f.npy", np.full(SHAPE, value))
    with pytest.raises(RecipeError, match=message):
        read_corrections(scan, Recipe(**{key: file}))


def test_a_dark_brighter_than_the_frames_is_warned_of(caplog) -> None:
    frames, good = np.full(SHAPE, 5.0), np.ones(SHAPE, bool)
    check_dark(frames * 0.9, frames, good)
    assert not caplog.records
    check_dark(frames * 3, frames, good)
    assert "the dark frame has 15 counts a pixel and the frames only 5" in caplog.text


def test_relative_files_are_taken_from_where_the_user_is(tmp_path: Path) -> None:
    recipe = absolute_files(
        Recipe(
            probe="probe.npy", object="a/o.h5", dark="dark.h5:/entry/data", flat="flats/f.tif",
            bad_pixels="/abs/bad.npy",
        ),
        tmp_path,
    )  # fmt: skip
    assert (recipe.probe, recipe.object) == (str(tmp_path / "probe.npy"), str(tmp_path / "a/o.h5"))
    assert recipe.dark == f"{tmp_path}/dark.h5:/entry/data"
    assert recipe.flat == f"{tmp_path}/flats/f.tif"
    assert recipe.bad_pixels == "/abs/bad.npy"
    words = Recipe(probe="zone-plate", zone_plate={"diameter": 1e-4, "outer_zone_width": 3e-8})
    assert absolute_files(words, tmp_path) == words
    assert absolute_files(Recipe(probe="0a1b2c3d"), tmp_path).probe == "0a1b2c3d"
    home = absolute_files(Recipe(dark="~/dark.npy"), tmp_path).dark
    assert home == str(Path("~/dark.npy").expanduser())


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("dark.npy", ("dark.npy", "")),
        ("/a/dark.h5", ("/a/dark.h5", "")),
        ("/a/dark.h5:/entry/data", ("/a/dark.h5", "/entry/data")),
    ],
)
def test_a_dataset_follows_the_file(value: str, parts: tuple[str, str]) -> None:
    assert split_dataset(value) == parts
