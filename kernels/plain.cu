// The plain path: exit waves of any window size and any number of modes; a library does the FFT.
//
// Equations (2) to (6) are those of Dong et al. 2018, as solver/difference_map.py has them. In GPU
// memory, all in C order:
//   psi      (N, M_O, M_P, n, n)  exit waves psi_jlk of view j, object mode l, probe mode k
//   probe    (M_P, n, n)          P_k
//   object   (M_O, H, W)          O_l
//   counts   (N, n, n)            photons as on file, in the spectra's order, DC at [0, 0];
//                                 scale (N) times them is I
// A kernel is given where the first of its views lies in each; its spectra are V = F(psi) of the
// unnormalised FFT, n times those of the equations.
//
// A thread does V pixels beside each other: two where a pair is 16 bytes and aligned (float, n
// even), else one. A grid is (pixels of a window) x (views): a block does V blockDim.x pixels of
// `a_block` views, one view after the other, so that what depends on the pixel alone, its row and
// column and P in the L1 cache, serves them all. Limits of all kernels: n^2 and H W < 2^31, grid y
// and z < 65536; offsets into psi are 64-bit.
//
// "Traffic" is of the GPU's memory, bytes a pixel and mode in single precision (double: twice
// that), where P and the windows of O come from the caches.
#include "scalar.cuh"

using Offset = long long;
using Position = int2;  // x: row, y: column

// The views that a kernel is given; arguments "Pii" in Python.
struct Views {
    const Position* positions;  // of each window's [0, 0] pixel in the object
    int count;
    int a_block;  // that a block does
};

// Arguments "iiiii".
struct Shape {
    int n, probe_modes, object_modes, height, width;

    __device__ int plane() const { return n * n; }
    __device__ Offset object_plane() const { return static_cast<Offset>(height) * width; }
    __device__ Offset view() const {
        return static_cast<Offset>(object_modes) * probe_modes * plane();
    }
    // Offset of pixel p of a view's window in the object.
    __device__ Offset in_object(Position corner, int p) const {
        return static_cast<Offset>(corner.x + p / n) * width + corner.y + p % n;
    }
};

constexpr int BATCH = 5;  // waves whose loads are under way at once
constexpr int HELD = 8;   // waves that a thread of `constrain` keeps in registers
constexpr int WARP = 32;

// What was not measured: UNMEASURED in solver/cuda/waves.py. Of real numbers anything negative.
__device__ __forceinline__ bool measured(unsigned short count) { return count != 65535; }
__device__ __forceinline__ bool measured(float count) { return count >= 0; }
__device__ __forceinline__ bool measured(double count) { return count >= 0; }

constexpr int MOST = DOUBLE ? 1 : 2;  // pixels a thread
__device__ __forceinline__ bool in_packs(int n) { return n % MOST == 0; }

// First of this thread's pixels; n^2 or more where it has none.
template <int V>
__device__ __forceinline__ int first_pixel() {
    return V * (blockIdx.x * blockDim.x + threadIdx.x);
}

// f(j) for each view of this block, the `group`th of its kind.
template <class F>
__device__ __forceinline__ void each_view(const Views& views, int group, F&& f) {
    const int first = group * views.a_block, end = min(first + views.a_block, views.count);
    for (int j = first; j < end; ++j) f(j);
}

// f(w, pack) for the packs at first + w plane, w = 0 .. count - 1.
template <int V, class F>
__device__ __forceinline__ void each_wave(const Complex* first, int plane, int count, F&& f) {
    for (int start = 0; start < count; start += BATCH) {
        const Complex* from = first + static_cast<Offset>(start) * plane;
        Pack<V> value[BATCH];
#pragma unroll
        for (int b = 0; b < BATCH; ++b)
            if (start + b < count) value[b] = load_once<V>(from + static_cast<Offset>(b) * plane);
#pragma unroll
        for (int b = 0; b < BATCH; ++b)
            if (start + b < count) f(start + b, value[b]);
    }
}

