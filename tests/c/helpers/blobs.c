/* The bytes of graphs. */
#include "helpers/blobs.h"

#include "ops/lrt_recurrent.h"

static void put16(unsigned char *p, uint32_t v)
{
    p[0] = (unsigned char)(v & 255u);
    p[1] = (unsigned char)(v >> 8 & 255u);
}
static void put32(unsigned char *p, uint32_t v)
{
    put16(p, v & 0xffffu);
    put16(p + 2, v >> 16);
}

/* ---- graphs ------------------------------------------------------------------------------------------- */

void graph_begin(graph *g, uint32_t version)
{
    memset(g, 0, sizeof *g);
    g->version = version;
    g->seed = 77;
}

void graph_free(graph *g)
{
    for (uint32_t i = 0; i < g->n_tensors; i++)
        free(g->data[i]);
}

uint32_t graph_axis(graph *g) { return graph_derived(g, LRT_NONE, 1, 0, 1, LRT_NO_CAP); }

uint32_t graph_derived(graph *g, uint32_t parent, uint32_t mul, int32_t add, uint32_t div, uint32_t cap)
{
    lrt_axis a = {parent, mul, div, cap, add};
    if (g->n_axes == LRT_MAX_AXES)
        abort();
    g->axes[g->n_axes] = a;
    return g->n_axes++;
}

static uint32_t new_value(graph *g, lrt_kind kind, uint32_t size, uint32_t axis)
{
    lrt_value *v = &g->values[g->n_values];
    if (g->n_values == GRAPH_MOST)
        abort();
    memset(v, 0, sizeof *v);
    v->kind = kind;
    v->size = size;
    v->axis = kind == LRT_VEC ? LRT_MAX_AXES : axis;
    return g->n_values++;
}

uint32_t graph_input(graph *g, lrt_kind kind, uint32_t size, uint32_t axis)
{
    g->n_inputs++;
    return new_value(g, kind, size, axis);
}

lrt_node *graph_node(graph *g, uint32_t op, uint32_t n_in, const uint32_t *in)
{
    lrt_node *n = &g->nodes[g->n_nodes++];
    if (g->n_nodes == GRAPH_MOST)
        abort();
    memset(n, 0xff, sizeof *n); /* LRT_NONE */
    memset(n->attr, 0, sizeof n->attr);
    n->op = op;
    n->n_in = n_in;
    n->n_out = n->n_tensors = 0;
    memcpy(n->in, in, n_in * sizeof *in);
    return n;
}

static lrt_node *last_node(graph *g) { return &g->nodes[g->n_nodes - 1]; }

uint32_t graph_result(graph *g, lrt_kind kind, uint32_t size, uint32_t axis)
{
    const uint32_t value = new_value(g, kind, size, axis);
    lrt_node *n = last_node(g);
    n->out[n->n_out++] = value;
    return value;
}

uint32_t graph_op(graph *g, uint32_t op, uint32_t x, lrt_kind kind, uint32_t size, uint32_t axis)
{
    graph_node(g, op, 1, &x);
    return graph_result(g, kind, size, axis);
}

static size_t tensor_floats(const lrt_tensor *t)
{
    return (size_t)t->gates * (t->layout == LRT_PLAIN ? t->units : lrt_padded_units(t->units)) * t->k;
}

uint32_t graph_tensor(graph *g, uint32_t layout, uint32_t gates, uint32_t units, uint32_t k)
{
    lrt_tensor *t = &g->tensors[g->n_tensors];
    lrt_node *n = last_node(g);
    size_t count;
    if (gates == 0) {
        n->n_tensors++;
        return LRT_NONE;
    }
    if (g->n_tensors == GRAPH_MOST)
        abort();
    t->dtype = LRT_F32;
    t->layout = layout;
    t->gates = gates;
    t->units = units;
    t->k = k;
    count = tensor_floats(t);
    g->data[g->n_tensors] = (float *)malloc((count + 1) * sizeof(float));
    if (!g->data[g->n_tensors])
        abort();
    for (size_t i = 0; i < count; i++)
        g->data[g->n_tensors][i] = next_float(&g->seed) * 0.125f;
    n->tensor[n->n_tensors++] = g->n_tensors;
    return g->n_tensors++;
}

