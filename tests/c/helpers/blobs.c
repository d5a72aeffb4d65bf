/* The bytes of a model with one recurrent layer: x -> (mask) -> layer -> y, h and, for an lstm, c. */
#include "helpers/blobs.h"

#include "helpers/check.h"
#include "ops/lrt_recurrent.h"

typedef struct {
    const layer_spec *spec;
    uint32_t n_values, n_nodes, n_tensors;
    unsigned char *bytes, *at; /* at: where the next record goes */
    size_t data;               /* where the next tensor's numbers go */
    uint32_t seed;
} writer;

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

static void put_value(writer *w, lrt_kind kind, uint32_t size)
{
    w->at[0] = (unsigned char)kind;
    w->at[1] = kind == LRT_VEC ? 255 : 0;
    put32(w->at + 4, size);
    w->at += LRT_VALUE_SIZE;
}

typedef struct {
    uint32_t layout, gates, units, k;
} shape;

/* The tensors of one direction, in the order of the format; absent ones have no gates. */
static void direction_shapes(const layer_spec *s, shape *t)
{
    uint32_t gates = lrt_gates(s->op), h = s->proj ? s->proj : s->hidden;
    uint32_t hh = s->op == LRT_OP_GRU && !(s->flags & LRT_RESET_AFTER) ? 2 : gates;
    const shape absent = {LRT_PLAIN, 0, 0, 0};
    for (unsigned i = 0; i < LRT_W_COUNT; i++)
        t[i] = absent;
    t[LRT_W_IH] = (shape){LRT_PANELS, gates, s->hidden, s->inputs};
    t[LRT_W_BIAS] = (shape){LRT_PANELS, gates, s->hidden, 1};
    t[LRT_W_HH] = (shape){LRT_PANELS, hh, s->hidden, h};
    if (s->op == LRT_OP_GRU)
        t[LRT_W_BIAS_HH] = (shape){LRT_PANELS, hh, s->hidden, 1};
    if (hh == 2) {
        t[LRT_W_SECOND] = (shape){LRT_PANELS, 1, s->hidden, s->hidden};
        t[LRT_W_BIAS_SECOND] = (shape){LRT_PANELS, 1, s->hidden, 1};
    }
    if (s->proj)
        t[LRT_W_SECOND] = (shape){LRT_PANELS, 1, s->proj, s->hidden};
}

static void put_node(writer *w, uint32_t op, const uint32_t *in, uint32_t n_in, uint32_t n_out, uint32_t first_out,
                     uint32_t n_slots)
{
    unsigned char *p = w->at;
    memset(p + 8, 0xff, 4 * (LRT_NODE_INPUTS + LRT_NODE_OUTPUTS + LRT_NODE_TENSORS));
    put16(p, op);
    put16(p + 2, n_in);
    put16(p + 4, n_out);
    put16(p + 6, n_slots);
    for (uint32_t i = 0; i < n_in; i++)
        put32(p + 8 + 4 * i, in[i]);
    for (uint32_t i = 0; i < n_out; i++)
        put32(p + 8 + 4 * (LRT_NODE_INPUTS + i), first_out + i);
    w->at += LRT_NODE_SIZE;
}

static void put_layer(writer *w, uint32_t n_dir, uint32_t first_out)
{
    const layer_spec *s = w->spec;
    const uint32_t in[4] = {0, LRT_NONE, LRT_NONE, s->masked ? 1u : LRT_NONE};
    unsigned char *p = w->at + 8 + 4 * (LRT_NODE_INPUTS + LRT_NODE_OUTPUTS);
    unsigned char *attrs = p + 4 * LRT_NODE_TENSORS;
    uint32_t tensor = 0;
    put_node(w, s->op, in, 4, s->op == LRT_OP_LSTM ? 3 : 2, first_out, LRT_W_COUNT * n_dir);
    for (uint32_t d = 0; d < n_dir; d++) {
        shape t[LRT_W_COUNT];
        direction_shapes(s, t);
        for (unsigned i = 0; i < LRT_W_COUNT; i++, p += 4)
            if (t[i].gates)
                put32(p, tensor++);
    }
    put32(attrs + 4 * LRT_A_HIDDEN, s->hidden);
    put32(attrs + 4 * LRT_A_INPUT, s->inputs);
    put32(attrs + 4 * LRT_A_PROJ, s->proj);
    put32(attrs + 4 * LRT_A_FLAGS, s->flags);
    for (uint32_t i = 0; i < 3; i++)
        put32(attrs + 4 * (LRT_A_ACT + 3 * i), i == 0 && s->op != LRT_OP_RNN ? LRT_ACT_SIGMOID : LRT_ACT_TANH);
}

