/* Attention: against sums in double, with everything that may be absent, and in many ways. */
#include <math.h>

#include "helpers/blobs.h"
#include "suites.h"

#define MOST 64u

/* Heads of q, of k and v, and their sizes. */
typedef struct {
    uint32_t heads, groups, size, width;
    int additive, weighted, causal, vec, masked, same_axis;
    float scale;
} spec;

/* Inputs q, k and v; outputs as attention has them. */
static void make(graph *g, const spec *s)
{
    const uint32_t groups = s->groups ? s->groups : s->heads, q_size = s->heads * s->size;
    uint32_t in[4], axis = 0;
    graph_begin(g, 4);
    graph_axis(g);
    in[0] = graph_input(g, s->vec ? LRT_VEC : LRT_SEQ, q_size, 0);
    if (!s->vec && !s->same_axis)
        axis = graph_axis(g);
    in[1] = graph_input(g, LRT_SEQ, groups * s->size, axis);
    in[2] = graph_input(g, LRT_SEQ, groups * s->width, axis);
    in[3] = s->masked ? graph_op(g, LRT_OP_MASK_VALUES, in[2], LRT_MASK, 0, axis) : LRT_NONE;
    graph_node(g, LRT_OP_ATTENTION, 4, in);
    graph_attr(g, 0, s->heads);
    graph_attr(g, 1, s->groups);
    graph_attr(g, 2, (uint32_t)s->additive);
    graph_attr_float(g, 3, s->scale);
    graph_attr(g, 4, (uint32_t)s->causal);
    graph_tensor(g, LRT_PLAIN, s->weighted ? 1 : 0, 1, q_size);
    graph_output(g, graph_result(g, s->vec ? LRT_VEC : LRT_SEQ, s->heads * s->width, 0));
    if (s->vec)
        graph_output(g, graph_result(g, LRT_SEQ, s->heads, axis));
}

/* ---- against sums in double ------------------------------------------------------------------------------ */

static double fit(const spec *s, const float *weight, const float *q, const float *k)
{
    double sum = 0;
    for (uint32_t e = 0; e < s->size; e++)
        sum += s->additive ? (weight ? (double)weight[e] : 1) * tanh((double)q[e] + (double)k[e])
                           : (double)q[e] * (double)k[e];
    return sum * (double)s->scale;
}

static int is_masked(const spec *s, const float *v)
{
    for (uint32_t i = 0; i < (s->groups ? s->groups : s->heads) * s->width; i++)
        if (v[i] != 0.0f)
            return 0;
    return s->masked;
}

/* One head of one query over `steps` steps of a row. */
static void expect_head(const graph *g, const spec *s, uint32_t head, uint32_t t, uint32_t steps, const float *q,
                        const float *k, const float *v, const float *y, const float *weights)
{
    const uint32_t groups = s->groups ? s->groups : s->heads, group = head / (s->heads / groups);
    const float *weight = s->weighted ? g->data[g->nodes[g->n_nodes - 1].tensor[0]] + head * s->size : NULL;
    double w[MOST], total = 0;
    for (uint32_t i = 0; i < steps; i++) {
        const int counts = !is_masked(s, v + i * groups * s->width) && !(s->causal && i > t);
        w[i] = counts ? exp(fit(s, weight, q + head * s->size, k + (i * groups + group) * s->size)) : 0;
        total += w[i];
    }
    for (uint32_t i = 0; i < steps; i++) {
        w[i] = total > 0 ? w[i] / total : 0;
        CHECK(!weights || fabs(w[i] - (double)weights[i * s->heads + head]) <= 1e-5);
    }
    for (uint32_t d = 0; d < s->width; d++) {
        double sum = 0;
        for (uint32_t i = 0; i < steps; i++)
            sum += w[i] * (double)v[(i * groups + group) * s->width + d];
        CHECK(fabs(sum - (double)y[head * s->width + d]) <= 1e-5);
    }
}

static const float *floats(const walled *array) { return (const float *)(const void *)array->data; }

static void expect(graph *g, const spec *s)
{
    const uint32_t batch = 2, steps = 9, groups = s->groups ? s->groups : s->heads, queries = s->vec ? 1 : steps;
    const uint32_t keys = s->vec || s->same_axis ? steps : 0; /* of a second axis a case has no steps */
    graph_case of;
    graph_case_init(&of, g, batch, steps, 0);
    graph_case_run(&of, lrt_kernels_best());
    for (uint32_t row = 0; row < batch; row++)
        for (uint32_t t = 0; t < queries; t++)
            for (uint32_t head = 0; head < s->heads; head++)
                expect_head(g, s, head, t, keys, floats(&of.c.in[0]) + (row * queries + t) * s->heads * s->size,
                            floats(&of.c.in[1]) + row * keys * groups * s->size,
                            floats(&of.c.in[2]) + row * keys * groups * s->width,
                            floats(&of.c.out[0]) + (row * queries + t) * s->heads * s->width,
                            s->vec ? floats(&of.c.out[1]) + row * keys * s->heads : NULL);
    graph_case_free(&of);
}

void test_attention(void)
{
    static const spec specs[] = {
        {1, 0, 6, 6, 0, 0, 0, 1, 0, 0, 1.0f},  {1, 0, 17, 3, 0, 0, 0, 0, 0, 1, 0.25f}, {2, 0, 6, 9, 0, 0, 1, 0, 0, 1, 2.0f},
        {6, 2, 3, 5, 0, 0, 0, 1, 1, 0, -1.0f}, {4, 1, 8, 16, 0, 0, 1, 0, 1, 1, 1.0f},  {1, 0, 33, 70, 1, 0, 0, 1, 0, 0, 1.0f},
        {3, 3, 5, 2, 1, 1, 0, 1, 1, 0, 3.0f},  {2, 1, 9, 4, 1, 1, 1, 0, 1, 1, 0.5f},   {2, 0, 3, 40, 0, 0, 0, 0, 1, 0, 1.0f},
        {1, 0, 4, 1, 1, 0, 0, 0, 0, 0, 1.0f},
    };
    for (unsigned i = 0; i < sizeof specs / sizeof *specs; i++) {
        graph g;
        check_context = "attention";
        make(&g, &specs[i]);
        expect(&g, &specs[i]);
        check_graph(&g, "attention");
    }
}
