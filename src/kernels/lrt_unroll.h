/* What tells the compiler to inline, align and unroll. After a vocabulary, which says how wide vectors are. */
#ifndef LRT_UNROLL_H
#define LRT_UNROLL_H

#if defined(LRT_SMALL) && defined(__GNUC__) /* once, whoever calls it */
#define LRT_INLINE __attribute__((noinline, unused))
#define LRT_ALIGNED
#elif defined(__GNUC__)
#define LRT_INLINE inline __attribute__((always_inline))
#define LRT_ALIGNED __attribute__((aligned(64))) /* vectors that cross a cache line do not forward */
#else
#define LRT_INLINE inline
#define LRT_ALIGNED
#endif
#if VL <= 4 || defined(LRT_INSTRUMENTED) /* narrow vectors: only larger code; sanitizers: minutes of compiling */
#define LRT_UNROLL_K
#elif defined(__clang__)
#define LRT_UNROLL_K _Pragma("clang loop unroll_count(4)")
#elif defined(__GNUC__)
#define LRT_UNROLL_K _Pragma("GCC unroll 4")
#else
#define LRT_UNROLL_K
#endif
#if defined(LRT_INSTRUMENTED) || defined(LRT_SMALL)
#define LRT_UNROLL
#elif defined(__clang__)
#define LRT_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define LRT_UNROLL _Pragma("GCC unroll 16")
#else
#define LRT_UNROLL
#endif

/* Behind sums that a loop sets before another reads them, which a compiler that does not unroll these does not see. */
#ifdef LRT_SMALL
#define LRT_SET = {{{0.0f}}}
#else
#define LRT_SET
#endif

#endif
