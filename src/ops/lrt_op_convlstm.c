/* Convolutional LSTMs (Shi et al. 2015): the step of an lstm whose rows are the places of an image, and whose inputs
 * and h are windows around each place. */
#include <string.h>

#include "integers/lrt_integers.h"
#include "lrt_share.h"
#include "ops/lrt_ops.h"
#include "ops/lrt_window.h"

enum { A_ACT = 8, T_INPUT = 0, T_BIAS = 1, T_HIDDEN = 2, GATES = 4 };

typedef struct {
    lrt_window x, h;   /* over the input, and over h, whose image is the output's */
    lrt_matrix w_x, w_h;
    const float *bias;
    uint32_t hidden, places, units; /* of one place; of the image; hidden * places */
    uint32_t stride;   /* floats of one place's c and h in scratch */
    size_t pre_row;
    uint32_t rows;     /* places at a time */
    lrt_halves state;  /* h */
    float *c;
    int explicit_state;
    lrt_act act[3];
} lrt_convlstm;

/* ---- checks --------------------------------------------------------------------------------------------------- */

static int read_windows(const lrt_node *n, uint32_t features, lrt_window *x, lrt_window *h)
{
    memset(x, 0, sizeof *x);
    memset(h, 0, sizeof *h);
    for (unsigned d = 0; d < 3; d++)
        x->kernel[d] = x->stride[d] = x->dilation[d] = h->kernel[d] = h->stride[d] = h->dilation[d] = 1;
    x->size[1] = n->attr[0];
    x->size[2] = n->attr[1];
    lrt_read_pair(n->attr[2], &x->kernel[1], &x->kernel[2]);
    lrt_read_pair(n->attr[3], &x->stride[1], &x->stride[2]);
    lrt_read_pair(n->attr[4], &x->dilation[1], &x->dilation[2]);
    lrt_read_pair(n->attr[5], &x->before[1], &x->after[1]);
    lrt_read_pair(n->attr[6], &x->before[2], &x->after[2]);
    lrt_read_pair(n->attr[7], &h->kernel[1], &h->kernel[2]);
    return lrt_fit_window(x, features);
}

/* The window over h leaves its image as large as it is. */
static int fit_hidden(const lrt_window *x, lrt_window *h, uint32_t hidden)
{
    const uint64_t features = (uint64_t)x->out[1] * x->out[2] * hidden;
    for (unsigned d = 1; d < 3; d++) {
        h->size[d] = x->out[d];
        h->before[d] = h->kernel[d] ? (h->kernel[d] - 1) / 2 : 0;
        h->after[d] = h->kernel[d] ? h->kernel[d] - 1 - h->before[d] : 0;
    }
    return features > LRT_MAX_SIZE ? LRT_E_NODE_OUTPUT : lrt_fit_window(h, (uint32_t)features);
}

static int check_weights(const lrt_checker *c, const lrt_window *x, lrt_window *h, uint32_t *hidden)
{
    const uint64_t inputs = (uint64_t)x->kernel[1] * x->kernel[2] * x->channels;
    lrt_tensor t;
    LRT_TRY(lrt_want_tensor(c, T_INPUT, &t));
    if (inputs > LRT_MAX_SIZE || t.layout != LRT_PANELS)
        return LRT_E_NODE_TENSOR;
    LRT_TRY(fit_hidden(x, h, t.units));
    if ((uint64_t)h->kernel[1] * h->kernel[2] * t.units > LRT_MAX_SIZE)
        return LRT_E_NODE_ATTR;
    LRT_TRY(lrt_want_panels(c, T_INPUT, GATES, t.units, (uint32_t)inputs));
    LRT_TRY(lrt_want_optional_weight(c, T_BIAS, LRT_PANELS, GATES, t.units, 1));
    *hidden = t.units;
    return lrt_want_panels(c, T_HIDDEN, GATES, t.units, h->kernel[1] * h->kernel[2] * t.units);
}

