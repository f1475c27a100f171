"""What doctor says of hxn.toml."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hxn_ptycho.cli import beamline_checks
from hxn_ptycho.home import Home


def write(home: Home, text: str) -> Path:
    file = home.root / "hxn.toml"
    file.write_text(text)
    return file


def printed(home: Home, width: int = 80) -> list[str]:
    """Return the lines on a terminal of this width."""
    text = io.StringIO()
    console = Console(file=text, width=width, highlight=False)
    for part in beamline_checks.tables(home):
        console.print(part)
    return text.getvalue().splitlines()


CHANGED = """
[motors.zpssx]
direction = -1
[detectors.eiger2]
pixel_um = 75
distance_m = 2.05
orientation = "flip_x"
"""


def test_what_is_in_force_fits_a_terminal_and_changes_are_marked(home: Home) -> None:
    plain = printed(home)
    row = next(line.split() for line in plain if line.startswith("zpssx"))
    assert row == [
        "zpssx", "x", "inenc2_val", "-9.542e-5", "x", "0.9542", "+1", "cos", "zpsth", "package",
    ]  # fmt: skip
    assert next(line.split() for line in plain if line.startswith("ssx"))[2:5] == [
        "none", "as", "planned",
    ]  # fmt: skip
    assert not any("home" in line for line in plain if not line.startswith("package:"))
    own = write(home, CHANGED)
    changed = printed(home)
    assert next(line for line in changed if line.startswith("zpssx")).rstrip().endswith("home *")
    assert next(line for line in changed if line.startswith("eiger2")).rstrip().endswith("home")
    assert ["motors.zpssx.direction", "-1", "1"] in [line.split() for line in changed]
    assert any(own.name in line for line in changed)
    for lines in (plain, changed):
        assert all(len(line) <= 80 for line in lines)
        names = [line.split(maxsplit=1)[0] for line in lines if line.strip()]
        # No row of motors is folded.
        first = names.index("motor")
        assert names[first + 1 : first + 12] == [
            "zpssx", "zpssy", "zpssz", "dssx", "dssy", "dssz", "ssx", "ssy", "ssz",
            "pt_tomo_ssx", "pt_tomo_ssy",
        ]  # fmt: skip


def test_json_has_all_of_it(home: Home) -> None:
    own = write(home, CHANGED + f"[roots]\n'/data' = '{home.root}'\n'/old' = '/nowhere/at/all'\n")
    said: Any = beamline_checks.as_json(home)
    assert said["files"]["home"] == own
    assert said["detectors"]["eiger2"]["from"] == "home"
    assert said["detectors"]["eiger2"]["orientation"] == "flip_x"
    assert said["motors"]["zpssx"]["from"] == "changed"
    assert said["motors"]["zpssy"]["encoder"] == "inenc3_val"
    assert {"key": "motors.zpssx.direction", "value": -1, "package": 1} in said["changes"]
    assert [(root["old"], root["exists"]) for root in said["roots"]] == [
        ("/data", True),
        ("/old", False),
    ]
    assert said["flavours"]["zebra"]["scan_types"]["XRF_FLY"] == "start-stop"


def test_a_root_that_is_not_there_is_found(home: Home) -> None:
    assert beamline_checks.roots(home) is None
    write(home, f"[roots]\n'/data' = '{home.root}'\n")
    finding = beamline_checks.roots(home)
    assert finding is not None
    assert finding.state == "good"
    write(home, f"[roots]\n'/data' = '{home.root}'\n'/old' = '/nowhere/at/all'\n")
    finding = beamline_checks.roots(home)
    assert finding is not None
    assert finding.state == "missing"
    assert "/nowhere/at/all" in finding.found
    assert str(home.root) not in finding.found
    assert any("not on this host" in line for line in printed(home))


@pytest.mark.parametrize(
    ("text", "state", "said"),
    [
        ("", "good", "else the package's"),
        (CHANGED, "good", "4 keys of"),
        ("[motors.zpssx]\ndirection = 1\n", "optional", "says nothing that the package's does not"),
        ("[motors.zpssx]\ndirection = 3\n", "missing", "line 2, motors.zpssx.direction"),
    ],
)
def test_the_file_is_judged(home: Home, text: str, state: str, said: str) -> None:
    if text:
        write(home, text)
    finding = beamline_checks.beamline(home)
    assert finding.state == state
    if text:
        assert said in finding.found
    if state == "missing":
        assert finding.advice
        assert beamline_checks.as_json(home) is None
        assert beamline_checks.tables(home) == []
        assert beamline_checks.roots(home) is None
        assert beamline_checks.scales(home) is None


def test_a_scale_in_other_units_is_noticed(home: Home) -> None:
    write(home, "[motors.zpssx]\nscale_um = -0.97e-4\n")
    assert beamline_checks.scales(home) is None
    write(home, "[motors.zpssx]\nscale_um = -0.97e-1\n[detectors.merlin1]\npixel_um = 55e-6\n")
    finding = beamline_checks.scales(home)
    assert finding is not None
    assert "motors.zpssx.scale_um = -0.097, the package has -9.542e-05" in finding.found
    assert "detectors.merlin1.pixel_um" in finding.found