static size_t tensor_floats(const shape *t) { return (size_t)t->gates * lrt_padded_units(t->units) * t->k; }

/* The record, and numbers in (-1/8, 1/8). */
static void put_tensor(writer *w, const shape *t)
{
    size_t n = tensor_floats(t);
    put32(w->at, (uint32_t)w->data);
    put32(w->at + 8, (uint32_t)(4 * n));
    w->at[16] = 1; /* float32 */
    w->at[17] = (unsigned char)t->layout;
    put16(w->at + 18, t->gates);
    put32(w->at + 20, t->units);
    put32(w->at + 24, t->k);
    w->at += LRT_TENSOR_SIZE;
    for (size_t i = 0; i < n; i++) {
        float f = next_float(&w->seed) * 0.125f;
        memcpy(w->bytes + w->data + 4 * i, &f, sizeof f);
    }
    w->data += (4 * n + 63) / 64 * 64;
}

static void put_header(writer *w, size_t size, uint32_t n_outputs)
{
    static const unsigned char magic[8] = {0x89, 'L', 'R', 'T', '\r', '\n', 0x1a, '\n'};
    const uint32_t counts[6] = {1, w->n_values, w->n_nodes, w->n_tensors, 1, n_outputs};
    memcpy(w->bytes, magic, sizeof magic);
    put32(w->bytes + 8, LRT_FORMAT_VERSION);
    put32(w->bytes + 16, (uint32_t)size);
    for (unsigned i = 0; i < 6; i++)
        put32(w->bytes + 24 + 4 * i, counts[i]);
    w->at = w->bytes + LRT_HEADER_SIZE;
}

unsigned char *layer_blob(const layer_spec *s, size_t *size)
{
    uint32_t n_dir = s->flags & LRT_BIDIRECTIONAL ? 2 : 1, h = s->proj ? s->proj : s->hidden;
    uint32_t n_outputs = s->op == LRT_OP_LSTM ? 3 : 2, masked = s->masked ? 1 : 0;
    const uint32_t x = 0;
    size_t tables, floats = 0;
    shape t[LRT_W_COUNT];
    writer w = {s, 1 + masked + n_outputs, 1 + masked, 0, NULL, NULL, 0, 77};

    direction_shapes(s, t);
    for (unsigned i = 0; i < LRT_W_COUNT; i++) {
        w.n_tensors += t[i].gates ? n_dir : 0;
        floats += n_dir * ((tensor_floats(&t[i]) + 15) / 16 * 16);
    }
    tables = LRT_HEADER_SIZE + LRT_VALUE_SIZE * w.n_values + LRT_NODE_SIZE * w.n_nodes +
             LRT_TENSOR_SIZE * w.n_tensors + 4 * n_outputs;
    w.data = (tables + 63) / 64 * 64;
    *size = w.data + 4 * floats + 4 * LRT_OVERREAD;
    w.bytes = (unsigned char *)calloc(*size, 1);
    if (!w.bytes)
        abort();
    put_header(&w, *size, n_outputs);
    put_value(&w, LRT_SEQ, s->inputs);
    if (masked)
        put_value(&w, LRT_MASK, 0);
    put_value(&w, LRT_SEQ, n_dir * h);
    put_value(&w, LRT_VEC, n_dir * h);
    if (n_outputs == 3)
        put_value(&w, LRT_VEC, n_dir * s->hidden);
    if (masked)
        put_node(&w, LRT_OP_MASK_VALUES, &x, 1, 1, 1, 0);
    put_layer(&w, n_dir, 1 + masked);
    for (unsigned i = 0; i < n_dir * LRT_W_COUNT; i++)
        if (t[i % LRT_W_COUNT].gates)
            put_tensor(&w, &t[i % LRT_W_COUNT]);
    for (uint32_t i = 0; i < n_outputs; i++, w.at += 4)
        put32(w.at, 1 + masked + i);
    return w.bytes;
}
