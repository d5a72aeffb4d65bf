/* Ops over windows of steps and images: what they give, beside sums written out in double; in many ways; and what of
 * them a file may not say. */
#include <math.h>

#include "helpers/blobs.h"
#include "helpers/tables.h"
#include "ops/lrt_window.h"
#include "suites.h"

/* ---- graphs ------------------------------------------------------------------------------------------------ */

/* A conv (units > 0) or a pool of a kind. Triples are of time, height and width. */
typedef struct {
    const char *what;
    uint32_t size[3], channels, units, groups, kind, kernel[3], stride[3], dilation[3], before[3], after[3], whole;
} window_spec;

static uint32_t begin(graph *g, uint32_t size)
{
    graph_begin(g, 4);
    graph_axis(g);
    return graph_input(g, LRT_SEQ, size, 0);
}

static uint32_t features(const window_spec *s) { return s->size[1] * s->size[2] * s->channels; }

static uint32_t windows(const window_spec *s, unsigned d, uint32_t n)
{
    const int64_t room = (int64_t)n + s->before[d] + s->after[d] - (int64_t)s->dilation[d] * (s->kernel[d] - 1) - 1;
    return room < 0 ? 0 : (uint32_t)room / s->stride[d] + 1;
}

static uint32_t depthwise(const window_spec *s)
{
    return s->groups > 1 && s->units == s->groups && s->channels == s->groups;
}

static void add_weights(graph *g, const window_spec *s, int with_bias)
{
    const uint32_t k = s->kernel[0] * s->kernel[1] * s->kernel[2] * (s->channels / s->groups);
    if (depthwise(s)) {
        graph_tensor(g, LRT_PLAIN, 1, k, s->units);
        graph_tensor(g, LRT_PLAIN, with_bias ? 1 : 0, 1, s->units);
    } else {
        graph_tensor(g, LRT_PANELS, 1, s->units / s->groups, k * s->groups);
        graph_tensor(g, LRT_PANELS, with_bias ? 1 : 0, s->units / s->groups, s->groups);
    }
}

static uint32_t add_window(graph *g, const window_spec *s, uint32_t x, int with_bias)
{
    const lrt_value *v = &g->values[x];
    const int32_t add = (int32_t)(s->before[0] + s->after[0] + s->stride[0]) - 1 -
                        (int32_t)(s->dilation[0] * (s->kernel[0] - 1));
    const uint32_t size = windows(s, 1, s->size[1]) * windows(s, 2, s->size[2]) * (s->units ? s->units : s->channels);
    const int own = v->kind == LRT_VEC || (add == 0 && s->stride[0] == 1);
    const uint32_t axis = own ? v->axis : graph_derived(g, v->axis, 1, add, s->stride[0], LRT_NO_CAP);
    const uint32_t y = graph_op(g, s->units ? LRT_OP_CONV : LRT_OP_POOL, x, v->kind, size, axis);
    graph_attr(g, 0, s->size[1]);
    graph_attr(g, 1, s->size[2]);
    graph_attr(g, 2, s->kernel[0]);
    graph_attr(g, 3, s->kernel[1] | s->kernel[2] << 16);
    graph_attr(g, 4, s->stride[0]);
    graph_attr(g, 5, s->stride[1] | s->stride[2] << 16);
    graph_attr(g, 6, s->dilation[0]);
    graph_attr(g, 7, s->dilation[1] | s->dilation[2] << 16);
    graph_attr(g, 8, s->before[0]);
    graph_attr(g, 9, s->after[0]);
    graph_attr(g, 10, s->before[1] | s->after[1] << 16);
    graph_attr(g, 11, s->before[2] | s->after[2] << 16);
    graph_attr(g, 12, s->units ? s->groups : s->kind);
    graph_attr(g, 13, s->whole);
    if (s->units)
        add_weights(g, s, with_bias);
    return y;
}

static uint32_t add_layer(graph *g, uint32_t x, uint32_t hidden)
{
    const layer_spec s = {"", LRT_OP_LSTM, g->values[x].size, hidden, 0, 0, 0};
    return graph_layer(g, &s, x, LRT_NONE, LRT_NONE, LRT_NONE);
}

/* ---- what they give ------------------------------------------------------------------------------------------ */

