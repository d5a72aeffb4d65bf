/* What the checks of ops are made of. */
#include "ops/lrt_check.h"

int lrt_want_counts(const lrt_checker *c, uint32_t n_in, uint32_t n_out, uint32_t n_tensors)
{
    if (c->n.n_in != n_in)
        return LRT_E_NODE_INPUT;
    if (c->n.n_out != n_out)
        return LRT_E_NODE_OUTPUT;
    return c->n.n_tensors == n_tensors ? LRT_OK : LRT_E_NODE_TENSOR;
}

int lrt_want_input(const lrt_checker *c, uint32_t i, unsigned kinds, lrt_value *v)
{
    if (i >= c->n.n_in || c->n.in[i] >= c->next)
        return LRT_E_NODE_INPUT;
    *v = lrt_read_value(c->m, c->n.in[i]);
    return kinds & LRT_KIND(v->kind) ? LRT_OK : LRT_E_NODE_INPUT;
}

int lrt_want_input_like(const lrt_checker *c, uint32_t i, unsigned kinds, uint32_t size, uint32_t axis)
{
    lrt_value v;
    int e = lrt_want_input(c, i, kinds, &v);
    return e ? e : v.size == size && v.axis == axis ? LRT_OK : LRT_E_NODE_INPUT;
}

int lrt_is_absent(const lrt_checker *c, uint32_t i) { return i >= c->n.n_in || c->n.in[i] == LRT_NONE; }

int lrt_want_output(lrt_checker *c, uint32_t i, lrt_kind kind, uint32_t size, uint32_t axis)
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

int lrt_output_axis(const lrt_checker *c, uint32_t *axis)
{
    if (c->next >= c->m->n_values)
        return LRT_E_NODE_OUTPUT;
    *axis = lrt_read_value(c->m, c->next).axis;
    return *axis < c->m->n_axes ? LRT_OK : LRT_E_NODE_OUTPUT;
}

int lrt_want_derived(const lrt_checker *c, uint32_t parent, uint32_t mul, int32_t add, uint32_t div, uint32_t *axis)
{
    lrt_axis a;
    int e = lrt_output_axis(c, axis);
    if (e)
        return e;
    a = lrt_read_axis(c->m, *axis);
    return a.parent == parent && a.mul == mul && a.add == add && a.div == div && a.cap == 0x7fffffffu ? LRT_OK
                                                                                                      : LRT_E_NODE_OUTPUT;
}

uint32_t lrt_initial_states_hinder(const lrt_checker *c)
{
    uint32_t flags = 0;
    for (uint32_t i = 1; i <= 2; i++) {
        if (lrt_is_absent(c, i))
            continue;
        flags |= LRT_FLAG_STREAMS;
        if (c->n.in[i] >= c->m->n_inputs)
            flags |= LRT_FLAG_CAUSAL;
    }
    return flags;
}

int lrt_want_tensor(const lrt_checker *c, uint32_t i, lrt_tensor *t)
{
    if (c->n.tensor[i] >= c->m->n_tensors)
        return LRT_E_NODE_TENSOR;
    *t = lrt_read_tensor(c->m, c->n.tensor[i]);
    return LRT_OK;
}

int lrt_want_weight(const lrt_checker *c, uint32_t i, uint32_t layout, uint32_t gates, uint32_t units, uint32_t k)
{
    lrt_tensor t;
    LRT_TRY(lrt_want_tensor(c, i, &t));
    return t.dtype == LRT_F32 && t.layout == layout && t.gates == gates && t.units == units && t.k == k
               ? LRT_OK
               : LRT_E_NODE_TENSOR;
}

static int is_matrix(const lrt_tensor *t, uint32_t gates, uint32_t units, uint32_t k)
{
    return t->dtype != LRT_I32 && t->gates == gates && t->units == units && t->k == k;
}

int lrt_want_panels(const lrt_checker *c, uint32_t i, uint32_t gates, uint32_t units, uint32_t k)
{
    lrt_tensor t;
    LRT_TRY(lrt_want_tensor(c, i, &t));
    return t.layout == LRT_PANELS && is_matrix(&t, gates, units, k) ? LRT_OK : LRT_E_NODE_TENSOR;
}

int lrt_want_matrix(const lrt_checker *c, uint32_t i, uint32_t gates, uint32_t units, uint32_t k)
{
    lrt_tensor t;
    LRT_TRY(lrt_want_tensor(c, i, &t));
    return (t.layout == LRT_PANELS || t.layout == LRT_BLOCKS) && is_matrix(&t, gates, units, k) ? LRT_OK : LRT_E_NODE_TENSOR;
}

int lrt_want_optional_weight(const lrt_checker *c, uint32_t i, uint32_t layout, uint32_t gates, uint32_t units,
                             uint32_t k)
{
    return c->n.tensor[i] == LRT_NONE ? LRT_OK : lrt_want_weight(c, i, layout, gates, units, k);
}

int lrt_want_no_weight(const lrt_checker *c, uint32_t i)
{
    return c->n.tensor[i] == LRT_NONE ? LRT_OK : LRT_E_NODE_TENSOR;
}

int lrt_want_index(const lrt_checker *c, uint32_t i, uint32_t limit, uint32_t *count)
{
    const int32_t *numbers;
    lrt_tensor t;
    LRT_TRY(lrt_want_tensor(c, i, &t));
    if (t.dtype != LRT_I32 || t.layout != LRT_PLAIN || t.units != 1 || t.k < 1)
        return LRT_E_NODE_TENSOR;
    numbers = lrt_tensor_integers(c->m, c->n.tensor[i]);
    for (uint32_t j = 0; j < t.k; j++)
        if (numbers[j] < 0 || (uint32_t)numbers[j] >= limit)
            return LRT_E_NODE_TENSOR;
    *count = t.k;
    return LRT_OK;
}

int lrt_want_finite(const lrt_checker *c, uint32_t i)
{
    return (c->n.attr[i] & 0x7f800000u) != 0x7f800000u ? LRT_OK : LRT_E_NODE_ATTR;
}

int lrt_want_not_negative(const lrt_checker *c, uint32_t i)
{
    LRT_TRY(lrt_want_finite(c, i));
    return lrt_attr_float(&c->n, i) < 0.0f ? LRT_E_NODE_ATTR : LRT_OK;
}

int lrt_want_act(const lrt_checker *c, uint32_t i)
{
    const uint32_t kind = c->n.attr[i];
    if (kind >= LRT_ACT_COUNT || (kind >= LRT_ACT_EXP && lrt_version(c->m) < LRT_VERSION_ROWS))
        return LRT_E_NODE_ATTR;
    LRT_TRY(lrt_want_finite(c, i + 1));
    LRT_TRY(lrt_want_finite(c, i + 2));
    return kind == LRT_ACT_CELU && !(lrt_attr_float(&c->n, i + 1) > 0.0f) ? LRT_E_NODE_ATTR : LRT_OK;
}

/* Is it the result of an op that reads nothing? */
static int is_constant(const lrt_model *m, uint32_t value)
{
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        lrt_node n;
        lrt_read_node(m, i, &n);
        if (n.n_out > 0 && n.out[0] == value)
            return n.n_in == 0;
    }
    return 0;
}

uint32_t lrt_hinders_spread(const lrt_checker *c, uint32_t i)
{
    const uint32_t value = c->n.in[i];
    const int computed = lrt_read_value(c->m, value).kind == LRT_VEC && value >= c->m->n_inputs;
    return computed && !is_constant(c->m, value) ? LRT_FLAG_CAUSAL | LRT_FLAG_STREAMS : 0;
}
