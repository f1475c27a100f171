"""The loops of the CPU device over one view, compiled by numba.

Inside the device every image is turned, [x, y], and kept in strips as `cpu_fft` wants them: arrays
that end in (S, n, 2, LANES) are S strips of n rows x, each LANES pixels y real, then imaginary; the
lanes beyond n are 0 and stay 0. Objects are (M_O, 2, W, H + LANES), as a window's lanes may start
anywhere. Spectra come out turned back, [ky, kx], as the counts are on file.

Exit waves pass through memory once in and once out; all else of a view stays in the caches.
Compiled code is cached on disk, so that a second start compiles nothing.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from .cpu_fft import FAST, LANES, strips_of, transform, turn_strip

_PAIR = 2 * LANES


def pack(images: NDArray, real: type[np.floating]) -> NDArray:
    """Return complex images (K, n, n) as strips (K, S, n, 2, LANES) of type `real`."""
    count, n, _ = images.shape
    strips = strips_of(n)
    turned = np.zeros((count, n, strips * LANES), images.dtype)
    turned[:, :, :n] = images.transpose(0, 2, 1)
    lanes = turned.reshape(count, n, strips, LANES).transpose(0, 2, 1, 3)
    packed = np.empty((count, strips, n, 2, LANES), real)
    packed[..., 0, :], packed[..., 1, :] = lanes.real, lanes.imag
    return packed


def unpack(packed: NDArray, kind: type[np.complexfloating]) -> NDArray:
    """Return strips (K, S, n, 2, LANES) as complex images (K, n, n) of type `kind`."""
    count, strips, n = packed.shape[:3]
    lanes = packed[..., 0, :].astype(kind)
    lanes.imag = packed[..., 1, :]
    turned = lanes.transpose(0, 2, 1, 3).reshape(count, n, strips * LANES)
    return np.ascontiguousarray(turned[:, :, :n].transpose(0, 2, 1))


def pack_object(obj: NDArray, real: type[np.floating]) -> NDArray:
    """Return objects (M_O, H, W) as (M_O, 2, W, H + LANES) of type `real`."""
    modes, height, width = obj.shape
    packed = np.zeros((modes, 2, width, height + LANES), real)
    packed[:, 0, :, :height] = obj.real.transpose(0, 2, 1)
    packed[:, 1, :, :height] = obj.imag.transpose(0, 2, 1)
    return packed


def pack_mask(measured: NDArray[np.bool_], real: type[np.floating]) -> NDArray:
    """Return a mask (n, n), [ky, kx], as strips (S, n, LANES): 1 where measured, else 0."""
    n = len(measured)
    padded = np.zeros((n, strips_of(n) * LANES), real)
    padded[:, :n] = measured
    return np.ascontiguousarray(padded.reshape(n, -1, LANES).transpose(1, 0, 2))


def unpack_object(packed: NDArray, kind: type[np.complexfloating]) -> NDArray:
    """Return packed objects as complex ones (M_O, H, W)."""
    height = packed.shape[3] - LANES
    # In C order, which sums over the ranks ask for.
    obj = packed[:, 0, :, :height].transpose(0, 2, 1).astype(kind, order="C")
    obj.imag = packed[:, 1, :, :height].transpose(0, 2, 1)
    return obj


@njit(cache=True, nogil=True)
def unmark(packed, pixels):  # type: ignore[no-untyped-def]
    """Take pixels ``ky n + kx`` from a mask as `pack_mask` packs it."""
    n = packed.shape[1]
    for pixel in pixels:
        y, x = pixel // n, pixel % n
        packed[x // LANES, y, x % LANES] = 0


@njit(cache=True, fastmath=FAST, nogil=True)
def start_waves(psi, probe, obj, row, column):  # type: ignore[no-untyped-def]
    """``psi_lk = P_k O_l``, eq. (2), of the view at (row, column)."""
    modes, strips, n = probe.shape[:3]
    for l in range(obj.shape[0]):
        for k in range(modes):
            for c in range(strips):
                for x in range(n):
                    p, s = probe[k, c, x], psi[l * modes + k, c, x]
                    first = row + c * LANES
                    o_re = obj[l, 0, column + x, first : first + LANES]
                    o_im = obj[l, 1, column + x, first : first + LANES]
                    for lane in range(LANES):
                        s[0, lane] = p[0, lane] * o_re[lane] - p[1, lane] * o_im[lane]
                        s[1, lane] = p[0, lane] * o_im[lane] + p[1, lane] * o_re[lane]


@njit(cache=True, fastmath=FAST, nogil=True)
def _trial(strip, psi, probe, re, im, first, width, n, product, wave):  # type: ignore[no-untyped-def]
    """``strip = product P O + wave psi``; all flat, the object's window from `first` on."""
    for x in range(n):
        i, o = uint64(x * _PAIR), uint64(first + x * width)
        for lane in range(LANES):
            a = i + uint64(lane)
            b = a + uint64(LANES)
            q = o + uint64(lane)
            p_re, p_im, o_re, o_im = probe[a], probe[b], re[q], im[q]
            s_re, s_im = psi[a], psi[b]
            strip[a] = product * (p_re * o_re - p_im * o_im) + wave * s_re
            strip[b] = product * (p_re * o_im + p_im * o_re) + wave * s_im


