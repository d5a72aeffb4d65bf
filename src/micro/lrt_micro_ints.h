/* Weights that are integers, with a scale for each row: what they are multiplied with becomes integers, each row at each step
 * by itself, sums are exact, and float again. The numbers are those of src/integers, bit by bit. */
#ifndef LRT_MICRO_INTS_H
#define LRT_MICRO_INTS_H

#include "kernels/lrt_acts.h"

#if defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__)
#include <arm_acle.h>
#endif

/* Words of weights of four rows each: [four rows][word][row]. A word has the weights of four inputs (bits 8) or of two
 * (bits 16), the first in its lowest bits. */
typedef struct {
    uint32_t inputs, bits, limit;
    const uint32_t *w;
    const uint16_t *scale; /* the upper halves of floats */
} micro_ints;

static LRT_INLINE uint32_t micro_words(const micro_ints *m) { return (m->inputs * m->bits + 31u) / 32u; }

/* Pairs of 16 bits: the sum and the products of both. */
static LRT_INLINE int32_t micro_dot(int32_t sum, uint32_t a, uint32_t b)
{
#if defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__)
    return __smlad((int16x2_t)a, (int16x2_t)b, sum);
#else
    return (int32_t)((uint32_t)sum + (uint32_t)((int16_t)(uint16_t)a * (int16_t)(uint16_t)b) +
                     (uint32_t)((int16_t)(uint16_t)(a >> 16) * (int16_t)(uint16_t)(b >> 16)));
#endif
}

/* The word of which bytes 0 and 2 are bytes 1 and 3 of this: rotated, as an operand of the next instruction may be. */
static LRT_INLINE uint32_t micro_turned(uint32_t a) { return a >> 8 | a << 24; }

/* Bytes 0 and 2 of a word as pairs of 16 bits. */
static LRT_INLINE uint32_t micro_bytes(uint32_t a)
{
#if defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__)
    return (uint32_t)__sxtb16((int8x4_t)a);
#else
    return ((((a & 0xffu) ^ 0x80u) - 0x80u) & 0xffffu) | ((((a >> 16 & 0xffu) ^ 0x80u) - 0x80u) << 16);
#endif
}

/* x as it is multiplied with m: pairs in order, or for bytes those of inputs 0 and 2, then 1 and 3, of each four. The
 * largest becomes m->limit. Returns the scale, NaN where one is not finite. */
static float micro_pack(const micro_ints *m, const float *x, uint32_t *packed)
{
    const uint32_t k = m->inputs, words = micro_words(m) * (m->bits == 8 ? 2u : 1u);
    uint32_t most = 0;
    float times;
    for (uint32_t i = 0; i < words; i++)
        packed[i] = 0;
    for (uint32_t i = 0; i < k; i++)
        most = (s_bits(x[i]) & 0x7fffffffu) > most ? s_bits(x[i]) & 0x7fffffffu : most;
    if (most >= 0x7f800000u)
        return s_float(0x7fc00000u);
    if (most < 0x0d800000u)
        return 0.0f;
    times = (float)m->limit / s_float(most);
    for (uint32_t i = 0; i < k; i++) {
        const uint32_t q = s_bits(x[i] * times + 0x1.8p23f) - 0x4b400000u; /* to the nearest, ties to even */
        const uint32_t at = m->bits == 8 ? i / 4 * 2 + i % 2 : i / 2, half = m->bits == 8 ? i / 2 % 2 : i % 2;
        packed[at] |= (q & 0xffffu) << 16 * half;
    }
    return s_float(most) / (float)m->limit;
}

