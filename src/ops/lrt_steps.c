/* A lane's steps through one direction of a recurrent layer: the input product ahead of them, and each step's
 * phases, rows and barriers. Knows no gate equation and no ISA. */
#include <string.h>

#include "integers/lrt_integers.h"
#include "lrt_share.h"
#include "lrt_trace.h"
#include "ops/lrt_ops.h"
#include "ops/lrt_recurrent.h"

static void meet(const lrt_steps *me)
{
    if (me->shares > 1)
        me->pass->barrier(me->pass->context);
}

static int is_traced(const lrt_steps *me) { return lrt_is_traced(me->pass->s); }

/* Where in the pass row n is at step s of its own order. */
static uint32_t time_of(const lrt_steps *me, uint32_t n, uint32_t s)
{
    return me->dir->reverse ? lrt_valid_steps(me->pass, me->axis, n) - 1 - s : s;
}

static const float *input_at(const lrt_steps *me, uint32_t n, uint32_t s)
{
    return lrt_row_at(me->pass, me->n->in[0], n, time_of(me, n, s));
}

/* From one step of a value to the next in the direction's order. */
static ptrdiff_t forth(const lrt_steps *me, uint32_t value)
{
    const ptrdiff_t step = me->pass->s->views[value].step;
    return me->dir->reverse ? -step : step;
}

/* ---- input products, ahead of the steps ----------------------------------------------------------------- */

/* Pre-activations of row n, `ahead` steps after the first that has been computed ahead. */
static float *pre_at(const lrt_steps *me, uint32_t ahead, uint32_t n)
{
    const lrt_session *s = me->pass->s;
    return s->pre + me->scratch * s->pre_part + ((size_t)ahead * s->batch + n) * me->rec->pre_row;
}

#define PAIRS 120 /* rows of a product that are gathered at a time */

/* The product for steps s0 to s0 + count where each row has its own end: of what there is, gathered. */
static void project_ragged(const lrt_steps *me, uint32_t s0, uint32_t count, lrt_linear_args a)
{
    const float *x[PAIRS];
    float *y[PAIRS];
    a.x_at = x;
    a.y_at = y;
    for (uint32_t n = me->n0; n < me->n1; n++) {
        uint32_t valid = lrt_smaller(lrt_valid_steps(me->pass, me->axis, n), s0 + count);
        for (uint32_t s = s0; s < valid; s++) {
            x[a.rows] = input_at(me, n, s);
            y[a.rows] = pre_at(me, s - s0, n);
            if (++a.rows == PAIRS) {
                lrt_linear(me->pass->s->kernels, &a);
                a.rows = 0;
            }
        }
    }
    if (a.rows)
        lrt_linear(me->pass->s->kernels, &a);
}

/* pre = bias + W x for steps s0 to s0 + count of the lane's rows and panels. */
static void project(const lrt_steps *me, uint32_t s0, uint32_t count)
{
    const lrt_session *s = me->pass->s;
    const uint32_t rows = me->n1 - me->n0;
    lrt_linear_args a;
    memset(&a, 0, sizeof a);
    a.m = me->dir->w_ih;
    a.packed = lrt_packed(me->pass);
    a.bias = me->dir->bias;
    a.p0 = me->p0;
    a.p1 = me->p1;
    a.padded = 1;
    if (me->lengths) {
        project_ragged(me, s0, count, a);
        return;
    }
    a.x_row = forth(me, me->n->in[0]);
    a.y_row = (ptrdiff_t)(me->rec->pre_row * s->batch);
    a.x = input_at(me, me->n0, s0);
    a.y = pre_at(me, 0, me->n0);
    a.rows = count;
    a.outer = rows - 1;
    a.x_outer = s->views[me->n->in[0]].row;
    a.y_outer = (ptrdiff_t)me->rec->pre_row;
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
    lrt_linear(s->kernels, &a);
}

/* ---- the rows of a step ----------------------------------------------------------------------------------- */

/* Units that belong to a lane's share of a state of `units` values. */
static void unit_range(const lrt_steps *me, uint32_t units, uint32_t *from, uint32_t *to)
{
    uint32_t p0, p1;
    lrt_share(lrt_panel_count(units), me->share, me->shares, &p0, &p1);
    *from = lrt_smaller(lrt_panel_start(units, p0), units);
    *to = lrt_smaller(lrt_panel_start(units, p1), units);
}

static float *seq_at(const lrt_steps *me, uint32_t n, uint32_t t)
{
    return lrt_row_at(me->pass, me->seq, n, t) + (size_t)me->d * me->rec->h_size;
}

