/* The table of ops, and what their checks are made of. */
#include "helpers/blobs.h"
#include "ops/lrt_ops.h"
#include "suites.h"

void test_op_table(void)
{
    uint32_t count = 0;
    check_context = "the table of ops";
    for (uint32_t code = 0; code < 100; code++) {
        const lrt_op *op = lrt_find_op(code);
        CHECK((op != NULL) == (lrt_op_name(code) != NULL));
        if (!op)
            continue;
        count++;
        CHECK(op->code == code && op->check);
        CHECK((op->run != NULL) != (op->each != NULL)); /* one way to run */
        CHECK(op->since <= LRT_FORMAT_VERSION);
        CHECK(!op->is_shared || op->work);
        for (uint32_t other = 1; other < code; other++)
            CHECK(lrt_find_op(other) != op && (!lrt_op_name(other) || strcmp(lrt_op_name(other), lrt_op_name(code)) != 0));
    }
#define ONE(op, name, value) +1u
    CHECK(count == 0u LRT_OP_LIST(ONE));
#undef ONE
}

/* A node of every kind of input, over a model of x: seq, v: vec, w: a node's seq. */
static void begin(graph *g)
{
    uint32_t x;
    graph_begin(g, 1);
    graph_axis(g);
    x = graph_input(g, LRT_SEQ, 6, 0);
    graph_input(g, LRT_VEC, 6, 0);
    graph_output(g, graph_op(g, LRT_OP_ACTIVATION, x, LRT_SEQ, 6, 0));
    graph_tensor(g, LRT_PANELS, 2, 6, 3);
    graph_tensor(g, LRT_PLAIN, 0, 0, 0);
    g->nodes[0].n_tensors = 0; /* they are the file's, no node's */
}

static void want_inputs(lrt_checker *c)
{
    lrt_value v;
    CHECK(lrt_want_counts(c, 1, 1, 0) == LRT_OK && lrt_want_counts(c, 2, 1, 0) == LRT_E_NODE_INPUT);
    CHECK(lrt_want_counts(c, 1, 2, 0) == LRT_E_NODE_OUTPUT && lrt_want_counts(c, 1, 1, 1) == LRT_E_NODE_TENSOR);
    CHECK(lrt_want_input(c, 0, LRT_FEATURES, &v) == LRT_OK && v.size == 6 && v.axis == 0);
    CHECK(lrt_want_input(c, 0, LRT_KIND(LRT_VEC), &v) == LRT_E_NODE_INPUT);
    CHECK(lrt_want_input(c, 1, LRT_FEATURES, &v) == LRT_E_NODE_INPUT); /* beyond what it has */
    CHECK(lrt_want_input_like(c, 0, LRT_FEATURES, 6, 0) == LRT_OK);
    CHECK(lrt_want_input_like(c, 0, LRT_FEATURES, 5, 0) == LRT_E_NODE_INPUT);
    CHECK(lrt_want_input_like(c, 0, LRT_FEATURES, 6, 1) == LRT_E_NODE_INPUT);
    CHECK(!lrt_is_absent(c, 0) && lrt_is_absent(c, 1));
    c->n.in[0] = 1;
    CHECK(lrt_want_input_like(c, 0, LRT_FEATURES, 6, LRT_MAX_AXES) == LRT_OK);
    c->n.in[0] = 2; /* it comes to be later */
    CHECK(lrt_want_input(c, 0, LRT_FEATURES, &v) == LRT_E_NODE_INPUT);
    c->n.in[0] = LRT_NONE;
    CHECK(lrt_want_input(c, 0, LRT_FEATURES, &v) == LRT_E_NODE_INPUT && lrt_is_absent(c, 0));
}

static void want_outputs(lrt_checker *c)
{
    CHECK(lrt_want_output(c, 1, LRT_SEQ, 6, 0) == LRT_E_NODE_OUTPUT);
    CHECK(lrt_want_output(c, 0, LRT_VEC, 6, 0) == LRT_E_NODE_OUTPUT);
    CHECK(lrt_want_output(c, 0, LRT_SEQ, 7, 0) == LRT_E_NODE_OUTPUT);
    CHECK(lrt_want_output(c, 0, LRT_SEQ, 6, 1) == LRT_E_NODE_OUTPUT);
    CHECK(c->next == 2);
    CHECK(lrt_want_output(c, 0, LRT_SEQ, 6, 0) == LRT_OK && c->next == 3);
    CHECK(lrt_want_output(c, 0, LRT_SEQ, 6, 0) == LRT_E_NODE_OUTPUT); /* twice */
}