/* The weight of unit u for input i of a matrix in panels, of k inputs. */
static double in_panels(const float *data, uint32_t units, uint32_t k, uint32_t u, uint32_t i)
{
    uint32_t p = 0;
    while (lrt_panel_start(units, p + 1) <= u)
        p++;
    return data[(size_t)lrt_panel_start(units, p) * k + (size_t)i * lrt_panel_width(units, p) + u - lrt_panel_start(units, p)];
}

static double weight_of(const graph *g, const window_spec *s, uint32_t unit, uint32_t i)
{
    const uint32_t k = s->kernel[0] * s->kernel[1] * s->kernel[2] * (s->channels / s->groups), each = s->units / s->groups;
    return depthwise(s) ? g->data[0][(size_t)i * s->units + unit]
                        : in_panels(g->data[0], each, k * s->groups, unit % each, unit / each * k + i);
}

static double bias_of(const graph *g, const window_spec *s, uint32_t unit)
{
    const uint32_t each = s->units / s->groups;
    if (g->n_tensors < 2)
        return 0.0;
    return depthwise(s) ? g->data[1][unit] : in_panels(g->data[1], each, s->groups, unit % each, unit / each);
}

/* Channel `channel` of the window's output: written out. */
static double expected(const graph *g, const window_spec *s, const float *x, int64_t valid, const int64_t *at, uint32_t channel)
{
    const uint32_t inputs = s->units ? s->channels / s->groups : 1;
    const uint32_t from = s->units ? channel / (s->units / s->groups) * inputs : channel;
    double sum = s->units ? bias_of(g, s, channel) : 0.0, top = -HUGE_VAL;
    uint32_t inside = 0, place = 0;
    for (uint32_t a = 0; a < s->kernel[0]; a++)
        for (uint32_t b = 0; b < s->kernel[1]; b++)
            for (uint32_t c = 0; c < s->kernel[2]; c++, place++) {
                const int64_t t = at[0] + (int64_t)a * s->dilation[0], y = at[1] + (int64_t)b * s->dilation[1];
                const int64_t z = at[2] + (int64_t)c * s->dilation[2];
                const float *p = x + ((t * s->size[1] + y) * s->size[2] + z) * s->channels + from;
                if (t < 0 || t >= valid || y < 0 || y >= s->size[1] || z < 0 || z >= s->size[2])
                    continue;
                inside++;
                for (uint32_t i = 0; i < inputs; i++)
                    sum += s->units ? weight_of(g, s, channel, place * inputs + i) * p[i] : p[i];
                top = p[0] > top ? p[0] : top;
            }
    if (s->units)
        return sum;
    return inside == 0 ? 0.0 : s->kind == 0 ? top : sum / (s->kind == 1 ? inside : place);
}

/* One row by every table: of so many steps, with so many valid ones (-1: all). */
static void numbers(const window_spec *s, uint32_t steps, int32_t length, int with_bias)
{
    const uint32_t channels = s->units ? s->units : s->channels, height = windows(s, 1, s->size[1]);
    const uint32_t width = windows(s, 2, s->size[2]), count = windows(s, 0, steps);
    check_context = s->what;
    for (unsigned i = 0; lrt_kernels_at(i); i++) {
        graph g;
        graph_case of;
        const float *x, *y;
        if (!is_tested(lrt_kernels_at(i)))
            continue;
        graph_output(&g, add_window(&g, s, begin(&g, features(s)), with_bias));
        graph_case_init(&of, &g, 1, steps, length >= 0);
        if (length >= 0)
            *(int32_t *)(void *)of.c.lengths[0].data = length;
        graph_case_run(&of, lrt_kernels_at(i));
        x = (const float *)(const void *)of.c.in[0].data;
        y = (const float *)(const void *)of.c.out[0].data;
        if (CHECK(of.c.out[0].size == (size_t)count * height * width * channels * sizeof(float)))
            for (uint32_t j = 0; j < count * height * width * channels; j++) {
                const uint32_t place = j / channels, step = place / width / height;
                const int64_t valid = length >= 0 && !s->whole ? (int64_t)length : (int64_t)steps;
                int64_t at[3];
                at[0] = (int64_t)step * s->stride[0] - s->before[0];
                at[1] = (int64_t)(place / width % height) * s->stride[1] - s->before[1];
                at[2] = (int64_t)(place % width) * s->stride[2] - s->before[2];
                CHECK(fabs(y[j] - expected(&g, s, x, valid, at, j % channels)) <= 2e-5);
            }
        graph_case_free(&of);
        graph_free(&g);
    }
}

