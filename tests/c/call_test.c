/* What a call may not be. */
#include "helpers/blobs.h"
#include "suites.h"

static int call_with(const test_session *t, const test_case *c, uint32_t batch, uint32_t steps, int without)
{
    call_pointers p;
    case_call(c, &p, 0);
    p.args.batch = batch;
    p.args.steps[0] = steps;
    if (without == 1)
        p.args.inputs = NULL;
    else if (without == 2)
        p.args.outputs = NULL;
    else if (without == 3)
        p.in[0] = NULL;
    else if (without == 4)
        p.out[0] = NULL;
    return lrt_call(t->s, &p.args);
}

static void shape_errors(const test_session *t, const test_case *c)
{
    CHECK(call_with(t, c, c->batch + 1, c->steps[0], 0) == LRT_E_BATCH);
    if (c->m->n_axes > 0 && !lrt_model_is_causal(c->m))
        CHECK(call_with(t, c, c->batch, c->steps[0] + 1, 0) == LRT_E_STEPS);
    for (int without = 1; without <= 4; without++)
        CHECK(call_with(t, c, c->batch, c->steps[0], without) == LRT_E_ARGUMENT);
    CHECK(lrt_call(NULL, NULL) == LRT_E_ARGUMENT);
    CHECK(lrt_prepare(t->s, NULL) == LRT_E_ARGUMENT);
}

/* Puts `value` at the end of an array of ints, calls, and puts back what was there. */
static void expect_with(const test_session *t, const test_case *c, const walled *array, int32_t value, int error)
{
    int32_t *last = (int32_t *)(void *)(array->data + array->size - sizeof(int32_t)), old = *last;
    call_pointers p;
    *last = value;
    CHECK(lrt_call(t->s, case_call(c, &p, 0)) == error);
    *last = old;
}

static void length_errors(const test_session *t, const test_case *c)
{
    for (uint32_t i = 0; i < c->m->n_inputs; i++) {
        lrt_io io = lrt_model_input(c->m, i);
        if (io.kind != LRT_LENGTHS)
            continue;
        expect_with(t, c, &c->in[i], -1, LRT_E_LENGTH);
        expect_with(t, c, &c->in[i], (int32_t)c->steps[io.axis] + 1, LRT_E_LENGTH);
        expect_with(t, c, &c->lengths[io.axis], -1, LRT_OK); /* an input takes precedence */
    }
    for (uint32_t a = 0; a < c->m->n_axes && !takes_lengths(c->m); a++) {
        if (!c->lengths[a].base) /* derived axes have none of their own */
            continue;
        expect_with(t, c, &c->lengths[a], -1, LRT_E_LENGTH);
        expect_with(t, c, &c->lengths[a], INT32_MIN, LRT_E_LENGTH);
        expect_with(t, c, &c->lengths[a], (int32_t)c->steps[a] + 1, LRT_E_LENGTH);
    }
}

static void token_errors(const test_session *t, const test_case *c)
{
    for (uint32_t i = 0; i < c->m->n_nodes; i++) {
        lrt_node n;
        lrt_read_node(c->m, i, &n);
        if (n.op != LRT_OP_EMBEDDING)
            continue;
        expect_with(t, c, &c->in[n.in[0]], -1, LRT_E_TOKEN);
        expect_with(t, c, &c->in[n.in[0]], INT32_MIN, LRT_E_TOKEN);
        expect_with(t, c, &c->in[n.in[0]], 11, LRT_E_TOKEN); /* tables of the corpus have 11 rows */
    }
}

/* A call that is refused writes no output and changes no state. */
static void errors_change_nothing(const test_session *t, const test_case *c)
{
    test_case again;
    call_pointers p;
    for (uint32_t i = 0; i < c->m->n_outputs; i++)
        memset(c->out[i].data, 0x5a, c->out[i].size);
    shape_errors(t, c);
    for (uint32_t i = 0; i < c->m->n_outputs; i++)
        for (size_t j = 0; j < c->out[i].size; j++)
            CHECK(c->out[i].data[j] == 0x5a);
    case_part(&again, c, 0, c->batch, 0, UINT32_MAX);
    CHECK(lrt_call(t->s, case_call(&again, &p, 0)) == LRT_OK);
    case_free(&again);
}

