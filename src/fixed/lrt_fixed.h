/* Integer arithmetic only: what docs/fixed.md defines, the same bits on every device.
 *
 * A model's file defines LRT_FIXED_BITS, 8 or 16, the bits of a weight, and its own copy of the table. Every function
 * is static: several models go together. Right shifts of negative numbers have to keep the sign, as they do with every
 * compiler for these devices. */
#ifndef LRT_FIXED_H
#define LRT_FIXED_H

#include <stddef.h>
#include <stdint.h>

#if LRT_FIXED_BITS != 8 && LRT_FIXED_BITS != 16
#error "LRT_FIXED_BITS is 8 or 16"
#endif
#if defined(__GNUC__) && !defined(__clang__) && defined(__riscv) && !defined(__riscv_vector)
/* Where there are no vectors, gcc 12 makes some of words, and computes wrong ones for riscv64. */
#pragma GCC optimize("no-tree-vectorize")
#endif
#ifndef LRT_NEVER_INLINE
#if defined(__GNUC__)
#define LRT_NEVER_INLINE __attribute__((noinline))
#else
#define LRT_NEVER_INLINE
#endif
#endif
#if defined(__GNUC__)
#define FIXED_ALIGNED __attribute__((aligned(8)))
#pragma GCC diagnostic ignored "-Wunused-function" /* which parts a model needs differs */
#define LRT_FIXED_INLINE inline __attribute__((always_inline))
#else
#define FIXED_ALIGNED
#define LRT_FIXED_INLINE inline
#endif
#if defined(__GNUC__)
typedef int16_t __attribute__((may_alias)) fixed_int16_of; /* halves of words */
#else
typedef int16_t fixed_int16_of;
#endif
typedef char lrt_fixed_shift_keeps_the_sign[(-1 >> 1) == -1 ? 1 : -1];

/* Which instructions there are. LRT_FIXED_PLAIN: C alone, for comparisons. */
#if !defined(LRT_FIXED_PLAIN) && defined(__ARM_FEATURE_MVE)
#include <arm_acle.h>
#include <arm_mve.h>
#define LRT_FIXED_MVE
#elif !defined(LRT_FIXED_PLAIN) && defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
#include <arm_acle.h>
#define LRT_FIXED_DSP
#endif
#if !defined(LRT_FIXED_PLAIN) && defined(__ARM_FEATURE_SAT) && defined(__GNUC__)
#define LRT_FIXED_SAT
/* __ssat of arm_acle.h, which is not clean of warnings about conversions */
#define LRT_FIXED_SSAT(x, bits)                                                                                        \
    __extension__({                                                                                                    \
        int32_t saturated_;                                                                                            \
        __asm__("ssat %0, %1, %2" : "=r"(saturated_) : "I"(bits), "r"(x));                                             \
        saturated_;                                                                                                    \
    })
#endif
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__) || defined(LRT_FIXED_NARROW)
#define LRT_FIXED_PARTS /* no product of 64 bits */
#endif

#define LRT_FIXED_Z_END (INT32_C(1) << 21)

/* floor(a b / 2^32). Of parts: |a| or |b| is not 2^31. */
static LRT_FIXED_INLINE int32_t fixed_high(int32_t a, int32_t b)
{
#ifdef LRT_FIXED_PARTS
    const int32_t a1 = a >> 16, b1 = b >> 16;
    const uint32_t a0 = (uint32_t)a & 0xffffu, b0 = (uint32_t)b & 0xffffu;
    const int32_t one = a1 * (int32_t)b0 + (int32_t)(a0 * b0 >> 16), two = (int32_t)a0 * b1 + (one & 0xffff);
    return a1 * b1 + (one >> 16) + (two >> 16);
#else
    return (int32_t)(((int64_t)a * b) >> 32);
#endif
}

static LRT_FIXED_INLINE int32_t fixed_limited(int32_t z)
{
#ifdef LRT_FIXED_SAT
    return LRT_FIXED_SSAT(z, 22);
#else
    return z < -LRT_FIXED_Z_END ? -LRT_FIXED_Z_END : z > LRT_FIXED_Z_END - 1 ? LRT_FIXED_Z_END - 1 : z;
#endif
}

