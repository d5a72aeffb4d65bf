/* Opens a model blob in place: validates everything once, copies nothing.
 *
 * Values are numbered in the order in which they come to be: the inputs first, then the outputs
 * of the nodes. So «is this value there yet» is one comparison. */
#include <string.h>

#include "lrt_internal.h"

static const unsigned char MAGIC[8] = {0x89, 'L', 'R', 'T', '\r', '\n', 0x1a, '\n'};

enum { DTYPE_F32 = 1, DTYPE_I32 = 2 };

const char *lrt_error_text(int error)
{
    switch (error) {
    case LRT_OK: return "no error";
    case LRT_E_SHORT: return "shorter than the header of an .lrt file";
    case LRT_E_MAGIC: return "not an .lrt file: it does not begin with the magic number";
    case LRT_E_VERSION: return "an .lrt format version that this runtime does not read";
    case LRT_E_SIZE: return "truncated or padded: its size is not the one in its header";
    case LRT_E_ALIGNMENT: return "the address of the blob is not a multiple of 64";
    case LRT_E_ENDIAN: return "big-endian machines are not supported";
    case LRT_E_COUNTS: return "a count in the header is zero where it must not be, or over its limit";
    case LRT_E_TABLES: return "its tables do not fit in it, or a reserved field is not zero";
    case LRT_E_TENSOR: return "a tensor is outside the file, misaligned, or of a size that does not fit its shape";
    case LRT_E_VALUE: return "a value has an unknown kind, or a size or time axis that does not fit its kind";
    case LRT_E_OP: return "it uses an op that this runtime does not know";
    case LRT_E_NODE_INPUT: return "a node reads a value that is not there yet, or is of the wrong kind or size";
    case LRT_E_NODE_OUTPUT: return "a node writes a value out of order, or of the wrong kind or size";
    case LRT_E_NODE_ATTR: return "an attribute of a node is out of range";
    case LRT_E_NODE_TENSOR: return "a weight of a node is missing, unexpected or of the wrong shape";
    case LRT_E_INTERFACE: return "its lists of inputs and outputs are wrong";
    case LRT_E_STRING: return "a name lies outside its table of names";
    case LRT_E_SELFTEST: return "its self-test record is wrong";
    case LRT_E_CHECKSUM: return "the checksum does not match: the file is damaged";
    case LRT_E_ARGUMENT: return "a NULL or out-of-range argument";
    case LRT_E_MEMORY: return "session memory is too small or not aligned to 64 bytes";
    case LRT_E_TOO_LARGE: return "the session needs more memory than can be addressed";
    case LRT_E_BATCH: return "more rows than the session was made for";
    case LRT_E_STEPS: return "more time steps than the session was made for";
    case LRT_E_LENGTH: return "a length is negative or larger than the number of steps";
    case LRT_E_TOKEN: return "a token id is outside the table of the embedding";
    case LRT_E_STREAM: return "the model cannot run step by step: it needs the whole sequence";
    case LRT_E_STOPPED: return "the call was stopped before its end";
    default: return "unknown error";
    }
}

/* ---- readers ------------------------------------------------------------------------------------ */

static const unsigned char *strings_at(const lrt_model *m)
{
    return m->blob + m->selftest + (lrt_u32(m->blob + 48) ? 16u + 4u * (m->n_axes + m->n_inputs + m->n_outputs) : 0u);
}

lrt_value lrt_read_value(const lrt_model *m, uint32_t i)
{
    const unsigned char *p = m->blob + m->values + (size_t)i * LRT_VALUE_SIZE;
    lrt_value v;
    v.kind = (lrt_kind)p[0];
    v.axis = p[1] == 255 ? LRT_MAX_AXES : p[1];
    v.size = lrt_u32(p + 4);
    v.name = lrt_u32(p + 8);
    v.name_size = lrt_u32(p + 12);
    return v;
}

