/* What a model in C stands on: which compiler and CPU this is, the vocabulary of vectors, and products.
 *
 * A strip is what some outputs have for the same inputs: [input][output]. Every output is one sum that starts at its
 * bias and takes its products in the order of the inputs, as everywhere in lstm-rt. */
#ifndef LRT_MICRO_H
#define LRT_MICRO_H

#include <stddef.h>
#include <stdint.h>

#if UINTPTR_MAX < 0xffffffffu
#error "for processors of 32 bits or more: on smaller ones constants do not stay in flash"
#endif
#if defined(__FAST_MATH__)
#error "-ffast-math changes the model's numbers: compile its files without it"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#ifndef __OPTIMIZE__ /* what is always inlined would fill the stack */
#pragma GCC optimize("O1")
#endif
#ifdef __ARM_FP /* few registers: what is spilled or copied costs more than what waits */
#pragma GCC optimize("no-schedule-insns")
#endif
#pragma GCC optimize("fp-contract=off", "no-math-errno", "no-trapping-math", "no-tree-loop-distribute-patterns")
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function" /* which parts a model needs differs */
#define LRT_NEVER_INLINE __attribute__((noinline))
#else
#define LRT_NEVER_INLINE
#endif

#if defined(__FP_FAST_FMAF) || defined(__ARM_FEATURE_FMA) || defined(__FMA__) || defined(__riscv_flen)
#define LRT_MICRO_FUSED
#endif
#if defined(__SOFTFP__) || (defined(__riscv) && !defined(__riscv_flen)) || (defined(__arm__) && !defined(__ARM_FP))
#define LRT_MICRO_SOFT /* floats by calls of routines */
#endif
/* LRT_MICRO_PORTABLE: C alone. What is in assembly names registers as GCC does. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__arm__) && !defined(LRT_MICRO_PORTABLE)
#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)
#define LRT_MICRO_HELIUM
#elif defined(LRT_MICRO_FUSED) && defined(__thumb2__) && defined(__ARM_FP) && (__ARM_FP & 4)
#define LRT_MICRO_VFP
#endif
#endif

#ifndef LRT_LANES
#define LRT_LANES 4 /* units of a panel: 4, or 8 or 16 where the model was exported for wider vectors */
#endif

#include "micro/lrt_one.h"
#ifdef LRT_MICRO_HELIUM
#include "micro/lrt_vec_mve.h"
#elif LRT_LANES >= 16 && defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && !defined(LRT_MICRO_PORTABLE)
#include "kernels/lrt_vec_avx512.h"
#elif LRT_LANES >= 8 && defined(__AVX2__) && defined(__FMA__) && !defined(LRT_MICRO_PORTABLE)
#include "kernels/lrt_vec_avx2.h"
#elif defined(__aarch64__) && defined(__GNUC__) && !defined(LRT_MICRO_PORTABLE)
#include "kernels/lrt_vec_neon.h"
#else
#include "micro/lrt_vec_scalar.h"
#endif

#define LRT_ACTIVATION static LRT_INLINE /* which one is a constant of the model */
#include "kernels/lrt_unroll.h"
#ifdef LRT_MICRO_SOFT
#undef LRT_UNROLL
#define LRT_UNROLL
#endif
#include "lrt_mode.h"

#include "micro/lrt_strip.h"

typedef struct {
    float f[4];
} micro_quad; /* moved by one instruction of several registers; single floats would become a call of memcpy */

/* n floats, rounded up to fours: both have room for them. */
static LRT_INLINE void micro_copy_quads(float *to, const float *from, uint32_t n)
{
    uint32_t i = 0;
#ifdef LRT_MICRO_VFP
    for (; i + 16 <= n; i += 16)
        __asm__ volatile("vldmia %1!, {s0-s15}\n\tvstmia %0!, {s0-s15}"
                         : "+r"(to), "+r"(from)
                         :
                         : "memory", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13",
                           "s14", "s15");
    to -= i;
    from -= i;
#endif
    for (; i < n; i += 4)
        *(micro_quad *)(void *)(to + i) = *(const micro_quad *)(const void *)(from + i);
}

static LRT_INLINE void micro_copy(float *to, const float *from, uint32_t n)
{
    micro_copy_quads(to, from, n / 4 * 4);
    for (uint32_t i = n / 4 * 4; i < n; i++)
        to[i] = from[i];
}

static LRT_INLINE void micro_zero(float *to, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        to[i] = 0.0f;
}

#endif
