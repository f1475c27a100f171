// Fourier transforms of N numbers in registers, N = 2^a 3^b 5^c: Dft<N, SIGN>::run(v) replaces v by
//     V[k] = sum_i v[i] exp(SIGN 2 pi i k i / N),   in natural order, unnormalised.
// Coprime factors are taken apart without twiddle factors (Good and Thomas), powers of a prime with
// them (Cooley and Tukey): Van Loan, "Computational Frameworks for the Fast Fourier Transform"
// (1992), sections 4.2 and 1.4. All indices and twiddle factors are compile-time constants.
#pragma once
#include "complex.cuh"

// cos and sin of 2 pi p / q by their series; exact enough for a float (1e-14).
__host__ __device__ constexpr double series(double x, int first) {
    double term = first ? x : 1.0, sum = term;
    for (int i = 1; i < 24; ++i) {
        term *= -x * x / ((2 * i - 1 + first) * (2 * i + first));
        sum += term;
    }
    return sum;
}
constexpr double TURN = 6.283185307179586476925286766559;
__host__ __device__ constexpr double angle(int p, int q) { return TURN * (2 * p > q ? p - q : p) / q; }

// v exp(SIGN 2 pi i P / Q), without multiplications where a quarter turn does.
template <int P, int Q, int SIGN>
__device__ __forceinline__ float2 rotated(float2 v) {
    constexpr int p = (P * (SIGN > 0 ? 1 : Q - 1)) % Q;
    if constexpr (p == 0) {
        return v;
    } else if constexpr (4 * p == Q) {
        return {-v.y, v.x};
    } else if constexpr (2 * p == Q) {
        return {-v.x, -v.y};
    } else if constexpr (4 * p == 3 * Q) {
        return {v.y, -v.x};
    } else if constexpr (8 * p % Q == 0) {  // an odd number of eighths of a turn
        constexpr float h = 0.70710678118654752440f;
        constexpr int eighths = 8 * p / Q;
        if constexpr (eighths == 1) return {h * (v.x - v.y), h * (v.x + v.y)};
        if constexpr (eighths == 3) return {-h * (v.x + v.y), h * (v.x - v.y)};
        if constexpr (eighths == 5) return {h * (v.y - v.x), -h * (v.x + v.y)};
        return {h * (v.x + v.y), h * (v.y - v.x)};
    } else {
        constexpr float c = static_cast<float>(series(angle(p, Q), 0));
        constexpr float s = static_cast<float>(series(angle(p, Q), 1));
        return {c * v.x - s * v.y, s * v.x + c * v.y};
    }
}

// The part of n that is a power of its smallest prime.
__host__ __device__ constexpr int prime_power(int n) {
    int p = n % 2 == 0 ? 2 : n % 3 == 0 ? 3 : 5, part = 1;
    while (n % p == 0) {
        n /= p;
        part *= p;
    }
    return part;
}
// The first factor that a transform of n is taken apart by.
__host__ __device__ constexpr int first_factor(int n) {
    if (prime_power(n) != n) return prime_power(n);
    return n % 2 == 0 ? (n == 8 ? 2 : 4) : n % 3 == 0 ? 3 : 5;
}
// The number below a b that leaves i when divided by a and j when divided by b.
__host__ __device__ constexpr int chinese(int i, int j, int a, int b) {
    for (int k = i; k < a * b; k += a)
        if (k % b == j) return k;
    return -1;
}

template <int N, int SIGN>
struct Dft {
    static constexpr int A = first_factor(N), B = N / A;
    static constexpr bool COPRIME = prime_power(N) != N;

    __device__ static __forceinline__ void run(float2 (&v)[N]) {
        float2 half[N];
        unrolled<0, B>([&](auto b) {
            float2 u[A];
            unrolled<0, A>([&](auto a) { u[a] = v[COPRIME ? (B * a + A * b) % N : B * a + b]; });
            Dft<A, SIGN>::run(u);
            unrolled<0, A>([&](auto k) {
                constexpr int turn = COPRIME ? 0 : decltype(k)::value * decltype(b)::value;
                half[k * B + b] = rotated<turn, N, SIGN>(u[k]);
            });
        });
        unrolled<0, A>([&](auto k) {
            float2 u[B];
            unrolled<0, B>([&](auto b) { u[b] = half[k * B + b]; });
            Dft<B, SIGN>::run(u);
            unrolled<0, B>([&](auto l) {
                constexpr int place = COPRIME
                    ? chinese(decltype(k)::value, decltype(l)::value, A, B)
                    : decltype(k)::value + A * decltype(l)::value;
                v[place] = u[l];
            });
        });
    }
};

template <int SIGN>
struct Dft<1, SIGN> {
    __device__ static __forceinline__ void run(float2 (&)[1]) {}
};

template <int SIGN>
struct Dft<2, SIGN> {
    __device__ static __forceinline__ void run(float2 (&v)[2]) {
        const float2 d = v[0] - v[1];
        v[0] = v[0] + v[1];
        v[1] = d;
    }
};

template <int SIGN>
struct Dft<3, SIGN> {
    __device__ static __forceinline__ void run(float2 (&v)[3]) {
        constexpr float s = SIGN * 0.86602540378443864676f;  // sin(2 pi / 3)
        const float2 sum = v[1] + v[2], d = v[1] - v[2];
        const float2 m = {v[0].x - 0.5f * sum.x, v[0].y - 0.5f * sum.y};
        v[0] = v[0] + sum;
        v[1] = {m.x - s * d.y, m.y + s * d.x};
        v[2] = {m.x + s * d.y, m.y - s * d.x};
    }
};

template <int SIGN>
struct Dft<4, SIGN> {
    __device__ static __forceinline__ void run(float2 (&v)[4]) {
        const float2 a = v[0] + v[2], b = v[0] - v[2], c = v[1] + v[3];
        const float2 d = rotated<1, 4, SIGN>(v[1] - v[3]);
        v[0] = a + c;
        v[1] = b + d;
        v[2] = a - c;
        v[3] = b - d;
    }
};

template <int SIGN>
struct Dft<5, SIGN> {
    __device__ static __forceinline__ void run(float2 (&v)[5]) {
        constexpr float c1 = 0.30901699437494742410f, c2 = -0.80901699437494742410f;
        constexpr float s1 = SIGN * 0.95105651629515357212f, s2 = SIGN * 0.58778525229247312917f;
        const float2 a = v[1] + v[4], b = v[2] + v[3], d = v[1] - v[4], e = v[2] - v[3];
        const float2 p = {v[0].x + c1 * a.x + c2 * b.x, v[0].y + c1 * a.y + c2 * b.y};
        const float2 q = {v[0].x + c2 * a.x + c1 * b.x, v[0].y + c2 * a.y + c1 * b.y};
        const float2 f = {s1 * d.x + s2 * e.x, s1 * d.y + s2 * e.y};
        const float2 g = {s2 * d.x - s1 * e.x, s2 * d.y - s1 * e.y};
        v[0] = v[0] + a + b;
        v[1] = {p.x - f.y, p.y + f.x};
        v[4] = {p.x + f.y, p.y - f.x};
        v[2] = {q.x - g.y, q.y + g.x};
        v[3] = {q.x + g.y, q.y - g.x};
    }
};
