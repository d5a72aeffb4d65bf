/* Products with integer weights: the very integers of each row, exact sums, and the float operations after them one by
 * one, on every table, fused or not. */
#include <math.h>

#include "helpers/tables.h"
#include "integers/lrt_integers.h"
#include "suites.h"

#define ROWS 37u /* blocks of 16 and a part of one */
#define MOST_UNITS 53u
#define MOST_INPUTS 530u

typedef struct {
    lrt_matrix m;
    int32_t q[4 * MOST_UNITS * MOST_INPUTS];
    float s[4 * MOST_UNITS], bias[4 * MOST_UNITS], x[ROWS * MOST_INPUTS];
    walled weights, packed_bias, y, room;
} product;

static uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Weights of the whole range, and of inputs and units that do not exist some that must play no part. */
static uint32_t word_of(const product *p, uint32_t g, uint32_t u, uint32_t word)
{
    const uint32_t n = lrt_per_word(p->m.dtype);
    uint32_t bits = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t k = word * n + i;
        const int32_t q = u < p->m.units && k < p->m.k ? p->q[((size_t)g * p->m.units + u) * p->m.k + k] : 77;
        bits |= (p->m.dtype == LRT_I8 ? (uint32_t)(q + 128) << 8 * i : ((uint32_t)q & 0xffffu) << 16 * i);
    }
    return bits;
}

static void pack_words(const product *p, uint32_t *to)
{
    static float scales[4 * (MOST_UNITS + LRT_PANEL)];
    for (uint32_t start = 0, width; start < p->m.units; start += width) {
        width = width_at(p->m.units, start);
        for (uint32_t word = 0; word < lrt_words(p->m.dtype, p->m.k); word++)
            for (uint32_t g = 0; g < p->m.gates; g++)
                for (uint32_t u = start; u < start + width; u++)
                    *to++ = word_of(p, g, u, word);
    }
    pack(p->s, p->m.gates, p->m.units, 1, scales);
    for (size_t i = 0; i < (size_t)p->m.gates * lrt_padded_units(p->m.units); i++)
        ((uint16_t *)(void *)to)[i] = (uint16_t)(float_bits(scales[i]) >> 16);
}

static void begin(product *p, uint32_t dtype, uint32_t limit, uint32_t gates, uint32_t units, uint32_t k)
{
    uint32_t seed = 11 + gates + units + k;
    const size_t padded = (size_t)gates * lrt_padded_units(units), words = padded * lrt_words(dtype, k);
    const int32_t top = (int32_t)(0x7fffffffu / limit / k), most = dtype == LRT_I8 ? 127 : 32767;
    const int32_t range = top < most ? top : most;
    memset(p, 0, sizeof *p);
    p->m.gates = gates;
    p->m.units = units;
    p->m.k = k;
    p->m.dtype = dtype;
    p->m.limit = limit;
    for (size_t i = 0; i < (size_t)gates * units * k; i++)
        p->q[i] = i < k ? range : (int32_t)(next_random(&seed) % (2u * (uint32_t)range + 1)) - range;
    random_floats(p->s, (size_t)gates * units, 0.01f, &seed);
    for (size_t i = 0; i < (size_t)gates * units; i++) { /* what a file can say */
        const uint32_t bits = float_bits(p->s[i]) & 0xffff0000u;
        memcpy(&p->s[i], &bits, sizeof bits);
    }
    random_floats(p->bias, (size_t)gates * units, 1, &seed);
    random_floats(p->x, ROWS * k, 1, &seed);
    for (uint32_t i = 0; i < k; i++)
        p->x[i] = 0.75f; /* all of them at the limit */
    p->weights = walled_new((words + LRT_OVERREAD) * sizeof(uint32_t) + padded * sizeof(uint16_t));
    p->packed_bias = walled_new((padded + LRT_OVERREAD) * sizeof(float));
    p->y = walled_new(ROWS * padded * sizeof(float));
    p->room = walled_new((size_t)lrt_packed_room(k, ROWS) * sizeof(uint32_t));
    pack_words(p, (uint32_t *)(void *)p->weights.data);
    pack(p->bias, gates, units, 1, (float *)(void *)p->packed_bias.data);
    p->m.w = p->weights.data;
    p->m.scale = (const uint16_t *)((const uint32_t *)(const void *)p->weights.data + words);
}

static void end(product *p)
{
    walled_free(&p->weights);
    walled_free(&p->packed_bias);
    walled_free(&p->y);
    walled_free(&p->room);
}

