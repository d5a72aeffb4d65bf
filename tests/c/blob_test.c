/* Blobs: cut, moved, and with bytes changed. */
#include "suites.h"

/* Cut anywhere or moved by a byte, a blob does not open; the walls behind a cut show reads past it. */
void blob_errors(const walled *blob)
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

void checksum_errors(const lrt_model *m, const walled *blob)
{
    CHECK(lrt_model_check(m) == LRT_OK);
    for (size_t i = 0; i < blob->size; i += 37) {
        blob->data[i] ^= 4;
        CHECK(lrt_model_check(m) == LRT_E_CHECKSUM);
        blob->data[i] ^= 4;
    }
}

/* ---- steps of derived axes ------------------------------------------------------------------------------- */

/* Axis 1 is derived from axis 0, which has n steps: how many has it? -1: too many. */
static int64_t steps_by(graph *g, uint32_t n)
{
    uint32_t steps[LRT_MAX_AXES] = {n, 12345};
    size_t size;
    unsigned char *bytes = graph_bytes(g, &size);
    lrt_model m;
    walled blob;
    int64_t result = -2;
    if (model_from_bytes(&m, &blob, bytes, size))
        result = lrt_model_steps(&m, steps) ? (int64_t)steps[1] : -1;
    CHECK(steps[0] == n);
    walled_free(&blob);
    free(bytes);
    return result;
}

static void steps_follow(void)
{
    static const struct {
        uint32_t mul, div, cap, n;
        int32_t add;
        int64_t steps;
    } rules[] = {
        {1, 1, LRT_NO_CAP, 0, 0, 0},
        {1, 2, LRT_NO_CAP, 9, 1, 5},
        {1, 2, LRT_NO_CAP, 9, 0, 4},
        {1, 2, 3, 9, 1, 3},
        {1, 2, 0, 9, 1, 0},
        {1, 3, LRT_NO_CAP, 2, -3, 0},  /* below 0 */
        {1, 3, LRT_NO_CAP, 2, -2, 0},
        {1, 3, LRT_NO_CAP, 2, 1, 1},
        {0, 7, LRT_NO_CAP, 99, 22, 3}, /* whatever the parent has */
        {3, 4, LRT_NO_CAP, 5, 1, 4},
        {1, 1, LRT_NO_CAP, 0x7fffffff, 0, 0x7fffffff},
        {1, 1, LRT_NO_CAP, 0x7fffffff, 1, -1},
        {1, 1, LRT_NO_CAP, 0x80000000, -5, -1}, /* the parent has too many */
        {1, 1, 5, 0x80000000, 0, -1},
        {1, 1, 5, UINT32_MAX, 0, -1},
        {0x7fffffff, 0x7fffffff, LRT_NO_CAP, 0x7fffffff, 0, 0x7fffffff},
        {0x7fffffff, 0x7fffffff, LRT_NO_CAP, 0x7fffffff, INT32_MAX, -1},
        {0x7fffffff, 0x7fffffff, LRT_NO_CAP, 0x7fffffff, INT32_MIN, 0x7ffffffd},
        {0x7fffffff, 1, LRT_NO_CAP, 2, 0, -1},
        {0x7fffffff, 1, LRT_NO_CAP, 0x7fffffff, INT32_MAX, -1},
        {0x7fffffff, 1, 0x7ffffffe, 0x7fffffff, INT32_MAX, 0x7ffffffe},
        {0x7fffffff, 1, LRT_NO_CAP, 1, 0, 0x7fffffff},
        {1, 0x7fffffff, LRT_NO_CAP, 0x7fffffff, -1, 0},
        {1, 0x7fffffff, LRT_NO_CAP, 0x7fffffff, 0, 1},
        {1, 1, LRT_NO_CAP, 0, INT32_MIN, 0},
        {1, 1, LRT_NO_CAP, 0, INT32_MAX, 0x7fffffff},
    };
    check_context = "steps of derived axes";
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        graph g;
        graph_begin(&g, 3);
        graph_axis(&g);
        graph_derived(&g, 0, rules[i].mul, rules[i].add, rules[i].div, rules[i].cap);
        graph_output(&g, graph_op(&g, LRT_OP_REVERSE, graph_input(&g, LRT_SEQ, 1, 0), LRT_SEQ, 1, 0));
        CHECK(steps_by(&g, rules[i].n) == rules[i].steps);
        graph_free(&g);
    }
}

