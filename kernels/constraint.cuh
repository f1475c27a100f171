// Stage 2: eqs. (3) and (4) in mixed space, where the state is X = a R psi.
//
//     V  = C[product aux + wave X]               C: transform of each column
//     X' = keep X + C^-1[(constrained f + free) V] / n
//     f  = sqrt(I / sum_k |V_k|^2) where measured, 1 elsewhere, 0 where the sum is 0
//
// (solver/device.py: the five numbers.) Rows are transformed along by both sides, so that R drops out.
//
// Traffic, a number of a view and mode: aux and X read, X' written, 24 bytes (12 in half storage), and
// the counts, 2 or 4 bytes a pixel. X is read a second time, from L2, rather than kept in registers.
// A warp takes LINES columns of a mode. The warps of all modes with the same columns are a group: their
// sum over the modes goes through shared memory, and each factor is computed once. A block is one group,
// or the SHARE groups of a strip, which then read its sectors of memory together.
// Limits: 32 warps; shared memory 8 N + (8 LINES N + modes 8 ROOM) a group, bytes.
#pragma once
#include "async.cuh"
#include "line.cuh"

constexpr int PATCH = LINES * N;  // numbers of a group's columns

// Counts that were not measured.
constexpr unsigned short UNMEASURED_16 = 65535;
constexpr float UNMEASURED_32 = -1.0f;

// Which columns a warp works on, for which mode, and what its group and it have of shared memory:
// the roots (N), for all; of its group one number a pixel (PATCH), its counts, and a room a mode.
struct Group {
    int mode, modes;  // of this warp; of the group
    int number;       // among the groups of a view
    int thread;       // within the group
    float2 *roots, *rooms;
    float* weights;
    void* counts;

    __device__ explicit Group(int modes) : modes(modes) {
        extern __shared__ __align__(16) float2 shared[];
        const int here = threadIdx.x / 32 / modes, groups = blockDim.x / 32 / modes;
        mode = threadIdx.x / 32 % modes;
        thread = threadIdx.x - here * 32 * modes;
        number = blockIdx.x * groups + here;
        roots = shared;
        weights = reinterpret_cast<float*>(roots + N) + here * 2 * PATCH;
        counts = weights + PATCH;
        rooms = roots + N + groups * PATCH + here * modes * ROOM;
    }

    __device__ float2* room() const { return rooms + mode * ROOM; }

    // Where, within a plane, the first of this group's columns begins.
    __device__ size_t first() const {
        return static_cast<size_t>(number / SHARE) * COLUMNS * N + number % SHARE * LINES;
    }
};

// Of the numbers of a warp's columns: where the first of a lane is, and how far apart they are.
__device__ __forceinline__ int start_of(const Lane& lane) { return lane.t * COLUMNS + lane.c; }
constexpr int APART = THREADS * COLUMNS;

// Begin to copy the counts of a group's columns to shared memory, row after row.
template <int BYTES>
__device__ __forceinline__ void copy_counts(const Group& group, const void* counts, size_t plane) {
    const char* const source = static_cast<const char*>(counts) + (plane + group.first()) * BYTES;
    char* const target = static_cast<char*>(group.counts);
    const int threads = 32 * group.modes;
    if constexpr (SHARE > 1) {
        for (int row = group.thread; row < N; row += threads)
            copy_async<LINES * BYTES>(
                target + row * LINES * BYTES, source + row * COLUMNS * BYTES
            );
    } else if constexpr (PATCH * BYTES % 4 == 0) {
        for (int i = group.thread; i < PATCH * BYTES / 4; i += threads)
            copy_async<4>(target + 4 * i, source + 4 * i);
    } else {
        for (int i = group.thread; i < PATCH; i += threads)
            reinterpret_cast<unsigned short*>(target)[i] =
                reinterpret_cast<const unsigned short*>(source)[i];
    }
    close_group();
}

