from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread

from hxn_ptycho.plot import PlotError, figure, sample_name, save
from hxn_ptycho.plot.marks import length_text, round_length
from hxn_ptycho.solver.metrics import illumination

from .example_results import example_result


def titled(drawing: Figure, start: str):
    """The axes whose label begins so."""
    return [axes for axes in drawing.axes if axes.get_title(loc="left").startswith(start)]


def texts(drawing: Figure) -> str:
    return "\n".join(text.get_text() for text in drawing.texts)


@pytest.mark.parametrize("modes", [1, 2, 3, 5, 10])
def test_each_probe_mode_has_a_tile_with_its_share(modes):
    result = example_result(modes=modes)
    drawing = figure(result)
    labels = [
        axes.get_title(loc="left")
        for axes in drawing.axes
        if axes.get_title(loc="left").endswith("%")
    ]
    assert len(labels) == modes
    for mode, (label, power) in enumerate(zip(labels, result.probe_power, strict=True), start=1):
        name, share = label.split(": ")
        assert name.endswith(str(mode))
        if power >= 0.001:
            assert float(share.removesuffix(" %")) == pytest.approx(100 * power, abs=0.051)
        else:
            assert share == "< 0.1 %"


def test_object_is_shown_where_it_was_lit_and_nowhere_else():
    result = example_result(shape=(60, 48))
    lit = illumination(result.probe, result.positions, (60, 48))
    shown = lit > 0.05 * lit.max()
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    assert len(rows) < 60  # the corners of the windows are dark
    inside = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    for name, expected in (("phase", np.angle(result.object[0])), ("amplitude", None)):
        (axes,) = titled(figure(result), f"Object {name}")
        image = axes.images[0].get_array()
        assert np.array_equal(image.mask, ~shown[inside])
        values = np.abs(result.object[0]) if expected is None else expected
        np.testing.assert_allclose(image[~image.mask], values[inside][shown[inside]], atol=1e-5)


def test_colour_bars_have_units():
    units = {axes.get_ylabel() for axes in figure(example_result()).axes}
    assert {"rad", "transmission"} <= units


@pytest.mark.parametrize("phase", [0.0, 1.6, np.pi - 0.2, -3.0])
def test_a_constant_phase_never_cuts_the_picture(phase):
    (axes,) = titled(figure(example_result(phase=phase)), "Object phase")
    low, high = axes.images[0].get_clim()
    assert high - low < 0.8  # the disc's half radian and the noise


def test_a_phase_over_the_whole_circle_gets_a_cyclic_map():
    result = example_result()
    y = np.linspace(-np.pi, np.pi, result.object.shape[1])
    result.object = result.object * np.exp(2j * y)[None, :, None]
    (axes,) = titled(figure(result), "Object phase")
    assert axes.images[0].get_clim() == (-np.pi, np.pi)
    assert axes.images[0].get_cmap().name == "twilight"


def test_title_says_what_it_is():
    text = texts(figure(example_result(pixel_size=(4e-9, 5e-9)), title="a diatom"))
    for part in ("Scan 12", "a diatom", "DM", "12 iterations", "4 x 5 nm", "0.0612", "2 x cpu"):
        assert part in text


def test_pixels_that_are_not_square_are_drawn_so():
    (axes,) = titled(figure(example_result(pixel_size=(5e-9, 10e-9))), "Object phase")
    rows, columns = axes.images[0].get_array().shape
    box = axes.get_position()
    ratio = (box.width * 40 / 3) / (box.height * 7.5)
    assert ratio == pytest.approx(2 * columns / rows, rel=1e-6)


