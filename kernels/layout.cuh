// How planes of n x n numbers lie in memory, and who in a warp holds what.
//
// A plane is kept as strips of COLUMNS columns, one strip after the other, a strip row by row:
//     offset(row, column) = (column / COLUMNS) COLUMNS n + COLUMNS row + column % COLUMNS.
// A warp takes LINES lines at a time, THREADS threads a line, each with ELEMENTS numbers of it. As
// rows they are n / COLUMNS pieces of COLUMNS LINES numbers (n = 192: 128 bytes, a whole line of the
// cache). As columns they are one piece of memory where a strip has as many (SHARE = 1). Where a warp
// has two lines only, a strip has four columns all the same, which two warps share: pieces of 32
// bytes would keep L2 busy with requests.
//
// Along a line of n = THREADS ELEMENTS numbers, thread t holds
//     in space        x = t + THREADS i,                      i = 0 .. ELEMENTS - 1,
//     in frequency    k = (t + THREADS m) + ELEMENTS l,       m = 0 .. GROUPS - 1, l = 0 .. THREADS - 1,
// where t + THREADS m < ELEMENTS; other places of the second kind hold nothing.
#pragma once
#include "complex.cuh"

#if !defined(WINDOW) || !defined(THREADS) || !defined(LINES)
#error "WINDOW, THREADS and LINES are to be defined: hxn_ptycho/solver/build.py does"
#endif

constexpr int N = WINDOW;
constexpr int COLUMNS = LINES == 2 && N % 4 == 0 ? 4 : LINES;  // `Lines.columns` of units.py
constexpr int SHARE = COLUMNS / LINES;
constexpr int ELEMENTS = N / THREADS;
constexpr int GROUPS = (ELEMENTS + THREADS - 1) / THREADS;
constexpr int PLACES = GROUPS * THREADS;  // numbers in frequency that a thread has room for
constexpr int LANES = THREADS * LINES;    // threads of a warp that hold something
constexpr int PITCH = LANES + LINES;      // of the exchange: no two lanes in one bank
constexpr int ROOM = ELEMENTS * PITCH;    // numbers of a warp's exchange
constexpr size_t PLANE = static_cast<size_t>(N) * N;

static_assert(THREADS * ELEMENTS == N && N % LINES == 0 && LANES <= 32);

struct Lane {
    int number;  // within the warp
    int t, c;    // thread of the line, line
    bool on;     // whether it holds anything

    __device__ Lane() : number(threadIdx.x % 32), on(LANES == 32 || number < LANES) {
        t = on ? number / LINES : 0;
        c = on ? number % LINES : 0;
    }
};

// What numbers are kept as in memory: two floats, or two scaled 16-bit floats.
#if HALF
using Stored = unsigned;
__device__ __forceinline__ float2 load(unsigned bits) {
    float2 v;
    asm("{ .reg .f16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b; }"
        : "=f"(v.x), "=f"(v.y) : "r"(bits));
    return v;
}
__device__ __forceinline__ unsigned stored(float2 v) {
    unsigned bits;
    asm("{ .reg .f16 a, b; cvt.rn.f16.f32 a, %1; cvt.rn.f16.f32 b, %2; mov.b32 %0, {a, b}; }"
        : "=r"(bits) : "f"(v.x), "f"(v.y));
    return bits;
}
#else
using Stored = float2;
__device__ __forceinline__ float2 load(float2 v) { return v; }
__device__ __forceinline__ float2 stored(float2 v) { return v; }
#endif

// Read a number a second time: the compiler is not to keep the first reading in registers meanwhile.
__device__ __forceinline__ Stored again(const Stored* address) {
    Stored v;
#if HALF
    asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(v) : "l"(address));
#else
    asm volatile("ld.global.cg.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(address));
#endif
    return v;
}

// f(place, k, offset) for every number in frequency that this thread holds: its place in the array,
// its frequency, and where it lies in a line of pieces of `piece` numbers a strip:
// (k / COLUMNS) piece + k % COLUMNS.
template <class F>
__device__ __forceinline__ void each_frequency(const Lane& lane, int piece, F&& f) {
    // 64 bits wide, so that the constants below become part of the instructions' addresses.
    const long long base = lane.t / COLUMNS * piece + lane.t % COLUMNS;
    unrolled<0, GROUPS>([&](auto m) {
        if (THREADS * (m + 1) <= ELEMENTS || lane.t + THREADS * m < ELEMENTS) {
            unrolled<0, THREADS>([&](auto l) {
                constexpr int shift = THREADS * decltype(m)::value + ELEMENTS * decltype(l)::value;
                const int k = lane.t + shift;
                const long long offset = shift % COLUMNS == 0
                    ? base + shift / COLUMNS * piece
                    : k / COLUMNS * piece + k % COLUMNS;
                f(Constant<decltype(m)::value * THREADS + decltype(l)::value>{}, k, offset);
            });
        }
    });
}
