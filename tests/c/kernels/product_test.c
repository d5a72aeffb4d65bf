/* Matrix products: each output is its bias and then its products one after the other, to the bit; of a table that
 * rounds twice, with two roundings each. */
#include <math.h>

#include "helpers/tables.h"
#include "suites.h"

#define ROWS 12u
#define MOST_UNITS 53u
#define MOST_INPUTS 19u

typedef struct {
    uint32_t gates, units, inputs;
    float w[4 * MOST_UNITS * MOST_INPUTS], bias[4 * MOST_UNITS], x[ROWS * MOST_INPUTS];
    walled packed, packed_bias, y;
} product;

static void begin(product *p, uint32_t gates, uint32_t units, uint32_t inputs)
{
    uint32_t seed = 5 + gates + units + inputs;
    const size_t padded = (size_t)gates * lrt_padded_units(units);
    p->gates = gates;
    p->units = units;
    p->inputs = inputs;
    random_floats(p->w, (size_t)gates * units * inputs, 1, &seed);
    random_floats(p->bias, (size_t)gates * units, 1, &seed);
    random_floats(p->x, ROWS * inputs, 1, &seed);
    p->packed = walled_new((padded * inputs + LRT_OVERREAD) * sizeof(float));
    p->packed_bias = walled_new((padded + LRT_OVERREAD) * sizeof(float));
    p->y = walled_new(ROWS * padded * sizeof(float));
    pack(p->w, gates, units, inputs, (float *)(void *)p->packed.data);
    pack(p->bias, gates, units, 1, (float *)(void *)p->packed_bias.data);
}

static void end(product *p)
{
    walled_free(&p->packed);
    walled_free(&p->packed_bias);
    walled_free(&p->y);
}

static float expected(const product *p, int fused, int with_bias, uint32_t row, uint32_t g, uint32_t u)
{
    const float *w = p->w + ((size_t)g * p->units + u) * p->inputs, *x = p->x + (size_t)row * p->inputs;
    float sum = with_bias ? p->bias[g * p->units + u] : 0.0f;
    for (uint32_t i = 0; i < p->inputs; i++) {
        volatile float apart = w[i] * x[i]; /* no compiler may make one operation of the two */
        sum = fused ? fmaf(w[i], x[i], sum) : sum + apart;
    }
    return sum;
}

/* Rows from `row` on, with y in panel order (padded) or, of one gate, unit by unit; the panels before p0 and from p1 on
 * are left alone. */
static void expect_rows(const product *p, const lrt_kernels *k, const lrt_linear_args *a, size_t y_row)
{
    const float *y = (const float *)(const void *)p->y.data;
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t g = 0; g < p->gates; g++)
            for (uint32_t u = 0; u < p->units; u++) {
                const size_t at = a->padded ? panel_place(p->gates, p->units, g, u) : u;
                const int mine = u >= lrt_panel_start(p->units, a->p0) && u < lrt_panel_start(p->units, a->p1);
                const float want = mine ? expected(p, lrt_kernels_fused(k), a->bias != NULL, r, g, u) : -7.0f;
                CHECK(memcmp(&y[r * y_row + at], &want, sizeof want) == 0);
            }
    CHECK(walls_stand(&p->y));
}

static lrt_linear_args arguments(product *p)
{
    lrt_linear_args a;
    memset(&a, 0, sizeof a);
    a.m.w = (const float *)(const void *)p->packed.data;
    a.m.dtype = LRT_F32;
    a.m.gates = p->gates;
    a.m.units = p->units;
    a.m.k = p->inputs;
    a.x = p->x;
    a.x_row = (ptrdiff_t)p->inputs;
    a.y = (float *)(void *)p->y.data;
    a.rows = ROWS;
    a.p1 = lrt_panel_count(p->units);
    for (size_t i = 0; i < p->y.size / sizeof(float); i++)
        a.y[i] = -7.0f;
    return a;
}

static void run_all(product *p, const lrt_kernels *k)
{
    const size_t padded = (size_t)p->gates * lrt_padded_units(p->units);
    const float *bias = (const float *)(const void *)p->packed_bias.data, *x[ROWS];
    float *y[ROWS];
    lrt_linear_args a = arguments(p);
    a.padded = 1;
    a.y_row = (ptrdiff_t)padded;
    a.bias = bias;
    k->linear(&a);
    expect_rows(p, k, &a, padded);
    a = arguments(p); /* some of the panels, no bias, the rows in two groups */
    a.padded = 1;
    a.y_row = (ptrdiff_t)padded;
    a.p0 = a.p1 / 2;
    a.rows = ROWS / 2;
    a.outer = 1;
    a.x_outer = a.x_row * (ptrdiff_t)(ROWS / 2);
    a.y_outer = a.y_row * (ptrdiff_t)(ROWS / 2);
    k->linear(&a);
    expect_rows(p, k, &a, padded);
    if (p->gates > 1)
        return;
    a = arguments(p); /* rows wherever they are */
    a.bias = bias;
    for (uint32_t r = 0; r < ROWS; r++) {
        x[r] = p->x + (size_t)r * p->inputs;
        y[r] = a.y + (size_t)r * p->units;
    }
    a.x_at = x;
    a.y_at = y;
    k->linear(&a);
    expect_rows(p, k, &a, p->units);
}

void test_products(void)
{
    static const uint32_t inputs[] = {1, 2, 7, MOST_INPUTS};
    const lrt_kernels *k;
    for (unsigned table = 0; (k = next_table(&table)) != NULL;) {
        for (uint32_t gates = 1; gates <= 4; gates++)
            for (uint32_t units = 1; units <= MOST_UNITS; units += only_some ? 9 : gates == 1 ? 1 : 3)
                for (unsigned i = 0; i < 4; i++) {
                    product p;
                    begin(&p, gates, units, inputs[i]);
                    run_all(&p, k);
                    end(&p);
                }
    }
}
