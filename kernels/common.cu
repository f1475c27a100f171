// What is done with probe and object themselves, and with the denominators of eqs. (5) and (6): a few
// million numbers an iteration, in single or double precision. All sums over them are doubles.
#include <stdint.h>

#if DOUBLE
using Real = double;
using Complex = double2;
using Bits = unsigned long long;
#else
using Real = float;
using Complex = float2;
using Bits = unsigned;
#endif

// Where a denominator of (5) or (6) is below this share of its maximum, the old value stays.
constexpr double LEAST_DENOMINATOR = 1e-8;
constexpr int BLOCK = 256;
// Side of the object's tiles, each of which knows the views that overlap it.
constexpr int TILE = 32;

__device__ __forceinline__ double square(Complex v) {
    return static_cast<double>(v.x) * v.x + static_cast<double>(v.y) * v.y;
}

// Add the block's sum of `value` to *total; all threads of the block call it.
__device__ __forceinline__ void add_block(double* total, double value) {
    __shared__ double parts[BLOCK / 32];
    for (int step = 16; step; step /= 2) value += __shfl_xor_sync(~0u, value, step);
    __syncthreads();
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x == 0) {
        double sum = 0;
        for (int i = 0; i < BLOCK / 32; ++i) sum += parts[i];
        atomicAdd(total, sum);
    }
}

__device__ __forceinline__ Bits bits_of(Real value) {
#if DOUBLE
    return __double_as_longlong(value);
#else
    return __float_as_uint(value);
#endif
}
__device__ __forceinline__ Real real_of(Bits bits) {
#if DOUBLE
    return __longlong_as_double(bits);
#else
    return __uint_as_float(bits);
#endif
}

extern "C" {

// Most kernels do `size` pixels of pictures of `stride` pixels a mode: pointers are at the first of them.

// density(r) = sum over the modes of |values|^2. values (modes, stride). Grid: size / BLOCK.
__global__ void density(Real* out, const Complex* values, int modes, int size, int stride) {
    const int p = blockIdx.x * BLOCK + threadIdx.x;
    if (p >= size) return;
    Real sum = 0;
    for (int mode = 0; mode < modes; ++mode) {
        const Complex v = values[static_cast<int64_t>(mode) * stride + p];
        sum += v.x * v.x + v.y * v.y;
    }
    out[p] = sum;
}

// Denominator of eq. (5): total(r) += sum over the views of density(r + r_j); density (H, width), total
// (n, n). It reads 4 bytes a pixel and view, from L2 mostly. Grid: (n^2 / BLOCK, parts of the views).
__global__ void sum_windows(
    Real* total, const Real* __restrict__ density, const int2* __restrict__ positions, int views, int n,
    int width
) {
    const int p = blockIdx.x * BLOCK + threadIdx.x;
    if (p >= n * n) return;
    const int64_t here = static_cast<int64_t>(p / n) * width + p % n;
    Real sum = 0;
    // Views one after the other, which lie side by side: most of what they read is in the cache.
    const int first = static_cast<int64_t>(views) * blockIdx.y / gridDim.y;
    const int last = static_cast<int64_t>(views) * (blockIdx.y + 1) / gridDim.y;
#pragma unroll 4
    for (int view = first; view < last; ++view) {
        const int2 corner = positions[view];
        sum += density[here + static_cast<int64_t>(corner.x) * width + corner.y];
    }
    atomicAdd(total + p, sum);
}

// Denominator of eq. (6): total(r) = sum over the views of intensity(r - r_j); intensity (n, n), total
// (height, width). Tile (TILE x TILE) number b is overlapped by views listed[starts[b]] ..
// listed[starts[b + 1] - 1]: nothing is added by atomics. From row `first` of tiles on. Grid: (tiles
// across, tiles down), BLOCK threads.
__global__ void add_windows(
    Real* total, const Real* __restrict__ intensity, const int2* __restrict__ positions,
    const int* __restrict__ starts, const int* __restrict__ listed, int n, int height, int width,
    int first
) {
    constexpr int EACH = TILE * TILE / BLOCK, STEP = TILE / EACH;
    const int down = first + blockIdx.y, tile = down * gridDim.x + blockIdx.x;
    const int x = blockIdx.x * TILE + threadIdx.x % TILE;
    const int y = down * TILE + threadIdx.x / TILE;
    Real sum[EACH] = {};
    for (int l = starts[tile]; l < starts[tile + 1]; ++l) {
        const int2 corner = positions[listed[l]];
        const int column = x - corner.y;
        if (column < 0 || column >= n) continue;
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
            const int row = y + STEP * i - corner.x;
            if (row >= 0 && row < n) sum[i] += intensity[row * n + column];
        }
    }
    if (x < width)
        for (int i = 0; i < EACH; ++i)
            if (y + STEP * i < height) total[static_cast<int64_t>(y + STEP * i) * width + x] = sum[i];
}

