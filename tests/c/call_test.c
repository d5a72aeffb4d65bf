/* What a call may not be. */
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
