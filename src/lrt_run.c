/* Walks the graph: passes over time, nodes, directions, steps, lanes. Knows no ISA.
 *
 * Several threads ("lanes") may walk together. They share a node by batch rows, by directions or
 * by panels of hidden units; only panels need a barrier per step. However it is shared, each
 * output is computed by one lane with the same operations, so results do not depend on it. */
#include <string.h>

#include "lrt_internal.h"

/* One lane's view of the pass under way. */
typedef struct {
    lrt_session *s;
    uint32_t lane, lanes;
    lrt_barrier *barrier;
    void *context;
    uint32_t t0;                  /* first step of the pass */
    uint32_t steps[LRT_MAX_AXES]; /* steps of the pass */
    int last;                     /* the last pass */
    int piped;                    /* runs a part of the layers alone, while other lanes run the others */
    uint32_t place;               /* number among all lanes, for scratch of its own */
    uint32_t slot;                /* which of several passes that buffers hold */
    uint64_t work;                /* since the lane last asked whether to stop, in multiply-adds */
    uint32_t meetings;            /* at which lanes told each other whether to stop */
    int stopping;
} run;

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Lane's share [*from, *to) of n things. */
static void share(uint32_t n, uint32_t lane, uint32_t lanes, uint32_t *from, uint32_t *to)
{
    *from = (uint32_t)((uint64_t)n * lane / lanes);
    *to = (uint32_t)((uint64_t)n * (lane + 1) / lanes);
}

/* Time steps of a value in this pass: 1 for vectors. */
static uint32_t value_steps(const run *r, uint32_t value)
{
    const lrt_value *v = &r->s->values[value];
    return v->kind == LRT_VEC ? 1 : r->steps[v->axis];
}

/* Steps of all rows that a buffer holds before those of this pass. */
static size_t slot_of(const run *r) { return (size_t)r->slot * r->s->limits.batch * r->s->chunk; }

/* Row n of a float value at the first step of the pass. */
static float *row_of(const run *r, uint32_t value, uint32_t n)
{
    const lrt_view *view = &r->s->views[value];
    const lrt_value *v = &r->s->values[value];
    float *row = (float *)view->data + (ptrdiff_t)n * view->row;
    if (v->kind == LRT_VEC)
        return row;
    return r->s->buffers[value] ? row + slot_of(r) * v->size : row + (size_t)r->t0 * v->size;
}

/* The same for ids, which are always inputs, and masks, which never are. */
static const int32_t *ids_of(const run *r, uint32_t value, uint32_t n)
{
    const lrt_view *view = &r->s->views[value];
    return (const int32_t *)view->data + (ptrdiff_t)n * view->row + r->t0;
}
static unsigned char *mask_of(const run *r, uint32_t value, uint32_t n)
{
    const lrt_view *view = &r->s->views[value];
    return (unsigned char *)view->data + (ptrdiff_t)n * view->row + slot_of(r);
}

/* Steps of row n that lie in this pass, given the lengths of the axis. */
static uint32_t valid_steps(const run *r, uint32_t axis, uint32_t n)
{
    const int32_t *lengths = r->s->lengths[axis];
    uint32_t left;
    if (!lengths)
        return r->steps[axis];
    left = (uint32_t)lengths[n] > r->t0 ? (uint32_t)lengths[n] - r->t0 : 0;
    return smaller(left, r->steps[axis]);
}

/* ---- meeting, and stopping early -------------------------------------------------------------------
 *
 * A lane that has been told to stop leaves its piece of work, but not alone: it goes on to the next
 * meeting, where the others learn of it and all leave the call together. */

#define STOP_WORK (1u << 22) /* multiply-adds between questions: a tenth of a millisecond, more or less */

static void ask(run *r)
{
    r->work = 0;
    if (r->s->stop && !r->stopping)
        r->stopping = r->s->stop(r->s->stop_context, r->place) != 0;
}

/* After a piece of work: shall the lane leave the rest? */
static int told_to_stop(run *r, uint64_t work)
{
    r->work += work;
    if (r->work >= STOP_WORK)
        ask(r);
    return r->stopping;
}

static void lane_barrier(const run *r)
{
    if (r->lanes > 1)
        r->barrier(r->context);
}

/* All lanes meet; do they stop? What one has written of itself the others read before the next meeting,
 * and it is written over after that. */
static int meet(run *r)
{
    unsigned char *told = r->s->stopping + (r->meetings++ & 1u) * r->s->limits.lanes;
    if (r->lanes == 1)
        return r->stopping;
    told[r->place] = (unsigned char)r->stopping;
    lane_barrier(r);
    for (uint32_t i = 0; i < r->lanes; i++)
        r->stopping |= told[i];
    return r->stopping;
}

/* ---- nodes over rows of features ------------------------------------------------------------------- */

/* Calls `each` on the lane's share of all (row, step) pairs: `count` steps from `x` on, one output
 * row after the other, with strides of the values' sizes. */
typedef void each_fn(const run *r, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count);

/* Multiply-adds, or features, of one step of one row. */
static uint64_t features_work(const lrt_session *s, const lrt_node *n)
{
    uint64_t size = s->values[n->out[0]].size;
    return n->op == LRT_OP_DENSE ? size * s->values[n->in[0]].size : size;
}

/* Rows of features that are computed between two questions, or without being asked: so many that reading the
 * weights costs little. */
static uint32_t piece_rows(uint64_t work)
{
    return 2 * LRT_PROJECT_ROWS + (uint32_t)(STOP_WORK / (work + 1)) / LRT_PROJECT_ROWS * LRT_PROJECT_ROWS;
}

