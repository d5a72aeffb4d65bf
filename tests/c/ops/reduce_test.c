/* Ops that join the steps of a sequence: what they give, of all steps and of those that count, and in many ways. */
#include <math.h>

#include "helpers/blobs.h"
#include "helpers/tables.h"
#include "suites.h"

#define SIZE 6u
#define STEPS 5u

static uint32_t begin(graph *g, uint32_t size)
{
    graph_begin(g, 4);
    graph_axis(g);
    return graph_input(g, LRT_SEQ, size, 0);
}

static uint32_t add_mask(graph *g, uint32_t x)
{
    return graph_op(g, LRT_OP_MASK_VALUES, x, LRT_MASK, 0, g->values[x].axis);
}

/* A node over x and a mask, or LRT_NONE. */
static uint32_t add_counting(graph *g, uint32_t op, uint32_t x, uint32_t mask)
{
    const uint32_t in[2] = {x, mask};
    graph_node(g, op, 2, in);
    return op == LRT_OP_REDUCE ? graph_result(g, LRT_VEC, g->values[x].size, 0)
                               : graph_result(g, LRT_SEQ, g->values[x].size, g->values[x].axis);
}

static uint32_t add_reduce(graph *g, uint32_t x, uint32_t mask, uint32_t kind, uint32_t whole)
{
    uint32_t y = add_counting(g, LRT_OP_REDUCE, x, mask);
    graph_attr(g, 0, kind);
    graph_attr(g, 1, whole);
    return y;
}

static uint32_t add_cumsum(graph *g, uint32_t x)
{
    return graph_op(g, LRT_OP_CUMSUM, x, LRT_SEQ, g->values[x].size, g->values[x].axis);
}

static uint32_t add_layer(graph *g, uint32_t x, uint32_t hidden)
{
    const layer_spec s = {"", LRT_OP_GRU, g->values[x].size, hidden, 0, 0, 0};
    return graph_layer(g, &s, x, LRT_NONE, LRT_NONE, LRT_NONE);
}

/* ---- what they give ------------------------------------------------------------------------------------ */

/* Of one row whose steps hold the numbers of x in every feature: output 0 is `want`, so many steps of it. */
static void expect(graph *g, const float *x, int32_t length, const float *want, uint32_t count)
{
    for (unsigned i = 0; lrt_kernels_at(i); i++) {
        graph_case of;
        const float *y;
        if (!is_tested(lrt_kernels_at(i)))
            continue;
        graph_case_init(&of, g, 1, STEPS, length >= 0);
        for (uint32_t j = 0; j < STEPS * SIZE; j++)
            ((float *)(void *)of.c.in[0].data)[j] = x[j / SIZE];
        if (length >= 0)
            *(int32_t *)(void *)of.c.lengths[0].data = length;
        graph_case_run(&of, lrt_kernels_at(i));
        y = (const float *)(const void *)of.c.out[0].data;
        if (CHECK(of.c.out[0].size == count * SIZE * sizeof(float)))
            for (uint32_t j = 0; j < count * SIZE; j++)
                CHECK(fabsf(y[j] - want[j / SIZE]) <= 1e-6f);
        graph_case_free(&of);
    }
    graph_free(g);
}

static void reductions(void)
{
    /* sum, mean, max, min, prod, l2: of all steps; of those before the third; of those that are not 0; of none */
    static const float x[STEPS] = {2, -3, 0, 4, -6};
    static const float all[6] = {-3, -0.6f, 4, -6, 0, 8.0622578f}, two[6] = {-1, -0.5f, 2, -3, -6, 3.6055513f};
    static const float some[6] = {-3, -0.75f, 4, -6, 144, 8.0622578f}, none = 0;
    check_context = "reductions";
    for (uint32_t kind = 0; kind < 6; kind++) {
        graph g;
        uint32_t v = begin(&g, SIZE);
        graph_output(&g, add_reduce(&g, v, LRT_NONE, kind, 0));
        expect(&g, x, -1, &all[kind], 1);
        v = begin(&g, SIZE);
        graph_output(&g, add_reduce(&g, v, LRT_NONE, kind, 0));
        expect(&g, x, 2, &two[kind], 1);
        v = begin(&g, SIZE);
        graph_output(&g, add_reduce(&g, v, add_mask(&g, v), kind, 1));
        expect(&g, x, 2, &some[kind], 1);
        v = begin(&g, SIZE);
        graph_output(&g, add_reduce(&g, v, add_mask(&g, v), kind, 0));
        expect(&g, x, 0, &none, 1);
    }
}

