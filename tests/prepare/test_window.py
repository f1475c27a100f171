from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hxn_ptycho.prepare.window import choose_window, fast_side
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.scan import Scan, ScanError

from ..jobs import make_scan


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    return make_scan(tmp_path_factory.mktemp("scan"))


def shaped(scan: Scan, shape: tuple[int, int]) -> Scan:
    return Scan(**{**vars(scan), "frame_shape": shape})


@given(side=st.integers(8, 8192))
def test_a_fast_side_is_the_next_even_product_of_2_3_5(side: int) -> None:
    fast = fast_side(side)
    assert fast >= side
    assert fast % 2 == 0
    rest = fast
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    assert rest == 1
    assert fast <= max(1.25 * side, side + 2)


def test_188_becomes_192(scan: Scan) -> None:
    wide = shaped(scan, (192, 188))
    fast = choose_window(wide, Recipe())
    assert (fast.crop, fast.fft_window) == ((2, 0, 188), 192)
    exact = choose_window(wide, Recipe(fft_window="exact"))
    assert exact.fft_window == 188
    # The same wave on a larger window: a finer pixel.
    assert fast.object_pixel_m[0] / exact.object_pixel_m[0] == pytest.approx(188 / 192)


@given(
    height=st.integers(16, 600),
    width=st.integers(16, 600),
    y=st.floats(0.1, 0.9),
    x=st.floats(0.1, 0.9),
    data=st.data(),
)
def test_the_beam_is_the_middle_of_a_window_inside_the_frames(
    scan: Scan, height: int, width: int, y: float, x: float, data: st.DataObject
) -> None:
    centre = (float(round(y * height)), float(round(x * width)))
    half = min(centre[0], height - centre[0], centre[1], width - centre[1])
    window = data.draw(st.none() | st.integers(8, max(8, int(2 * half) - 1)))
    recipe = Recipe(centre=centre, window=window)
    if half < 4 or (window or 0) > 2 * half:
        with pytest.raises(ScanError):
            choose_window(shaped(scan, (height, width)), recipe)
        return
    y0, x0, side = choose_window(shaped(scan, (height, width)), recipe).crop
    assert (y0 + side // 2, x0 + side // 2) == centre
    assert 0 <= y0 <= y0 + side <= height
    assert 0 <= x0 <= x0 + side <= width
    assert side == (window or 2 * half)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"window": 40}, "window = 40 is larger than the frames of 32 x 32 pixels.*at most 32"),
        ({"window": 32, "centre": (12, 16)}, r"direct beam at \(12, 16\).*at most window = 24"),
        ({"centre": (40, 16)}, r"centre = \[40, 16\] is not inside the frames of 32 x 32"),
        ({"centre": (2, 16)}, "a window of 4 pixels"),
    ],
)
def test_a_window_that_does_not_fit_is_refused_with_what_would(
    scan: Scan, keys: dict, message: str
) -> None:
    with pytest.raises(ScanError, match=message):
        choose_window(scan, Recipe(**keys))