static void for_steps(run *r, const lrt_node *n, each_fn *each)
{
    uint32_t row = 0, rows = r->s->batch, from = 0, to = value_steps(r, n->out[0]);
    const uint64_t work = features_work(r->s, n);
    const uint32_t piece = piece_rows(work);
    /* Share rows when there are enough of them, else steps. */
    if (rows >= r->lanes)
        share(rows, r->lane, r->lanes, &row, &rows);
    else
        share(to, r->lane, r->lanes, &from, &to);
    for (; row < rows; row++) {
        for (uint32_t step = from, count; step < to; step += count) {
            count = smaller(piece, to - step);
            each(r, n, row, step, count);
            if (told_to_stop(r, work * count))
                return;
        }
    }
}

static float *at_step(const run *r, uint32_t value, uint32_t row, uint32_t step)
{
    return row_of(r, value, row) + (size_t)step * r->s->values[value].size;
}

static void each_embedding(const run *r, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t size = r->s->values[n->out[0]].size;
    const float *table = lrt_tensor_data(r->s->model, n->tensor[0]);
    const int32_t *ids = ids_of(r, n->in[0], row) + step;
    float *y = at_step(r, n->out[0], row, step);
    for (uint32_t t = 0; t < count; t++, y += size)
        memcpy(y, table + (size_t)ids[t] * size, size * sizeof(float));
}

static void each_mask_ids(const run *r, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    const int32_t *ids = ids_of(r, n->in[0], row) + step;
    unsigned char *y = mask_of(r, n->out[0], row) + step;
    int32_t skip;
    memcpy(&skip, &n->attr[0], sizeof skip);
    for (uint32_t t = 0; t < count; t++)
        y[t] = ids[t] != skip;
}

static void each_mask_values(const run *r, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t size = r->s->values[n->in[0]].size;
    const float *x = at_step(r, n->in[0], row, step);
    unsigned char *y = mask_of(r, n->out[0], row) + step;
    float skip = lrt_attr_float(n, 0);
    for (uint32_t t = 0; t < count; t++, x += size) {
        y[t] = 0;
        for (uint32_t i = 0; i < size && !y[t]; i++)
            y[t] = !(x[i] == skip);
    }
}

static void each_apply_mask(const run *r, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t size = r->s->values[n->out[0]].size;
    const float *x = at_step(r, n->in[0], row, step);
    const unsigned char *mask = mask_of(r, n->in[1], row) + step;
    float *y = at_step(r, n->out[0], row, step);
    for (uint32_t t = 0; t < count; t++, x += size, y += size) {
        if (mask[t])
            memcpy(y, x, size * sizeof(float));
        else
            memset(y, 0, size * sizeof(float));
    }
}

static void activate_rows(const lrt_kernels *k, const lrt_act *act, const float *x, float *y, uint32_t rows,
                          uint32_t size)
{
    if (act->kind < LRT_ACT_SOFTMAX) { /* elementwise: one long row */
        k->activate(act, x, y, (size_t)rows * size);
        return;
    }
    for (uint32_t i = 0; i < rows; i++, x += size, y += size)
        k->activate(act, x, y, size);
}

static void each_activation(const run *r, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    lrt_act act = lrt_attr_act(n, 0);
    activate_rows(r->s->k, &act, at_step(r, n->in[0], row, step), at_step(r, n->out[0], row, step), count,
                  r->s->values[n->out[0]].size);
}

static void each_layernorm(const run *r, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t size = r->s->values[n->out[0]].size;
    const float *gamma = lrt_tensor_data(r->s->model, n->tensor[0]);
    const float *beta = lrt_tensor_data(r->s->model, n->tensor[1]);
    const float *x = at_step(r, n->in[0], row, step);
    float *y = at_step(r, n->out[0], row, step);
    for (uint32_t t = 0; t < count; t++, x += size, y += size)
        r->s->k->layernorm(x, gamma, beta, lrt_attr_float(n, 0), y, size);
}

static void each_batchnorm(const run *r, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t size = r->s->values[n->out[0]].size;
    const lrt_model *m = r->s->model;
    const float *x = at_step(r, n->in[0], row, step);
    float *y = at_step(r, n->out[0], row, step);
    for (uint32_t t = 0; t < count; t++, x += size, y += size)
        r->s->k->batchnorm(x, lrt_tensor_data(m, n->tensor[0]), lrt_tensor_data(m, n->tensor[1]),
                           lrt_tensor_data(m, n->tensor[2]), y, size);
}

static void each_binary(const run *r, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    enum lrt_binary op = n->op == LRT_OP_ADD ? LRT_ADD : n->op == LRT_OP_MUL ? LRT_MUL : LRT_AVERAGE;
    r->s->k->binary(op, at_step(r, n->in[0], row, step), at_step(r, n->in[1], row, step),
                    at_step(r, n->out[0], row, step), (size_t)count * r->s->values[n->out[0]].size);
}

static void each_concat(const run *r, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t width = r->s->values[n->out[0]].size, at = 0;
    float *y = at_step(r, n->out[0], row, step);
    for (uint32_t i = 0; i < n->n_in; i++) {
        uint32_t size = r->s->values[n->in[i]].size;
        const float *x = at_step(r, n->in[i], row, step);
        for (uint32_t t = 0; t < count; t++)
            memcpy(y + (size_t)t * width + at, x + (size_t)t * size, size * sizeof(float));
        at += size;
    }
}

static void each_slice(const run *r, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t from = n->attr[0], size = n->attr[1], width = r->s->values[n->in[0]].size;
    const float *x = at_step(r, n->in[0], row, step) + from;
    float *y = at_step(r, n->out[0], row, step);
    for (uint32_t t = 0; t < count; t++)
        memcpy(y + (size_t)t * size, x + (size_t)t * width, size * sizeof(float));
}