/* What row n has done at step s, for a caller who traces: the lane's share. No pre: it was held. */
static void tell_row(const lrt_steps *me, uint32_t n, uint32_t s, const float *pre)
{
    const lrt_recurrent *rec = me->rec;
    const lrt_traced_kind first = rec->op == LRT_OP_LSTM ? LRT_TRACED_I : LRT_TRACED_R;
    lrt_traced piece;
    uint32_t from, to;
    piece.node = me->number;
    piece.direction = me->d;
    piece.row = n;
    piece.step = me->pass->t0[me->axis] + time_of(me, n, s);
    piece.held = pre == NULL;
    if (pre && rec->op != LRT_OP_RNN)
        lrt_tell_gates(me->pass, &piece, first, lrt_gates(rec->op), pre, 0, rec->hidden, me->p0, me->p1);
    if (me->dir->c) {
        unit_range(me, rec->hidden, &from, &to);
        lrt_tell(me->pass, &piece, LRT_TRACED_C, from, to - from, me->dir->c + (size_t)n * rec->c_stride + from);
    }
    unit_range(me, rec->h_size, &from, &to);
    lrt_tell(me->pass, &piece, LRT_TRACED_H, from, to - from, lrt_next(&me->h, n) + from);
}

/* Row n does nothing at step s: its state stays, and if the step is masked rather than beyond the
 * row's length, the output repeats the state or is zero. */
static void hold_row(const lrt_steps *me, uint32_t n, uint32_t s, int masked)
{
    const lrt_recurrent *rec = me->rec;
    const float *h = lrt_now(&me->h, n);
    uint32_t from, to;
    unit_range(me, rec->h_size, &from, &to);
    memcpy(lrt_next(&me->h, n) + from, h + from, (to - from) * sizeof(float));
    if (masked && me->seq != LRT_NONE) {
        float *out = seq_at(me, n, time_of(me, n, s));
        int zero = rec->flags & LRT_ZERO_MASKED || (rec->explicit_state && !me->dir->started[n]);
        if (zero)
            memset(out + from, 0, (to - from) * sizeof(float));
        else
            memcpy(out + from, h + from, (to - from) * sizeof(float));
    }
    if (masked && is_traced(me))
        tell_row(me, n, s, NULL);
}

static int beyond_length(const lrt_steps *me, uint32_t n, uint32_t s)
{
    return me->lengths && s >= lrt_valid_steps(me->pass, me->axis, n);
}

static int is_masked(const lrt_steps *me, uint32_t n, uint32_t s)
{
    return me->mask != LRT_NONE && !*lrt_mask_at(me->pass, me->mask, n, time_of(me, n, s));
}

/* Lists the rows that take step s, holds the others, and says where outputs go. A row beyond its end is
 * held once: then both of its halves have its state, and nothing is left to do. */
static void choose_rows(lrt_steps *me, uint32_t s)
{
    me->rows = 0;
    for (uint32_t n = me->n0; n < me->n1; n++) {
        if (beyond_length(me, n, s)) {
            if (s == lrt_valid_steps(me->pass, me->axis, n))
                hold_row(me, n, s, 0);
        } else if (is_masked(me, n, s)) {
            hold_row(me, n, s, 1);
        } else {
            me->row[me->rows++] = n;
            if (me->seq != LRT_NONE)
                me->out[n] = seq_at(me, n, time_of(me, n, s));
        }
    }
}

/* ---- the phases of a step ----------------------------------------------------------------------------------- */

/* What stays the same over the steps. All fields by name: to clear them first would take as long again. */
static void set_fixed_args(lrt_steps *me)
{
    const lrt_recurrent *rec = me->rec;
    const lrt_direction *dir = me->dir;
    lrt_step_args *a = &me->first;
    a->m = dir->w_hh;
    a->bias_hh = dir->bias_hh;
    a->x = NULL;
    a->x_step = forth(me, me->n->in[0]);
    a->w_in = dir->w_ih;
    a->bias_in = dir->bias;
    a->pre_row = (ptrdiff_t)rec->pre_row;
    a->h_prev_row = a->h_next_row = (ptrdiff_t)me->h.stride;
    a->c_row = (ptrdiff_t)rec->c_stride;
    a->h_old = NULL;
    a->h_old_row = 0;
    a->out_at = 0;
    a->peephole = dir->peephole;
    memcpy(a->act, rec->act, sizeof a->act);
    a->clip = rec->clip;
    a->p0 = me->p0;
    a->p1 = me->p1;
    a->steps = 1;
    a->pre_step = me->input_in_step ? 0 : (ptrdiff_t)(rec->pre_row * me->pass->s->batch);
    a->out_step = me->seq != LRT_NONE ? forth(me, me->seq) : 0;
    a->integers = me->pass->s->kernels->integers;
    a->packed = lrt_packed(me->pass);
    a->traced = is_traced(me);
    if (!dir->w_second.w)
        return;
    me->second = *a; /* only the GRU's; the projection of an LSTM is a product of its own */
    me->second.m = dir->w_second;
    me->second.bias_hh = dir->bias_second;
    me->second.h_old_row = a->h_prev_row;
    me->second.h_prev_row = a->h_next_row = (ptrdiff_t)rec->c_stride;
}

