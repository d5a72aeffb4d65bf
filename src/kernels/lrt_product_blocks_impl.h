/* THE product with float32 weights of which only blocks are there (lrt_panels.h), written once over the vector vocabulary.
 *
 * What must not change without a new format of results: each sum takes its blocks in the order of k, from the initial value
 * up. What no block is there for plays no part, whatever the input. */
#ifndef LRT_PRODUCT_BLOCKS_IMPL_H
#define LRT_PRODUCT_BLOCKS_IMPL_H

#include "kernels/lrt_product_f32_impl.h"

#define STRIP_V (LRT_PANEL / VL) /* vectors of a strip */
/* Strips of one row side by side: each has its own inputs, but one sum after the other would wait for itself. */
#define STRIPS (LRT_SIDE == 1 ? 1u : VL >= 8 ? 4u : 2u)

/* Some strips of some rows: of each strip its number and place in y, which is also that in init. */
typedef struct {
    uint32_t strip[STRIPS];
    size_t at[STRIPS], floats[STRIPS];
} strip_group;

/* The sums of ns strips and nr rows, from row r on. */
static LRT_INLINE void strip_tile(const lrt_product_args *a, const strip_group *g, uint32_t r, const unsigned nr,
                                  const unsigned ns)
{
    LRT_ALIGNED float buf[LRT_PANEL];
    vf acc[STRIPS][LRT_BLOCK_R][STRIP_V];
    const float *w[STRIPS], *x[LRT_BLOCK_R];
    const uint16_t *index[STRIPS];
    uint32_t n[STRIPS], least = UINT32_MAX;

    LRT_UNROLL for (unsigned i = 0; i < nr; i++)
        x[i] = a->x[r + i];
    LRT_UNROLL for (unsigned s = 0; s < ns; s++) {
        const uint32_t start = a->m->starts[g->strip[s]];
        n[s] = a->m->starts[g->strip[s] + 1] - start;
        least = n[s] < least ? n[s] : least;
        w[s] = (const float *)a->m->w + (size_t)start * LRT_PANEL;
        index[s] = a->m->index + start;
        LRT_UNROLL for (unsigned i = 0; i < nr; i++)
            LRT_UNROLL for (unsigned v = 0; v < STRIP_V; v++)
                acc[s][i][v] = v_load((a->init ? a->init[r + i] + g->at[s] : zeros) + v * VL);
    }
#define ADD_BLOCK(s, j)                                                                            \
    do {                                                                                           \
        const size_t k_ = index[s][j];                                                             \
        vf w_[STRIP_V];                                                                            \
        LRT_UNROLL for (unsigned v = 0; v < STRIP_V; v++)                                          \
            w_[v] = v_load(w[s] + (size_t)(j) * LRT_PANEL + v * VL);                               \
        LRT_UNROLL for (unsigned i = 0; i < nr; i++)                                               \
            LRT_UNROLL for (unsigned v = 0; v < STRIP_V; v++)                                      \
                acc[s][i][v] = v_fma(v_set1(x[i][k_]), w_[v], acc[s][i][v]);                       \
    } while (0)
    for (uint32_t j = 0; ns > 1 && j < least; j++)
        LRT_UNROLL for (unsigned s = 0; s < ns; s++)
            ADD_BLOCK(s, j);
    LRT_UNROLL for (unsigned s = 0; s < ns; s++)
        for (uint32_t j = ns > 1 ? least : 0; j < n[s]; j++)
            ADD_BLOCK(s, j);
#undef ADD_BLOCK
    LRT_UNROLL for (unsigned s = 0; s < ns; s++)
        LRT_UNROLL for (unsigned i = 0; i < nr; i++) {
            float *y = a->y[r + i] + g->at[s], *to = g->floats[s] == LRT_PANEL ? y : buf;
            LRT_UNROLL for (unsigned v = 0; v < STRIP_V; v++)
                v_store(to + v * VL, acc[s][i][v]);
            if (to == buf)
                memcpy(y, buf, g->floats[s] * sizeof *buf);
        }
}

static void strips_of_row(const lrt_product_args *a, const strip_group *g, unsigned ns)
{
    if (ns == STRIPS)
        strip_tile(a, g, 0, 1, STRIPS);
    else
        for (unsigned s = 0; s < ns; s++) {
            const strip_group one = {{g->strip[s]}, {g->at[s]}, {g->floats[s]}};
            strip_tile(a, &one, 0, 1, 1);
        }
}

/* One strip of all rows, some at a time. */
static void strip_of_rows(const lrt_product_args *a, const strip_group *g)
{
    for (uint32_t r = 0, nr; r < a->rows; r += nr) {
        nr = block_rows(a->rows - r);
        switch (nr) {
        case 2: strip_tile(a, g, r, 2, 1); break;
        case 3: strip_tile(a, g, r, 3, 1); break;
#if LRT_BLOCK_R >= 6
        case 4: strip_tile(a, g, r, 4, 1); break;
        case 5: strip_tile(a, g, r, 5, 1); break;
        case 6: strip_tile(a, g, r, 6, 1); break;
#endif
        default: strip_tile(a, g, r, 1, 1); break;
        }
    }
}

static void blocks(const lrt_product_args *a)
{
    const uint32_t gates = a->m->gates;
    strip_group g;
    unsigned ns = 0;
    size_t at = 0;
    for (uint32_t p = a->p0; p < a->p1; p++) {
        const uint32_t width = lrt_panel_width(a->m->units, p);
        for (uint32_t gate = 0; gate < gates && at < a->floats; gate++, at += width) {
            g.strip[ns] = p * gates + gate;
            g.at[ns] = at;
            g.floats[ns] = a->floats - at < width ? a->floats - at : width;
            if (a->rows > 1)
                strip_of_rows(a, &g);
            else if (++ns == STRIPS) {
                strips_of_row(a, &g, ns);
                ns = 0;
            }
        }
    }
    strips_of_row(a, &g, ns);
}

#endif