void lrt_read_node(const lrt_model *m, uint32_t i, lrt_node *n)
{
    const unsigned char *p = m->blob + m->nodes + (size_t)i * LRT_NODE_SIZE;
    n->op = (enum lrt_op)lrt_u16(p);
    n->n_in = lrt_u16(p + 2);
    n->n_out = lrt_u16(p + 4);
    n->n_tensors = lrt_u16(p + 6);
    p += 8;
    for (unsigned j = 0; j < LRT_NODE_INPUTS; j++, p += 4)
        n->in[j] = lrt_u32(p);
    for (unsigned j = 0; j < LRT_NODE_OUTPUTS; j++, p += 4)
        n->out[j] = lrt_u32(p);
    for (unsigned j = 0; j < LRT_NODE_TENSORS; j++, p += 4)
        n->tensor[j] = lrt_u32(p);
    for (unsigned j = 0; j < LRT_NODE_ATTRS; j++, p += 4)
        n->attr[j] = lrt_u32(p);
}

float lrt_attr_float(const lrt_node *n, uint32_t i)
{
    float f;
    memcpy(&f, &n->attr[i], sizeof f);
    return f;
}

lrt_act lrt_attr_act(const lrt_node *n, uint32_t i)
{
    lrt_act a;
    a.kind = n->attr[i];
    a.alpha = lrt_attr_float(n, i + 1);
    a.beta = lrt_attr_float(n, i + 2);
    return a;
}

typedef struct {
    uint64_t offset, size;
    uint32_t dtype, layout, gates, units, k;
} tensor;

static tensor read_tensor(const lrt_model *m, uint32_t i)
{
    const unsigned char *p = m->blob + m->tensors + (size_t)i * LRT_TENSOR_SIZE;
    tensor t;
    t.offset = lrt_u64(p);
    t.size = lrt_u64(p + 8);
    t.dtype = p[16];
    t.layout = p[17];
    t.gates = lrt_u16(p + 18);
    t.units = lrt_u32(p + 20);
    t.k = lrt_u32(p + 24);
    return t;
}

const float *lrt_tensor_data(const lrt_model *m, uint32_t i)
{
    if (i == LRT_NONE)
        return NULL;
    /* Alignment was validated: offset and blob are multiples of 64. */
    return (const float *)(const void *)(m->blob + (size_t)read_tensor(m, i).offset);
}

static lrt_io describe(const lrt_model *m, uint32_t value)
{
    lrt_value v = lrt_read_value(m, value);
    lrt_io io;
    io.name = (const char *)(strings_at(m) + v.name);
    io.name_size = v.name_size;
    io.kind = v.kind;
    io.size = v.size;
    io.axis = v.axis;
    return io;
}

lrt_io lrt_model_input(const lrt_model *m, uint32_t i) { return describe(m, i); }

lrt_io lrt_model_output(const lrt_model *m, uint32_t i)
{
    return describe(m, lrt_u32(m->blob + m->outputs + 4 * (size_t)i));
}

int lrt_model_is_causal(const lrt_model *m) { return (m->flags & LRT_FLAG_CAUSAL) != 0; }
int lrt_model_streams(const lrt_model *m) { return (m->flags & LRT_FLAG_STREAMS) != 0; }

/* ---- validation of nodes ------------------------------------------------------------------------- */

#define KIND(k) (1u << (k))
#define FEATURES (KIND(LRT_SEQ) | KIND(LRT_VEC))

typedef struct {
    const lrt_model *m;
    lrt_node n;
    uint32_t next; /* the next value to come to be */
    uint32_t flags;
} checker;

/* Input i is present and of one of `kinds`; fills v. */
static int input(const checker *c, uint32_t i, unsigned kinds, lrt_value *v)
{
    if (i >= c->n.n_in || c->n.in[i] >= c->next)
        return LRT_E_NODE_INPUT;
    *v = lrt_read_value(c->m, c->n.in[i]);
    return kinds & KIND(v->kind) ? LRT_OK : LRT_E_NODE_INPUT;
}

/* The same, with a given size and time axis. */
static int input_like(const checker *c, uint32_t i, unsigned kinds, uint32_t size, uint32_t axis)
{
    lrt_value v;
    int e = input(c, i, kinds, &v);
    return e ? e : v.size == size && v.axis == axis ? LRT_OK : LRT_E_NODE_INPUT;
}

static int absent_input(const checker *c, uint32_t i) { return i >= c->n.n_in || c->n.in[i] == LRT_NONE; }

