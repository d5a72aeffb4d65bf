/* THE products with integer weights, written once over the vector vocabulary: exact sums, and float32 again.
 *
 * What must not change without a new format of results: y = init + sum * (scale of the weights * scale of the row), each
 * operation rounded by itself. */
#ifndef LRT_PRODUCT_INT_IMPL_H
#define LRT_PRODUCT_INT_IMPL_H

#include <string.h>

#include "integers/lrt_pack_impl.h"
#include "kernels/lrt_unroll.h"

/* ---- sums ------------------------------------------------------------------------------------ */

/* What is multiplied: pairs of 16 bits; bytes with 16 bits; bytes with bytes. */
enum { PAIRS_16 = 0, BYTES_16 = 1, BYTES_8 = 2 };
#define LRT_INT_BLOCK_R88 (LRT_DOT8 ? 2 * LRT_INT_BLOCK_R8 : LRT_INT_BLOCK_R8) /* bytes with bytes: half the sums */
#define LRT_INT_MOST_R (LRT_INT_BLOCK_R > LRT_INT_BLOCK_R88 ? LRT_INT_BLOCK_R : LRT_INT_BLOCK_R88)
#if !LRT_DOT8
#define LRT_BYTE_EXTRA 128u /* bytes of weights are multiplied as they are stored */
#endif
#define LRT_INT_WIDEST (LRT_INT_ROW_V > LRT_INT_BLOCK_V ? LRT_INT_ROW_V : LRT_INT_BLOCK_V)
#define LRT_INT_MOST_V (LRT_INT_WIDEST > LRT_PANEL / VL ? LRT_INT_WIDEST : LRT_PANEL / VL) /* a strip has a panel's */

/* Sums in flight: of np * nv vectors of nr rows, and where these are few, several of each, of every second or fourth
 * word: a sum waits for the one before it. */
#define INT_PARTS(kind, vectors)                                                                                       \
    (VL <= 4 ? 1u : (vectors) * (LRT_DOT8 && (kind) == BYTES_16 ? 2u : 1u) <= 2u ? 4u                                   \
                : (vectors) * (LRT_DOT8 && (kind) == BYTES_16 ? 2u : 1u) <= (VL == 16 ? 8u : 4u) ? 2u : 1u)
typedef struct {
    va low[4][LRT_INT_MOST_R][LRT_INT_MOST_V];
    va high[4][LRT_INT_MOST_R][LRT_INT_MOST_V]; /* of high bytes */
} int_sums;

typedef struct {
    const uint32_t *w;
    size_t w_panel, line, words, plane;
    const uint16_t *scale;
    const float *init[LRT_INT_MOST_R];
    float *y[LRT_INT_MOST_R];
    const uint32_t *x[LRT_INT_MOST_R];
} int_tile_args;

static LRT_INLINE vi load_weights(const uint32_t *w, const int kind)
{
#if LRT_DOT8
    return kind == PAIRS_16 ? v_iload(w) : v_bytes(v_iload(w));
#else
    (void)kind;
    return v_iload(w);
#endif
}

static LRT_INLINE void clear_sums(int_sums *s, const int kind, const unsigned parts, const unsigned nr, const unsigned nv)
{
    LRT_UNROLL for (unsigned part = 0; part < parts; part++)
        LRT_UNROLL for (unsigned r = 0; r < nr; r++)
            LRT_UNROLL for (unsigned v = 0; v < nv; v++) {
                s->low[part][r][v] = v_azero();
                if (LRT_DOT8 && kind == BYTES_16)
                    s->high[part][r][v] = v_azero();
            }
}

