/* Attention: means of the steps of one sequence, weighted by how well they fit each step of another. */
#include <string.h>

#include "lrt_share.h"
#include "lrt_trace.h"
#include "ops/lrt_ops.h"

enum { A_HEADS = 0, A_KV_HEADS = 1, A_KIND = 2, A_SCALE = 3, A_CAUSAL = 4, A_WHOLE = 5 };
enum { DOT = 0, ADDITIVE = 1 };
enum { Q = 0, K = 1, V = 2, MASK = 3 }; /* inputs */

/* Heads of q, those of k and v, and their sizes: of q and k, and of v. */
typedef struct {
    uint32_t heads, groups, size, width;
} parts;

static parts parts_of(const lrt_node *n, const lrt_value *q, const lrt_value *v)
{
    parts p;
    p.heads = n->attr[A_HEADS];
    p.groups = n->attr[A_KV_HEADS] ? n->attr[A_KV_HEADS] : p.heads;
    p.size = q->size / p.heads;
    p.width = v->size / p.groups;
    return p;
}

static int check_attrs(const lrt_checker *c, const lrt_value *q)
{
    const uint32_t *a = c->n.attr;
    const uint32_t groups = a[A_KV_HEADS] ? a[A_KV_HEADS] : a[A_HEADS];
    if (a[A_HEADS] < 1 || a[A_HEADS] > LRT_MAX_SIZE || q->size % a[A_HEADS] || a[A_HEADS] % groups)
        return LRT_E_NODE_ATTR;
    if (a[A_KIND] > ADDITIVE || a[A_CAUSAL] > 1 || a[A_WHOLE] > 1 || (a[A_CAUSAL] && q->kind != LRT_SEQ))
        return LRT_E_NODE_ATTR;
    return lrt_want_finite(c, A_SCALE);
}

static int check_attention(lrt_checker *c)
{
    lrt_value q, k, v;
    parts p;
    LRT_TRY(lrt_want_counts(c, 4, c->n.n_out, 1));
    LRT_TRY(lrt_want_input(c, Q, LRT_FEATURES, &q));
    LRT_TRY(lrt_want_input(c, K, LRT_KIND(LRT_SEQ), &k));
    LRT_TRY(lrt_want_input(c, V, LRT_KIND(LRT_SEQ), &v));
    LRT_TRY(check_attrs(c, &q));
    p = parts_of(&c->n, &q, &v);
    if (v.axis != k.axis || k.size != (uint64_t)p.size * p.groups || v.size % p.groups)
        return LRT_E_NODE_INPUT;
    if (!lrt_is_absent(c, MASK))
        LRT_TRY(lrt_want_input_like(c, MASK, LRT_KIND(LRT_MASK), 0, k.axis));
    LRT_TRY(c->n.attr[A_KIND] == ADDITIVE ? lrt_want_optional_weight(c, 0, LRT_PLAIN, 1, 1, q.size)
                                          : lrt_want_no_weight(c, 0));
    if (c->n.n_out != (q.kind == LRT_VEC ? 2u : 1u) || (uint64_t)p.width * p.heads > LRT_MAX_SIZE)
        return LRT_E_NODE_OUTPUT;
    LRT_TRY(lrt_want_output(c, 0, q.kind, p.width * p.heads, q.axis));
    return q.kind == LRT_VEC ? lrt_want_output(c, 1, LRT_SEQ, p.heads, k.axis) : LRT_OK;
}

static uint32_t attention_hinders(const lrt_checker *c)
{
    (void)c;
    return LRT_FLAG_CAUSAL | LRT_FLAG_STREAMS;
}

/* Of each lane: the steps of a row that count, and of one query and head how well they fit, then their weights. */
typedef struct {
    uint32_t *step;
    float *weights;
    size_t steps; /* for so many */
} attention;

static void plan_attention(lrt_planner *p, lrt_plan_node *at)
{
    attention measured, *own = (attention *)lrt_take(p, 1, sizeof *own);
    at->own = own;
    own = own ? own : &measured;
    own->steps = lrt_planned_steps(p, lrt_read_value(p->m, at->node.in[K]).axis);
    own->step = (uint32_t *)lrt_take(p, lrt_times(p, p->limits->lanes, own->steps), sizeof *own->step);
    own->weights = lrt_take_floats(p, p->limits->lanes, own->steps);
}

static void work_of_attention(const lrt_session *s, const lrt_plan_node *at, lrt_work *work)
{
    const lrt_node *n = &at->node;
    const uint64_t each = (uint64_t)s->values[n->in[Q]].size + s->values[n->out[0]].size;
    work->all = each * (s->steps[s->values[n->in[K]].axis] + 1ull);
    work->recurrent = 0;
}

/* A lane's view of the node. */
typedef struct {
    const lrt_pass *pass;
    const lrt_node *n;
    uint32_t number; /* of the node */
    parts p;
    uint32_t *step;
    uint32_t row, steps; /* of the row: so many count */
    float *weights;
    lrt_fits_args fits;
    lrt_weigh_args weigh;
} query;