// *most = max(*most, values), of values >= 0, whose bits are ordered as they are. Grid: any.
__global__ void maximum(Bits* most, const Real* values, int size) {
    Bits largest = 0;
    for (int p = blockIdx.x * BLOCK + threadIdx.x; p < size; p += gridDim.x * BLOCK) {
        const Bits bits = bits_of(values[p]);
        if (bits > largest) largest = bits;
    }
    for (int step = 16; step; step /= 2) {
        const Bits other = __shfl_xor_sync(~0u, largest, step);
        if (other > largest) largest = other;
    }
    if (threadIdx.x % 32 == 0) atomicMax(most, largest);
}

// Eqs. (5), (6): value = numerator / denominator where the denominator is above LEAST_DENOMINATOR of
// *most; then its amplitude and phase are clamped to `low` .. `high` where asked for. change[2 mode] +=
// sum |new - old|^2 and change[2 mode + 1] += sum |new|^2 over pixels begin .. end - 1, for eq. (7).
// numerator, value (modes, stride); denominator (stride). Grid: (size / BLOCK, modes).
__global__ void quotient(
    Complex* values, const Complex* numerators, const Real* denominators, const Bits* most, int size,
    int stride, int begin, int end, int clamp_amplitude, Real amplitude_low, Real amplitude_high,
    int clamp_phase, Real phase_low, Real phase_high, double* change
) {
    const int p = blockIdx.x * BLOCK + threadIdx.x, mode = blockIdx.y;
    double moved = 0, norm = 0;
    if (p < size) {
        const int64_t at = static_cast<int64_t>(mode) * stride + p;
        const Complex old = values[at];
        Complex now = old;
        const Real denominator = denominators[p];
        if (denominator > static_cast<Real>(LEAST_DENOMINATOR) * real_of(*most)) {
            now.x = numerators[at].x / denominator;
            now.y = numerators[at].y / denominator;
        }
        if (clamp_amplitude || clamp_phase) {
            Real size_of = hypot(now.x, now.y), angle = atan2(now.y, now.x);
            if (clamp_amplitude) size_of = min(max(size_of, amplitude_low), amplitude_high);
            if (clamp_phase) angle = min(max(angle, phase_low), phase_high);
            now.x = size_of * cos(angle);
            now.y = size_of * sin(angle);
        }
        values[at] = now;
        const Complex d = {now.x - old.x, now.y - old.y};
        if (p >= begin && p < end) {
            moved = square(d);
            norm = square(now);
        }
    }
    add_block(change + 2 * mode, moved);
    add_block(change + 2 * mode + 1, norm);
}

// sums[0..2] += sum I, sum I row, sum I column; intensity (n, n). Grid: n^2 / BLOCK.
__global__ void centre(double* sums, const Real* intensity, int n) {
    const int p = blockIdx.x * BLOCK + threadIdx.x;
    const double i = p < n * n ? intensity[p] : 0;
    add_block(sums, i);
    add_block(sums + 1, i * (p / n));
    add_block(sums + 2, i * (p % n));
}

// out = in moved by (rows, columns), both >= 0, round the edges; (modes, height, width).
// Grid: (height width / BLOCK, modes).
__global__ void roll_picture(Complex* out, const Complex* in, int height, int width, int rows, int columns) {
    const int p = blockIdx.x * BLOCK + threadIdx.x;
    if (p >= height * width) return;
    const int64_t first = static_cast<int64_t>(blockIdx.y) * height * width;
    const int row = (p / width + rows) % height, column = (p % width + columns) % width;
    out[first + static_cast<int64_t>(row) * width + column] = in[first + p];
}

// sums[2 mode ..] += Re, Im of sum conj(values) first; powers[mode] += sum |values|^2. (modes, stride).
// Grid: (size / BLOCK, modes).
__global__ void overlap(
    double* sums, double* powers, const Complex* values, const Complex* first, int size, int stride
) {
    const int p = blockIdx.x * BLOCK + threadIdx.x, mode = blockIdx.y;
    double re = 0, im = 0, power = 0;
    if (p < size) {
        const int64_t at = static_cast<int64_t>(mode) * stride + p;
        const Complex a = values[at], b = first[at];
        re = static_cast<double>(a.x) * b.x + static_cast<double>(a.y) * b.y;
        im = static_cast<double>(a.x) * b.y - static_cast<double>(a.y) * b.x;
        power = square(a);
    }
    add_block(sums + 2 * mode, re);
    add_block(sums + 2 * mode + 1, im);
    add_block(powers + mode, power);
}

// total += values, turned to the phase of the first iterate: by sums of `overlap`. total (modes, stride).
// Grid: (size / BLOCK, modes).
__global__ void add_turned(
    double2* total, const Complex* values, const double* sums, int size, int stride
) {
    const int p = blockIdx.x * BLOCK + threadIdx.x, mode = blockIdx.y;
    if (p >= size) return;
    const double re = sums[2 * mode], im = sums[2 * mode + 1], length = hypot(re, im);
    const double c = length > 0 ? re / length : 1, s = length > 0 ? im / length : 0;
    const int64_t at = static_cast<int64_t>(mode) * stride + p;
    const Complex v = values[at];
    total[at].x += c * v.x - s * v.y;
    total[at].y += c * v.y + s * v.x;
}

}  // extern "C"
