"""``hxn-ptycho show --frames``: what would be done to a scan, before it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.image import imread

import hxn_ptycho
from hxn_ptycho.beamline import read_scan
from hxn_ptycho.catalog import open_catalog
from hxn_ptycho.recipe import RecipeError

from ..scans import measure


@pytest.fixture(scope="module")
def measured(used_home):
    """Uid and scan id of a small scan."""
    return measure(open_catalog(used_home), sample={"name": "star"})


def test_a_run_is_found_and_shown(run, used_home, measured, tmp_path: Path) -> None:
    uid, scan_id = measured
    for word in (uid, uid[:8], scan_id, -1):
        said = run("show", "--frames", word, "--json", "-o", tmp_path / "f.png")
        assert said.status == 0, said.err
        assert (said.json["uid"], said.json["scan_id"]) == (uid, scan_id)
    assert said.json["crop"] == [0, 0, 32]
    assert said.json["frames"] == said.json["looked_at"] == 25
    assert said.json["picture"] == str(tmp_path / "f.png")
    assert imread(tmp_path / "f.png").shape[:2] == (1125, 2000)
    assert said.json["recipe"]["centre"] == [16, 16]
    assert said.json["centre_how"] == "at the corner of the frames"


def test_a_recipe_changes_what_is_seen(run, used_home, measured, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[ptycho]\nwindow = 24\norientation = "flip_x"\n')
    said = run(
        "show", "--frames", measured[0], "--recipe", tmp_path / "r.toml", "--set", "binning=2",
        "--set", "zero_regions=[[0, 0, 4, 4]]", "-o", tmp_path / "f.pdf", "--json",
    ).json  # fmt: skip
    assert said["crop"] == [4, 4, 24]
    assert (said["binning"], said["fft_window"], said["orientation"]) == (2, 12, "flip_x")
    assert said["orientation_from"] == "recipe"
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")


def test_it_is_told_in_words_and_the_picture_has_a_place(run, used_home, measured) -> None:
    uid, scan_id = measured
    said = run("show", "--frames", uid)
    assert said.status == 0, said.err
    for part in (f"{scan_id}, run {uid}", "window 32", "(16, 16)", "0 hot", "neighbours"):
        assert part in said.out
    (picture,) = (used_home.root / "frames").iterdir()
    assert picture.name == f"scan_{scan_id}_{uid[:8]}.png"
    assert picture.name in said.out


def test_what_cannot_be_done_is_told(run, used_home, measured, tmp_path: Path) -> None:
    uid, _ = measured
    said = run("show", "--frames", uid, "--set", "windw=3")
    assert said.status == 2
    assert "did you mean 'window'" in said.err
    said = run("show", "--frames", uid, "--set", "window=40")
    assert said.status == 1
    assert "window = 40 is larger than the frames" in said.err
    said = run("show", "--frames", uid, "--set", "dark=none.npy")
    assert said.status == 2
    assert f"there is no file {Path.cwd() / 'none.npy'}" in said.err.replace("\n", "")
    said = run("show", "--frames", "ffffffff")
    assert said.status == 1
    said = run("show", uid, "--set", "window=16")
    assert said.status == 2
    assert "--frames" in said.err


def test_python_gives_the_figure(used_home, measured) -> None:
    drawn = hxn_ptycho.show_frames(measured[0], window=16)
    texts = "\n".join(text.get_text() for text in drawn.texts)
    assert f"Scan {measured[1]}, frames   star" in texts
    assert "window 16" in texts
    with pytest.raises(RecipeError, match="probe_mode"):
        hxn_ptycho.show_frames(measured[0], probe_mode=3)


def test_frames_that_are_gone_are_told(run, used_home) -> None:
    catalogs = open_catalog(used_home)
    uid, _ = measure(catalogs)
    scan = read_scan(catalogs.raw, uid, home=used_home)
    Path(scan.frames[0].file).unlink()
    said = run("show", "--frames", uid)
    assert said.status == 1
    assert Path(scan.frames[0].file).name in said.err.replace("\n", "")
