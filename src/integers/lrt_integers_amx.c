/* Products of many rows with integer weights by the tiles of x86-64's AMX: 16 rows times 16 numbers of a line of a panel at
 * a time. Fewer rows, and matrices of blocks, go the way of AVX-512's dot products. */
#include "kernels/lrt_isa.h"

#ifdef LRT_AMX_TABLES
LRT_WIDE
#ifdef __clang__
LRT_ISA("avx512f,avx512bw,avx512vnni,fma,amx-tile,amx-int8")
#else
LRT_ISA("avx512f,avx512bw,avx512vnni,fma,amx-tile,amx-int8,prefer-vector-width=512")
#endif

#define LRT_VNNI
#include "kernels/lrt_vec_avx512.h"

/* The low bytes, without a sign, and the high ones. */
static inline void store_planes(uint32_t *low, uint32_t *high, vi a)
{
    _mm_storeu_si128((__m128i *)(void *)low, _mm512_cvtepi32_epi8(a));
    _mm_storeu_si128((__m128i *)(void *)high, _mm512_cvtepi32_epi8(_mm512_srai_epi32(a, 8)));
}
#define LRT_PLANES
#include "integers/lrt_pack_impl.h"

enum {
    SIDE = 16,
    TILE_WORDS = SIDE * SIDE,
    FEW_ROWS = 8,
    CHUNK = 4 /* tiles of weights of 16 bits that are taken apart at a time */
};

extern const lrt_integers lrt_integers_avx512vnni, lrt_integers_amx;

/* What the CPU is told of its tiles: all of 16 rows of 64 bytes. */
typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_shapes;

static void use_tiles(void)
{
    tile_shapes all;
    memset(&all, 0, sizeof all);
    all.palette = 1;
    for (unsigned i = 0; i < 8; i++) {
        all.bytes[i] = SIDE * sizeof(uint32_t);
        all.rows[i] = SIDE;
    }
    _tile_loadconfig(&all);
}

#define LOAD(tile, words) _tile_loadd(tile, words, SIDE * sizeof(uint32_t))
#define STORE(tile, words) _tile_stored(tile, words, SIDE * sizeof(uint32_t))

/* Up to 16 numbers of every line of a panel. */
typedef struct {
    const uint32_t *w; /* of the first line */
    size_t line;       /* words from line to line */
    size_t at;         /* floats of y before it */
    unsigned n;
    uint32_t tail[TILE_WORDS]; /* of bytes: the last lines, and zeros where there are none */
} column;

/* Where the next column is. */
typedef struct {
    uint32_t p;
    size_t line_at, at;
} place;

static int next_column(const lrt_product_args *a, uint32_t words, place *next, column *c)
{
    const lrt_matrix *m = a->m;
    size_t left;
    if (next->p >= a->p1)
        return 0;
    c->line = (size_t)m->gates * lrt_panel_width(m->units, next->p);
    c->w = (const uint32_t *)m->w + (size_t)lrt_panel_start(m->units, next->p) * m->gates * words + next->line_at;
    c->at = next->at;
    left = c->line - next->line_at;
    c->n = left < SIDE ? (unsigned)left : SIDE;
    next->at += c->n;
    next->line_at += c->n;
    if (next->line_at == c->line) {
        next->line_at = 0;
        next->p++;
    }
    return 1;
}

static vi load_line(const column *c, uint32_t i, uint32_t words)
{
    return i < words ? v_iload(c->w + i * c->line) : v_iset1(0);
}

/* Rows r to r + n of one column, their sums in `tiles`, that count once, or 256 or 65536 times. */
static void finish(const lrt_product_args *a, uint32_t r, uint32_t n, const column *c, const uint32_t *const *tiles,
                   const unsigned *shifts, unsigned count)
{
    const size_t first = (size_t)lrt_panel_start(a->m->units, a->p0) * a->m->gates, row_words = lrt_packed_words(a->m->k);
    const size_t room = a->floats > c->at ? a->floats - c->at : 0;
    const unsigned wanted = room < c->n ? (unsigned)room : c->n;
    const vf scale = v_load_high(a->m->scale + first + c->at);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t *x = a->packed + (r + i) * row_words;
        const vf init = a->init ? v_load(a->init[r + i] + c->at) : v_set1(0.0f);
        vi sum = v_iset1(0u - 128u * x[1]); /* bytes are 128 too large */
        float x_scale;
        vf y;
        memcpy(&x_scale, x, sizeof x_scale);
        for (unsigned j = 0; j < count; j++)
            sum = v_iadd(sum, _mm512_sll_epi32(v_iload(tiles[j] + i * SIDE), _mm_cvtsi32_si128((int)shifts[j])));
        y = v_add(init, v_mul(v_ifloat(sum), v_mul(scale, v_set1(x_scale))));
        if (wanted == SIDE)
            v_store(a->y[r + i] + c->at, y);
        else
            v_store_n(a->y[r + i] + c->at, y, wanted);
    }
}

/* ---- weights of bytes ---------------------------------------------------------------------------------- */