static void each_reverse(const run *r, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t size = r->s->values[n->out[0]].size;
    uint32_t valid = valid_steps(r, r->s->values[n->in[0]].axis, row);
    const float *x = row_of(r, n->in[0], row);
    float *y = at_step(r, n->out[0], row, step);
    for (uint32_t t = step; t < step + count; t++, y += size) {
        if (t < valid)
            memcpy(y, x + (size_t)(valid - 1 - t) * size, size * sizeof(float));
        else
            memset(y, 0, size * sizeof(float));
    }
}

/* The last valid step (or the first): whichever pass holds it writes the output; the first pass
 * writes zeros for rows that have none. */
static void run_select(const run *r, const lrt_node *n)
{
    uint32_t axis = r->s->values[n->in[0]].axis, size = r->s->values[n->in[0]].size, from, to;
    const int32_t *lengths = r->s->lengths[axis];
    share(r->s->batch, r->lane, r->lanes, &from, &to);
    for (uint32_t row = from; row < to; row++) {
        uint32_t length = lengths ? (uint32_t)lengths[row] : r->s->steps[axis];
        uint32_t wanted = n->attr[0] == 0 ? 0 : length - 1;
        float *y = row_of(r, n->out[0], row);
        if (length == 0 && r->t0 == 0)
            memset(y, 0, size * sizeof(float));
        else if (length > 0 && wanted >= r->t0 && wanted - r->t0 < r->steps[axis])
            memcpy(y, at_step(r, n->in[0], row, wanted - r->t0), size * sizeof(float));
    }
}

/* ---- dense ------------------------------------------------------------------------------------------ */

static void dense_rows(const run *r, const lrt_linear_args *args, const lrt_act *act)
{
    const lrt_kernels *k = r->s->k;
    k->linear(args);
    if (act->kind != LRT_ACT_LINEAR)
        activate_rows(k, act, args->y, args->y, args->rows, args->m.units);
}

static void linear_node(const run *r, const lrt_node *n, lrt_linear_args *a)
{
    memset(a, 0, sizeof *a);
    a->m.w = lrt_tensor_data(r->s->model, n->tensor[0]);
    a->m.gates = 1;
    a->m.units = r->s->values[n->out[0]].size;
    a->m.k = r->s->values[n->in[0]].size;
    a->bias = lrt_tensor_data(r->s->model, n->tensor[1]);
    a->x_row = (ptrdiff_t)a->m.k;
    a->y_row = (ptrdiff_t)a->m.units;
    a->p1 = lrt_panel_count(a->m.units);
}

static void each_dense(const run *r, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    lrt_linear_args a;
    lrt_act act = lrt_attr_act(n, 0);
    linear_node(r, n, &a);
    a.x = at_step(r, n->in[0], row, step);
    a.y = at_step(r, n->out[0], row, step);
    a.rows = count;
    dense_rows(r, &a, &act);
}

/* Rows of all steps or of the whole batch follow each other without a gap: one product. */
static void run_dense(run *r, const lrt_node *n)
{
    const lrt_view *x = &r->s->views[n->in[0]], *y = &r->s->views[n->out[0]];
    const uint64_t work = features_work(r->s, n);
    uint32_t steps = value_steps(r, n->out[0]), piece = piece_rows(work), from, to;
    lrt_linear_args a;
    lrt_act act = lrt_attr_act(n, 0);
    linear_node(r, n, &a);
    if ((uint64_t)r->s->batch * steps > UINT32_MAX ||
        (steps != 1 && (x->row != (ptrdiff_t)steps * a.x_row || y->row != (ptrdiff_t)steps * a.y_row))) {
        for_steps(r, n, each_dense);
        return;
    }
    if (steps == 1) {
        a.x_row = x->row;
        a.y_row = y->row;
    }
    share(r->s->batch * steps, r->lane, r->lanes, &from, &to);
    if (from == to)
        return;
    a.x = row_of(r, n->in[0], 0) + (ptrdiff_t)from * a.x_row;
    a.y = row_of(r, n->out[0], 0) + (ptrdiff_t)from * a.y_row;
    if (steps == 1 && a.y_row != (ptrdiff_t)a.m.units) /* one step of a longer output: row by row */
        piece = 1;
    for (; from < to; from += a.rows, a.x += (ptrdiff_t)a.rows * a.x_row, a.y += (ptrdiff_t)a.rows * a.y_row) {
        a.rows = smaller(piece, to - from);
        dense_rows(r, &a, &act);
        if (told_to_stop(r, work * a.rows))
            return;
    }
}

/* ---- recurrent layers --------------------------------------------------------------------------------- */

enum mode { ALONE, BY_ROWS, BY_DIRECTIONS, BY_PANELS };

/* A lane's part of one direction in one pass. */
typedef struct {
    run *r;
    const lrt_node *n;
    lrt_recurrent *rec;
    lrt_direction *dir;
    uint32_t d, place;    /* place: of scratch, by direction or stage */
    uint32_t n0, n1;      /* batch rows */
    uint32_t part, parts; /* of the panels; parts > 1: a barrier ends each phase of a step */
    uint32_t p0, p1;      /* panels of hidden units */
    uint32_t axis;
    const int32_t *lengths; /* or NULL */
    uint32_t mask;          /* value or LRT_NONE */
    uint32_t seq;           /* value or LRT_NONE when nobody reads it */
    size_t pre_row;         /* floats of one row of pre-activations */
    uint32_t *row, rows;    /* the batch rows that take the step under way */
    int fuse_input;         /* the step makes the input product too */
    uint64_t work;          /* where lanes share the panels: since they last asked whether to stop */
    float **out;            /* per batch row: where its output of the step goes */
    lrt_step_args first, second; /* of the phases of a step; what changes from step to step is set there */
} part;

static void sync(const part *j)
{
    if (j->parts > 1)
        j->r->barrier(j->r->context);
}