#define ONES {1, 1, 1}
#define NONE_AT_ALL {0, 0, 0}
static const window_spec SPECS[] = {
    {"conv1d", ONES, 6, 20, 1, 0, {3, 1, 1}, ONES, ONES, {1, 0, 0}, {1, 0, 0}, 0},
    {"causal conv1d", ONES, 6, 7, 1, 0, {3, 1, 1}, ONES, {2, 1, 1}, {4, 0, 0}, NONE_AT_ALL, 0},
    {"causal conv1d of all steps", ONES, 6, 7, 1, 0, {3, 1, 1}, ONES, ONES, {2, 0, 0}, NONE_AT_ALL, 1},
    {"conv1d that lags", ONES, 6, 33, 1, 0, {5, 1, 1}, ONES, ONES, NONE_AT_ALL, NONE_AT_ALL, 0},
    {"conv1d with a stride", ONES, 4, 9, 1, 0, {4, 1, 1}, {3, 1, 1}, {2, 1, 1}, {5, 0, 0}, NONE_AT_ALL, 0},
    {"conv1d with more padding than it needs", ONES, 4, 5, 1, 0, {2, 1, 1}, {2, 1, 1}, ONES, {9, 0, 0}, {4, 0, 0}, 0},
    {"pointwise", {1, 3, 2}, 5, 40, 1, 0, ONES, ONES, ONES, NONE_AT_ALL, NONE_AT_ALL, 0},
    {"conv over whole images", {1, 3, 2}, 4, 11, 1, 0, {2, 3, 2}, ONES, ONES, {1, 0, 0}, NONE_AT_ALL, 0},
    {"conv2d", {1, 5, 4}, 3, 18, 1, 0, {1, 3, 3}, {1, 2, 1}, ONES, {0, 1, 1}, {0, 1, 1}, 0},
    {"dilated conv2d", {1, 7, 6}, 2, 5, 1, 0, {1, 2, 3}, ONES, {1, 3, 2}, {0, 2, 0}, {0, 0, 3}, 0},
    {"conv3d", {1, 4, 3}, 2, 6, 1, 0, {2, 3, 2}, {1, 1, 2}, ONES, {1, 1, 0}, {0, 0, 1}, 0},
    {"groups", {1, 1, 3}, 6, 15, 3, 0, {2, 1, 2}, ONES, ONES, {1, 0, 0}, {0, 0, 1}, 0},
    {"wide groups", ONES, 8, 42, 2, 0, {3, 1, 1}, ONES, ONES, {2, 0, 0}, NONE_AT_ALL, 0},
    {"two outputs of each channel", ONES, 5, 10, 5, 0, {3, 1, 1}, ONES, ONES, {2, 0, 0}, NONE_AT_ALL, 0},
    {"depthwise", {1, 3, 4}, 19, 19, 19, 0, {2, 3, 2}, ONES, ONES, {1, 1, 0}, {0, 1, 1}, 0},
    {"long depthwise", ONES, 3, 3, 3, 0, {70, 1, 1}, ONES, ONES, {69, 0, 0}, NONE_AT_ALL, 0},
    {"padding alone", {1, 1, 2}, 3, 3, 1, 0, {1, 1, 1}, {1, 1, 2}, ONES, {0, 0, 3}, {0, 2, 4}, 0},
    {"max pool", ONES, 18, 0, 1, 0, {3, 1, 1}, {2, 1, 1}, ONES, {1, 0, 0}, {1, 0, 0}, 0},
    {"causal max pool", ONES, 6, 0, 1, 0, {3, 1, 1}, ONES, {2, 1, 1}, {4, 0, 0}, NONE_AT_ALL, 0},
    {"max pool over images", {1, 4, 5}, 3, 0, 1, 0, {1, 2, 2}, {1, 2, 2}, ONES, NONE_AT_ALL, {0, 0, 1}, 0},
    {"mean", {1, 3, 3}, 5, 0, 1, 1, {2, 2, 3}, {1, 1, 2}, ONES, {1, 1, 1}, {0, 0, 1}, 0},
    {"mean with padding", ONES, 6, 0, 1, 2, {4, 1, 1}, ONES, ONES, {3, 0, 0}, NONE_AT_ALL, 0},
    {"mean of many", {1, 9, 9}, 2, 0, 1, 1, {1, 9, 9}, ONES, ONES, NONE_AT_ALL, NONE_AT_ALL, 0},
    {"mean of nothing", ONES, 3, 0, 1, 1, {1, 1, 1}, ONES, ONES, {2, 1, 0}, {3, 0, 0}, 0},
};
#define COUNT (sizeof SPECS / sizeof SPECS[0])

