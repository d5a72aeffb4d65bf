/* What a file may say: versions, axes, orders of ports, rules of the ops along time. Files that break one rule each
 * are in ../blobs; here are those of version 3, from graphs. */
#include "helpers/blobs.h"
#include "suites.h"

/* The error with which the graph's bytes open. */
static int error_of(graph *g)
{
    size_t size;
    unsigned char *bytes = graph_bytes(g, &size);
    walled blob = walled_new(size);
    lrt_model m;
    int e;
    memcpy(blob.data, bytes, size);
    e = lrt_model_open(&m, blob.data, size);
    walled_free(&blob);
    free(bytes);
    return e;
}

/* x on axis 0 -> take every second -> y on axis 1; x -> select -> v. Value 0 is x, 1 is y, 2 is v. */
static void begin(graph *g)
{
    uint32_t x, y;
    graph_begin(g, 3);
    graph_axis(g);
    graph_derived(g, 0, 1, 1, 2, LRT_NO_CAP);
    x = graph_input(g, LRT_SEQ, 6, 0);
    y = graph_op(g, LRT_OP_TAKE, x, LRT_SEQ, 6, 1);
    graph_attr(g, 1, 2);
    graph_output(g, y);
    graph_output(g, graph_op(g, LRT_OP_SELECT, x, LRT_VEC, 6, 0));
    graph_attr(g, 0, 1);
}

/* Changes one number of the graph, and puts back what was there. */
static void expect(graph *g, uint32_t *field, uint32_t value, int error)
{
    const uint32_t old = *field;
    *field = value;
    CHECK(error_of(g) == error);
    *field = old;
}

static void versions(void)
{
    graph g;
    begin(&g);
    check_context = "versions";
    CHECK(error_of(&g) == LRT_OK);
    expect(&g, &g.version, 0, LRT_E_VERSION);
    expect(&g, &g.version, LRT_FORMAT_VERSION + 1, LRT_E_VERSION);
    expect(&g, &g.version, 2, LRT_E_OP); /* which knows no take, and all of whose axes inputs bring */
    expect(&g, &g.nodes[0].op, LRT_OP_NONE, LRT_E_OP);
    expect(&g, &g.nodes[0].op, LRT_OP_REPEAT + 1, LRT_E_OP);
    graph_free(&g);
}

static void axes(void)
{
    static const int32_t adds[] = {INT32_MIN, -1, 0, 1, INT32_MAX};
    graph g;
    lrt_axis *root = &g.axes[0], *derived = &g.axes[1], *idle = &g.axes[2];
    begin(&g);
    graph_derived(&g, 1, 3, 0, 4, 9);
    check_context = "axes";
    CHECK(error_of(&g) == LRT_OK);
    expect(&g, &root->mul, 2, LRT_E_AXIS);
    expect(&g, &root->div, 2, LRT_E_AXIS);
    expect(&g, &root->div, 0, LRT_E_AXIS);
    expect(&g, &root->cap, 5, LRT_E_AXIS);
    expect(&g, &root->parent, 0, LRT_E_AXIS);
    root->add = 1;
    CHECK(error_of(&g) == LRT_E_AXIS);
    root->add = 0;
    expect(&g, &root->mul, 0, LRT_E_INTERFACE); /* no input is on an axis that is derived from none */
    expect(&g, &derived->parent, 1, LRT_E_AXIS);
    expect(&g, &derived->parent, 2, LRT_E_AXIS);
    expect(&g, &derived->parent, LRT_NONE, LRT_E_AXIS); /* div is not 1 */
    expect(&g, &idle->parent, 7, LRT_E_AXIS);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t *fields[] = {&idle->mul, &idle->div, &idle->cap};
        expect(&g, fields[i], 0, i == 1 ? LRT_E_AXIS : LRT_OK);
        expect(&g, fields[i], 0x7fffffffu, LRT_OK);
        expect(&g, fields[i], 0x80000000u, LRT_E_AXIS);
        expect(&g, fields[i], UINT32_MAX, LRT_E_AXIS);
    }
    for (unsigned i = 0; i < 5; i++) {
        idle->add = adds[i];
        CHECK(error_of(&g) == LRT_OK);
    }
    graph_free(&g);
}

