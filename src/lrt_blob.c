/* Reads a blob's records, and its checksum. */
#include "lrt_blob.h"

#include <string.h>

#include "integers/lrt_integers.h"

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
    v.order = (lrt_order)p[16]; /* both reserved, so 0, before version 3 */
    v.groups = lrt_u32(p + 20);
    return v;
}

uint32_t lrt_output_value(const lrt_model *m, uint32_t i) { return lrt_u32(m->blob + m->outputs + 4 * (size_t)i); }

lrt_axis lrt_read_axis(const lrt_model *m, uint32_t i)
{
    const unsigned char *p = m->blob + m->axes + (size_t)i * LRT_AXIS_SIZE;
    const uint32_t bits = m->axes ? lrt_u32(p + 8) : 0;
    lrt_axis a = {LRT_NONE, 1, 1, 0x7fffffffu, 0};
    if (!m->axes)
        return a;
    a.parent = lrt_u32(p);
    a.mul = lrt_u32(p + 4);
    memcpy(&a.add, &bits, sizeof a.add);
    a.div = lrt_u32(p + 12);
    a.cap = lrt_u32(p + 16);
    return a;
}

int lrt_model_steps(const lrt_model *m, uint32_t steps[LRT_MAX_AXES])
{
    for (uint32_t i = 0; i < m->n_axes; i++) {
        const lrt_axis a = lrt_read_axis(m, i);
        const uint32_t from = a.parent == LRT_NONE ? 0 : steps[a.parent];
        if (lrt_is_root(&a))
            continue;
        if (from > 0x7fffffffu || (a.cap == 0x7fffffffu && ((int64_t)from * a.mul + a.add) / a.div > 0x7fffffff))
            return 0;
        steps[i] = lrt_derived_steps(&a, from);
    }
    return 1;
}

uint32_t lrt_steps_each(const lrt_model *m, uint32_t axis)
{
    uint64_t each[LRT_MAX_AXES];
    for (uint32_t i = 0; i <= axis; i++) {
        const lrt_axis a = lrt_read_axis(m, i);
        const uint64_t n = lrt_is_root(&a) ? 1 : a.parent == LRT_NONE ? 0 : each[a.parent] * a.mul; /* < 2^62 */
        const int whole = a.add == 0 && a.cap == 0x7fffffffu && n % a.div == 0;
        each[i] = whole && n <= 0x7fffffffu ? n / a.div : 0;
    }
    return (uint32_t)each[axis];
}

void lrt_read_node(const lrt_model *m, uint32_t i, lrt_node *n)
{
    const unsigned char *p = m->blob + m->nodes + (size_t)i * LRT_NODE_SIZE;
    n->op = lrt_u16(p);
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

lrt_tensor lrt_read_tensor(const lrt_model *m, uint32_t i)
{
    const unsigned char *p = m->blob + m->tensors + (size_t)i * LRT_TENSOR_SIZE;
    lrt_tensor t;
    t.offset = lrt_u64(p);
    t.size = lrt_u64(p + 8);
    t.dtype = p[16];
    t.layout = p[17];
    t.gates = lrt_u16(p + 18);
    t.units = lrt_u32(p + 20);
    t.k = lrt_u32(p + 24);
    t.limit = lrt_u32(p + 28);
    return t;
}

const float *lrt_tensor_data(const lrt_model *m, uint32_t i)
{
    if (i == LRT_NONE)
        return NULL;
    /* Alignment was validated: offset and blob are multiples of 64. */
    return (const float *)(const void *)(m->blob + (size_t)lrt_read_tensor(m, i).offset);
}

/* Starts of the strips, scales of integers, the index; then blocks. */
static uint64_t index_begins(const lrt_tensor *t)
{
    const uint64_t scales = t->dtype == LRT_F32 ? 0 : (uint64_t)t->gates * lrt_padded_units(t->units);
    return ((uint64_t)lrt_strips(t) + 1u) * sizeof(uint32_t) + scales * sizeof(uint16_t);
}
uint64_t lrt_blocks_begin(const lrt_tensor *t, uint32_t n_blocks)
{
    return (index_begins(t) + (uint64_t)n_blocks * sizeof(uint16_t) + 63u) / 64u * 64u;
}

static void find_blocks(const lrt_tensor *t, lrt_matrix *w)
{
    const unsigned char *at = (const unsigned char *)w->w;
    const uint32_t strips = lrt_strips(t);
    w->starts = (const uint32_t *)w->w;
    w->index = (const uint16_t *)(const void *)(at + (size_t)index_begins(t));
    w->scale = lrt_is_integer(w) ? (const uint16_t *)(w->starts + strips + 1) : NULL;
    w->w = at + (size_t)lrt_blocks_begin(t, w->starts[strips]);
}

lrt_matrix lrt_tensor_matrix(const lrt_model *m, uint32_t i)
{
    lrt_matrix w;
    lrt_tensor t;
    memset(&w, 0, sizeof w);
    w.dtype = LRT_F32;
    if (i == LRT_NONE)
        return w;
    t = lrt_read_tensor(m, i);
    w.w = lrt_tensor_data(m, i);
    w.gates = t.gates;
    w.units = t.units;
    w.k = t.k;
    w.dtype = t.dtype;
    w.limit = t.limit;
    if (t.layout == LRT_BLOCKS)
        find_blocks(&t, &w);
    else if (lrt_is_integer(&w))
        w.scale = (const uint16_t *)((const uint32_t *)w.w + (size_t)t.gates * lrt_padded_units(t.units) * lrt_words(t.dtype, t.k));
    return w;
}

const int32_t *lrt_tensor_integers(const lrt_model *m, uint32_t i)
{
    return (const int32_t *)(const void *)(m->blob + (size_t)lrt_read_tensor(m, i).offset);
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
    io.order = v.order;
    io.groups = v.order == LRT_SHAPED ? 0 : v.groups;
    io.n_dims = v.order == LRT_SHAPED ? lrt_read_tensor(m, v.groups).k : 0;
    io.dims = v.order == LRT_SHAPED ? lrt_tensor_integers(m, v.groups) : NULL;
    return io;
}

lrt_io lrt_model_input(const lrt_model *m, uint32_t i) { return describe(m, i); }
lrt_io lrt_model_output(const lrt_model *m, uint32_t i) { return describe(m, lrt_output_value(m, i)); }
int lrt_model_is_causal(const lrt_model *m) { return (m->flags & LRT_FLAG_CAUSAL) != 0; }
int lrt_model_streams(const lrt_model *m) { return (m->flags & LRT_FLAG_STREAMS) != 0; }

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