uint32_t graph_integers(graph *g, uint32_t count, const int32_t *numbers)
{
    lrt_tensor *t = &g->tensors[g->n_tensors];
    if (g->n_tensors == GRAPH_MOST)
        abort();
    t->dtype = LRT_I32;
    t->layout = LRT_PLAIN;
    t->gates = t->units = 1;
    t->k = count;
    g->data[g->n_tensors] = (float *)malloc((count + 1) * sizeof(float));
    if (!g->data[g->n_tensors])
        abort();
    memcpy(g->data[g->n_tensors], numbers, count * sizeof *numbers);
    return g->n_tensors++;
}

void graph_attr(graph *g, uint32_t i, uint32_t value) { last_node(g)->attr[i] = value; }
void graph_attr_float(graph *g, uint32_t i, float value) { memcpy(&last_node(g)->attr[i], &value, sizeof value); }
void graph_output(graph *g, uint32_t value) { g->outputs[g->n_outputs++] = value; }

/* ---- bytes -------------------------------------------------------------------------------------------- */

static unsigned char *put_header(const graph *g, unsigned char *p, size_t size)
{
    static const unsigned char magic[8] = {0x89, 'L', 'R', 'T', '\r', '\n', 0x1a, '\n'};
    const uint32_t counts[6] = {g->n_axes, g->n_values, g->n_nodes, g->n_tensors, g->n_inputs, g->n_outputs};
    memcpy(p, magic, sizeof magic);
    put32(p + 8, g->version);
    put32(p + 16, (uint32_t)size);
    for (unsigned i = 0; i < 6; i++)
        put32(p + 24 + 4 * i, counts[i]);
    return p + 128;
}

static unsigned char *put_value(const lrt_value *v, unsigned char *p)
{
    p[0] = (unsigned char)v->kind;
    p[1] = (unsigned char)(v->kind == LRT_VEC || v->axis == LRT_MAX_AXES ? 255 : v->axis);
    put32(p + 4, v->size);
    p[16] = (unsigned char)v->order;
    put32(p + 20, v->groups);
    return p + 32;
}

static unsigned char *put_list(const uint32_t *list, unsigned n, unsigned char *p)
{
    for (unsigned i = 0; i < n; i++)
        put32(p + 4 * (size_t)i, list[i]);
    return p + 4 * (size_t)n;
}

static unsigned char *put_node(const lrt_node *n, unsigned char *p)
{
    put16(p, n->op);
    put16(p + 2, n->n_in);
    put16(p + 4, n->n_out);
    put16(p + 6, n->n_tensors);
    p = put_list(n->in, 6, p + 8);
    p = put_list(n->out, 3, p);
    p = put_list(n->tensor, 12, p);
    return put_list(n->attr, 17, p);
}

static unsigned char *put_tensor(const lrt_tensor *t, unsigned char *p)
{
    put32(p, (uint32_t)t->offset);
    put32(p + 8, (uint32_t)t->size);
    p[16] = (unsigned char)t->dtype;
    p[17] = (unsigned char)t->layout;
    put16(p + 18, t->gates);
    put32(p + 20, t->units);
    put32(p + 24, t->k);
    return p + 32;
}

static unsigned char *put_axis(const lrt_axis *a, unsigned char *p)
{
    const uint32_t fields[5] = {a->parent, a->mul, (uint32_t)a->add, a->div, a->cap};
    return put_list(fields, 5, p);
}

static size_t whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* Where tensors go; returns the size of the blob. */
static size_t place_tensors(graph *g)
{
    size_t at = 128 + 32 * (size_t)g->n_values + 160 * (size_t)g->n_nodes + 32 * (size_t)g->n_tensors +
                4 * (size_t)g->n_outputs + (g->version >= 3 ? 20 * (size_t)g->n_axes : 0);
    at = whole_lines(at);
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        lrt_tensor *t = &g->tensors[i];
        t->offset = at;
        t->size = 4 * tensor_floats(t);
        at += whole_lines((size_t)t->size);
    }
    return at + 64;
}

