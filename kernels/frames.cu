// Frames as a detector wrote them become counts as the exit waves' kernels read them.
//
// A frame on file is (h, w); its counts on the GPU are `pixels` = n * n numbers in an order that
// solver/cuda/frames.py chooses. It hands down that order, crop, turn, shift of DC, rim, mask and
// zero regions together as one map: source[p, i] is the pixel of the frame that is part p of place i
// of the window, NONE where nothing is measured, ZERO where 0 stands for what was. What is done to a
// frame, and in which order: FramePlan in solver/frame_plan.py.
// Kernels are named after NumPy's types: prepare_<type on file>_<type kept>, for whole pixels taken
// as they are, and correct_<...>, which know dark, flat and binning.

#include <cstdint>
#include <limits>
#include <type_traits>

constexpr int NONE = -1, ZERO = -2;

// The number from which on a pixel is saturated, in a type that holds it exactly.
template <class T>
using Limit = typename std::conditional<std::is_integral<T>::value, unsigned long long, double>::type;

template <class T>
__device__ bool is_saturated(T raw, Limit<T> limit) {
    if constexpr (std::is_same<T, bool>::value)
        return false;  // no count
    else if constexpr (std::is_integral<T>::value)
        return raw >= 0 && static_cast<unsigned long long>(raw) >= limit;
    else
        return raw >= limit;
}

// What one frame says of itself, over the pixels that are used; 0 where there are none.
// STATISTICS in solver/cuda/frames.py has the same fields in the same order.
struct Statistics {
    double peak, low;      // the largest number of counts, as prepared; the smallest as on file, or 0
    double photons;        // their sum, as prepared
    long long non_finite;  // pixels that are not finite
    long long saturated;   // pixels on file at the limit or above
    long long missed;      // pixels of the window that were not measured in this frame only
    long long fractional;  // pixels of the window that are not whole numbers
};

__device__ Statistics nothing() {
    return {0.0, 0.0, 0.0, 0, 0, 0, 0};
}

__device__ Statistics merged(const Statistics& a, const Statistics& b) {
    return {fmax(a.peak, b.peak),      fmin(a.low, b.low),
            a.photons + b.photons,     a.non_finite + b.non_finite,
            a.saturated + b.saturated, a.missed + b.missed,
            a.fractional + b.fractional};
}

// The statistics of the thread `step` lanes up in the same warp; all 32 lanes must ask.
__device__ Statistics from_lane(const Statistics& s, int step) {
    constexpr unsigned all = 0xffffffffu;
    return {__shfl_down_sync(all, s.peak, step),      __shfl_down_sync(all, s.low, step),
            __shfl_down_sync(all, s.photons, step),   __shfl_down_sync(all, s.non_finite, step),
            __shfl_down_sync(all, s.saturated, step), __shfl_down_sync(all, s.missed, step),
            __shfl_down_sync(all, s.fractional, step)};
}

// The statistics of the whole block, in its thread 0. The block is 32 to 1024 threads, whole warps.
__device__ Statistics over_block(Statistics mine) {
    __shared__ Statistics of_warp[32];
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int step = 16; step > 0; step /= 2)
        mine = merged(mine, from_lane(mine, step));
    if (lane == 0)
        of_warp[warp] = mine;
    __syncthreads();
    if (warp == 0) {
        mine = lane < blockDim.x / 32 ? of_warp[lane] : nothing();
        for (int step = 16; step > 0; step /= 2)
            mine = merged(mine, from_lane(mine, step));
    }
    return mine;
}

