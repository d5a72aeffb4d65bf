/* How a row becomes integers, written once over the vector vocabulary. How it is rounded must not change without a new
 * format of results. */
#ifndef LRT_PACK_IMPL_H
#define LRT_PACK_IMPL_H

#include <string.h>

#include "integers/lrt_integers.h"
#include "kernels/lrt_unroll.h"

#define NOT_FINITE 0x7f800000u   /* bits of the least magnitude that is none */
#define NEXT_TO_ZERO 0x0d800000u /* 2^-100: a row of smaller numbers counts as zeros, for 1 / them may be infinite */

/* Words from the low bytes of a packed row to its high ones. */
static inline size_t plane_words(uint32_t k) { return (k + 15u) / 16u * 4u; }

static LRT_INLINE void store_packed(const lrt_matrix *m, uint32_t *words, uint32_t at, vi q)
{
#ifdef LRT_PLANES
    if (m->dtype == LRT_I16) {
        store_planes(words + at / 4, words + plane_words(m->k) + at / 4, q);
        return;
    }
#endif
#if VL == 1
    const uint16_t low = (uint16_t)q.i[0];
    const uint32_t in_four = m->dtype == LRT_I16 ? at % 4 : (at % 2) * 2 + at % 4 / 2; /* of quads 0 2 1 3 */
    memcpy((unsigned char *)words + 2 * (at / 4 * 4 + in_four), &low, sizeof low);
#else
    if (m->dtype == LRT_I16)
        v_store_pairs(words + at / 2, q);
#if LRT_DOT8
    else
        v_store_bytes(words + at / 4, words + plane_words(m->k) + at / 4, q);
#else
    else
        v_store_quads(words + at / 2, q);
#endif
#endif
}

static void int_pack(const lrt_matrix *m, const float *x, uint32_t *packed, uint32_t rows)
{
    const uint32_t k = m->k, whole = k / VL * VL;
    uint32_t *words = packed + LRT_PACKED_HEAD, bits, i;
    const float limit = (float)m->limit;
    float most, scale;
    vi largest = v_iset1(0), sum = v_iset1(0);
    vf times;
    (void)rows;
    for (i = 0; i < whole; i += VL)
        largest = v_imax(largest, v_magnitude(v_load(x + i)));
    if (i < k)
        largest = v_imax(largest, v_magnitude(v_load_n(x + i, k - i)));
    bits = v_imost(largest);
    memcpy(&most, &bits, sizeof most);
    if (bits >= NOT_FINITE || bits < NEXT_TO_ZERO) {
        const uint32_t nan = 0x7fc00000u;
        memset(packed, 0, lrt_packed_words(k) * sizeof *packed);
        if (bits >= NOT_FINITE)
            packed[0] = nan;
        return;
    }
#if VL == 1 /* no vector fills a word up with zeros */
    memset(words, 0, (lrt_packed_words(k) - LRT_PACKED_HEAD) * sizeof *words);
#endif
    scale = most / limit;
    times = v_set1(limit / most);
    for (i = 0; i < whole; i += VL) {
        const vi q = v_round(v_mul(v_load(x + i), times));
        sum = v_iadd(sum, q);
        store_packed(m, words, i, q);
    }
    if (i < k) {
        const vi q = v_round(v_mul(v_load_n(x + i, k - i), times));
        sum = v_iadd(sum, q);
        store_packed(m, words, i, q);
    }
    memcpy(packed, &scale, sizeof scale);
    packed[1] = m->dtype == LRT_I8 ? v_isum(sum) : 0;
}

#endif