/* z = init + W x for four rows, of which the first is number `row`. */
static LRT_INLINE void micro_ints_4(const micro_ints *m, const uint32_t bits, uint32_t row, const uint32_t *packed, float scale, const float *init,
                                    float *z)
{
    const uint32_t words = micro_words(m);
    const uint32_t *w = m->w + row * words;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (uint32_t i = 0; i < words; i++, w += 4) {
        if (bits == 8) {
            const uint32_t even = packed[2 * i], odd = packed[2 * i + 1];
            s0 = micro_dot(micro_dot(s0, micro_bytes(w[0]), even), micro_bytes(micro_turned(w[0])), odd);
            s1 = micro_dot(micro_dot(s1, micro_bytes(w[1]), even), micro_bytes(micro_turned(w[1])), odd);
            s2 = micro_dot(micro_dot(s2, micro_bytes(w[2]), even), micro_bytes(micro_turned(w[2])), odd);
            s3 = micro_dot(micro_dot(s3, micro_bytes(w[3]), even), micro_bytes(micro_turned(w[3])), odd);
        } else {
            s0 = micro_dot(s0, w[0], packed[i]);
            s1 = micro_dot(s1, w[1], packed[i]);
            s2 = micro_dot(s2, w[2], packed[i]);
            s3 = micro_dot(s3, w[3], packed[i]);
        }
    }
    z[0] = init[0] + (float)s0 * (s_float((uint32_t)m->scale[row] << 16) * scale);
    z[1] = init[1] + (float)s1 * (s_float((uint32_t)m->scale[row + 1] << 16) * scale);
    z[2] = init[2] + (float)s2 * (s_float((uint32_t)m->scale[row + 2] << 16) * scale);
    z[3] = init[3] + (float)s3 * (s_float((uint32_t)m->scale[row + 3] << 16) * scale);
}

/* Rows in fours: a function for all matrices of a model with as many bits. */
#define MICRO_INTS_ROWS(bits)                                                                                               \
    static LRT_NEVER_INLINE void micro_ints_rows_##bits(const micro_ints *m, uint32_t row, uint32_t rows,                   \
                                                        const uint32_t *packed, float scale, const float *init, float *z)  \
    {                                                                                                                       \
        for (uint32_t r = 0; r < rows; r += 4)                                                                              \
            micro_ints_4(m, bits, row + r, packed, scale, init + r, z + r);                                                 \
    }
MICRO_INTS_ROWS(8)
MICRO_INTS_ROWS(16)

static LRT_INLINE void micro_ints_rows(const micro_ints *m, uint32_t row, uint32_t rows, const uint32_t *packed, float scale,
                                       const float *init, float *z)
{
    if (m->bits == 8)
        micro_ints_rows_8(m, row, rows, packed, scale, init, z);
    else
        micro_ints_rows_16(m, row, rows, packed, scale, init, z);
}

/* y = bias + W x; bias has whole fours. */
static LRT_INLINE void micro_ints_product(const micro_ints *m, uint32_t outputs, const float *bias, const float *x, uint32_t *packed,
                                          float *y)
{
    const float scale = micro_pack(m, x, packed);
    float last[4];
    micro_ints_rows(m, 0, outputs / 4 * 4, packed, scale, bias, y);
    if (outputs % 4) {
        micro_ints_rows(m, outputs / 4 * 4, 4, packed, scale, bias + outputs / 4 * 4, last);
        for (uint32_t i = 0; i < outputs % 4; i++)
            y[outputs / 4 * 4 + i] = last[i];
    }
}

/* The numbers that a row of integers stands for, of a table of rows with k numbers each. */
static LRT_INLINE void micro_ints_row8(const int8_t *table, const uint16_t *scale, uint32_t row, uint32_t k, float *y)
{
    for (uint32_t i = 0; i < k; i++)
        y[i] = (float)table[row * k + i] * s_float((uint32_t)scale[row] << 16);
}
static LRT_INLINE void micro_ints_row16(const int16_t *table, const uint16_t *scale, uint32_t row, uint32_t k, float *y)
{
    for (uint32_t i = 0; i < k; i++)
        y[i] = (float)table[row * k + i] * s_float((uint32_t)scale[row] << 16);
}

#endif
