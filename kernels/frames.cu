// Frames as a detector wrote them become counts as the exit waves' kernels read them.
//
// A frame on file is (h, w); its counts on the GPU are `pixels` = n * n numbers in an order that
// solver/cuda/frames.py chooses. It hands down that order, crop, shift of DC, rim and mask together
// as one map: source[i] is the pixel of the frame that place i of the window shows, -1 for none.
// Kernels are named after NumPy's types: prepare_<type on file>_<type kept>.

#include <cstdint>
#include <limits>
#include <type_traits>

// The largest number of an integer type: what a saturated pixel holds. A bool is no count.
template <class T>
struct Top {
    static constexpr bool exists = std::is_integral<T>::value && !std::is_same<T, bool>::value;
    static constexpr T value = std::numeric_limits<T>::max();
};

// What one frame says of itself, over the whole window, 0 where not measured or not finite.
// STATISTICS in solver/cuda/frames.py has the same fields in the same order.
struct Statistics {
    double peak, low, photons;
    long long non_finite;  // pixels that are not finite
    long long saturated;   // pixels at the largest number of an integer type
    long long fractional;  // pixels that are not whole numbers
};

__device__ Statistics nothing() {
    return {-INFINITY, INFINITY, 0.0, 0, 0, 0};
}

__device__ Statistics merged(const Statistics& a, const Statistics& b) {
    return {fmax(a.peak, b.peak),      fmin(a.low, b.low),
            a.photons + b.photons,     a.non_finite + b.non_finite,
            a.saturated + b.saturated, a.fractional + b.fractional};
}

// The statistics of the thread `step` lanes up in the same warp; all 32 lanes must ask.
__device__ Statistics from_lane(const Statistics& s, int step) {
    constexpr unsigned all = 0xffffffffu;
    return {__shfl_down_sync(all, s.peak, step),      __shfl_down_sync(all, s.low, step),
            __shfl_down_sync(all, s.photons, step),   __shfl_down_sync(all, s.non_finite, step),
            __shfl_down_sync(all, s.saturated, step), __shfl_down_sync(all, s.fractional, step)};
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
// frames (grid, frame_pixels) as on file; counts (grid, pixels) and statistics (grid,) are those of
// the batch's first frame onwards. Places without a pixel get `unmeasured`.
//
// Traffic: a window's pixel is read once (1 to 8 bytes, as on file) and written once (2, 4 or 8);
// the map, 4 bytes a pixel, is the same for every block and comes from L2. Writes are contiguous.
// Reads gather: with narrow strips a warp takes a few pixels from each of several rows, and what
// else is in these sectors is for the next strips, which find it in L1 or L2.
// Limits: fewer than 2^31 pixels a frame; a block of 32 to 1024 threads, whole warps. With few
// frames in a batch few multiprocessors work, but a batch's copy over PCIe takes longer than that.
template <class In, class Out>
__device__ void prepare(const In* __restrict__ frames, const int* __restrict__ source,
                        Out* __restrict__ counts, Statistics* __restrict__ statistics,
                        double unmeasured, int frame_pixels, int pixels) {
    constexpr bool integer = std::is_integral<In>::value;
    frames += static_cast<size_t>(blockIdx.x) * frame_pixels;
    counts += static_cast<size_t>(blockIdx.x) * pixels;

    Statistics mine = nothing();
    for (int i = threadIdx.x; i < pixels; i += blockDim.x) {
        const int from = source[i];
        Out count = static_cast<Out>(unmeasured);
        double value = 0.0;
        if (from >= 0) {
            const In raw = frames[from];
            count = static_cast<Out>(raw);
            // Integers are judged as on file; others as kept, where the too large are infinite.
            value = integer ? static_cast<double>(raw) : static_cast<double>(count);
            if (!integer && !isfinite(value)) {
                mine.non_finite += 1;
                value = 0.0;
            }
            if constexpr (Top<In>::exists)
                mine.saturated += raw == Top<In>::value;
            mine.fractional += !integer && value != floor(value);
        }
        counts[i] = count;
        mine.peak = fmax(mine.peak, value);
        mine.low = fmin(mine.low, value);
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
// sums[part, i] = sum_j scale[j] counts[j, i] over frames j = part * share .. + share - 1. What
// stands where nothing was measured is summed like any other number: the caller drops it.
//
// Traffic: a pixel is read once (2, 4 or 8 bytes), contiguous; sums are 8 bytes a pixel and part.
// Limits: 65,535 parts; fewer than 2^31 frames.
template <class T>
__device__ void sum_frames(const T* __restrict__ counts, const double* __restrict__ scale,
                           double* __restrict__ sums, int frames, int share, int pixels) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels)
        return;
    const int first = blockIdx.y * share;
    const int last = min(first + share, frames);
    double sum = 0.0;
#pragma unroll 8
    for (int j = first; j < last; ++j)
        sum += scale[j] * static_cast<double>(counts[static_cast<size_t>(j) * pixels + i]);
    sums[static_cast<size_t>(blockIdx.y) * pixels + i] = sum;
}

#define PREPARE(IN, IN_TYPE, OUT, OUT_TYPE)                                                        \
    extern "C" __global__ void __launch_bounds__(1024) prepare_##IN##_##OUT(                       \
        const IN_TYPE* frames, const int* source, OUT_TYPE* counts, Statistics* statistics,        \
        double unmeasured, int frame_pixels, int pixels)                                           \
    {                                                                                              \
        prepare<IN_TYPE, OUT_TYPE>(frames, source, counts, statistics, unmeasured, frame_pixels,   \
                                   pixels);                                                        \
    }

#define TAKE(IN, IN_TYPE, OUT, OUT_TYPE)                                                           \
    extern "C" __global__ void __launch_bounds__(1024) take_##IN##_##OUT(                          \
        const IN_TYPE* counts, const int* which, OUT_TYPE* to, double unmeasured,                  \
        double unmeasured_to, int pixels)                                                          \
    {                                                                                              \
        take<IN_TYPE, OUT_TYPE>(counts, which, to, unmeasured, unmeasured_to, pixels);             \
    }

#define SUM(NAME, TYPE)                                                                            \
    extern "C" __global__ void __launch_bounds__(256) sum_##NAME(                                  \
        const TYPE* counts, const double* scale, double* sums, int frames, int share, int pixels)  \
    {                                                                                              \
        sum_frames<TYPE>(counts, scale, sums, frames, share, pixels);                              \
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

TAKE(uint16, uint16_t, uint16, uint16_t)
TAKE(float32, float, float32, float)
TAKE(float64, double, float64, double)
TAKE(float32, float, uint16, uint16_t)
TAKE(float64, double, uint16, uint16_t)

SUM(uint16, uint16_t)
SUM(float32, float)
SUM(float64, double)