static void orders(void)
{
    graph g;
    lrt_value *x = &g.values[0], *v = &g.values[2];
    begin(&g);
    check_context = "orders";
    for (uint32_t order = 0; order < 6; order++) {
        x->order = (lrt_order)order;
        CHECK(error_of(&g) == (order <= LRT_TIME_FIRST   ? LRT_OK
                               : order == LRT_UNBATCHED ? LRT_E_INTERFACE : LRT_E_VALUE));
        x->order = LRT_BATCH_FIRST;
        v->order = (lrt_order)order;
        v->groups = order == LRT_GROUPS_FIRST;
        CHECK(error_of(&g) == (order == LRT_UNBATCHED ? LRT_E_INTERFACE
                               : order == LRT_BATCH_FIRST || order == LRT_GROUPS_FIRST ? LRT_OK : LRT_E_VALUE));
        v->order = LRT_BATCH_FIRST;
        v->groups = 0;
    }
    expect(&g, &x->groups, 2, LRT_E_VALUE);
    expect(&g, &v->groups, 2, LRT_E_VALUE);
    v->order = LRT_GROUPS_FIRST;
    for (uint32_t groups = 0; groups < 8; groups++)
        expect(&g, &v->groups, groups, groups && 6 % groups == 0 ? LRT_OK : LRT_E_VALUE);
    for (uint32_t i = 0; i < 3; i++)
        g.values[i].order = LRT_UNBATCHED;
    CHECK(error_of(&g) == LRT_OK);
    expect(&g, &v->groups, 3, LRT_OK);
    expect(&g, &v->groups, 4, LRT_E_VALUE);
    expect(&g, &x->groups, 3, LRT_E_VALUE);
    expect(&g, &g.n_outputs, 1, LRT_E_INTERFACE); /* v is no port then */
    graph_free(&g);
}

/* Before version 3 there is nothing to say it with. */
static void orders_of_old_versions(void)
{
    graph g;
    graph_begin(&g, 2);
    graph_axis(&g);
    graph_output(&g, graph_op(&g, LRT_OP_REVERSE, graph_input(&g, LRT_SEQ, 6, 0), LRT_SEQ, 6, 0));
    check_context = "orders before version 3";
    for (g.version = 1; g.version <= 2; g.version++) {
        CHECK(error_of(&g) == LRT_OK);
        expect(&g, &g.values[0].groups, 1, LRT_E_VALUE);
        g.values[0].order = LRT_TIME_FIRST;
        CHECK(error_of(&g) == LRT_E_VALUE);
        g.values[0].order = LRT_BATCH_FIRST;
    }
    graph_free(&g);
}

/* Inputs of every kind: the orders that they may have, and the axes. */
static void inputs(void)
{
    graph g;
    lrt_value *ids, *lengths;
    begin(&g);
    graph_free(&g);
    graph_begin(&g, 3);
    graph_axis(&g);
    graph_derived(&g, 0, 2, 0, 1, LRT_NO_CAP);
    ids = &g.values[graph_input(&g, LRT_IDS, 0, 0)];
    lengths = &g.values[graph_input(&g, LRT_LENGTHS, 0, 0)];
    graph_output(&g, graph_op(&g, LRT_OP_EMBEDDING, 0, LRT_SEQ, 4, 0));
    graph_tensor(&g, LRT_PLAIN, 1, 9, 4);
    check_context = "inputs";
    CHECK(error_of(&g) == LRT_OK);
    expect(&g, &ids->axis, 1, LRT_E_INTERFACE);
    expect(&g, &lengths->axis, 1, LRT_E_INTERFACE);
    expect(&g, &lengths->axis, 2, LRT_E_VALUE);
    ids->order = LRT_TIME_FIRST;
    CHECK(error_of(&g) == LRT_OK);
    ids->order = LRT_GROUPS_FIRST;
    CHECK(error_of(&g) == LRT_E_VALUE);
    ids->order = LRT_BATCH_FIRST;
    lengths->order = LRT_TIME_FIRST;
    CHECK(error_of(&g) == LRT_E_VALUE);
    lengths->order = LRT_UNBATCHED;
    CHECK(error_of(&g) == LRT_E_INTERFACE);
    ids->order = g.values[2].order = LRT_UNBATCHED;
    CHECK(error_of(&g) == LRT_OK);
    graph_free(&g);
}