static void all_numbers(void)
{
    for (unsigned i = 0; i < COUNT; i++)
        for (int with_bias = 0; with_bias < 2; with_bias++) {
            numbers(&SPECS[i], 9, -1, with_bias);
            numbers(&SPECS[i], 9, 4, with_bias);
            numbers(&SPECS[i], 9, 0, with_bias);
            numbers(&SPECS[i], 0, -1, with_bias);
            numbers(&SPECS[i], 150, 149, with_bias);
        }
}

/* ---- many ways to run them ------------------------------------------------------------------------------------- */

static void in_many_ways(void)
{
    for (unsigned i = 0; i < COUNT; i += 2) {
        graph g;
        graph_output(&g, add_window(&g, &SPECS[i], begin(&g, features(&SPECS[i])), 1));
        check_graph(&g, SPECS[i].what);
    }
}

/* Between layers, and a vector; what is computed of one is whole at the end. */
static void between_layers(void)
{
    static const uint32_t which[] = {1, 4, 18, 3};
    static const window_spec image = {"", {1, 2, 3}, 1, 4, 1, 0, {1, 2, 2}, ONES, ONES, {0, 0, 1}, NONE_AT_ALL, 0};
    for (unsigned i = 0; i < 4; i++) {
        graph g;
        uint32_t x = begin(&g, 3), v = graph_input(&g, LRT_VEC, 6, 0);
        uint32_t y = add_layer(&g, x, SPECS[which[i]].channels);
        y = add_window(&g, &SPECS[which[i]], y, 1);
        graph_output(&g, add_layer(&g, y, 6));
        graph_output(&g, add_window(&g, &image, g.n_values - 2, 1)); /* h */
        graph_output(&g, add_window(&g, &image, v, 0));
        check_graph(&g, SPECS[which[i]].what);
    }
}

typedef struct {
    const char *what;
    uint32_t size[2], channels, hidden, kernel[2], stride[2], dilation[2], before[2], after[2], kernel_h[2];
} cell_spec;

static const cell_spec CELLS[] = {
    {"convlstm", {3, 4}, 2, 5, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {3, 3}},
    {"convlstm over a line", {1, 9}, 3, 18, {1, 3}, {1, 2}, {1, 2}, {0, 1}, {0, 2}, {1, 2}},
    {"convlstm of places", {2, 2}, 3, 4, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}},
};

static uint32_t add_cell(graph *g, const cell_spec *s, uint32_t x, uint32_t h0, uint32_t c0)
{
    uint32_t in[3], size = s->hidden, y;
    in[0] = x;
    in[1] = h0;
    in[2] = c0;
    for (unsigned d = 0; d < 2; d++)
        size *= (s->size[d] + s->before[d] + s->after[d] - s->dilation[d] * (s->kernel[d] - 1) - 1) / s->stride[d] + 1;
    graph_node(g, LRT_OP_CONVLSTM, 3, in);
    y = graph_result(g, LRT_SEQ, size, 0);
    graph_result(g, LRT_VEC, size, 0);
    graph_result(g, LRT_VEC, size, 0);
    graph_attr(g, 0, s->size[0]);
    graph_attr(g, 1, s->size[1]);
    graph_attr(g, 2, s->kernel[0] | s->kernel[1] << 16);
    graph_attr(g, 3, s->stride[0] | s->stride[1] << 16);
    graph_attr(g, 4, s->dilation[0] | s->dilation[1] << 16);
    graph_attr(g, 5, s->before[0] | s->after[0] << 16);
    graph_attr(g, 6, s->before[1] | s->after[1] << 16);
    graph_attr(g, 7, s->kernel_h[0] | s->kernel_h[1] << 16);
    graph_attr(g, 8, LRT_ACT_SIGMOID);
    graph_attr(g, 11, LRT_ACT_TANH);
    graph_attr(g, 14, LRT_ACT_TANH);
    graph_tensor(g, LRT_PANELS, 4, s->hidden, s->kernel[0] * s->kernel[1] * s->channels);
    graph_tensor(g, LRT_PANELS, 4, s->hidden, 1);
    graph_tensor(g, LRT_PANELS, 4, s->hidden, s->kernel_h[0] * s->kernel_h[1] * s->hidden);
    return y;
}

