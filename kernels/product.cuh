// Stage 1: eq. (2), transformed along the rows.
//
//     aux_jk = a R[P_k O_j]        R: transform of each row; a: the scale of what is kept in memory
//
// Traffic, a number of a view and mode: 8 bytes written (4 in half storage); probe and object come
// from the caches. A warp takes LINES rows of a view, mode after mode: the object's rows are read
// once a view and stay in registers; the probe's rows of all modes stay in shared memory.
// Limits: shared memory 8 N (1 + LINES modes) + 8 ROOM a warp; modes up to what that allows.
#pragma once
#include "line.cuh"

// Copy LINES rows of every mode of the probe, times `factor`, to shared memory, in the order in which
// lanes use them: rows[(mode ELEMENTS + i) LANES + lane]. The caller synchronises the block.
__device__ __forceinline__ void copy_probe_rows(
    float2* rows, const float2* probe, int modes, int row0, float factor
) {
    for (int e = threadIdx.x; e < modes * ELEMENTS * LANES; e += blockDim.x) {
        const int lane = e % LANES, i = e / LANES % ELEMENTS, mode = e / (LANES * ELEMENTS);
        const int row = row0 + lane % LINES, column = lane / LINES + THREADS * i;
        rows[e] = factor * probe[mode * PLANE + row * N + column];
    }
}

// waves: (views, modes) planes. Grid: (N / LINES, parts of the views); any number of warps a block.
__device__ __forceinline__ void product(
    Stored* __restrict__ waves, const float2* __restrict__ probe, const float2* __restrict__ object,
    const int2* __restrict__ positions, const float2* __restrict__ roots, int views, int modes,
    int width, float a
) {
    extern __shared__ __align__(16) float2 shared[];
    float2* const turns = shared;
    float2* const rows = turns + N;
    const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
    float2* const room = rows + modes * ELEMENTS * LANES + warp * ROOM;
    const Lane lane;
    const int row0 = blockIdx.x * LINES, row = row0 + lane.c;
    copy_roots(turns, roots);
    copy_probe_rows(rows, probe, modes, row0, a);
    __syncthreads();

    // A view ahead, as the object's address waits for it.
    const int first = blockIdx.y * warps + warp, step = gridDim.y * warps;
    int2 corner = positions[min(first, views - 1)];
    for (int view = first; view < views; view += step) {
        const float2* const window =
            object + static_cast<size_t>(corner.x + row) * width + corner.y + lane.t;
        corner = positions[min(view + step, views - 1)];
        float2 o[ELEMENTS];
        unrolled<0, ELEMENTS>([&](auto i) { o[i] = window[THREADS * i]; });
        for (int mode = 0; mode < modes; ++mode) {
            float2 v[ELEMENTS], q[PLACES];
            const float2* const p = rows + mode * ELEMENTS * LANES + lane.number % LANES;
            unrolled<0, ELEMENTS>([&](auto i) { v[i] = p[i * LANES] * o[i]; });
            forward(v, q, room, turns, lane);
            Stored* const plane = waves + (static_cast<size_t>(view) * modes + mode) * PLANE + row * COLUMNS;
            if (lane.on)
                each_frequency(lane, COLUMNS * N, [&](auto place, int, long long offset) {
                    __stcs(plane + offset, stored(q[place]));  // read next from DRAM anyway
                });
        }
    }
}
