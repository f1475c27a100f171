"""The loops of the CPU device over one view, compiled by numba; the FFTs between are scipy's.

Every loop runs over whole rows of a view, whose work arrays stay in the cache; the exit waves
themselves pass through memory once in and once out a call. Compiled code is cached on disk, so
that a second start compiles nothing.
"""

from __future__ import annotations

import numpy as np

try:
    from numba import njit
except ImportError as error:
    raise ImportError(
        "the CPU device needs numba, which this Python lacks: pip install numba"
    ) from error

# Sums may be reordered and contracted; NaN and infinity keep their meaning, so that a blow-up
# is seen and not optimised away.
_FAST = {"contract", "reassoc", "nsz", "arcp"}


@njit(cache=True, fastmath=_FAST, nogil=True)
def trial(work, psi, probe, obj, row, column, product, wave):  # type: ignore[no-untyped-def]
    """``work_kl = product P_k O_l + wave psi_kl`` for the view at (row, column).

    work, psi (M_O M_P, n, n); probe (M_P, n, n); obj (M_O, H, W).
    """
    modes, n, _ = probe.shape
    for l in range(obj.shape[0]):
        for k in range(modes):
            for y in range(n):
                p = probe[k, y]
                o = obj[l, row + y, column : column + n]
                s = psi[l * modes + k, y]
                w = work[l * modes + k, y]
                for x in range(n):
                    w[x] = product * (p[x] * o[x]) + wave * s[x]


@njit(cache=True, fastmath=_FAST, nogil=True)
def constrain(work, counts, scale, measured, intensity, constrained, free):  # type: ignore[no-untyped-def]
    """Eq. (4), mixed: ``V <- (constrained f + free) V / n^2``, ``f = sqrt(I / sum |V|^2)``.

    work (M, n, n) holds F(...) without its factor 1/n, and the inverse transform leaves its own
    out too: hence the 1/n^2. f is 1 where not measured, and V is 0 where the sum is 0.
    intensity (n,) is room for a row of ``sum |V|^2``.
    """
    modes, n, _ = work.shape
    norm = intensity.dtype.type(1.0 / (n * n))
    factor = intensity.dtype.type(scale * n * n)
    for y in range(n):
        intensity[:] = 0
        for k in range(modes):
            w = work[k, y]
            for x in range(n):
                intensity[x] += w[x].real * w[x].real + w[x].imag * w[x].imag
        c = counts[y]
        m = measured[y]
        for x in range(n):
            s = intensity[x]
            wanted = np.sqrt(factor * intensity.dtype.type(c[x]) / s) if s > 0 else s
            f = wanted if m[x] else intensity.dtype.type(1)
            intensity[x] = (constrained * f + free) * norm
        for k in range(modes):
            w = work[k, y]
            for x in range(n):
                w[x] = w[x] * intensity[x]


@njit(cache=True, fastmath=_FAST, nogil=True)
def move(psi, work, keep):  # type: ignore[no-untyped-def]
    """``psi <- keep psi + work``."""
    for k in range(psi.shape[0]):
        for y in range(psi.shape[1]):
            s = psi[k, y]
            w = work[k, y]
            for x in range(psi.shape[2]):
                s[x] = keep * s[x] + w[x]


@njit(cache=True, fastmath=_FAST, nogil=True)
def add_to_probe(numerator, psi, obj, row, column):  # type: ignore[no-untyped-def]
    """Eq. (5): ``numerator_k += sum_l conj(O_l) psi_kl`` of one view."""
    modes, n, _ = numerator.shape
    for l in range(obj.shape[0]):
        for k in range(modes):
            for y in range(n):
                o = obj[l, row + y, column : column + n]
                s = psi[l * modes + k, y]
                a = numerator[k, y]
                for x in range(n):
                    a[x] += np.conj(o[x]) * s[x]


@njit(cache=True, fastmath=_FAST, nogil=True)
def move_and_add_to_probe(psi, work, keep, numerator, obj, row, column):  # type: ignore[no-untyped-def]
    """`move` and `add_to_probe` in one pass over the exit waves."""
    modes, n, _ = numerator.shape
    for l in range(obj.shape[0]):
        for k in range(modes):
            for y in range(n):
                o = obj[l, row + y, column : column + n]
                s = psi[l * modes + k, y]
                w = work[l * modes + k, y]
                a = numerator[k, y]
                for x in range(n):
                    moved = keep * s[x] + w[x]
                    s[x] = moved
                    a[x] += np.conj(o[x]) * moved


@njit(cache=True, fastmath=_FAST, nogil=True)
def add_to_object(numerator, psi, probe, row, column):  # type: ignore[no-untyped-def]
    """Eq. (6): ``numerator_l += sum_k conj(P_k) psi_kl`` of one view."""
    modes, n, _ = probe.shape
    for l in range(numerator.shape[0]):
        for y in range(n):
            a = numerator[l, row + y, column : column + n]
            for k in range(modes):
                p = probe[k, y]
                s = psi[l * modes + k, y]
                for x in range(n):
                    a[x] += np.conj(p[x]) * s[x]


@njit(cache=True, fastmath=_FAST, nogil=True)
def add_windows(density, intensity, positions):  # type: ignore[no-untyped-def]
    """Add `intensity` (n, n) at every position: the denominator of eq. (6)."""
    n = intensity.shape[0]
    for j in range(positions.shape[0]):
        row, column = positions[j]
        for y in range(n):
            a = density[row + y, column : column + n]
            i = intensity[y]
            for x in range(n):
                a[x] += i[x]


@njit(cache=True, fastmath=_FAST, nogil=True)
def sum_windows(total, density, positions):  # type: ignore[no-untyped-def]
    """Sum the windows of `density` (H, W) at every position: the denominator of eq. (5)."""
    n = total.shape[0]
    for j in range(positions.shape[0]):
        row, column = positions[j]
        for y in range(n):
            a = total[y]
            i = density[row + y, column : column + n]
            for x in range(n):
                a[x] += i[x]


@njit(cache=True, fastmath=_FAST, nogil=True)
def misfit(work, counts, scale, measured, intensity):  # type: ignore[no-untyped-def]
    """Return ``sum (sqrt I - sqrt(sum |F P O|^2))^2`` and ``sum I`` of one view, measured pixels.

    work (M, n, n) holds F(PO) without its factor 1/n.
    """
    modes, n, _ = work.shape
    wrong = 0.0
    total = 0.0
    norm = 1.0 / (n * n)
    for y in range(n):
        intensity[:] = 0
        for k in range(modes):
            w = work[k, y]
            for x in range(n):
                intensity[x] += w[x].real * w[x].real + w[x].imag * w[x].imag
        for x in range(n):
            if measured[y, x]:
                wanted = scale * counts[y, x]
                difference = np.sqrt(wanted) - np.sqrt(norm * intensity[x])
                wrong += difference * difference
                total += wanted
    return wrong, total