/* One word of every row and vector. */
static LRT_INLINE void add_word(const int_tile_args *t, int_sums *s, const unsigned part, size_t i, const int kind,
                                const unsigned nr, const unsigned np, const unsigned nv)
{
    vi w[LRT_INT_MOST_V];
    LRT_UNROLL for (unsigned p = 0; p < np; p++)
        LRT_UNROLL for (unsigned v = 0; v < nv; v++)
            w[p * nv + v] = load_weights(t->w + i * t->line + p * t->w_panel + v * VL, kind);
    LRT_UNROLL for (unsigned r = 0; r < nr; r++) {
        const uint32_t *x = t->x[r] + LRT_PACKED_HEAD;
#if LRT_DOT8
        const vi low = v_iset1(x[i]), high = v_iset1(kind == BYTES_16 ? x[t->plane + i] : 0);
        LRT_UNROLL for (unsigned v = 0; v < np * nv; v++) {
            if (kind == PAIRS_16) {
                s->low[part][r][v] = v_dot16(s->low[part][r][v], w[v], low);
                continue;
            }
            s->low[part][r][v] = v_dot8(s->low[part][r][v], w[v], low);
            if (kind == BYTES_16)
                s->high[part][r][v] = v_dot8(s->high[part][r][v], w[v], high);
        }
#else
        const vi even = v_iset1(kind == PAIRS_16 ? x[i] : x[2 * i]), odd = v_iset1(kind == PAIRS_16 ? 0 : x[2 * i + 1]);
        LRT_UNROLL for (unsigned v = 0; v < np * nv; v++) {
            if (kind == PAIRS_16) {
                s->low[part][r][v] = v_dot16(s->low[part][r][v], w[v], even);
                continue;
            }
            s->low[part][r][v] = v_dot16(s->low[part][r][v], v_even8(w[v]), even);
            s->low[part][r][v] = v_dot16(s->low[part][r][v], v_odd8(w[v]), odd);
        }
#endif
    }
}

#ifdef LRT_DOT8_WORDS
/* The same of the next words, of bytes, where one of a vector of them can be multiplied with. */
static LRT_INLINE void add_words(const int_tile_args *t, int_sums *s, size_t i, const int kind, const unsigned nr,
                                 const unsigned np, const unsigned nv)
{
    vi low[LRT_INT_MOST_R], high[LRT_INT_MOST_R];
    LRT_UNROLL for (unsigned r = 0; r < nr; r++) {
        low[r] = v_iload(t->x[r] + LRT_PACKED_HEAD + i);
        if (kind == BYTES_16)
            high[r] = v_iload(t->x[r] + LRT_PACKED_HEAD + t->plane + i);
    }
    LRT_UNROLL for (unsigned word = 0; word < LRT_DOT8_WORDS; word++)
        LRT_UNROLL for (unsigned p = 0; p < np; p++)
            LRT_UNROLL for (unsigned v = 0; v < nv; v++) {
                const vi w = load_weights(t->w + (i + word) * t->line + p * t->w_panel + v * VL, kind);
                LRT_UNROLL for (unsigned r = 0; r < nr; r++) {
                    va *sum = &s->low[0][r][p * nv + v];
                    *sum = v_dot8_word(*sum, w, low[r], word);
                    sum = &s->high[0][r][p * nv + v];
                    if (kind == BYTES_16)
                        *sum = v_dot8_word(*sum, w, high[r], word);
                }
            }
}
#endif

static LRT_INLINE vi total(va sum, const int kind)
{
#if LRT_DOT8
    return kind == PAIRS_16 ? v_total(sum) : v_total8(sum);
#else
    (void)kind;
    return v_total(sum);
#endif
}

/* The sum of products of one vector of one row. */
static LRT_INLINE vi whole_sum(const int_sums *s, unsigned r, unsigned v, const unsigned parts, const int kind, uint32_t x_sum)
{
    vi sum = total(s->low[0][r][v], kind);
    LRT_UNROLL for (unsigned part = 1; part < parts; part++)
        sum = v_iadd(sum, total(s->low[part][r][v], kind));
#if LRT_DOT8
    if (kind == BYTES_16) {
        vi high = total(s->high[0][r][v], kind);
        LRT_UNROLL for (unsigned part = 1; part < parts; part++)
            high = v_iadd(high, total(s->high[part][r][v], kind));
        sum = v_iadd(sum, v_ishl8(high));
    }
#endif
    return kind == PAIRS_16 ? sum : v_isub(sum, v_iset1(LRT_BYTE_EXTRA * x_sum));
}