/* What changes from step to step. */
static void set_step_args(const lrt_steps *me, lrt_step_args *a, uint32_t ahead)
{
    a->pre = pre_at(me, me->input_in_step ? 0 : ahead, 0);
    a->h_prev = lrt_now(&me->h, 0);
    a->h_next = lrt_next(&me->h, 0);
    a->c = me->dir->c;
    a->out = me->seq != LRT_NONE ? me->out : NULL;
    a->row = me->row;
    a->rows = me->rows;
    a->backward = (int)(me->h.turn & 1u); /* also from call to call: what was read last is still in a cache */
}

/* Rows that stand between the phases: r * h, or the h that is yet to be projected. */
static float *between(const lrt_steps *me)
{
    return me->pass->s->between + me->scratch * me->pass->s->between_part;
}

/* h = W_hr m for the lane's share of the projected units (Sak et al. 2014). */
static void project_h(const lrt_steps *me)
{
    const lrt_recurrent *rec = me->rec;
    const float *x[PAIRS];
    float *y[PAIRS];
    lrt_linear_args a;
    uint32_t from, to;
    memset(&a, 0, sizeof a);
    a.m = me->dir->w_second;
    a.packed = lrt_packed(me->pass);
    a.x_at = x;
    a.y_at = y;
    lrt_share(lrt_panel_count(a.m.units), me->share, me->shares, &a.p0, &a.p1);
    unit_range(me, rec->h_size, &from, &to);
    for (uint32_t first = 0; first < me->rows; first += a.rows) {
        a.rows = lrt_smaller(PAIRS, me->rows - first);
        for (uint32_t i = 0; i < a.rows; i++) {
            x[i] = between(me) + (size_t)me->row[first + i] * rec->c_stride;
            y[i] = lrt_next(&me->h, me->row[first + i]);
        }
        lrt_linear(me->pass->s->kernels, &a);
        for (uint32_t i = 0; i < a.rows && me->seq != LRT_NONE; i++)
            memcpy(me->out[me->row[first + i]] + from, y[i] + from, (to - from) * sizeof(float));
    }
}

/* The first phase of the rows that take the step. A phase's results are whole only when the lanes have met. */
static void first_phase(lrt_steps *me, uint32_t s, uint32_t ahead)
{
    const lrt_kernels *kernels = me->pass->s->kernels;
    lrt_step_args *a = &me->first;
    set_step_args(me, a, ahead);
    if (me->input_in_step)
        a->x = input_at(me, me->n0, s);
    if (me->dir->w_second.w) { /* the second phase makes h of it */
        a->h_next = between(me);
        a->out = NULL;
    }
    if (me->rec->op == LRT_OP_LSTM)
        kernels->lstm_step(a);
    else if (me->rec->op == LRT_OP_RNN)
        kernels->rnn_step(a);
    else if (me->rec->flags & LRT_RESET_AFTER)
        kernels->gru_step(a);
    else
        kernels->gru_reset_step(a);
}

static void second_phase(lrt_steps *me, uint32_t ahead)
{
    lrt_step_args *a = &me->second;
    if (me->rec->op == LRT_OP_LSTM) {
        project_h(me);
        return;
    }
    set_step_args(me, a, ahead);
    a->h_old = a->h_prev;
    a->h_prev = between(me);
    me->pass->s->kernels->gru_candidate_step(a);
}

/* Marks rows that have taken a step; the other lanes look after the barrier that ends it. */
static void mark_started(const lrt_steps *me)
{
    for (uint32_t i = 0; i < me->rows && me->share == 0 && me->mask != LRT_NONE; i++)
        me->dir->started[me->row[i]] = 1;
}

static void run_step(lrt_steps *me, uint32_t s, uint32_t ahead)
{
    choose_rows(me, s);
    if (me->rows)
        first_phase(me, s, ahead);
    if (me->dir->w_second.w) {
        meet(me);
        if (me->rows)
            second_phase(me, ahead);
    }
    mark_started(me);
    for (uint32_t i = 0; i < me->rows && is_traced(me); i++)
        tell_row(me, me->row[i], s, pre_at(me, ahead, me->row[i]));
}

/* ---- all steps --------------------------------------------------------------------------------------------- */