static void want_tensors(lrt_checker *c)
{
    lrt_tensor t;
    c->n.tensor[0] = 0;
    CHECK(lrt_want_tensor(c, 0, &t) == LRT_OK && t.gates == 2 && t.units == 6 && t.k == 3);
    CHECK(lrt_want_weight(c, 0, LRT_PANELS, 2, 6, 3) == LRT_OK);
    CHECK(lrt_want_optional_weight(c, 0, LRT_PANELS, 2, 6, 3) == LRT_OK);
    CHECK(lrt_want_weight(c, 0, LRT_PLAIN, 2, 6, 3) == LRT_E_NODE_TENSOR);
    CHECK(lrt_want_weight(c, 0, LRT_PANELS, 1, 6, 3) == LRT_E_NODE_TENSOR);
    CHECK(lrt_want_weight(c, 0, LRT_PANELS, 2, 5, 3) == LRT_E_NODE_TENSOR);
    CHECK(lrt_want_optional_weight(c, 0, LRT_PANELS, 2, 6, 4) == LRT_E_NODE_TENSOR);
    CHECK(lrt_want_no_weight(c, 0) == LRT_E_NODE_TENSOR);
    c->n.tensor[0] = 1; /* there is none of that number */
    CHECK(lrt_want_tensor(c, 0, &t) == LRT_E_NODE_TENSOR);
    c->n.tensor[0] = LRT_NONE;
    CHECK(lrt_want_no_weight(c, 0) == LRT_OK && lrt_want_optional_weight(c, 0, LRT_PANELS, 2, 6, 3) == LRT_OK);
    CHECK(lrt_want_weight(c, 0, LRT_PANELS, 2, 6, 3) == LRT_E_NODE_TENSOR);
}

static void want_attributes(lrt_checker *c)
{
    static const uint32_t infinite = 0x7f800000u, nan = 0xffc00000u, minus_zero = 0x80000000u, minus_one = 0xbf800000u;
    c->n.attr[0] = infinite;
    CHECK(lrt_want_finite(c, 0) == LRT_E_NODE_ATTR && lrt_want_not_negative(c, 0) == LRT_E_NODE_ATTR);
    c->n.attr[0] = nan;
    CHECK(lrt_want_finite(c, 0) == LRT_E_NODE_ATTR && lrt_want_not_negative(c, 0) == LRT_E_NODE_ATTR);
    c->n.attr[0] = minus_one;
    CHECK(lrt_want_finite(c, 0) == LRT_OK && lrt_want_not_negative(c, 0) == LRT_E_NODE_ATTR);
    c->n.attr[0] = minus_zero;
    CHECK(lrt_want_not_negative(c, 0) == LRT_OK);
    c->n.attr[0] = LRT_ACT_TANH;
    CHECK(lrt_want_act(c, 0) == LRT_OK);
    c->n.attr[0] = lrt_version(c->m) >= LRT_VERSION_ROWS ? LRT_ACT_COUNT : LRT_ACT_EXP;
    CHECK(lrt_want_act(c, 0) == LRT_E_NODE_ATTR);
    c->n.attr[0] = LRT_ACT_TANH;
    c->n.attr[2] = nan;
    CHECK(lrt_want_act(c, 0) == LRT_E_NODE_ATTR);
}

void test_op_checks(void)
{
    size_t size;
    unsigned char *bytes;
    lrt_model m;
    walled blob;
    lrt_checker c;
    graph g;
    begin(&g);
    bytes = graph_bytes(&g, &size);
    check_context = "checks of ops";
    if (model_from_bytes(&m, &blob, bytes, size)) {
        c.m = &m;
        c.n = g.nodes[0];
        c.next = 2;
        want_inputs(&c);
        want_outputs(&c);
        want_tensors(&c);
        want_attributes(&c);
    }
    walled_free(&blob);
    free(bytes);
    graph_free(&g);
}