/* The sums of nv vectors of the lines of np panels. */
static LRT_INLINE void int_tile(const int_tile_args *given, const int kind, const unsigned nr, const unsigned np,
                                const unsigned nv)
{
    const unsigned parts = INT_PARTS(kind, nr * np * nv);
    const int_tile_args t = *given;
    int_sums s;
    size_t i = 0;
    clear_sums(&s, kind, parts, nr, np * nv);
#ifdef LRT_DOT8_WORDS
    for (; kind != PAIRS_16 && i + LRT_DOT8_WORDS <= t.words; i += LRT_DOT8_WORDS)
        add_words(&t, &s, i, kind, nr, np, nv);
#endif
    for (; i + parts <= t.words; i += parts)
        LRT_UNROLL for (unsigned part = 0; part < parts; part++)
            add_word(&t, &s, part, i + part, kind, nr, np, nv);
    for (; parts > 1 && i < t.words; i++)
        add_word(&t, &s, 0, i, kind, nr, np, nv);
    LRT_UNROLL for (unsigned r = 0; r < nr; r++) {
        float x_scale;
        memcpy(&x_scale, t.x[r], sizeof x_scale);
        LRT_UNROLL for (unsigned p = 0; p < np; p++)
            LRT_UNROLL for (unsigned v = 0; v < nv; v++) {
                const size_t at = p * t.line + v * VL;
                const vf sum = v_ifloat(whole_sum(&s, r, p * nv + v, parts, kind, t.x[r][1]));
                const vf scale = v_mul(v_load_high(t.scale + at), v_set1(x_scale));
                v_store(t.y[r] + at, v_add(v_load(t.init[r] + at), v_mul(sum, scale)));
            }
    }
}

/* ---- tiles that are cases ----------------------------------------------------------------------- */

#define INT_TILE(kind, nr, np, nv, most) \
    case (np) * 16 + (nv): if ((np) * (nv) <= (most)) int_tile(t, kind, nr, np, nv); break;
#define INT_TILES(kind, nr, most)                                                                              \
    INT_TILE(kind, nr, 1, 1, most) INT_TILE(kind, nr, 1, 2, most) INT_TILE(kind, nr, 1, 3, most)               \
    INT_TILE(kind, nr, 1, 4, most) INT_TILE(kind, nr, 1, 8, most) INT_TILE(kind, nr, 2, 1, most)               \
    INT_TILE(kind, nr, 2, 2, most) INT_TILE(kind, nr, 2, 3, most) INT_TILE(kind, nr, 2, 4, most)               \
    INT_TILE(kind, nr, 4, 1, most) INT_TILE(kind, nr, 4, 2, most) INT_TILE(kind, nr, 8, 1, most)
#define INT_ROWS(name, kind, nr, most)                                          \
    static void name(const int_tile_args *t, unsigned np, unsigned nv)          \
    {                                                                           \
        switch (np * 16 + nv) {                                                 \
        INT_TILES(kind, nr, most)                                               \
        default: break;                                                         \
        }                                                                       \
    }
typedef void int_rows_fn(const int_tile_args *t, unsigned np, unsigned nv);

INT_ROWS(pairs_16_1, PAIRS_16, 1, LRT_INT_ROW_V)
#if LRT_INT_BLOCK_R >= 2
INT_ROWS(pairs_16_2, PAIRS_16, 2, LRT_INT_BLOCK_V)
#endif
#if LRT_INT_BLOCK_R >= 6
INT_ROWS(pairs_16_3, PAIRS_16, 3, LRT_INT_BLOCK_V)
INT_ROWS(pairs_16_6, PAIRS_16, 6, LRT_INT_BLOCK_V)
#endif
INT_ROWS(bytes_16_1, BYTES_16, 1, LRT_INT_ROW_V8)
#if LRT_INT_BLOCK_R8 >= 2
INT_ROWS(bytes_16_2, BYTES_16, 2, LRT_INT_BLOCK_V)
#endif
#if LRT_INT_BLOCK_R8 >= 3
INT_ROWS(bytes_16_3, BYTES_16, 3, LRT_INT_BLOCK_V)
#endif
#if LRT_DOT8
INT_ROWS(bytes_8_1, BYTES_8, 1, LRT_INT_ROW_V)
INT_ROWS(bytes_8_2, BYTES_8, 2, LRT_INT_BLOCK_V)
INT_ROWS(bytes_8_3, BYTES_8, 3, LRT_INT_BLOCK_V)
INT_ROWS(bytes_8_6, BYTES_8, 6, LRT_INT_BLOCK_V)
#endif

