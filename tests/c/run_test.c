/* The walk: rows are alone, chunks join, calls without rows or steps, the mode of the processor, and calls that are told
 * to stop. */
#include <float.h>
#include <string.h>

#include "helpers/blobs.h"
#include "lrt_mode.h"
#include "suites.h"

void rows_are_alone(const test_case *want, const lrt_kernels *k)
{
    for (uint32_t n = 0; n < want->batch; n++) {
        test_session t;
        test_case row;
        case_part(&row, want, n, 1, 0, UINT32_MAX);
        session_new(&t, want->m, k, n % 2 ? 1 : 40, want->steps, 1);
        session_run(&t, &row);
        for (uint32_t i = 0; i < want->m->n_outputs; i++)
            CHECK(part_equal(&row, want, i, n, 0));
        session_free(&t);
        case_free(&row);
    }
}

/* Sequences come out in pieces; vectors are those of the end after the last piece. */
void chunks_join(const test_case *want, const lrt_kernels *k, uint32_t size)
{
    test_session t;
    session_new(&t, want->m, k, want->batch, want->steps, 1);
    for (uint32_t t0 = 0; t0 < want->steps[0]; t0 += size) {
        uint32_t count = want->steps[0] - t0 < size ? want->steps[0] - t0 : size;
        test_case chunk;
        call_pointers p;
        case_part(&chunk, want, 0, want->batch, t0, count);
        CHECK(lrt_call(t.s, case_call(&chunk, &p, 1)) == LRT_OK);
        for (uint32_t i = 0; i < want->m->n_outputs; i++)
            if (lrt_model_output(want->m, i).kind == LRT_SEQ || t0 + count == want->steps[0])
                CHECK(part_equal(&chunk, want, i, 0, t0));
        case_free(&chunk);
    }
    session_free(&t);
}

void no_steps_no_rows(const lrt_model *m)
{
    static const uint32_t none[LRT_MAX_AXES] = {0};
    for (uint32_t batch = 0; batch < 3; batch += 2) {
        test_session t;
        test_case c;
        case_init(&c, m, batch, batch ? none : SOME_STEPS, 1, 5);
        session_new(&t, m, lrt_kernels_best(), 2, SOME_STEPS, 2);
        session_run(&t, &c);
        session_run_lanes(&t, &c, 2);
        session_free(&t);
        case_free(&c);
    }
}

/* ---- the processor's mode -------------------------------------------------------------------------------- */

/* Does the thread keep denormals? The compiler must not know the answer. */
static int keeps_denormals(void)
{
    volatile float tiny = FLT_MIN, half = 0.5f;
    const float result = tiny * half;
    uint32_t bits; /* a comparison would take a denormal for 0 */
    memcpy(&bits, &result, sizeof bits);
    return bits != 0;
}

static int ask_mode(void *context, uint32_t lane)
{
    int *kept = (int *)context;
    if (lane == 0)
        kept[keeps_denormals()]++;
    return 0;
}

/* Where the CPU has a mode for it, no call gives denormals, whatever the caller's is; who is asked whether to stop, and
 * the caller afterwards, have their own. */
static void mode_is_the_callers(const lrt_model *m)
{
    const uint32_t steps[LRT_MAX_AXES] = {3000};
    const lrt_mode before = lrt_get_mode();
    const int keeps = keeps_denormals();
    int kept[2] = {0, 0};
    test_session t;
    test_case first, second;
    call_pointers p;
    case_init(&first, m, 1, steps, 0, 3 | CASE_FADES);
    case_init(&second, m, 1, steps, 0, 3 | CASE_FADES);
    session_new(&t, m, lrt_kernels_best(), 1, steps, 1);
    case_call(&first, &p, 0);
    p.args.stop = ask_mode;
    p.args.stop_context = kept;
    CHECK(lrt_call(t.s, &p.args) == LRT_OK);
    CHECK(lrt_get_mode() == before && keeps_denormals() == keeps);
    CHECK(kept[keeps] >= 3 && kept[!keeps] == 0);
    lrt_flush_denormals(before);
    CHECK(lrt_call(t.s, case_call(&second, &p, 0)) == LRT_OK);
    CHECK((lrt_get_mode() & LRT_FLUSHES) == LRT_FLUSHES); /* the caller's own now */
    CHECK(!LRT_FLUSHES || !keeps_denormals());
    lrt_restore_mode(before);
    CHECK(outputs_equal(&first, &second));
    for (size_t i = 0; LRT_FLUSHES && i < first.out[0].size; i += 4) {
        uint32_t bits;
        memcpy(&bits, first.out[0].data + i, 4);
        CHECK((bits & 0x7f800000u) || !(bits & 0x7fffffffu));
    }
    session_free(&t);
    case_free(&first);
    case_free(&second);
}

/* ---- calls that are told to stop --------------------------------------------------------------------- */

