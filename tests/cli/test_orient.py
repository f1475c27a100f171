"""hxn-ptycho orient, from a file of others to the line for hxn.toml."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from hxn_ptycho import orient
from hxn_ptycho.simulate import dataset

from ..orientation.cases import stored

GEOMETRY = ("--energy-kev", 12, "--distance-m", 0.5, "--detector-pixel-um", 55)
QUICK = ("--device", "cpu", "--set", "ranks=1", "--set", "centre=middle")


@pytest.fixture
def turned_file(tmp_path):
    data = dataset(n=48, grid=(8, 7), probe_modes=1, photons=3e5)
    path = tmp_path / "turned.npz"
    np.savez(
        path,
        data=np.fft.ifftshift(stored(data.frames, "flip_y"), axes=(1, 2))[None].astype(np.float32),
        scan=(data.positions_m / np.asarray(data.pixel_size))[None],
    )
    return path


def test_orient(run, used_home, turned_file, tmp_path):
    assert run("import", turned_file, *GEOMETRY).status == 0
    said = run("orient", -1, *QUICK, "--json", "-o", tmp_path / "four.png")
    assert said.status == 0, said.err
    told = said.json
    assert told["decided"] is True
    assert told["ranking"][0]["orientation"] == "flip_y"
    assert told["orientation"] is None  # nothing tells the twin
    assert told["hxn_toml"] == ['orientation = "flip_y"', 'orientation = "flip_x"']
    assert imread(tmp_path / "four.png").shape[:2] == (1125, 2000)
    assert "flip_y is ahead after" in said.err
    assert run("results", "--json").json == []  # nothing is published
    assert list(used_home.jobs.iterdir()) == []


def test_an_open_orientation_is_no_failure(run, used_home, turned_file):
    said = run("orient", -1, *QUICK, "--views", 16, "--iterations", 30, "--set", "window=16")
    assert said.status == 0, said.err
    assert "identity" in said.out
    assert "rot180" in said.out
    assert "of 56 views" in said.out


@pytest.mark.parametrize(
    ("words", "status", "word"),
    [
        ((-1, "--set", "windo=16"), 2, "windo"),
        ((99,), 1, "99"),
        ((-1, "--views", 3), 2, "16"),
    ],
)
def test_wrong_use(run, used_home, words, status, word):
    said = run("orient", *words)
    assert said.status == status
    assert word in said.err
    assert "not foreseen" not in said.err


def test_the_public_name_is_the_function():
    assert callable(orient)
    assert orient.__name__ == "orient"
