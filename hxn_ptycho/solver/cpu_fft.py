"""Fourier transforms of the CPU device: many columns at once, along the lanes of the processor.

A plane (n, n) is kept as strips of `LANES` columns, each strip (n, 2, LANES): for every row
`LANES` real parts, then as many imaginary parts. A transform along the rows' axis then does the
same arithmetic on all lanes, in whole vectors, on a strip that fits the nearest cache. scipy's
transforms are built for any x86-64 (SSE2) and took two thirds of an iteration; these are compiled
by numba for the processor at hand and take less than half their time.

The transform is Stockham's (self-sorting, out of place), after Van Loan, "Computational Frameworks
for the Fast Fourier Transform" (1992), section 1.7, with radices 4, 2, 3, 5 and a plain sum for any
other prime factor.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

LANES = 16
_PAIR = 2 * LANES

FAST = {"contract", "reassoc", "nsz", "arcp"}


def strips_of(n: int) -> int:
    """Return how many strips hold n columns."""
    return -(-n // LANES)


def plan(n: int, real: type[np.floating]) -> tuple[NDArray[np.int64], NDArray, NDArray]:
    """Return radices and twiddle factors of a transform of n points.

    Returns
    -------
    radices : ndarray (S,), int64
    cosines, sines : ndarray, of type `real`
        ``exp(-2 pi i p q / length)`` of every stage: for each q = 1..radix-1 all p; a plain sum's
        stage is followed by the roots of unity of its radix.
    """
    radices, rest = [], n
    for radix in (4, 2, 3, 5):
        while rest % radix == 0:
            radices.append(radix)
            rest //= radix
    factor = 7
    while rest > 1:
        while rest % factor == 0:
            radices.append(factor)
            rest //= factor
        factor += 2
    angles, length = [np.zeros(0)], n
    for radix in radices:
        m = length // radix
        angles.extend(np.arange(m) * q / length for q in range(1, radix))
        if radix > 5:
            angles.append(np.arange(radix) / radix)
        length = m
    factors = np.exp(-2j * np.pi * np.concatenate(angles))
    return np.array(radices, np.int64), factors.real.astype(real), factors.imag.astype(real)


@njit(cache=True, fastmath=FAST, nogil=True)
def transform(a, b, n, radices, cosines, sines, sign):  # type: ignore[no-untyped-def]
    """Transform strip `a` along its n rows, unnormalised, with `b` as room; True if b has it.

    a, b: flat arrays of n 2 LANES numbers. sign: 1 forward, -1 backward, of the arrays' type.
    """
    length, stride, offset, in_b = n, 1, 0, False
    for radix in radices:
        m = length // radix
        x, y = (b, a) if in_b else (a, b)
        if radix == 4:
            _radix4(x, y, m, stride, cosines, sines, offset, sign)
        elif radix == 2:
            _radix2(x, y, m, stride, cosines, sines, offset, sign)
        elif radix == 3:
            _radix3(x, y, m, stride, cosines, sines, offset, sign)
        elif radix == 5:
            _radix5(x, y, m, stride, cosines, sines, offset, sign)
        else:
            _plain_sum(x, y, radix, m, stride, cosines, sines, offset, sign)
            offset += radix
        in_b = not in_b
        offset += (radix - 1) * m
        length = m
        stride *= radix
    return in_b


# In every stage element q + s (p + m k) of x, k = 0..r-1, gives q + s (r p + j) of y, j = 0..r-1.
# The indices are unsigned, so that numba adds no test for negative ones.


@njit(cache=True, fastmath=FAST, nogil=True)
def _radix2(x, y, m, s, cosines, sines, offset, sign):  # type: ignore[no-untyped-def]
    step, out = uint64(s * m * _PAIR), uint64(s * _PAIR)
    for p in range(m):
        c, d = cosines[offset + p], sign * sines[offset + p]
        for q in range(s):
            i0 = uint64((q + s * p) * _PAIR)
            i1 = i0 + step
            o0 = uint64((q + 2 * s * p) * _PAIR)
            o1 = o0 + out
            for lane in range(LANES):
                re = uint64(lane)
                im = re + uint64(LANES)
                ar, ai = x[i0 + re], x[i0 + im]
                br, bi = x[i1 + re], x[i1 + im]
                u, v = ar - br, ai - bi
                y[o0 + re] = ar + br
                y[o0 + im] = ai + bi
                y[o1 + re] = u * c - v * d
                y[o1 + im] = u * d + v * c


@njit(cache=True, fastmath=FAST, nogil=True)
def _radix3(x, y, m, s, cosines, sines, offset, sign):  # type: ignore[no-untyped-def]
    half = x.dtype.type(0.5)
    root = sign * x.dtype.type(0.8660254037844386)  # sqrt(3) / 2
    step, out = uint64(s * m * _PAIR), uint64(s * _PAIR)
    for p in range(m):
        c1, d1 = cosines[offset + p], sign * sines[offset + p]
        c2, d2 = cosines[offset + m + p], sign * sines[offset + m + p]
        for q in range(s):
            i0 = uint64((q + s * p) * _PAIR)
            i1 = i0 + step
            i2 = i1 + step
            o0 = uint64((q + 3 * s * p) * _PAIR)
            o1 = o0 + out
            o2 = o1 + out
            for lane in range(LANES):
                re = uint64(lane)
                im = re + uint64(LANES)
                zr, zi = x[i0 + re], x[i0 + im]
                ar, ai = x[i1 + re], x[i1 + im]
                br, bi = x[i2 + re], x[i2 + im]
                tr, ti = ar + br, ai + bi
                dr, di = root * (ai - bi), root * (br - ar)
                er, ei = zr - half * tr, zi - half * ti
                y[o0 + re] = zr + tr
                y[o0 + im] = zi + ti
                u, v = er + dr, ei + di
                y[o1 + re] = u * c1 - v * d1
                y[o1 + im] = u * d1 + v * c1
                u, v = er - dr, ei - di
                y[o2 + re] = u * c2 - v * d2
                y[o2 + im] = u * d2 + v * c2


@njit(cache=True, fastmath=FAST, nogil=True)
def _radix4(x, y, m, s, cosines, sines, offset, sign):  # type: ignore[no-untyped-def]
    step, out = uint64(s * m * _PAIR), uint64(s * _PAIR)
    for p in range(m):
        c1, d1 = cosines[offset + p], sign * sines[offset + p]
        c2, d2 = cosines[offset + m + p], sign * sines[offset + m + p]
        c3, d3 = cosines[offset + 2 * m + p], sign * sines[offset + 2 * m + p]
        for q in range(s):
            i0 = uint64((q + s * p) * _PAIR)
            i1 = i0 + step
            i2 = i1 + step
            i3 = i2 + step
            o0 = uint64((q + 4 * s * p) * _PAIR)
            o1 = o0 + out
            o2 = o1 + out
            o3 = o2 + out
            for lane in range(LANES):
                re = uint64(lane)
                im = re + uint64(LANES)
                er, ei = x[i0 + re] + x[i2 + re], x[i0 + im] + x[i2 + im]
                fr, fi = x[i0 + re] - x[i2 + re], x[i0 + im] - x[i2 + im]
                gr, gi = x[i1 + re] + x[i3 + re], x[i1 + im] + x[i3 + im]
                hr, hi = sign * (x[i1 + im] - x[i3 + im]), sign * (x[i3 + re] - x[i1 + re])
                y[o0 + re] = er + gr
                y[o0 + im] = ei + gi
                u, v = er - gr, ei - gi
                y[o2 + re] = u * c2 - v * d2
                y[o2 + im] = u * d2 + v * c2
                u, v = fr + hr, fi + hi
                y[o1 + re] = u * c1 - v * d1
                y[o1 + im] = u * d1 + v * c1
                u, v = fr - hr, fi - hi
                y[o3 + re] = u * c3 - v * d3
                y[o3 + im] = u * d3 + v * c3


@njit(cache=True, fastmath=FAST, nogil=True)
def _radix5(x, y, m, s, cosines, sines, offset, sign):  # type: ignore[no-untyped-def]
    k1 = x.dtype.type(0.30901699437494745)  # cos(2 pi / 5)
    k2 = x.dtype.type(-0.8090169943749475)  # cos(4 pi / 5)
    s1 = sign * x.dtype.type(0.9510565162951535)  # sin(2 pi / 5)
    s2 = sign * x.dtype.type(0.5877852522924731)  # sin(4 pi / 5)
    step, out = uint64(s * m * _PAIR), uint64(s * _PAIR)
    for p in range(m):
        c1, d1 = cosines[offset + p], sign * sines[offset + p]
        c2, d2 = cosines[offset + m + p], sign * sines[offset + m + p]
        c3, d3 = cosines[offset + 2 * m + p], sign * sines[offset + 2 * m + p]
        c4, d4 = cosines[offset + 3 * m + p], sign * sines[offset + 3 * m + p]
        for q in range(s):
            i0 = uint64((q + s * p) * _PAIR)
            i1 = i0 + step
            i2 = i1 + step
            i3 = i2 + step
            i4 = i3 + step
            o0 = uint64((q + 5 * s * p) * _PAIR)
            o1 = o0 + out
            o2 = o1 + out
            o3 = o2 + out
            o4 = o3 + out
            for lane in range(LANES):
                re = uint64(lane)
                im = re + uint64(LANES)
                zr, zi = x[i0 + re], x[i0 + im]
                ur, ui = x[i1 + re], x[i1 + im]
                vr, vi = x[i2 + re], x[i2 + im]
                wr, wi = x[i3 + re], x[i3 + im]
                xr, xi = x[i4 + re], x[i4 + im]
                ar, ai = ur + xr, ui + xi
                br, bi = vr + wr, vi + wi
                er, ei = ui - xi, xr - ur
                fr, fi = vi - wi, wr - vr
                gr, gi = zr + k1 * ar + k2 * br, zi + k1 * ai + k2 * bi
                hr, hi = zr + k2 * ar + k1 * br, zi + k2 * ai + k1 * bi
                tr, ti = s1 * er + s2 * fr, s1 * ei + s2 * fi
                wr, wi = s2 * er - s1 * fr, s2 * ei - s1 * fi
                y[o0 + re] = zr + ar + br
                y[o0 + im] = zi + ai + bi
                u, v = gr + tr, gi + ti
                y[o1 + re] = u * c1 - v * d1
                y[o1 + im] = u * d1 + v * c1
                u, v = hr + wr, hi + wi
                y[o2 + re] = u * c2 - v * d2
                y[o2 + im] = u * d2 + v * c2
                u, v = hr - wr, hi - wi
                y[o3 + re] = u * c3 - v * d3
                y[o3 + im] = u * d3 + v * c3
                u, v = gr - tr, gi - ti
                y[o4 + re] = u * c4 - v * d4
                y[o4 + im] = u * d4 + v * c4


@njit(cache=True, fastmath=FAST, nogil=True)
def _plain_sum(x, y, radix, m, s, cosines, sines, offset, sign):  # type: ignore[no-untyped-def]
    roots = offset + (radix - 1) * m
    total = np.empty(_PAIR, x.dtype)
    for p in range(m):
        for j in range(radix):
            c, d = x.dtype.type(1), x.dtype.type(0)
            if j > 0:
                c, d = cosines[offset + (j - 1) * m + p], sign * sines[offset + (j - 1) * m + p]
            for q in range(s):
                total[:] = 0
                for k in range(radix):
                    i = uint64((q + s * (p + m * k)) * _PAIR)
                    turn = roots + (j * k) % radix
                    f, g = cosines[turn], sign * sines[turn]
                    for lane in range(LANES):
                        re = uint64(lane)
                        im = re + uint64(LANES)
                        total[re] += x[i + re] * f - x[i + im] * g
                        total[im] += x[i + re] * g + x[i + im] * f
                o = uint64((q + s * (radix * p + j)) * _PAIR)
                for lane in range(LANES):
                    re = uint64(lane)
                    im = re + uint64(LANES)
                    y[o + re] = total[re] * c - total[im] * d
                    y[o + im] = total[re] * d + total[im] * c


@njit(cache=True, fastmath=FAST, nogil=True)
def turn_strip(strip, plane, c, n):  # type: ignore[no-untyped-def]
    """Write strip `c` (flat) of a plane as rows c LANES... of the turned plane's strips.

    plane: flat, strips of the turned plane one after the other, each (n, 2, LANES).
    """
    columns = min(LANES, n - c * LANES)
    for first in range(0, n, LANES):
        rows = min(LANES, n - first)
        base = uint64((first // LANES * n + c * LANES) * _PAIR)
        if rows == LANES and columns == LANES:
            for column in range(LANES):
                target = base + uint64(column * _PAIR)
                for row in range(2 * LANES):
                    # Real parts of LANES rows, then imaginary parts: element (first + row, column).
                    part, r = row // LANES, row % LANES
                    source = uint64((first + r) * _PAIR + part * LANES + column)
                    plane[target + uint64(row)] = strip[source]
        else:
            for column in range(columns):
                target = base + uint64(column * _PAIR)
                for row in range(rows):
                    source = uint64((first + row) * _PAIR + column)
                    plane[target + uint64(row)] = strip[source]
                    plane[target + uint64(row + LANES)] = strip[source + uint64(LANES)]
