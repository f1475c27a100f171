// The Fourier transform of a line of n numbers by THREADS threads, ELEMENTS numbers each: a
// transform of ELEMENTS in registers, one exchange through shared memory, a transform of THREADS in
// registers (Cooley and Tukey's two steps). LINES lines at once by a warp.
//
//     forward    v in space  ->  q in frequency, exp(-2 pi i k x / n), unnormalised
//     backward   q in frequency -> v in space,   exp(+2 pi i k x / n), unnormalised
//
// A number moves twice through shared memory (16 bytes) and takes one twiddle factor from there.
#pragma once
#include "layout.cuh"
#include "radix.cuh"

// roots[k THREADS + t] = exp(-2 pi i k t / n), k < ELEMENTS, t < THREADS: n numbers.
// room: ROOM numbers of this warp; nobody else touches it. Both begin and end synchronised.
__device__ __forceinline__ void forward(
    float2 (&v)[ELEMENTS], float2 (&q)[PLACES], float2* room, const float2* roots, const Lane& lane
) {
    Dft<ELEMENTS, -1>::run(v);
    if (lane.on) {
        unrolled<0, ELEMENTS>([&](auto k) {
            float2 w = v[k];
            if constexpr (decltype(k)::value > 0) w = w * roots[k * THREADS + lane.t];
            room[k * PITCH + lane.number] = w;
        });
    }
    __syncwarp();
    unrolled<0, GROUPS>([&](auto m) {
        int k = lane.t + THREADS * m;
        if (THREADS * (m + 1) > ELEMENTS && k >= ELEMENTS) k = ELEMENTS - 1;
        float2 u[THREADS];
        unrolled<0, THREADS>([&](auto t) { u[t] = room[k * PITCH + t * LINES + lane.c]; });
        Dft<THREADS, -1>::run(u);
        unrolled<0, THREADS>([&](auto l) { q[m * THREADS + l] = u[l]; });
    });
    __syncwarp();
}

__device__ __forceinline__ void backward(
    float2 (&q)[PLACES], float2 (&v)[ELEMENTS], float2* room, const float2* roots, const Lane& lane
) {
    unrolled<0, GROUPS>([&](auto m) {
        const int k = lane.t + THREADS * m;
        float2 u[THREADS];
        unrolled<0, THREADS>([&](auto l) { u[l] = q[m * THREADS + l]; });
        Dft<THREADS, 1>::run(u);
        if (lane.on && (THREADS * (m + 1) <= ELEMENTS || k < ELEMENTS))
            unrolled<0, THREADS>([&](auto t) { room[k * PITCH + t * LINES + lane.c] = u[t]; });
    });
    __syncwarp();
    unrolled<0, ELEMENTS>([&](auto k) {
        v[k] = room[k * PITCH + lane.number % LANES];
        if constexpr (decltype(k)::value > 0) v[k] = conj_times(roots[k * THREADS + lane.t], v[k]);
    });
    __syncwarp();
    Dft<ELEMENTS, 1>::run(v);
}

// Copy the roots into shared memory; the caller synchronises the block.
__device__ __forceinline__ void copy_roots(float2* target, const float2* roots) {
    for (int i = threadIdx.x; i < N; i += blockDim.x) target[i] = roots[i];
}