#define LOAD_COLUMN(tile, c, i, whole)                                                                  \
    do {                                                                                                 \
        if ((i) < (whole))                                                                               \
            _tile_loadd(tile, (c)->w + (size_t)(i) * SIDE * (c)->line, (c)->line * sizeof(uint32_t));    \
        else                                                                                             \
            LOAD(tile, (c)->tail);                                                                       \
    } while (0)

/* Sums of two times 16 numbers of x and two columns: tiles 0 and 1 of the first x, 2 and 3 of the second. */
static void multiply_bytes(const uint32_t *x, const uint32_t *x2, size_t row_bytes, const column *c, uint32_t words,
                           uint32_t (*sums)[TILE_WORDS])
{
    const uint32_t whole = words / SIDE, all = (words + SIDE - 1) / SIDE;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (uint32_t i = 0; i < all; i++) {
        LOAD_COLUMN(6, &c[0], i, whole);
        LOAD_COLUMN(7, &c[1], i, whole);
        _tile_loadd(4, x + (size_t)i * SIDE, row_bytes);
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        if (!x2)
            continue;
        _tile_loadd(5, x2 + (size_t)i * SIDE, row_bytes);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
    }
    STORE(0, sums[0]);
    STORE(1, sums[1]);
    STORE(2, sums[2]);
    STORE(3, sums[3]);
}

static void find_tail(column *c, uint32_t words)
{
    for (uint32_t i = words / SIDE * SIDE, j = 0; j < SIDE && words % SIDE; j++)
        _mm512_storeu_si512(c->tail + (size_t)j * SIDE, load_line(c, i + j, words));
}

static void columns_of_bytes(const lrt_product_args *a)
{
    LRT_ALIGNED uint32_t sums[4][TILE_WORDS];
    LRT_ALIGNED column c[2];
    const uint32_t words = lrt_words(LRT_I8, a->m->k);
    const size_t row_words = lrt_packed_words(a->m->k), row_bytes = row_words * sizeof(uint32_t);
    const int narrow = a->m->limit <= LRT_MAX_BYTE; /* then the second x are other rows, else the high bytes */
    const unsigned shifts[] = {0, 8};
    place next = {a->p0, 0, 0};
    for (int n; (n = next_column(a, words, &next, &c[0])) != 0;) {
        n += next_column(a, words, &next, &c[1]);
        if (n == 1)
            c[1] = c[0];
        find_tail(&c[0], words);
        find_tail(&c[1], words);
        for (uint32_t r = 0; r < a->rows; r += narrow ? 2 * SIDE : SIDE) {
            const uint32_t left = a->rows - r, rows = left < SIDE ? left : SIDE;
            const uint32_t more = !narrow || left <= SIDE ? 0 : left < 2 * SIDE ? left - SIDE : SIDE;
            const uint32_t *x = a->packed + r * row_words + LRT_PACKED_HEAD;
            multiply_bytes(x, !narrow ? x + plane_words(a->m->k) : more ? x + SIDE * row_words : NULL, row_bytes, c, words, sums);
            for (int i = 0; i < n; i++) {
                const uint32_t *const first[] = {sums[i], sums[2 + i]}, *const second[] = {sums[2 + i]};
                finish(a, r, rows, &c[i], first, shifts, narrow ? 1 : 2);
                finish(a, r + SIDE, more, &c[i], second, shifts, 1);
            }
        }
    }
}

/* ---- weights of 16 bits: low bytes without a sign and high ones, times the same of x ----------------------- */

typedef struct {
    uint32_t low[CHUNK][TILE_WORDS], high[CHUNK][TILE_WORDS];
} planes;

/* The bytes of two lines: of each word the low ones of both, and the high ones. */
static LRT_INLINE void take_lines_apart(vi a, vi b, uint32_t *low, uint32_t *high)
{
    const vi low_first = _mm512_set4_epi32(0x0f0d0e0c, 0x0b090a08, 0x07050604, 0x03010200);
    const vi high_first = _mm512_set4_epi32(0x0e0c0f0d, 0x0a080b09, 0x06040705, 0x02000301);
    a = _mm512_shuffle_epi8(a, low_first);
    b = _mm512_shuffle_epi8(b, high_first);
    _mm512_store_si512(low, _mm512_mask_blend_epi16(0xaaaaaaaa, a, b));
    _mm512_store_si512(high, _mm512_rol_epi32(_mm512_mask_blend_epi16(0xaaaaaaaa, b, a), 16));
}

/* Takes apart 32 lines from number `from` on, of two columns, which are mostly neighbours; lines that do not exist are zeros. */
static LRT_INLINE void take_apart(const column *c, uint32_t from, uint32_t words, uint32_t tile, planes *to)
{
    const int whole = from + 2 * SIDE <= words;
    for (uint32_t i = 0; i < SIDE; i++)
        for (int j = 0; j < 2; j++) {
            const uint32_t at = from + 2 * i, *w = c[j].w + at * c[j].line;
            take_lines_apart(whole ? v_iload(w) : load_line(&c[j], at, words),
                             whole ? v_iload(w + c[j].line) : load_line(&c[j], at + 1, words),
                             to[j].low[tile] + i * SIDE, to[j].high[tile] + i * SIDE);
        }
}

