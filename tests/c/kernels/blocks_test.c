/* Matrices of blocks: each output takes those that are there, one after the other, to the bit; of integers, exactly as a
 * matrix in panels that has zeros in place of the others. Inputs that no block is for play no part. */
#include <math.h>

#include "helpers/tables.h"
#include "integers/lrt_integers.h"
#include "suites.h"

#define ROWS 11u
#define MOST_UNITS 53u
#define MOST_INPUTS 37u
#define MOST_STRIPS (4u * (MOST_UNITS / LRT_PANEL + 2u))

typedef struct {
    uint32_t gates, units, inputs, dtype, words;
    uint32_t w[4 * MOST_UNITS * MOST_INPUTS]; /* words [gate][unit][word] of the matrix, those of other blocks zero */
    int there[MOST_STRIPS][MOST_INPUTS], used[MOST_INPUTS];
    float bias[4 * MOST_UNITS], x[ROWS * MOST_INPUTS];
    lrt_matrix sparse, whole;
    walled starts, index, blocks, panels, scale, packed_bias, y, room;
} product;

static uint32_t zero_of(uint32_t dtype) { return dtype == LRT_I8 ? 0x80808080u : 0; }

static uint32_t *words_of(const product *p, uint32_t g, uint32_t u) { return (uint32_t *)p->w + ((size_t)g * p->units + u) * p->words; }

static uint32_t random_word(uint32_t dtype, uint32_t *seed)
{
    const float x = next_float(seed);
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return dtype == LRT_F32 ? bits : next_random(seed);
}

/* Some strips have no blocks, some all, some a few. */
static void choose(product *p, uint32_t *seed)
{
    const uint32_t strips = p->gates * lrt_panel_count(p->units);
    for (uint32_t s = 0; s < strips; s++)
        for (uint32_t i = 0; i < p->words; i++) {
            p->there[s][i] = s % 3 == 1 ? i % 4 == s % 4 : s % 5 == 2 ? 1 : next_random(seed) % 3 == 0;
            p->there[s][i] = p->there[s][i] && s % 7 != 3;
            p->used[i] |= p->there[s][i];
        }
}

/* The matrix, and its blocks in the order of a file. */
static void lay_out(product *p, uint32_t *seed)
{
    const uint32_t panels = lrt_panel_count(p->units);
    uint32_t *starts, n = 0, *to;
    uint16_t *index;
    for (uint32_t s = 0; s < panels * p->gates; s++)
        for (uint32_t i = 0; i < p->words; i++)
            n += (uint32_t)p->there[s][i];
    p->starts = walled_new((panels * p->gates + 1) * sizeof *starts);
    p->index = walled_new(n * sizeof *index);
    p->blocks = walled_new((size_t)n * LRT_PANEL * sizeof *to);
    starts = (uint32_t *)(void *)p->starts.data;
    index = (uint16_t *)(void *)p->index.data;
    to = (uint32_t *)(void *)p->blocks.data;
    n = 0;
    for (uint32_t s = 0; s < panels * p->gates; s++) {
        const uint32_t start = lrt_panel_start(p->units, s / p->gates), width = lrt_panel_width(p->units, s / p->gates);
        starts[s] = n;
        for (uint32_t i = 0; i < p->words; i++) {
            for (uint32_t u = start; u < start + width && u < p->units; u++)
                words_of(p, s % p->gates, u)[i] = p->there[s][i] ? random_word(p->dtype, seed) : zero_of(p->dtype);
            if (!p->there[s][i])
                continue;
            index[n++] = (uint16_t)i;
            for (uint32_t u = start; u < start + LRT_PANEL; u++) /* what stands for units that do not exist plays no part */
                *to++ = u < start + width && u < p->units ? words_of(p, s % p->gates, u)[i] : 0x7fc00000u;
        }
    }
    starts[panels * p->gates] = n;
}

