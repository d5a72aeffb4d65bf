/* Sessions: what their limits may be, and that they do not matter. */
#include "helpers/blobs.h"
#include "suites.h"

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

void limits_do_not_matter(const test_case *want, const lrt_kernels *k)
{
    static const uint32_t few[LRT_MAX_AXES] = {1}, three[LRT_MAX_AXES] = {3};
    static const uint32_t many[LRT_MAX_AXES] = {60, 60, 60, 60, 60, 60, 60, 60};
    expect_same(want, k, want->batch, want->steps, 1);
    expect_same(want, k, 31, many, 1);
    expect_same(want, k, 100, want->steps, 2); /* two lanes' worth, and two lanes */
    expect_same(want, k, want->batch, want->steps, 3);
    if (lrt_model_is_causal(want->m)) {
        expect_same(want, k, want->batch, few, 1);
        expect_same(want, k, 59, three, 3);
    }
}

static int init_with(const lrt_model *m, const lrt_kernels *k, const lrt_limits *l, unsigned char *memory, size_t size)
{
    lrt_session *s = NULL;
    int e = lrt_session_init(&s, m, k, l, memory, size);
    CHECK(e == LRT_OK || s == NULL); /* outputs are left alone on error */
    return e;
}

void session_errors(const lrt_model *m)
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

/* A session whose buffers must hold what axes of axes come to, with rules at their ends: none is smaller than it has to
 * be because a number has gone around. */
static void extreme_axes(uint32_t cap, int causal)
{
    static const uint32_t batches[] = {1, 1u << 24, UINT32_MAX}, steps[] = {0, 1, 1000, 0x7fffffffu, UINT32_MAX};
    size_t size;
    unsigned char *bytes, memory[1];
    lrt_model m;
    walled blob;
    graph g;
    uint32_t x;
    graph_begin(&g, 3);
    graph_axis(&g);
    graph_derived(&g, 0, LRT_MAX_SIZE, 0, 1, LRT_NO_CAP);
    graph_derived(&g, 1, LRT_MAX_SIZE, 0, 1, cap);
    x = graph_input(&g, LRT_SEQ, 2, 0);
    for (uint32_t axis = 1; axis <= 2; axis++) {
        x = graph_op(&g, LRT_OP_REPEAT, x, LRT_SEQ, 2, axis);
        graph_attr(&g, 0, LRT_MAX_SIZE);
    }
    graph_output(&g, graph_op(&g, causal ? LRT_OP_ACTIVATION : LRT_OP_REVERSE, x, LRT_SEQ, 2, 2));
    bytes = graph_bytes(&g, &size);
    check_context = "axes at their ends";
    if (model_from_bytes(&m, &blob, bytes, size)) {
        CHECK(lrt_model_is_causal(&m) == causal);
        for (unsigned b = 0; b < 3; b++)
            for (unsigned s = 0; s < 5; s++) {
                const lrt_limits l = {batches[b], 1, {steps[s]}};
                const uint64_t one = causal ? 1 : steps[s], most = one * LRT_MAX_SIZE < cap ? one * LRT_MAX_SIZE : cap;
                lrt_session *made;
                size = lrt_session_size(&m, &l);
                CHECK(size == 0 || size / 8 >= (size_t)most * l.batch); /* of two floats each */
                CHECK(lrt_session_init(&made, &m, lrt_kernels_best(), &l, memory, 1) ==
                      (size ? LRT_E_MEMORY : LRT_E_TOO_LARGE));
            }
    }
    walled_free(&blob);
    free(bytes);
    graph_free(&g);
}

void test_sessions(const char *folder)
{
    too_large(folder);
    for (int causal = 0; causal < 2; causal++) {
        extreme_axes(LRT_NO_CAP, causal);
        extreme_axes(0x7ffffffe, causal);
        extreme_axes(0, causal);
    }
}
