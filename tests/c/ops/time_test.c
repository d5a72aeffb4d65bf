/* Ops along time: what they give, one step after the other; and the axes that they derive. */
#include "helpers/blobs.h"
#include "suites.h"

#define SIZE 6u

/* ---- graphs ------------------------------------------------------------------------------------------- */

static uint32_t begin(graph *g)
{
    graph_begin(g, 3);
    graph_axis(g);
    return graph_input(g, LRT_SEQ, SIZE, 0);
}

/* The same in a file of version 4. */
static uint32_t begin4(graph *g)
{
    uint32_t x = begin(g);
    g->version = 4;
    return x;
}

/* Every stride-th step of x from `start` on; of those as many as there are with add = stride - 1 - start. */
static uint32_t add_take(graph *g, uint32_t x, uint32_t start, uint32_t stride, int32_t add, uint32_t cap)
{
    const uint32_t axis = graph_derived(g, g->values[x].axis, 1, add, stride, cap);
    uint32_t y = graph_op(g, LRT_OP_TAKE, x, LRT_SEQ, g->values[x].size, axis);
    graph_attr(g, 0, start);
    graph_attr(g, 1, stride);
    return y;
}

static uint32_t add_repeat(graph *g, uint32_t x, uint32_t times, uint32_t cap)
{
    const uint32_t axis = graph_derived(g, g->values[x].axis, times, 0, 1, cap);
    uint32_t y = graph_op(g, LRT_OP_REPEAT, x, LRT_SEQ, g->values[x].size, axis);
    graph_attr(g, 0, times);
    return y;
}

/* A layer, so that steps depend on those before them. */
static uint32_t add_layer(graph *g, uint32_t x, uint32_t hidden)
{
    const layer_spec s = {"", LRT_OP_LSTM, g->values[x].size, hidden, 0, 0, 0};
    return graph_layer(g, &s, x, LRT_NONE, LRT_NONE, LRT_NONE);
}

/* ---- what they give ------------------------------------------------------------------------------------ */

/* Of one row whose steps are 1, 2, 3...: the steps of output 0 are `want`, in every feature. */
static void expect_steps(graph *g, uint32_t steps, int32_t length, uint32_t count, const float *want)
{
    graph_case of;
    const float *y;
    graph_case_init(&of, g, 1, steps, length >= 0);
    for (uint32_t i = 0; i < steps * SIZE; i++)
        ((float *)(void *)of.c.in[0].data)[i] = (float)(i / SIZE + 1);
    if (length >= 0)
        *(int32_t *)(void *)of.c.lengths[0].data = length;
    graph_case_run(&of, lrt_kernels_best());
    y = (const float *)(const void *)of.c.out[0].data;
    if (CHECK(of.c.out[0].size == count * SIZE * sizeof(float)))
        for (uint32_t i = 0; i < count * SIZE; i++)
            CHECK(y[i] == want[i / SIZE]);
    graph_case_free(&of);
    graph_free(g);
}

static void takes(void)
{
    static const float all[] = {1, 4, 7, 10}, later[] = {2, 5, 8}, capped[] = {1, 3}, dropped[] = {1, 3, 5};
    graph g;
    check_context = "take";
    graph_output(&g, add_take(&g, begin(&g), 0, 3, 2, LRT_NO_CAP));
    expect_steps(&g, 10, -1, 4, all);
    graph_output(&g, add_take(&g, begin(&g), 1, 3, 1, LRT_NO_CAP));
    expect_steps(&g, 10, -1, 3, later);
    graph_output(&g, add_take(&g, begin(&g), 1, 3, 1, LRT_NO_CAP));
    expect_steps(&g, 1, -1, 0, NULL);
    graph_output(&g, add_take(&g, begin(&g), 0, 2, 1, 2));
    expect_steps(&g, 10, -1, 2, capped);
    graph_output(&g, add_take(&g, begin(&g), 0, 2, -2, LRT_NO_CAP)); /* without the last two steps and a half */
    expect_steps(&g, 9, -1, 3, dropped);
    graph_output(&g, add_take(&g, begin(&g), 0, 2, INT32_MIN, LRT_NO_CAP));
    expect_steps(&g, 9, -1, 0, NULL);
    graph_output(&g, add_take(&g, begin(&g), 0x3fffffffu, 1, -0x3fffffff, LRT_NO_CAP));
    expect_steps(&g, 9, -1, 0, NULL);
}

