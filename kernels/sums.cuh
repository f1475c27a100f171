// Stage 3: the numerators of eqs. (5) and (6), from the waves in space, psi = R^-1[X] / (a n), which
// exist in registers only.
//
//     probe    N_k(r) += sum_j conj(O(r + r_j)) psi_jk(r)
//     object   N(r)   += sum_j sum_k conj(P_k(r - r_j)) psi_jk(r - r_j)
//
// Two passes, as the object's sums need the new probe. Traffic, a number of a view and mode: 8 bytes
// read each (4 in half storage). A warp takes LINES rows of a plane; while it computes on one, the
// next is copied to shared memory.
#pragma once
#include "async.cuh"
#include "product.cuh"

// Numbers of LINES rows of a plane: n / COLUMNS pieces of PIECE.
constexpr int PIECE = COLUMNS * LINES;
constexpr int PIECE_BYTES = PIECE * sizeof(Stored);
constexpr int UNIT = PIECE_BYTES % 16 == 0 ? 16 : PIECE_BYTES % 8 == 0 ? 8 : 4;

// A warp's two rooms, filled in turn with the rows to come; each serves as the exchange as well.
struct Stages {
    float2* rooms;
    int now = 0;

    __device__ explicit Stages(float2* start) : rooms(start) {}
    __device__ float2* room() const { return rooms + now * ROOM; }
    __device__ void next() { now ^= 1; }

    // Begin to copy rows row0 .. row0 + LINES - 1 of `plane` (none: nullptr) to the room of now.
    __device__ __forceinline__ void begin(const Stored* plane, int row0, const Lane& lane) const {
        constexpr int EACH = PIECE_BYTES / UNIT, ALL = N / COLUMNS * EACH;
        if (plane) {
            const char* source = reinterpret_cast<const char*>(plane + row0 * COLUMNS);
            char* const target = reinterpret_cast<char*>(room()) + lane.number * UNIT;
            if constexpr (32 % EACH == 0) {  // each lane goes on by whole pieces: constant steps
                source += lane.number / EACH * STRIP_BYTES + lane.number % EACH * UNIT;
                unrolled<0, (ALL + 31) / 32>([&](auto u) {
                    if (32 * (u + 1) <= ALL || lane.number + 32 * u < ALL)
                        copy_async<UNIT>(
                            target + 32 * u * UNIT,
                            source + static_cast<size_t>(32 / EACH) * u * STRIP_BYTES
                        );
                });
            } else {
                for (int u = lane.number; u < ALL; u += 32)
                    copy_async<UNIT>(
                        target + (u - lane.number) * UNIT,
                        source + u / EACH * STRIP_BYTES + u % EACH * UNIT
                    );
            }
        }
        close_group();
    }

    // Wait for the rows in the room of now, transform them back into v, and leave the room free.
    __device__ __forceinline__ void waves(float2 (&v)[ELEMENTS], const float2* roots, const Lane& lane) const {
        float2 q[PLACES];
        wait_groups<1>();
        __syncwarp();
        const Stored* const rows = reinterpret_cast<const Stored*>(room()) + lane.c * COLUMNS;
        each_frequency(lane, PIECE, [&](auto place, int, long long offset) { q[place] = load(rows[offset]); });
        __syncwarp();
        backward(q, v, room(), roots, lane);
    }

    static constexpr size_t STRIP_BYTES = static_cast<size_t>(COLUMNS) * N * sizeof(Stored);
};

// sum += value in global memory; at once where the GPU can.
__device__ __forceinline__ void add_to(float2* sum, float2 value) {
#if __CUDA_ARCH__ >= 900
    asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" ::"l"(sum), "f"(value.x), "f"(value.y) : "memory");
#else
    atomicAdd(&sum->x, value.x);
    atomicAdd(&sum->y, value.y);
#endif
}

// How many numbers of the object a thread reads before the transform, so that little waits for them
// afterwards: as many as there are registers for.
constexpr int EARLY = PLACES <= 16 ? ELEMENTS : PLACES <= 24 ? ELEMENTS * 2 / 3 : ELEMENTS / 2;