unsigned char *graph_bytes(graph *g, size_t *size)
{
    unsigned char *bytes, *p;
    *size = place_tensors(g);
    bytes = (unsigned char *)calloc(*size, 1);
    if (!bytes)
        abort();
    p = put_header(g, bytes, *size);
    for (uint32_t i = 0; i < g->n_values; i++)
        p = put_value(&g->values[i], p);
    for (uint32_t i = 0; i < g->n_nodes; i++)
        p = put_node(&g->nodes[i], p);
    for (uint32_t i = 0; i < g->n_tensors; i++)
        p = put_tensor(&g->tensors[i], p);
    p = put_list(g->outputs, g->n_outputs, p);
    for (uint32_t i = 0; i < g->n_axes && g->version >= 3; i++)
        p = put_axis(&g->axes[i], p);
    for (uint32_t i = 0; i < g->n_tensors; i++)
        memcpy(bytes + g->tensors[i].offset, g->data[i], (size_t)g->tensors[i].size);
    return bytes;
}

/* ---- layers ------------------------------------------------------------------------------------------- */

/* The tensors of one direction, in the order of the format. */
static void layer_tensors(graph *g, const layer_spec *s)
{
    const uint32_t gates = lrt_gates(s->op), h = s->proj ? s->proj : s->hidden;
    const uint32_t before = s->op == LRT_OP_GRU && !(s->flags & LRT_RESET_AFTER), hh = before ? 2 : gates;
    graph_tensor(g, LRT_PANELS, gates, s->hidden, s->inputs);
    graph_tensor(g, LRT_PANELS, gates, s->hidden, 1);
    graph_tensor(g, LRT_PANELS, hh, s->hidden, h);
    graph_tensor(g, LRT_PANELS, s->op == LRT_OP_GRU ? hh : 0, s->hidden, 1);
    if (before)
        graph_tensor(g, LRT_PANELS, 1, s->hidden, s->hidden);
    else
        graph_tensor(g, LRT_PANELS, s->proj ? 1 : 0, s->proj, s->hidden);
    graph_tensor(g, LRT_PANELS, before, s->hidden, 1);
}

uint32_t graph_layer(graph *g, const layer_spec *s, uint32_t x, uint32_t h0, uint32_t c0, uint32_t mask)
{
    const uint32_t in[4] = {x, h0, c0, mask}, n_dir = s->flags & LRT_BIDIRECTIONAL ? 2 : 1;
    const uint32_t h = n_dir * (s->proj ? s->proj : s->hidden);
    uint32_t y;
    graph_node(g, s->op, 4, in);
    y = graph_result(g, LRT_SEQ, h, g->values[x].axis);
    graph_result(g, LRT_VEC, h, 0);
    if (s->op == LRT_OP_LSTM)
        graph_result(g, LRT_VEC, n_dir * s->hidden, 0);
    for (uint32_t d = 0; d < n_dir; d++)
        layer_tensors(g, s);
    graph_attr(g, LRT_A_HIDDEN, s->hidden);
    graph_attr(g, LRT_A_INPUT, s->inputs);
    graph_attr(g, LRT_A_PROJ, s->proj);
    graph_attr(g, LRT_A_FLAGS, s->flags);
    for (uint32_t i = 0; i < 3; i++)
        graph_attr(g, LRT_A_ACT + 3 * i, i == 0 && s->op != LRT_OP_RNN ? LRT_ACT_SIGMOID : LRT_ACT_TANH);
    return y;
}

unsigned char *layer_blob(const layer_spec *s, size_t *size)
{
    unsigned char *bytes;
    uint32_t x, y, mask = LRT_NONE;
    graph g;
    graph_begin(&g, LRT_FIRST_VERSION);
    graph_axis(&g);
    x = graph_input(&g, LRT_SEQ, s->inputs, 0);
    if (s->masked)
        mask = graph_op(&g, LRT_OP_MASK_VALUES, x, LRT_MASK, 0, 0);
    y = graph_layer(&g, s, x, LRT_NONE, LRT_NONE, mask);
    for (uint32_t i = y; i < g.n_values; i++)
        graph_output(&g, i);
    bytes = graph_bytes(&g, size);
    graph_free(&g);
    return bytes;
}