/* Output i is the next value and has this kind, size and axis. */
static int output(checker *c, uint32_t i, lrt_kind kind, uint32_t size, uint32_t axis)
{
    lrt_value v;
    if (i >= c->n.n_out || c->n.out[i] != c->next || c->next >= c->m->n_values)
        return LRT_E_NODE_OUTPUT;
    v = lrt_read_value(c->m, c->next);
    if (v.kind != kind || v.size != size || v.axis != axis)
        return LRT_E_NODE_OUTPUT;
    c->next++;
    return LRT_OK;
}

static int counts(const checker *c, uint32_t n_in, uint32_t n_out, uint32_t n_tensors)
{
    if (c->n.n_in != n_in)
        return LRT_E_NODE_INPUT;
    if (c->n.n_out != n_out)
        return LRT_E_NODE_OUTPUT;
    return c->n.n_tensors == n_tensors ? LRT_OK : LRT_E_NODE_TENSOR;
}

static int weight(const checker *c, uint32_t i, uint32_t layout, uint32_t gates, uint32_t units, uint32_t k)
{
    tensor t;
    if (c->n.tensor[i] >= c->m->n_tensors)
        return LRT_E_NODE_TENSOR;
    t = read_tensor(c->m, c->n.tensor[i]);
    return t.dtype == DTYPE_F32 && t.layout == layout && t.gates == gates && t.units == units && t.k == k
               ? LRT_OK
               : LRT_E_NODE_TENSOR;
}

static int optional_weight(const checker *c, uint32_t i, uint32_t layout, uint32_t gates, uint32_t units, uint32_t k)
{
    return c->n.tensor[i] == LRT_NONE ? LRT_OK : weight(c, i, layout, gates, units, k);
}

static int no_weight(const checker *c, uint32_t i)
{
    return c->n.tensor[i] == LRT_NONE ? LRT_OK : LRT_E_NODE_TENSOR;
}

static int finite_attr(const checker *c, uint32_t i)
{
    return (c->n.attr[i] & 0x7f800000u) != 0x7f800000u ? LRT_OK : LRT_E_NODE_ATTR;
}

static int act_attr(const checker *c, uint32_t i, uint32_t limit)
{
    if (c->n.attr[i] >= limit)
        return LRT_E_NODE_ATTR;
    int e = finite_attr(c, i + 1);
    return e ? e : finite_attr(c, i + 2);
}

/* Runs checks in turn, stopping at the first error. */
#define TRY(check)          \
    do {                    \
        int e_ = (check);   \
        if (e_ != LRT_OK)   \
            return e_;      \
    } while (0)

static int check_embedding(checker *c)
{
    lrt_value v;
    tensor t;
    TRY(counts(c, 1, 1, 1));
    TRY(input(c, 0, KIND(LRT_IDS), &v));
    if (c->n.tensor[0] >= c->m->n_tensors)
        return LRT_E_NODE_TENSOR;
    t = read_tensor(c->m, c->n.tensor[0]);
    if (t.dtype != DTYPE_F32 || t.layout != LRT_PLAIN || t.units > 0x7fffffffu || t.k > LRT_MAX_SIZE)
        return LRT_E_NODE_TENSOR;
    return output(c, 0, LRT_SEQ, t.k, v.axis);
}

static int check_mask(checker *c)
{
    lrt_value v;
    TRY(counts(c, 1, 1, 0));
    TRY(input(c, 0, c->n.op == LRT_OP_MASK_IDS ? KIND(LRT_IDS) : KIND(LRT_SEQ), &v));
    return output(c, 0, LRT_MASK, 0, v.axis);
}

static int check_apply_mask(checker *c)
{
    lrt_value v;
    TRY(counts(c, 2, 1, 0));
    TRY(input(c, 0, KIND(LRT_SEQ), &v));
    TRY(input_like(c, 1, KIND(LRT_MASK), 0, v.axis));
    return output(c, 0, LRT_SEQ, v.size, v.axis);
}