typedef struct {
    uint32_t asked[8];  /* of each lane */
    uint32_t lane, at;  /* this one says yes when it is asked for that time, and from then on */
} stopper;

static int stop_then(void *context, uint32_t lane)
{
    stopper *s = (stopper *)context;
    return ++s->asked[lane] > s->at && lane == s->lane;
}

static int stoppable(test_session *t, const test_case *c, uint32_t lanes, stopper *stop)
{
    call_pointers p;
    case_call(c, &p, 0);
    memset(stop->asked, 0, sizeof stop->asked);
    p.args.stop = stop_then;
    p.args.stop_context = stop;
    return session_call_lanes(t, &p.args, lanes);
}

/* Whichever lane is told, and whenever: all leave, and the next call of the session is as good as the first. */
static void stop_anywhere(const lrt_model *m, uint32_t batch, uint32_t steps, int with_lengths, uint32_t lanes)
{
    const uint32_t all[LRT_MAX_AXES] = {steps};
    stopper never = {{0}, UINT32_MAX, 0};
    test_session t;
    test_case want, c;
    uint32_t asked = 0;
    case_init(&want, m, batch, all, with_lengths, 7);
    case_part(&c, &want, 0, batch, 0, UINT32_MAX);
    session_new(&t, m, lrt_kernels_best(), batch, all, lanes);
    session_run_lanes(&t, &want, lanes);
    CHECK(stoppable(&t, &c, lanes, &never) == LRT_OK);
    CHECK(outputs_equal(&c, &want));
    for (uint32_t lane = 0; lane < lanes; lane++) {
        asked += never.asked[lane];
        for (uint32_t i = 0; i < 3 && never.asked[lane] > i; i++) {
            stopper stop = {{0}, lane, i == 2 ? never.asked[lane] - 1 : i};
            CHECK(stoppable(&t, &c, lanes, &stop) == LRT_E_STOPPED);
            CHECK(walls_stand(&t.memory));
            session_run_lanes(&t, &c, lanes);
            CHECK(outputs_equal(&c, &want));
        }
    }
    CHECK(asked >= 3);
    session_free(&t);
    case_free(&c);
    case_free(&want);
}

/* Rows that a stopped call has left out keep their state, and those it had can be set. */
static void stop_beside_others(const lrt_model *m, uint32_t steps)
{
    const uint32_t all[LRT_MAX_AXES] = {steps};
    test_session t;
    test_case both, one, want;
    call_pointers p;
    stopper stop = {{0}, 0, 1};
    case_init(&both, m, 2, all, 0, 8);
    case_part(&one, &both, 0, 1, 0, UINT32_MAX);
    case_part(&want, &both, 0, 2, 0, UINT32_MAX);
    session_new(&t, m, lrt_kernels_best(), 2, all, 1);
    session_run(&t, &both);
    CHECK(lrt_call(t.s, case_call(&want, &p, 1)) == LRT_OK);
    session_run(&t, &both);
    case_call(&one, &p, 1);
    p.args.stop = stop_then;
    p.args.stop_context = &stop;
    CHECK(lrt_call(t.s, &p.args) == LRT_E_STOPPED);
    CHECK(lrt_row_reset(t.s, 0) == LRT_OK);
    CHECK(lrt_call(t.s, case_call(&one, &p, 1)) == LRT_OK); /* row 0 is where the first call left it */
    CHECK(lrt_call(t.s, case_call(&both, &p, 1)) == LRT_OK);
    CHECK(part_equal(&both, &want, 0, 0, 0));
    session_free(&t);
    case_free(&both);
    case_free(&one);
    case_free(&want);
}

void test_stops(void)
{
    static const layer_spec specs[] = {
        {"stopped lstm", LRT_OP_LSTM, 3, 128, 0, 0, 0},
        {"stopped lstm, wide input", LRT_OP_LSTM, 20, 109, 0, LRT_REVERSE, 0},
        {"stopped lstm, projection", LRT_OP_LSTM, 3, 128, 70, LRT_BIDIRECTIONAL, 1},
        {"stopped gru, reset before", LRT_OP_GRU, 3, 127, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i += only_some ? 3 : 1) {
        size_t size;
        unsigned char *bytes = layer_blob(&specs[i], &size);
        lrt_model m;
        walled blob;
        check_context = specs[i].what;
        if (model_from_bytes(&m, &blob, bytes, size)) {
            for (uint32_t lanes = 1; lanes <= 3; lanes++) {
                stop_anywhere(&m, 1, 700, 0, lanes);
                stop_anywhere(&m, 13, 80, (int)i % 2, lanes);
            }
            if (lrt_model_streams(&m))
                stop_beside_others(&m, 300);
            mode_is_the_callers(&m);
        }
        walled_free(&blob);
        free(bytes);
    }
}