@settings(max_examples=12, deadline=None)
@given(
    modes=st.integers(1, 12),
    object_modes=st.integers(1, 2),
    height=st.integers(16, 160),
    width=st.integers(16, 160),
    iterations=st.integers(1, 30),
)
def test_panels_keep_clear_of_each_other(modes, object_modes, height, width, iterations):
    drawing = figure(
        example_result(
            modes=modes, object_modes=object_modes, shape=(height, width), iterations=iterations
        )
    )
    boxes = [axes.get_position() for axes in drawing.axes]
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= 1
        assert box.y1 <= 1
    for a, b in itertools.combinations(boxes, 2):
        overlap = min(a.x1, b.x1) > max(a.x0, b.x0) and min(a.y1, b.y1) > max(a.y0, b.y0)
        assert not overlap, (a, b)


def test_errors_that_were_not_recorded_are_left_out():
    empty = {
        "error_probe": np.zeros((12, 2)),
        "error_object": np.full((12, 1), np.nan),
        "error_fourier_curve": np.full(12, np.nan),
    }
    (axes,) = titled(figure(example_result(**empty)), "Errors")
    assert not axes.lines
    (axes,) = titled(figure(example_result()), "Errors")
    assert {line.get_label() for line in axes.lines} == {
        "object change", "probe change", "error_fourier",
    }  # fmt: skip


@pytest.mark.parametrize("array", ["object", "probe"])
def test_a_result_with_a_hole_is_refused(array):
    result = example_result()
    getattr(result, array)[0, 3, 4] = np.nan
    with pytest.raises(PlotError, match=rf"^1 of \d+ values of the {array}"):
        figure(result)


def test_a_dark_probe_is_refused():
    result = example_result()
    result.probe[:] = 0
    with pytest.raises(PlotError, match="nothing was illuminated"):
        figure(result)


def test_picture_fills_a_slide(tmp_path: Path):
    path = save(example_result(), tmp_path / "picture.png")
    pixels = imread(path)
    assert pixels.shape[:2] == (1125, 2000)
    assert np.ptp(pixels[..., :3]) > 0.9
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]


def test_unknown_kind_of_picture_leaves_nothing(tmp_path: Path):
    with pytest.raises(PlotError, match=r"\.png"):
        save(example_result(), tmp_path / "picture.doc")
    assert not list(tmp_path.iterdir())


def test_folder_that_is_not_there(tmp_path: Path):
    with pytest.raises(PlotError, match="cannot be written: No such file"):
        save(example_result(), tmp_path / "not there" / "picture.png")


def test_no_display_and_no_pyplot_are_needed():
    code = (
        "import sys, hxn_ptycho.plot as plot\n"
        "from tests.example_results import example_result\n"
        "plot.figure(example_result())\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    root = str(Path(__file__).parents[1])
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "MPLBACKEND")}
    subprocess.run(
        [sys.executable, "-c", code], cwd=root, env={**environment, "PYTHONPATH": root}, check=True
    )


@given(st.floats(1e-12, 1.0))
def test_round_lengths_are_round_and_fit(most):
    length = round_length(most)
    assert most / 2.5 * (1 - 1e-6) <= length <= most * (1 + 1e-6)
    leading = f"{length:.6e}"
    assert float(leading[:8]) in (1.0, 2.0, 5.0)


@pytest.mark.parametrize(
    ("metres", "text"),
    [(5e-10, "500 pm"), (1e-9, "1 nm"), (2e-7, "200 nm"), (1e-6, "1 µm"), (5e-3, "5 mm")],
)
def test_lengths_are_written_with_their_unit(metres, text):
    assert length_text(metres) == text


@pytest.mark.parametrize(
    ("start", "name"),
    [
        ({"sample": "star"}, "star"),
        ({"sample_name": "gold", "sample": {"name": "star"}}, "gold"),
        ({"sample": {"name": "star", "thickness_um": 1.0}}, "star"),
        ({"sample": {"thickness_um": 1.0}}, ""),
        ({"sample": 7}, ""),
        ({}, ""),
    ],
)
def test_the_sample_is_named_however_a_beamline_writes_it(start, name):
    assert sample_name(start) == name