static void begin(product *p, uint32_t dtype, uint32_t limit, uint32_t gates, uint32_t units, uint32_t inputs)
{
    uint32_t seed = 5 + gates + units + inputs;
    const size_t padded = (size_t)gates * lrt_padded_units(units);
    static float as_floats[4 * MOST_UNITS * MOST_INPUTS];
    memset(p, 0, sizeof *p);
    p->gates = gates;
    p->units = units;
    p->inputs = inputs;
    p->dtype = dtype;
    p->words = lrt_words(dtype, inputs);
    choose(p, &seed);
    lay_out(p, &seed);
    random_floats(p->bias, (size_t)gates * units, 1, &seed);
    random_floats(p->x, ROWS * inputs, 1, &seed);
    p->panels = walled_new((padded * p->words + LRT_OVERREAD) * sizeof(uint32_t));
    p->scale = walled_new((padded + LRT_OVERREAD) * sizeof(uint16_t));
    p->packed_bias = walled_new((padded + LRT_OVERREAD) * sizeof(float));
    p->y = walled_new(ROWS * padded * sizeof(float));
    p->room = walled_new((size_t)lrt_packed_room(inputs, ROWS) * sizeof(uint32_t));
    memcpy(as_floats, p->w, (size_t)gates * units * p->words * sizeof(float));
    pack(as_floats, gates, units, p->words, (float *)(void *)p->panels.data);
    pack(p->bias, gates, units, 1, (float *)(void *)p->packed_bias.data);
    for (size_t i = 0; i < padded; i++)
        ((uint16_t *)(void *)p->scale.data)[i] = (uint16_t)(0x3c00u + i);
    p->whole.w = p->panels.data;
    p->whole.gates = gates;
    p->whole.units = units;
    p->whole.k = inputs;
    p->whole.dtype = dtype;
    p->whole.limit = dtype == LRT_F32 ? 0 : limit;
    p->whole.scale = (const uint16_t *)(const void *)p->scale.data;
    p->sparse = p->whole;
    p->sparse.w = p->blocks.data;
    p->sparse.starts = (const uint32_t *)(const void *)p->starts.data;
    p->sparse.index = (const uint16_t *)(const void *)p->index.data;
}

static void end(product *p)
{
    walled *all[] = {&p->starts, &p->index, &p->blocks, &p->panels, &p->scale, &p->packed_bias, &p->y, &p->room};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        CHECK(walls_stand(all[i]));
        walled_free(all[i]);
    }
}

static float expected(const product *p, int fused, int with_bias, uint32_t row, uint32_t g, uint32_t u)
{
    const float *x = p->x + (size_t)row * p->inputs;
    float sum = with_bias ? p->bias[g * p->units + u] : 0.0f;
    uint32_t panel = u / LRT_PANEL < lrt_full_panels(p->units) ? u / LRT_PANEL : lrt_full_panels(p->units);
    panel += u >= lrt_panel_start(p->units, panel + 1);
    for (uint32_t i = 0; i < p->inputs; i++) {
        float w;
        volatile float apart;
        if (!p->there[panel * p->gates + g][i])
            continue;
        memcpy(&w, &words_of(p, g, u)[i], sizeof w);
        apart = w * x[i];
        sum = fused ? fmaf(w, x[i], sum) : sum + apart;
    }
    return sum;
}

static lrt_linear_args arguments(product *p, const lrt_matrix *m)
{
    lrt_linear_args a;
    memset(&a, 0, sizeof a);
    a.m = *m;
    a.packed = (uint32_t *)(void *)p->room.data;
    a.x = p->x;
    a.x_row = (ptrdiff_t)p->inputs;
    a.y = (float *)(void *)p->y.data;
    a.y_row = (ptrdiff_t)((size_t)p->gates * lrt_padded_units(p->units));
    a.rows = ROWS;
    a.p1 = lrt_panel_count(p->units);
    a.padded = 1;
    for (size_t i = 0; i < p->y.size / sizeof(float); i++)
        a.y[i] = -7.0f;
    return a;
}