static int check_direction(const checker *c, uint32_t w, uint32_t gates, uint32_t inputs, uint32_t hidden,
                           uint32_t h_size)
{
    int after = (c->n.attr[LRT_A_FLAGS] & LRT_RESET_AFTER) != 0;
    TRY(weight(c, w + LRT_W_IH, LRT_PANELS, gates, hidden, inputs));
    TRY(optional_weight(c, w + LRT_W_BIAS, LRT_PANELS, gates, hidden, 1));
    if (c->n.op == LRT_OP_GRU) {
        TRY(weight(c, w + LRT_W_HH, LRT_PANELS, after ? 3 : 2, hidden, hidden));
        TRY(weight(c, w + LRT_W_BIAS_HH, LRT_PANELS, after ? 3 : 2, hidden, 1));
        if (after) {
            TRY(no_weight(c, w + LRT_W_EXTRA));
            return no_weight(c, w + LRT_W_EXTRA2);
        }
        TRY(weight(c, w + LRT_W_EXTRA, LRT_PANELS, 1, hidden, hidden));
        return weight(c, w + LRT_W_EXTRA2, LRT_PANELS, 1, hidden, 1);
    }
    TRY(weight(c, w + LRT_W_HH, LRT_PANELS, gates, hidden, h_size));
    TRY(no_weight(c, w + LRT_W_BIAS_HH));
    if (c->n.op == LRT_OP_RNN || !c->n.attr[LRT_A_PROJ])
        TRY(no_weight(c, w + LRT_W_EXTRA));
    else
        TRY(weight(c, w + LRT_W_EXTRA, LRT_PANELS, 1, h_size, hidden));
    return c->n.op == LRT_OP_LSTM ? optional_weight(c, w + LRT_W_EXTRA2, LRT_LANES, 3, hidden, 1)
                                  : no_weight(c, w + LRT_W_EXTRA2);
}

static int check_recurrent_attrs(const checker *c, uint32_t inputs)
{
    const uint32_t *a = c->n.attr;
    uint32_t flags = a[LRT_A_FLAGS];
    if (a[LRT_A_HIDDEN] < 1 || a[LRT_A_HIDDEN] > LRT_MAX_SIZE || a[LRT_A_INPUT] != inputs)
        return LRT_E_NODE_ATTR;
    if (a[LRT_A_PROJ] > LRT_MAX_SIZE || (a[LRT_A_PROJ] && c->n.op != LRT_OP_LSTM))
        return LRT_E_NODE_ATTR;
    if (flags & ~LRT_RECURRENT_FLAGS || (flags & LRT_REVERSE && flags & LRT_BIDIRECTIONAL))
        return LRT_E_NODE_ATTR;
    if (flags & LRT_RESET_AFTER && c->n.op != LRT_OP_GRU)
        return LRT_E_NODE_ATTR;
    TRY(finite_attr(c, LRT_A_CLIP));
    if (lrt_attr_float(&c->n, LRT_A_CLIP) < 0.0f)
        return LRT_E_NODE_ATTR;
    for (uint32_t i = 0; i < 3; i++)
        TRY(act_attr(c, LRT_A_ACT + 3 * i, LRT_ACT_SOFTMAX));
    return LRT_OK;
}

/* Initial states restart the layer with each call, so it cannot stream; and a pass over the first
 * steps can only use those that are there before it: what nodes compute is whole at the end. */
static void check_initial_states(checker *c)
{
    for (uint32_t i = 1; i <= 2; i++) {
        if (absent_input(c, i))
            continue;
        c->flags &= ~LRT_FLAG_STREAMS;
        if (c->n.in[i] >= c->m->n_inputs)
            c->flags = 0;
    }
}

static int check_recurrent(checker *c)
{
    lrt_value x;
    uint32_t hidden = c->n.attr[LRT_A_HIDDEN], proj = c->n.attr[LRT_A_PROJ], flags = c->n.attr[LRT_A_FLAGS];
    uint32_t n_dir = flags & LRT_BIDIRECTIONAL ? 2 : 1, h_size = proj ? proj : hidden;
    uint32_t n_out = c->n.op == LRT_OP_LSTM ? 3 : 2;

    TRY(counts(c, 4, n_out, LRT_W_COUNT * n_dir));
    TRY(input(c, 0, KIND(LRT_SEQ), &x));
    TRY(check_recurrent_attrs(c, x.size));
    if (!absent_input(c, 1))
        TRY(input_like(c, 1, KIND(LRT_VEC), n_dir * h_size, LRT_MAX_AXES));
    if (!absent_input(c, 2)) {
        if (c->n.op != LRT_OP_LSTM)
            return LRT_E_NODE_INPUT;
        TRY(input_like(c, 2, KIND(LRT_VEC), n_dir * hidden, LRT_MAX_AXES));
    }
    if (!absent_input(c, 3))
        TRY(input_like(c, 3, KIND(LRT_MASK), 0, x.axis));
    for (uint32_t d = 0; d < n_dir; d++)
        TRY(check_direction(c, d * LRT_W_COUNT, lrt_gates(c->n.op), x.size, hidden, h_size));
    TRY(output(c, 0, LRT_SEQ, n_dir * h_size, x.axis));
    TRY(output(c, 1, LRT_VEC, n_dir * h_size, LRT_MAX_AXES));
    if (c->n.op == LRT_OP_LSTM)
        TRY(output(c, 2, LRT_VEC, n_dir * hidden, LRT_MAX_AXES));
    if (flags & (LRT_REVERSE | LRT_BIDIRECTIONAL))
        c->flags = 0;
    check_initial_states(c);
    return LRT_OK;
}