static void ports_say_what_they_are(void)
{
    lrt_model m;
    walled blob;
    size_t size;
    unsigned char *bytes;
    lrt_io io;
    graph g;
    graph_begin(&g, 3);
    graph_axis(&g);
    graph_output(&g, graph_op(&g, LRT_OP_SELECT, graph_input(&g, LRT_SEQ, 6, 0), LRT_VEC, 6, 0));
    g.values[0].order = LRT_TIME_FIRST;
    g.values[1].order = LRT_GROUPS_FIRST;
    g.values[1].groups = 3;
    bytes = graph_bytes(&g, &size);
    check_context = "ports";
    if (model_from_bytes(&m, &blob, bytes, size)) {
        io = lrt_model_input(&m, 0);
        CHECK(io.kind == LRT_SEQ && io.size == 6 && io.axis == 0 && io.order == LRT_TIME_FIRST && io.groups == 0);
        io = lrt_model_output(&m, 0);
        CHECK(io.kind == LRT_VEC && io.size == 6 && io.axis == LRT_MAX_AXES);
        CHECK(io.order == LRT_GROUPS_FIRST && io.groups == 3 && io.name_size == 0);
    }
    walled_free(&blob);
    free(bytes);
    graph_free(&g);
}

/* Of shaped ports a caller gets the dims that the source's arrays have. */
static void shaped_ports(void)
{
    static const int32_t dims[4] = {2, LRT_DIM_STEPS, LRT_DIM_BATCH, 3}, none[1] = {1};
    lrt_model m;
    walled blob;
    size_t size;
    unsigned char *bytes;
    lrt_io io;
    graph g;
    graph_begin(&g, 4);
    graph_axis(&g);
    graph_output(&g, graph_op(&g, LRT_OP_REVERSE, graph_input(&g, LRT_SEQ, 6, 0), LRT_SEQ, 6, 0));
    g.values[0].order = LRT_SHAPED;
    g.values[0].groups = graph_integers(&g, 4, dims);
    bytes = graph_bytes(&g, &size);
    check_context = "shaped ports";
    if (model_from_bytes(&m, &blob, bytes, size)) {
        io = lrt_model_input(&m, 0);
        CHECK(io.order == LRT_SHAPED && io.groups == 0 && io.n_dims == 4);
        CHECK(memcmp(io.dims, dims, sizeof dims) == 0);
        io = lrt_model_output(&m, 0);
        CHECK(io.order == LRT_BATCH_FIRST && io.n_dims == 0 && io.dims == NULL);
    }
    walled_free(&blob);
    free(bytes);
    check_graph(&g, "shaped"); /* in the order of the core; frees it */
    graph_begin(&g, 4);
    graph_output(&g, graph_op(&g, LRT_OP_SLICE, graph_input(&g, LRT_VEC, 1, 0), LRT_VEC, 1, 0));
    graph_attr(&g, 1, 1);
    for (int i = 0; i < 2; i++) {
        g.values[i].order = LRT_SHAPED;
        g.values[i].groups = graph_integers(&g, (uint32_t)i, none);
    }
    bytes = graph_bytes(&g, &size);
    CHECK(model_from_bytes(&m, &blob, bytes, size)); /* neither has a batch */
    CHECK(lrt_model_input(&m, 0).n_dims == 0);
    walled_free(&blob);
    free(bytes);
    graph_free(&g);
}

void test_blobs(void)
{
    steps_follow();
    ports_say_what_they_are();
    shaped_ports();
}
