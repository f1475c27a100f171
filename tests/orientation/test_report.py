from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hxn_ptycho.orientation.report import OrientationReport, Ranked, Twin, settle
from hxn_ptycho.orientation.twin import Matter, Optics
from hxn_ptycho.solver.orientation import CLASSES


def optics(verdict):
    return Optics(verdict, -4e-5, -4e-5, 3.0, f"optics {verdict}")


def matter(verdict):
    return Matter(verdict, 0.8, 6.0, 1.1, -0.3, f"matter {verdict}")


@pytest.mark.parametrize(
    ("of_optics", "of_matter", "chosen", "by"),
    [
        ("as it is", "as it is", "flip_y", "optics and matter"),
        ("twin", "twin", "flip_x", "optics and matter"),
        ("as it is", "open", "flip_y", "optics"),
        ("twin", "open", "flip_x", "optics"),
        ("open", "as it is", "flip_y", "matter"),
        ("open", "twin", "flip_x", "matter"),
        ("open", "open", None, "nothing"),
        ("as it is", "twin", None, "contradiction"),
        ("twin", "as it is", None, "contradiction"),
    ],
)
def test_settle(of_optics, of_matter, chosen, by):
    said = settle("flip_y", optics(of_optics), matter(of_matter))
    assert (said.chosen, said.by) == (chosen, by)
    for word in (of_optics, of_matter):
        if word != "open" or by in ("nothing", "contradiction"):
            assert word in said.reason


def test_a_contradiction_says_both_and_what_to_check():
    said = settle("rot90", optics("as it is"), matter("twin"))
    assert "the optics say rot90" in said.reason
    assert "the sample says rot270" in said.reason.lower()
    assert "zone_plate.defocus" in said.reason


def report(first=0, twin: Twin | None = None, **changes) -> OrientationReport:
    order = [CLASSES[first], *(pair for pair in CLASSES if pair != CLASSES[first])]
    ranking = tuple(Ranked(*pair, 0.1 + 0.1 * i, "focused") for i, pair in enumerate(order))
    made = OrientationReport(
        raw_uid="raw", scan_id=7, views=100, views_of_scan=900, ranking=ranking, decided=True,
        lead=0.4, iterations=30, settled_error=0.09, settled_iterations=60, twin=twin,
        present="identity", detector="merlin1", seconds=9.0,
    )  # fmt: skip
    return replace(made, **changes)


def test_the_line_for_hxn_toml():
    made = report(2, settle("flip_y", optics("twin"), matter("open")))
    assert made.orientation == "flip_x"
    assert made.lines == ('orientation = "flip_x"',)
    assert 'under [detectors.merlin1]: orientation = "flip_x"' in made.advice[0]
    # The frames are right and one motor's direction is wrong: the data say the same of that.
    assert "direction of one stage" in made.advice[-1]


def test_the_twin_left_open_gives_two_lines_and_says_what_would_settle_it():
    made = report(3, settle("rot90", optics("open"), matter("open")))
    assert made.orientation is None
    assert made.lines == ('orientation = "rot90"', 'orientation = "rot270"')
    assert "To settle it" in " ".join(made.advice)


def test_an_open_class_gives_no_line():
    made = report(decided=False, twin=None, lead=0.004)
    assert made.lines == ()
    assert "0.4%" in made.advice[0]


def test_nothing_needs_to_be_changed():
    made = report(1, settle("transpose", optics("as it is"), matter("open")), present="transpose")
    assert "what is used now" in made.advice[0]


def test_both_directions_are_the_twin():
    made = report(0, settle("identity", optics("twin"), matter("open")))
    assert made.orientation == "rot180"
    assert "turned by 180 degrees" in made.advice[-1]


def test_a_detector_that_is_not_known():
    made = report(0, settle("identity", optics("twin"), matter("open")), detector="")
    assert "in the recipe" in made.advice[0]


def test_it_goes_into_json():
    made = report(2, settle("flip_y", optics("twin"), matter("open")))
    told = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert told["orientation"] == "flip_x"
    assert told["hxn_toml"] == ['orientation = "flip_x"']
    assert [each["error_fourier"] for each in told["ranking"]] == sorted(
        each["error_fourier"] for each in told["ranking"]
    )
    assert told["twin"]["by"] == "optics"
    assert told["twin"]["optics"]["ratio"] == 3.0