void call_errors(const lrt_model *m)
{
    test_session t;
    test_case c;
    case_init(&c, m, 4, SOME_STEPS, 1, 3);
    session_new(&t, m, lrt_kernels_best(), 4, SOME_STEPS, 1);
    errors_change_nothing(&t, &c);
    length_errors(&t, &c);
    token_errors(&t, &c);
    slot_errors(&t, &c);
    row_errors(&t, &c);
    CHECK(walls_stand(&t.memory));
    session_free(&t);
    case_free(&c);
}

/* ---- what a call leaves for the next one ------------------------------------------------------------------- */

/* Calls of many shapes in turn, refused ones among them: each is what it is in a session of its own. */
static void shapes_in_turn(const lrt_model *m)
{
    static const struct {
        uint32_t batch, steps;
        int with_lengths;
    } shapes[] = {{3, 20, 0}, {3, 20, 0}, {3, 20, 1}, {3, 20, 0}, {1, 20, 0}, {3, 7, 1},
                  {3, 7, 0},  {0, 7, 0},  {3, 0, 0},  {3, 20, 1}, {2, 1, 0},  {2, 1, 0}};
    const uint32_t most[LRT_MAX_AXES] = {20};
    test_session t;
    session_new(&t, m, lrt_kernels_best(), 3, most, 2);
    for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const uint32_t steps[LRT_MAX_AXES] = {shapes[i].steps};
        test_session own;
        test_case c, want;
        case_init(&c, m, shapes[i].batch, steps, shapes[i].with_lengths, 50 + i);
        case_part(&want, &c, 0, c.batch, 0, UINT32_MAX);
        session_new(&own, m, lrt_kernels_best(), 3, most, 1);
        session_run(&own, &want);
        CHECK(call_with(&t, &c, 4, shapes[i].steps, 0) == LRT_E_BATCH);
        session_run(&t, &c);
        CHECK(outputs_equal(&c, &want));
        CHECK(call_with(&t, &c, c.batch, c.steps[0], 4) == LRT_E_ARGUMENT);
        session_run_lanes(&t, &c, 2);
        CHECK(outputs_equal(&c, &want));
        session_free(&own);
        case_free(&c);
        case_free(&want);
    }
    session_free(&t);
}

/* x -> lstm -> y (time first), h (in groups); and each of x's steps `times` times. */
static unsigned char *some_graph(uint32_t times, size_t *size)
{
    const layer_spec layer = {"", LRT_OP_LSTM, 6, 6, 0, 0, 0};
    unsigned char *bytes;
    uint32_t x, y;
    graph g;
    graph_begin(&g, 3);
    graph_axis(&g);
    graph_derived(&g, 0, times, 0, 1, LRT_NO_CAP);
    x = graph_input(&g, LRT_SEQ, 6, 0);
    y = graph_layer(&g, &layer, x, LRT_NONE, LRT_NONE, LRT_NONE);
    graph_output(&g, y);
    graph_output(&g, y + 1);
    graph_output(&g, graph_op(&g, LRT_OP_REPEAT, x, LRT_SEQ, 6, 1));
    graph_attr(&g, 0, times);
    g.values[y].order = LRT_TIME_FIRST;
    g.values[y + 1].order = LRT_GROUPS_FIRST;
    g.values[y + 1].groups = 3;
    bytes = graph_bytes(&g, size);
    graph_free(&g);
    return bytes;
}

/* So many steps that a derived axis would have more than 2^31 - 1 are refused before any is looked at. */
static void too_many_steps(const lrt_model *m)
{
    const uint32_t most[LRT_MAX_AXES] = {1};
    test_session t;
    test_case c;
    case_init(&c, m, 1, most, 0, 1);
    session_new(&t, m, lrt_kernels_best(), 1, most, 1);
    CHECK(call_with(&t, &c, 1, 0x7fffffffu / 1000 + 1, 0) == LRT_E_STEPS);
    CHECK(call_with(&t, &c, 1, 0x80000000u, 0) == LRT_E_STEPS);
    CHECK(call_with(&t, &c, 1, UINT32_MAX, 0) == LRT_E_STEPS);
    session_run(&t, &c);
    session_free(&t);
    case_free(&c);
}

void test_calls(void)
{
    for (uint32_t times = 2; times <= 1000; times += 998) {
        size_t size;
        unsigned char *bytes = some_graph(times, &size);
        lrt_model m;
        walled blob;
        check_context = "calls one after the other";
        if (model_from_bytes(&m, &blob, bytes, size)) {
            if (times == 1000)
                too_many_steps(&m);
            else
                shapes_in_turn(&m);
        }
        walled_free(&blob);
        free(bytes);
    }
}
