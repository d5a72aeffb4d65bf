/* Ops over rows of features: what they give, and with ports in any order. */
#include <math.h>

#include "helpers/blobs.h"
#include "suites.h"

#define SIZE 6u

static uint32_t begin(graph *g)
{
    graph_begin(g, 1);
    graph_axis(g);
    return graph_input(g, LRT_SEQ, SIZE, 0);
}

static uint32_t add_two(graph *g, uint32_t op, uint32_t a, uint32_t b, uint32_t size)
{
    const uint32_t in[2] = {a, b};
    graph_node(g, op, 2, in);
    return graph_result(g, LRT_SEQ, size, 0);
}

/* What output 0 should be at feature i of a step, of input 0's step x and input 1's step y. */
typedef double expected(const graph *g, const float *x, const float *y, uint32_t i);

static void expect_values(graph *g, const char *what, expected *value, double within)
{
    graph_case of;
    check_context = what;
    graph_case_init(&of, g, 2, 9, 0);
    graph_case_run(&of, lrt_kernels_best());
    for (uint32_t row = 0; row < 2 * 9; row++) {
        const uint32_t width = lrt_model_output(&of.m, 0).size;
        const float *x = (const float *)(const void *)of.c.in[0].data + (size_t)row * SIZE;
        const float *y = of.m.n_inputs > 1 ? (const float *)(const void *)of.c.in[1].data + (size_t)row * SIZE : NULL;
        const float *out = (const float *)(const void *)of.c.out[0].data + (size_t)row * width;
        for (uint32_t i = 0; i < width; i++)
            CHECK(fabs((double)out[i] - value(g, x, y, i)) <= within);
    }
    graph_case_free(&of);
    check_graph(g, what);
}

static double relu(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)g, (void)y;
    return x[i] > 0 ? (double)x[i] : 0;
}
static double softmax(const graph *g, const float *x, const float *y, uint32_t i)
{
    double sum = 0;
    (void)g, (void)y;
    for (uint32_t j = 0; j < SIZE; j++)
        sum += exp((double)x[j]);
    return exp((double)x[i]) / sum;
}
static double normal(const graph *g, const float *x, const float *y, uint32_t i)
{
    double mean = 0, variance = 0;
    (void)y;
    for (uint32_t j = 0; j < SIZE; j++)
        mean += (double)x[j] / SIZE;
    for (uint32_t j = 0; j < SIZE; j++)
        variance += ((double)x[j] - mean) * ((double)x[j] - mean) / SIZE;
    return ((double)x[i] - mean) / sqrt(variance + 0.5) * (double)g->data[0][i] + (double)g->data[1][i];
}
static double by_statistics(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)y;
    return ((double)x[i] - (double)g->data[0][i]) * (double)g->data[1][i] + (double)g->data[2][i];
}
static double sum_of(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)g;
    return (double)(x[i] + y[i]);
}
static double product_of(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)g;
    return (double)(x[i] * y[i]);
}
static double average_of(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)g;
    return ((double)x[i] + (double)y[i]) / 2;
}
static double side_by_side(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)g;
    return (double)(i < SIZE ? x[i] : i < 2 * SIZE ? y[i - SIZE] : x[i - 2 * SIZE]);
}
static double a_part(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)g, (void)y;
    return (double)x[i + 2];
}

static void activations(void)
{
    graph g;
    for (int soft = 0; soft < 2; soft++) {
        graph_output(&g, graph_op(&g, LRT_OP_ACTIVATION, begin(&g), LRT_SEQ, SIZE, 0));
        graph_attr(&g, 0, soft ? LRT_ACT_SOFTMAX : LRT_ACT_RELU);
        expect_values(&g, soft ? "softmax" : "relu", soft ? softmax : relu, soft ? 1e-6 : 0);
    }
}