// Pixels that a thread takes at a time where the modes are summed, and so many floats or counts.
constexpr int SOME = PATCH % 4 == 0 ? 4 : PATCH % 2 == 0 ? 2 : 1;
static_assert(SOME < 4 || (ROOM % 2 == 0 && N % 2 == 0));
struct alignas(4 * SOME) Floats { float v[SOME]; };
struct alignas(2 * SOME) Shorts { unsigned short v[SOME]; };

// SOME counts from number e on as floats, below 0 where not measured.
__device__ __forceinline__ Floats counted(const void* counts, int wide, int e) {
    if (wide) return *reinterpret_cast<const Floats*>(static_cast<const float*>(counts) + e);
    const Shorts some =
        *reinterpret_cast<const Shorts*>(static_cast<const unsigned short*>(counts) + e);
    Floats found;
#pragma unroll
    for (int i = 0; i < SOME; ++i)
        found.v[i] = some.v[i] == UNMEASURED_16 ? UNMEASURED_32 : static_cast<float>(some.v[i]);
    return found;
}

// |q|^2 of this mode, row after row, into its room (which is free meanwhile).
__device__ __forceinline__ void put_power(const float2 (&q)[PLACES], float2* room, const Lane& lane) {
    float* const power = reinterpret_cast<float*>(room) + lane.c;
    if (lane.on)
        each_frequency(lane, PATCH, [&](auto place, int k, long long) { power[k * LINES] = square(q[place]); });
}

__device__ __forceinline__ Floats sum_of_modes(const float2* rooms, int modes, int e) {
    Floats sum = {};
    for (int mode = 0; mode < modes; ++mode) {
        const Floats power =
            *reinterpret_cast<const Floats*>(reinterpret_cast<const float*>(rooms + mode * ROOM) + e);
#pragma unroll
        for (int i = 0; i < SOME; ++i) sum.v[i] += power.v[i];
    }
    return sum;
}

