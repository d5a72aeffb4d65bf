/* The memory plan of one running model, inside memory that the caller gives. */
#include "lrt_session.h"

#include <string.h>

#include "ops/lrt_ops.h"

/* ---- the planner ------------------------------------------------------------------------------------ */

uint64_t lrt_times(lrt_planner *p, uint64_t x, uint64_t y)
{
    if (y != 0 && x > UINT64_MAX / 2 / y) {
        p->overflow = 1;
        return 0;
    }
    return x * y;
}

void *lrt_take(lrt_planner *p, uint64_t count, uint64_t size)
{
    uint64_t bytes = lrt_times(p, count, size);
    void *piece = p->base ? p->base + p->used : NULL;
    if (bytes > (uint64_t)SIZE_MAX / 2 || p->used > (uint64_t)SIZE_MAX / 2 - bytes) {
        p->overflow = 1;
        return NULL;
    }
    p->used += (bytes + LRT_ALIGN - 1) / LRT_ALIGN * LRT_ALIGN;
    return piece;
}

float *lrt_take_floats(lrt_planner *p, uint64_t rows, uint64_t per_row)
{
    return (float *)lrt_take(p, lrt_times(p, rows, per_row), sizeof(float));
}

/* Registers rows that have been taken. */
static lrt_state *add_state(lrt_planner *p, lrt_halves *halves, unsigned char *rows, size_t stride, uint32_t number,
                            const lrt_slot *slot)
{
    lrt_state *a = (lrt_state *)lrt_take(p, 1, sizeof *a);
    if (!a)
        return NULL;
    memset(a, 0, sizeof *a);
    a->halves = halves;
    a->rows = rows;
    a->stride = stride;
    a->number = number;
    if (slot)
        a->slot = *slot;
    *p->last = a;
    p->last = &a->following;
    return a;
}

void lrt_take_halves(lrt_planner *p, lrt_halves *h, uint32_t size, uint32_t number, const lrt_slot *slot)
{
    h->stride = (size + LRT_PANEL - 1) / LRT_PANEL * LRT_PANEL;
    h->turn = 0;
    h->half[0] = lrt_take_floats(p, p->limits->batch, h->stride);
    h->half[1] = lrt_take_floats(p, p->limits->batch, h->stride);
    add_state(p, h, NULL, h->stride * sizeof(float), number, slot);
}

unsigned char *lrt_take_rows(lrt_planner *p, size_t stride, uint32_t number, const lrt_slot *slot)
{
    unsigned char *rows = (unsigned char *)lrt_take(p, p->limits->batch, stride);
    add_state(p, NULL, rows, stride, number, slot);
    return rows;
}

unsigned char *lrt_take_sliding_rows(lrt_planner *p, size_t stride, size_t slides_at, size_t slide, uint32_t number,
                                     const lrt_slot *slot)
{
    unsigned char *rows = (unsigned char *)lrt_take(p, p->limits->batch, stride);
    lrt_state *a = add_state(p, NULL, rows, stride, number, slot);
    if (a) {
        a->slides_at = slides_at;
        a->slide = slide;
    }
    return rows;
}

/* Most steps of an axis while the axis that it comes from has `steps` more: as many as from the start, or as from
 * where rounding is at its best. */
static uint32_t most_steps(const lrt_axis *a, uint32_t steps)
{
    const uint64_t more = ((uint64_t)steps * a->mul + a->div - 1) / a->div;
    const uint32_t first = lrt_derived_steps(a, steps), capped = more < a->cap ? (uint32_t)more : a->cap;
    return first > capped ? first : capped;
}

uint32_t lrt_planned_steps(const lrt_planner *p, uint32_t axis)
{
    const lrt_axis a = lrt_read_axis(p->m, axis);
    if (!lrt_is_root(&a))
        return most_steps(&a, a.parent == LRT_NONE ? 0 : lrt_planned_steps(p, a.parent));
    return p->chunk ? p->chunk : p->limits->steps[axis];
}

/* ---- the plan --------------------------------------------------------------------------------------- */