static void repeats(void)
{
    static const float three[] = {1, 1, 1, 2, 2, 2}, capped[] = {1, 1, 1, 2};
    graph g;
    check_context = "repeat";
    graph_output(&g, add_repeat(&g, begin(&g), 3, LRT_NO_CAP));
    expect_steps(&g, 2, -1, 6, three);
    graph_output(&g, add_repeat(&g, begin(&g), 3, 4));
    expect_steps(&g, 2, -1, 4, capped);
    graph_output(&g, add_repeat(&g, begin(&g), 1u << 20, LRT_NO_CAP));
    expect_steps(&g, 0, -1, 0, NULL);
}

/* A row that ends is as long on a derived axis as the rule says: the last of its steps there is `want`. */
static void expect_last(graph *g, uint32_t y, uint32_t steps, int32_t length, float want)
{
    graph_output(g, graph_op(g, LRT_OP_SELECT, y, LRT_VEC, SIZE, 0));
    graph_attr(g, 0, 1);
    expect_steps(g, steps, length, 1, &want);
}

static void lengths_follow(void)
{
    graph g;
    check_context = "lengths on derived axes";
    for (int32_t length = 0; length <= 10; length++) {
        expect_last(&g, add_take(&g, begin(&g), 1, 3, 1, LRT_NO_CAP), 10, length,
                    length < 2 ? 0.0f : (float)((length - 2) / 3 * 3 + 2));
        expect_last(&g, add_take(&g, begin(&g), 0, 2, 1, 2), 10, length,
                    length == 0 ? 0.0f : length <= 2 ? 1.0f : 3.0f);
        expect_last(&g, add_repeat(&g, begin(&g), 4, LRT_NO_CAP), 10, length, (float)length);
        expect_last(&g, add_take(&g, add_repeat(&g, begin(&g), 4, LRT_NO_CAP), 2, 8, 5, LRT_NO_CAP), 10, length,
                    length == 0 ? 0.0f : (float)((length - 1) / 2 * 2 + 1));
    }
}

/* ---- many ways to run them ------------------------------------------------------------------------------- */

static void selects_and_reverses(void)
{
    graph g;
    for (uint32_t which = 0; which < 2; which++) {
        graph_output(&g, graph_op(&g, LRT_OP_SELECT, begin(&g), LRT_VEC, SIZE, 0));
        graph_attr(&g, 0, which);
        check_graph(&g, which ? "select the last" : "select the first");
    }
    graph_output(&g, graph_op(&g, LRT_OP_REVERSE, begin(&g), LRT_SEQ, SIZE, 0));
    check_graph(&g, "reverse");
}

/* Takes of every kind, right from the input and out, and layers before and after. */
static void takes_in_many_ways(void)
{
    static const uint32_t strides[] = {1, 2, 3, 7, 0x3fffffffu};
    graph g;
    for (unsigned i = 0; i < 5; i++) {
        for (uint32_t start = 0; start < 3; start++) {
            const int32_t add = (int32_t)strides[i] - 1 - (int32_t)start;
            uint32_t y = add_take(&g, begin(&g), start, strides[i], add, LRT_NO_CAP);
            graph_output(&g, y);
            if (strides[i] == 2)
                graph_output(&g, add_layer(&g, y, 5));
            check_graph(&g, "take");
        }
    }
    graph_output(&g, add_take(&g, add_layer(&g, begin(&g), SIZE), 1, 3, -4, LRT_NO_CAP));
    check_graph(&g, "take that drops steps");
    graph_output(&g, add_layer(&g, add_take(&g, add_layer(&g, begin(&g), 9), 0, 2, 1, 11), 7));
    check_graph(&g, "capped take between layers");
}

