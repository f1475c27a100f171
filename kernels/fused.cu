// The fused kernels of one window and one kind of storage, as solver/cuda/fused.py calls them: the
// exit waves stay in mixed space, X = a R psi, from one iteration to the next.
//
//     product      aux = a R[P O]                                    8 bytes a number
//     constrain    X  <- keep X + C^-1[(constrained f + free) V]    24
//     probe_sums   sum conj(O) psi                                   8
//     object_sums  sum conj(P) psi                                   8
//
// 48 bytes a number of a view and mode, and iteration (24 in half storage); one read and one write
// of the waves would be 16.
#include "constraint.cuh"
#include "product.cuh"
#include "sums.cuh"

// Threads of a block and blocks of a multiprocessor: as many as leave each thread registers for its
// numbers, with none spilt. solver/cuda/fused.py asks the compiled kernels for their threads.
constexpr int WIDEST = ELEMENTS > PLACES ? ELEMENTS : PLACES;
constexpr int PRODUCT_THREADS = WIDEST <= 24 ? 256 : 192;
constexpr int PROBE_SUMS_THREADS = WIDEST <= 24 ? 384 : 256;
constexpr int OBJECT_SUMS_THREADS = WIDEST <= 24 ? 448 : ELEMENTS <= 24 ? 384 : 256;
// With few modes the blocks of stage 2 are small, and several are wanted on a multiprocessor.
constexpr int FEW_MODES = 5, MOST_MODES = 16;
constexpr int FEW_BLOCKS = SHARE > 1 ? 2 : ELEMENTS <= 24 ? 4 : 3;

extern "C" {

__global__ void __launch_bounds__(PRODUCT_THREADS, 2) fused_product(
    Stored* waves, const float2* probe, const float2* object, const int2* positions, const float2* roots,
    int views, int modes, int width, float a
) {
    product(waves, probe, object, positions, roots, views, modes, width, a);
}

__global__ void __launch_bounds__(32 * FEW_MODES * SHARE, FEW_BLOCKS) fused_constrain_few(
    Stored* waves, const Stored* aux, const void* counts, const float* gains, const float2* roots, int modes, int wide,
    float product, float wave, float keep, float constrained, float free
) {
    constrain(waves, aux, counts, gains, roots, modes, wide, product, wave, keep, constrained, free);
}

__global__ void __launch_bounds__(32 * MOST_MODES, 1) fused_constrain_many(
    Stored* waves, const Stored* aux, const void* counts, const float* gains, const float2* roots, int modes, int wide,
    float product, float wave, float keep, float constrained, float free
) {
    constrain(waves, aux, counts, gains, roots, modes, wide, product, wave, keep, constrained, free);
}

__global__ void __launch_bounds__(32 * MOST_MODES, 1) fused_misfit(
    double* sums, const Stored* aux, const void* counts, const float* scales, const float2* roots, int modes, int wide,
    float norm
) {
    misfit(sums, aux, counts, scales, roots, modes, wide, norm);
}

__global__ void __launch_bounds__(PROBE_SUMS_THREADS, 1) fused_probe_sums(
    float2* numerator, const Stored* waves, const float2* object, const int2* positions,
    const float2* roots, int views, int modes, int width, float norm
) {
    probe_sums(numerator, waves, object, positions, roots, views, modes, width, norm);
}

__global__ void __launch_bounds__(OBJECT_SUMS_THREADS, 1) fused_object_sums(
    float2* numerator, const Stored* waves, const float2* probe, const int2* positions,
    const float2* roots, int views, int modes, int width, float norm
) {
    object_sums(numerator, waves, probe, positions, roots, views, modes, width, norm);
}

__global__ void __launch_bounds__(32) fused_roll(Stored* waves, int rows, int columns) {
    roll(waves, rows, columns);
}

}  // extern "C"