static void normalisations(void)
{
    graph g;
    graph_output(&g, graph_op(&g, LRT_OP_LAYERNORM, begin(&g), LRT_SEQ, SIZE, 0));
    graph_attr_float(&g, 0, 0.5f);
    graph_tensor(&g, LRT_PLAIN, 1, 1, SIZE);
    graph_tensor(&g, LRT_PLAIN, 1, 1, SIZE);
    expect_values(&g, "layernorm", normal, 1e-6);
    graph_output(&g, graph_op(&g, LRT_OP_BATCHNORM, begin(&g), LRT_SEQ, SIZE, 0));
    for (int i = 0; i < 3; i++)
        graph_tensor(&g, LRT_PLAIN, 1, 1, SIZE);
    expect_values(&g, "batchnorm", by_statistics, 1e-6);
}

static void of_two(void)
{
    static const uint32_t ops[] = {LRT_OP_ADD, LRT_OP_MUL, LRT_OP_AVERAGE};
    static expected *const values[] = {sum_of, product_of, average_of};
    graph g;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t a = begin(&g), b = graph_input(&g, LRT_SEQ, SIZE, 0);
        graph_output(&g, add_two(&g, ops[i], a, b, SIZE));
        expect_values(&g, lrt_op_name(ops[i]), values[i], i == 2 ? 1e-6 : 0);
    }
}

static void side_and_part(void)
{
    graph g;
    uint32_t x = begin(&g);
    const uint32_t in[3] = {x, graph_input(&g, LRT_SEQ, SIZE, 0), x};
    graph_node(&g, LRT_OP_CONCAT, 3, in);
    graph_output(&g, graph_result(&g, LRT_SEQ, 3 * SIZE, 0));
    expect_values(&g, "concat", side_by_side, 0);
    graph_output(&g, graph_op(&g, LRT_OP_SLICE, begin(&g), LRT_SEQ, 3, 0));
    graph_attr(&g, 0, 2);
    graph_attr(&g, 1, 3);
    expect_values(&g, "slice", a_part, 0);
}

/* ---- version 4 */

static const int32_t INDEX[4] = {5, 0, 1, 1};

static double difference_of(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)g;
    return (double)(x[i] - y[i]);
}
static double quotient_of(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)g;
    return (double)(x[i] / (y[i] + 16.0f)); /* some are 0 */
}
static double larger_of(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)g;
    return (double)(x[i] > y[i] ? x[i] : y[i]);
}
static double smaller_of(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)g;
    return (double)(x[i] < y[i] ? x[i] : y[i]);
}
static double chosen(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)g, (void)y;
    return (double)x[INDEX[i]];
}
static double sloped(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)y;
    return x[i] < 0 ? (double)(x[i] * g->data[0][i]) : (double)x[i];
}
/* Three parts of two features. */
static double of_unit_length(const graph *g, const float *x, const float *y, uint32_t i)
{
    const float *part = x + i / 2 * 2;
    (void)g, (void)y;
    return (double)x[i] / fmax(hypot((double)part[0], (double)part[1]), 0.5);
}
static double normal_in_parts(const graph *g, const float *x, const float *y, uint32_t i)
{
    const float *part = x + i / 2 * 2;
    const double half = ((double)part[0] - (double)part[1]) / 2;
    (void)y;
    return (i % 2 ? -half : half) / sqrt(half * half + 0.5) * (double)g->data[0][i] + (double)g->data[1][i];
}
static double product_of_part(const graph *g, const float *x, const float *y, uint32_t i)
{
    (void)g, (void)y;
    return (double)(x[2 * i] * x[2 * i + 1]);
}

static uint32_t begin_4(graph *g)
{
    uint32_t x = begin(g);
    g->version = 4;
    return x;
}

static void more_of_two(void)
{
    static const uint32_t ops[] = {LRT_OP_SUB, LRT_OP_DIV, LRT_OP_MAXIMUM, LRT_OP_MINIMUM};
    static expected *const values[] = {difference_of, quotient_of, larger_of, smaller_of};
    graph g;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t a = begin_4(&g), b = graph_input(&g, LRT_SEQ, SIZE, 0);
        if (ops[i] == LRT_OP_DIV) {
            b = graph_op(&g, LRT_OP_ACTIVATION, b, LRT_SEQ, SIZE, 0);
            graph_attr(&g, 0, LRT_ACT_AFFINE);
            graph_attr_float(&g, 1, 1.0f);
            graph_attr_float(&g, 2, 16.0f);
        }
        graph_output(&g, add_two(&g, ops[i], a, b, SIZE));
        expect_values(&g, lrt_op_name(ops[i]), values[i], 0);
    }
}