template <int V>
__device__ __forceinline__ void multiply_pixels(
    Complex* __restrict__ out, const Complex* __restrict__ probe,
    const Complex* __restrict__ object, const Views& views, const Shape& shape) {
    const int plane = shape.plane(), p = first_pixel<V>();
    if (p >= plane) return;
    each_view(views, blockIdx.y, [&](int j) {
        const Complex* window = object + shape.in_object(views.positions[j], p);
        Complex* to = out + j * shape.view() + p;
        for (int l = 0; l < shape.object_modes; ++l, window += shape.object_plane()) {
            const Pack<V> o = gather<V>(window);
            const Complex* from = probe + p;
            for (int k = 0; k < shape.probe_modes; ++k, from += plane, to += plane) {
                Pack<V> value = load<V>(from);
#pragma unroll
                for (int v = 0; v < V; ++v) value.at[v] = value.at[v] * o.at[v];
                store<V>(to, value);
            }
        }
    });
}

// Eq. (2): out_jlk = P_k O_l, the window of O at the view's position.
// Traffic: write 8. Grid (pixels, groups of views).
extern "C" __global__ void multiply(
    Complex* __restrict__ out, const Complex* __restrict__ probe,
    const Complex* __restrict__ object, Views views, Shape shape) {
    if (in_packs(shape.n))
        multiply_pixels<MOST>(out, probe, object, views, shape);
    else
        multiply_pixels<1>(out, probe, object, views, shape);
}

template <int V>
__device__ __forceinline__ void form_pixels(
    Complex* __restrict__ out, const Complex* __restrict__ psi, const Complex* __restrict__ probe,
    const Complex* __restrict__ object, const Views& views, const Shape& shape, Real product,
    Real wave) {
    const int plane = shape.plane(), p = first_pixel<V>();
    if (p >= plane) return;
    each_view(views, blockIdx.y, [&](int j) {
        const Complex* window = object + shape.in_object(views.positions[j], p);
        Offset first = j * shape.view() + p;
        for (int l = 0; l < shape.object_modes; ++l, window += shape.object_plane()) {
            Pack<V> o = gather<V>(window);
#pragma unroll
            for (int v = 0; v < V; ++v) o.at[v] = product * o.at[v];
            each_wave<V>(psi + first, plane, shape.probe_modes, [&](int k, Pack<V> value) {
                const Offset mode = static_cast<Offset>(k) * plane;
                const Pack<V> q = load<V>(probe + mode + p);
#pragma unroll
                for (int v = 0; v < V; ++v)
                    value.at[v] = q.at[v] * o.at[v] + wave * value.at[v];
                store<V>(out + first + mode, value);
            });
            first += static_cast<Offset>(shape.probe_modes) * plane;
        }
    });
}

// What eq. (4) is taken of in eq. (3), before the FFT: out_jlk = product P_k O_l + wave psi_jlk;
// 2 P O - psi for the difference map. `out` is not psi.
// Traffic: read 8, write 8. Grid (pixels, groups of views).
extern "C" __global__ void form(
    Complex* __restrict__ out, const Complex* __restrict__ psi, const Complex* __restrict__ probe,
    const Complex* __restrict__ object, Views views, Shape shape, Real product, Real wave) {
    if (in_packs(shape.n))
        form_pixels<MOST>(out, psi, probe, object, views, shape, product, wave);
    else
        form_pixels<1>(out, psi, probe, object, views, shape, product, wave);
}

