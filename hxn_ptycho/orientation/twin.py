"""Which of an orientation and its twin: what the fit to the data cannot tell.

The twin's waves are the conjugate ones. Two things tell them apart: the optics, as a beam that
converges has a conjugate that diverges; and the sample, as matter that retards a wave absorbs it,
never gives it photons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..optics import propagate
from ..recipe import ZonePlate
from ..solver.metrics import align

Complex = NDArray[np.complexfloating]
Real = NDArray[np.float64]
#: "as it is": the waves are those of the orientation; "twin": of its twin; "open": not to be told.
Verdict = Literal["as it is", "twin", "open"]

#: How many times sharper the beam's focus must be on one side of the sample than on the other.
SHARPER = 1.5
#: The focus must be where the recipe says within this factor.
_NEAR = 2.0
_PLANES = 41  # on each side of the sample

#: Least correlation of absorption and retardation, in what is neither finer nor coarser than
#: `SCALES`. Of samples without any, up to 0.3 was seen there.
CORRELATION = 0.4
#: Least significance of it, in standard deviations from one part of the sample to the next.
SIGNIFICANCE = 4.0
#: Pixels: widths of the Gauss filters between which the picture is looked at.
SCALES = (1.5, 6.0)
#: How many times more absorption a phase may come with in what is finer. Where the beam is not
#: understood quite right (its defocus, its coherence), the picture is as if a little out of focus:
#: amplitude and phase are then mixed, with either sign, and the more the finer they are, as the
#: square. In matter the two go together at all scales.
FINER = (-0.5, 2.0)
_PARTS = 6  # of the picture, along each axis
_LEAST_PARTS = 9
_LIT = 0.2  # of the greatest illumination


@dataclass(frozen=True)
class Optics:
    """What the reconstructed beam says.

    Attributes
    ----------
    verdict : str
    expected_m : float, m
        Where the focus is by the recipe, downstream of the sample (+) or upstream (-).
    focus_m : float, m
        Where the reconstructed beam is sharpest.
    ratio : float
        How much sharper it is on the side of the sample where the recipe has the focus.
    reason : str
    """

    verdict: Verdict
    expected_m: float
    focus_m: float
    ratio: float
    reason: str


@dataclass(frozen=True)
class Matter:
    """What the reconstructed sample says.

    Attributes
    ----------
    verdict : str
    correlation : float
        Of the logarithm of the amplitude with the phase, -1 to 1, at `SCALES`; positive where what
        retards absorbs.
    significance : float
        The covariance over its error, from one part of the picture to the next.
    finer : float
        How many times more absorption a phase comes with in what is finer.
    skewness : float
        Of the phases; negative for matter in few places. Told, but nothing is decided by it: a
        film with holes has the other sign.
    reason : str
    """

    verdict: Verdict
    correlation: float
    significance: float
    finer: float
    skewness: float
    reason: str


def ask_optics(
    probe: Complex, pixel_m: tuple[float, float], wavelength_m: float, plate: ZonePlate | None
) -> Optics:
    """Carry the beam through its focus, and see on which side of the sample that is.

    Parameters
    ----------
    probe : ndarray (M, n, n), complex
        Of the orientation, all modes.
    pixel_m : (float, float), m
    wavelength_m : float, m
    plate : ZonePlate or None
        Of the recipe.
    """
    if plate is None or plate.defocus == 0:
        lacks = "no zone_plate" if plate is None else "no defocus in its zone_plate"
        return Optics("open", 0.0, 0.0, 1.0, f"the recipe has {lacks}")
    expected = -plate.defocus  # the sample is so far downstream of the focus
    distances = np.linspace(-_NEAR, _NEAR, 2 * _PLANES + 1) * abs(expected)
    sharp = np.array([_sharpness(propagate(probe, pixel_m, wavelength_m, z)) for z in distances])
    here = distances * np.sign(expected) >= abs(expected) / _NEAR
    there = distances * np.sign(expected) <= -abs(expected) / _NEAR
    ratio = float(sharp[here].max() / sharp[there].max())
    focus = float(distances[np.argmax(sharp)])
    said = (
        f"the beam is sharpest {_um(focus)} and {max(ratio, 1 / ratio):.2g} times as sharp there "
        f"as on the other side; by the recipe's zone_plate it should be {_um(expected)}"
    )
    if abs(focus) < abs(expected) / _NEAR or max(ratio, 1 / ratio) < SHARPER:
        return Optics("open", expected, focus, ratio, f"no clear focus: {said}")
    return Optics("as it is" if ratio > 1 else "twin", expected, focus, ratio, said)


def _sharpness(wave: Complex) -> float:
    """Return 1 over the number of pixels that the intensity of all modes fills."""
    light = np.sum(np.abs(wave) ** 2, axis=0)
    return float(np.sum(light**2) / np.sum(light) ** 2)


def _um(distance_m: float) -> str:
    return (
        f"{abs(distance_m) * 1e6:.3g} um {'down' if distance_m >= 0 else 'up'}stream of the sample"
    )


def ask_matter(obj: Complex, lit: NDArray[np.floating]) -> Matter:
    """See whether what retards the wave absorbs it.

    Parameters
    ----------
    obj : ndarray (H, W), complex
        Of the orientation.
    lit : ndarray (H, W)
        Its illumination.
    """
    enough = lit > _LIT * lit.max()
    flat, _ = align(np.ones_like(obj), obj, enough)
    phase = np.angle(flat * np.exp(-1j * np.angle(np.sum(flat[enough]))))
    amplitude = np.log(np.maximum(np.abs(flat), 1e-6))
    centred = phase[enough] - phase[enough].mean()
    spread = float(np.mean(centred**2))
    skewness = float(np.mean(centred**3) / spread**1.5) if spread > 0 else 0.0
    parts = _parts(enough)
    if len(parts) < _LEAST_PARTS:
        few = f"the picture is too small: {len(parts)} parts of it, of {_LEAST_PARTS}"
        return Matter("open", 0.0, 0.0, 0.0, skewness, few)
    smooth, coarse = (
        [_smooth(values, enough, scale) for values in (phase, amplitude)] for scale in SCALES
    )
    here = _Together.of(smooth[0] - coarse[0], smooth[1] - coarse[1], parts)
    fine = _Together.of(phase - smooth[0], amplitude - smooth[1], parts)
    finer = fine.slope / here.slope if here.slope else 0.0
    numbers = (
        f"correlation {here.correlation:+.2f}, {abs(here.significance):.1f} standard deviations "
        "from 0"
    )

    def answer(verdict: Verdict, reason: str) -> Matter:
        said = f"{reason}: {numbers}"
        return Matter(verdict, here.correlation, here.significance, finer, skewness, said)

    if abs(here.correlation) < CORRELATION or abs(here.significance) < SIGNIFICANCE:
        needed = f"(needed are {CORRELATION:g} and {SIGNIFICANCE:g})"
        return answer("open", f"absorption and retardation do not go together clearly {needed}")
    if not FINER[0] <= finer <= FINER[1]:
        return answer(
            "open",
            f"the picture seems out of focus, which mixes amplitude and phase ({finer:+.1f} times "
            "as much absorption with a phase in the finest of it)",
        )
    if here.correlation > 0:
        return answer("as it is", "what absorbs retards, as matter does")
    return answer("twin", "what absorbs would advance the wave, which matter does not")


@dataclass(frozen=True)
class _Together:
    """How phase and logarithm of the amplitude go together.

    Within each part of the picture by itself, so that neither ramps nor a drift of the beam count.
    """

    correlation: float
    significance: float
    slope: float

    @classmethod
    def of(
        cls, phase: Real, amplitude: Real, parts: list[tuple[NDArray[np.intp], ...]]
    ) -> _Together:
        pairs = [(phase[p] - phase[p].mean(), amplitude[p] - amplitude[p].mean()) for p in parts]
        both = np.array([np.mean(p * a) for p, a in pairs])
        phases = float(np.mean([np.mean(p**2) for p, _ in pairs]))
        amplitudes = float(np.mean([np.mean(a**2) for _, a in pairs]))
        error = float(both.std(ddof=1) / np.sqrt(len(both)))
        if min(phases, amplitudes, error) <= 0:
            return cls(0.0, 0.0, 0.0)
        mean = float(both.mean())
        return cls(mean / np.sqrt(phases * amplitudes), mean / error, mean / phases)


def _smooth(values: Real, where: NDArray[np.bool_], width: float) -> Real:
    """Return values smoothed over pixels `where` there are any."""
    weight = gaussian_filter(where.astype(float), width)
    smooth: Real = gaussian_filter(np.where(where, values, 0.0), width)
    return np.divide(smooth, weight, out=np.zeros_like(smooth), where=weight > 1e-3)


def _parts(enough: NDArray[np.bool_]) -> list[tuple[NDArray[np.intp], ...]]:
    """Return the indices of parts of the picture, those that are lit almost everywhere."""
    rows, columns = np.flatnonzero(enough.any(axis=1)), np.flatnonzero(enough.any(axis=0))
    parts: list[tuple[NDArray[np.intp], ...]] = []
    for row in np.array_split(np.arange(rows[0], rows[-1] + 1), _PARTS):
        for column in np.array_split(np.arange(columns[0], columns[-1] + 1), _PARTS):
            if min(len(row), len(column)) < 4:
                continue
            inside = enough[row[0] : row[-1] + 1, column[0] : column[-1] + 1]
            if inside.mean() > 0.7:
                y, x = np.nonzero(inside)
                parts.append((y + int(row[0]), x + int(column[0])))
    return parts