static float expected(const product *p, int with_bias, uint32_t row, uint32_t g, uint32_t u)
{
    const float *x = p->x + (size_t)row * p->m.k, limit = (float)p->m.limit;
    const size_t at = (size_t)g * p->m.units + u;
    volatile float times, scale, y; /* no compiler may fuse, or round less often */
    float most = 0;
    int64_t sum = 0;
    for (uint32_t i = 0; i < p->m.k; i++)
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    times = limit / most;
    for (uint32_t i = 0; i < p->m.k; i++) {
        volatile float r = x[i] * times;
        sum += (int64_t)p->q[at * p->m.k + i] * (int64_t)rintf(r);
    }
    CHECK(sum == (int32_t)sum);
    scale = most / limit;
    scale = p->s[at] * scale;
    y = (float)(int32_t)sum;
    y = y * scale;
    return (with_bias ? p->bias[at] : 0.0f) + y;
}

/* y in panel order (padded) or, of one gate, unit by unit; the panels before p0 and from p1 on are left alone. */
static void expect_rows(const product *p, const lrt_linear_args *a, size_t y_row)
{
    const float *y = (const float *)(const void *)p->y.data;
    for (uint32_t r = 0; r < a->rows * (a->outer + 1); r++)
        for (uint32_t g = 0; g < p->m.gates; g++)
            for (uint32_t u = 0; u < p->m.units; u++) {
                const size_t at = a->padded ? panel_place(p->m.gates, p->m.units, g, u) : u;
                const int mine = u >= lrt_panel_start(p->m.units, a->p0) && u < lrt_panel_start(p->m.units, a->p1);
                const float want = mine ? expected(p, a->bias != NULL, r, g, u) : -7.0f;
                CHECK(memcmp(&y[r * y_row + at], &want, sizeof want) == 0);
            }
    CHECK(walls_stand(&p->y));
    CHECK(walls_stand(&p->room));
}

static lrt_linear_args arguments(product *p)
{
    lrt_linear_args a;
    memset(&a, 0, sizeof a);
    a.m = p->m;
    a.packed = (uint32_t *)(void *)p->room.data;
    a.x = p->x;
    a.x_row = (ptrdiff_t)p->m.k;
    a.y = (float *)(void *)p->y.data;
    a.rows = ROWS;
    a.p1 = lrt_panel_count(p->m.units);
    for (size_t i = 0; i < p->y.size / sizeof(float); i++)
        a.y[i] = -7.0f;
    return a;
}

static void run_all(product *p, const lrt_kernels *k)
{
    const size_t padded = (size_t)p->m.gates * lrt_padded_units(p->m.units);
    lrt_linear_args a = arguments(p);
    a.padded = 1;
    a.y_row = (ptrdiff_t)padded;
    a.bias = (const float *)(const void *)p->packed_bias.data;
    lrt_linear(k, &a);
    expect_rows(p, &a, padded);
    a = arguments(p); /* one row */
    a.padded = 1;
    a.rows = 1;
    a.y_row = (ptrdiff_t)padded;
    lrt_linear(k, &a);
    expect_rows(p, &a, padded);
    a = arguments(p); /* some of the panels, no bias, rows in two groups */
    a.padded = 1;
    a.y_row = (ptrdiff_t)padded;
    a.p0 = a.p1 / 2;
    a.rows = ROWS / 2;
    a.outer = 1;
    a.x_outer = a.x_row * (ptrdiff_t)(ROWS / 2);
    a.y_outer = a.y_row * (ptrdiff_t)(ROWS / 2);
    lrt_linear(k, &a);
    expect_rows(p, &a, padded);
    if (p->m.gates > 1)
        return;
    a = arguments(p); /* only units that exist; and of these not the last panel */
    a.y_row = (ptrdiff_t)p->m.units;
    lrt_linear(k, &a);
    expect_rows(p, &a, p->m.units);
    a = arguments(p);
    a.y_row = (ptrdiff_t)p->m.units;
    a.p1--;
    lrt_linear(k, &a);
    expect_rows(p, &a, p->m.units);
}

void test_integers(void)
{
    static const uint32_t inputs[] = {1, 2, 3, 4, 7, 16, 37, MOST_INPUTS}, limits[] = {5, 127, 128, 32639};
    const lrt_kernels *k;
    for (unsigned table = 0; (k = next_table(&table)) != NULL;)
        for (uint32_t gates = 1; gates <= 4; gates++)
            for (uint32_t units = 1; units <= MOST_UNITS; units += only_some ? 9 : gates == 1 ? 1 : 5)
                for (unsigned i = 0; i < (units % 30 == 21 ? 8 : 7); i++) /* many inputs: what is multiplied in several parts */
                    for (uint32_t dtype = LRT_I8; dtype <= LRT_I16; dtype++) {
                        static product p;
                        begin(&p, dtype, limits[(units + i) % 4], gates, units, inputs[i]);
                        run_all(&p, k);
                        end(&p);
                    }
}