static void running_sums(void)
{
    static const float x[STEPS] = {2, -3, 0, 4, -6}, all[STEPS] = {2, -1, -1, 3, -3}, two[STEPS] = {2, -1, -1, -1, -1};
    graph g;
    check_context = "running sums";
    graph_output(&g, add_cumsum(&g, begin(&g, SIZE)));
    expect(&g, x, -1, all, STEPS);
    graph_output(&g, add_cumsum(&g, begin(&g, SIZE)));
    expect(&g, x, 2, two, STEPS);
}

static void softmax_over_steps(void)
{
    static const float x[STEPS] = {1, -1, 0, 1, -99}, some[STEPS] = {0.46831053f, 0.06337894f, 0, 0.46831053f, 0};
    static const float two[STEPS] = {0.88079708f, 0.11920292f, 0, 0, 0}, none[STEPS] = {0};
    graph g;
    uint32_t v;
    check_context = "softmax over steps";
    v = begin(&g, SIZE);
    graph_output(&g, add_counting(&g, LRT_OP_SOFTMAX_STEPS, v, add_mask(&g, v)));
    expect(&g, x, -1, some, STEPS);
    graph_output(&g, add_counting(&g, LRT_OP_SOFTMAX_STEPS, begin(&g, SIZE), LRT_NONE));
    expect(&g, x, 2, two, STEPS);
    graph_output(&g, add_counting(&g, LRT_OP_SOFTMAX_STEPS, begin(&g, SIZE), LRT_NONE));
    expect(&g, x, 0, none, STEPS);
}

/* ---- many ways to run them ------------------------------------------------------------------------------- */

static void in_many_ways(void)
{
    static const uint32_t sizes[] = {1, 6, 17, 40};
    graph g;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t x = begin(&g, sizes[i]), mask = add_mask(&g, x);
        for (uint32_t kind = 0; kind < 6; kind++)
            graph_output(&g, add_reduce(&g, x, kind % 2 ? mask : LRT_NONE, kind, kind / 4));
        graph_output(&g, add_cumsum(&g, x));
        check_graph(&g, "reductions and running sums");
        x = begin(&g, sizes[i]);
        graph_output(&g, add_counting(&g, LRT_OP_SOFTMAX_STEPS, x, add_mask(&g, x)));
        graph_output(&g, add_counting(&g, LRT_OP_SOFTMAX_STEPS, x, LRT_NONE));
        check_graph(&g, "softmax over steps");
    }
}

/* Between layers, on a derived axis, and read by nobody: then the state goes on all the same. */
static void between_layers(void)
{
    graph g;
    uint32_t x = begin(&g, 5), y = add_cumsum(&g, add_layer(&g, add_cumsum(&g, x), 7)), few;
    graph_output(&g, add_layer(&g, y, 4));
    graph_output(&g, add_reduce(&g, y, LRT_NONE, 1, 0));
    few = graph_op(&g, LRT_OP_TAKE, y, LRT_SEQ, 7, graph_derived(&g, 0, 1, 1, 2, LRT_NO_CAP));
    graph_attr(&g, 1, 2);
    graph_output(&g, add_reduce(&g, add_cumsum(&g, few), LRT_NONE, 2, 0));
    check_graph(&g, "sums between layers");
    x = begin(&g, 5);
    graph_output(&g, add_layer(&g, x, 4));
    add_reduce(&g, x, LRT_NONE, 0, 0);
    add_cumsum(&g, x);
    check_graph(&g, "sums that nobody reads");
}

void test_reduce(void)
{
    reductions();
    running_sums();
    softmax_over_steps();
    in_many_ways();
    between_layers();
}
