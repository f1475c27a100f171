"""How surely, and how soon, the orientation of frames is found: simulated scans of many kinds.

    .venv/bin/python benchmarks/orientation.py [--only NAME...] [--stored all] [--json FILE]

Each case is a scan whose frames are stored turned; `hxn_ptycho.orientation.orient_scan` is told
nothing of it. Prints a table: which class was found after how many iterations, by what lead, and
what settled the twin. With --stored all, each case is stored in all eight orientations; without,
in one of them, in turn. Exit status 1 if anything found was wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hxn_ptycho.home import Home
from hxn_ptycho.optics import object_pixel, wavelength_from_energy, zone_plate_probe
from hxn_ptycho.orientation import OrientationReport, orient_scan
from hxn_ptycho.recipe import Recipe, ZonePlate
from hxn_ptycho.simulate.datasets import Dataset
from hxn_ptycho.simulate.diffraction import count, intensities, windows
from hxn_ptycho.simulate.illumination import default_powers, moving_modes, probe_modes
from hxn_ptycho.simulate.sample import Sample
from hxn_ptycho.solver.orientation import CLASSES, ORIENTATIONS, Orientation, matrix

ENERGY_KEV, DISTANCE_M, DETECTOR_PIXEL_M = 12.0, 0.5, 55e-6


class Deposit(Sample):
    """One material: amplitude and phase follow from the same thickness."""

    def amplitude(self, y: NDArray, x: NDArray) -> NDArray:
        return np.exp(self.absorption * self.phase(y, x) / self.phase_depth)


class Grains(Sample):
    """One material, a polycrystal."""

    def phase(self, y: NDArray, x: NDArray) -> NDArray:
        return -self.phase_depth * (1 - Sample.amplitude(self, y, x)) / self.absorption


SAMPLES = {
    "star and grains": Sample(),  # absorbs and retards in different places
    "deposit": Deposit(absorption=0.1),
    "grains": Grains(absorption=0.15, phase_depth=0.6),
    "weak": Deposit(phase_depth=0.2, absorption=0.02),
    "pure phase": Deposit(absorption=1e-4),
}


@dataclass(frozen=True)
class Case:
    """A scan. Lengths are in shares of the window, steps in shares of the beam's width."""

    sample: str = "star and grains"
    scan: str = "square"
    n: int = 64
    views: int = 100
    beam: float = 0.32
    defocus: float = 1.0
    overlap: float = 4.0  # steps in a beam's width
    modes: int = 1
    fly: bool = False
    photons: float = 1e5
    plate: str = "known"  # known; start: the first probe too; unknown
    recipe_modes: int = 1
    seed: int = 0


CASES = {
    "a square, jittered raster": Case(),
    "a strict square raster": Case(scan="strict"),
    "4 x 3": Case(scan="4x3"),
    "3 x 4": Case(scan="3x4"),
    "1 x 4": Case(scan="1x4"),
    "unequal steps": Case(scan="unequal"),
    "a sunflower spiral": Case(scan="spiral"),
    "an Archimedean spiral": Case(scan="archimedes"),
    "deposit": Case("deposit", plate="unknown"),
    "deposit, strict": Case("deposit", "strict", plate="unknown", seed=1),
    "grains": Case("grains", plate="unknown"),
    "weak": Case("weak"),
    "weak, strict, 1e4 photons": Case("weak", "strict", photons=1e4),
    "weak, 1e6 photons": Case("weak", photons=1e6),
    "pure phase": Case("pure phase", plate="unknown"),
    "1e4 photons": Case(photons=1e4),
    "1e4 photons, grains": Case("grains", photons=1e4),
    "1e4 photons, strict": Case(scan="strict", photons=1e4),
    "1e6 photons": Case(photons=1e6),
    "in focus": Case(defocus=0, beam=0.1, overlap=2, plate="unknown"),
    "in focus, strict": Case(scan="strict", defocus=0, beam=0.1, overlap=2, plate="unknown"),
    "in focus, grains": Case("grains", defocus=0, beam=0.1, overlap=2),
    "half the defocus": Case(defocus=0.5, overlap=6),
    "half the defocus, strict": Case(scan="strict", defocus=0.5, overlap=6),
    "upstream of the focus": Case(defocus=-1),
    "upstream, deposit": Case("deposit", defocus=-1),
    "small beam": Case(beam=0.15),
    "small beam, strict": Case(scan="strict", beam=0.15),
    "two modes, one assumed": Case(modes=2),
    "two modes": Case(modes=2, recipe_modes=2),
    "two modes, spiral": Case(scan="spiral", modes=2, recipe_modes=2),
    "fly scan, one mode assumed": Case(fly=True),
    "fly scan, strict": Case(scan="strict", fly=True, recipe_modes=3),
    "steps of 40 % of the beam": Case(overlap=2.5),
    "steps of 40 %, strict": Case(scan="strict", overlap=2.5),
    "49 views, strict": Case(scan="strict", views=49),
    "64 views": Case(views=64),
    "196 views": Case(views=196),
    "900 views": Case(views=900),
    "900 views, steps of 8 % of the beam": Case(views=900, overlap=12),
    "96 pixels": Case(n=96),
    "128 pixels": Case(n=128),
    "128 pixels, two modes": Case(n=128, modes=2, recipe_modes=2, views=144),
    "128 pixels, strict, deposit": Case("deposit", "strict", n=128, views=144),
    "started from the optics": Case(plate="start"),
    "started from the optics, strict": Case(scan="strict", plate="start"),
    "started from the optics, 1e4": Case(photons=1e4, plate="start"),
}