template <int V, class Count>
__device__ __forceinline__ void constrain_pixels(
    Complex* spectra, const Count* __restrict__ counts, const Real* __restrict__ scale, int n,
    int waves, Real constrained, Real unconstrained) {
    const int plane = n * n, p = first_pixel<V>(), j = blockIdx.y;
    if (p >= plane) return;
    Complex* const first = spectra + static_cast<Offset>(j) * waves * plane + p;

    Pack<V> held[HELD];
    Real sum[V] = {};
#pragma unroll
    for (int w = 0; w < HELD; ++w)
        if (w < waves) held[w] = load<V>(first + static_cast<Offset>(w) * plane);
#pragma unroll
    for (int w = 0; w < HELD; ++w)
        if (w < waves)
#pragma unroll
            for (int v = 0; v < V; ++v) sum[v] += square(held[w].at[v]);
    for (int w = HELD; w < waves; ++w) {
        const Pack<V> value = load<V>(first + static_cast<Offset>(w) * plane);
#pragma unroll
        for (int v = 0; v < V; ++v) sum[v] += square(value.at[v]);
    }

    const Pack<V, Count> count = load<V>(counts + static_cast<Offset>(j) * plane + p);
    Real weight[V];
#pragma unroll
    for (int v = 0; v < V; ++v) {
        Real f = 1;
        // Two roots rather than that of the quotient, which is infinite for the least sums.
        if (measured(count.at[v]))
            f = sum[v] > 0 ? n * sqrt(static_cast<Real>(count.at[v]) * scale[j]) / sqrt(sum[v]) : 0;
        weight[v] = (constrained * f + unconstrained) / (static_cast<Real>(n) * n);
    }

#pragma unroll
    for (int w = 0; w < HELD; ++w)
        if (w < waves) {
#pragma unroll
            for (int v = 0; v < V; ++v) held[w].at[v] = weight[v] * held[w].at[v];
            store<V>(first + static_cast<Offset>(w) * plane, held[w]);
        }
    for (int w = HELD; w < waves; ++w) {
        Pack<V> value = load<V>(first + static_cast<Offset>(w) * plane);
#pragma unroll
        for (int v = 0; v < V; ++v) value.at[v] = weight[v] * value.at[v];
        store<V>(first + static_cast<Offset>(w) * plane, value);
    }
}

template <int V, class Count>
__device__ __forceinline__ void misfit_pixels(
    double& wrong, double& light, const Complex* __restrict__ spectra,
    const Count* __restrict__ counts, const Real* __restrict__ scale, const Views& views, int n,
    int waves) {
    const int plane = n * n, p = first_pixel<V>();
    if (p >= plane) return;
    each_view(views, blockIdx.y, [&](int j) {
        const Complex* first = spectra + static_cast<Offset>(j) * waves * plane + p;
        Real sum[V] = {};
        each_wave<V>(first, plane, waves, [&](int, Pack<V> value) {
#pragma unroll
            for (int v = 0; v < V; ++v) sum[v] += square(value.at[v]);
        });
        const Pack<V, Count> count = load<V>(counts + static_cast<Offset>(j) * plane + p);
#pragma unroll
        for (int v = 0; v < V; ++v)
            if (measured(count.at[v])) {
                const Real intensity = static_cast<Real>(count.at[v]) * scale[j];
                const double difference = sqrt(intensity) - sqrt(sum[v]) / n;
                wrong += difference * difference;
                light += intensity;
            }
    });
}

// sums[0] += wrong, sums[1] += light, over the block, which is whole warps and here as a whole.
__device__ __forceinline__ void add_over_block(double* sums, double wrong, double light) {
    __shared__ double part[2][WARP];
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        wrong += __shfl_down_sync(~0u, wrong, distance);
        light += __shfl_down_sync(~0u, light, distance);
    }
    if (threadIdx.x % WARP == 0) {
        part[0][threadIdx.x / WARP] = wrong;
        part[1][threadIdx.x / WARP] = light;
    }
    __syncthreads();
    if (threadIdx.x < 2) {
        double sum = 0;
        for (int w = 0; w < blockDim.x / WARP; ++w) sum += part[threadIdx.x][w];
        atomicAdd(sums + threadIdx.x, sum);
    }
}

