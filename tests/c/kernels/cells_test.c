/* Steps of cells, against their equations in double precision. */
#include <math.h>

#include "helpers/tables.h"
#include "suites.h"

#define ROWS 5u
#define MOST 40u /* units */

/* One layer of U units: numbers by gate and unit, and the same in panels. */
typedef struct {
    uint32_t gates, units;
    float w[4 * MOST * MOST], bias[4 * MOST], pre[ROWS][4 * MOST], h[ROWS][MOST], c[ROWS][MOST];
    float packed[4 * MOST * MOST + LRT_OVERREAD], packed_bias[4 * MOST + LRT_OVERREAD];
    float packed_pre[ROWS][4 * MOST + LRT_OVERREAD], h_next[ROWS][MOST + 16], out[ROWS][MOST], c_now[ROWS][MOST + 16];
    float h_now[ROWS][MOST + 16];
    float *out_at[ROWS];
    uint32_t row[ROWS];
} cell;

static void begin(cell *l, uint32_t gates, uint32_t units)
{
    uint32_t seed = 9 + units;
    memset(l, 0, sizeof *l);
    l->gates = gates;
    l->units = units;
    random_floats(l->w, (size_t)gates * units * units, 0.5f, &seed);
    random_floats(l->bias, (size_t)gates * units, 0.5f, &seed);
    pack(l->w, gates, units, units, l->packed);
    pack(l->bias, gates, units, 1, l->packed_bias);
    for (uint32_t r = 0; r < ROWS; r++) {
        random_floats(l->pre[r], (size_t)gates * units, 1, &seed);
        random_floats(l->h[r], units, 1, &seed);
        random_floats(l->c[r], units, 1, &seed);
        pack(l->pre[r], gates, units, 1, l->packed_pre[r]);
        memcpy(l->h_now[r], l->h[r], sizeof l->h[r]);
        memcpy(l->c_now[r], l->c[r], sizeof l->c[r]);
        l->out_at[r] = l->out[r];
        l->row[r] = ROWS - 1 - r; /* in any order */
    }
}

static lrt_step_args arguments(cell *l)
{
    lrt_step_args a;
    memset(&a, 0, sizeof a);
    a.m.w = l->packed;
    a.m.dtype = LRT_F32;
    a.m.gates = l->gates;
    a.m.units = a.m.k = l->units;
    a.bias_hh = l->packed_bias;
    a.pre = l->packed_pre[0];
    a.pre_row = 4 * MOST + LRT_OVERREAD;
    a.h_prev = l->h_now[0];
    a.h_next = l->h_next[0];
    a.c = l->c_now[0];
    a.h_prev_row = a.h_next_row = a.c_row = MOST + 16;
    a.out = l->out_at;
    a.row = l->row;
    a.rows = ROWS;
    a.p1 = lrt_panel_count(l->units);
    a.steps = 1;
    a.act[0].kind = l->gates == 1 ? LRT_ACT_TANH : LRT_ACT_SIGMOID;
    a.act[1].kind = a.act[2].kind = LRT_ACT_TANH;
    return a;
}

/* W h of a gate. */
static double product(const cell *l, uint32_t r, uint32_t g, uint32_t u)
{
    const float *w = l->w + ((size_t)g * l->units + u) * l->units;
    double sum = 0;
    for (uint32_t i = 0; i < l->units; i++)
        sum += (double)w[i] * (double)l->h[r][i];
    return sum;
}

static double pre(const cell *l, uint32_t r, uint32_t g, uint32_t u) { return (double)l->pre[r][g * l->units + u]; }
static double bias(const cell *l, uint32_t g, uint32_t u) { return (double)l->bias[g * l->units + u]; }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static double lstm(const cell *l, uint32_t r, uint32_t u, double *c)
{
    double a[4];
    for (uint32_t g = 0; g < 4; g++)
        a[g] = pre(l, r, g, u) + product(l, r, g, u);
    *c = sigmoid(a[1]) * (double)l->c[r][u] + sigmoid(a[0]) * tanh(a[2]);
    return sigmoid(a[3]) * tanh(*c);
}

static double gru(const cell *l, uint32_t r, uint32_t u)
{
    const double reset = sigmoid(pre(l, r, 0, u) + product(l, r, 0, u) + bias(l, 0, u));
    const double z = sigmoid(pre(l, r, 1, u) + product(l, r, 1, u) + bias(l, 1, u));
    const double n = tanh(pre(l, r, 2, u) + reset * (product(l, r, 2, u) + bias(l, 2, u)));
    return (1 - z) * n + z * (double)l->h[r][u];
}

static void expect_step(const cell *l)
{
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t u = 0; u < l->units; u++) {
            double c = 0, h = l->gates == 4   ? lstm(l, r, u, &c)
                              : l->gates == 3 ? gru(l, r, u)
                                              : tanh(pre(l, r, 0, u) + product(l, r, 0, u));
            CHECK(fabs((double)l->h_next[r][u] - h) < 2e-6);
            CHECK(l->out[r][u] == l->h_next[r][u]);
            CHECK(l->gates != 4 || fabs((double)l->c_now[r][u] - c) < 2e-6);
        }
}

static void run(const lrt_kernels *k, const lrt_step_args *a)
{
    if (a->m.gates == 4)
        k->lstm_step(a);
    else if (a->m.gates == 3)
        k->gru_step(a);
    else
        k->rnn_step(a);
}

/* All panels at once, or one after the other, as lanes share them; rows together, or each by itself: the same bits. */
static void in_parts(const lrt_kernels *k, const cell *whole)
{
    static cell l;
    lrt_step_args a;
    begin(&l, whole->gates, whole->units);
    a = arguments(&l);
    for (a.p0 = 0; a.p0 < lrt_panel_count(l.units); a.p0++) {
        a.p1 = a.p0 + 1;
        a.rows = 1;
        for (uint32_t r = 0; r < ROWS; r++) {
            a.row = &l.row[r];
            run(k, &a);
        }
    }
    for (uint32_t r = 0; r < ROWS; r++) {
        CHECK(memcmp(l.h_next[r], whole->h_next[r], l.units * sizeof(float)) == 0);
        CHECK(memcmp(l.c_now[r], whole->c_now[r], l.units * sizeof(float)) == 0);
    }
}

void test_cells(void)
{
    static const uint32_t gates[] = {1, 3, 4};
    static cell l;
    const lrt_kernels *k;
    for (unsigned table = 0; (k = next_table(&table)) != NULL;)
        for (unsigned g = 0; g < 3; g++)
            for (uint32_t units = 1; units <= MOST; units++) {
                lrt_step_args a;
                begin(&l, gates[g], units);
                a = arguments(&l);
                run(k, &a);
                expect_step(&l);
                in_parts(k, &l);
            }
}