static void repeats_in_many_ways(void)
{
    static const uint32_t times[] = {1, 2, 5};
    graph g;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t y = add_repeat(&g, begin(&g), times[i], LRT_NO_CAP);
        graph_output(&g, y);
        graph_output(&g, add_layer(&g, y, 4));
        check_graph(&g, "repeat");
    }
    graph_output(&g, add_layer(&g, add_repeat(&g, add_layer(&g, begin(&g), 4), 3, 77), 3));
    check_graph(&g, "capped repeat between layers");
}

/* Axes derived from derived ones; their steps in a chunk are those of none of the others. */
static void axes_of_axes(void)
{
    graph g;
    uint32_t x = begin(&g);
    uint32_t down = add_layer(&g, add_take(&g, add_layer(&g, x, 5), 1, 3, 1, LRT_NO_CAP), 6);
    uint32_t again = add_layer(&g, add_take(&g, down, 0, 2, 1, LRT_NO_CAP), 7);
    uint32_t up = add_layer(&g, add_repeat(&g, again, 5, LRT_NO_CAP), 4);
    graph_output(&g, down);
    graph_output(&g, again);
    graph_output(&g, up);
    check_graph(&g, "down, down and up");
    up = add_layer(&g, add_repeat(&g, add_layer(&g, begin(&g), 8), 2, LRT_NO_CAP), 8);
    graph_output(&g, add_layer(&g, add_repeat(&g, up, 3, LRT_NO_CAP), 5));
    check_graph(&g, "up and up, as a stream");
}

/* A vector at each step of the input's axis, of one derived from it, and of one with seven steps. */
static void repeated_vectors(void)
{
    for (int computed = 0; computed < 2; computed++) {
        for (unsigned i = 0; i < 3; i++) {
            graph g;
            uint32_t x = begin(&g), v = graph_input(&g, LRT_VEC, SIZE, 0), axis = 0;
            if (i == 1)
                axis = graph_derived(&g, 0, 2, 1, 3, LRT_NO_CAP);
            else if (i == 2)
                axis = graph_derived(&g, LRT_NONE, 0, 7, 1, LRT_NO_CAP);
            if (computed)
                v = add_layer(&g, x, SIZE) + 1;
            else
                graph_output(&g, add_layer(&g, x, 5));
            v = graph_op(&g, LRT_OP_REPEAT, v, LRT_SEQ, SIZE, axis);
            graph_output(&g, add_layer(&g, v, 3));
            graph_output(&g, v);
            check_graph(&g, computed ? "a computed vector, repeated" : "a vector, repeated");
        }
    }
}

/* ---- steps padded and regrouped ------------------------------------------------------------------------------ */

static uint32_t add_pad(graph *g, uint32_t x, uint32_t before, uint32_t after, uint32_t mode)
{
    const uint32_t own = g->values[x].axis, add = before + after;
    const uint32_t axis = add ? graph_derived(g, own, 1, (int32_t)add, 1, LRT_NO_CAP) : own;
    uint32_t y = graph_op(g, LRT_OP_PAD, x, LRT_SEQ, g->values[x].size, axis);
    graph_attr(g, 0, before);
    graph_attr(g, 1, after);
    graph_attr_float(g, 2, 0.5f);
    graph_attr(g, 3, mode);
    return y;
}