// One pair of kernels for each type of counts.
//
// constrain: eq. (4), with what eq. (3) makes of it and the 1/n^2 of two unnormalised FFTs,
//     V <- (constrained f + unconstrained) V / n^2,   f = sqrt(I / (s / n^2)),  s = sum_lk |V|^2,
// f = 1 where not measured, 0 where s is 0. All modes of a pixel are one thread's.
// Traffic: read 8, write 8 (read 16 of the modes beyond HELD, where the caches do not keep them);
// and the counts once. Grid (pixels, views).
//
// misfit: the sums of ``error_fourier``, over measured pixels, of spectra V of P O,
//     sums[0] += sum (sqrt I - sqrt(s) / n)^2,   sums[1] += sum I.
// Traffic: read 8, and the counts once. Grid (pixels, groups of views); blocks of whole warps.
#define FOR_COUNTS(suffix, Count)                                                                  \
    extern "C" __global__ void constrain_##suffix(                                                 \
        Complex* spectra, const Count* __restrict__ counts, const Real* __restrict__ scale, int n, \
        int waves, Real constrained, Real unconstrained) {                                         \
        if (in_packs(n))                                                                           \
            constrain_pixels<MOST>(spectra, counts, scale, n, waves, constrained, unconstrained);  \
        else                                                                                       \
            constrain_pixels<1>(spectra, counts, scale, n, waves, constrained, unconstrained);     \
    }                                                                                              \
    extern "C" __global__ void misfit_##suffix(                                                    \
        double* sums, const Complex* __restrict__ spectra, const Count* __restrict__ counts,       \
        const Real* __restrict__ scale, Views views, int n, int waves) {                           \
        double wrong = 0, light = 0;                                                               \
        if (in_packs(n))                                                                           \
            misfit_pixels<MOST>(wrong, light, spectra, counts, scale, views, n, waves);            \
        else                                                                                       \
            misfit_pixels<1>(wrong, light, spectra, counts, scale, views, n, waves);               \
        add_over_block(sums, wrong, light);                                                        \
    }

FOR_COUNTS(u16, unsigned short)
FOR_COUNTS(f32, float)
#if DOUBLE
FOR_COUNTS(f64, double)
#endif

template <int V>
__device__ __forceinline__ void mix_pixels(
    Complex* __restrict__ psi, const Complex* __restrict__ moved, Offset size, Real keep) {
    const Offset i = V * (static_cast<Offset>(blockIdx.x) * blockDim.x + threadIdx.x);
    if (i >= size) return;
    Pack<V> value = load<V>(psi + i);
    const Pack<V> other = load<V>(moved + i);
#pragma unroll
    for (int v = 0; v < V; ++v) value.at[v] = keep * value.at[v] + other.at[v];
    store<V>(psi + i, value);
}

// The end of eq. (3), after the inverse FFT: psi <- keep psi + moved, `size` numbers.
// Traffic: read 16, write 8. Grid (packs).
extern "C" __global__ void mix(
    Complex* __restrict__ psi, const Complex* __restrict__ moved, Offset size, int n, Real keep) {
    if (in_packs(n))
        mix_pixels<MOST>(psi, moved, size, keep);
    else
        mix_pixels<1>(psi, moved, size, keep);
}