static int check_dense(checker *c)
{
    lrt_value x;
    tensor t;
    TRY(counts(c, 1, 1, 2));
    TRY(input(c, 0, FEATURES, &x));
    TRY(act_attr(c, 0, LRT_ACT_COUNT));
    if (c->n.tensor[0] >= c->m->n_tensors)
        return LRT_E_NODE_TENSOR;
    t = read_tensor(c->m, c->n.tensor[0]);
    TRY(weight(c, 0, LRT_PANELS, 1, t.units, x.size));
    TRY(optional_weight(c, 1, LRT_PANELS, 1, t.units, 1));
    return output(c, 0, x.kind, t.units, x.axis);
}

/* One input, one output of the same shape, optional vectors of its size. */
static int check_same(checker *c, uint32_t n_vectors, int all_needed)
{
    lrt_value x;
    TRY(counts(c, 1, 1, n_vectors));
    TRY(input(c, 0, FEATURES, &x));
    for (uint32_t i = 0; i < n_vectors; i++) {
        if (all_needed)
            TRY(weight(c, i, LRT_PLAIN, 1, 1, x.size));
        else
            TRY(optional_weight(c, i, LRT_PLAIN, 1, 1, x.size));
    }
    return output(c, 0, x.kind, x.size, x.axis);
}

static int check_layernorm(checker *c)
{
    TRY(finite_attr(c, 0));
    if (lrt_attr_float(&c->n, 0) < 0.0f)
        return LRT_E_NODE_ATTR;
    return check_same(c, 2, 0);
}

static int check_activation(checker *c)
{
    TRY(act_attr(c, 0, LRT_ACT_COUNT));
    return check_same(c, 0, 0);
}

static int check_binary(checker *c)
{
    lrt_value a;
    TRY(counts(c, 2, 1, 0));
    TRY(input(c, 0, FEATURES, &a));
    TRY(input_like(c, 1, KIND(a.kind), a.size, a.axis));
    return output(c, 0, a.kind, a.size, a.axis);
}

static int check_concat(checker *c)
{
    lrt_value first, v;
    uint32_t total = 0;
    if (c->n.n_in < 2)
        return LRT_E_NODE_INPUT;
    TRY(counts(c, c->n.n_in, 1, 0));
    TRY(input(c, 0, FEATURES, &first));
    for (uint32_t i = 0; i < c->n.n_in; i++) {
        TRY(input(c, i, KIND(first.kind), &v));
        if (v.axis != first.axis)
            return LRT_E_NODE_INPUT;
        total += v.size;
    }
    return output(c, 0, first.kind, total, first.axis);
}

static int check_slice(checker *c)
{
    lrt_value x;
    uint32_t start = c->n.attr[0], size = c->n.attr[1];
    TRY(counts(c, 1, 1, 0));
    TRY(input(c, 0, FEATURES, &x));
    if (size < 1 || size > x.size || start > x.size - size)
        return LRT_E_NODE_ATTR;
    return output(c, 0, x.kind, size, x.axis);
}

static int check_select(checker *c)
{
    lrt_value x;
    TRY(counts(c, 1, 1, 0));
    TRY(input(c, 0, KIND(LRT_SEQ), &x));
    if (c->n.attr[0] > 1)
        return LRT_E_NODE_ATTR;
    if (c->n.attr[0] == 0) /* the first step: a stream could not tell where it began */
        c->flags &= ~LRT_FLAG_STREAMS;
    return output(c, 0, LRT_VEC, x.size, LRT_MAX_AXES);
}