// Read now, wherever the value is used: the compiler is not to move it there.
__device__ __forceinline__ float2 early(const float2* address) {
    float2 v;
    asm volatile("ld.global.nc.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(address));
    return v;
}

// numerator (modes, N, N). A warp keeps to one mode and adds up many views in registers. The warps of
// all blocks with the same rows are numbered through; neighbours take the modes of one view, whose
// object they then share in the cache.
// Grid: (N / LINES, parts); any number of warps a block. Shared memory: 8 N + 16 ROOM a warp.
__device__ __forceinline__ void probe_sums(
    float2* numerator, const Stored* __restrict__ waves, const float2* __restrict__ object,
    const int2* __restrict__ positions, const float2* __restrict__ roots, int views, int modes,
    int width, float norm
) {
    extern __shared__ __align__(16) float2 shared[];
    const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int number = blockIdx.y * warps + warp, streams = gridDim.y * warps / modes;
    const int mode = number % modes, first = number / modes;
    const Lane lane;
    const int row0 = blockIdx.x * LINES, row = row0 + lane.c;
    copy_roots(shared, roots);
    __syncthreads();
    if (first >= streams) return;  // the last few, of which there is none for every mode

    Stages stages(shared + N + warp * 2 * ROOM);
    const auto plane = [&](int view) {
        return view < views ? waves + (static_cast<size_t>(view) * modes + mode) * PLANE : nullptr;
    };
    stages.begin(plane(first), row0, lane);
    stages.next();
    stages.begin(plane(first + streams), row0, lane);
    stages.next();
    float2 sum[ELEMENTS];
    unrolled<0, ELEMENTS>([&](auto i) { sum[i] = {0, 0}; });
    // A view ahead, as the object's address waits for it.
    int2 corner = positions[min(first, views - 1)];
    for (int view = first; view < views; view += streams) {
        const float2* const window =
            object + static_cast<size_t>(corner.x + row) * width + corner.y + lane.t;
        corner = positions[min(view + streams, views - 1)];
        float2 o[EARLY + 1], v[ELEMENTS];
        unrolled<0, EARLY>([&](auto i) { o[i] = early(window + THREADS * i); });
        stages.waves(v, shared, lane);
        stages.begin(plane(view + 2 * streams), row0, lane);
        stages.next();
        unrolled<0, ELEMENTS>([&](auto i) {
            float2 p;
            if constexpr (EARLY > decltype(i)::value)
                p = o[i];
            else
                p = window[THREADS * i];
            sum[i] = sum[i] + conj_times(p, v[i]);
        });
    }
    float2* const target = numerator + mode * PLANE + row * N + lane.t;
    if (lane.on)
        unrolled<0, ELEMENTS>([&](auto i) { add_to(target + THREADS * i, norm * sum[i]); });
}

// numerator (H, width). A warp adds up the modes of a view in registers, then adds that to the
// object. Grid: (N / LINES, parts of the views); any number of warps a block. Shared memory:
// 8 N (1 + LINES modes) + 16 ROOM a warp.
__device__ __forceinline__ void object_sums(
    float2* numerator, const Stored* __restrict__ waves, const float2* __restrict__ probe,
    const int2* __restrict__ positions, const float2* __restrict__ roots, int views, int modes,
    int width, float norm
) {
    extern __shared__ __align__(16) float2 shared[];
    float2* const rows = shared + N;
    const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const Lane lane;
    const int row0 = blockIdx.x * LINES, row = row0 + lane.c;
    copy_roots(shared, roots);
    copy_probe_rows(rows, probe, modes, row0, norm);
    __syncthreads();

    Stages stages(rows + modes * ELEMENTS * LANES + warp * 2 * ROOM);
    const int step = gridDim.y * warps;
    // The planes of this warp, one after the other: all modes of a view, then the next view's.
    int next_view = blockIdx.y * warps + warp, next_mode = 0;
    const auto begin = [&]() {
        stages.begin(
            next_view < views ? waves + (static_cast<size_t>(next_view) * modes + next_mode) * PLANE
                              : nullptr,
            row0, lane
        );
        stages.next();
        if (++next_mode == modes) {
            next_mode = 0;
            next_view += step;
        }
    };
    begin();
    begin();
    for (int view = blockIdx.y * warps + warp; view < views; view += step) {
        const int2 corner = positions[view];
        float2* const window =
            numerator + static_cast<size_t>(corner.x + row) * width + corner.y + lane.t;
        float2 sum[ELEMENTS];
        unrolled<0, ELEMENTS>([&](auto i) { sum[i] = {0, 0}; });
        for (int mode = 0; mode < modes; ++mode) {
            float2 v[ELEMENTS];
            stages.waves(v, shared, lane);
            begin();
            const float2* const p = rows + mode * ELEMENTS * LANES + lane.number % LANES;
            unrolled<0, ELEMENTS>([&](auto i) { sum[i] = sum[i] + conj_times(p[i * LANES], v[i]); });
        }
        if (lane.on)
            unrolled<0, ELEMENTS>([&](auto i) { add_to(window + THREADS * i, sum[i]); });
    }
}
