// Complex numbers in single precision, and loops whose counter is a compile-time constant.
#pragma once

__device__ __forceinline__ float2 operator+(float2 a, float2 b) { return {a.x + b.x, a.y + b.y}; }
__device__ __forceinline__ float2 operator-(float2 a, float2 b) { return {a.x - b.x, a.y - b.y}; }
__device__ __forceinline__ float2 operator*(float s, float2 a) { return {s * a.x, s * a.y}; }
__device__ __forceinline__ float2 operator*(float2 a, float2 b) {
    return {a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x};
}
// conj(a) b
__device__ __forceinline__ float2 conj_times(float2 a, float2 b) {
    return {a.x * b.x + a.y * b.y, a.x * b.y - a.y * b.x};
}
__device__ __forceinline__ float square(float2 a) { return a.x * a.x + a.y * a.y; }

template <int I>
struct Constant {
    static constexpr int value = I;
    __device__ constexpr operator int() const { return I; }
};

// f(First), ..., f(Last - 1): arrays indexed by the counter stay in registers, and what depends on
// it alone is computed by the compiler.
template <int First, int Last, class F>
__device__ __forceinline__ void unrolled(F&& f) {
    if constexpr (First < Last) {
        f(Constant<First>{});
        unrolled<First + 1, Last>(f);
    }
}