def positions(case: Case, step: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the views' places (N, 2), whole pixels."""
    k = np.arange(case.views)
    if case.scan == "spiral":
        radius, angle = 0.56 * step * np.sqrt(k + 0.5), k * np.pi * (3 - np.sqrt(5))
        places = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    elif case.scan == "archimedes":
        angles = [0.0]
        while len(angles) < case.views:
            angles.append(angles[-1] + step / max(step * angles[-1] / (2 * np.pi), 0.3 * step))
        angle = np.array(angles)
        places = step * angle[:, None] / (2 * np.pi) * np.stack([np.sin(angle), np.cos(angle)], 1)
    else:
        down, across = {"4x3": (4, 3), "3x4": (3, 4), "1x4": (1, 4)}.get(case.scan, (1, 1))
        unit = np.sqrt(case.views / (down * across))
        sides = (round(down * unit), round(across * unit))
        places = np.stack(np.divmod(np.arange(sides[0] * sides[1]), sides[1]), axis=1) * step
        if case.scan == "unequal":
            places = places * (0.75, 1.25)
        elif case.scan != "strict":
            places = places + generator.uniform(-0.2, 0.2, places.shape) * step
    return np.rint(places).astype(int)


def simulate(case: Case) -> tuple[Dataset, ZonePlate]:
    """Return a scan with its truth, and its optics."""
    generator, n = np.random.default_rng(case.seed), case.n
    wavelength = wavelength_from_energy(ENERGY_KEV)
    pixel = object_pixel(wavelength, DISTANCE_M, n, DETECTOR_PIXEL_M)
    step, zone = case.beam * n / case.overlap, 4 * pixel[0]
    defocus = case.defocus * case.beam * n * pixel[0] * zone / wavelength
    plate = ZonePlate(diameter=200e-6, outer_zone_width=zone, central_stop=60e-6, defocus=defocus)
    coherent = zone_plate_probe(
        n, pixel, wavelength, diameter_m=plate.diameter, outer_zone_width_m=zone,
        central_stop_m=plate.central_stop, defocus_m=defocus,
    )  # fmt: skip
    if case.fly:
        path = np.stack([np.zeros(15), ((np.arange(15) + 0.5) / 15 - 0.5) * step], axis=1)
        probe = moving_modes(coherent, path)
    else:
        probe = probe_modes(coherent, list(default_powers(case.modes)))
    places = positions(case, step, generator)
    low, high = places.min(axis=0) - n // 2, places.max(axis=0) - n // 2 + n
    origin = (float(low[0] * pixel[0]), float(low[1] * pixel[1]))
    if case.scan not in ("spiral", "archimedes"):  # the star in the middle
        middle = (places.max(axis=0) + places.min(axis=0)) // 2
        origin = (origin[0] - middle[0] * pixel[0], origin[1] - middle[1] * pixel[1])
    sample = replace(SAMPLES[case.sample], seed=case.seed)
    picture = sample.render(tuple((high - low).tolist()), pixel, origin)
    corners = places - n // 2 - low
    light = np.sum(np.abs(probe) ** 2, axis=0)
    seen = np.einsum("jyx,yx->j", windows(np.abs(picture) ** 2, corners, n), light)
    probe = probe * np.sqrt(case.photons / seen.mean())
    frames = count(intensities(probe, picture, corners), generator)
    data = Dataset(
        frames, places * np.array(pixel), probe, picture, origin, pixel, wavelength, DISTANCE_M,
        (DETECTOR_PIXEL_M, DETECTOR_PIXEL_M),
    )  # fmt: skip
    return data, plate


def stored(frames: NDArray, orientation: Orientation) -> NDArray:
    """Return the frames on file that `orientation` turns into these, about the direct beam."""
    n = frames.shape[-1]
    away = np.stack(np.meshgrid(*(np.arange(n) - n // 2,) * 2, indexing="ij"))
    row, column = (np.tensordot(matrix(orientation), away, axes=1) + n // 2) % n
    on_file = np.empty_like(frames)
    on_file[:, row, column] = frames
    return on_file


def run(case: Case, truth: Orientation, options: dict[str, Any]) -> OrientationReport:
    """Simulate a case, store its frames turned, and look for the orientation."""
    data, plate = simulate(case)
    keys: dict[str, Any] = {"probe_modes": case.recipe_modes, "centre": "middle", **options}
    if case.plate != "unknown":
        keys["zone_plate"] = plate
    if case.plate == "start":
        keys["probe"] = "zone-plate"
    with tempfile.TemporaryDirectory() as name:
        home = Home(Path(name)).make()
        turned = replace(data, frames=stored(data.frames, truth))
        return orient_scan(turned.scan(home.data / "frames.h5"), Recipe.make(**keys), home=home)


def judge(report: OrientationReport, truth: Orientation) -> str:
    """Say in a word what came of it."""
    first = report.ranking[0]
    right = truth in (first.orientation, first.twin)
    if not report.decided:
        return "open" if right else "open, a wrong one ahead"
    if not right:
        return "WRONG CLASS"
    if report.orientation is None:
        return "right, twin open"
    return "right" if report.orientation == truth else "WRONG TWIN"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument("--stored", choices=["one", "all"], default="one")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows, wrong = [], 0
    print("| case | stored | found | iterations | lead | error: first, second | at the end | by | "
          "focus | correlation | finer | s |")  # fmt: skip
    print("| --- | --- | --- | ---: | ---: | --- | --- | --- | ---: | ---: | ---: | ---: |")
    for number, name in enumerate(options.only):
        truths = ORIENTATIONS if options.stored == "all" else (ORIENTATIONS[number % 8],)
        for truth in truths:
            report = run(CASES[name], truth, {"device": options.device})
            word = judge(report, truth)
            wrong += "WRONG" in word
            rows.append({"case": name, "stored": truth, "found": word, **report.to_dict()})
            print(_row(name, truth, word, report), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    print(f"\n{len(rows)} scans, {wrong} wrong, "
          f"{sum('open' in row['found'] for row in rows)} open in part or whole; the truth's class "
          f"is one of {len(CLASSES)}")  # fmt: skip
    return 1 if wrong else 0


def _row(name: str, truth: str, word: str, report: OrientationReport) -> str:
    first, second = (each.error_fourier for each in report.ranking[:2])
    twin = report.twin
    sharper = f"{max(twin.optics.ratio, 1 / twin.optics.ratio):.3g}" if twin else "–"
    correlation = f"{abs(twin.matter.correlation):.2f}" if twin else "–"
    finer = f"{twin.matter.finer:.1f}" if twin else "–"
    return (
        f"| {name} | {truth} | {word} | {report.iterations} | {report.lead:.0%} | {first:.4f}, "
        f"{second:.4f} | {report.settled_error:.4f} after {report.settled_iterations} | "
        f"{twin.by if twin else '–'} | {sharper} | {correlation} | {finer} | {report.seconds:.0f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