template <int V>
__device__ __forceinline__ void add_to_probe_pixels(
    Complex* __restrict__ numerator, const Complex* __restrict__ psi,
    const Complex* __restrict__ object, const Views& views, const Shape& shape, int modes_a_block) {
    const int plane = shape.plane(), p = first_pixel<V>();
    if (p >= plane) return;
    const int k = blockIdx.y * modes_a_block, modes = min(modes_a_block, shape.probe_modes - k);
    Pack<V> sum[BATCH] = {};
    each_view(views, blockIdx.z, [&](int j) {
        const Complex* window = object + shape.in_object(views.positions[j], p);
        const Complex* from = psi + j * shape.view() + static_cast<Offset>(k) * plane + p;
        for (int l = 0; l < shape.object_modes; ++l, window += shape.object_plane()) {
            Pack<V> value[BATCH];
#pragma unroll
            for (int m = 0; m < BATCH; ++m)
                if (m < modes) value[m] = load_once<V>(from + static_cast<Offset>(m) * plane);
            const Pack<V> o = gather<V>(window);
#pragma unroll
            for (int m = 0; m < BATCH; ++m)
                if (m < modes)
#pragma unroll
                    for (int v = 0; v < V; ++v)
                        add_conj_times(sum[m].at[v], o.at[v], value[m].at[v]);
            from += static_cast<Offset>(shape.probe_modes) * plane;
        }
    });
#pragma unroll
    for (int m = 0; m < BATCH; ++m)
        if (m < modes)
#pragma unroll
            for (int v = 0; v < V; ++v)
                atomic_add(numerator + static_cast<Offset>(k + m) * plane + p + v, sum[m].at[v]);
}

// The numerator of eq. (5): numerator_k += sum_jl conj(O_l) psi_jlk.
// A block sums `modes_a_block` <= BATCH modes in registers, and adds them once at its end.
// Traffic: read 8. Grid (pixels, groups of modes, groups of views).
extern "C" __global__ void add_to_probe(
    Complex* __restrict__ numerator, const Complex* __restrict__ psi,
    const Complex* __restrict__ object, Views views, Shape shape, int modes_a_block) {
    if (in_packs(shape.n))
        add_to_probe_pixels<MOST>(numerator, psi, object, views, shape, modes_a_block);
    else
        add_to_probe_pixels<1>(numerator, psi, object, views, shape, modes_a_block);
}

// The numerator of eq. (6): numerator_l += sum_jk conj(P_k) psi_jlk, at the view's position.
// One pixel a thread, so that a warp's additions lie beside each other.
// Traffic: read 8; and an addition in the L2 cache a pixel and object mode of each view.
// Grid (pixels, groups of views).
extern "C" __global__ void add_to_object(
    Complex* __restrict__ numerator, const Complex* __restrict__ psi,
    const Complex* __restrict__ probe, Views views, Shape shape) {
    const int plane = shape.plane(), p = first_pixel<1>();
    if (p >= plane) return;
    each_view(views, blockIdx.y, [&](int j) {
        Complex* to = numerator + shape.in_object(views.positions[j], p);
        const Complex* from = psi + j * shape.view() + p;
        for (int l = 0; l < shape.object_modes; ++l, to += shape.object_plane()) {
            Complex sum = {};
            each_wave<1>(from, plane, shape.probe_modes, [&](int k, Pack<1> value) {
                add_conj_times(sum, probe[static_cast<Offset>(k) * plane + p], value.at[0]);
            });
            atomic_add(to, sum);
            from += static_cast<Offset>(shape.probe_modes) * plane;
        }
    });
}

// rolled[y, x] = psi[y - rows, x - columns], round the edges; 0 <= rows, columns < n. `rolled` is
// not psi. Traffic: read 8, write 8. Grid (pixels, groups of views).
extern "C" __global__ void roll(
    Complex* __restrict__ rolled, const Complex* __restrict__ psi, Views views, int n, int waves,
    int rows, int columns) {
    const int plane = n * n, p = first_pixel<1>();
    if (p >= plane) return;
    const int y = p / n - rows, x = p % n - columns;
    const int source = (y < 0 ? y + n : y) * n + (x < 0 ? x + n : x);
    each_view(views, blockIdx.y, [&](int j) {
        const Offset first = static_cast<Offset>(j) * waves * plane;
        each_wave<1>(psi + first + source, plane, waves, [&](int w, Pack<1> value) {
            store<1>(rolled + first + static_cast<Offset>(w) * plane + p, value);
        });
    });
}
