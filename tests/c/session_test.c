/* Sessions: what their limits may be, and that they do not matter. */
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

void test_sessions(const char *folder) { too_large(folder); }