/* Steps of one pass of a causal model: enough to fill the blocks of input products, small enough that
 * what flows between layers stays in cache. */
static uint32_t default_chunk(uint32_t batch)
{
    uint32_t steps = 2 * LRT_PROJECT_ROWS / (batch ? batch : 1);
    return steps < 16 ? 16 : steps;
}

static uint32_t chunk_of(const lrt_model *m, const lrt_limits *limits)
{
    uint32_t chunk = default_chunk(limits->batch);
    if (!(m->flags & LRT_FLAG_CAUSAL))
        return 0;
    return limits->steps[0] && limits->steps[0] < chunk ? limits->steps[0] : chunk;
}

static int is_output(const lrt_model *m, uint32_t value)
{
    for (uint32_t i = 0; i < m->n_outputs; i++)
        if (lrt_output_value(m, i) == value)
            return 1;
    return 0;
}

static int is_read(const lrt_model *m, uint32_t value)
{
    lrt_node n;
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        lrt_read_node(m, i, &n);
        for (uint32_t j = 0; j < n.n_in; j++)
            if (n.in[j] == value)
                return 1;
    }
    return 0;
}

/* Lanes that can each run a part of the nodes: of models that run in passes, one for each node with steps. */
static uint32_t stages_of(const lrt_model *m, const lrt_limits *limits)
{
    uint32_t layers = 0;
    lrt_node n;
    for (uint32_t i = 0; i < m->n_nodes && (m->flags & LRT_FLAG_CAUSAL); i++) {
        lrt_read_node(m, i, &n);
        layers += lrt_find_op(n.op)->is_shared ? 1 : 0;
    }
    layers = layers < limits->lanes ? layers : limits->lanes;
    return layers ? layers : 1;
}

/* How many of the first axes need lengths of their own: up to the last derived one. */
static uint32_t derived_axes(const lrt_model *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_axes; i++) {
        const lrt_axis a = lrt_read_axis(m, i);
        n = lrt_is_root(&a) ? n : i + 1;
    }
    return n;
}

static void *value_buffer(lrt_planner *p, uint32_t stages, uint32_t i, const lrt_value *v)
{
    const lrt_model *m = p->m;
    const int is_port = i < m->n_inputs || is_output(m, i);
    uint64_t rows = p->limits->batch;
    if (is_port ? !lrt_is_grouped(v) : !is_read(m, i))
        return NULL;
    if (v->kind != LRT_VEC)
        rows = lrt_times(p, rows * lrt_planned_steps(p, v->axis), stages);
    return v->kind == LRT_MASK ? lrt_take(p, rows, 1) : lrt_take_floats(p, rows, v->size);
}

/* In this order: the session itself, its tables, a buffer for each value between nodes, what each node takes
 * (its state too), and the scratch that nodes share, whose size is known only then. s is NULL when only
 * measuring: the same walk then writes nothing. */