static int check_reverse(checker *c)
{
    lrt_value x;
    TRY(counts(c, 1, 1, 0));
    TRY(input(c, 0, KIND(LRT_SEQ), &x));
    c->flags = 0;
    return output(c, 0, LRT_SEQ, x.size, x.axis);
}

static int check_node(checker *c)
{
    if (c->n.n_in > LRT_NODE_INPUTS)
        return LRT_E_NODE_INPUT;
    if (c->n.n_out > LRT_NODE_OUTPUTS)
        return LRT_E_NODE_OUTPUT;
    if (c->n.n_tensors > LRT_NODE_TENSORS)
        return LRT_E_NODE_TENSOR;
    switch (c->n.op) {
    case LRT_OP_EMBEDDING: return check_embedding(c);
    case LRT_OP_MASK_IDS:
    case LRT_OP_MASK_VALUES: return check_mask(c);
    case LRT_OP_APPLY_MASK: return check_apply_mask(c);
    case LRT_OP_LSTM:
    case LRT_OP_GRU:
    case LRT_OP_RNN: return check_recurrent(c);
    case LRT_OP_DENSE: return check_dense(c);
    case LRT_OP_ACTIVATION: return check_activation(c);
    case LRT_OP_LAYERNORM: return check_layernorm(c);
    case LRT_OP_BATCHNORM: return check_same(c, 3, 1);
    case LRT_OP_ADD:
    case LRT_OP_MUL:
    case LRT_OP_AVERAGE: return check_binary(c);
    case LRT_OP_CONCAT: return check_concat(c);
    case LRT_OP_SLICE: return check_slice(c);
    case LRT_OP_SELECT: return check_select(c);
    case LRT_OP_REVERSE: return check_reverse(c);
    default: return LRT_E_OP;
    }
}

/* ---- validation of the rest ------------------------------------------------------------------------ */

static int all_zero(const unsigned char *p, size_t n)
{
    while (n--)
        if (*p++)
            return 0;
    return 1;
}