/* Where in the pass row n is at step s of its own order. */
static uint32_t time_of(const part *j, uint32_t n, uint32_t s)
{
    return j->dir->reverse ? valid_steps(j->r, j->axis, n) - 1 - s : s;
}

static float *pre_at(const part *j, uint32_t s, uint32_t n)
{
    const lrt_session *ses = j->r->s;
    return ses->pre + j->place * ses->pre_direction + ((size_t)s * ses->batch + n) * j->pre_row;
}

#define PAIRS 120 /* rows of a product that are gathered at a time */

/* The product for steps s0 to s0 + count where each row has its own end: of what there is, gathered. */
static void project_ragged(const part *j, uint32_t s0, uint32_t count, lrt_linear_args a)
{
    const float *x[PAIRS];
    float *y[PAIRS];
    a.x_at = x;
    a.y_at = y;
    for (uint32_t n = j->n0; n < j->n1; n++) {
        uint32_t valid = smaller(valid_steps(j->r, j->axis, n), s0 + count);
        for (uint32_t s = s0; s < valid; s++) {
            x[a.rows] = at_step(j->r, j->n->in[0], n, time_of(j, n, s));
            y[a.rows] = pre_at(j, s - s0, n);
            if (++a.rows == PAIRS) {
                j->r->s->k->linear(&a);
                a.rows = 0;
            }
        }
    }
    if (a.rows)
        j->r->s->k->linear(&a);
}

/* pre = bias + W x for steps s0 to s0 + count of the part's rows and panels. */
static void project(const part *j, uint32_t s0, uint32_t count)
{
    const lrt_session *ses = j->r->s;
    const uint32_t rows = j->n1 - j->n0;
    lrt_linear_args a;
    memset(&a, 0, sizeof a);
    a.m = j->dir->w_ih;
    a.bias = j->dir->bias;
    a.p0 = j->p0;
    a.p1 = j->p1;
    a.padded = 1;
    if (j->lengths) {
        project_ragged(j, s0, count, a);
        return;
    }
    a.x_row = j->dir->reverse ? -(ptrdiff_t)a.m.k : (ptrdiff_t)a.m.k;
    a.y_row = (ptrdiff_t)(j->pre_row * ses->batch);
    a.x = at_step(j->r, j->n->in[0], j->n0, time_of(j, j->n0, s0));
    a.y = pre_at(j, 0, j->n0);
    a.rows = count;
    a.outer = rows - 1;
    a.x_outer = ses->views[j->n->in[0]].row;
    a.y_outer = (ptrdiff_t)j->pre_row;
    if (rows > count) { /* the longer side makes the blocks */
        lrt_linear_args b = a;
        b.x_row = a.x_outer;
        b.y_row = a.y_outer;
        b.rows = rows;
        b.outer = count - 1;
        b.x_outer = a.x_row;
        b.y_outer = a.y_row;
        a = b;
    }
    ses->k->linear(&a);
}

/* Units that belong to a part's share of a state of `units` values. */
static void unit_range(const part *j, uint32_t units, uint32_t *from, uint32_t *to)
{
    uint32_t p0, p1;
    share(lrt_panel_count(units), j->part, j->parts, &p0, &p1);
    *from = smaller(lrt_panel_start(units, p0), units);
    *to = smaller(lrt_panel_start(units, p1), units);
}

static float *seq_at(const part *j, uint32_t n, uint32_t t)
{
    return at_step(j->r, j->seq, n, t) + (size_t)j->d * j->rec->h_size;
}

/* Row n does nothing at step s: its state stays, and if the step is masked rather than beyond the
 * row's length, the output repeats the state or is zero. */
static void hold_row(const part *j, uint32_t n, uint32_t s, int masked)
{
    const lrt_recurrent *rec = j->rec;
    const lrt_direction *dir = j->dir;
    const float *h = dir->h[dir->parity] + (size_t)n * rec->h_stride;
    uint32_t from, to;
    unit_range(j, rec->h_size, &from, &to);
    memcpy(dir->h[!dir->parity] + (size_t)n * rec->h_stride + from, h + from, (to - from) * sizeof(float));
    if (masked && j->seq != LRT_NONE) {
        float *out = seq_at(j, n, time_of(j, n, s));
        int zero = rec->flags & LRT_ZERO_MASKED || (rec->explicit_state && !dir->started[n]);
        if (zero)
            memset(out + from, 0, (to - from) * sizeof(float));
        else
            memcpy(out + from, h + from, (to - from) * sizeof(float));
    }
}

static int beyond_length(const part *j, uint32_t n, uint32_t s)
{
    return j->lengths && s >= valid_steps(j->r, j->axis, n);
}

static int is_masked(const part *j, uint32_t n, uint32_t s)
{
    return j->mask != LRT_NONE && !mask_of(j->r, j->mask, n)[time_of(j, n, s)];
}

/* Lists the rows that take step s, holds the others, and says where outputs go. A row beyond its end is
 * held once: then both of its buffers have its state, and nothing is left to do. */
static void choose_rows(part *j, uint32_t s)
{
    j->rows = 0;
    for (uint32_t n = j->n0; n < j->n1; n++) {
        if (beyond_length(j, n, s)) {
            if (s == valid_steps(j->r, j->axis, n))
                hold_row(j, n, s, 0);
        } else if (is_masked(j, n, s)) {
            hold_row(j, n, s, 1);
        } else {
            j->row[j->rows++] = n;
            if (j->seq != LRT_NONE)
                j->out[n] = seq_at(j, n, time_of(j, n, s));
        }
    }
}

