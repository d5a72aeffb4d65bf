/* Opens a model blob in place: validates everything once, copies nothing. The order of the checks is that
 * of docs/format.md; what each op asks for is in its row (ops/). */
#include <float.h>
#include <string.h>

#include "ops/lrt_ops.h"

static const unsigned char MAGIC[8] = {0x89, 'L', 'R', 'T', '\r', '\n', 0x1a, '\n'};

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
    const uint32_t axes = lrt_u32(m->blob + 8) < LRT_VERSION_MANY_AXES ? LRT_FEW_AXES : LRT_MAX_AXES;
    if (m->n_values < 1 || m->n_values > LRT_MAX_COUNT || m->n_nodes < 1 || m->n_nodes > LRT_MAX_COUNT)
        return LRT_E_COUNTS;
    if (m->n_tensors > LRT_MAX_COUNT || m->n_axes > axes)
        return LRT_E_COUNTS;
    if (m->n_inputs < 1 || m->n_inputs > LRT_MAX_IO || m->n_outputs < 1 || m->n_outputs > LRT_MAX_IO)
        return LRT_E_COUNTS;
    return m->n_inputs < m->n_values && lrt_u32(m->blob + 48) <= 1 ? LRT_OK : LRT_E_COUNTS;
}

/* Fills the offsets of the tables; `data` is where they and the strings end. */
static int find_tables(lrt_model *m, uint64_t *data)
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
    m->axes = lrt_version(m) >= LRT_VERSION_AXES ? (uint32_t)at : 0;
    at += m->axes ? (uint64_t)m->n_axes * LRT_AXIS_SIZE : 0;
    m->selftest = (uint32_t)at;
    at += n_tests ? 16u + 4u * (uint64_t)(m->n_axes + m->n_inputs + m->n_outputs) : 0u;
    at += (uint64_t)strings + meta;
    *data = at;
    return at <= m->size && all_zero(m->blob + 60, LRT_HEADER_SIZE - 60) ? LRT_OK : LRT_E_TABLES;
}

/* A rule multiplies or divides by what fits into 31 bits, and follows an axis before it. */
static int check_axis(const lrt_model *m, uint32_t i)
{
    const uint32_t most = 0x7fffffffu;
    const lrt_axis a = lrt_read_axis(m, i);
    if (lrt_is_root(&a))
        return a.mul == 1 && a.add == 0 && a.div == 1 && a.cap == 0x7fffffffu ? LRT_OK : LRT_E_AXIS;
    if (a.parent >= i && a.parent != LRT_NONE)
        return LRT_E_AXIS;
    return a.mul <= most && a.div >= 1 && a.div <= most && a.cap <= most ? LRT_OK : LRT_E_AXIS;
}

/* The order of the axes, and the groups where there are such. */
static int check_order(const lrt_model *m, const unsigned char *p, const lrt_value *v)
{
    const lrt_order last = lrt_version(m) >= LRT_VERSION_SHAPED ? LRT_SHAPED : LRT_GROUPS_FIRST;
    if (p[16] > last || p[17] || lrt_u16(p + 18) || (v->order == LRT_TIME_FIRST && !lrt_is_timed(v)))
        return LRT_E_VALUE;
    if (v->order == LRT_SHAPED)
        return LRT_OK; /* its dims are looked at when tensors have been */
    if (v->groups == 0)
        return v->order == LRT_GROUPS_FIRST ? LRT_E_VALUE : LRT_OK;
    if (v->kind != LRT_VEC || (v->order != LRT_GROUPS_FIRST && v->order != LRT_UNBATCHED))
        return LRT_E_VALUE;
    return v->size % v->groups == 0 ? LRT_OK : LRT_E_VALUE;
}