static int little_endian(void)
{
    const uint32_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

static int check_counts(const lrt_model *m)
{
    if (m->n_values < 1 || m->n_values > LRT_MAX_COUNT || m->n_nodes < 1 || m->n_nodes > LRT_MAX_COUNT)
        return LRT_E_COUNTS;
    if (m->n_tensors > LRT_MAX_COUNT || m->n_axes > LRT_MAX_AXES)
        return LRT_E_COUNTS;
    if (m->n_inputs < 1 || m->n_inputs > LRT_MAX_IO || m->n_outputs < 1 || m->n_outputs > LRT_MAX_IO)
        return LRT_E_COUNTS;
    return m->n_inputs < m->n_values && lrt_u32(m->blob + 48) <= 1 ? LRT_OK : LRT_E_COUNTS;
}

/* Fills the offsets of the tables; `data` is where they and the strings end. */
static int lay_out(lrt_model *m, uint64_t *data)
{
    uint64_t at = LRT_HEADER_SIZE;
    uint32_t n_tests = lrt_u32(m->blob + 48), strings = lrt_u32(m->blob + 52), meta = lrt_u32(m->blob + 56);
    m->values = (uint32_t)at;
    at += (uint64_t)m->n_values * LRT_VALUE_SIZE;
    m->nodes = (uint32_t)at;
    at += (uint64_t)m->n_nodes * LRT_NODE_SIZE;
    m->tensors = (uint32_t)at;
    at += (uint64_t)m->n_tensors * LRT_TENSOR_SIZE;
    m->outputs = (uint32_t)at;
    at += 4u * (uint64_t)m->n_outputs;
    m->selftest = (uint32_t)at;
    at += n_tests ? 16u + 4u * (uint64_t)(m->n_axes + m->n_inputs + m->n_outputs) : 0u;
    at += (uint64_t)strings + meta;
    *data = at;
    return at <= m->size && all_zero(m->blob + 60, LRT_HEADER_SIZE - 60) ? LRT_OK : LRT_E_TABLES;
}

static int check_value(const lrt_model *m, uint32_t i)
{
    const unsigned char *p = m->blob + m->values + (size_t)i * LRT_VALUE_SIZE;
    lrt_value v = lrt_read_value(m, i);
    int features = v.kind == LRT_SEQ || v.kind == LRT_VEC;
    if (p[0] < LRT_SEQ || p[0] > LRT_LENGTHS || lrt_u16(p + 2) || !all_zero(p + 16, 16))
        return LRT_E_VALUE;
    if (v.kind == LRT_VEC ? p[1] != 255 : v.axis >= m->n_axes)
        return LRT_E_VALUE;
    if (features ? v.size < 1 || v.size > LRT_MAX_SIZE : v.size != 0)
        return LRT_E_VALUE;
    if (v.name_size > lrt_u32(m->blob + 52) || v.name > lrt_u32(m->blob + 52) - v.name_size)
        return LRT_E_STRING;
    return LRT_OK;
}

static int check_tensor(const lrt_model *m, uint32_t i, uint64_t data)
{
    tensor t = read_tensor(m, i);
    uint64_t units, size;
    if (lrt_u32(m->blob + m->tensors + (size_t)i * LRT_TENSOR_SIZE + 28))
        return LRT_E_TENSOR;
    if ((t.dtype != DTYPE_F32 && t.dtype != DTYPE_I32) || t.layout > LRT_LANES || t.gates < 1 ||
        t.gates > LRT_MAX_GATES || t.k > LRT_MAX_SIZE)
        return LRT_E_TENSOR;
    if (t.layout == LRT_PLAIN) {
        if (t.gates != 1 || t.units > 0x7fffffffu)
            return LRT_E_TENSOR;
        units = t.units;
    } else {
        if (t.units < 1 || t.units > LRT_MAX_SIZE || t.k < 1 || (t.layout == LRT_LANES && t.k != 1))
            return LRT_E_TENSOR;
        units = lrt_padded_units(t.units);
    }
    size = units * t.gates * t.k * 4u; /* < 2^31 * 2^20 * 4 or 2^21 * 4 * 2^20 * 4: no overflow */
    if (t.size != size || t.offset % 64 || t.offset < data)
        return LRT_E_TENSOR;
    /* Kernels read whole vectors: LRT_OVERREAD floats beyond the end must be there. */
    if (t.offset > m->size || size > m->size - t.offset || m->size - t.offset - size < LRT_OVERREAD * 4u)
        return LRT_E_TENSOR;
    return LRT_OK;
}

static int check_inputs(const lrt_model *m)
{
    uint32_t axes_with_lengths = 0;
    for (uint32_t i = 0; i < m->n_inputs; i++) {
        lrt_value v = lrt_read_value(m, i);
        if (v.kind == LRT_MASK)
            return LRT_E_INTERFACE;
        if (v.kind == LRT_LENGTHS) {
            if (axes_with_lengths >> v.axis & 1u)
                return LRT_E_INTERFACE;
            axes_with_lengths |= 1u << v.axis;
        }
    }
    return LRT_OK;
}

static int check_outputs(const lrt_model *m)
{
    const unsigned char *p = m->blob + m->outputs;
    for (uint32_t i = 0; i < m->n_outputs; i++) {
        uint32_t o = lrt_u32(p + 4 * i);
        lrt_value v;
        if (o < m->n_inputs || o >= m->n_values)
            return LRT_E_INTERFACE;
        v = lrt_read_value(m, o);
        if (v.kind != LRT_SEQ && v.kind != LRT_VEC)
            return LRT_E_INTERFACE;
        for (uint32_t j = 0; j < i; j++)
            if (lrt_u32(p + 4 * j) == o)
                return LRT_E_INTERFACE;
    }
    return LRT_OK;
}

/* One array of the self-test: rows * k numbers of the value's dtype. */
static int check_test_tensor(const lrt_model *m, uint32_t tensor_id, uint32_t value, const unsigned char *steps,
                             uint32_t batch)
{
    lrt_value v = lrt_read_value(m, value);
    int ints = v.kind == LRT_IDS || v.kind == LRT_LENGTHS;
    uint64_t rows = batch;
    tensor t;
    if (tensor_id >= m->n_tensors)
        return LRT_E_SELFTEST;
    t = read_tensor(m, tensor_id);
    if (v.kind == LRT_SEQ || v.kind == LRT_IDS)
        rows *= lrt_u32(steps + 4 * v.axis);
    if (t.layout != LRT_PLAIN || t.dtype != (ints ? DTYPE_I32 : DTYPE_F32) || t.units != rows ||
        t.k != (ints ? 1 : v.size))
        return LRT_E_SELFTEST;
    return LRT_OK;
}

static int check_selftest(const lrt_model *m)
{
    const unsigned char *p = m->blob + m->selftest, *steps = p + 16;
    const unsigned char *ids = steps + 4 * (size_t)m->n_axes;
    uint32_t batch = lrt_u32(p);
    if (lrt_u32(m->blob + 48) == 0)
        return LRT_OK;
    if (batch < 1 || batch > LRT_MAX_COUNT || lrt_u32(p + 12))
        return LRT_E_SELFTEST;
    for (uint32_t i = 0; i < m->n_inputs; i++, ids += 4)
        TRY(check_test_tensor(m, lrt_u32(ids), i, steps, batch));
    for (uint32_t i = 0; i < m->n_outputs; i++, ids += 4)
        TRY(check_test_tensor(m, lrt_u32(ids), lrt_u32(m->blob + m->outputs + 4 * i), steps, batch));
    return LRT_OK;
}

static int check_nodes(lrt_model *m)
{
    checker c;
    c.m = m;
    c.next = m->n_inputs;
    c.flags = m->n_axes == 1 ? LRT_FLAG_CAUSAL | LRT_FLAG_STREAMS : 0;
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        lrt_read_node(m, i, &c.n);
        TRY(check_node(&c));
    }
    m->flags = c.flags;
    return c.next == m->n_values ? LRT_OK : LRT_E_NODE_OUTPUT;
}

