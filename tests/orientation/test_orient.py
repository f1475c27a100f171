"""The whole of it, by real reconstructions of frames that were stored turned."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

from hxn_ptycho.launch.places import take_cores
from hxn_ptycho.orientation import orient_scan, save
from hxn_ptycho.plot import PlotError
from hxn_ptycho.recipe import Recipe, RecipeError
from hxn_ptycho.scan import ScanError
from hxn_ptycho.solver.orientation import CLASSES

from .cases import Deposit, turned_scan, zone_plate

CPU = {"device": "cpu", "ranks": 1, "centre": "middle"}
ONE_START = {**CPU, "probe": "random"}  # four reconstructions instead of twelve


@pytest.fixture
def nothing_is_left(home):
    """No job folder, no program."""
    yield
    assert list(home.jobs.iterdir()) == []
    with os.scandir("/proc") as entries:
        for entry in entries:
            try:
                words = Path(entry.path, "cmdline").read_bytes() if entry.name.isdigit() else b""
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            assert str(home.jobs).encode() not in words


def class_of(orientation):
    return next(pair for pair in CLASSES if orientation in pair)


# Each class once, two of them by the twin; a beam that is known and one that is not, two shapes of
# scan, a coherent beam and two modes, a sample of one material and one of two.
CASES = {
    "rot180": (
        {"grid": (8, 8)},
        {"zone_plate": zone_plate(), "probe": "zone-plate"},
        "optics",
    ),
    "transpose": ({"grid": (6, 9), "photons": 2e4}, {"zone_plate": zone_plate()}, "optics"),
    "flip_x": (
        {"grid": (9, 7), "jitter": 0.1, "n": 64, "sample": Deposit(absorption=0.12)},
        {},
        "matter",
    ),
    "rot90": (
        {"grid": (8, 8), "probe_modes": 2, "powers": [0.8, 0.2], "photons": 1e6},
        {"probe_modes": 2},
        "nothing",
    ),
}


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize("truth", CASES)
def test_the_truth_is_first(home, truth):
    of_the_scan, of_the_recipe, by = CASES[truth]
    lines = []
    report = orient_scan(
        turned_scan(home.data, truth, **of_the_scan),
        Recipe(**CPU, **of_the_recipe),
        home=home,
        progress=lines.append,
    )
    assert report.decided
    assert (report.ranking[0].orientation, report.ranking[0].twin) == class_of(truth)
    assert report.lead > 0.03
    assert report.iterations <= 100
    assert [each.error_fourier for each in report.ranking] == sorted(
        each.error_fourier for each in report.ranking
    )
    assert report.twin is not None
    assert report.twin.by == by
    assert report.orientation == (None if by == "nothing" else truth)
    seen = {line["orientation"] for line in lines if line["event"] == "class"}
    assert seen == {first for first, _ in CLASSES}
    (decided,) = (line for line in lines if line["event"] == "decided")
    assert decided["iteration"] == report.iterations
    assert report.settled_iterations >= report.iterations
    assert report.settled_error <= report.ranking[0].error_fourier

    picture = save(report, home.root / "four.png")
    assert imread(picture).shape[:2] == (1125, 2000)
    with pytest.raises(PlotError, match="name the picture"):
        save(report, home.root / "four.doc")


@pytest.mark.usefixtures("nothing_is_left")
def test_nothing_in_the_beam_stays_open(home):
    scan = turned_scan(home.data, "identity", grid=(5, 5), n=32)
    flat = np.random.default_rng(0).poisson(
        200 * np.exp(-np.hypot(*np.indices((32, 32)) - 16) / 4), (25, 32, 32)
    )
    with h5py.File(scan.frames[0].file, "r+") as file:
        file["entry/data/data"][...] = flat
    report = orient_scan(scan, Recipe(**ONE_START), home=home, iterations=35)
    assert not report.decided
    assert report.iterations == 40  # the next with an error
    assert report.orientation is None
    assert report.twin is None
    assert report.lines == ()


@pytest.mark.usefixtures("nothing_is_left")
def test_it_can_be_ended(home):
    scan = turned_scan(home.data, "identity", grid=(4, 4), n=32)

    def stop(line):
        if line["event"] == "class":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        orient_scan(scan, Recipe(**ONE_START), home=home, progress=stop)


@pytest.mark.usefixtures("nothing_is_left")
def test_it_waits_for_cores_and_says_so(home):
    scan = turned_scan(home.data, "identity", grid=(4, 4), n=32)
    taken = take_cores(10_000)
    assert taken is not None
    told = []

    def interrupt():
        if told:
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            orient_scan(scan, Recipe(**CPU), home=home, progress=told.append, interrupt=interrupt)
    finally:
        taken.release()
    assert told == [{"event": "waiting", "reason": "waits for 1 cores"}]


@pytest.mark.usefixtures("nothing_is_left")
def test_what_is_wrong_is_told_before_any_reconstruction(home):
    scan = turned_scan(home.data, "identity", grid=(4, 4), n=32)
    lost = replace(scan, frames=(replace(scan.frames[0], file="/nowhere/frames.h5"),))
    with pytest.raises(ScanError, match=r"frames\.h5"):
        orient_scan(lost, Recipe(**CPU), home=home)
    with pytest.raises(RecipeError, match="no such file"):
        orient_scan(scan, Recipe(**CPU, probe="/nowhere/probe.npy"), home=home)


@pytest.mark.usefixtures("nothing_is_left")
def test_the_rest_of_a_large_scan_is_left_alone(home):
    scan = turned_scan(home.data, "identity", grid=(9, 9), n=32)
    scan = replace(scan, start={"scan": {"detectors": ["sclr1", "merlin1"]}}, orientation="rot90")
    report = orient_scan(scan, Recipe(**ONE_START), home=home, views=16, iterations=10)
    assert (report.views, report.views_of_scan) == (16, 81)
    assert report.ranking[0].start == "random"
    assert report.detector == "merlin1"
    assert report.present == "rot90"
