/* Weights that are integers: what their words hold, rows that are multiplied with them, and their products.
 *
 * A matrix of integers is one of 32-bit words, laid out as one of floats is (lrt_panels.h). A word holds the weights of
 * four inputs, bytes to which 128 is added (LRT_I8), or of two (LRT_I16), the first in its lowest bits. What is multiplied
 * with them are integers too: each row has a scale of its own, and every sum is exact, so its order plays no part. */
#ifndef LRT_INTEGERS_H
#define LRT_INTEGERS_H

#include <string.h>

#include "kernels/lrt_kernels.h"

#define LRT_MAX_BYTE 127u         /* matrices of this limit or less have activations of one byte */

static inline uint32_t lrt_per_word(uint32_t dtype) { return dtype == LRT_I8 ? 4u : dtype == LRT_I16 ? 2u : 1u; }
static inline uint32_t lrt_words(uint32_t dtype, uint32_t k) { return (k + lrt_per_word(dtype) - 1) / lrt_per_word(dtype); }

/* Of so much work of the whole matrix, what it is where only blocks are there; a strip is as much as a block. */
static inline uint64_t lrt_work_there(const lrt_matrix *m, uint64_t work)
{
    const uint32_t strips = m->gates * lrt_panel_count(m->units);
    return lrt_is_sparse(m) ? work / ((uint64_t)strips * lrt_words(m->dtype, m->k)) * ((uint64_t)strips + m->starts[strips]) : work;
}

/* The weight of input k in its word. */
static inline int32_t lrt_number(uint32_t dtype, uint32_t word, uint32_t k)
{
    if (dtype == LRT_I8)
        return (int32_t)(word >> 8 * (k % 4) & 255u) - 128;
    return (int32_t)((word >> 16 * (k % 2) & 0xffffu) ^ 0x8000u) - 0x8000;
}

/* The scale of a row: number i in panel order. */
static inline float lrt_scale(const lrt_matrix *m, size_t i)
{
    const uint32_t bits = (uint32_t)m->scale[i] << 16;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

/* The sum of the magnitudes in a word. */
static inline uint32_t lrt_word_size(uint32_t dtype, uint32_t word)
{
    uint32_t size = 0;
    for (uint32_t k = 0; k < lrt_per_word(dtype); k++) {
        const int32_t n = lrt_number(dtype, word, k);
        size += (uint32_t)(n < 0 ? -n : n);
    }
    return size;
}

/* A row as it is multiplied: LRT_PACKED_HEAD words, of which the first is its scale (a float) and the second the sum of
 * its integers, then these, in an order that the instruction set has chosen. Words of a row, and rows at a time: enough
 * for reading all weights to cost little, even from memory. */
#define LRT_PACKED_HEAD 16u
#define LRT_MOST_PACKED 128u
static inline uint32_t lrt_packed_words(uint32_t k) { return LRT_PACKED_HEAD + (k + 15u) / 16u * 8u; }
static inline uint32_t lrt_packed_rows(uint32_t k)
{
    const uint32_t fit = (1u << 16) / lrt_packed_words(k);
    return fit < 6 ? 6 : fit > LRT_MOST_PACKED ? LRT_MOST_PACKED : fit < 16 ? fit : fit / 16 * 16;
}
/* Words of room for so many rows, or those that go at a time: kernels may read 16 words too far, and blocks of 16 rows
 * where there are more than a few. */
static inline uint64_t lrt_packed_room(uint32_t k, uint64_t rows)
{
    const uint64_t most = lrt_packed_rows(k), n = rows < most ? rows : most;
    return (n < 6 ? n : (n + 15u) / 16u * 16u) * lrt_packed_words(k) + 16u;
}

struct lrt_integers {
    /* Packs a row of m.k floats for m: the largest magnitude becomes m.limit. A row with NaN or infinity gets a scale
     * of NaN. rows: how many will be multiplied together, which may choose their order. */
    void (*pack)(const lrt_matrix *m, const float *x, uint32_t *packed, uint32_t rows);
    void (*product)(const lrt_product_args *a);
};

/* The table's linear(), or where the matrix is not plain, its product of some rows at a time, packed for integers. */
void lrt_linear(const lrt_kernels *kernels, const lrt_linear_args *a);

#endif