/* Every row takes every step, in one phase that no other lane shares and nobody traces: the kernel makes several in one go. */
static int runs_through(const lrt_steps *me)
{
    return !me->lengths && me->mask == LRT_NONE && me->shares == 1 && !me->dir->w_second.w && !is_traced(me);
}

#define FEW_INPUTS 8u /* inputs so few that their product is cheaper in the step than in one of all steps */

/* Does the step make the input product? Of one row, where that is little work or there is but one step; and all weights
 * are plain. */
static int has_input_in_step(const lrt_steps *me, uint32_t steps)
{
    int starts_at_pre = me->rec->op != LRT_OP_GRU && lrt_is_plain(&me->dir->w_ih) && lrt_is_plain(&me->dir->w_hh);
    return starts_at_pre && !is_traced(me) && me->n1 - me->n0 == 1 && (me->dir->w_ih.k <= FEW_INPUTS || steps == 1);
}

/* Sequence outputs beyond each row's length are zero. */
static void clear_beyond(const lrt_steps *me)
{
    for (uint32_t n = me->n0; n < me->n1 && me->lengths && me->seq != LRT_NONE && me->share == 0; n++)
        for (uint32_t t = lrt_valid_steps(me->pass, me->axis, n); t < me->pass->steps[me->axis]; t++)
            memset(seq_at(me, n, t), 0, me->rec->h_size * sizeof(float));
}

/* Steps until every row of the lane has ended and been held. */
static uint32_t steps_to_run(const lrt_steps *me)
{
    uint32_t most = 0;
    if (!me->lengths)
        return me->pass->steps[me->axis];
    for (uint32_t n = me->n0; n < me->n1; n++) {
        uint32_t valid = lrt_valid_steps(me->pass, me->axis, n);
        most = valid > most ? valid : most;
    }
    return lrt_smaller(most + 1, me->pass->steps[me->axis]);
}

/* Multiply-adds of one step of the lane's rows, of all panels. */
static uint64_t step_work(const lrt_steps *me)
{
    const uint64_t units = (uint64_t)lrt_gates(me->rec->op) * me->rec->hidden;
    return units * ((uint64_t)me->rec->h_size + me->dir->w_ih.k) * (me->n1 - me->n0);
}

/* One step has been made, or several; does the lane leave off? Lanes that share the panels meet here, and
 * ask after the same steps, so that they leave together. */
static int end_steps(lrt_steps *me)
{
    const uint64_t work = step_work(me) * me->first.steps;
    if (me->shares == 1)
        return lrt_told_to_stop(me->pass, work);
    me->work += work;
    if (me->work < LRT_STOP_WORK) {
        meet(me);
        return 0;
    }
    me->work = 0;
    lrt_ask(me->pass);
    return lrt_meet(me->pass);
}

/* Steps of a stretch. Where steps make their input products, nothing is computed ahead; an even number then, as panels
 * are walked to and fro. */
static uint32_t stretch_steps(const lrt_steps *me, uint32_t steps)
{
    if (!me->input_in_step)
        return lrt_even_parts(steps, lrt_project_steps(me->rec, me->pass->s->batch, me->rec->pre_row));
    return steps <= 16 ? 16 : 16 + (uint32_t)(LRT_STOP_WORK / step_work(me)) / 2 * 2;
}

/* Goes through the steps in stretches. For each stretch, the input product of all its steps is made ahead, as one
 * product of many rows; then its steps follow one by one, or, where nothing has to be looked at in between, as
 * one kernel call. Lanes that share the panels meet after every phase. Each lane counts turns of h for itself;
 * when all are through, the layer counts them once (run_recurrent). */
void lrt_run_steps(lrt_steps *me)
{
    lrt_session *ses = me->pass->s;
    const uint32_t steps = steps_to_run(me);
    const size_t list = (size_t)(2 * me->pass->own_lane + me->d) * ses->limits.batch;
    const int through = runs_through(me);
    uint32_t stretch;
    me->h = me->dir->h;
    me->input_in_step = has_input_in_step(me, steps);
    me->row = ses->row_lists + list;
    me->out = ses->out_rows + list;
    set_fixed_args(me);
    stretch = stretch_steps(me, steps);
    for (uint32_t s0 = 0; s0 < steps; s0 += stretch) {
        uint32_t count = lrt_smaller(stretch, steps - s0);
        if (!me->input_in_step)
            project(me, s0, count);
        for (uint32_t ahead = 0; ahead < count; ahead += me->first.steps) {
            me->first.steps = through ? count : 1;
            run_step(me, s0 + ahead, ahead);
            me->h.turn ^= me->first.steps & 1u;
            if (end_steps(me))
                return;
        }
    }
    clear_beyond(me);
}