/* What stays the same over the steps of a direction. */
static void fixed_args(part *j)
{
    const lrt_recurrent *rec = j->rec;
    lrt_step_args *a = &j->first;
    memset(a, 0, sizeof *a);
    a->m = j->dir->w_hh;
    a->bias_hh = j->dir->bias_hh;
    a->pre_row = (ptrdiff_t)j->pre_row;
    a->h_prev_row = a->h_next_row = (ptrdiff_t)rec->h_stride;
    a->c_row = (ptrdiff_t)rec->c_stride;
    a->pre_step = (ptrdiff_t)(j->pre_row * j->r->s->batch);
    a->w_in = j->dir->w_ih;
    a->bias_in = j->dir->bias;
    a->x_step = j->dir->reverse ? -(ptrdiff_t)a->w_in.k : (ptrdiff_t)a->w_in.k;
    if (j->seq != LRT_NONE)
        a->out_step = (j->dir->reverse ? -1 : 1) * (ptrdiff_t)j->r->s->values[j->seq].size;
    a->peephole = j->dir->peephole;
    memcpy(a->act, rec->act, sizeof a->act);
    a->clip = rec->clip;
    a->p0 = j->p0;
    a->p1 = j->p1;
    if (!j->dir->w_extra.w)
        return;
    a->steps = 1;
    j->second = *a; /* only the GRU's; the projection of an LSTM is a product of its own */
    j->second.m = j->dir->w_extra;
    j->second.bias_hh = j->dir->bias_extra;
    j->second.h_old_row = a->h_prev_row;
    j->second.h_prev_row = a->h_next_row = (ptrdiff_t)rec->c_stride;
}

static void aim(const part *j, lrt_step_args *a, uint32_t slot)
{
    const lrt_direction *dir = j->dir;
    a->pre = pre_at(j, j->fuse_input ? 0 : slot, 0);
    a->h_prev = dir->h[dir->parity];
    a->h_next = dir->h[!dir->parity];
    a->c = dir->c;
    a->out = j->seq != LRT_NONE ? j->out : NULL;
    a->row = j->row;
    a->rows = j->rows;
    a->backward = (int)(slot & 1u);
}

static float *scratch(const part *j) { return j->r->s->extra + j->place * j->r->s->extra_direction; }

/* h = W_hr m for the part's share of the projected units (Sak et al. 2014). */
static void project_h(const part *j)
{
    const lrt_recurrent *rec = j->rec;
    const float *x[PAIRS];
    float *y[PAIRS];
    lrt_linear_args a;
    uint32_t from, to;
    memset(&a, 0, sizeof a);
    a.m = j->dir->w_extra;
    a.x_at = x;
    a.y_at = y;
    share(lrt_panel_count(a.m.units), j->part, j->parts, &a.p0, &a.p1);
    unit_range(j, rec->h_size, &from, &to);
    for (uint32_t first = 0; first < j->rows; first += a.rows) {
        a.rows = smaller(PAIRS, j->rows - first);
        for (uint32_t i = 0; i < a.rows; i++) {
            x[i] = scratch(j) + (size_t)j->row[first + i] * rec->c_stride;
            y[i] = j->dir->h[!j->dir->parity] + (size_t)j->row[first + i] * rec->h_stride;
        }
        j->r->s->k->linear(&a);
        for (uint32_t i = 0; i < a.rows && j->seq != LRT_NONE; i++)
            memcpy(j->out[j->row[first + i]] + from, y[i] + from, (to - from) * sizeof(float));
    }
}

/* The phases of one step of the rows that take it. A phase's results are whole only after sync. */
static void step_first(part *j, uint32_t s, uint32_t slot)
{
    const lrt_kernels *k = j->r->s->k;
    lrt_step_args *a = &j->first;
    aim(j, a, slot);
    if (j->fuse_input)
        a->x = at_step(j->r, j->n->in[0], j->n0, time_of(j, j->n0, s));
    if (j->dir->w_extra.w) { /* to scratch; step_second makes h of it */
        a->h_next = scratch(j);
        a->out = NULL;
    }
    if (j->rec->op == LRT_OP_LSTM)
        k->lstm_step(a);
    else if (j->rec->op == LRT_OP_RNN)
        k->rnn_step(a);
    else if (j->rec->flags & LRT_RESET_AFTER)
        k->gru_step(a);
    else
        k->gru_reset_step(a);
}

static void step_second(part *j, uint32_t slot)
{
    lrt_step_args *a = &j->second;
    if (j->rec->op == LRT_OP_LSTM) {
        project_h(j);
        return;
    }
    aim(j, a, slot);
    a->h_old = a->h_prev;
    a->h_prev = scratch(j);
    j->r->s->k->gru_candidate_step(a);
}

/* Marks rows that have taken a step; the other lanes look after the barrier that ends it. */
static void mark_started(const part *j)
{
    for (uint32_t i = 0; i < j->rows && j->part == 0 && j->mask != LRT_NONE; i++)
        j->dir->started[j->row[i]] = 1;
}

/* Every row takes every step, in one phase that no other lane shares: the kernel makes several in one go. */
static int runs_through(const part *j)
{
    return !j->lengths && j->mask == LRT_NONE && j->parts == 1 && !j->dir->w_extra.w;
}

#define FUSE_INPUTS 8u /* inputs so few that their product is cheaper in the step than in one of all steps */

/* Does the step make the input product? Of one row, where that is little work or there is but one step. */
static int fuses_input(const part *j, uint32_t steps)
{
    int starts_at_pre = j->rec->op != LRT_OP_GRU;
    return starts_at_pre && j->n1 - j->n0 == 1 && (j->dir->w_ih.k <= FUSE_INPUTS || steps == 1);
}

static void run_step(part *j, uint32_t s, uint32_t slot)
{
    choose_rows(j, s);
    if (j->rows)
        step_first(j, s, slot);
    if (j->dir->w_extra.w) {
        sync(j);
        if (j->rows)
            step_second(j, slot);
    }
    mark_started(j);
}