/* The product of the whole matrix, into memory of its own. */
static void whole_product(product *p, const lrt_kernels *k, const lrt_linear_args *sparse, float *want)
{
    lrt_linear_args a = *sparse;
    a.m = p->whole;
    a.y = want;
    lrt_linear(k, &a);
}

static void run(product *p, const lrt_kernels *k, const lrt_linear_args *a)
{
    static float want[ROWS * 4 * (MOST_UNITS + LRT_PANEL)];
    const float *y = (const float *)(const void *)p->y.data;
    lrt_linear(k, a);
    CHECK(walls_stand(&p->y));
    if (p->dtype != LRT_F32)
        whole_product(p, k, a, want);
    for (uint32_t r = 0; r < a->rows * (a->outer + 1); r++)
        for (uint32_t g = 0; g < p->gates; g++)
            for (uint32_t u = 0; u < p->units; u++) {
                const size_t at = (size_t)r * (size_t)a->y_row + (a->padded ? panel_place(p->gates, p->units, g, u) : u);
                const int mine = u >= lrt_panel_start(p->units, a->p0) && u < lrt_panel_start(p->units, a->p1);
                float value = -7.0f;
                if (mine)
                    value = p->dtype == LRT_F32 ? expected(p, lrt_kernels_fused(k), a->bias != NULL, r, g, u) : want[at];
                CHECK(memcmp(&y[at], &value, sizeof value) == 0);
            }
}

static void run_all(product *p, const lrt_kernels *k)
{
    lrt_linear_args a = arguments(p, &p->sparse);
    a.bias = (const float *)(const void *)p->packed_bias.data;
    run(p, k, &a);
    a = arguments(p, &p->sparse);
    a.rows = 1;
    run(p, k, &a);
    a = arguments(p, &p->sparse); /* some of the panels, no bias, rows in two groups */
    a.p0 = a.p1 / 2;
    a.rows = ROWS / 2;
    a.outer = 1;
    a.x_outer = a.x_row * (ptrdiff_t)(ROWS / 2);
    a.y_outer = a.y_row * (ptrdiff_t)(ROWS / 2);
    run(p, k, &a);
    if (p->gates > 1)
        return;
    a = arguments(p, &p->sparse); /* only units that exist; and of these not the last panel */
    a.padded = 0;
    a.y_row = (ptrdiff_t)p->units;
    run(p, k, &a);
    a = arguments(p, &p->sparse);
    a.padded = 0;
    a.y_row = (ptrdiff_t)p->units;
    a.p1--;
    run(p, k, &a);
}

/* NaN and infinities at inputs that have no block. */
static void run_beside_infinity(product *p, const lrt_kernels *k)
{
    static const float odd[] = {INFINITY, -INFINITY, NAN};
    if (p->dtype != LRT_F32)
        return;
    for (uint32_t i = 0; i < ROWS * p->inputs; i++)
        if (!p->used[i % p->inputs])
            p->x[i] = odd[i % 3];
    run_all(p, k);
}

void test_blocks(void)
{
    static const uint32_t inputs[] = {1, 2, 7, 16, MOST_INPUTS}, limits[] = {5, 127, 128, 255};
    const lrt_kernels *k;
    for (unsigned table = 0; (k = next_table(&table)) != NULL;)
        for (uint32_t gates = 1; gates <= 4; gates++)
            for (uint32_t units = 1; units <= MOST_UNITS; units += only_some ? 9 : gates == 1 ? 1 : 5)
                for (unsigned i = 0; i < 5; i++)
                    for (uint32_t dtype = LRT_F32; dtype <= LRT_I16; dtype += dtype == LRT_F32 ? 2 : 1) {
                        static product p;
                        begin(&p, dtype, dtype == LRT_I16 ? 100 : limits[(units + i) % 4], gates, units, inputs[i]);
                        run_all(&p, k);
                        run_beside_infinity(&p, k);
                        end(&p);
                    }
}
