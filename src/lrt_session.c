/* The memory plan of one running model, inside memory that the caller gives. */
#include "lrt_session.h"

#include <string.h>

#include "integers/lrt_integers.h"
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

void lrt_need_packed(lrt_planner *p, const lrt_matrix *m, uint64_t rows)
{
    const uint64_t words = lrt_is_integer(m) ? lrt_packed_room(m->k, rows) : 0;
    p->packed = p->packed > words ? p->packed : words;
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

/* ---- buffers of values: one that nobody reads any more is the buffer of a later value ------------------------------ */

#define SHARED_BUFFERS 32u /* at a time; values beyond have one of their own */
#define READERS 64u        /* values whose last readers one walk over the nodes finds */

typedef struct {
    uint32_t first, last[READERS]; /* the node that reads first, first + 1, ... last of all, or LRT_NONE */
} last_readers;

typedef struct {
    last_readers readers;
    struct {
        uint64_t bytes;
        uint32_t free_from; /* a node */
        void *at;
    } of[SHARED_BUFFERS];
    uint32_t count;
    int placed; /* are they in memory? */
} shared_buffers;

static void find_readers(const lrt_model *m, last_readers *r, uint32_t first)
{
    lrt_node n;
    r->first = first;
    for (uint32_t i = 0; i < READERS; i++)
        r->last[i] = LRT_NONE;
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        lrt_read_node(m, i, &n);
        for (uint32_t j = 0; j < n.n_in; j++)
            if (n.in[j] - first < READERS)
                r->last[n.in[j] - first] = i;
    }
}

/* Nodes write values in their order, so that a walk over the nodes serves many. */
static uint32_t last_reader(const lrt_model *m, last_readers *r, uint32_t value)
{
    if (value - r->first >= READERS)
        find_readers(m, r, value);
    return r->last[value - r->first];
}

uint64_t lrt_planned_rows(const lrt_planner *p, const lrt_value *v)
{
    return (uint64_t)p->limits->batch * (v->kind == LRT_VEC ? 1u : lrt_planned_steps(p, v->axis));
}

static uint64_t value_bytes(lrt_planner *p, uint32_t stages, const lrt_value *v)
{
    const uint64_t rows = lrt_times(p, lrt_planned_rows(p, v), v->kind == LRT_VEC ? 1 : stages);
    return v->kind == LRT_MASK ? rows : lrt_times(p, lrt_times(p, rows, v->size), sizeof(float));
}

/* Of those that are free when the node runs, the smallest that is large enough, else the largest, else a new one. */
static uint32_t choose_buffer(shared_buffers *b, uint32_t node, uint64_t bytes)
{
    uint32_t best = LRT_NONE;
    for (uint32_t i = 0; i < b->count; i++) {
        const uint64_t has = b->of[i].bytes, best_has = best == LRT_NONE ? 0 : b->of[best].bytes;
        if (b->of[i].free_from > node)
            continue;
        if (best == LRT_NONE || (has >= bytes ? best_has < bytes || has < best_has : has > best_has))
            best = i;
    }
    return best == LRT_NONE && b->count < SHARED_BUFFERS ? b->count++ : best;
}

/* What a node writes. Where lanes run parts of the nodes a pass apart, values of one pass are beside those of another;
 * and a vector is made up over all passes. */
static void *node_buffer(lrt_planner *p, uint32_t stages, shared_buffers *b, uint32_t node, uint32_t value)
{
    const lrt_value v = lrt_read_value(p->m, value);
    const uint32_t last = last_reader(p->m, &b->readers, value);
    const int is_port = is_output(p->m, value), may_share = stages == 1 && (v.kind != LRT_VEC || !p->chunk);
    uint32_t i = LRT_NONE;
    uint64_t bytes;
    if (is_port ? !lrt_is_grouped(&v) : last == LRT_NONE)
        return NULL;
    bytes = value_bytes(p, stages, &v);
    if (!is_port && may_share)
        i = choose_buffer(b, node, bytes);
    if (i == LRT_NONE)
        return b->placed ? lrt_take(p, bytes, 1) : NULL;
    b->of[i].bytes = b->of[i].bytes > bytes ? b->of[i].bytes : bytes;
    b->of[i].free_from = last + 1;
    return b->of[i].at;
}

/* All nodes' values, one after the other. */
static void place_values(lrt_planner *p, lrt_session *s, uint32_t stages, shared_buffers *b)
{
    lrt_node n;
    b->count = 0;
    find_readers(p->m, &b->readers, p->m->n_inputs);
    for (uint32_t i = 0; i < p->m->n_nodes; i++) {
        lrt_read_node(p->m, i, &n);
        for (uint32_t j = 0; j < n.n_out; j++) {
            void *at = n.out[j] == LRT_NONE ? NULL : node_buffer(p, stages, b, i, n.out[j]);
            if (s && n.out[j] != LRT_NONE)
                s->buffers[n.out[j]] = at;
        }
    }
}

/* The first walk finds out how large the shared buffers are, and the second does the same again with these in memory. */
static void place_buffers(lrt_planner *p, lrt_session *s, uint32_t stages)
{
    shared_buffers b;
    memset(&b, 0, sizeof b);
    for (uint32_t i = 0; i < p->m->n_inputs; i++) {
        const lrt_value v = lrt_read_value(p->m, i);
        void *at = lrt_is_grouped(&v) ? lrt_take(p, value_bytes(p, stages, &v), 1) : NULL;
        if (s)
            s->buffers[i] = at;
    }
    place_values(p, NULL, stages, &b);
    for (uint32_t i = 0; i < b.count; i++) {
        b.of[i].at = lrt_take(p, b.of[i].bytes, 1);
        b.of[i].bytes = b.of[i].free_from = 0;
    }
    b.placed = 1;
    place_values(p, s, stages, &b);
}

/* ---- the walk ------------------------------------------------------------------------------------------------------ */

/* In this order: the session itself, its tables, buffers for the values between nodes, what each node takes
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
        at->any_grouped |= lrt_is_grouped(&v);
        at->any_lengths |= v.kind == LRT_LENGTHS;
        if (s)
            s->values[i] = v;
    }
    place_buffers(p, s, at->stages);
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
    at->packed_part = (size_t)p->packed;
    at->packed = (uint32_t *)lrt_take(p, lrt_times(p, p->limits->lanes, p->packed), sizeof(uint32_t));
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