// Prepare a batch of frames: one block for each.
//
// frames (grid, frame_pixels) as on file; scale, counts (grid, pixels) and statistics (grid,) are
// those of the batch's first frame onwards. A place is the sum of its parts, each
// max(raw - dark, 0) / flat; 0 if that times scale is below the threshold. Places without a pixel get
// `unmeasured`, as do those with a saturated part, if `masks`. dark and flat (parts, pixels) may be
// null, and are in prepare_*, which has one part.
//
// Traffic: a window's pixel is read once (1 to 8 bytes a part, as on file) and written once (2, 4 or
// 8); the map, 4 bytes a part, and with them dark and flat, are the same for every block and come
// from L2. Writes are contiguous. Reads gather: with narrow strips a warp takes a few pixels from each
// of several rows, or where rows become columns one from each of many; what else is in these sectors
// is for the block's next places, which find it in L1 or L2.
// Limits: fewer than 2^31 pixels a frame; a block of 32 to 1024 threads, whole warps. With few
// frames in a batch few multiprocessors work, but a batch's copy over PCIe takes longer than that.
template <class In, class Out, bool CORRECTS>
__device__ void prepare(const In* __restrict__ frames, const int* __restrict__ source,
                        const float* __restrict__ dark, const float* __restrict__ flat,
                        const double* __restrict__ scale, Out* __restrict__ counts,
                        Statistics* __restrict__ statistics, double unmeasured, Limit<In> limit,
                        double threshold, int masks, int parts, int frame_pixels, int pixels) {
    constexpr bool integer = std::is_integral<In>::value && !CORRECTS;
    frames += static_cast<size_t>(blockIdx.x) * frame_pixels;
    counts += static_cast<size_t>(blockIdx.x) * pixels;
    const double factor = scale[blockIdx.x];

    Statistics mine = nothing();
    for (int i = threadIdx.x; i < pixels; i += blockDim.x) {
        bool measured = true;
        double value = 0.0;
        for (int part = i, last = i + (CORRECTS ? parts - 1 : 0) * pixels; part <= last;
             part += pixels) {
            const int from = source[part];
            if (from < 0) {
                measured = measured && from == ZERO;
                continue;
            }
            const In raw = frames[from];
            double count = static_cast<double>(raw);
            if (!std::is_integral<In>::value && !isfinite(count)) {
                mine.non_finite += 1;
                continue;
            }
            if (is_saturated<In>(raw, limit)) {
                mine.saturated += 1;
                if (masks) {
                    mine.missed += measured;
                    measured = false;
                    continue;
                }
            }
            mine.low = fmin(mine.low, count);
            if (CORRECTS) {
                if (dark)
                    count = fmax(count - dark[part], 0.0) / flat[part];
            }
            value += count;
        }
        if (value * factor < threshold)
            value = 0.0;
        const Out kept = static_cast<Out>(measured ? value : unmeasured);
        counts[i] = kept;
        if (!measured)
            continue;
        if (!integer) {  // integers are judged as on file; others as kept, perhaps infinite
            value = static_cast<double>(kept);
            if (!isfinite(value)) {
                mine.non_finite += 1;
                continue;
            }
            mine.fractional += value != floor(value);
        }
        mine.peak = fmax(mine.peak, value);
        mine.photons += value;
    }
    mine = over_block(mine);
    if (threadIdx.x == 0)
        statistics[blockIdx.x] = mine;
}

// Take some frames' counts, in another type if need be: one block for each frame taken.
//
// to[j] = counts[which[j]], where `unmeasured` becomes `unmeasured_to`; all other numbers must have
// a place in the new type.
//
// Traffic: a pixel is read once and written once, both contiguous. Limits: as `prepare`'s.
template <class In, class Out>
__device__ void take(const In* __restrict__ counts, const int* __restrict__ which,
                     Out* __restrict__ to, double unmeasured, double unmeasured_to, int pixels) {
    counts += static_cast<size_t>(which[blockIdx.x]) * pixels;
    to += static_cast<size_t>(blockIdx.x) * pixels;
    const In none = static_cast<In>(unmeasured);
    const Out none_to = static_cast<Out>(unmeasured_to);
    for (int i = threadIdx.x; i < pixels; i += blockDim.x) {
        const In count = counts[i];
        to[i] = count == none ? none_to : static_cast<Out>(count);
    }
}

// Sum frames, each times its scale: a thread for each pixel (grid x) and each part of the frames
// (grid y), so that the same sums come out every time, which atomics would not give.
//
// sums[part, i] = sum_j scale[j] counts[j, i] over frames j = part * share .. + share - 1, those
// whose count is not `unmeasured`; seen[part, i]: how many these are.
//
// Traffic: a pixel is read once (2, 4 or 8 bytes), contiguous; sums are 12 bytes a pixel and part.
// Limits: 65,535 parts; fewer than 2^31 frames.
template <class T>
__device__ void sum_frames(const T* __restrict__ counts, const double* __restrict__ scale,
                           double* __restrict__ sums, int* __restrict__ seen, double unmeasured,
                           int frames, int share, int pixels) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels)
        return;
    const int first = blockIdx.y * share;
    const int last = min(first + share, frames);
    const T none = static_cast<T>(unmeasured);
    double sum = 0.0;
    int times = 0;