static void cells_in_many_ways(void)
{
    for (unsigned i = 0; i < 3; i++)
        for (unsigned given = 0; given < 2; given++) {
            const cell_spec *s = &CELLS[i];
            graph g;
            uint32_t x = begin(&g, s->size[0] * s->size[1] * s->channels), h0 = LRT_NONE, y;
            if (given)
                h0 = graph_input(&g, LRT_VEC, i == 0 ? 60 : i == 1 ? 4 * 18 : 16, 0);
            y = add_cell(&g, s, x, h0, LRT_NONE);
            graph_output(&g, y);
            graph_output(&g, y + 1);
            graph_output(&g, y + 2);
            check_graph(&g, s->what);
        }
}

/* Where a window is one place of one image, the cell is an lstm with that image's features. */
static void a_cell_of_one_place_is_an_lstm(void)
{
    static const cell_spec one = {"", {1, 1}, 5, 21, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}};
    graph g, l;
    graph_case of, as;
    check_context = "a cell of one place";
    graph_output(&g, add_cell(&g, &one, begin(&g, 5), LRT_NONE, LRT_NONE));
    graph_output(&l, add_layer(&l, begin(&l, 5), 21));
    for (unsigned i = 0; i < 3; i++)
        memcpy(l.data[i], g.data[i], 4u * 24 * (i == 0 ? 5 : i == 1 ? 1 : 21) * sizeof(float));
    graph_case_init(&of, &g, 3, 40, 1);
    graph_case_init(&as, &l, 3, 40, 1);
    graph_case_run(&of, lrt_kernels_best());
    graph_case_run(&as, lrt_kernels_best());
    CHECK(of.c.out[0].size == as.c.out[0].size && memcmp(of.c.out[0].data, as.c.out[0].data, as.c.out[0].size) == 0);
    graph_case_free(&of);
    graph_case_free(&as);
    graph_free(&g);
    graph_free(&l);
}

/* ---- what a file may not say ------------------------------------------------------------------------------------ */

static int opens(graph *g)
{
    size_t size;
    unsigned char *bytes = graph_bytes(g, &size);
    walled blob = walled_new(size);
    lrt_model m;
    int e;
    memcpy(blob.data, bytes, size);
    e = lrt_model_open(&m, blob.data, size);
    walled_free(&blob);
    free(bytes);
    return e;
}

/* The first node with one attribute changed. */
static void refuses(uint32_t which, uint32_t attr, uint32_t value, int error)
{
    graph g;
    graph_output(&g, add_window(&g, &SPECS[which], begin(&g, features(&SPECS[which])), 1));
    CHECK(opens(&g) == LRT_OK);
    g.nodes[0].attr[attr] = value;
    CHECK(opens(&g) == error);
    graph_free(&g);
}

static void bad_attributes(void)
{
    static const struct {
        uint32_t which, attr, value;
    } bad[] = {
        {8, 0, 0}, {8, 1, 0}, {8, 0, 1u << 31}, {8, 0, 7}, {8, 0, 61}, {8, 2, 0}, {8, 2, 0xffffffffu},
        {8, 3, 3}, {8, 3, 3u << 16}, {8, 3, 0xffffffffu}, {8, 3, 8 | 3u << 16}, {8, 4, 0}, {8, 4, (1u << 28) + 1},
        {8, 5, 0}, {8, 5, 1}, {8, 5, 1u << 16}, {8, 6, 0}, {8, 7, 0}, {8, 7, 4 | 1u << 16}, {8, 7, 1}, {8, 8, (1u << 28) + 1},
        {8, 9, (1u << 28) + 1}, {8, 9, 0xffffffffu}, {8, 12, 0}, {8, 12, 2}, {8, 12, 4}, {8, 12, 0xffffffffu}, {8, 13, 2},
        {17, 12, 3}, {17, 13, 2}, {17, 2, 1u << 21}, {17, 6, (1u << 19) + 1}, {19, 3, 0xffffu | 0xffffu << 16},
    };
    check_context = "attributes of windows";
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuses(bad[i].which, bad[i].attr, bad[i].value, LRT_E_NODE_ATTR);
    check_context = "windows on other axes";
    refuses(0, 8, 0, LRT_E_NODE_OUTPUT); /* another number of steps, still on x's axis */
    refuses(4, 8, 4, LRT_E_NODE_OUTPUT);
    refuses(4, 4, 2, LRT_E_NODE_OUTPUT);
    refuses(8, 10, 1, LRT_E_NODE_OUTPUT); /* another height */
    refuses(14, 12, 1, LRT_E_NODE_TENSOR);
    refuses(11, 12, 1, LRT_E_NODE_TENSOR);
}

