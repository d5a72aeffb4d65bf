/* The whole C API, on every model of the corpus and on layers of many sizes.
 *
 *   core_test folder-with-lrt-files
 *
 * What must be the same bits: every fused kernel table, every cut of the sequence into chunks,
 * every batch, every number of lanes, every session large enough. All memory that the core may
 * write has walls around it that must stand. */
#include <dirent.h>

#include "blobs.h"
#include "cases.h"

#define BATCH 7u
#define MOST_ROWS 8u /* of any test */

static const uint32_t STEPS[LRT_MAX_AXES] = {50, 3, 9, 1, 2, 4, 5, 6};

/* ---- one model, many ways to run it ---------------------------------------------------------------- */

static int takes_lengths(const lrt_model *m)
{
    for (uint32_t i = 0; i < m->n_inputs; i++)
        if (lrt_model_input(m, i).kind == LRT_LENGTHS)
            return 1;
    return 0;
}

/* Runs all of `want` again with these limits and lanes: the outputs must be the same bytes. */
static void expect_same(const test_case *want, const lrt_kernels *k, uint32_t batch, const uint32_t *steps,
                        uint32_t lanes)
{
    test_session t;
    test_case c;
    case_part(&c, want, 0, want->batch, 0, UINT32_MAX);
    session_new(&t, want->m, k, batch, steps, lanes);
    if (lanes > 1)
        session_run_lanes(&t, &c, lanes);
    else
        session_run(&t, &c);
    CHECK(outputs_equal(&c, want));
    session_free(&t);
    case_free(&c);
}

static void limits_do_not_matter(const test_case *want, const lrt_kernels *k)
{
    static const uint32_t few[LRT_MAX_AXES] = {1}, three[LRT_MAX_AXES] = {3}, many[LRT_MAX_AXES] = {60, 60, 60, 60, 60, 60, 60, 60};
    expect_same(want, k, want->batch, want->steps, 1);
    expect_same(want, k, 31, many, 1);
    expect_same(want, k, 100, want->steps, 2); /* two lanes' worth, and two lanes */
    expect_same(want, k, want->batch, want->steps, 3);
    if (lrt_model_is_causal(want->m)) {
        expect_same(want, k, want->batch, few, 1);
        expect_same(want, k, 59, three, 3);
    }
}

static void rows_are_alone(const test_case *want, const lrt_kernels *k)
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
static void chunks_join(const test_case *want, const lrt_kernels *k, uint32_t size)
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

static void slots_carry_state(const test_case *c, const lrt_kernels *k)
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
    test_case together, one[MOST_ROWS];
    call_pointers p;
    const lrt_model *m = g->want->m;
    case_part(&together, g->want, 0, rows, 0, count);
    for (uint32_t r = 0; r < rows; r++) {
        case_part(&one[r], g->want, g->stream[r], 1, g->done[g->stream[r]], count);
        for (uint32_t i = 0; i < m->n_inputs; i++)
            memcpy(together.in[i].data + r * one[r].in[i].size, one[r].in[i].data, one[r].in[i].size);
    }
    CHECK(lrt_call(g->t.s, case_call(&together, &p, 1)) == LRT_OK);
    for (uint32_t r = 0; r < rows; r++) {
        uint32_t stream = g->stream[r], t = g->done[stream];
        g->done[stream] = t + count;
        for (uint32_t i = 0; i < m->n_outputs; i++) {
            memcpy(one[r].out[i].data, together.out[i].data + r * one[r].out[i].size, one[r].out[i].size);
            if (lrt_model_output(m, i).kind == LRT_SEQ || t + count == g->want->steps[0])
                CHECK(part_equal(&one[r], g->want, i, stream, t));
        }
        case_free(&one[r]);
    }
    case_free(&together);
}

/* Each stream at its own pace, moved to the front when it steps; at its end it starts over. */
static void rows_are_streams(const test_case *want, const lrt_kernels *k)
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
static void rows_wait(const test_case *want, const lrt_kernels *k, int by_slots)
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