static int check_convlstm(lrt_checker *c)
{
    lrt_value x;
    lrt_window over_x, over_h;
    uint32_t hidden, size;
    LRT_TRY(lrt_want_counts(c, 3, 3, 3));
    LRT_TRY(lrt_want_input(c, 0, LRT_KIND(LRT_SEQ), &x));
    LRT_TRY(read_windows(&c->n, x.size, &over_x, &over_h));
    for (uint32_t i = A_ACT; i < A_ACT + 9; i += 3) {
        LRT_TRY(lrt_want_act(c, i));
        if (!lrt_is_elementwise(c->n.attr[i]))
            return LRT_E_NODE_ATTR;
    }
    LRT_TRY(check_weights(c, &over_x, &over_h, &hidden));
    size = over_x.out[1] * over_x.out[2] * hidden;
    for (uint32_t i = 1; i <= 2; i++)
        if (!lrt_is_absent(c, i))
            LRT_TRY(lrt_want_input_like(c, i, LRT_KIND(LRT_VEC), size, LRT_MAX_AXES));
    LRT_TRY(lrt_want_output(c, 0, LRT_SEQ, size, x.axis));
    LRT_TRY(lrt_want_output(c, 1, LRT_VEC, size, LRT_MAX_AXES));
    return lrt_want_output(c, 2, LRT_VEC, size, LRT_MAX_AXES);
}

/* ---- the plan --------------------------------------------------------------------------------------------------- */

static void plan_state(lrt_planner *p, lrt_convlstm *cell)
{
    const uint32_t number = cell->explicit_state ? LRT_NONE : p->n_slots;
    lrt_slot slot;
    slot.layer = p->n_layers;
    slot.directions = 1;
    slot.is_cell = 0;
    slot.size = cell->units;
    lrt_take_halves(p, &cell->state, cell->units, number, &slot);
    slot.is_cell = 1;
    cell->c = (float *)(void *)lrt_take_rows(p, cell->units * sizeof(float), number == LRT_NONE ? number : number + 1,
                                             &slot);
    if (!cell->explicit_state) {
        p->n_slots += 2;
        p->n_layers++;
    }
}

static void plan_convlstm(lrt_planner *p, lrt_plan_node *at)
{
    const lrt_node *n = &at->node;
    lrt_convlstm measured, *cell = (lrt_convlstm *)lrt_take(p, 1, sizeof *cell);
    at->own = cell;
    cell = cell ? cell : &measured;
    memset(cell, 0, sizeof *cell);
    cell->hidden = lrt_read_tensor(p->m, n->tensor[T_INPUT]).units;
    read_windows(n, lrt_read_value(p->m, n->in[0]).size, &cell->x, &cell->h);
    fit_hidden(&cell->x, &cell->h, cell->hidden);
    cell->places = cell->x.out[1] * cell->x.out[2];
    cell->units = cell->places * cell->hidden;
    cell->w_x = lrt_tensor_matrix(p->m, n->tensor[T_INPUT]);
    cell->w_h = lrt_tensor_matrix(p->m, n->tensor[T_HIDDEN]);
    cell->bias = lrt_tensor_data(p->m, n->tensor[T_BIAS]);
    cell->stride = (cell->hidden + LRT_PANEL - 1) / LRT_PANEL * LRT_PANEL;
    cell->pre_row = (size_t)GATES * lrt_padded_units(cell->hidden);
    cell->explicit_state = n->in[1] != LRT_NONE || n->in[2] != LRT_NONE;
    for (uint32_t i = 0; i < 3; i++)
        cell->act[i] = lrt_attr_act(n, A_ACT + 3 * i);
    plan_state(p, cell);
    cell->rows = lrt_need_gather(p, (uint64_t)cell->w_x.k + cell->w_h.k + cell->pre_row + 2 * (size_t)cell->stride);
    lrt_need_packed(p, &cell->w_x, cell->rows);
    lrt_need_packed(p, &cell->w_h, cell->rows);
}

/* ---- sharing ---------------------------------------------------------------------------------------------------- */

static void work_of_convlstm(const lrt_session *s, const lrt_plan_node *at, lrt_work *work)
{
    const lrt_convlstm *cell = (const lrt_convlstm *)at->own;
    (void)s;
    work->recurrent = (uint64_t)GATES * cell->units * cell->w_h.k;
    work->all = work->recurrent + (uint64_t)GATES * cell->units * cell->w_x.k;
}

/* By rows of the batch, or by places, of which each lane should have a few. */
static int by_rows(const lrt_session *s, uint32_t lanes) { return s->batch >= lanes; }

static int convlstm_is_shared(const lrt_session *s, const lrt_plan_node *at, uint32_t lanes)
{
    return lanes > 1 && (by_rows(s, lanes) || ((const lrt_convlstm *)at->own)->places >= 8 * lanes);
}

/* ---- a pass ------------------------------------------------------------------------------------------------------ */

