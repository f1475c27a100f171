"""What came of it, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ..solver.orientation import Orientation, compose, inverse, twin
from .pictures import Picture
from .twin import Matter, Optics


@dataclass(frozen=True)
class Ranked:
    """A class in the ranking.

    Attributes
    ----------
    orientation, twin : str
        The two that fit equally well.
    error_fourier : float
        Of the best of its reconstructions, when it was decided (or at the last iteration).
    start : str
        The first probe of that one.
    picture : Picture or None
        What it gave in the end.
    """

    orientation: Orientation
    twin: Orientation
    error_fourier: float
    start: str
    picture: Picture | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Twin:
    """How an orientation was told from its twin.

    Attributes
    ----------
    chosen : str or None
        The orientation; None: open.
    by : str
        "optics", "matter", "optics and matter", "contradiction", or "nothing".
    reason : str
    optics : Optics
    matter : Matter
    """

    chosen: Orientation | None
    by: str
    reason: str
    optics: Optics
    matter: Matter


@dataclass(frozen=True)
class OrientationReport:
    """Which way round the frames of a scan are.

    Attributes
    ----------
    raw_uid, scan_id : str, int
    views, views_of_scan : int
        Looked at, and in all.
    ranking : tuple of Ranked
        The four classes, best first.
    decided : bool
        Whether the first was clearly and steadily ahead.
    lead : float
        By how much, as a share of the second's error, at the iteration where that was decided (or
        the last).
    iterations : int
        How many that took.
    settled_error : float
        ``error_fourier`` of the first at the end: it goes on until it falls no more.
    settled_iterations : int
    twin : Twin or None
        None unless decided.
    present : str
        The orientation that the run has now, by hxn.toml.
    detector : str
        Its name in hxn.toml; empty if it is not known.
    seconds : float
    """

    raw_uid: str
    scan_id: int
    views: int
    views_of_scan: int
    ranking: tuple[Ranked, ...]
    decided: bool
    lead: float
    iterations: int
    settled_error: float
    settled_iterations: int
    twin: Twin | None
    present: Orientation
    detector: str
    seconds: float

    @property
    def orientation(self) -> Orientation | None:
        """The one of eight; None as long as class or twin is open."""
        return self.twin.chosen if self.twin else None

    @property
    def lines(self) -> tuple[str, ...]:
        """What to write into hxn.toml, one or the other line where the twin is open."""
        if not self.decided:
            return ()
        first = self.ranking[0]
        names = [self.orientation] if self.orientation else [first.orientation, first.twin]
        return tuple(f'orientation = "{name}"' for name in names)

    @property
    def advice(self) -> tuple[str, ...]:
        """What it means and what to do, a sentence or two each."""
        if not self.decided:
            return (
                f"Open: after {self.iterations} iterations no class is clearly and steadily ahead "
                f"(the best by {self.lead:.1%}). Take a scan with more in the beam or more "
                "overlap, give the beam (zone_plate with its defocus), or allow more views or "
                "iterations.",
            )
        said = [self._where()]
        if self.twin and self.orientation is None:
            said.append(_HOW_TO_SETTLE)
        said.append(self._directions())
        return tuple(said)

    def _where(self) -> str:
        if self.orientation == self.present:
            return f'It is what is used now: orientation = "{self.present}".'
        which = " or ".join(self.lines)
        if not self.detector:
            return f"The run's detector is not in hxn.toml; in the recipe: {which}"
        return f"In HOME/hxn.toml, under [detectors.{self.detector}]: {which}"

    def _directions(self) -> str:
        """Say what else would look the same."""
        found = self.orientation or self.ranking[0].orientation
        change = compose(inverse(self.present), found)
        taken = "This takes the directions of the stages in hxn.toml as right."
        if change in ("flip_y", "flip_x"):
            return (
                f"{taken} The frames as they are now and the direction of one stage with the "
                "other sign would fit as well: which of the two is wrong the data cannot tell."
            )
        if change == "rot180":
            return (
                f"{taken} Both with the other sign are the same as the twin, with the picture "
                "turned by 180 degrees."
            )
        return (
            f"{taken} One with the wrong sign is the same as frames flipped, both are the same "
            "as the twin."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures, for JSON."""
        ranking = [
            {
                "orientation": each.orientation,
                "twin": each.twin,
                "error_fourier": each.error_fourier,
                "start": each.start,
            }
            for each in self.ranking
        ]
        return {
            "raw_uid": self.raw_uid,
            "scan_id": self.scan_id,
            "views": self.views,
            "views_of_scan": self.views_of_scan,
            "decided": self.decided,
            "orientation": self.orientation,
            "present": self.present,
            "detector": self.detector,
            "lead": self.lead,
            "iterations": self.iterations,
            "settled_error": self.settled_error,
            "settled_iterations": self.settled_iterations,
            "ranking": ranking,
            "twin": asdict(self.twin) if self.twin else None,
            "hxn_toml": list(self.lines),
            "advice": list(self.advice),
            "seconds": self.seconds,
        }


_HOW_TO_SETTLE = (
    "The twin's picture is the same with its phase inverted. To settle it: a recipe with "
    "zone_plate and the sign of its defocus (sample downstream of the focus: +), the sample well "
    "out of focus; a sample that absorbs; or a sample of which it is known where it is thicker: "
    "its phase is lower there."
)


def settle(orientation: Orientation, optics: Optics, matter: Matter) -> Twin:
    """Say which of an orientation and its twin it is, from what optics and matter say.

    Parameters
    ----------
    orientation : str
        That of which `optics` and `matter` speak.
    """
    of = {"as it is": orientation, "twin": twin(orientation), "open": None}
    by_optics, by_matter = of[optics.verdict], of[matter.verdict]
    if by_optics and by_matter and by_optics != by_matter:
        reason = (
            f"the optics say {by_optics}: {optics.reason}. The sample says {by_matter}: "
            f"{matter.reason}. One of the two is misleading: see whether the sign of "
            "zone_plate.defocus is right (sample downstream of the focus: +)"
        )
        return Twin(None, "contradiction", reason, optics, matter)
    as_it_was = f"reconstructed as {orientation}, "
    if by_optics:
        also = f"; the sample agrees: {matter.reason}" if by_matter else ""
        by = "optics and matter" if by_matter else "optics"
        return Twin(by_optics, by, f"{as_it_was}{optics.reason}{also}", optics, matter)
    if by_matter:
        reason = f"{as_it_was}{matter.reason} (by the optics it is open: {optics.reason})"
        return Twin(by_matter, "matter", reason, optics, matter)
    return Twin(
        None, "nothing", f"by the optics: {optics.reason}; by the sample: {matter.reason}",
        optics, matter,
    )  # fmt: skip