@njit(cache=True, fastmath=FAST, nogil=True)
def to_half_spectra(  # type: ignore[no-untyped-def]
    half, psi, probe, obj, row, column, product, wave, plan, a, b
):
    """``half_lk = product P_k O_l + wave psi_lk``, transformed along x and turned.

    half, psi (M_O M_P, S, n, 2, LANES); a, b: room for a strip.
    """
    radices, cosines, sines = plan
    modes, strips, n = probe.shape[:3]
    width = obj.shape[3]
    one = a.dtype.type(1)
    for l in range(obj.shape[0]):
        re, im = obj[l, 0].ravel(), obj[l, 1].ravel()
        for k in range(modes):
            w = l * modes + k
            plane = half[w].ravel()
            for c in range(strips):
                first = column * width + row + c * LANES
                s, p = psi[w, c].ravel(), probe[k, c].ravel()
                _trial(a, s, p, re, im, first, width, n, product, wave)
                in_b = transform(a, b, n, radices, cosines, sines, one)
                turn_strip(b if in_b else a, plane, c, n)


@njit(cache=True, fastmath=FAST, nogil=True)
def _finish_spectra(half, c, plan, b):  # type: ignore[no-untyped-def]
    """Transform strip c of every wave along y: ``F`` of the waves, without the factor 1/n."""
    radices, cosines, sines = plan
    one = b.dtype.type(1)
    for w in range(half.shape[0]):
        strip = half[w, c].ravel()
        if transform(strip, b, half.shape[2], radices, cosines, sines, one):
            strip[:] = b


@njit(cache=True, fastmath=FAST, nogil=True)
def _intensity(total, flat, waves, first, plane):  # type: ignore[no-untyped-def]
    """``total = sum |V|^2`` over the waves, LANES pixels of the flat spectra from `first` on."""
    for lane in range(LANES):
        total[uint64(lane)] = 0
    for w in range(waves):
        i = uint64(first + w * plane)
        for lane in range(LANES):
            a = i + uint64(lane)
            v_re, v_im = flat[a], flat[a + uint64(LANES)]
            total[uint64(lane)] += v_re * v_re + v_im * v_im


@njit(cache=True, fastmath=FAST, nogil=True)
def _wanted(row, counts, y, first, width, factor):  # type: ignore[no-untyped-def]
    """``row = factor counts`` for `width` pixels of row y of a frame from `first` on."""
    line = counts[y]
    if width == LANES:
        for lane in range(LANES):
            row[uint64(lane)] = factor * row.dtype.type(line[uint64(first) + uint64(lane)])
    else:
        for lane in range(width):
            row[uint64(lane)] = factor * row.dtype.type(line[uint64(first) + uint64(lane)])


