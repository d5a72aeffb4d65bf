/* Convolutions of windows of three by three places: their weights, and the tiles of two by two windows. */
#include "ops/lrt_winograd.h"

#include <string.h>

#define PLACES 16u             /* of the input that a tile reads, and products */
#define FEW 16u                /* channels or units so few that what comes before and after the products weighs more */
#define UNITS (4 * LRT_PANEL)  /* that are multiplied, and brought into the output, at a time */
#define MOST_TILES 120u
#define TILES_FLOATS (3u << 17) /* what a lane has of tiles: it stays in a cache */

/* ---- which, and the plan ---------------------------------------------------------------------------------------- */

/* Finds the two dimensions. */
static int find_dimensions(const lrt_window *w, unsigned *a, unsigned *b)
{
    unsigned of_three[3], count = 0;
    for (unsigned d = 0; d < 3; d++) {
        if (w->stride[d] != 1 || w->dilation[d] != 1 || (w->kernel[d] != 1 && w->kernel[d] != 3))
            return 0;
        if (w->kernel[d] == 3)
            of_three[count++] = d;
    }
    if (count != 2)
        return 0;
    *a = of_three[0];
    *b = of_three[1];
    return 1;
}

/* Tiles over time need all steps at once, and the same ones in every call. */
int lrt_winograd_fits(const lrt_model *m, const lrt_window *w, uint32_t units)
{
    unsigned a, b;
    if (!find_dimensions(w, &a, &b) || w->channels < FEW || units < FEW)
        return 0;
    if (a == 0 && (m->flags & LRT_FLAG_CAUSAL || lrt_window_streams(w)))
        return 0;
    return w->out[b] > 1 && (a == 0 || w->out[a] > 1);
}

/* Of the units that are multiplied together, the matrices follow each other as they are read: so many floats each. */
static size_t matrix_floats(const lrt_winograd *g, uint32_t unit)
{
    return (size_t)g->k * lrt_smaller(UNITS, lrt_padded_units(g->units) - unit);
}

/* Sums of three weights of a line, (1, 0, 0), (1, 1, 1) / 2, (1, -1, 1) / 2 and (0, 0, 1) times them. */
static void mix(const double *x, unsigned apart, double *y, unsigned y_apart)
{
    const double ends = x[0] + x[2 * apart], middle = x[apart];
    y[0] = x[0];
    y[y_apart] = (ends + middle) / 2;
    y[2 * y_apart] = (ends - middle) / 2;
    y[3 * y_apart] = x[2 * apart];
}

/* Nine weights, `apart` floats from each other, into 16, to_apart floats from each other. */
static void mix_weights(const float *w, size_t apart, float *to, size_t to_apart)
{
    double x[9], lines[12], all[PLACES];
    for (unsigned i = 0; i < 9; i++)
        x[i] = w[i * apart];
    for (unsigned i = 0; i < 3; i++)
        mix(x + i, 3, lines + i, 3);
    for (unsigned i = 0; i < 4; i++)
        mix(lines + 3 * i, 1, all + 4 * i, 1);
    for (unsigned i = 0; i < PLACES; i++)
        to[i * to_apart] = (float)all[i];
}

/* A panel of the weight has its nine places one after the other, and each matrix has a panel as long as one place. */
static void make_matrices(const lrt_winograd *g, const float *weight, float *to)
{
    for (uint32_t p = 0; p < lrt_panel_count(g->units); p++) {
        const uint32_t unit = lrt_panel_start(g->units, p), first = unit / UNITS * UNITS;
        const size_t start = (size_t)unit * g->k, place = (size_t)lrt_panel_width(g->units, p) * g->k;
        float *panel = to + PLACES * (size_t)first * g->k + (size_t)(unit - first) * g->k;
        for (size_t i = 0; i < place; i += LRT_PANEL) { /* some at a time: the matrices lie where caches hold few lines */
            const size_t count = place - i < LRT_PANEL ? place - i : LRT_PANEL;
            float some[PLACES][LRT_PANEL];
            for (size_t j = 0; j < count; j++)
                mix_weights(weight + 9 * start + i + j, place, &some[0][j], LRT_PANEL);
            for (unsigned m = 0; m < PLACES; m++)
                memcpy(panel + m * matrix_floats(g, first) + i, some[m], count * sizeof(float));
        }
    }
}

void lrt_plan_winograd(lrt_planner *p, lrt_winograd *g, const lrt_window *w, uint32_t units, const float *weight)
{
    const uint64_t per_tile = (uint64_t)PLACES * (w->channels + UNITS);
    const uint64_t fit = TILES_FLOATS / per_tile;
    const size_t zeros = w->channels > UNITS ? w->channels : UNITS;
    float *matrices, *nothing;
    find_dimensions(w, &g->a, &g->b);
    g->k = w->channels;
    g->units = units;
    g->tiles = fit > MOST_TILES ? MOST_TILES : fit < 6 ? 6 : (uint32_t)fit;
    matrices = lrt_take_floats(p, (uint64_t)PLACES * lrt_padded_units(units), g->k);
    lrt_take_floats(p, 1, LRT_OVERREAD);
    nothing = lrt_take_floats(p, 1, zeros);
    p->gather = g->tiles * per_tile > p->gather ? g->tiles * per_tile : p->gather;
    g->weight = matrices;
    g->nothing = nothing;
    if (!matrices || !nothing)
        return;
    make_matrices(g, weight, matrices);
    memset(nothing, 0, zeros * sizeof(float));
}

/* ---- tiles ------------------------------------------------------------------------------------------------------- */