// Good to the last digit or two, which is enough: the factor is used once, and not fed back.
__device__ __forceinline__ float root(float x) {
    float y;
    asm("sqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// waves, aux: (views, modes) planes; counts: (views) planes, of floats if `wide`, else of uint16;
// gains (views): what counts are multiplied by, times (a n)^2. Grid: (groups of a view / groups of a
// block, views); 32 modes threads a group.
__device__ __forceinline__ void constrain(
    Stored* __restrict__ waves, const Stored* __restrict__ aux, const void* __restrict__ counts,
    const float* __restrict__ gains, const float2* __restrict__ roots, int modes, int wide,
    float product, float wave, float keep, float constrained, float free
) {
    const Group group(modes);
    const Lane lane;
    const int view = blockIdx.y;
    const size_t here =
        (static_cast<size_t>(view) * modes + group.mode) * PLANE + group.first() + start_of(lane);
    Stored* const x = waves + here;
    const Stored* const p = aux + here;
    if (wide)
        copy_counts<4>(group, counts, view * PLANE);
    else
        copy_counts<2>(group, counts, view * PLANE);
    float2 v[ELEMENTS], q[PLACES];
    unrolled<0, ELEMENTS>([&](auto i) {
        v[i] = product * load(p[i * APART]) + wave * load(x[i * APART]);
    });
    copy_roots(group.roots, roots);
    __syncthreads();
    forward(v, q, group.room(), group.roots, lane);
    put_power(q, group.room(), lane);
    wait_groups<0>();
    __syncthreads();
    const float gain = gains[view];
    for (int e = SOME * group.thread; e < PATCH; e += SOME * 32 * modes) {
        const Floats sum = sum_of_modes(group.rooms, modes, e);
        const Floats count = counted(group.counts, wide, e);
        Floats weight;
#pragma unroll
        for (int i = 0; i < SOME; ++i) {
            // Not the root of the quotient, which overflows where there is hardly any light.
            float f = sum.v[i] > 0 ? root(gain * count.v[i]) * rsqrtf(sum.v[i]) : 0.0f;
            if (count.v[i] < 0) f = 1;
            weight.v[i] = (constrained * f + free) * (1.0f / N);
        }
        *reinterpret_cast<Floats*>(group.weights + e) = weight;
    }
    __syncthreads();
    each_frequency(lane, PATCH, [&](auto place, int k, long long) {
        q[place] = group.weights[k * LINES + lane.c] * q[place];
    });
    backward(q, v, group.room(), group.roots, lane);
    if (lane.on)
        unrolled<0, ELEMENTS>([&](auto i) {
            __stcs(x + i * APART, stored(keep * load(again(x + i * APART)) + v[i]));
        });
}

// The two sums of error_fourier: sums[0] += sum (sqrt I - sqrt(sum_k |F P_k O|^2))^2 and
// sums[1] += sum I over measured pixels; aux as stage 1 left it. Traffic: 8 bytes read a number.
// scales (views): what counts are multiplied by; norm = 1 / (a n). Grid and block as above.
__device__ __forceinline__ void misfit(
    double* sums, const Stored* __restrict__ aux, const void* __restrict__ counts,
    const float* __restrict__ scales, const float2* __restrict__ roots, int modes, int wide, float norm
) {
    const Group group(modes);
    const Lane lane;
    const int view = blockIdx.y;
    const Stored* const p =
        aux + (static_cast<size_t>(view) * modes + group.mode) * PLANE + group.first() + start_of(lane);
    if (wide)
        copy_counts<4>(group, counts, view * PLANE);
    else
        copy_counts<2>(group, counts, view * PLANE);
    float2 v[ELEMENTS], q[PLACES];
    unrolled<0, ELEMENTS>([&](auto i) { v[i] = load(p[i * APART]); });
    copy_roots(group.roots, roots);
    __syncthreads();
    forward(v, q, group.room(), group.roots, lane);
    put_power(q, group.room(), lane);
    wait_groups<0>();
    __syncthreads();
    double wrong = 0, light = 0;
    for (int e = SOME * group.thread; e < PATCH; e += SOME * 32 * modes) {
        const Floats sum = sum_of_modes(group.rooms, modes, e);
        const Floats count = counted(group.counts, wide, e);
#pragma unroll
        for (int i = 0; i < SOME; ++i) {
            if (count.v[i] < 0) continue;
            const float intensity = scales[view] * count.v[i];
            const float d = sqrtf(intensity) - norm * sqrtf(sum.v[i]);
            wrong += d * d;
            light += intensity;
        }
    }
    for (int step = 16; step; step /= 2) {
        wrong += __shfl_xor_sync(~0u, wrong, step);
        light += __shfl_xor_sync(~0u, light, step);
    }
    if (lane.number == 0) {
        atomicAdd(sums, wrong);
        atomicAdd(sums + 1, light);
    }
}

// Move every wave by (rows, columns) pixels round the edges; both 0 .. N - 1. Along x, which is
// transformed, that is a phase. In place: a warp holds all of its columns before it writes.
// Traffic: 16 bytes a number. Grid: (N / LINES, planes), 32 threads.
__device__ __forceinline__ void roll(Stored* waves, int rows, int columns) {
    const Lane lane;
    const Group group(1);
    Stored* const patch = waves + blockIdx.y * PLANE + group.first();
    const int frequency = group.number * LINES + lane.c;
    float2 turn;
    sincospif(-2.0f * (frequency * columns % N) / N, &turn.y, &turn.x);
    float2 v[ELEMENTS];
    unrolled<0, ELEMENTS>([&](auto i) { v[i] = load(patch[start_of(lane) + i * APART]); });
    __syncwarp();
    if (lane.on)
        unrolled<0, ELEMENTS>([&](auto i) {
            const int row = (lane.t + THREADS * i + rows) % N;
            patch[row * COLUMNS + lane.c] = stored(turn * v[i]);
        });
}