/* Sequence outputs beyond each row's length are zero. */
static void clear_beyond(const part *j)
{
    for (uint32_t n = j->n0; n < j->n1 && j->lengths && j->seq != LRT_NONE && j->part == 0; n++)
        for (uint32_t t = valid_steps(j->r, j->axis, n); t < j->r->steps[j->axis]; t++)
            memset(seq_at(j, n, t), 0, j->rec->h_size * sizeof(float));
}

/* `most` or less at a time, such that the last time is not much shorter than the others. */
static uint32_t even_parts(uint32_t steps, uint32_t most)
{
    uint32_t times = steps / most + (steps % most != 0);
    return times ? steps / times + (steps % times != 0) : most;
}

/* Steps until every row of the part has ended and been held. */
static uint32_t steps_to_run(const part *j)
{
    uint32_t most = 0;
    if (!j->lengths)
        return j->r->steps[j->axis];
    for (uint32_t n = j->n0; n < j->n1; n++) {
        uint32_t valid = valid_steps(j->r, j->axis, n);
        most = valid > most ? valid : most;
    }
    return smaller(most + 1, j->r->steps[j->axis]);
}

/* Multiply-adds of one step of the part's rows, of all panels. */
static uint64_t part_work(const part *j)
{
    const uint64_t units = (uint64_t)lrt_gates(j->rec->op) * j->rec->hidden;
    return units * ((uint64_t)j->rec->h_size + j->dir->w_ih.k) * (j->n1 - j->n0);
}

/* One step has been made, or several; does the lane leave off? Lanes that share the panels meet here, and
 * ask after the same steps, so that they leave together. */
static int end_steps(part *j)
{
    const uint64_t work = part_work(j) * j->first.steps;
    if (j->parts == 1)
        return told_to_stop(j->r, work);
    j->work += work;
    if (j->work < STOP_WORK) {
        lane_barrier(j->r);
        return 0;
    }
    j->work = 0;
    ask(j->r);
    return meet(j->r);
}

static void run_direction(part *j)
{
    lrt_session *ses = j->r->s;
    uint32_t steps = steps_to_run(j);
    uint32_t at_once = even_parts(steps, lrt_project_steps(ses->batch, j->pre_row));
    const int through = runs_through(j);
    size_t list = (size_t)(2 * j->r->place + j->d) * ses->limits.batch;
    lrt_direction local = *j->dir; /* lanes count steps each for itself */
    j->dir = &local;
    j->fuse_input = fuses_input(j, steps);
    j->row = ses->row_lists + list;
    j->out = ses->out_rows + list;
    fixed_args(j);
    if (j->fuse_input) { /* nothing is computed ahead; an even number, as panels are walked to and fro */
        at_once = 16 + (uint32_t)(STOP_WORK / part_work(j)) / 2 * 2;
        j->first.pre_step = 0;
    }
    for (uint32_t s0 = 0; s0 < steps; s0 += at_once) {
        uint32_t count = smaller(at_once, steps - s0);
        if (!j->fuse_input)
            project(j, s0, count);
        for (uint32_t i = 0; i < count; i += j->first.steps) {
            j->first.steps = through ? count : 1;
            run_step(j, s0 + i, i);
            local.parity ^= j->first.steps & 1u;
            if (end_steps(j))
                return;
        }
    }
    clear_beyond(j);
}

static enum mode choose_mode(const lrt_session *s, const lrt_recurrent *rec, uint32_t lanes);

static void load_state(const run *r, const lrt_node *n, lrt_recurrent *rec)
{
    for (uint32_t d = 0; d < rec->n_dir; d++) {
        lrt_direction *dir = &rec->dir[d];
        for (uint32_t row = 0; row < r->s->batch; row++) {
            float *h = dir->h[dir->parity] + (size_t)row * rec->h_stride;
            if (n->in[1] != LRT_NONE)
                memcpy(h, row_of(r, n->in[1], row) + (size_t)d * rec->h_size, rec->h_size * sizeof(float));
            else
                memset(h, 0, rec->h_size * sizeof(float));
            if (!dir->c)
                continue;
            h = dir->c + (size_t)row * rec->c_stride;
            if (n->in[2] != LRT_NONE)
                memcpy(h, row_of(r, n->in[2], row) + (size_t)d * rec->hidden, rec->hidden * sizeof(float));
            else
                memset(h, 0, rec->hidden * sizeof(float));
        }
        memset(dir->started, 0, r->s->batch);
    }
}

static void store_state(const run *r, const lrt_node *n, const lrt_recurrent *rec)
{
    for (uint32_t d = 0; d < rec->n_dir; d++) {
        const lrt_direction *dir = &rec->dir[d];
        for (uint32_t row = 0; row < r->s->batch; row++) {
            if (r->s->views[n->out[1]].data)
                memcpy(row_of(r, n->out[1], row) + (size_t)d * rec->h_size,
                       dir->h[dir->parity] + (size_t)row * rec->h_stride, rec->h_size * sizeof(float));
            if (dir->c && r->s->views[n->out[2]].data)
                memcpy(row_of(r, n->out[2], row) + (size_t)d * rec->hidden,
                       dir->c + (size_t)row * rec->c_stride, rec->hidden * sizeof(float));
        }
    }
}

/* The lane's share of the batch rows: of equal work, where rows have their own ends. */
static void share_rows(part *j)
{
    const run *r = j->r;
    uint64_t total = 0, before = 0;
    share(r->s->batch, r->lane, r->lanes, &j->n0, &j->n1);
    for (uint32_t n = 0; n < r->s->batch && j->lengths; n++)
        total += valid_steps(r, j->axis, n);
    if (total == 0)
        return;
    j->n0 = j->n1 = r->s->batch;
    for (uint32_t n = 0; n < r->s->batch; n++) {
        uint32_t lane = smaller((uint32_t)(before * r->lanes / total), r->lanes - 1); /* also without steps */
        j->n0 = lane >= r->lane && n < j->n0 ? n : j->n0;
        j->n1 = lane > r->lane && n < j->n1 ? n : j->n1;
        before += valid_steps(r, j->axis, n);
    }
}

