"""Every form of scan, with every step of preparation, gives the same picture of the sample.

Each case goes the whole way: a simulated scan with the fault that the step mends, its documents,
the catalog, `read_scan`, `prepare`, the solver as a process. The truth is the sample as rendered.

Tested are each form with everything at once, and one form with each step alone; HXN_TEST_EVERY=1
tests each with each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from hxn_ptycho.beamline import read_scan
from hxn_ptycho.catalog import Catalogs, asset_registry, open_catalog, writer
from hxn_ptycho.home import HOME_VARIABLE, find_home
from hxn_ptycho.prepare import prepare
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.simulate.faults import Faults, some_dark, some_flat, some_pixels
from hxn_ptycho.solver.job import ResultData

from .every import EVERY
from .simulate.station import FORMS, Form, Station, make_station
from .solver.program import run_solver
from .truth import error_of

PIXELS, POINTS, EXPOSURE = 64, 12, 0.03
OPTICS = {"diameter": 160e-6, "outer_zone_width": 40e-9, "central_stop": 60e-6, "defocus": 116e-6}
RECIPE = {
    "algorithm": "RAAR", "iterations": 100, "probe_modes": 2, "ranks": 1, "probe": "zone-plate",
    "zone_plate": OPTICS, "checkpoint_every": 0, "error_every": 100,
}  # fmt: skip

SHAPE = (PIXELS, PIXELS)
DARK, FLAT = some_dark(SHAPE, 3.0), some_flat(SHAPE, 0.05)
STRAY = np.zeros(SHAPE)
STRAY[:4, :4] = 40.0  # light that is not the sample's, in counts a frame
HOT = some_pixels(SHAPE, 5, avoid={(32, 32): 8})


@dataclass(frozen=True)
class Case:
    """What goes wrong in a scan, what the recipe says to it, and which case is like it without."""

    faults: Faults = field(default_factory=Faults)
    keys: dict[str, Any] = field(default_factory=dict)
    files: dict[str, np.ndarray] = field(default_factory=dict)
    upset: Callable[[Station], None] = lambda station: None
    like: str = "plain"


def drop_readings(station: Station) -> None:
    station.endstation.ion_chamber.faults.update({5: 0.0, 6: 0.0, 40: 0.03, 99: 0.0})


def turn_sample(station: Station) -> None:
    station.zpsth.set(25).wait(timeout=10)


def move_away(station: Station) -> None:
    station.merlin1.distance.put(1.0)


def many(station: Station) -> None:
    drop_readings(station)
    turn_sample(station)


def at(pixels: tuple[tuple[int, int], ...]) -> np.ndarray:
    frame = np.zeros(SHAPE, bool)
    frame[tuple(np.transpose(pixels))] = True
    return frame


# A binned pixel adds up what is no longer coherent: it takes modes, and iterations.
MANY_MODES = {"probe_modes": 4, "iterations": 200, "error_every": 200}

PLAIN = {
    "plain": Case(),
    "small window": Case(keys={"window": 56}),
    "small window, turned": Case(keys={"window": 56}, upset=turn_sample),
    "far": Case(keys={**MANY_MODES, "distance_m": 1.0}, upset=move_away),
}
CASES = {
    "ion chamber": Case(upset=drop_readings),
    "dark": Case(Faults(dark=DARK), files={"dark": DARK}),
    "flat": Case(Faults(flat=FLAT), files={"flat": FLAT}),
    "hot and dead pixels": Case(Faults(hot=HOT, dead=((20, 41),))),
    "bad pixels": Case(
        Faults(hot=HOT), {"hot_pixels": math.inf}, files={"bad_pixels": at(HOT)}
    ),
    "saturated pixels": Case(Faults(saturation=12000)),
    "zero regions": Case(Faults(dark=STRAY), {"zero_regions": [(0, 0, 4, 4)]}),
    "centre": Case(Faults(beam_offset=(-3, 4)), {"window": 56}, like="small window"),
    "turned": Case(Faults(orientation="rot90"), {"orientation": "rot90"}),
    "mirrored": Case(Faults(orientation="flip_x"), {"orientation": "flip_x"}),
    "binning": Case(
        keys={**MANY_MODES, "distance_m": 1.0, "binning": 2}, upset=move_away, like="far"
    ),
    "empty frames": Case(Faults(empty_frames=(0, 77, 78, 143))),
    "threshold": Case(Faults(dark=np.full(SHAPE, 0.05)), {"threshold": 0.5}),
    "angle": Case(upset=turn_sample),
    "all at once": Case(
        Faults(
            dark=DARK, flat=FLAT, hot=HOT, dead=((20, 41),), saturation=12000,
            empty_frames=(0, 77, 78, 143), beam_offset=(-3, 4), orientation="transpose",
        ),
        {
            "window": 56, "orientation": "transpose", "threshold": 0.5,
            "zero_regions": [(0, 0, 4, 4)],
        },
        {"dark": DARK, "flat": FLAT},
        many,
        like="small window, turned",
    ),
}  # fmt: skip
TESTED = [
    (form, name)
    for form in FORMS
    for name in CASES
    if EVERY or form == "panda" or name == "all at once"
]


@dataclass
class Beamline:
    """Measures cases and reconstructs them, in one home."""

    catalogs: Catalogs
    registry: Any
    plain: dict[tuple[Form, str], float] = field(default_factory=dict)

    def plain_error(self, form: Form, name: str) -> float:
        """Return the error of a case without faults, reconstructed once."""
        if (form, name) not in self.plain:
            self.plain[form, name] = self.error(form, name, PLAIN[name])
        return self.plain[form, name]

    def error(self, form: Form, name: str, case: Case) -> float:
        """Return the object's error in the scanned area, against the sample."""
        home = self.catalogs.home
        label = f"{form} {name}"
        detectors = f"[detectors.merlin1]\nsaturation = {case.faults.saturation or 65535}\n"
        (home.root / "hxn.toml").write_text(detectors)
        station = make_station(
            home.data / label,
            PIXELS,
            seed=1,
            form=form,
            faults=case.faults,
            registry=self.registry,
        )
        station.RE.subscribe(writer(self.catalogs.raw, registry=self.registry))
        case.upset(station)
        uid = station.measure(POINTS, POINTS, EXPOSURE)
        scan = read_scan(self.catalogs.raw, uid, home=home)
        assert scan.number_of_frames == POINTS * POINTS
        files = {}
        for key, frame in case.files.items():
            files[key] = str(home.data / f"{label} {key}.npy")
            np.save(files[key], frame)
        folder = home.jobs / label
        recipe = Recipe.make(**{**RECIPE, **case.keys, **files})
        prepare(scan, recipe, folder, job_uid=label, derived_uid=label, home=home)
        done = run_solver(folder, 1)
        assert done.returncode == 0, done.stderr
        result = ResultData.read(folder / "result.h5")
        return error_of(result, station.endstation.sample)


@pytest.fixture(scope="module")
def beamline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beamline]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(tmp_path_factory.mktemp("beamline")))
        home = find_home().make()
        yield Beamline(open_catalog(home), asset_registry(home))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("form", "name"), TESTED)
def test_the_picture_is_as_good_as_without_the_fault(
    beamline: Beamline, form: Form, name: str
) -> None:
    case = CASES[name]
    plain = beamline.plain_error(form, case.like)
    error = beamline.error(form, name, case)
    print(f"{form}, {name}: {error:.4f}, without {plain:.4f}")
    assert plain < 0.15
    assert error <= 1.1 * plain
