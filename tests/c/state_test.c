/* State: carried from session to session, and from row to row. */
#include "suites.h"

#define MOST_ROWS 8u /* of any test */

/* The state of rows of one session, put into rows of another or the same, is what is there then. */
static void copy_slots(const test_session *from, uint32_t row, const test_session *to, uint32_t to_row, uint32_t rows)
{
    CHECK(lrt_slot_count(from->s) == lrt_slot_count(to->s));
    for (uint32_t i = 0; i < lrt_slot_count(from->s); i++) {
        lrt_slot slot;
        walled a, b;
        CHECK(lrt_slot_info(from->s, i, &slot) == LRT_OK);
        a = walled_new((size_t)slot.directions * rows * slot.size * sizeof(float));
        b = walled_new(a.size);
        CHECK(lrt_slot_get(from->s, i, row, rows, (float *)(void *)a.data) == LRT_OK);
        CHECK(lrt_slot_set(to->s, i, to_row, rows, (const float *)(const void *)a.data) == LRT_OK);
        CHECK(lrt_slot_get(to->s, i, to_row, rows, (float *)(void *)b.data) == LRT_OK);
        CHECK(memcmp(a.data, b.data, a.size) == 0);
        walled_free(&a);
        walled_free(&b);
    }
}

void slots_carry_state(const test_case *c, const lrt_kernels *k)
{
    test_session first, second;
    test_case a, b;
    call_pointers p;
    const uint32_t half = c->batch / 2;
    case_part(&a, c, 0, c->batch, 0, UINT32_MAX);
    case_part(&b, c, 0, c->batch, 0, UINT32_MAX);
    session_new(&first, c->m, k, c->batch, c->steps, 1);
    session_new(&second, c->m, k, 12, c->steps, 1);
    session_run(&first, &a);
    copy_slots(&first, half, &second, half, c->batch - half);
    copy_slots(&first, 0, &second, 0, half);
    CHECK(lrt_call(first.s, case_call(&a, &p, 1)) == LRT_OK);
    CHECK(lrt_call(second.s, case_call(&b, &p, 1)) == LRT_OK);
    CHECK(outputs_equal(&a, &b));
    lrt_session_reset(first.s);
    CHECK(lrt_call(first.s, case_call(&a, &p, 1)) == LRT_OK);
    session_run(&second, &b);
    CHECK(outputs_equal(&a, &b)); /* reset is the same as starting from zero */
    session_free(&first);
    session_free(&second);
    case_free(&a);
    case_free(&b);
}

/* Rows as streams of one session. */
typedef struct {
    test_session t;
    const test_case *want;
    uint32_t stream[MOST_ROWS]; /* of each row */
    uint32_t done[MOST_ROWS];   /* steps of each stream */
} row_streams;

/* The stream of some later row, or of this one, takes the place of this one's. */
static void choose_stream(row_streams *g, uint32_t row, uint32_t *seed)
{
    uint32_t other = row + next_random(seed) % (g->want->batch - row), stream = g->stream[row];
    CHECK(lrt_row_swap(g->t.s, row, other) == LRT_OK);
    g->stream[row] = g->stream[other];
    g->stream[other] = stream;
}

/* `count` steps of the first rows together: each stream gives what its row gives in `want`. */
static void step_streams(row_streams *g, uint32_t rows, uint32_t count)
{
    test_case together;
    call_pointers p;
    const lrt_model *m = g->want->m;
    case_part(&together, g->want, 0, rows, 0, count);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t i = 0; i < m->n_inputs; i++)
            port_same(port_of(&together, 0, i, r, 0),
                      port_of(g->want, 0, i, g->stream[r], g->done[g->stream[r]]), 1, 1);
    CHECK(lrt_call(g->t.s, case_call(&together, &p, 1)) == LRT_OK);
    for (uint32_t r = 0; r < rows; r++) {
        uint32_t stream = g->stream[r], t = g->done[stream];
        g->done[stream] = t + count;
        for (uint32_t i = 0; i < m->n_outputs; i++)
            if (lrt_model_output(m, i).kind == LRT_SEQ || t + count == g->want->steps[0])
                CHECK(port_same(port_of(&together, 1, i, r, 0), port_of(g->want, 1, i, stream, t), 1, 0));
    }
    case_free(&together);
}

