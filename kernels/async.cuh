// Copies from global to shared memory that run beside the computation (sm_80 and newer); on older
// GPUs they are done at once.
#pragma once

// Copy BYTES (4, 8 or 16) to shared memory; both addresses are multiples of BYTES.
template <int BYTES>
__device__ __forceinline__ void copy_async(void* target, const void* source) {
#if __CUDA_ARCH__ >= 800
    const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(target));
    if constexpr (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(source) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(source), "n"(BYTES)
                     : "memory");
#else
    if constexpr (BYTES == 16) *static_cast<int4*>(target) = *static_cast<const int4*>(source);
    if constexpr (BYTES == 8) *static_cast<int2*>(target) = *static_cast<const int2*>(source);
    if constexpr (BYTES == 4) *static_cast<int*>(target) = *static_cast<const int*>(source);
#endif
}

// Close a group of copies of this thread.
__device__ __forceinline__ void close_group() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Wait until at most LEFT of this thread's groups are under way.
template <int LEFT>
__device__ __forceinline__ void wait_groups() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#endif
}