/* Within 2^29: three times it is an int32. */
static LRT_FIXED_INLINE int32_t fixed_limited30(int32_t c)
{
#ifdef LRT_FIXED_SAT
    return LRT_FIXED_SSAT(c, 30);
#else
    return c < -(INT32_C(1) << 29) ? -(INT32_C(1) << 29) : c > (INT32_C(1) << 29) - 1 ? (INT32_C(1) << 29) - 1 : c;
#endif
}

static LRT_FIXED_INLINE int16_t fixed_int16(int32_t z)
{
#ifdef LRT_FIXED_SAT
    return (int16_t)LRT_FIXED_SSAT(z, 16);
#else
    return (int16_t)(z < -32768 ? -32768 : z > 32767 ? 32767 : z);
#endif
}

/* With so many more bits of fraction, or fewer: halves up. */
static LRT_FIXED_INLINE int32_t fixed_shifted(int32_t x, int by)
{
    return by > 0 ? x * (int32_t)(UINT32_C(1) << by) : by < 0 ? (x + (INT32_C(1) << (-by - 1))) >> -by : x;
}

static LRT_FIXED_INLINE void fixed_copy(int16_t *to, const int16_t *from, uint32_t n, int by)
{
#ifdef LRT_FIXED_MVE
    for (uint32_t i = 0; i < n / 8; i++, to += 8, from += 8)
        vstrhq_s16(to, by ? vrshlq_n_s16(vldrhq_s16(from), by) : vldrhq_s16(from));
    if (n % 8) {
        const mve_pred16_t there = vctp16q(n % 8);
        vstrhq_p_s16(to, vrshlq_n_s16(vldrhq_z_s16(from, there), by), there);
    }
#else
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4, to += 4, from += 4) {
        to[0] = (int16_t)fixed_shifted(from[0], by);
        to[1] = (int16_t)fixed_shifted(from[1], by);
        to[2] = (int16_t)fixed_shifted(from[2], by);
        to[3] = (int16_t)fixed_shifted(from[3], by);
    }
    for (; i < n; i++)
        *to++ = (int16_t)fixed_shifted(*from++, by);
#endif
}

static LRT_FIXED_INLINE void fixed_zero(int16_t *to, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        to[i] = 0;
}

/* Of 65 segments of the curve tanh(x / 2): the value in its middle; slope << 16 | half of the curvature. */
#ifdef LRT_FIXED_MVE
#define FIXED_SEGMENT(value, bend) value,
static const int32_t fixed_values[65] = {
#include "fixed/lrt_fixed_table.h"
};
#undef FIXED_SEGMENT
#define FIXED_SEGMENT(value, bend) bend,
static const int32_t fixed_bends[65] = {
#include "fixed/lrt_fixed_table.h"
};
#else
typedef struct {
    int32_t value, bend;
} fixed_segment;

#define FIXED_SEGMENT(value, bend) {value, bend},
static const fixed_segment fixed_table[65] FIXED_ALIGNED = {
#include "fixed/lrt_fixed_table.h"
};

/* tanh(x / 2) 2^31 of z, which is x in segments, 16 bits of fraction, limited. */
static LRT_FIXED_INLINE int32_t fixed_smooth(int32_t z)
{
    /* Entries have 8 bytes, which z >> 13 counts; 4 and the mask round to the nearest. */
    const uintptr_t middle = (uintptr_t)(fixed_table + 32) + 4u;
    const fixed_segment *s = (const fixed_segment *)((middle + (uintptr_t)(intptr_t)(z >> 13)) & ~(uintptr_t)7);
#ifdef LRT_FIXED_DSP
    const int32_t slope = __smlabb(s->bend, z, s->bend);
    return __smlawb(slope, z, s->value);
#else
    const int32_t slope = s->bend + (int16_t)s->bend * (int16_t)z;
    return s->value + fixed_high(slope, (int32_t)((uint32_t)z << 16));
#endif
}
#endif
#include "fixed/lrt_fixed_rows.h"
#ifdef LRT_FIXED_MVE
#include "fixed/lrt_fixed_vec_mve.h"
#else
#include "fixed/lrt_fixed_vec_one.h"
#endif

#include "fixed/lrt_fixed_cells.h"
#include "fixed/lrt_fixed_dense.h"

#endif