static int check_value(const lrt_model *m, uint32_t i)
{
    const unsigned char *p = m->blob + m->values + (size_t)i * LRT_VALUE_SIZE;
    lrt_value v = lrt_read_value(m, i);
    const int sized = v.kind == LRT_SEQ || v.kind == LRT_VEC;
    const int free_ids = v.kind == LRT_IDS && lrt_version(m) >= LRT_VERSION_IDS;
    const int has_orders = lrt_version(m) >= LRT_VERSION_ORDERS;
    const uint32_t used = has_orders ? 24 : 16;
    if (p[0] < LRT_SEQ || p[0] > LRT_LENGTHS || lrt_u16(p + 2) || !all_zero(p + used, LRT_VALUE_SIZE - used))
        return LRT_E_VALUE;
    if (has_orders)
        LRT_TRY(check_order(m, p, &v));
    if (p[1] == 255 ? v.kind != LRT_VEC && !free_ids : v.kind == LRT_VEC || v.axis >= m->n_axes)
        return LRT_E_VALUE;
    if (v.size > LRT_MAX_SIZE || (sized ? v.size < 1 : v.size > 0 && !free_ids))
        return LRT_E_VALUE;
    if (v.name_size > lrt_u32(m->blob + 52) || v.name > lrt_u32(m->blob + 52) - v.name_size)
        return LRT_E_STRING;
    return LRT_OK;
}

/* Does the mark that joins two dims stand between two? */
static int joins(const int32_t *dims, uint32_t i, uint32_t n)
{
    return i > 0 && i + 1 < n && dims[i - 1] != LRT_DIM_JOINED;
}

/* The dims of a shaped port: sizes, whose product is that of its features, N at most once, T as its kind has it. Those of
 * outputs may be joined. */
static int check_dims(const lrt_model *m, const lrt_value *v, int is_input, int *has_batch)
{
    const uint32_t size = lrt_per_step(v);
    uint64_t product = 1;
    uint32_t batches = 0, steps = 0;
    const int32_t *dims;
    lrt_tensor t;
    if (v->groups >= m->n_tensors)
        return LRT_E_INTERFACE;
    t = lrt_read_tensor(m, v->groups);
    if (t.dtype != LRT_I32 || t.layout != LRT_PLAIN || t.units != 1 || t.k > LRT_MAX_DIMS)
        return LRT_E_INTERFACE;
    dims = lrt_tensor_integers(m, v->groups);
    for (uint32_t i = 0; i < t.k; i++) {
        batches += dims[i] == LRT_DIM_BATCH;
        steps += dims[i] == LRT_DIM_STEPS;
        if (dims[i] == LRT_DIM_BATCH || dims[i] == LRT_DIM_STEPS)
            continue;
        if (dims[i] == LRT_DIM_JOINED && !is_input && joins(dims, i, t.k))
            continue;
        if (dims[i] < 1 || (product *= (uint64_t)dims[i]) > size)
            return LRT_E_INTERFACE;
    }
    *has_batch = batches == 1;
    if (product != size || batches > 1)
        return LRT_E_INTERFACE;
    return steps == (uint32_t)lrt_is_timed(v) ? LRT_OK : LRT_E_INTERFACE;
}

static int check_port(const lrt_model *m, uint32_t value, int *has_batch)
{
    const lrt_value v = lrt_read_value(m, value);
    *has_batch = v.order != LRT_UNBATCHED;
    return v.order == LRT_SHAPED ? check_dims(m, &v, value < m->n_inputs, has_batch) : LRT_OK;
}

/* Values that are no ports are batch first; of ports, either all are without a batch, or none. */
static int check_orders(const lrt_model *m)
{
    int batched, has_batch;
    LRT_TRY(check_port(m, 0, &batched));
    for (uint32_t i = 0; i < m->n_values; i++) {
        int is_port = i < m->n_inputs;
        for (uint32_t o = 0; o < m->n_outputs && !is_port; o++)
            is_port = lrt_output_value(m, o) == i;
        if (!is_port && lrt_read_value(m, i).order != LRT_BATCH_FIRST)
            return LRT_E_INTERFACE;
        if (!is_port)
            continue;
        LRT_TRY(check_port(m, i, &has_batch));
        if (has_batch != batched)
            return LRT_E_INTERFACE;
    }
    return LRT_OK;
}

static int is_root_axis(const lrt_model *m, uint32_t axis)
{
    const lrt_axis a = lrt_read_axis(m, axis);
    return lrt_is_root(&a);
}