@njit(cache=True, fastmath=FAST, nogil=True)
def _constrain(flat, waves, strips, n, c, counts, factor, seen, constrained, free, norm):  # type: ignore[no-untyped-def]
    """Eq. (4), mixed, on strip c: ``V <- (constrained f + free) V norm``.

    ``f = sqrt(I / sum |V|^2)``, 1 where not measured, and 0 where the sum is 0.
    """
    kind = flat.dtype.type
    one, none = kind(1), kind(0)
    plane, width = strips * n * _PAIR, min(LANES, n - c * LANES)
    weight, wanted = np.zeros(LANES, flat.dtype), np.zeros(LANES, flat.dtype)
    for y in range(n):
        first = (c * n + y) * _PAIR
        _intensity(weight, flat, waves, first, plane)
        _wanted(wanted, counts, y, c * LANES, width, factor)
        mask = uint64((c * n + y) * LANES)
        for lane in range(LANES):
            i = uint64(lane)
            s, m = weight[i], seen[mask + i]
            # No branch, so that the lanes are done together; 0 where the sum is 0.
            f = np.sqrt(wanted[i] / (s if s > none else one))
            f = f if s > none else none
            weight[i] = (constrained * (m * f + (one - m)) + free) * norm
        for w in range(waves):
            i = uint64(first + w * plane)
            for lane in range(LANES):
                a = i + uint64(lane)
                b = a + uint64(LANES)
                flat[a] = flat[a] * weight[uint64(lane)]
                flat[b] = flat[b] * weight[uint64(lane)]


@njit(cache=True, fastmath=FAST, nogil=True)
def project(turned, half, counts, scale, measured, constrained, free, plan, b):  # type: ignore[no-untyped-def]
    """Finish the spectra V, take eq. (4) on them, and transform back along y.

    Strip after strip, so that all waves of a strip stay in the cache meanwhile. half, as
    `to_half_spectra` left it, is used up; turned (M_O M_P, S, n, 2, LANES) becomes the waves turned
    back, still to be transformed back along x. The weights hold the 1/n^2 that all four transforms
    leave out. measured (S, n, LANES) is 1 or 0, of the spectra's type.
    """
    radices, cosines, sines = plan
    waves, strips, n = half.shape[:3]
    kind = half.dtype.type
    norm, factor, back = kind(1.0 / (n * n)), kind(scale * n * n), kind(-1)
    flat, seen = half.ravel(), measured.ravel()
    for c in range(strips):
        _finish_spectra(half, c, plan, b)
        _constrain(flat, waves, strips, n, c, counts, factor, seen, constrained, free, norm)
        for w in range(waves):
            strip = half[w, c].ravel()
            in_b = transform(strip, b, n, radices, cosines, sines, back)
            turn_strip(b if in_b else strip, turned[w].ravel(), c, n)


@njit(cache=True, fastmath=FAST, nogil=True)
def misfit(half, counts, scale, measured, plan, b):  # type: ignore[no-untyped-def]
    """Return ``sum (sqrt I - sqrt(sum |F P O|^2))^2`` and ``sum I`` of one view, measured pixels.

    Arguments as in `project`; the sums are doubles.
    """
    waves, strips, n = half.shape[:3]
    flat, plane = half.ravel(), strips * n * _PAIR
    norm, factor = 1.0 / (n * n), half.dtype.type(scale)
    total, wanted = np.zeros(LANES, half.dtype), np.zeros(LANES, half.dtype)
    wrong, light = 0.0, 0.0
    for c in range(strips):
        _finish_spectra(half, c, plan, b)
        width = min(LANES, n - c * LANES)
        for y in range(n):
            _intensity(total, flat, waves, (c * n + y) * _PAIR, plane)
            _wanted(wanted, counts, y, c * LANES, width, factor)
            for lane in range(width):
                if measured[c, y, lane] > 0:
                    difference = np.sqrt(float(wanted[lane])) - np.sqrt(norm * total[lane])
                    wrong += difference * difference
                    light += wanted[lane]
    return wrong, light


@njit(cache=True, fastmath=FAST, nogil=True)
def _move(psi, strip, keep, n):  # type: ignore[no-untyped-def]
    """``psi <- keep psi + strip``, flat."""
    for i in range(n * _PAIR):
        psi[uint64(i)] = keep * psi[uint64(i)] + strip[uint64(i)]


