"""One search for an orientation, from the scan to the report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..beamline import load_config
from ..beamline.detectors import named_detectors
from ..home import Home
from ..launch import Engine, engine_of
from ..prepare import choose_device
from ..recipe import Recipe
from ..scan import Scan
from ..solver.orientation import CLASSES
from .contest import Candidate, Contest, OrientError
from .pictures import Picture
from .report import OrientationReport, Ranked, Twin, settle
from .standing import LEAD, SETTLED, Standing, decided, settled, standings
from .starts import choose_part
from .twin import Optics, ask_matter, ask_optics

_MOST = 12  # reconstructions side by side: four classes from up to three first probes
EVERY = 10  # iterations from one value of the error to the next

Listener = Callable[[dict[str, Any]], object]


class Work:
    """The state of one search for an orientation, step by step.

    Parameters
    ----------
    scan : Scan
    recipe : Recipe
    home : Home
    folder : Path
        For job folders; removed by the caller.
    limit : int
        Most iterations.
    """

    def __init__(self, scan: Scan, recipe: Recipe, home: Home, folder: Path, limit: int) -> None:
        self._begun = time.monotonic()
        self.scan = scan
        self.home = home
        self.folder = folder
        self.engine = engine_of(home.config())
        device = choose_device(recipe, self.engine)
        self.recipe = recipe.merge(
            {
                # The difference map hovers over noisy frames, and a wrong one may be ahead for a
                # moment; this one settles.
                "algorithm": "RAAR",
                "beta": 0.75,
                "iterations": EVERY * math.ceil(limit / EVERY),
                "error_every": EVERY,
                "checkpoint_every": EVERY,
                "average_start": 1.0,
                # Of an earlier result or a clamp, the twin could not be the conjugate.
                "object": "ones",
                "object_amplitude": None,
                "object_phase": None,
                "device": device,
                "ranks": _ranks(recipe, device, self.engine),
            }
        )
        self.part = scan
        self.candidates: list[Candidate] = []
        self.stood: list[Standing] = []
        self.decided = False

    def prepare(self, views: int) -> None:
        """Choose the part of the scan and the first probes, and make the job folders."""
        part = choose_part(self.scan, self.recipe, views, self.home, self.folder)
        self.part = part.scan
        for orientation, _ in CLASSES:
            for name, changes in part.starts(orientation).items():
                recipe = part.recipe.merge({**changes, "orientation": orientation})
                folder = self.folder / f"{orientation}-{name}"
                candidate = Candidate(orientation, name, recipe, folder)
                candidate.prepare(self.part, self.home)
                self.candidates.append(candidate)

    def run(self, progress: Listener, interrupt: Callable[[], object]) -> None:
        """Reconstruct until one class is ahead, and that one until it has settled."""

        def waiting(reason: str) -> None:
            progress({"event": "waiting", "reason": reason})

        def seen(candidate: Candidate) -> None:
            progress(
                {
                    "event": "class",
                    "orientation": candidate.orientation,
                    "iteration": candidate.iteration,
                    "iterations": self.recipe.iterations,
                    "error_fourier": self._error(candidate.orientation),
                }
            )

        device, ranks = str(self.recipe.device), int(self.recipe.ranks)
        with Contest(self.candidates, self.engine, device, ranks, interrupt) as contest:
            contest.start(waiting)
            contest.follow(self._is_decided, seen)
            if self.decided:
                first = self.stood[-1].best
                at = self.stood[-1].iteration
                progress({"event": "decided", "orientation": first, "iteration": at})
                best = self._best(first)
                for candidate in self.candidates:
                    if candidate.orientation != first or not _alike(candidate, best, LEAD):
                        candidate.end()
                contest.follow(lambda: settled(best.errors), seen)

    def _is_decided(self) -> bool:
        curves = {
            first: [each.errors for each in self.candidates if each.orientation == first]
            for first, _ in CLASSES
        }
        self.stood = standings(curves)
        self.decided = decided(self.stood)
        return self.decided

    def _best(self, orientation: str) -> Candidate:
        """Return the best candidate of a class at the last iteration that all have reached."""
        at = self.stood[-1].iteration if self.stood else 0
        return min(
            (each for each in self.candidates if each.orientation == orientation),
            key=lambda each: each.errors.get(at, math.inf),
        )

    def _error(self, orientation: str) -> float | None:
        errors = [
            each.errors[max(each.errors)]
            for each in self.candidates
            if each.orientation == orientation and each.errors
        ]
        return min(errors, default=None)

    def report(self) -> OrientationReport:
        """Return what came of it."""
        if not self.stood:
            raise OrientError(
                f"{self.recipe.iterations} iterations are too few: the first error that counts "
                f"comes after {EVERY}"
            )
        last = self.stood[-1]
        other = dict(CLASSES)
        ranking = []
        for orientation, error in last.errors.items():
            best = self._best(orientation)
            ranking.append(
                Ranked(orientation, other[orientation], error, best.start, best.picture())
            )
        first = self._best(last.best).errors
        return OrientationReport(
            raw_uid=self.scan.uid,
            scan_id=self.scan.scan_id,
            views=self.part.number_of_frames,
            views_of_scan=self.scan.number_of_frames,
            ranking=tuple(ranking),
            decided=self.decided,
            lead=last.lead,
            iterations=last.iteration,
            settled_error=first[max(first)],
            settled_iterations=max(first),
            twin=self._twin() if self.decided else None,
            present=self.scan.orientation,
            detector=_detector(self.scan, self.home),
            seconds=time.monotonic() - self._begun,
        )

    def _twin(self) -> Twin:
        """Return what tells the best class from its twin."""
        first = self.stood[-1].best
        best = self._best(first)
        picture = best.picture()
        assert picture is not None  # it is written with every value of the error
        optics = self._ask_optics(picture)
        # Several first probes may have led to fits that are as good; they must then agree.
        for other in self.candidates:
            if other.orientation == first and other is not best and _alike(other, best, SETTLED):
                seen = other.picture()
                assert seen is not None
                also = self._ask_optics(seen)
                if also.verdict != optics.verdict:
                    reason = (
                        f"two fits are as good ({best.start}: {optics.reason}; {other.start}: "
                        f"{also.reason})"
                    )
                    optics = replace(optics, verdict="open", reason=reason)
        return settle(first, optics, ask_matter(picture.object, picture.lit))

    def _ask_optics(self, picture: Picture) -> Optics:
        plate = self.recipe.zone_plate
        return ask_optics(picture.probe, picture.pixel_m, picture.wavelength_m, plate)


def _alike(a: Candidate, b: Candidate, share: float) -> bool:
    """Whether two errors differ by less than this share, at the last iteration that both have."""
    at = max(set(a.errors) & set(b.errors))
    return abs(a.errors[at] - b.errors[at]) < share * b.errors[at]


def _ranks(recipe: Recipe, device: str, engine: Engine) -> int:
    """Return the ranks of each reconstruction: all of them share what there is."""
    if recipe.ranks != "auto":
        return int(recipe.ranks)
    # Elsewhere, a job of a hundred views is for one core or GPU too.
    return max(1, engine.ranks(device) // _MOST) if engine.on_this_host() else 1


def _detector(scan: Scan, home: Home) -> str:
    """Return the table of hxn.toml for the scan's detector; empty if the scan names none."""
    config = load_config(home)
    for named in named_detectors(scan.start):
        for table in config.detectors:
            if named == table or named in config.data_keys(table):
                return table
    return ""