/* By rows: 1, 2, 3 and 6. */
#define INT_SIZES 4
static int_rows_fn *const PAIRS_16_ROWS[INT_SIZES] = {
    pairs_16_1,
#if LRT_INT_BLOCK_R >= 2
    pairs_16_2,
#endif
#if LRT_INT_BLOCK_R >= 6
    pairs_16_3, pairs_16_6,
#endif
};
static int_rows_fn *const BYTES_16_ROWS[INT_SIZES] = {
    bytes_16_1,
#if LRT_INT_BLOCK_R8 >= 2
    bytes_16_2,
#endif
#if LRT_INT_BLOCK_R8 >= 3
    bytes_16_3,
#endif
};
#if LRT_DOT8
static int_rows_fn *const BYTES_8_ROWS[INT_SIZES] = {bytes_8_1, bytes_8_2, bytes_8_3, bytes_8_6};
#endif
typedef char all_int_blocks_are_cases[(LRT_INT_BLOCK_R <= 2 || LRT_INT_BLOCK_R == 6) && LRT_INT_BLOCK_R8 <= 3 &&
                                              (!LRT_DOT8 || LRT_INT_BLOCK_R8 == 3) && LRT_INT_WIDEST <= 8
                                          ? 1
                                          : -1];

/* ---- the product ----------------------------------------------------------------------------------- */

/* Floats of one row that a group of panels fills, and spills over: several panels, or one of four gates in pieces. */
#define INT_FLOATS ((LRT_INT_MOST_V * VL > LRT_MAX_GATES * LRT_PANEL ? LRT_INT_MOST_V * VL : LRT_MAX_GATES * LRT_PANEL) + LRT_OVERREAD)

/* How rows are multiplied, and most of them at once. */
typedef struct {
    int kind;
    int_rows_fn *const *rows;
    unsigned most, row_v; /* ... and most sums of one row alone */
} int_way;

/* Of so many rows, those of the next block, and which of the sizes that is. */
static unsigned int_block(uint32_t rows, unsigned most, unsigned *size)
{
    static const unsigned sizes[INT_SIZES] = {1, 2, 3, 6};
    unsigned i = INT_SIZES - 1;
    while (sizes[i] > most || sizes[i] > rows)
        i--;
    *size = i;
    return sizes[i];
}

static int_way int_way_of(const lrt_matrix *m)
{
    int_way way = {PAIRS_16, PAIRS_16_ROWS, LRT_INT_BLOCK_R, LRT_INT_ROW_V};
    if (m->dtype == LRT_I16)
        return way;
#if LRT_DOT8
    if (m->limit <= LRT_MAX_BYTE) {
        way.kind = BYTES_8;
        way.rows = BYTES_8_ROWS;
        way.most = LRT_INT_BLOCK_R88;
        return way;
    }
#endif
    way.kind = BYTES_16;
    way.rows = BYTES_16_ROWS;
    way.most = LRT_INT_BLOCK_R8;
    way.row_v = LRT_INT_ROW_V8;
    return way;
}

/* Panels of equal width that go through a tile side by side, or one whose vectors go through several. */
typedef struct {
    size_t at, line; /* floats before the first of them, and of one */
    uint32_t panels;
    unsigned vectors;  /* of a line */
    size_t wanted;     /* floats of a row of y that they give */
    int direct;        /* do the vectors fill these? */
} int_group;

static int_group int_next_group(const lrt_product_args *a, uint32_t full, uint32_t p, size_t at, unsigned most)
{
    const lrt_matrix *m = a->m;
    const uint32_t end = a->p1 < full ? a->p1 : full;
    int_group g;
    g.at = at;
    g.line = m->gates * (size_t)(p < full ? LRT_PANEL : p == full && lrt_tail_units(m->units) > 4 ? 8 : 4);
    g.vectors = (unsigned)((g.line + VL - 1) / VL);
    g.panels = 1;
    while (g.panels < 8 && p + g.panels * 2 <= end && g.panels * 2 * g.vectors <= most)
        g.panels *= 2;
    g.wanted = g.panels * g.line;
    g.direct = g.line % VL == 0 && g.wanted <= a->floats - at;
    g.wanted = g.wanted < a->floats - at ? g.wanted : a->floats - at;
    return g;
}

