"""Reconstructions side by side, each a job of its own, until enough is known of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..home import Home
from ..launch import Engine, LaunchError, Place, Program
from ..prepare import prepare
from ..recipe import Recipe
from ..scan import Scan
from ..solver.job import CHECKPOINT_FILE, Inputs, Job, read_array, read_progress
from ..solver.metrics import illumination
from ..solver.orientation import Orientation
from .pictures import Picture

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.05


class OrientError(RuntimeError):
    """The orientation cannot be looked for; the message says why."""


@dataclass
class Candidate:
    """One reconstruction: an orientation (of a class the first) and a first probe.

    Attributes
    ----------
    orientation : str
    start : str
        What its first probe is, in a word or two.
    recipe : Recipe
    folder : Path
        Its job folder.
    errors : dict
        Iteration -> ``error_fourier``.
    iteration : int
        The last that was seen.
    ended : bool
        It has been ended, or came to its end.
    """

    orientation: Orientation
    start: str
    recipe: Recipe
    folder: Path
    errors: dict[int, float] = field(default_factory=dict)
    iteration: int = 0
    ended: bool = False
    _program: Program | None = None
    _offset: int = 0

    def prepare(self, scan: Scan, home: Home) -> None:
        """Make its job folder."""
        name = self.folder.name
        prepare(scan, self.recipe, self.folder, job_uid=name, derived_uid=name, home=home)

    def launch(self, engine: Engine, place: Place) -> None:
        """Start it."""
        ranks = int(Job.read(self.folder).recipe["ranks"])
        self._program = engine.launch(self.folder, ranks, place)

    def look(self) -> bool:
        """Read what is new; return whether there is anything.

        Raises
        ------
        OrientError
            If it failed.
        """
        assert self._program is not None
        if self.ended:
            return False
        over = self._program.poll() is not None  # asked first: its last lines are then there
        lines, self._offset = read_progress(self.folder, self._offset)
        for line in lines:
            if line["event"] == "iteration":
                self.iteration = line["iteration"]
                # The solver's first value comes before its beat, every tenth iteration.
                if line["error_fourier"] is not None and self.iteration > 1:
                    self.errors[self.iteration] = line["error_fourier"]
        if over:
            self.ended = True
            if self._program.reason:
                raise OrientError(
                    f"the reconstruction with orientation {self.orientation} failed: "
                    f"{self._program.reason}"
                )
        return bool(lines) or over

    def end(self) -> None:
        """End it, if it still runs."""
        if self._program is not None and self._program.poll() is None:
            self._program.terminate()
        self.ended = True

    def picture(self) -> Picture | None:
        """Return probe and object as last written; None before."""
        if not (self.folder / CHECKPOINT_FILE).exists():
            return None
        probe, _ = read_array(f"{CHECKPOINT_FILE}:/probe", self.folder)
        obj, origin = read_array(f"{CHECKPOINT_FILE}:/object", self.folder)
        job, inputs = Job.read(self.folder), Inputs.read(self.folder)
        assert origin is not None  # the solver says where its object is
        places = (inputs.positions_m - origin) / job.object_pixel_m
        corners = np.rint(places).astype(np.intp) - job.fft_window // 2
        lit = illumination(probe, corners, (obj.shape[1], obj.shape[2]))
        return Picture(obj[0], probe, lit, job.object_pixel_m, job.wavelength_m)


class Contest:
    """All candidates, running side by side in the places that could be had; a context manager.

    Parameters
    ----------
    candidates : list of Candidate
        Prepared.
    engine : Engine
    device : str
    ranks : int
        Of each.
    interrupt : callable
        Is called some times a second; what it raises ends all.
    """

    def __init__(
        self,
        candidates: list[Candidate],
        engine: Engine,
        device: str,
        ranks: int,
        interrupt: Callable[[], object],
    ) -> None:
        self.candidates = candidates
        self._engine, self._device, self._ranks = engine, device, ranks
        self._interrupt = interrupt
        self._places: list[Place] = []

    def start(self, waiting: Callable[[str], object]) -> None:
        """Take one place a candidate, or as many as are free but at least one, and start all.

        Small jobs of one measurement may share a place with each other: nobody else is in it.
        """
        said = ""
        while not self._places:
            while len(self._places) < len(self.candidates):
                place = self._engine.take(self._device, self._ranks)
                if place is None:
                    break
                self._places.append(place)
            if not self._places:
                if (busy := self._engine.busy(self._device, self._ranks)) != said:
                    said = busy
                    waiting(busy)
                self._interrupt()
                time.sleep(0.1)
        for number, candidate in enumerate(self.candidates):
            candidate.launch(self._engine, self._places[number % len(self._places)])
            if number == 0 and self._engine.starts_early:
                self._wait_for(candidate)

    def _wait_for(self, first: Candidate) -> None:
        """Wait until one computes: on a new machine it compiles, which not all need to do."""
        while not first.iteration and not first.ended:
            self._interrupt()
            time.sleep(_POLL_SECONDS)
            first.look()

    def follow(self, enough: Callable[[], bool], seen: Callable[[Candidate], object]) -> None:
        """Follow them until `enough` says so, or all have ended.

        Parameters
        ----------
        enough : callable
            Asked whenever anything is new.
        seen : callable
            Gets each candidate of which something is new.
        """
        while not all(each.ended for each in self.candidates):
            new = [each for each in self.candidates if each.look()]
            for each in new:
                seen(each)
            if new and enough():
                return
            self._interrupt()
            time.sleep(_POLL_SECONDS)

    def __enter__(self) -> Contest:
        return self

    def __exit__(self, *_: object) -> None:
        for candidate in self.candidates:
            try:
                candidate.end()
            except LaunchError as error:  # Slurm does not answer: the others are to end too
                log.error("orientation %s: %s", candidate.orientation, error)
        for place in self._places:
            place.release()
