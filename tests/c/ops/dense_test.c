/* Dense layers: their numbers, and ports in any order, so that rows of a product lie in every way. */
#include <math.h>

#include "helpers/blobs.h"
#include "helpers/tables.h"
#include "suites.h"

#define INPUTS 5u

static void add_dense(graph *g, uint32_t x, uint32_t units, uint32_t act, int with_bias)
{
    const uint32_t inputs = g->values[x].size;
    graph_output(g, graph_op(g, LRT_OP_DENSE, x, g->values[x].kind, units, g->values[x].axis));
    graph_attr(g, 0, act);
    graph_tensor(g, LRT_PANELS, 1, units, inputs);
    graph_tensor(g, LRT_PANELS, (uint32_t)with_bias, units, 1);
}

/* Each output is its bias and then its products, one fused operation each. */
static void numbers(uint32_t units)
{
    graph_case of;
    graph g;
    graph_begin(&g, 1);
    graph_axis(&g);
    add_dense(&g, graph_input(&g, LRT_SEQ, INPUTS, 0), units, LRT_ACT_RELU, 1);
    graph_case_init(&of, &g, 3, 30, 0);
    graph_case_run(&of, lrt_kernels_by_name("portable"));
    for (uint32_t row = 0; row < 3 * 30; row++) {
        const float *x = (const float *)(const void *)of.c.in[0].data + (size_t)row * INPUTS;
        const float *y = (const float *)(const void *)of.c.out[0].data + (size_t)row * units;
        for (uint32_t u = 0; u < units; u++) {
            float sum = g.data[1][panel_place(1, units, 0, u)];
            for (uint32_t i = 0; i < INPUTS; i++)
                sum = fmaf(g.data[0][weight_place(units, INPUTS, u, i)], x[i], sum);
            CHECK(y[u] == (sum > 0 ? sum : 0.0f));
        }
    }
    graph_case_free(&of);
    graph_free(&g);
}

void test_dense(void)
{
    static const uint32_t units[] = {1, 4, 8, 12, 15, 16, 25, 40};
    check_context = "dense";
    for (unsigned i = 0; i < 8; i++)
        numbers(units[i]);
    for (uint32_t act = LRT_ACT_LINEAR; act < LRT_ACT_COUNT; act += 1 + act / 2) {
        graph g;
        graph_begin(&g, LRT_VERSION_ROWS);
        graph_axis(&g);
        add_dense(&g, graph_input(&g, LRT_SEQ, INPUTS, 0), 6, act, 1);
        add_dense(&g, g.n_values - 1, 21, act, 0);
        add_dense(&g, graph_op(&g, LRT_OP_SELECT, g.n_values - 1, LRT_VEC, 21, 0), 6, act, 1);
        graph_attr(&g, 0, act);
        g.nodes[2].attr[0] = 1; /* the last step */
        check_graph(&g, "dense layers");
    }
}