/* The vectors of a line that the next tile takes. */
static unsigned int_vectors(unsigned left, unsigned most)
{
    const unsigned n = left < most ? left : most;
    return n >= 8 ? 8 : n > 4 ? 4 : n;
}

/* One group of some rows. */
static void int_group_rows(const lrt_product_args *a, const int_group *g, int_tile_args *t, uint32_t r, unsigned nr,
                           int_rows_fn *multiply, unsigned most)
{
    static const LRT_ALIGNED float none[INT_FLOATS];
    LRT_ALIGNED float buf[LRT_INT_MOST_R * INT_FLOATS];
    const uint32_t row_words = lrt_packed_words(a->m->k);
    const uint32_t *w = t->w;
    const uint16_t *scale = t->scale;
    for (unsigned v = 0, nv; v < g->vectors; v += nv) {
        nv = int_vectors(g->vectors - v, most);
        t->w = w + v * VL;
        t->scale = scale + v * VL;
        for (unsigned i = 0; i < nr; i++) {
            t->x[i] = a->packed + (size_t)(r + i) * row_words;
            t->init[i] = (a->init ? a->init[r + i] + g->at : none) + v * VL;
            t->y[i] = (g->direct ? a->y[r + i] + g->at : buf + i * INT_FLOATS) + v * VL;
        }
        multiply(t, g->panels, nv);
    }
    t->w = w;
    t->scale = scale;
    for (unsigned i = 0; i < nr && !g->direct; i++)
        memcpy(a->y[r + i] + g->at, buf + i * INT_FLOATS, g->wanted * sizeof(float));
}

/* One row: most groups are one tile, straight into y. */
static void int_one_row(const lrt_product_args *a, size_t first, int_tile_args *t, const int_way *way)
{
    static const LRT_ALIGNED float none[INT_FLOATS];
    const uint32_t full = lrt_full_panels(a->m->units);
    int_group g;
    g.at = 0;
    t->x[0] = a->packed;
    for (uint32_t p = a->p0; p < a->p1; p += g.panels, g.at += g.panels * g.line) {
        g = int_next_group(a, full, p, g.at, way->row_v);
        t->line = g.line;
        t->w_panel = g.line * t->words;
        t->w = (const uint32_t *)a->m->w + (first + g.at) * t->words;
        t->scale = a->m->scale + first + g.at;
        if (!g.direct || int_vectors(g.vectors, way->row_v) != g.vectors) {
            int_group_rows(a, &g, t, 0, 1, way->rows[0], way->row_v);
            continue;
        }
        t->init[0] = a->init ? a->init[0] + g.at : none;
        t->y[0] = a->y[0] + g.at;
        way->rows[0](t, g.panels, g.vectors);
    }
}

static void int_product(const lrt_product_args *a)
{
    const lrt_matrix *m = a->m;
    const size_t first = (size_t)lrt_panel_start(m->units, a->p0) * m->gates;
    const uint32_t full = lrt_full_panels(m->units);
    const int_way way = int_way_of(m);
    int_group g;
    int_tile_args t;
    t.words = lrt_words(m->dtype, m->k);
    t.plane = plane_words(m->k);
    if (a->rows == 1) {
        int_one_row(a, first, &t, &way);
        return;
    }
    g.at = 0;
    for (uint32_t p = a->p0; p < a->p1; p += g.panels, g.at += g.panels * g.line) {
        g = int_next_group(a, full, p, g.at, LRT_INT_BLOCK_V);
        t.line = g.line;
        t.w_panel = g.line * t.words;
        t.w = (const uint32_t *)m->w + (first + g.at) * t.words;
        t.scale = m->scale + first + g.at;
        for (uint32_t r = 0, nr; r < a->rows; r += nr) {
            unsigned size = 0;
            nr = int_block(a->rows - r, way.most, &size);
            int_group_rows(a, &g, &t, r, nr, way.rows[size], LRT_INT_BLOCK_V);
        }
    }
}

#endif
