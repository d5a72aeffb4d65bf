/* Products with integer weights of which only blocks are there (lrt_panels.h): what lrt_product_int_impl.h does with lines of
 * panels, done with strips. */
#ifndef LRT_PRODUCT_INT_BLOCKS_IMPL_H
#define LRT_PRODUCT_INT_BLOCKS_IMPL_H

#include "integers/lrt_product_int_impl.h"

#define INT_STRIP_V (LRT_PANEL / VL)

/* The sums of a strip: t->words blocks, for the words of inputs that `index` lists. What is added to weights of bytes is
 * taken off again by a product with zeros, as these are stored, of the same inputs. */
static LRT_INLINE void int_strip(const int_tile_args *t, const uint16_t *index, const int kind, const unsigned nr)
{
    static const LRT_ALIGNED uint32_t zero[LRT_PANEL] = {
        0x80808080u, 0x80808080u, 0x80808080u, 0x80808080u, 0x80808080u, 0x80808080u, 0x80808080u, 0x80808080u,
        0x80808080u, 0x80808080u, 0x80808080u, 0x80808080u, 0x80808080u, 0x80808080u, 0x80808080u, 0x80808080u,
    };
    const unsigned parts = INT_PARTS(kind, nr * INT_STRIP_V);
    const size_t n = t->words;
    int_tile_args block = *t, nothing = *t;
    int_sums s, extra;
    size_t j = 0;
    block.line = nothing.line = 0;
    nothing.w = zero;
    clear_sums(&s, kind, parts, nr, INT_STRIP_V);
    clear_sums(&extra, kind, parts, nr, 1);
#define ADD_BLOCK(part)                                                          \
    do {                                                                         \
        add_word(&block, &s, part, index[j], kind, nr, 1, INT_STRIP_V);          \
        if (kind != PAIRS_16)                                                    \
            add_word(&nothing, &extra, part, index[j], kind, nr, 1, 1);          \
        block.w += LRT_PANEL;                                                    \
        j++;                                                                     \
    } while (0)
    while (j + parts <= n)
        LRT_UNROLL for (unsigned part = 0; part < parts; part++)
            ADD_BLOCK(part);
    while (parts > 1 && j < n)
        ADD_BLOCK(0);
#undef ADD_BLOCK
    LRT_UNROLL for (unsigned r = 0; r < nr; r++) {
        float x_scale;
        memcpy(&x_scale, t->x[r], sizeof x_scale);
        LRT_UNROLL for (unsigned v = 0; v < INT_STRIP_V; v++) {
            const vi all = whole_sum(&s, r, v, parts, kind, 0), off = whole_sum(&extra, r, 0, parts, kind, 0);
            const vf sum = v_ifloat(kind == PAIRS_16 ? all : v_isub(all, off));
            const vf scale = v_mul(v_load_high(t->scale + v * VL), v_set1(x_scale));
            v_store(t->y[r] + v * VL, v_add(v_load(t->init[r] + v * VL), v_mul(sum, scale)));
        }
    }
}

typedef void int_strip_fn(const int_tile_args *t, const uint16_t *index);

#define INT_STRIP(name, kind, nr) \
    static void name(const int_tile_args *t, const uint16_t *index) { int_strip(t, index, kind, nr); }

INT_STRIP(pairs_16_strip_1, PAIRS_16, 1)
INT_STRIP(bytes_16_strip_1, BYTES_16, 1)
#if LRT_INT_BLOCK_R >= 2
INT_STRIP(pairs_16_strip_2, PAIRS_16, 2)
#endif
#if LRT_INT_BLOCK_R >= 6
INT_STRIP(pairs_16_strip_3, PAIRS_16, 3)
INT_STRIP(pairs_16_strip_6, PAIRS_16, 6)
#endif
#if LRT_INT_BLOCK_R8 >= 2
INT_STRIP(bytes_16_strip_2, BYTES_16, 2)
#endif
#if LRT_INT_BLOCK_R8 >= 3
INT_STRIP(bytes_16_strip_3, BYTES_16, 3)
#endif
#if LRT_DOT8
INT_STRIP(bytes_8_strip_1, BYTES_8, 1)
INT_STRIP(bytes_8_strip_2, BYTES_8, 2)
INT_STRIP(bytes_8_strip_3, BYTES_8, 3)
INT_STRIP(bytes_8_strip_6, BYTES_8, 6)
#endif

/* By rows: 1, 2, 3 and 6. */
static int_strip_fn *const STRIP_ROWS[3][INT_SIZES] = {
    [PAIRS_16] = {
        pairs_16_strip_1,
#if LRT_INT_BLOCK_R >= 2
        pairs_16_strip_2,
#endif
#if LRT_INT_BLOCK_R >= 6
        pairs_16_strip_3, pairs_16_strip_6,
#endif
    },
    [BYTES_16] = {
        bytes_16_strip_1,
#if LRT_INT_BLOCK_R8 >= 2
        bytes_16_strip_2,
#endif
#if LRT_INT_BLOCK_R8 >= 3
        bytes_16_strip_3,
#endif
    },
#if LRT_DOT8
    [BYTES_8] = {bytes_8_strip_1, bytes_8_strip_2, bytes_8_strip_3, bytes_8_strip_6},
#endif
};

/* One strip of all rows, some at a time; `at` floats after where panel p0 begins, and of so many that are wanted. */
static void int_strip_of_rows(const lrt_product_args *a, int_tile_args *t, const uint16_t *index, size_t at, size_t floats)
{
    static const LRT_ALIGNED float none[LRT_PANEL];
    LRT_ALIGNED float buf[LRT_INT_MOST_R * LRT_PANEL];
    const int_way way = int_way_of(a->m);
    const uint32_t row_words = lrt_packed_words(a->m->k);
    for (uint32_t r = 0, nr; r < a->rows; r += nr) {
        unsigned size = 0;
        nr = int_block(a->rows - r, way.most, &size);
        for (unsigned i = 0; i < nr; i++) {
            t->x[i] = a->packed + (size_t)(r + i) * row_words;
            t->init[i] = a->init ? a->init[r + i] + at : none;
            t->y[i] = floats == LRT_PANEL ? a->y[r + i] + at : buf + i * LRT_PANEL;
        }
        STRIP_ROWS[way.kind][size](t, index);
        for (unsigned i = 0; i < nr && floats < LRT_PANEL; i++)
            memcpy(a->y[r + i] + at, buf + i * LRT_PANEL, floats * sizeof *buf);
    }
}

static void int_blocks(const lrt_product_args *a)
{
    const lrt_matrix *m = a->m;
    const size_t first = (size_t)lrt_panel_start(m->units, a->p0) * m->gates;
    int_tile_args t;
    size_t at = 0;
    memset(&t, 0, sizeof t);
    t.plane = plane_words(m->k);
    for (uint32_t p = a->p0; p < a->p1; p++) {
        const uint32_t width = lrt_panel_width(m->units, p);
        for (uint32_t gate = 0; gate < m->gates && at < a->floats; gate++, at += width) {
            const uint32_t *start = &m->starts[p * m->gates + gate];
            t.w = (const uint32_t *)m->w + (size_t)start[0] * LRT_PANEL;
            t.words = start[1] - start[0];
            t.scale = m->scale + first + at;
            int_strip_of_rows(a, &t, m->index + start[0], at, a->floats - at < width ? a->floats - at : width);
        }
    }
}

/* Of whatever is there. */
static void int_any_product(const lrt_product_args *a)
{
    if (lrt_is_sparse(a->m))
        int_blocks(a);
    else
        int_product(a);
}

#endif