static void rules_of_take(void)
{
    graph g;
    lrt_node *take = &g.nodes[0];
    begin(&g);
    check_context = "rules of take";
    expect(&g, &take->attr[0], 1, LRT_E_NODE_OUTPUT); /* the axis has too many steps then */
    expect(&g, &take->attr[0], 0x40000000u, LRT_E_NODE_ATTR);
    expect(&g, &take->attr[0], UINT32_MAX, LRT_E_NODE_ATTR);
    expect(&g, &take->attr[1], 0, LRT_E_NODE_ATTR);
    expect(&g, &take->attr[1], 3, LRT_E_NODE_OUTPUT);
    expect(&g, &take->attr[1], 0x40000000u, LRT_E_NODE_ATTR);
    expect(&g, &g.axes[1].mul, 2, LRT_E_NODE_OUTPUT);
    expect(&g, &g.axes[1].div, 3, LRT_E_NODE_OUTPUT);
    expect(&g, &g.axes[1].cap, 0, LRT_OK);
    expect(&g, &g.values[1].axis, 0, LRT_E_NODE_OUTPUT);
    expect(&g, &g.values[1].size, 5, LRT_E_NODE_OUTPUT);
    expect(&g, &take->n_in, 2, LRT_E_NODE_INPUT);
    for (int32_t add = -3; add < 4; add++) {
        g.axes[1].add = add;
        CHECK(error_of(&g) == (add <= 1 ? LRT_OK : LRT_E_NODE_OUTPUT));
    }
    graph_free(&g);
    graph_begin(&g, 3); /* the longest strides and latest starts */
    graph_axis(&g);
    graph_derived(&g, 0, 1, 0, 0x3fffffffu, LRT_NO_CAP);
    graph_output(&g, graph_op(&g, LRT_OP_TAKE, graph_input(&g, LRT_SEQ, 2, 0), LRT_SEQ, 2, 1));
    graph_attr(&g, 0, 0x3fffffffu);
    graph_attr(&g, 1, 0x3fffffffu);
    g.axes[1].add = -1;
    CHECK(error_of(&g) == LRT_OK);
    g.axes[1].add = 0;
    CHECK(error_of(&g) == LRT_E_NODE_OUTPUT);
    graph_free(&g);
}

static void rules_of_repeat(void)
{
    graph g;
    lrt_axis *axis = &g.axes[1];
    lrt_node *n = &g.nodes[0];
    graph_begin(&g, 3);
    graph_axis(&g);
    graph_derived(&g, 0, 5, 0, 1, LRT_NO_CAP);
    graph_output(&g, graph_op(&g, LRT_OP_REPEAT, graph_input(&g, LRT_SEQ, 2, 0), LRT_SEQ, 2, 1));
    graph_attr(&g, 0, 5);
    check_context = "rules of repeat";
    CHECK(error_of(&g) == LRT_OK);
    expect(&g, &n->attr[0], 4, LRT_E_NODE_OUTPUT);
    expect(&g, &n->attr[0], 0, LRT_E_NODE_ATTR);
    expect(&g, &n->attr[0], LRT_MAX_SIZE + 1, LRT_E_NODE_ATTR);
    expect(&g, &axis->div, 2, LRT_E_NODE_OUTPUT);
    expect(&g, &axis->cap, 3, LRT_OK);
    expect(&g, &g.values[1].axis, 0, LRT_E_NODE_OUTPUT);
    axis->add = 1;
    CHECK(error_of(&g) == LRT_E_NODE_OUTPUT);
    axis->add = 0;
    g.values[0].kind = LRT_VEC; /* then any axis will do, and no number of times */
    CHECK(error_of(&g) == LRT_E_NODE_ATTR);
    expect(&g, &n->attr[0], 0, LRT_OK);
    n->attr[0] = 0;
    expect(&g, &g.values[1].axis, 0, LRT_OK);
    expect(&g, &axis->div, 2, LRT_OK);
    graph_free(&g);
}

/* Which graphs run in chunks, and which are endless streams; the op of the first node that hinders that. */
static void expect_flags(graph *g, int causal, int streams, const char *obstacle)
{
    size_t size;
    unsigned char *bytes = graph_bytes(g, &size);
    lrt_model m;
    walled blob;
    if (model_from_bytes(&m, &blob, bytes, size)) {
        uint32_t node = LRT_NONE;
        const char *op = lrt_stream_obstacle(&m, &node);
        CHECK(lrt_model_is_causal(&m) == causal);
        CHECK(lrt_model_streams(&m) == streams);
        CHECK(obstacle ? op && strcmp(op, obstacle) == 0 : !op && node == LRT_NONE);
        CHECK(!op || strcmp(op, lrt_op_name(g->nodes[node].op)) == 0);
        CHECK(lrt_stream_obstacle(&m, NULL) == NULL);
    }
    walled_free(&blob);
    free(bytes);
}