static void run_recurrent(run *r, const lrt_node *n, lrt_recurrent *rec)
{
    enum mode mode = choose_mode(r->s, rec, r->lanes);
    part j;
    memset(&j, 0, sizeof j);
    j.r = r;
    j.n = n;
    j.rec = rec;
    j.axis = r->s->values[n->in[0]].axis;
    j.lengths = r->s->lengths[j.axis];
    j.mask = n->in[3];
    j.seq = r->s->views[n->out[0]].data ? n->out[0] : LRT_NONE;
    j.pre_row = (size_t)lrt_gates(rec->op) * lrt_padded_units(rec->hidden);
    j.n1 = r->s->batch;
    j.parts = 1;
    if (mode == BY_ROWS) {
        share_rows(&j);
    } else if (mode == BY_PANELS) {
        j.part = r->lane;
        j.parts = r->lanes;
    }
    share(lrt_panel_count(rec->hidden), j.part, j.parts, &j.p0, &j.p1);
    if (rec->explicit_state && r->t0 == 0) {
        if (r->lane == 0)
            load_state(r, n, rec);
        lane_barrier(r);
    }
    for (j.d = 0; j.d < rec->n_dir; j.d++) {
        int mine = mode == ALONE ? r->lane == 0 : mode == BY_DIRECTIONS ? r->lane == j.d : 1;
        j.dir = &rec->dir[j.d];
        j.place = r->piped ? r->place : j.d;
        if (mine && j.n0 < j.n1)
            run_direction(&j);
    }
    lane_barrier(r);
    if (r->lane == 0) {
        for (uint32_t d = 0; d < rec->n_dir; d++)
            rec->dir[d].parity ^= r->steps[j.axis] & 1u;
        store_state(r, n, rec);
    }
}

/* ---- sharing -------------------------------------------------------------------------------------------- */

/* Multiply-adds of a call that make a second thread worth it: one that spins, and one that sleeps. */
#define AWAKE_WORK 196608u
#define ASLEEP_WORK (1u << 24)
#define STEP_WORK 98304u  /* multiply-adds per step that make a barrier per step worth it */
#define LANE_ROWS 4u      /* rows of a lane that make reading all weights worth it */

static uint64_t step_work(const lrt_recurrent *rec)
{
    return (uint64_t)lrt_gates(rec->op) * rec->hidden * rec->h_size;
}

static enum mode choose_mode(const lrt_session *s, const lrt_recurrent *rec, uint32_t lanes)
{
    if (lanes == 1)
        return ALONE;
    if (s->batch >= LANE_ROWS * lanes)
        return BY_ROWS;
    if (rec->n_dir == 2 && lanes == 2)
        return BY_DIRECTIONS;
    if (step_work(rec) * s->batch >= STEP_WORK && lrt_panel_count(rec->hidden) >= 2 * lanes)
        return BY_PANELS;
    return s->batch >= 2 * lanes ? BY_ROWS : ALONE;
}

/* Multiply-adds of a node for one step of one row. */
static uint64_t node_work(const lrt_session *s, uint32_t i)
{
    const lrt_plan_node *p = &s->nodes[i];
    if (p->rec)
        return step_work(p->rec) + (uint64_t)lrt_gates(p->rec->op) * p->rec->hidden * p->rec->dir[0].w_ih.k;
    return features_work(s, &p->node);
}

/* A stage's share [*from, *to) of the nodes, of about equal work; returns its work, and all nodes' in *total. */
static uint64_t stage_nodes(const lrt_session *s, uint32_t stage, uint32_t stages, uint32_t *from, uint32_t *to,
                            uint64_t *total)
{
    const uint32_t n = s->model->n_nodes;
    uint64_t before = 0, mine = 0;
    *total = 0;
    for (uint32_t i = 0; i < n; i++)
        *total += node_work(s, i);
    *from = *to = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t work = node_work(s, i), at = (2 * before + work) * stages / (2 * *total + 1);
        *from += at < stage;
        *to += at <= stage;
        mine += at == stage ? work : 0;
        before += work;
    }
    return mine;
}

#define PIPE_PASSES 8u /* so few that they do not wait for each other often, so many that the ends cost little */
#define PIPE_STEPS 12u /* of a pass, at least */

/* Steps of a pass if the lanes run layers side by side, each a pass behind the one before; 0 if not. That
 * is for layers too small to be shared. */
static uint32_t pipe_pass(const lrt_session *s, uint32_t lanes)
{
    const uint32_t steps = s->steps[0], pass = steps / PIPE_PASSES + (steps % PIPE_PASSES != 0);
    if (lanes == 1 || s->stages < lanes || steps < 4 * PIPE_STEPS)
        return 0;
    for (uint32_t i = 0; i < s->model->n_nodes; i++)
        if (s->nodes[i].rec && choose_mode(s, s->nodes[i].rec, lanes) != ALONE)
            return 0;
    for (uint32_t stage = 0; stage < lanes; stage++) {
        uint32_t from, to;
        uint64_t total, work = stage_nodes(s, stage, lanes, &from, &to, &total);
        if (work * 4 > total * 3)
            return 0;
    }
    return smaller(pass > PIPE_STEPS ? pass : PIPE_STEPS, s->chunk);
}

/* Multiply-adds of a recurrent layer in the call. */
static uint64_t call_work(const lrt_session *s, const lrt_plan_node *p)
{
    return step_work(p->rec) * p->rec->n_dir * s->batch * s->steps[s->values[p->node.in[0]].axis];
}