static void too_large_a_state(void)
{
    static const window_spec s = {"", ONES, 1u << 12, 0, 1, 0, {2, 1, 1}, ONES, {1u << 19, 1, 1}, {1u << 19, 0, 0}, NONE_AT_ALL, 0};
    static const window_spec less = {"", ONES, 1u << 12, 0, 1, 0, {2, 1, 1}, ONES, {(1u << 19) - 1, 1, 1},
                                     {(1u << 19) - 1, 0, 0}, NONE_AT_ALL, 0};
    graph g;
    check_context = "a state of 2^31 numbers";
    graph_output(&g, add_window(&g, &s, begin(&g, 1u << 12), 0));
    CHECK(opens(&g) == LRT_E_NODE_ATTR);
    graph_free(&g);
    graph_output(&g, add_window(&g, &less, begin(&g, 1u << 12), 0));
    CHECK(opens(&g) == LRT_OK);
    graph_free(&g);
}

static void bad_weights(void)
{
    graph g;
    check_context = "weights of windows";
    for (uint32_t which = 8; which <= 14; which += 6) {
        graph_output(&g, add_window(&g, &SPECS[which], begin(&g, features(&SPECS[which])), 1));
        for (uint32_t i = 0; i < 2; i++) {
            const uint32_t own = g.nodes[0].tensor[i];
            g.nodes[0].tensor[i] = 1 - own;
            CHECK(opens(&g) == LRT_E_NODE_TENSOR);
            g.nodes[0].tensor[i] = 9;
            CHECK(opens(&g) == LRT_E_NODE_TENSOR);
            g.nodes[0].tensor[i] = LRT_NONE;
            CHECK(opens(&g) == (i ? LRT_OK : LRT_E_NODE_TENSOR));
            g.nodes[0].tensor[i] = own;
        }
        graph_free(&g);
    }
}

static void bad_cells(void)
{
    static const struct {
        uint32_t attr, value;
        int error;
    } bad[] = {
        {0, 0, LRT_E_NODE_ATTR}, {1, 5, LRT_E_NODE_ATTR}, {2, 3, LRT_E_NODE_ATTR}, {2, 6 | 3u << 16, LRT_E_NODE_ATTR},
        {2, 3 | 2u << 16, LRT_E_NODE_TENSOR}, {3, 0, LRT_E_NODE_ATTR}, {4, 1, LRT_E_NODE_ATTR},
        {5, 0xffffffffu, LRT_E_NODE_OUTPUT}, {6, 1, LRT_E_NODE_OUTPUT}, {7, 0, LRT_E_NODE_ATTR},
        {7, 3 | 4u << 16, LRT_E_NODE_TENSOR}, {7, 0xffffffffu, LRT_E_NODE_ATTR}, {8, LRT_ACT_SOFTMAX, LRT_E_NODE_ATTR},
        {11, LRT_ACT_LOG_SOFTMAX, LRT_E_NODE_ATTR}, {14, 1000, LRT_E_NODE_ATTR}, {9, 0x7f800000u, LRT_E_NODE_ATTR},
    };
    check_context = "convlstm";
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        graph g;
        graph_output(&g, add_cell(&g, &CELLS[0], begin(&g, 24), LRT_NONE, LRT_NONE));
        CHECK(opens(&g) == LRT_OK);
        g.nodes[0].attr[bad[i].attr] = bad[i].value;
        CHECK(opens(&g) == bad[i].error);
        graph_free(&g);
    }
}

void test_windows(void)
{
    all_numbers();
    in_many_ways();
    between_layers();
    cells_in_many_ways();
    a_cell_of_one_place_is_an_lstm();
    bad_attributes();
    too_large_a_state();
    bad_weights();
    bad_cells();
}