static void flags(void)
{
    graph g;
    lrt_axis *a = &g.axes[1];
    check_context = "chunks and streams";
    begin(&g);
    expect_flags(&g, 1, 0, NULL); /* every second step: which, depends on those before */
    g.nodes[1].attr[0] = 0;
    expect_flags(&g, 1, 0, "select");
    a->add = 0;
    expect_flags(&g, 0, 0, "take"); /* the last step may be dropped, and only the end tells */
    a->add = 1;
    graph_derived(&g, LRT_NONE, 1, 0, 1, LRT_NO_CAP);
    expect_flags(&g, 0, 0, "select"); /* two axes of inputs, too */
    g.nodes[1].attr[0] = 1;
    expect_flags(&g, 0, 0, NULL); /* they alone */
    graph_free(&g);
    graph_begin(&g, 3);
    graph_axis(&g);
    graph_derived(&g, 0, 3, 0, 1, LRT_NO_CAP);
    graph_output(&g, graph_op(&g, LRT_OP_REPEAT, graph_input(&g, LRT_SEQ, 2, 0), LRT_SEQ, 2, 1));
    graph_attr(&g, 0, 3);
    expect_flags(&g, 1, 1, NULL);
    a->cap = 1000;
    expect_flags(&g, 1, 0, NULL);
    graph_free(&g);
    graph_begin(&g, 3); /* the axis of the inputs is not the first */
    graph_derived(&g, LRT_NONE, 0, 4, 1, LRT_NO_CAP);
    graph_axis(&g);
    graph_output(&g, graph_op(&g, LRT_OP_SELECT, graph_input(&g, LRT_SEQ, 2, 1), LRT_VEC, 2, 0));
    graph_attr(&g, 0, 0);
    expect_flags(&g, 0, 0, "select");
    graph_free(&g);
    graph_begin(&g, 3);
    graph_axis(&g);
    graph_output(&g, graph_op(&g, LRT_OP_REVERSE, graph_input(&g, LRT_SEQ, 2, 0), LRT_SEQ, 2, 0));
    expect_flags(&g, 0, 0, "reverse");
    graph_free(&g);
}

/* Steps within steps: x's three, of which take leaves the second, aligned with x again. */
static void even_axes(void)
{
    graph g;
    uint32_t x, inner, second;
    check_context = "axes that go on evenly";
    graph_begin(&g, 4);
    graph_axis(&g);
    graph_derived(&g, 0, 3, 0, 1, LRT_NO_CAP);
    graph_derived(&g, 1, 1, 0, 3, LRT_NO_CAP);
    x = graph_input(&g, LRT_SEQ, 6, 0);
    inner = graph_op(&g, LRT_OP_UNFLATTEN, x, LRT_SEQ, 2, 1);
    graph_attr(&g, 0, 3);
    second = graph_op(&g, LRT_OP_TAKE, inner, LRT_SEQ, 2, 2);
    graph_attr(&g, 0, 1);
    graph_attr(&g, 1, 3);
    graph_output(&g, graph_op(&g, LRT_OP_ALIGN, second, LRT_SEQ, 2, 0));
    expect_flags(&g, 1, 1, NULL);
    g.axes[2].add = 1; /* a rule with an end of its own is not looked through */
    expect_flags(&g, 0, 0, "align");
    g.axes[2].add = -1;
    expect_flags(&g, 0, 0, "take");
    g.axes[2].add = 0;
    g.axes[2].cap = 1000;
    expect_flags(&g, 0, 0, "take");
    graph_free(&g);
    graph_begin(&g, 4); /* twice as many steps are not those of x */
    graph_axis(&g);
    graph_derived(&g, 0, 2, 0, 1, LRT_NO_CAP);
    x = graph_input(&g, LRT_SEQ, 2, 0);
    graph_output(&g, graph_op(&g, LRT_OP_ALIGN, x, LRT_SEQ, 2, 1));
    expect_flags(&g, 0, 0, "align");
    graph_free(&g);
}

void test_models(void)
{
    versions();
    axes();
    orders();
    orders_of_old_versions();
    inputs();
    rules_of_take();
    rules_of_repeat();
    flags();
    even_axes();
}