static void begin(query *to, const lrt_pass *pass, const lrt_plan_node *at)
{
    const lrt_session *s = pass->s;
    const lrt_node *n = &at->node;
    const attention *own = (const attention *)at->own;
    memset(to, 0, sizeof *to);
    to->pass = pass;
    to->n = n;
    to->number = (uint32_t)(at - s->nodes);
    to->p = parts_of(n, &s->values[n->in[Q]], &s->values[n->in[V]]);
    to->step = own->step + pass->own_lane * own->steps;
    to->weights = own->weights + pass->own_lane * own->steps;
    to->fits.additive = n->attr[A_KIND] == ADDITIVE;
    to->fits.k_step = s->views[n->in[K]].step;
    to->fits.scale = lrt_attr_float(n, A_SCALE);
    to->fits.n = to->p.size;
    to->weigh.v_step = s->views[n->in[V]].step;
    to->weigh.n = to->p.width;
    to->fits.step = to->weigh.step = to->step;
    to->fits.y = to->weights;
    to->weigh.w = to->weights;
}

/* Lists the steps of the row that count. */
static void take_row(query *to, uint32_t row)
{
    const lrt_pass *pass = to->pass;
    const uint32_t axis = pass->s->values[to->n->in[K]].axis, mask = to->n->in[MASK];
    const uint32_t steps = to->n->attr[A_WHOLE] ? pass->steps[axis] : lrt_valid_steps(pass, axis, row);
    const unsigned char *counts = mask == LRT_NONE ? NULL : lrt_mask_at(pass, mask, row, 0);
    to->row = row;
    to->steps = 0;
    for (uint32_t t = 0; t < steps; t++)
        if (!counts || counts[t])
            to->step[to->steps++] = t;
}

/* How many of the row's steps the query at step t sees. */
static uint32_t seen_by(const query *of, uint32_t t)
{
    uint32_t seen = of->steps;
    while (of->n->attr[A_CAUSAL] && seen > 0 && of->step[seen - 1] > t)
        seen--;
    return seen;
}

/* Weights of the steps that count, at their places; of the others 0. */
static void store_weights(const query *of, uint32_t head, uint32_t seen)
{
    const lrt_pass *pass = of->pass;
    const uint32_t value = of->n->out[1], all = pass->steps[pass->s->values[value].axis];
    const ptrdiff_t apart = pass->s->views[value].step;
    float *y = lrt_row(pass, value, of->row) + head;
    for (uint32_t t = 0, i = 0; t < all; t++, y += apart)
        *y = i < seen && of->step[i] == t ? of->weights[i++] : 0.0f;
}

/* The weights for a caller who traces: of steps that follow each other together. */
static void tell_weights(const query *of, uint32_t t, uint32_t head, uint32_t seen)
{
    lrt_traced piece;
    piece.node = of->number;
    piece.direction = head;
    piece.row = of->row;
    piece.step = t;
    piece.held = 0;
    for (uint32_t i = 0, end; i < seen; i = end) {
        for (end = i + 1; end < seen && of->step[end] == of->step[end - 1] + 1;)
            end++;
        lrt_tell(of->pass, &piece, LRT_TRACED_WEIGHTS, of->step[i], end - i, of->weights + i);
    }
}

/* One head of the query at step t. */
static void attend(query *to, uint32_t t, uint32_t head, uint32_t seen)
{
    static const lrt_act softmax = {LRT_ACT_SOFTMAX, 0.0f, 0.0f};
    const lrt_pass *pass = to->pass;
    const lrt_kernels *kernels = pass->s->kernels;
    const lrt_node *n = to->n;
    const uint32_t group = head / (to->p.heads / to->p.groups);
    const float *weight = lrt_tensor_data(pass->s->model, n->tensor[0]);
    to->fits.q = lrt_row_at(pass, n->in[Q], to->row, t) + (size_t)head * to->p.size;
    to->fits.k = lrt_row(pass, n->in[K], to->row) + (size_t)group * to->p.size;
    to->fits.weight = weight ? weight + (size_t)head * to->p.size : NULL;
    to->weigh.v = lrt_row(pass, n->in[V], to->row) + (size_t)group * to->p.width;
    to->fits.steps = to->weigh.steps = seen;
    if (seen > 0) {
        kernels->fits(&to->fits);
        kernels->activate(&softmax, to->weights, to->weights, seen);
        if (lrt_is_traced(pass->s))
            tell_weights(to, t, head, seen);
    }
    if (pass->s->views[n->out[0]].data) {
        to->weigh.y = lrt_row_at(pass, n->out[0], to->row, t) + (size_t)head * to->p.width;
        kernels->weigh(&to->weigh);
    }
    if (n->n_out == 2 && pass->s->views[n->out[1]].data)
        store_weights(to, head, seen);
}

/* Lanes share rows, or the queries of each. */
static void run_attention(lrt_pass *pass, const lrt_plan_node *at)
{
    const uint64_t work = lrt_work_of(pass->s, at).all;
    uint32_t row = 0, rows = pass->s->batch, from = 0, to = lrt_value_steps(pass, at->node.in[Q]);
    query mine;
    begin(&mine, pass, at);
    if (rows >= pass->lanes)
        lrt_share(rows, pass->lane, pass->lanes, &row, &rows);
    else
        lrt_share(to, pass->lane, pass->lanes, &from, &to);
    for (; row < rows && from < to; row++) {
        take_row(&mine, row);
        for (uint32_t t = from; t < to; t++) {
            const uint32_t seen = seen_by(&mine, t);
            for (uint32_t head = 0; head < mine.p.heads; head++)
                attend(&mine, t, head, seen);
            if (lrt_told_to_stop(pass, work))
                return;
        }
    }
}

const lrt_op lrt_ops_attention[] = {
    {.code = LRT_OP_ATTENTION, .since = 4, .check = check_attention, .hinders = attention_hinders,
     .plan = plan_attention, .work = work_of_attention, .when = LRT_ALWAYS, .run = run_attention},
    {.code = LRT_OP_NONE},
};