/* Adds to the sums of 16 rows and two columns: low by low bytes; low by high and high by low ones; high by high. With c,
 * its lines from number `from` on are taken apart on the way: that and the tiles go side by side. */
static LRT_INLINE void multiply_planes(const uint32_t *x, size_t plane, size_t row_bytes, planes *w, uint32_t tiles, int begun,
                                       const column *c, uint32_t from, uint32_t words, uint32_t (*sums)[TILE_WORDS])
{
    if (begun) {
        LOAD(0, sums[0]);
        LOAD(1, sums[1]);
        LOAD(2, sums[2]);
        LOAD(3, sums[3]);
        LOAD(4, sums[4]);
        LOAD(5, sums[5]);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        _tile_zero(4);
        _tile_zero(5);
    }
    for (uint32_t i = 0; i < tiles; i++) {
        if (c)
            take_apart(c, from + i * 2 * SIDE, words, i, w);
        _tile_loadd(6, x + (size_t)i * SIDE, row_bytes);
        LOAD(7, w[0].low[i]);
        _tile_dpbuud(0, 6, 7);
        LOAD(7, w[1].low[i]);
        _tile_dpbuud(3, 6, 7);
        LOAD(7, w[0].high[i]);
        _tile_dpbusd(1, 6, 7);
        LOAD(7, w[1].high[i]);
        _tile_dpbusd(4, 6, 7);
        _tile_loadd(6, x + plane + (size_t)i * SIDE, row_bytes);
        LOAD(7, w[0].high[i]);
        _tile_dpbssd(2, 6, 7);
        LOAD(7, w[1].high[i]);
        _tile_dpbssd(5, 6, 7);
        LOAD(7, w[0].low[i]);
        _tile_dpbsud(1, 6, 7);
        LOAD(7, w[1].low[i]);
        _tile_dpbsud(4, 6, 7);
    }
    STORE(0, sums[0]);
    STORE(1, sums[1]);
    STORE(2, sums[2]);
    STORE(3, sums[3]);
    STORE(4, sums[4]);
    STORE(5, sums[5]);
}

static void finish_pairs(const lrt_product_args *a, uint32_t r, const column *c, int n, uint32_t (*sums)[TILE_WORDS])
{
    static const unsigned shifts[] = {0, 8, 16};
    for (int j = 0; j < n; j++) {
        const uint32_t *const tiles[] = {sums[3 * j], sums[3 * j + 1], sums[3 * j + 2]};
        finish(a, r, a->rows - r < SIDE ? a->rows - r : SIDE, &c[j], tiles, shifts, 3);
    }
}

static void columns_of_pairs(const lrt_product_args *a)
{
    LRT_ALIGNED uint32_t sums[LRT_MOST_PACKED / SIDE][6][TILE_WORDS];
    LRT_ALIGNED planes w[2];
    LRT_ALIGNED column c[2];
    const uint32_t words = lrt_words(LRT_I16, a->m->k), all = (words + 2 * SIDE - 1) / (2 * SIDE);
    const size_t row_words = lrt_packed_words(a->m->k), row_bytes = row_words * sizeof(uint32_t);
    const size_t plane = plane_words(a->m->k);
    place next = {a->p0, 0, 0};
    for (int n; (n = next_column(a, words, &next, &c[0])) != 0;) {
        n += next_column(a, words, &next, &c[1]);
        if (n == 1)
            c[1] = c[0];
        for (uint32_t t = 0; t < all; t += CHUNK) {
            const uint32_t tiles = all - t < CHUNK ? all - t : CHUNK, *x = a->packed + LRT_PACKED_HEAD + t * SIDE;
            for (uint32_t r = 0; r < a->rows; r += SIDE) {
                uint32_t (*const s)[TILE_WORDS] = sums[all > CHUNK ? r / SIDE : 0];
                if (r == 0)
                    multiply_planes(x, plane, row_bytes, w, tiles, t > 0, c, t * 2 * SIDE, words, s);
                else
                    multiply_planes(x + r * row_words, plane, row_bytes, w, tiles, t > 0, NULL, 0, words, s);
                if (t + tiles == all)
                    finish_pairs(a, r, c, n, s);
            }
        }
    }
}

/* ---- the table -------------------------------------------------------------------------------------------- */

static int goes_through_tiles(const lrt_matrix *m, uint32_t rows) { return rows >= FEW_ROWS && !lrt_is_sparse(m); }

static void product(const lrt_product_args *a)
{
    if (!goes_through_tiles(a->m, a->rows)) {
        lrt_integers_avx512vnni.product(a);
        return;
    }
    use_tiles();
    if (a->m->dtype == LRT_I8)
        columns_of_bytes(a);
    else
        columns_of_pairs(a);
    _tile_release();
}

static void pack(const lrt_matrix *m, const float *x, uint32_t *packed, uint32_t rows)
{
    if (!goes_through_tiles(m, rows) || m->dtype == LRT_I8)
        lrt_integers_avx512vnni.pack(m, x, packed, rows);
    else
        int_pack(m, x, packed, rows);
}

const lrt_integers lrt_integers_amx = {pack, product};

LRT_ISA_END
#endif