static int check_all(lrt_model *m)
{
    uint64_t data;
    TRY(check_counts(m));
    TRY(lay_out(m, &data));
    for (uint32_t i = 0; i < m->n_values; i++)
        TRY(check_value(m, i));
    for (uint32_t i = 0; i < m->n_tensors; i++)
        TRY(check_tensor(m, i, data));
    TRY(check_inputs(m));
    TRY(check_outputs(m));
    TRY(check_nodes(m));
    return check_selftest(m);
}

int lrt_model_open(lrt_model *model, const void *blob, size_t size)
{
    lrt_model m;
    const unsigned char *p = (const unsigned char *)blob;
    if (!model || !blob)
        return LRT_E_ARGUMENT;
    if (!little_endian())
        return LRT_E_ENDIAN;
    if (size < sizeof MAGIC || memcmp(p, MAGIC, sizeof MAGIC) != 0)
        return size < sizeof MAGIC ? LRT_E_SHORT : LRT_E_MAGIC;
    if (size < LRT_HEADER_SIZE)
        return LRT_E_SHORT;
    if (lrt_u32(p + 8) != LRT_FORMAT_VERSION)
        return LRT_E_VERSION;
    if (lrt_u64(p + 16) != size)
        return LRT_E_SIZE;
    if ((uintptr_t)p % LRT_ALIGN)
        return LRT_E_ALIGNMENT;
    memset(&m, 0, sizeof m);
    m.blob = p;
    m.size = size;
    m.n_axes = lrt_u32(p + 24);
    m.n_values = lrt_u32(p + 28);
    m.n_nodes = lrt_u32(p + 32);
    m.n_tensors = lrt_u32(p + 36);
    m.n_inputs = lrt_u32(p + 40);
    m.n_outputs = lrt_u32(p + 44);
    TRY(check_all(&m));
    *model = m;
    return LRT_OK;
}

/* CRC-32 as in zlib and PNG (ISO 3309), the checksum field itself counted as zero. */
int lrt_model_check(const lrt_model *m)
{
    uint32_t crc = 0xffffffffu, table[16];
    if (!m || !m->blob)
        return LRT_E_ARGUMENT;
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t r = i;
        for (int j = 0; j < 4; j++)
            r = r & 1 ? r >> 1 ^ 0xedb88320u : r >> 1;
        table[i] = r;
    }
    for (size_t i = 0; i < m->size; i++) {
        crc ^= i >= 12 && i < 16 ? 0 : m->blob[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return (crc ^ 0xffffffffu) == lrt_u32(m->blob + 12) ? LRT_OK : LRT_E_CHECKSUM;
}