static int check_inputs(const lrt_model *m)
{
    uint32_t axes_with_lengths = 0;
    for (uint32_t i = 0; i < m->n_inputs; i++) {
        lrt_value v = lrt_read_value(m, i);
        if (v.kind == LRT_MASK || (v.axis < LRT_MAX_AXES && !is_root_axis(m, v.axis)))
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
    for (uint32_t i = 0; i < m->n_outputs; i++) {
        uint32_t o = lrt_output_value(m, i);
        lrt_value v;
        if (o < m->n_inputs || o >= m->n_values)
            return LRT_E_INTERFACE;
        v = lrt_read_value(m, o);
        if (v.kind != LRT_SEQ && v.kind != LRT_VEC)
            return LRT_E_INTERFACE;
        for (uint32_t j = 0; j < i; j++)
            if (lrt_output_value(m, j) == o)
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
    lrt_tensor t;
    if (tensor_id >= m->n_tensors)
        return LRT_E_SELFTEST;
    t = lrt_read_tensor(m, tensor_id);
    if (lrt_is_timed(&v))
        rows *= lrt_u32(steps + 4 * v.axis);
    if (t.layout != LRT_PLAIN || t.dtype != (ints ? LRT_I32 : LRT_F32) || t.units != rows ||
        t.k != lrt_per_step(&v))
        return LRT_E_SELFTEST;
    return LRT_OK;
}

/* Is the f32 at p a number from 0 to `most`? NaN and infinity are not: any output would pass. */
static int is_tolerance(const unsigned char *p, float most)
{
    uint32_t bits = lrt_u32(p);
    float f;
    memcpy(&f, &bits, sizeof f);
    return f >= 0.0f && f <= most;
}

/* Do derived axes have as many steps as their rules give? */
static int steps_follow(const lrt_model *m, const unsigned char *given)
{
    uint32_t steps[LRT_MAX_AXES];
    for (uint32_t a = 0; a < m->n_axes; a++)
        steps[a] = lrt_u32(given + 4 * a);
    if (!lrt_model_steps(m, steps))
        return 0;
    for (uint32_t a = 0; a < m->n_axes; a++)
        if (steps[a] != lrt_u32(given + 4 * a))
            return 0;
    return 1;
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
    if (!is_tolerance(p + 4, FLT_MAX) || !is_tolerance(p + 8, LRT_MAX_RTOL) || !steps_follow(m, steps))
        return LRT_E_SELFTEST;
    for (uint32_t i = 0; i < m->n_inputs; i++, ids += 4)
        LRT_TRY(check_test_tensor(m, lrt_u32(ids), i, steps, batch));
    for (uint32_t i = 0; i < m->n_outputs; i++, ids += 4)
        LRT_TRY(check_test_tensor(m, lrt_u32(ids), lrt_output_value(m, i), steps, batch));
    return LRT_OK;
}

static int check_node(lrt_checker *c, uint32_t *flags)
{
    const lrt_op *op = lrt_find_op(c->n.op);
    if (c->n.n_in > LRT_NODE_INPUTS)
        return LRT_E_NODE_INPUT;
    if (c->n.n_out > LRT_NODE_OUTPUTS)
        return LRT_E_NODE_OUTPUT;
    if (c->n.n_tensors > LRT_NODE_TENSORS)
        return LRT_E_NODE_TENSOR;
    if (op && op->since > lrt_version(c->m))
        return LRT_E_OP;
    if (!op)
        return lrt_op_name(c->n.op) ? LRT_E_OP_LEFT_OUT : LRT_E_OP;
    LRT_TRY(op->check(c));
    if (op->hinders)
        *flags &= ~op->hinders(c);
    return LRT_OK;
}

/* A model can only run in chunks if one axis of inputs, the first, says what all others have in a chunk; and be an
 * endless stream only if no derived axis depends on the steps that were before. */
static uint32_t flags_of_axes(const lrt_model *m)
{
    uint32_t roots = 0, first = 0, flags = LRT_FLAG_CAUSAL | LRT_FLAG_STREAMS;
    for (uint32_t i = 0; i < m->n_axes; i++) {
        const lrt_axis a = lrt_read_axis(m, i);
        roots += lrt_is_root(&a) ? 1 : 0;
        first |= i == 0 && lrt_is_root(&a);
        if (!lrt_is_root(&a) && (a.add != 0 || a.cap != 0x7fffffffu || (a.div != 1 && !lrt_steps_each(m, i))))
            flags &= ~LRT_FLAG_STREAMS;
    }
    return roots == 1 && first ? flags : 0;
}

static int check_nodes(lrt_model *m)
{
    lrt_checker c;
    c.m = m;
    c.next = m->n_inputs;
    m->flags = flags_of_axes(m);
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        lrt_read_node(m, i, &c.n);
        LRT_TRY(check_node(&c, &m->flags));
    }
    return c.next == m->n_values ? LRT_OK : LRT_E_NODE_OUTPUT;
}

static int check_all(lrt_model *m)
{
    uint64_t data;
    LRT_TRY(check_counts(m));
    LRT_TRY(find_tables(m, &data));
    for (uint32_t i = 0; i < m->n_axes; i++)
        LRT_TRY(check_axis(m, i));
    for (uint32_t i = 0; i < m->n_values; i++)
        LRT_TRY(check_value(m, i));
    for (uint32_t i = 0; i < m->n_tensors; i++)
        LRT_TRY(lrt_check_tensor(m, i, data));
    LRT_TRY(check_inputs(m));
    LRT_TRY(check_outputs(m));
    LRT_TRY(check_orders(m));
    LRT_TRY(check_nodes(m));
    return check_selftest(m);
}

/* The header, by itself: is this a file of a version that this runtime reads, whole, where it can be used? */
static int check_header(const unsigned char *p, size_t size)
{
    if (!little_endian())
        return LRT_E_ENDIAN;
    if (size < sizeof MAGIC || memcmp(p, MAGIC, sizeof MAGIC) != 0)
        return size < sizeof MAGIC ? LRT_E_SHORT : LRT_E_MAGIC;
    if (size < LRT_HEADER_SIZE)
        return LRT_E_SHORT;
    if (lrt_u32(p + 8) < LRT_FIRST_VERSION || lrt_u32(p + 8) > LRT_FORMAT_VERSION)
        return LRT_E_VERSION;
    if (lrt_u64(p + 16) != size)
        return LRT_E_SIZE;
    return (uintptr_t)p % LRT_ALIGN ? LRT_E_ALIGNMENT : LRT_OK;
}

static void read_header(lrt_model *m, const unsigned char *p, size_t size)
{
    memset(m, 0, sizeof *m);
    m->blob = p;
    m->size = size;
    m->n_axes = lrt_u32(p + 24);
    m->n_values = lrt_u32(p + 28);
    m->n_nodes = lrt_u32(p + 32);
    m->n_tensors = lrt_u32(p + 36);
    m->n_inputs = lrt_u32(p + 40);
    m->n_outputs = lrt_u32(p + 44);
}

int lrt_model_open(lrt_model *model, const void *blob, size_t size)
{
    lrt_model m;
    if (!model || !blob)
        return LRT_E_ARGUMENT;
    LRT_TRY(check_header((const unsigned char *)blob, size));
    read_header(&m, (const unsigned char *)blob, size);
    LRT_TRY(check_all(&m));
    *model = m;
    return LRT_OK;
}

const char *lrt_refused_op(const void *blob, size_t size)
{
    lrt_model m;
    lrt_node n;
    uint64_t data;
    if (!blob || check_header((const unsigned char *)blob, size) != LRT_OK)
        return NULL;
    read_header(&m, (const unsigned char *)blob, size);
    if (check_counts(&m) != LRT_OK || find_tables(&m, &data) != LRT_OK)
        return NULL;
    for (uint32_t i = 0; i < m.n_nodes; i++) {
        lrt_read_node(&m, i, &n);
        if (!lrt_find_op(n.op))
            return lrt_op_name(n.op);
    }
    return NULL;
}

const char *lrt_stream_obstacle(const lrt_model *model, uint32_t *node)
{
    lrt_checker c;
    if (!model || !model->blob || !node)
        return NULL;
    c.m = model;
    c.next = model->n_values;
    for (uint32_t i = 0; i < model->n_nodes; i++) {
        const lrt_op *op;
        lrt_read_node(model, i, &c.n);
        op = lrt_find_op(c.n.op);
        if (op->hinders && op->hinders(&c) & LRT_FLAG_STREAMS) {
            *node = i;
            return lrt_op_name(c.n.op);
        }
    }
    return NULL;
}