static void pads(void)
{
    static const float h = 0.5f;
    static const float constant[] = {h, h, 1, 2, 3, 4, h}, edge[] = {1, 1, 1, 2, 3, 4, 4}, mirror[] = {3, 2, 1, 2, 3, 4, 3};
    static const float constant_2[] = {h, h, 1, 2, h, 0, 0}, edge_2[] = {1, 1, 1, 2, 2, 0, 0};
    static const float mirror_2[] = {1, 2, 1, 2, 1, 0, 0}, mirror_1[] = {1, 1, 1, 1, 0, 0, 0}, none[7] = {0};
    static const float constant_0[] = {h, h, h, 0, 0, 0, 0}, same[] = {1, 2, 0, 0};
    static const struct {
        uint32_t mode;
        int32_t length;
        const float *want;
    } cases[] = {{0, -1, constant}, {1, -1, edge}, {2, -1, mirror}, {0, 2, constant_2}, {1, 2, edge_2}, {2, 2, mirror_2},
                 {2, 1, mirror_1}, {1, 0, none}, {2, 0, none}, {0, 0, constant_0}};
    graph g;
    check_context = "pad";
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        graph_output(&g, add_pad(&g, begin4(&g), 2, 1, cases[i].mode));
        expect_steps(&g, 4, cases[i].length, 7, cases[i].want);
    }
    graph_output(&g, add_pad(&g, begin4(&g), 0, 0, 0));
    expect_steps(&g, 4, 2, 4, same);
}

static void pads_in_many_ways(void)
{
    static const uint32_t before[] = {0, 3, 200, 2}, after[] = {0, 0, 0, 5};
    for (uint32_t mode = 0; mode < 3; mode++)
        for (unsigned i = 0; i < 4; i++) {
            graph g;
            graph_output(&g, add_layer(&g, add_pad(&g, add_layer(&g, begin4(&g), 4), before[i], after[i], mode), 5));
            check_graph(&g, "pad");
        }
}

/* Steps one after the other in a vector, and a vector as steps. */
static void regrouped(void)
{
    graph_case of;
    graph g;
    uint32_t x = begin4(&g), y, axis;
    check_context = "flatten and unflatten";
    y = graph_op(&g, LRT_OP_FLATTEN, x, LRT_VEC, 9 * SIZE, 0);
    graph_attr(&g, 0, 9);
    graph_output(&g, y);
    axis = graph_derived(&g, LRT_NONE, 0, 3, 1, LRT_NO_CAP);
    y = graph_op(&g, LRT_OP_UNFLATTEN, y, LRT_SEQ, 3 * SIZE, axis);
    graph_attr(&g, 0, 3);
    graph_output(&g, y);
    axis = graph_derived(&g, 0, 2, 0, 1, LRT_NO_CAP);
    y = graph_op(&g, LRT_OP_UNFLATTEN, x, LRT_SEQ, SIZE / 2, axis);
    graph_attr(&g, 0, 2);
    graph_output(&g, y);
    graph_case_init(&of, &g, 3, 9, 0);
    graph_case_run(&of, lrt_kernels_best());
    for (unsigned i = 0; i < 3; i++)
        CHECK(of.c.out[i].size == of.c.in[0].size && memcmp(of.c.out[i].data, of.c.in[0].data, of.c.in[0].size) == 0);
    graph_case_free(&of);
    for (uint32_t steps = 0; steps < 12; steps++) {
        const uint32_t all[LRT_MAX_AXES] = {steps};
        call_pointers p;
        test_session t;
        graph_case_init(&of, &g, 3, steps, 0);
        session_new(&t, &of.m, lrt_kernels_best(), 3, all, 1);
        CHECK(lrt_call(t.s, case_call(&of.c, &p, 0)) == (steps == 9 ? LRT_OK : LRT_E_STEP_COUNT));
        session_free(&t);
        graph_case_free(&of);
    }
    graph_free(&g);
    x = begin4(&g);
    y = graph_op(&g, LRT_OP_UNFLATTEN, add_layer(&g, x, 6), LRT_SEQ, 2, graph_derived(&g, 0, 3, 0, 1, LRT_NO_CAP));
    graph_attr(&g, 0, 3);
    graph_output(&g, add_layer(&g, y, 4));
    check_graph(&g, "unflatten");
}

