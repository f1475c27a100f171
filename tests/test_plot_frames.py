"""The picture of a scan's frames: what it shows is what it was given."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from hxn_ptycho.plot import PlotError
from hxn_ptycho.plot.frame_panels import BEAM, DROPPED, MARKS
from hxn_ptycho.plot.frames import FramesView, figure_frames, save_frames


def make_view(shape: tuple[int, int] = (60, 80), count: int = 30, **changes) -> FramesView:
    rng = np.random.default_rng(0)
    marked = {kind: np.zeros(shape, bool) for kind in MARKS}
    marked["hot"][3, 4] = marked["dead"][10, 11] = True
    marked["set to 0"][:5, -6:] = True
    looked_at = np.arange(0, count, 2)
    view = FramesView(
        scan_id=12, title="a diatom", facts=["12 keV", "window 32"],
        mean=rng.poisson(3.0, shape) / 64, sampled=64, marked=marked, crop=(14, 24, 32),
        centre=(30.0, 40.0), found=(31.2, 38.9),
        tiles=rng.poisson(1.0, (3, 16, 16)).astype(float), numbers=looked_at[[0, 1, 2]],
        positions_m=rng.uniform(-1e-6, 1e-6, (count, 2)),
        normalisation=rng.uniform(0.9, 1.1, count), index=looked_at,
        photons=rng.uniform(1e5, 2e5, len(looked_at)),
    )  # fmt: skip
    return replace(view, **changes)


def titled(drawing: Figure, start: str) -> Axes:
    (axes,) = [axes for axes in drawing.axes if axes.get_title(loc="left").startswith(start)]
    return axes


def legend(drawing: Figure) -> list[str]:
    (found,) = [axes.get_legend() for axes in drawing.axes if axes.get_legend()]
    return [text.get_text() for text in found.get_texts()]


def test_the_window_is_drawn_around_its_pixels() -> None:
    axes = titled(figure_frames(make_view()), "Mean of 64 frames")
    (window,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert (window.get_xy(), window.get_width(), window.get_height()) == ((23.5, 13.5), 32, 32)


def test_the_direct_beam_is_crossed_as_taken_and_as_found() -> None:
    axes = titled(figure_frames(make_view()), "Mean")
    crosses = {line.get_marker(): line.get_xydata().tolist() for line in axes.lines}
    assert crosses == {"+": [[40.0, 30.0]], "x": [[38.9, 31.2]]}
    assert all(line.get_color() == BEAM for line in axes.lines)
    axes = titled(figure_frames(make_view(found=None)), "Mean")
    assert [line.get_marker() for line in axes.lines] == ["+"]
    axes = titled(figure_frames(make_view(found=(30.3, 40.2))), "Mean")
    assert [line.get_marker() for line in axes.lines] == ["+"]  # the same pixel


def test_marked_pixels_are_coloured_by_their_reason_and_counted() -> None:
    view = make_view()
    drawing = figure_frames(view)
    mean, *layers = titled(drawing, "Mean").images
    np.testing.assert_allclose(mean.get_array(), np.maximum(view.mean, 1e-30))
    kinds = [kind for kind, pixels in view.marked.items() if pixels.any()]
    assert len(layers) == len(kinds) == 3
    for kind, layer in zip(kinds, layers, strict=True):
        colours = layer.to_rgba(layer.get_array(), norm=True)
        shown = colours[view.marked[kind]]
        np.testing.assert_allclose(shown, [to_rgba(MARKS[kind])] * len(shown), atol=1e-6)
        assert (colours[~view.marked[kind], 3] == 0).all()
    assert {"1 hot", "1 dead", "30 set to 0"} <= set(legend(drawing))
    assert not any("saturated" in text for text in legend(drawing))


def test_few_marked_pixels_are_ringed_to_be_seen() -> None:
    axes = titled(figure_frames(make_view()), "Mean")
    ringed = np.concatenate([ring.get_offsets() for ring in axes.collections])
    assert {(4.0, 3.0), (11.0, 10.0)} <= {tuple(place) for place in ringed}


def test_no_mask_is_said() -> None:
    none = {kind: np.zeros((60, 80), bool) for kind in MARKS}
    assert "no pixel masked" in legend(figure_frames(make_view(marked=none)))


def test_frames_are_shown_with_their_number_and_light() -> None:
    view = make_view()
    view.tiles[1, 2:4] = np.nan
    drawing = figure_frames(view)
    first = drawing.axes.index(titled(drawing, "Frames as the solver sees them"))
    for axes, tile, number in zip(drawing.axes[first:], view.tiles, view.numbers, strict=False):
        image = axes.images[0].get_array()
        np.testing.assert_array_equal(image.mask, np.isnan(tile))
        good = ~np.isnan(tile)
        np.testing.assert_allclose(image[good], np.maximum(tile[good], 1e-30))
        light = view.photons[list(view.index).index(number)]
        assert [t.get_text() for t in axes.texts] == [f"frame {number}", f"{light:.3g} photons"]


def test_positions_are_in_um_y_downwards_with_equal_axes() -> None:
    view = make_view(empty=np.array([1, 3]), bad=np.array([5]))
    axes = titled(figure_frames(view), "Positions")
    everyone, coloured, empty, bad, first = axes.collections
    um = view.positions_m[:, ::-1] * 1e6
    np.testing.assert_allclose(everyone.get_offsets(), um)
    np.testing.assert_allclose(coloured.get_offsets(), um[view.index])
    np.testing.assert_allclose(coloured.get_array(), view.photons / 1e5)
    np.testing.assert_allclose(empty.get_offsets(), um[[1, 3]])
    np.testing.assert_allclose(bad.get_offsets(), um[[5]])
    np.testing.assert_allclose(first.get_offsets(), um[[0]])
    low, high = axes.get_ylim()
    assert low > high
    box = axes.get_position()
    assert box.height * 7.5 / abs(high - low) == pytest.approx(
        box.width * 40 / 3 / abs(np.subtract(*axes.get_xlim()))
    )


def test_light_and_normalisation_are_drawn_over_the_frames() -> None:
    view = make_view(empty=np.array([1]))
    drawing = figure_frames(view)
    photons, dropped, _ = titled(drawing, "10⁵ photons, 16 frames").lines
    np.testing.assert_allclose(photons.get_xydata().T, [view.index, view.photons / 1e5])
    assert dropped.get_xydata().tolist() == [[1, 0]]
    assert dropped.get_color() == DROPPED
    (line,) = titled(drawing, "Normalisation").lines
    np.testing.assert_allclose(line.get_xydata().T, [np.arange(30), view.normalisation])
    every = make_view(index=np.arange(30), photons=np.full(30, 50.0))
    titled(figure_frames(every), "Photons a frame")


def test_the_title_has_all_facts() -> None:
    facts = [f"fact {'x' * 30} {i}" for i in range(11)]
    drawing = figure_frames(make_view(facts=facts))
    texts = [text.get_text() for text in drawing.texts]
    assert texts[0] == "Scan 12, frames   a diatom"
    assert [fact for line in texts[1:] for fact in line.split("   ·   ")] == facts
    renderer = drawing.canvas.get_renderer()
    for text in drawing.texts:
        assert text.get_window_extent(renderer).x1 < drawing.bbox.x1


def odd_view(height, width, count, tiles, flat, photons) -> FramesView:
    """A view of any form; without light, without a usable frame."""
    places = np.random.default_rng(0).uniform(-1e-6, 1e-6, (count, 2))
    places *= [flat not in ("y", "both"), flat not in ("x", "both")]
    index = np.arange(count) if tiles else np.zeros(0, int)
    return replace(
        make_view(), crop=(0, 0, 8), centre=(4, 4), positions_m=places,
        normalisation=np.ones(count), tiles=np.full((tiles, 8, 8), photons),
        numbers=np.zeros(tiles, int), index=index, photons=np.full(len(index), photons),
        mean=np.full((height, width), photons / 64),
        marked={kind: np.full((height, width), kind == "dead") for kind in MARKS},
    )  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(8, 400),
    width=st.integers(8, 400),
    count=st.integers(1, 50),
    tiles=st.integers(0, 4),
    flat=st.sampled_from(["", "y", "x", "both"]),
    photons=st.sampled_from([0.0, 1.0, 1e12]),
)
def test_panels_keep_clear_of_each_other(height, width, count, tiles, flat, photons) -> None:
    drawing = figure_frames(odd_view(height, width, count, tiles, flat, photons))
    shown = [axes.get_position() for axes in drawing.axes if axes.axison]
    for box in shown:
        assert -1e-9 <= box.x0 <= box.x1 <= 1 + 1e-9
        assert -1e-9 <= box.y0 <= box.y1 <= 1 + 1e-9
    for a, b in itertools.combinations(shown, 2):
        overlap = min(a.x1, b.x1) > max(a.x0, b.x0) and min(a.y1, b.y1) > max(a.y0, b.y0)
        assert not overlap, (a, b)


@pytest.mark.parametrize(
    "form", [(8, 400, 1, 0, "both", 0.0), (400, 8, 2, 1, "x", 1e12), (16, 16, 3, 4, "", 1.0)]
)
def test_whatever_there_is_can_be_drawn(form) -> None:
    figure_frames(odd_view(*form)).canvas.draw()


def test_the_picture_fills_a_slide(tmp_path: Path) -> None:
    pixels = imread(save_frames(make_view(), tmp_path / "frames.png", dpi=144))
    assert pixels.shape[:2] == (1080, 1920)
    assert np.ptp(pixels[..., :3]) > 0.9
    with pytest.raises(PlotError, match=r"name the picture \.png"):
        save_frames(make_view(), tmp_path / "frames.doc")
    assert [path.name for path in tmp_path.iterdir()] == ["frames.png"]