/* In any order: a vector at every step, one feature for many, and both. */
static void broadcasts(void)
{
    graph g;
    for (int swapped = 0; swapped < 2; swapped++) {
        const uint32_t x = begin_4(&g), v = graph_input(&g, LRT_VEC, SIZE, 0), one = graph_input(&g, LRT_VEC, 1, 0);
        const uint32_t narrow = graph_op(&g, LRT_OP_SLICE, x, LRT_SEQ, 1, 0);
        uint32_t y;
        graph_attr(&g, 1, 1);
        y = swapped ? add_two(&g, LRT_OP_ADD, v, x, SIZE) : add_two(&g, LRT_OP_ADD, x, v, SIZE);
        y = swapped ? add_two(&g, LRT_OP_SUB, one, y, SIZE) : add_two(&g, LRT_OP_SUB, y, one, SIZE);
        y = swapped ? add_two(&g, LRT_OP_MUL, narrow, y, SIZE) : add_two(&g, LRT_OP_MUL, y, narrow, SIZE);
        y = swapped ? add_two(&g, LRT_OP_MAXIMUM, v, y, SIZE) : add_two(&g, LRT_OP_MAXIMUM, y, v, SIZE);
        graph_output(&g, y);
        graph_output(&g, add_two(&g, LRT_OP_MUL, narrow, swapped ? one : v, swapped ? 1 : SIZE));
        check_graph(&g, "broadcasts");
    }
}

static void parts(void)
{
    graph g;
    lrt_node *n;
    graph_output(&g, graph_op(&g, LRT_OP_GATHER, begin_4(&g), LRT_SEQ, 4, 0));
    n = &g.nodes[0];
    n->tensor[n->n_tensors++] = graph_integers(&g, 4, INDEX);
    expect_values(&g, "gather", chosen, 0);
    graph_output(&g, graph_op(&g, LRT_OP_PRELU, begin_4(&g), LRT_SEQ, SIZE, 0));
    graph_tensor(&g, LRT_PLAIN, 1, 1, SIZE);
    expect_values(&g, "prelu", sloped, 0);
    graph_output(&g, graph_op(&g, LRT_OP_L2NORM, begin_4(&g), LRT_SEQ, SIZE, 0));
    graph_attr_float(&g, 0, 0.5f);
    graph_attr(&g, 1, 3);
    expect_values(&g, "l2norm", of_unit_length, 1e-6);
    graph_output(&g, graph_op(&g, LRT_OP_GROUPNORM, begin_4(&g), LRT_SEQ, SIZE, 0));
    graph_attr_float(&g, 0, 0.5f);
    graph_attr(&g, 1, 3);
    graph_tensor(&g, LRT_PLAIN, 1, 1, SIZE);
    graph_tensor(&g, LRT_PLAIN, 1, 1, SIZE);
    expect_values(&g, "groupnorm", normal_in_parts, 1e-6);
    graph_output(&g, graph_op(&g, LRT_OP_REDUCE_FEATURES, begin_4(&g), LRT_SEQ, 3, 0));
    graph_attr(&g, 0, LRT_REDUCE_PROD);
    graph_attr(&g, 1, 3);
    expect_values(&g, "reduce_features", product_of_part, 0);
}

/* All of them on vectors, which have no steps. */
static void of_vectors(void)
{
    graph g;
    uint32_t v, w;
    graph_begin(&g, 1);
    v = graph_input(&g, LRT_VEC, SIZE, 0);
    w = graph_op(&g, LRT_OP_SLICE, v, LRT_VEC, 4, 0);
    graph_attr(&g, 0, 1);
    graph_attr(&g, 1, 4);
    graph_output(&g, w);
    graph_output(&g, graph_op(&g, LRT_OP_ACTIVATION, w, LRT_VEC, 4, 0));
    graph_attr(&g, 0, LRT_ACT_LOG_SOFTMAX);
    check_graph(&g, "vectors");
}

void test_features(void)
{
    activations();
    normalisations();
    of_two();
    side_and_part();
    more_of_two();
    broadcasts();
    parts();
    of_vectors();
}