/* Every third step three times, as many as there were; of those alone there are too few. */
static void cut_to_another(void)
{
    for (unsigned enough = 0; enough < 2; enough++) {
        const uint32_t axis = 1;
        graph g;
        uint32_t x = begin4(&g), y;
        g.version = 5;
        graph_derived(&g, 0, 1, 2, 3, LRT_NO_CAP);
        y = graph_op(&g, LRT_OP_TAKE, x, LRT_SEQ, SIZE, axis);
        graph_attr(&g, 1, 3);
        if (enough) {
            y = graph_op(&g, LRT_OP_REPEAT, y, LRT_SEQ, SIZE, graph_derived(&g, axis, 3, 0, 1, LRT_NO_CAP));
            graph_attr(&g, 0, 3);
        }
        y = graph_op(&g, LRT_OP_CUT, y, LRT_SEQ, SIZE, 0);
        graph_output(&g, y);
        check_context = "cut";
        for (uint32_t steps = 0; steps < 20; steps++) {
            const uint32_t all[LRT_MAX_AXES] = {steps};
            const size_t one = SIZE * sizeof(float);
            graph_case of;
            call_pointers p;
            test_session t;
            graph_case_init(&of, &g, 3, steps, 0);
            session_new(&t, &of.m, lrt_kernels_best(), 3, all, 1);
            CHECK(lrt_call(t.s, case_call(&of.c, &p, 0)) == (enough || steps < 2 ? LRT_OK : LRT_E_STEP_COUNT));
            for (uint32_t k = 0; k < 3 * steps && enough; k++) {
                const unsigned char *row = of.c.in[0].data + k / steps * steps * one;
                CHECK(memcmp(of.c.out[0].data + k * one, row + k % steps / 3 * 3 * one, one) == 0);
            }
            session_free(&t);
            graph_case_free(&of);
        }
        graph_free(&g);
    }
}

/* Steps 1 and on, after one of zeros, as those of the input: there are as many unless it has none. */
static void aligned(void)
{
    const uint32_t axis = 1;
    graph g;
    uint32_t x = begin4(&g), y;
    graph_derived(&g, 0, 1, -1, 1, LRT_NO_CAP);
    y = graph_op(&g, LRT_OP_TAKE, x, LRT_SEQ, SIZE, axis);
    graph_attr(&g, 0, 1);
    graph_attr(&g, 1, 1);
    y = graph_op(&g, LRT_OP_PAD, y, LRT_SEQ, SIZE, graph_derived(&g, axis, 1, 1, 1, LRT_NO_CAP));
    graph_attr(&g, 0, 1);
    y = graph_op(&g, LRT_OP_ALIGN, y, LRT_SEQ, SIZE, 0);
    graph_output(&g, y);
    graph_output(&g, add_layer(&g, y, 4));
    check_context = "align";
    for (uint32_t steps = 0; steps < 40; steps += 13) {
        const uint32_t all[LRT_MAX_AXES] = {steps};
        const size_t row = (size_t)steps * SIZE * sizeof(float), one = SIZE * sizeof(float);
        static const float zeros[SIZE];
        graph_case of;
        call_pointers p;
        test_session t;
        graph_case_init(&of, &g, 3, steps, 0);
        session_new(&t, &of.m, lrt_kernels_best(), 3, all, 1);
        CHECK(lrt_call(t.s, case_call(&of.c, &p, 0)) == (steps ? LRT_OK : LRT_E_STEP_COUNT));
        for (unsigned n = 0; n < 3 && steps; n++) {
            const unsigned char *from = of.c.in[0].data + n * row, *to = of.c.out[0].data + n * row;
            CHECK(memcmp(to, zeros, one) == 0 && memcmp(to + one, from + one, row - one) == 0);
        }
        session_free(&t);
        graph_case_free(&of);
    }
    graph_free(&g);
}

void test_time(void)
{
    pads();
    pads_in_many_ways();
    regrouped();
    aligned();
    cut_to_another();
    takes();
    repeats();
    lengths_follow();
    selects_and_reverses();
    takes_in_many_ways();
    repeats_in_many_ways();
    axes_of_axes();
    repeated_vectors();
}