/* Multiply-adds of the call that so many lanes share. */
static uint64_t shared_work(const lrt_session *s, uint32_t lanes)
{
    const int piped = pipe_pass(s, lanes) != 0;
    uint64_t shared = 0;
    for (uint32_t i = 0; i < s->model->n_nodes; i++) {
        const lrt_recurrent *rec = s->nodes[i].rec;
        if (rec && (piped || choose_mode(s, rec, lanes) != ALONE))
            shared += call_work(s, &s->nodes[i]);
    }
    return shared;
}

/* Multiply-adds of the call that lanes could share, were they few enough. */
static uint64_t recurrent_work(const lrt_session *s)
{
    uint64_t work = 0;
    for (uint32_t i = 0; i < s->model->n_nodes; i++)
        work += s->nodes[i].rec ? call_work(s, &s->nodes[i]) : 0;
    return work;
}

uint32_t lrt_worthwhile_lanes(const lrt_session *s, uint32_t most, int awake)
{
    const uint64_t enough = (awake ? AWAKE_WORK : ASLEEP_WORK) / 2;
    const uint64_t could = recurrent_work(s) / enough; /* small calls need not look at every number */
    uint32_t lanes = smaller(most, s->limits.lanes);
    for (lanes = could < lanes ? (uint32_t)could : lanes; lanes > 1; lanes--) {
        if (shared_work(s, lanes) >= enough * lanes)
            return lanes;
    }
    return 1;
}

/* ---- the walk --------------------------------------------------------------------------------------------- */

static void run_node(run *r, const lrt_plan_node *p)
{
    const lrt_node *n = &p->node;
    if (p->rec) {
        run_recurrent(r, n, p->rec);
        return;
    }
    if (!r->s->views[n->out[0]].data)
        return; /* nobody reads it */
    if (r->s->values[n->out[0]].kind == LRT_VEC && n->op != LRT_OP_SELECT && !r->last)
        return; /* vectors are whole only at the end */
    switch (n->op) {
    case LRT_OP_EMBEDDING: for_steps(r, n, each_embedding); break;
    case LRT_OP_MASK_IDS: for_steps(r, n, each_mask_ids); break;
    case LRT_OP_MASK_VALUES: for_steps(r, n, each_mask_values); break;
    case LRT_OP_APPLY_MASK: for_steps(r, n, each_apply_mask); break;
    case LRT_OP_DENSE: run_dense(r, n); break;
    case LRT_OP_ACTIVATION: for_steps(r, n, each_activation); break;
    case LRT_OP_LAYERNORM: for_steps(r, n, each_layernorm); break;
    case LRT_OP_BATCHNORM: for_steps(r, n, each_batchnorm); break;
    case LRT_OP_ADD:
    case LRT_OP_MUL:
    case LRT_OP_AVERAGE: for_steps(r, n, each_binary); break;
    case LRT_OP_CONCAT: for_steps(r, n, each_concat); break;
    case LRT_OP_SLICE: for_steps(r, n, each_slice); break;
    case LRT_OP_SELECT: run_select(r, n); break;
    case LRT_OP_REVERSE: for_steps(r, n, each_reverse); break;
    default: break; /* recurrent ops went above; others do not open */
    }
}

static void run_pass(run *r)
{
    for (uint32_t i = 0; i < r->s->model->n_nodes; i++) {
        run_node(r, &r->s->nodes[i]);
        if (meet(r))
            return;
    }
}

/* Each lane runs its stage of the nodes, on the pass that the stage before it has just done. */
static void run_pipe(run *r, uint32_t pass)
{
    const uint32_t steps = r->s->steps[0], passes = steps / pass + (steps % pass != 0);
    run mine = *r;
    uint32_t from, to;
    uint64_t total;
    stage_nodes(r->s, r->lane, r->lanes, &from, &to, &total);
    mine.piped = 1;
    mine.lane = 0;
    mine.lanes = 1;
    for (uint32_t wave = 0; wave < passes + r->lanes - 1; wave++) {
        uint32_t p = wave - r->lane;
        if (wave >= r->lane && p < passes) {
            mine.t0 = p * pass;
            mine.steps[0] = smaller(pass, steps - mine.t0);
            mine.last = p == passes - 1;
            mine.slot = p % r->s->stages;
            for (uint32_t i = from; i < to; i++)
                run_node(&mine, &r->s->nodes[i]);
        }
        r->stopping = mine.stopping;
        if (meet(r))
            return;
    }
}

static int outcome(const run *r) { return r->stopping ? LRT_E_STOPPED : LRT_OK; }

int lrt_run(lrt_session *s, uint32_t lane, uint32_t lanes, lrt_barrier *barrier, void *context)
{
    run r;
    memset(&r, 0, sizeof r);
    r.s = s;
    r.lane = r.place = lane;
    r.lanes = lanes;
    r.barrier = barrier;
    r.context = context;
    if (pipe_pass(s, lanes)) {
        run_pipe(&r, pipe_pass(s, lanes));
        return outcome(&r);
    }
    do {
        r.last = 1;
        for (uint32_t a = 0; a < s->model->n_axes; a++) {
            uint32_t pass = lrt_pass_steps(s, a);
            r.steps[a] = smaller(pass, s->steps[a] - r.t0);
            r.last = r.t0 + r.steps[a] == s->steps[a]; /* more than one pass: a single axis */
            if (!s->chunk)
                r.last = 1;
        }
        run_pass(&r);
        r.t0 += r.steps[0];
    } while (!r.last && !r.stopping);
    return outcome(&r);
}

int lrt_call(lrt_session *s, const lrt_call_args *call)
{
    int e = lrt_prepare(s, call);
    return e == LRT_OK ? lrt_run(s, 0, 1, NULL, NULL) : e;
}