@njit(cache=True, fastmath=FAST, nogil=True)
def _add_to_probe(numerator, psi, re, im, first, width, n):  # type: ignore[no-untyped-def]
    """``numerator += conj(O) psi``, flat, the object's window from `first` on."""
    for x in range(n):
        i, o = uint64(x * _PAIR), uint64(first + x * width)
        for lane in range(LANES):
            a = i + uint64(lane)
            b = a + uint64(LANES)
            q = o + uint64(lane)
            o_re, o_im, s_re, s_im = re[q], im[q], psi[a], psi[b]
            n_re, n_im = numerator[a], numerator[b]
            numerator[a] = n_re + (o_re * s_re + o_im * s_im)
            numerator[b] = n_im + (o_re * s_im - o_im * s_re)


@njit(cache=True, fastmath=FAST, nogil=True)
def to_waves(psi, turned, keep, obj, row, column, numerator, plan, b):  # type: ignore[no-untyped-def]
    """``psi <- keep psi + F^-1 V``, and eq. (5)'s numerator on the way.

    turned, as `project` left it, is used up. numerator (M_P, S, n, 2, LANES) += sum_l conj(O_l)
    psi_lk, or nothing if it has no modes.
    """
    radices, cosines, sines = plan
    strips, n = psi.shape[1:3]
    modes = psi.shape[0] // obj.shape[0]
    width = obj.shape[3]
    back = b.dtype.type(-1)
    for l in range(obj.shape[0]):
        re, im = obj[l, 0].ravel(), obj[l, 1].ravel()
        for k in range(modes):
            w = l * modes + k
            for c in range(strips):
                strip = turned[w, c].ravel()
                in_b = transform(strip, b, n, radices, cosines, sines, back)
                s = psi[w, c].ravel()
                _move(s, b if in_b else strip, keep, n)
                if numerator.shape[0] > 0:
                    first = column * width + row + c * LANES
                    _add_to_probe(numerator[k, c].ravel(), s, re, im, first, width, n)


@njit(cache=True, fastmath=FAST, nogil=True)
def add_to_probe(numerator, psi, obj, row, column):  # type: ignore[no-untyped-def]
    """Eq. (5): ``numerator_k += sum_l conj(O_l) psi_lk`` of one view."""
    modes, strips, n = numerator.shape[:3]
    width = obj.shape[3]
    for l in range(obj.shape[0]):
        re, im = obj[l, 0].ravel(), obj[l, 1].ravel()
        for k in range(modes):
            for c in range(strips):
                first = column * width + row + c * LANES
                s = psi[l * modes + k, c].ravel()
                _add_to_probe(numerator[k, c].ravel(), s, re, im, first, width, n)


@njit(cache=True, fastmath=FAST, nogil=True)
def _add_to_object(re, im, probe, psi, first, width, n):  # type: ignore[no-untyped-def]
    """``re + i im += conj(P) psi``, flat, in the object's window from `first` on."""
    for x in range(n):
        i, o = uint64(x * _PAIR), uint64(first + x * width)
        for lane in range(LANES):
            a = i + uint64(lane)
            b = a + uint64(LANES)
            q = o + uint64(lane)
            p_re, p_im, s_re, s_im = probe[a], probe[b], psi[a], psi[b]
            n_re, n_im = re[q], im[q]
            re[q] = n_re + (p_re * s_re + p_im * s_im)
            im[q] = n_im + (p_re * s_im - p_im * s_re)


@njit(cache=True, fastmath=FAST, nogil=True)
def add_to_object(numerator, psi, probe, row, column):  # type: ignore[no-untyped-def]
    """Eq. (6): ``numerator_l += sum_k conj(P_k) psi_lk`` of one view; packed as objects are."""
    modes, strips, n = probe.shape[:3]
    width = numerator.shape[3]
    for l in range(numerator.shape[0]):
        re, im = numerator[l, 0].ravel(), numerator[l, 1].ravel()
        for c in range(strips):
            first = column * width + row + c * LANES
            for k in range(modes):
                p, s = probe[k, c].ravel(), psi[l * modes + k, c].ravel()
                _add_to_object(re, im, p, s, first, width, n)


@njit(cache=True, fastmath=FAST, nogil=True)
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


@njit(cache=True, fastmath=FAST, nogil=True)
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


def warm_up() -> None:
    """Make numba ready, which takes as long as all kernels' loading: one small kernel is run."""
    add_windows(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 2), np.int64))