/* A lane's share of a step: of rows n0 to n1 the places p0 to p1. */
typedef struct {
    lrt_pass *pass;
    const lrt_node *n;
    const lrt_convlstm *cell;
    lrt_halves h; /* whose turns the lane counts for itself */
    uint32_t n0, n1, p0, p1, axis;
    float *patches_x, *patches_h, *pre, *c, *h_next;
} lrt_places;

static void look_at_vector(const float *v, uint32_t size, lrt_look *look)
{
    memset(look, 0, sizeof *look);
    look->x = v;
    look->to = 1;
    look->features = size;
}

static lrt_corner corner_of(const lrt_window *w, uint32_t place) { return lrt_corner_of(w, 0, place / w->out[2], place % w->out[2]); }

/* Places `first` to first + count of row n at one step: sums of the input, and from there the step. */
static void run_places(const lrt_places *me, uint32_t n, uint32_t first, uint32_t count, const lrt_look *x,
                       const lrt_look *h, float *out)
{
    const lrt_convlstm *cell = me->cell;
    const lrt_kernels *kernels = me->pass->s->kernels;
    const size_t bytes = cell->hidden * sizeof(float);
    float *c = cell->c + (size_t)n * cell->units + (size_t)first * cell->hidden;
    float *h_next = lrt_next(&me->h, n) + (size_t)first * cell->hidden;
    uint32_t rows[LRT_GATHER_ROWS];
    lrt_linear_args a;
    lrt_step_args step;
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = i;
        lrt_copy_window(&cell->x, x, corner_of(&cell->x, first + i), 0, cell->x.channels, me->patches_x + (size_t)i * cell->w_x.k);
        lrt_copy_window(&cell->h, h, corner_of(&cell->h, first + i), 0, cell->hidden, me->patches_h + (size_t)i * cell->w_h.k);
        memcpy(me->c + (size_t)i * cell->stride, c + (size_t)i * cell->hidden, bytes);
    }
    memset(&a, 0, sizeof a);
    a.m = cell->w_x;
    a.bias = cell->bias;
    a.x = me->patches_x;
    a.x_row = (ptrdiff_t)cell->w_x.k;
    a.y = me->pre;
    a.y_row = (ptrdiff_t)cell->pre_row;
    a.rows = count;
    a.p1 = lrt_panel_count(cell->hidden);
    a.padded = 1;
    a.packed = lrt_packed(me->pass);
    lrt_linear(kernels, &a);
    memset(&step, 0, sizeof step);
    step.m = cell->w_h;
    step.pre = me->pre;
    step.pre_row = (ptrdiff_t)cell->pre_row;
    step.h_prev = me->patches_h;
    step.h_prev_row = (ptrdiff_t)cell->w_h.k;
    step.h_next = me->h_next;
    step.h_next_row = step.c_row = (ptrdiff_t)cell->stride;
    step.c = me->c;
    memcpy(step.act, cell->act, sizeof step.act);
    step.row = rows;
    step.rows = count;
    step.p1 = a.p1;
    step.steps = 1;
    step.integers = kernels->integers;
    step.packed = a.packed;
    kernels->lstm_step(&step);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(c + (size_t)i * cell->hidden, me->c + (size_t)i * cell->stride, bytes);
        memcpy(h_next + (size_t)i * cell->hidden, me->h_next + (size_t)i * cell->stride, bytes);
        if (out)
            memcpy(out + (size_t)(first + i) * cell->hidden, me->h_next + (size_t)i * cell->stride, bytes);
    }
}

/* A row beyond its length: its state stays, its output is zero. */
static void hold_places(const lrt_places *me, uint32_t n, float *out)
{
    const size_t from = (size_t)me->p0 * me->cell->hidden, bytes = (size_t)(me->p1 - me->p0) * me->cell->hidden * sizeof(float);
    memcpy(lrt_next(&me->h, n) + from, lrt_now(&me->h, n) + from, bytes);
    if (out)
        memset(out + from, 0, bytes);
}

static void run_step(const lrt_places *me, uint32_t t)
{
    const lrt_convlstm *cell = me->cell;
    const int writes = me->pass->s->views[me->n->out[0]].data != NULL;
    for (uint32_t n = me->n0; n < me->n1; n++) {
        float *out = writes ? lrt_row_at(me->pass, me->n->out[0], n, t) : NULL;
        lrt_look x, h;
        if (t >= lrt_valid_steps(me->pass, me->axis, n)) {
            hold_places(me, n, out);
            continue;
        }
        look_at_vector(lrt_row_at(me->pass, me->n->in[0], n, t), me->pass->s->values[me->n->in[0]].size, &x);
        look_at_vector(lrt_now(&me->h, n), cell->units, &h);
        for (uint32_t p = me->p0, count; p < me->p1; p += count) {
            count = lrt_smaller(cell->rows, me->p1 - p);
            run_places(me, n, p, count, &x, &h, out);
        }
    }
}