/* All of the above with one table; `want` holds the outputs of it or of another fused one. */
static void check_table(const test_case *want, const lrt_kernels *k, int streams)
{
    limits_do_not_matter(want, k);
    rows_are_alone(want, k);
    slots_carry_state(want, k);
    if (streams) {
        chunks_join(want, k, 1);
        chunks_join(want, k, 7);
        chunks_join(want, k, 31);
        rows_are_streams(want, k);
        rows_wait(want, k, 0);
        rows_wait(want, k, 1);
    }
}

/* FNV-1a over the bits of all results of the portable table, all NaNs alike: the same on every machine. */
static uint64_t results = 14695981039346656037u;
static void add_results(const test_case *c)
{
    for (uint32_t i = 0; i < c->m->n_outputs; i++) {
        for (size_t j = 0; j + 4 <= c->out[i].size; j += 4) {
            uint32_t bits;
            memcpy(&bits, c->out[i].data + j, 4);
            bits = (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits;
            for (unsigned k = 0; k < 32; k += 8)
                results = (results ^ (bits >> k & 0xffu)) * 1099511628211u;
        }
    }
}

/* The portable tables are slow with sanitizers: there, wide layers only take their results. */
static int skip_portable;

/* Fused tables are held against the portable one, a table that rounds twice against itself. */
static void check_tables(const lrt_model *m, uint32_t batch, const uint32_t *steps, int with_lengths)
{
    int streams = lrt_model_streams(m) && !with_lengths && !takes_lengths(m), added = 0;
    for (unsigned i = 0; lrt_kernels_at(i); i++) {
        const lrt_kernels *k = lrt_kernels_at(i);
        test_session t;
        test_case want;
        if (!lrt_kernels_usable(k) || (skip_portable && k->width == 4 && lrt_kernels_best() != k))
            continue;
        case_init(&want, m, batch, steps, with_lengths, 99);
        session_new(&t, m, lrt_kernels_fused(k) ? lrt_kernels_by_name("portable") : k, batch, steps, 1);
        session_run(&t, &want);
        if (lrt_kernels_fused(k) && !added++)
            add_results(&want);
        check_table(&want, k, streams);
        session_free(&t);
        case_free(&want);
    }
}

static void no_steps_no_rows(const lrt_model *m)
{
    static const uint32_t none[LRT_MAX_AXES] = {0};
    for (uint32_t batch = 0; batch < 3; batch += 2) {
        test_session t;
        test_case c;
        case_init(&c, m, batch, batch ? none : STEPS, 1, 5);
        session_new(&t, m, lrt_kernels_best(), 2, STEPS, 2);
        session_run(&t, &c);
        session_run_lanes(&t, &c, 2);
        session_free(&t);
        case_free(&c);
    }
}

static void check_model(const lrt_model *m)
{
    static const uint32_t one[LRT_MAX_AXES] = {1, 1, 1, 1, 1, 1, 1, 1};
    check_tables(m, BATCH, STEPS, 0);
    check_tables(m, BATCH, STEPS, 1);
    check_tables(m, 1, STEPS, 0);
    check_tables(m, 2, one, 1);
    no_steps_no_rows(m);
}

/* ---- what a call may not be ------------------------------------------------------------------------ */

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

static void slot_errors(const test_session *t, const test_case *c)
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

static void row_errors(const test_session *t, const test_case *c)
{
    CHECK(lrt_row_reset(NULL, 0) == LRT_E_ARGUMENT && lrt_row_reset(t->s, c->batch) == LRT_E_ARGUMENT);
    CHECK(lrt_row_swap(NULL, 0, 0) == LRT_E_ARGUMENT);
    CHECK(lrt_row_swap(t->s, 0, c->batch) == LRT_E_ARGUMENT && lrt_row_swap(t->s, c->batch, 0) == LRT_E_ARGUMENT);
    CHECK(lrt_row_swap(t->s, c->batch - 1, c->batch - 1) == LRT_OK);
}

static void call_errors(const lrt_model *m)
{
    test_session t;
    test_case c;
    case_init(&c, m, 4, STEPS, 1, 3);
    session_new(&t, m, lrt_kernels_best(), 4, STEPS, 1);
    errors_change_nothing(&t, &c);
    length_errors(&t, &c);
    token_errors(&t, &c);
    slot_errors(&t, &c);
    row_errors(&t, &c);
    CHECK(walls_stand(&t.memory));
    session_free(&t);
    case_free(&c);
}

static int init_with(const lrt_model *m, const lrt_kernels *k, const lrt_limits *l, unsigned char *memory, size_t size)
{
    lrt_session *s = NULL;
    int e = lrt_session_init(&s, m, k, l, memory, size);
    CHECK(e == LRT_OK || s == NULL); /* outputs are left alone on error */
    return e;
}

static void session_errors(const lrt_model *m)
{
    const lrt_kernels *k = lrt_kernels_best();
    lrt_limits l = {2, 1, {9, 9, 9, 9, 9, 9, 9, 9}}, bad = l, huge = l;
    size_t size = lrt_session_size(m, &l);
    walled w = walled_new(size + 64);
    CHECK(init_with(m, k, &l, w.data, size) == LRT_OK);
    CHECK(init_with(m, k, &l, w.data, size - 1) == LRT_E_MEMORY);
    CHECK(init_with(m, k, &l, w.data + 16, size) == LRT_E_MEMORY);
    CHECK(init_with(m, k, &l, NULL, size) == LRT_E_ARGUMENT);
    CHECK(init_with(m, NULL, &l, w.data, size) == LRT_E_ARGUMENT);
    CHECK(init_with(NULL, k, &l, w.data, size) == LRT_E_ARGUMENT);
    CHECK(init_with(m, k, NULL, w.data, size) == LRT_E_ARGUMENT);
    CHECK(lrt_session_init(NULL, m, k, &l, w.data, size) == LRT_E_ARGUMENT);
    bad.batch = 0;
    CHECK(lrt_session_size(m, &bad) == 0 && init_with(m, k, &bad, w.data, size) == LRT_E_ARGUMENT);
    bad.batch = 1;
    bad.lanes = 0;
    CHECK(lrt_session_size(m, &bad) == 0 && init_with(m, k, &bad, w.data, size) == LRT_E_ARGUMENT);
    bad.lanes = UINT32_MAX;
    CHECK(lrt_session_size(m, &bad) == 0);
    CHECK(lrt_session_size(NULL, &l) == 0 && lrt_session_size(m, NULL) == 0);
    huge.batch = UINT32_MAX;
    huge.lanes = 1024;
    memset(huge.steps, 0xff, sizeof huge.steps);
    size = lrt_session_size(m, &huge); /* whatever it needs, it is more than there is */
    CHECK(init_with(m, k, &huge, w.data, w.size) == (size ? LRT_E_MEMORY : LRT_E_TOO_LARGE));
    walled_free(&w);
}

/* A sequence of UINT32_MAX rows and steps inside a model that is not causal cannot be addressed. */
static void too_large(const char *folder)
{
    char path[512];
    lrt_limits l = {UINT32_MAX, 1, {UINT32_MAX}};
    lrt_model m;
    walled blob;
    unsigned char memory[1];
    lrt_session *s;
    snprintf(path, sizeof path, "%s/encoder_decoder.lrt", folder);
    check_context = path;
    if (!model_from_file(&m, &blob, path))
        return;
    CHECK(lrt_session_size(&m, &l) == 0);
    CHECK(lrt_session_init(&s, &m, lrt_kernels_best(), &l, memory, 1) == LRT_E_TOO_LARGE);
    walled_free(&blob);
}

/* ---- blobs and the rest ---------------------------------------------------------------------------- */

/* Cut anywhere or moved by a byte, a blob does not open; the walls behind a cut show reads past it. */
static void blob_errors(const walled *blob)
{
    lrt_model m;
    walled moved = walled_new(blob->size + 1);
    for (size_t n = 0; n < blob->size; n++) {
        walled cut = walled_new(n);
        memcpy(cut.data, blob->data, n);
        CHECK(lrt_model_open(&m, cut.data, n) == (n < 128 ? LRT_E_SHORT : LRT_E_SIZE));
        walled_free(&cut);
    }
    memcpy(moved.data + 1, blob->data, blob->size);
    CHECK(lrt_model_open(&m, moved.data + 1, blob->size) == LRT_E_ALIGNMENT);
    CHECK(lrt_model_open(&m, NULL, 128) == LRT_E_ARGUMENT);
    CHECK(lrt_model_open(NULL, blob->data, blob->size) == LRT_E_ARGUMENT);
    CHECK(lrt_model_check(NULL) == LRT_E_ARGUMENT);
    walled_free(&moved);
}

static void checksum_errors(const lrt_model *m, const walled *blob)
{
    CHECK(lrt_model_check(m) == LRT_OK);
    for (size_t i = 0; i < blob->size; i += 37) {
        blob->data[i] ^= 4;
        CHECK(lrt_model_check(m) == LRT_E_CHECKSUM);
        blob->data[i] ^= 4;
    }
}

static void check_texts_and_tables(void)
{
    float x = 1, y;
    check_context = "texts and tables";
    for (int e = LRT_OK; e <= LRT_E_STOPPED; e++) {
        int known = e <= LRT_E_AXIS || e >= LRT_E_ARGUMENT;
        CHECK(known == (strcmp(lrt_error_text(e), lrt_error_text(-1)) != 0));
    }
    for (unsigned i = 0; lrt_kernels_at(i); i++) {
        const lrt_kernels *k = lrt_kernels_at(i);
        CHECK(lrt_kernels_by_name(lrt_kernels_name(k)) == (lrt_kernels_usable(k) ? k : NULL));
    }
    CHECK(lrt_kernels_usable(lrt_kernels_best()));
    CHECK(!lrt_kernels_by_name("no such table") && !lrt_kernels_by_name(NULL));
    CHECK(lrt_activate(lrt_kernels_best(), LRT_ACT_COUNT, 0, 0, &x, &y, 1) == LRT_E_ARGUMENT);
    CHECK(lrt_activate(lrt_kernels_best(), LRT_ACT_RELU, 0, 0, &x, &y, 0) == LRT_E_ARGUMENT);
    CHECK(lrt_activate(NULL, LRT_ACT_RELU, 0, 0, &x, &y, 1) == LRT_E_ARGUMENT);
    CHECK(lrt_activate(lrt_kernels_best(), LRT_ACT_RELU, 0, 0, NULL, &y, 1) == LRT_E_ARGUMENT);
    CHECK(lrt_activate(lrt_kernels_best(), LRT_ACT_RELU, 0, 0, &x, NULL, 1) == LRT_E_ARGUMENT);
    CHECK(lrt_activate(lrt_kernels_best(), LRT_ACT_RELU, 0, 0, &x, &y, 1) == LRT_OK && y == 1);
}

/* ---- what there is to test ------------------------------------------------------------------------- */

static void check_file(const char *folder, const char *name)
{
    char path[512];
    lrt_model m;
    walled blob;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    check_context = name;
    if (!model_from_file(&m, &blob, path))
        return;
    blob_errors(&blob);
    checksum_errors(&m, &blob);
    session_errors(&m);
    call_errors(&m);
    check_model(&m);
    walled_free(&blob);
}

static int is_model(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 4 && strcmp(d->d_name + n - 4, ".lrt") == 0;
}

static void check_folder(const char *folder)
{
    struct dirent **names = NULL;
    int n = scandir(folder, &names, is_model, alphasort);
    check_context = folder;
    CHECK(n > 20);
    for (int i = 0; i < n; i++) {
        check_file(folder, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    too_large(folder);
}

static void check_layer(const layer_spec *spec, uint32_t batch, uint32_t steps, int with_lengths)
{
    const uint32_t all[LRT_MAX_AXES] = {steps};
    size_t size;
    unsigned char *bytes = layer_blob(spec, &size);
    lrt_model m;
    walled blob;
    check_context = spec->what;
    if (model_from_bytes(&m, &blob, bytes, size))
        check_tables(&m, batch, all, with_lengths);
    walled_free(&blob);
    free(bytes);
}

/* Few rows and many units: here lanes share the panels of a layer and meet at every step. */
static void check_wide_layers(void)
{
    static const layer_spec specs[] = {
        {"wide lstm", LRT_OP_LSTM, 3, 100, 0, 0, 0},
        {"wide lstm, masked", LRT_OP_LSTM, 3, 100, 0, 0, 1},
        {"wide lstm, projection", LRT_OP_LSTM, 3, 128, 70, 0, 1},
        {"wide lstm, both directions", LRT_OP_LSTM, 3, 109, 0, LRT_BIDIRECTIONAL, 1},
        {"wide gru", LRT_OP_GRU, 3, 128, 0, LRT_RESET_AFTER, 1},
        {"wide gru, reset before", LRT_OP_GRU, 3, 127, 0, LRT_ZERO_MASKED, 1},
        {"wide rnn, reverse", LRT_OP_RNN, 3, 190, 0, LRT_REVERSE, 1},
    };
#ifdef CHECK_SLOW
    skip_portable = 1;
#endif
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        check_layer(&specs[i], 3, 9, 0);
        check_layer(&specs[i], 3, 9, 1);
    }
    /* Few rows in sessions for many project more steps at once: the scratch must have room. */
    check_layer(&specs[3], 1, 60, 0);
    check_layer(&specs[3], 8, 60, 0);
    skip_portable = 0;
}

/* Every way in which units can fill panels. */
static void check_all_sizes(void)
{
    static const uint32_t ops[] = {LRT_OP_LSTM, LRT_OP_GRU, LRT_OP_RNN};
    for (uint32_t hidden = 1; hidden <= 34; hidden++) {
        for (unsigned i = 0; i < 3; i++) {
            layer_spec s = {"a layer of 1 to 34 units", ops[i], 1 + hidden % 5, hidden, 0, 0, 0};
            check_layer(&s, 2, 3, 0);
        }
        if (hidden % 3 == 0) {
            layer_spec s = {"reset before, 3 to 33 units", LRT_OP_GRU, 2, hidden, 0, LRT_BIDIRECTIONAL, 0};
            check_layer(&s, 3, 2, 0);
        } else {
            layer_spec s = {"projections to 1 to 34 units", LRT_OP_LSTM, 2, 35 - hidden, hidden, LRT_REVERSE, 0};
            check_layer(&s, 3, 2, 0);
        }
    }
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

static void check_stops(void)
{
    static const layer_spec specs[] = {
        {"stopped lstm", LRT_OP_LSTM, 3, 128, 0, 0, 0},
        {"stopped lstm, wide input", LRT_OP_LSTM, 20, 109, 0, LRT_REVERSE, 0},
        {"stopped lstm, projection", LRT_OP_LSTM, 3, 128, 70, LRT_BIDIRECTIONAL, 1},
        {"stopped gru, reset before", LRT_OP_GRU, 3, 127, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
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
        }
        walled_free(&blob);
        free(bytes);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: core_test folder-with-lrt-files\n");
        return 2;
    }
    check_texts_and_tables();
    check_folder(argv[1]);
    check_wide_layers();
    check_all_sizes();
    check_stops();
    printf("core_test: results %016llx\n", (unsigned long long)results);
    printf("core_test: %lu checks, %lu failed\n", check_count, check_failures);
    return check_failures > 0;
}