static void lay_out(lrt_planner *p, lrt_session *s)
{
    const lrt_model *m = p->m;
    lrt_session *at = (lrt_session *)lrt_take(p, 1, sizeof *at);
    lrt_session measured;
    at = s ? s : &measured;
    memset(at, 0, sizeof *at);
    p->last = &at->states;
    at->stages = stages_of(m, p->limits);
    for (uint32_t i = 0; i < m->n_axes; i++)
        at->planned[i] = lrt_planned_steps(p, i);
    at->derived = derived_axes(m) > 0;
    at->nodes = (lrt_plan_node *)lrt_take(p, m->n_nodes, sizeof *at->nodes);
    at->values = (lrt_value *)lrt_take(p, m->n_values, sizeof *at->values);
    at->buffers = (void **)lrt_take(p, m->n_values, sizeof *at->buffers);
    at->views = (lrt_view *)lrt_take(p, m->n_values, sizeof *at->views);
    at->grouped = (float **)lrt_take(p, m->n_outputs, sizeof *at->grouped);
    for (uint32_t i = 0; i < m->n_values; i++) {
        lrt_value v = lrt_read_value(m, i);
        void *buffer = value_buffer(p, at->stages, i, &v);
        at->any_grouped |= lrt_is_grouped(&v);
        at->any_lengths |= v.kind == LRT_LENGTHS;
        if (s) {
            s->values[i] = v;
            s->buffers[i] = buffer;
        }
    }
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        lrt_plan_node node;
        lrt_read_node(m, i, &node.node);
        node.op = lrt_find_op(node.node.op);
        node.own = NULL;
        if (node.op->plan)
            node.op->plan(p, &node);
        at->any_accepts |= node.op->accepts != NULL;
        if (s)
            s->nodes[i] = node;
    }
    at->n_slots = p->n_slots;
    p->parts = p->parts < at->stages ? at->stages : p->parts;
    at->pre_part = (size_t)((p->pre + LRT_PANEL - 1) / LRT_PANEL * LRT_PANEL);
    at->pre_floats = p->parts * at->pre_part + LRT_OVERREAD;
    at->pre = lrt_take_floats(p, at->pre_floats, 1);
    at->between_part = (size_t)p->between;
    at->between = lrt_take_floats(p, p->parts * p->between, 1);
    at->gather_part = (size_t)((p->gather + LRT_OVERREAD + LRT_PANEL - 1) / LRT_PANEL * LRT_PANEL);
    at->gather = lrt_take_floats(p, p->limits->lanes, p->gather ? at->gather_part : 0);
    at->out_rows = (float **)lrt_take(p, lrt_times(p, p->limits->lanes, p->limits->batch), 2 * sizeof(float *));
    at->stopping = (unsigned char *)lrt_take(p, p->limits->lanes, 2);
    at->derived_lengths = (int32_t *)lrt_take(p, lrt_times(p, derived_axes(m), p->limits->batch), sizeof(int32_t));
    at->row_lists = (uint32_t *)lrt_take(p, lrt_times(p, p->limits->lanes, p->limits->batch), 2 * sizeof(uint32_t));
}

static int limits_ok(const lrt_limits *limits)
{
    return limits && limits->batch >= 1 && limits->lanes >= 1 && limits->lanes <= 1024;
}

static lrt_planner planner(const lrt_model *m, const lrt_limits *limits, void *memory)
{
    lrt_planner p;
    memset(&p, 0, sizeof p);
    p.base = (unsigned char *)memory;
    p.m = m;
    p.limits = limits;
    p.chunk = chunk_of(m, limits);
    return p;
}

size_t lrt_session_size(const lrt_model *model, const lrt_limits *limits)
{
    lrt_planner p;
    if (!model || !model->blob || !limits_ok(limits))
        return 0;
    p = planner(model, limits, NULL);
    lay_out(&p, NULL);
    return p.overflow ? 0 : (size_t)p.used;
}

int lrt_session_init(lrt_session **session, const lrt_model *model, const lrt_kernels *kernels,
                     const lrt_limits *limits, void *memory, size_t size)
{
    lrt_planner p;
    lrt_session *s = (lrt_session *)memory;
    size_t need;
    if (!session || !model || !model->blob || !kernels || !limits_ok(limits) || !memory)
        return LRT_E_ARGUMENT;
    need = lrt_session_size(model, limits);
    if (need == 0)
        return LRT_E_TOO_LARGE;
    if (size < need || (uintptr_t)memory % LRT_ALIGN)
        return LRT_E_MEMORY;
    p = planner(model, limits, memory);
    lay_out(&p, s);
    s->model = model;
    s->kernels = kernels;
    s->limits = *limits;
    s->chunk = p.chunk;
    /* Scratch is read before it is written only in lanes that are thrown away; zero is the one
     * content that is cheap there whatever the CPU makes of denormals. */
    memset(s->pre, 0, s->pre_floats * sizeof(float));
    if (p.gather)
        memset(s->gather, 0, limits->lanes * s->gather_part * sizeof(float));
    lrt_session_reset(s);
    *session = s;
    return LRT_OK;
}