/* The initial states that are values of the graph. */
static void load_state(const lrt_pass *pass, const lrt_node *n, const lrt_convlstm *cell)
{
    for (uint32_t row = 0; row < pass->s->batch; row++) {
        float *to[2];
        to[0] = lrt_now(&cell->state, row);
        to[1] = cell->c + (size_t)row * cell->units;
        for (unsigned i = 0; i < 2; i++) {
            if (n->in[1 + i] != LRT_NONE)
                memcpy(to[i], lrt_row(pass, n->in[1 + i], row), cell->units * sizeof(float));
            else
                memset(to[i], 0, cell->units * sizeof(float));
        }
    }
}

static void store_state(const lrt_pass *pass, const lrt_node *n, const lrt_convlstm *cell)
{
    for (uint32_t row = 0; row < pass->s->batch; row++) {
        const float *from[2];
        from[0] = lrt_now(&cell->state, row);
        from[1] = cell->c + (size_t)row * cell->units;
        for (unsigned i = 0; i < 2; i++)
            if (pass->s->views[n->out[1 + i]].data)
                memcpy(lrt_row(pass, n->out[1 + i], row), from[i], cell->units * sizeof(float));
    }
}

/* The lane's share: rows, or places of all rows, or nothing. Returns whether lanes meet after each step. */
static int share(lrt_places *me, const lrt_plan_node *at)
{
    const lrt_pass *pass = me->pass;
    const lrt_session *s = pass->s;
    float *scratch = lrt_gather(pass);
    const size_t rows = me->cell->rows;
    me->patches_x = scratch;
    me->patches_h = me->patches_x + rows * me->cell->w_x.k;
    me->c = me->patches_h + rows * me->cell->w_h.k;
    me->h_next = me->c + rows * me->cell->stride;
    me->pre = me->h_next + rows * me->cell->stride;
    me->n1 = s->batch;
    me->p1 = me->cell->places;
    if (!convlstm_is_shared(s, at, pass->lanes)) {
        me->n1 = pass->lane == 0 ? me->n1 : 0;
        return 0;
    }
    if (by_rows(s, pass->lanes)) {
        lrt_share(s->batch, pass->lane, pass->lanes, &me->n0, &me->n1);
        return 0;
    }
    lrt_share(me->cell->places, pass->lane, pass->lanes, &me->p0, &me->p1);
    return 1;
}

static void run_convlstm(lrt_pass *pass, const lrt_plan_node *at)
{
    const lrt_node *n = &at->node;
    lrt_convlstm *cell = (lrt_convlstm *)at->own;
    const uint64_t work = lrt_work_of(pass->s, at).all;
    lrt_places me;
    int meets, left = 0;
    memset(&me, 0, sizeof me);
    me.pass = pass;
    me.n = n;
    me.cell = cell;
    me.h = cell->state;
    me.axis = pass->s->values[n->in[0]].axis;
    meets = share(&me, at);
    if (cell->explicit_state && pass->first) {
        if (pass->lane == 0)
            load_state(pass, n, cell);
        lrt_wait_for_all(pass);
    }
    for (uint32_t t = 0; t < pass->steps[me.axis] && !left; t++) {
        run_step(&me, t);
        me.h.turn ^= 1u;
        left = lrt_told_to_stop(pass, work * (me.n1 - me.n0));
        left = meets ? lrt_meet(pass) : left;
    }
    lrt_wait_for_all(pass);
    if (pass->lane == 0) {
        cell->state.turn ^= pass->steps[me.axis] & 1u;
        store_state(pass, n, cell);
    }
}

const lrt_op lrt_ops_convlstm[] = {
    {.code = LRT_OP_CONVLSTM, .since = 4, .check = check_convlstm, .hinders = lrt_initial_states_hinder,
     .plan = plan_convlstm, .work = work_of_convlstm, .is_shared = convlstm_is_shared, .when = LRT_ALWAYS,
     .run = run_convlstm},
    {.code = LRT_OP_NONE},
};
