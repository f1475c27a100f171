// Real and complex numbers of the precision that DOUBLE chooses, and how they come from memory.
#pragma once

#ifndef DOUBLE
#error "DOUBLE is to be defined, 0 or 1: hxn_ptycho/solver/build.py does"
#endif

#if DOUBLE
using Real = double;
using Complex = double2;
#else
using Real = float;
using Complex = float2;
#endif

__device__ __forceinline__ Complex operator+(Complex a, Complex b) {
    return {a.x + b.x, a.y + b.y};
}
__device__ __forceinline__ Complex operator*(Real s, Complex a) { return {s * a.x, s * a.y}; }
__device__ __forceinline__ Complex operator*(Complex a, Complex b) {
    return {a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x};
}
__device__ __forceinline__ Real square(Complex a) { return a.x * a.x + a.y * a.y; }

// sum += conj(a) b, in four multiply-adds.
__device__ __forceinline__ void add_conj_times(Complex& sum, Complex a, Complex b) {
    sum.x += a.x * b.x;
    sum.x += a.y * b.y;
    sum.y += a.x * b.y;
    sum.y -= a.y * b.x;
}

// *target += value, real and imaginary part each by itself whole; one instruction where there is
// one (float, sm_90).
__device__ __forceinline__ void atomic_add(Complex* target, Complex value) {
#if !DOUBLE && __CUDA_ARCH__ >= 900
    atomicAdd(target, value);
#else
    atomicAdd(&target->x, value.x);
    atomicAdd(&target->y, value.y);
#endif
}

// V numbers that lie beside each other, aligned so that they move as one.
template <int V, class T = Complex>
struct alignas(V * sizeof(T)) Pack {
    T at[V];
};

template <int V, class T>
__device__ __forceinline__ Pack<V, T> load(const T* from) {
    return *reinterpret_cast<const Pack<V, T>*>(from);
}
template <int V, class T>
__device__ __forceinline__ void store(T* to, Pack<V, T> value) {
    *reinterpret_cast<Pack<V, T>*>(to) = value;
}

// As `load`, of what this block does not read again: it leaves the L1 cache to what it does.
template <int V>
__device__ __forceinline__ Pack<V> load_once(const Complex* from) {
    static_assert(sizeof(Pack<V>) == 8 || sizeof(Pack<V>) == 16);
    if constexpr (sizeof(Pack<V>) == 16) {
        const int4 bits = __ldcs(reinterpret_cast<const int4*>(from));
        return *reinterpret_cast<const Pack<V>*>(&bits);
    } else {
        const int2 bits = __ldcs(reinterpret_cast<const int2*>(from));
        return *reinterpret_cast<const Pack<V>*>(&bits);
    }
}

// V numbers from any place, one by one.
template <int V>
__device__ __forceinline__ Pack<V> gather(const Complex* from) {
    Pack<V> value;
#pragma unroll
    for (int v = 0; v < V; ++v) value.at[v] = from[v];
    return value;
}