/* Each stream at its own pace, moved to the front when it steps; at its end it starts over. */
void rows_are_streams(const test_case *want, const lrt_kernels *k)
{
    row_streams g = {.want = want};
    uint32_t seed = 17;
    session_new(&g.t, want->m, k, want->batch + 2, want->steps, 1);
    for (uint32_t n = 0; n < want->batch; n++)
        g.stream[n] = n;
    for (uint32_t round = 0; round < 4 * want->steps[0]; round++) {
        uint32_t rows = 1 + next_random(&seed) % want->batch, count = 1 + next_random(&seed) % 2;
        count = count < want->steps[0] ? count : want->steps[0];
        for (uint32_t r = 0; r < rows; r++) {
            choose_stream(&g, r, &seed);
            if (g.done[g.stream[r]] + count > want->steps[0]) {
                CHECK(lrt_row_reset(g.t.s, r) == LRT_OK);
                g.done[g.stream[r]] = 0;
            }
        }
        step_streams(&g, rows, count);
    }
    session_free(&g.t);
}

/* One step of one row of `want`, on row 0 of a session. */
static void step_one(const test_session *t, const test_case *want, uint32_t stream, uint32_t step)
{
    test_case one;
    call_pointers p;
    case_part(&one, want, stream, 1, step, 1);
    CHECK(lrt_call(t->s, case_call(&one, &p, 1)) == LRT_OK);
    for (uint32_t i = 0; i < want->m->n_outputs; i++)
        if (lrt_model_output(want->m, i).kind == LRT_SEQ)
            CHECK(part_equal(&one, want, i, stream, step));
    case_free(&one);
}

/* Two streams take turns on row 0; the one that waits does so on a row that no call has reached. */
void rows_wait(const test_case *want, const lrt_kernels *k, int by_slots)
{
    const uint32_t other = want->batch - 1;
    test_session t;
    session_new(&t, want->m, k, 5, want->steps, 1);
    step_one(&t, want, 0, 0);
    if (by_slots) {
        copy_slots(&t, 0, &t, 3, 1);
        CHECK(lrt_row_reset(t.s, 0) == LRT_OK);
    } else {
        CHECK(lrt_row_swap(t.s, 0, 3) == LRT_OK);
    }
    step_one(&t, want, other, 0);
    CHECK(lrt_row_swap(t.s, 3, 0) == LRT_OK);
    for (uint32_t step = 1; step < want->steps[0]; step++)
        step_one(&t, want, 0, step);
    CHECK(lrt_row_swap(t.s, 0, 3) == LRT_OK);
    for (uint32_t step = 1; step < want->steps[0]; step++)
        step_one(&t, want, other, step);
    session_free(&t);
}

void slot_errors(const test_session *t, const test_case *c)
{
    uint32_t n = lrt_slot_count(t->s);
    lrt_slot slot;
    float one = 0;
    CHECK(lrt_slot_info(t->s, n, &slot) == LRT_E_ARGUMENT);
    CHECK(lrt_slot_info(t->s, 0, NULL) == LRT_E_ARGUMENT && lrt_slot_info(NULL, 0, &slot) == LRT_E_ARGUMENT);
    CHECK(lrt_slot_get(t->s, n, 0, 0, &one) == LRT_E_ARGUMENT && lrt_slot_set(t->s, n, 0, 0, &one) == LRT_E_ARGUMENT);
    CHECK(lrt_slot_get(t->s, 0, 0, 1, NULL) == LRT_E_ARGUMENT && lrt_slot_set(t->s, 0, 0, 1, NULL) == LRT_E_ARGUMENT);
    CHECK(lrt_slot_get(NULL, 0, 0, 1, &one) == LRT_E_ARGUMENT && lrt_slot_set(NULL, 0, 0, 1, &one) == LRT_E_ARGUMENT);
    for (uint32_t rows = 0; rows <= c->batch; rows++) {
        uint32_t row = c->batch + 1 - rows;
        CHECK(lrt_slot_get(t->s, 0, row, rows, &one) == LRT_E_ARGUMENT);
        CHECK(lrt_slot_set(t->s, 0, row, rows, &one) == LRT_E_ARGUMENT);
    }
    CHECK(lrt_slot_get(t->s, 0, 0, c->batch + 1, &one) == LRT_E_ARGUMENT);
    CHECK(lrt_slot_set(t->s, 0, 1, UINT32_MAX, &one) == LRT_E_ARGUMENT);
}

void row_errors(const test_session *t, const test_case *c)
{
    CHECK(lrt_row_reset(NULL, 0) == LRT_E_ARGUMENT && lrt_row_reset(t->s, c->batch) == LRT_E_ARGUMENT);
    CHECK(lrt_row_swap(NULL, 0, 0) == LRT_E_ARGUMENT);
    CHECK(lrt_row_swap(t->s, 0, c->batch) == LRT_E_ARGUMENT && lrt_row_swap(t->s, c->batch, 0) == LRT_E_ARGUMENT);
    CHECK(lrt_row_swap(t->s, c->batch - 1, c->batch - 1) == LRT_OK);
}