#pragma unroll 8
    for (int j = first; j < last; ++j) {
        const T count = counts[static_cast<size_t>(j) * pixels + i];
        sum += count == none ? 0.0 : scale[j] * static_cast<double>(count);
        times += count != none;
    }
    sums[static_cast<size_t>(blockIdx.y) * pixels + i] = sum;
    seen[static_cast<size_t>(blockIdx.y) * pixels + i] = times;
}

// One block a multiprocessor will do: unless told so, ptxas spills registers to have two on Ampere.
#define WITH_NAME(NAME, CORRECTS, IN_TYPE, OUT_TYPE)                                               \
    extern "C" __global__ void __launch_bounds__(1024, 1) NAME(                                    \
        const IN_TYPE* frames, const int* source, const float* dark, const float* flat,            \
        const double* scale, OUT_TYPE* counts, Statistics* statistics, double unmeasured,          \
        Limit<IN_TYPE> limit, double threshold, int masks, int parts, int frame_pixels,            \
        int pixels)                                                                                \
    {                                                                                              \
        prepare<IN_TYPE, OUT_TYPE, CORRECTS>(frames, source, dark, flat, scale, counts,            \
                                             statistics, unmeasured, limit, threshold, masks,      \
                                             parts, frame_pixels, pixels);                         \
    }

#define PREPARE(IN, IN_TYPE, OUT, OUT_TYPE)                                                        \
    WITH_NAME(prepare_##IN##_##OUT, false, IN_TYPE, OUT_TYPE)

// Computed in double precision, and kept as floats even where they turn out to be whole: `take`
// makes them small integers.
#define CORRECT(IN, IN_TYPE)                                                                       \
    WITH_NAME(correct_##IN##_float32, true, IN_TYPE, float)                                        \
    WITH_NAME(correct_##IN##_float64, true, IN_TYPE, double)

#define TAKE(IN, IN_TYPE, OUT, OUT_TYPE)                                                           \
    extern "C" __global__ void __launch_bounds__(1024) take_##IN##_##OUT(                          \
        const IN_TYPE* counts, const int* which, OUT_TYPE* to, double unmeasured,                  \
        double unmeasured_to, int pixels)                                                          \
    {                                                                                              \
        take<IN_TYPE, OUT_TYPE>(counts, which, to, unmeasured, unmeasured_to, pixels);             \
    }

#define SUM(NAME, TYPE)                                                                            \
    extern "C" __global__ void __launch_bounds__(256) sum_##NAME(                                  \
        const TYPE* counts, const double* scale, double* sums, int* seen, double unmeasured,       \
        int frames, int share, int pixels)                                                         \
    {                                                                                              \
        sum_frames<TYPE>(counts, scale, sums, seen, unmeasured, frames, share, pixels);            \
    }

PREPARE(bool, bool, uint16, uint16_t)
PREPARE(int8, int8_t, uint16, uint16_t)
PREPARE(uint8, uint8_t, uint16, uint16_t)
PREPARE(int16, int16_t, uint16, uint16_t)
PREPARE(uint16, uint16_t, uint16, uint16_t)

PREPARE(int32, int32_t, float32, float)
PREPARE(uint32, uint32_t, float32, float)
PREPARE(int64, int64_t, float32, float)
PREPARE(uint64, uint64_t, float32, float)
PREPARE(float32, float, float32, float)
PREPARE(float64, double, float32, float)

PREPARE(int32, int32_t, float64, double)
PREPARE(uint32, uint32_t, float64, double)
PREPARE(int64, int64_t, float64, double)
PREPARE(uint64, uint64_t, float64, double)
PREPARE(float64, double, float64, double)

CORRECT(bool, bool)
CORRECT(int8, int8_t)
CORRECT(uint8, uint8_t)
CORRECT(int16, int16_t)
CORRECT(uint16, uint16_t)
CORRECT(int32, int32_t)
CORRECT(uint32, uint32_t)
CORRECT(int64, int64_t)
CORRECT(uint64, uint64_t)
CORRECT(float32, float)
CORRECT(float64, double)

TAKE(uint16, uint16_t, uint16, uint16_t)
TAKE(float32, float, float32, float)
TAKE(float64, double, float64, double)
TAKE(float32, float, uint16, uint16_t)
TAKE(float64, double, uint16, uint16_t)

SUM(uint16, uint16_t)
SUM(float32, float)
SUM(float64, double)