/* Tiles that go through the products together, and where their four windows go; NULL: there is none. */
typedef struct {
    float *y[MOST_TILES][4];
    float *in;  /* [place][tile][channel] */
    float *out; /* [place][tile][unit] */
    uint32_t count, room;
} block;

/* Windows along each dimension, and tiles. */
typedef struct {
    uint32_t windows[3], tiles[3];
} grid;

static grid grid_of(const lrt_pass *pass, uint32_t value, const lrt_window *w, const lrt_winograd *g)
{
    grid all;
    for (unsigned d = 0; d < 3; d++) {
        all.windows[d] = d == 0 ? lrt_value_steps(pass, value) : w->out[d];
        all.tiles[d] = d == g->a || d == g->b ? all.windows[d] / 2 + all.windows[d] % 2 : all.windows[d];
    }
    return all;
}

/* Where tile `number` of all rows begins. */
static uint32_t find_tile(const grid *all, const lrt_winograd *g, uint64_t number, uint32_t at[3])
{
    for (unsigned d = 3; d-- > 0;) {
        at[d] = (uint32_t)(number % all->tiles[d]) * (d == g->a || d == g->b ? 2 : 1);
        number /= all->tiles[d];
    }
    return (uint32_t)number;
}

static void set_windows(const lrt_pass *pass, uint32_t value, const lrt_window *w, const lrt_winograd *g,
                        const grid *all, uint32_t row, const uint32_t at[3], float *y[4])
{
    for (unsigned i = 0; i < 4; i++) {
        uint32_t to[3];
        memcpy(to, at, sizeof to);
        to[g->a] += i / 2;
        to[g->b] += i % 2;
        y[i] = to[g->a] < all->windows[g->a] && to[g->b] < all->windows[g->b]
                   ? lrt_row_at(pass, value, row, to[0]) + ((size_t)to[1] * w->out[2] + to[2]) * g->units
                   : NULL;
    }
}

/* The products of a block, some units at a time, and what they are of the output. */
static void multiply(const lrt_pass *pass, const lrt_node *n, const lrt_winograd *g, block *b)
{
    const lrt_kernels *kernels = pass->s->kernels;
    const float *bias = lrt_tensor_data(pass->s->model, n->tensor[1]);
    const size_t in_apart = (size_t)b->room * g->k, out_apart = (size_t)b->room * UNITS;
    lrt_linear_args a;
    memset(&a, 0, sizeof a);
    a.m.dtype = LRT_F32;
    a.m.gates = 1;
    a.m.k = g->k;
    a.x_row = (ptrdiff_t)g->k;
    a.y_row = UNITS;
    a.rows = b->count;
    for (uint32_t unit = 0; unit < g->units; unit += UNITS) {
        a.m.units = lrt_smaller(UNITS, g->units - unit);
        a.p1 = lrt_panel_count(a.m.units);
        for (unsigned place = 0; place < PLACES; place++) {
            a.m.w = g->weight + PLACES * (size_t)unit * g->k + place * matrix_floats(g, unit);
            a.x = b->in + place * in_apart;
            a.y = b->out + place * out_apart;
            kernels->linear(&a);
        }
        for (uint32_t tile = 0; tile < b->count; tile++) {
            float *y[4];
            for (unsigned i = 0; i < 4; i++)
                y[i] = b->y[tile][i] ? b->y[tile][i] + unit : NULL;
            kernels->winograd_out(b->out + (size_t)tile * UNITS, out_apart, bias ? bias + unit : g->nothing, y,
                                  a.m.units);
        }
    }
    b->count = 0;
}

/* Tiles of a block, of so many: blocks of even size, so that none is small. */
static uint32_t even_tiles(uint64_t n, uint32_t most)
{
    const uint64_t blocks = n / most + (n % most != 0);
    return blocks ? (uint32_t)(n / blocks + (n % blocks != 0)) : 0;
}

void lrt_run_winograd(lrt_pass *pass, const lrt_node *n, const lrt_winograd *g, const lrt_window *w,
                      const lrt_past *past)
{
    const uint32_t value = n->out[0];
    const grid all = grid_of(pass, value, w, g);
    const uint64_t per_row = (uint64_t)all.tiles[0] * all.tiles[1] * all.tiles[2];
    uint32_t looks_at = LRT_NONE;
    lrt_window wide = *w; /* a tile's */
    uint64_t from, to;
    lrt_look look;
    block b;
    wide.kernel[g->a] = wide.kernel[g->b] = 4;
    lrt_share_many(per_row * pass->s->batch, pass->lane, pass->lanes, &from, &to);
    b.room = even_tiles(to - from, g->tiles);
    b.count = 0;
    b.in = lrt_gather(pass);
    b.out = b.in + (size_t)PLACES * b.room * g->k;
    for (; from < to; from++) {
        const float *places[PLACES];
        uint32_t at[3];
        const uint32_t row = find_tile(&all, g, from, at);
        if (row != looks_at)
            lrt_look_at(pass, n->in[0], w, past, row, &look);
        looks_at = row;
        lrt_window_places(&wide, &look, lrt_corner_of(w, lrt_step_of_call(pass, value, at[0]), at[1], at[2]), 0, PLACES,
                          places);
        for (unsigned i = 0; i < PLACES; i++)
            places[i] = places[i] ? places[i] : g->nothing;
        pass->s->kernels->winograd_in(places, b.in + (size_t)b.count * g->k, (size_t)b.room * g->k, g->k);
        set_windows(pass, value, w, g, &all, row, at, b.y[b.count]);
        if (++b.count < b.room && from + 1 < to)
            continue;
        multiply(pass, n, g, &b);
        if (lrt_told_to_stop(pass, (uint64_t)b.room * PLACES * g->k * g->units))
            return;
    }
}
