/* LSTM, GRU and RNN layers: what a file must say of them, their memory, and who of the lanes does what. */
#include <string.h>

#include "integers/lrt_integers.h"
#include "lrt_share.h"
#include "ops/lrt_ops.h"
#include "ops/lrt_recurrent.h"

/* ---- the check ---------------------------------------------------------------------------------------- */

/* The two parts of one recurrent matrix. */
static int want_alike(const lrt_checker *c, uint32_t i, uint32_t j)
{
    lrt_tensor a, b;
    LRT_TRY(lrt_want_tensor(c, i, &a));
    LRT_TRY(lrt_want_tensor(c, j, &b));
    return a.dtype == b.dtype && a.limit == b.limit ? LRT_OK : LRT_E_NODE_TENSOR;
}

static int check_direction(const lrt_checker *c, uint32_t w, uint32_t gates, uint32_t inputs, uint32_t hidden,
                           uint32_t h_size)
{
    int after = (c->n.attr[LRT_A_FLAGS] & LRT_RESET_AFTER) != 0;
    LRT_TRY(lrt_want_matrix(c, w + LRT_W_IH, gates, hidden, inputs));
    LRT_TRY(lrt_want_optional_weight(c, w + LRT_W_BIAS, LRT_PANELS, gates, hidden, 1));
    if (c->n.op == LRT_OP_GRU) {
        LRT_TRY(lrt_want_matrix(c, w + LRT_W_HH, after ? 3 : 2, hidden, hidden));
        LRT_TRY(lrt_want_weight(c, w + LRT_W_BIAS_HH, LRT_PANELS, after ? 3 : 2, hidden, 1));
        if (after) {
            LRT_TRY(lrt_want_no_weight(c, w + LRT_W_SECOND));
            return lrt_want_no_weight(c, w + LRT_W_BIAS_SECOND);
        }
        LRT_TRY(lrt_want_matrix(c, w + LRT_W_SECOND, 1, hidden, hidden));
        LRT_TRY(want_alike(c, w + LRT_W_HH, w + LRT_W_SECOND));
        return lrt_want_weight(c, w + LRT_W_BIAS_SECOND, LRT_PANELS, 1, hidden, 1);
    }
    LRT_TRY(lrt_want_matrix(c, w + LRT_W_HH, gates, hidden, h_size));
    LRT_TRY(lrt_want_no_weight(c, w + LRT_W_BIAS_HH));
    if (c->n.op == LRT_OP_RNN || !c->n.attr[LRT_A_PROJ])
        LRT_TRY(lrt_want_no_weight(c, w + LRT_W_SECOND));
    else
        LRT_TRY(lrt_want_matrix(c, w + LRT_W_SECOND, 1, h_size, hidden));
    return c->n.op == LRT_OP_LSTM ? lrt_want_optional_weight(c, w + LRT_W_PEEPHOLE, LRT_PADDED, 3, hidden, 1)
                                  : lrt_want_no_weight(c, w + LRT_W_PEEPHOLE);
}

static int check_attrs(const lrt_checker *c, uint32_t inputs)
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
    LRT_TRY(lrt_want_not_negative(c, LRT_A_CLIP));
    for (uint32_t i = LRT_A_ACT; i < LRT_A_ACT + 9; i += 3) {
        LRT_TRY(lrt_want_act(c, i));
        if (!lrt_is_elementwise(a[i]))
            return LRT_E_NODE_ATTR;
    }
    return LRT_OK;
}

static int check_recurrent(lrt_checker *c)
{
    lrt_value x;
    uint32_t hidden = c->n.attr[LRT_A_HIDDEN], proj = c->n.attr[LRT_A_PROJ], flags = c->n.attr[LRT_A_FLAGS];
    uint32_t n_dir = flags & LRT_BIDIRECTIONAL ? 2 : 1, h_size = proj ? proj : hidden;
    uint32_t n_out = c->n.op == LRT_OP_LSTM ? 3 : 2;

    LRT_TRY(lrt_want_counts(c, 4, n_out, LRT_W_COUNT * n_dir));
    LRT_TRY(lrt_want_input(c, 0, LRT_KIND(LRT_SEQ), &x));
    LRT_TRY(check_attrs(c, x.size));
    if (!lrt_is_absent(c, 1))
        LRT_TRY(lrt_want_input_like(c, 1, LRT_KIND(LRT_VEC), n_dir * h_size, LRT_MAX_AXES));
    if (!lrt_is_absent(c, 2)) {
        if (c->n.op != LRT_OP_LSTM)
            return LRT_E_NODE_INPUT;
        LRT_TRY(lrt_want_input_like(c, 2, LRT_KIND(LRT_VEC), n_dir * hidden, LRT_MAX_AXES));
    }
    if (!lrt_is_absent(c, 3))
        LRT_TRY(lrt_want_input_like(c, 3, LRT_KIND(LRT_MASK), 0, x.axis));
    for (uint32_t d = 0; d < n_dir; d++)
        LRT_TRY(check_direction(c, d * LRT_W_COUNT, lrt_gates(c->n.op), x.size, hidden, h_size));
    LRT_TRY(lrt_want_output(c, 0, LRT_SEQ, n_dir * h_size, x.axis));
    LRT_TRY(lrt_want_output(c, 1, LRT_VEC, n_dir * h_size, LRT_MAX_AXES));
    if (c->n.op == LRT_OP_LSTM)
        LRT_TRY(lrt_want_output(c, 2, LRT_VEC, n_dir * hidden, LRT_MAX_AXES));
    return LRT_OK;
}

/* A reverse direction begins at the end. */
static uint32_t recurrent_hinders(const lrt_checker *c)
{
    if (c->n.attr[LRT_A_FLAGS] & (LRT_REVERSE | LRT_BIDIRECTIONAL))
        return LRT_FLAG_CAUSAL | LRT_FLAG_STREAMS;
    return lrt_initial_states_hinder(c);
}

/* ---- the plan ----------------------------------------------------------------------------------------- */

static void plan_weights(const lrt_model *m, const lrt_node *n, const lrt_recurrent *rec, uint32_t d,
                         lrt_direction *dir)
{
    const uint32_t *t = n->tensor + d * LRT_W_COUNT;
    dir->w_ih = lrt_tensor_matrix(m, t[LRT_W_IH]);
    dir->bias = lrt_tensor_data(m, t[LRT_W_BIAS]);
    dir->w_hh = lrt_tensor_matrix(m, t[LRT_W_HH]);
    dir->bias_hh = lrt_tensor_data(m, t[LRT_W_BIAS_HH]);
    dir->w_second = lrt_tensor_matrix(m, t[LRT_W_SECOND]);
    if (n->op == LRT_OP_LSTM)
        dir->peephole = lrt_tensor_data(m, t[LRT_W_PEEPHOLE]);
    else
        dir->bias_second = lrt_tensor_data(m, t[LRT_W_BIAS_SECOND]);
    dir->reverse = d == 1 || (rec->flags & LRT_REVERSE) != 0;
}

/* Slots, where the initial state is not a value: h, and after it c. */
static void plan_state(lrt_planner *p, const lrt_recurrent *rec, lrt_direction *dir)
{
    const uint32_t number = rec->explicit_state ? LRT_NONE : p->n_slots;
    lrt_slot slot;
    slot.layer = p->n_layers;
    slot.directions = rec->n_dir;
    slot.is_cell = 0;
    slot.size = rec->h_size;
    lrt_take_halves(p, &dir->h, rec->h_size, number, &slot);
    if (rec->op == LRT_OP_LSTM) {
        slot.is_cell = 1;
        slot.size = rec->hidden;
        dir->c = (float *)(void *)lrt_take_rows(p, rec->c_stride * sizeof(float),
                                                rec->explicit_state ? LRT_NONE : number + 1, &slot);
    }
    dir->started = lrt_take_rows(p, 1, LRT_NONE, NULL);
}

/* Rows of input products that any batch up to the session's has at once: few rows take more steps. */
static uint64_t project_rows(const lrt_recurrent *rec, const lrt_limits *limits, uint32_t steps)
{
    uint64_t rows = lrt_project_rows(rec, limits->batch, rec->pre_row);
    uint64_t most = limits->batch > rows ? limits->batch : rows;
    uint64_t all = (uint64_t)limits->batch * (steps ? steps : 1);
    return all < most ? all : most;
}

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

static void need_scratch(lrt_planner *p, const lrt_recurrent *rec, uint32_t steps)
{
    const uint64_t rows = project_rows(rec, p->limits, steps);
    p->pre = larger(p->pre, lrt_times(p, rows, rec->pre_row));
    p->between = larger(p->between, lrt_times(p, p->limits->batch, rec->dir[0].w_second.w ? rec->c_stride : 0));
    p->parts = rec->n_dir > p->parts ? rec->n_dir : p->parts;
    for (uint32_t d = 0; d < rec->n_dir; d++) {
        lrt_need_packed(p, &rec->dir[d].w_ih, rows);
        lrt_need_packed(p, &rec->dir[d].w_hh, p->limits->batch);
        lrt_need_packed(p, &rec->dir[d].w_second, p->limits->batch);
    }
}

static void plan_recurrent(lrt_planner *p, lrt_plan_node *at)
{
    const lrt_node *n = &at->node;
    lrt_recurrent measured, *rec = (lrt_recurrent *)lrt_take(p, 1, sizeof *rec);
    at->own = rec;
    rec = rec ? rec : &measured;
    memset(rec, 0, sizeof *rec);
    rec->op = n->op;
    rec->hidden = n->attr[LRT_A_HIDDEN];
    rec->h_size = n->attr[LRT_A_PROJ] ? n->attr[LRT_A_PROJ] : rec->hidden;
    rec->c_stride = (rec->hidden + LRT_PANEL - 1) / LRT_PANEL * LRT_PANEL;
    rec->panels = lrt_panel_count(rec->hidden);
    rec->pre_row = (size_t)lrt_gates(rec->op) * lrt_padded_units(rec->hidden);
    rec->flags = n->attr[LRT_A_FLAGS];
    rec->n_dir = rec->flags & LRT_BIDIRECTIONAL ? 2 : 1;
    rec->explicit_state = n->in[1] != LRT_NONE || n->in[2] != LRT_NONE;
    rec->clip = lrt_attr_float(n, LRT_A_CLIP);
    for (uint32_t i = 0; i < 3; i++)
        rec->act[i] = lrt_attr_act(n, LRT_A_ACT + 3 * i);
    for (uint32_t d = 0; d < rec->n_dir; d++) {
        plan_weights(p->m, n, rec, d, &rec->dir[d]);
        plan_state(p, rec, &rec->dir[d]);
    }
    if (!rec->explicit_state) {
        p->n_slots += rec->op == LRT_OP_LSTM ? 2 : 1;
        p->n_layers++;
    }
    need_scratch(p, rec, lrt_planned_steps(p, lrt_read_value(p->m, n->in[0]).axis));
}

/* ---- sharing ------------------------------------------------------------------------------------------ */

/* Multiply-adds of the recurrent product for one step of one row and direction. */
static uint64_t step_work(const lrt_recurrent *rec)
{
    return lrt_work_there(&rec->dir[0].w_hh, (uint64_t)lrt_gates(rec->op) * rec->hidden * rec->h_size);
}

static uint64_t input_work(const lrt_recurrent *rec, const lrt_direction *dir)
{
    return lrt_work_there(&dir->w_ih, (uint64_t)lrt_gates(rec->op) * rec->hidden * dir->w_ih.k);
}

static void work_of_recurrent(const lrt_session *s, const lrt_plan_node *at, lrt_work *work)
{
    const lrt_recurrent *rec = (const lrt_recurrent *)at->own;
    (void)s;
    work->recurrent = step_work(rec) * rec->n_dir;
    work->all = work->recurrent + input_work(rec, &rec->dir[0]) * rec->n_dir;
}

static enum lrt_mode mode_of(const lrt_session *s, const lrt_recurrent *rec, uint32_t lanes)
{
    if (lanes == 1)
        return LRT_ALONE;
    return lrt_choose_mode(lanes, s->batch, rec->n_dir, step_work(rec), rec->panels);
}

static int recurrent_is_shared(const lrt_session *s, const lrt_plan_node *at, uint32_t lanes)
{
    return mode_of(s, (const lrt_recurrent *)at->own, lanes) != LRT_ALONE;
}

/* The lane's share of the batch rows. Where rows have their own ends, equal numbers of rows would not be equal
 * work: then a row belongs to the lane in whose share of all valid steps its first step lies. */
static void share_rows(lrt_steps *me)
{
    const lrt_pass *pass = me->pass;
    const uint32_t batch = pass->s->batch;
    uint64_t total = 0, before = 0;
    lrt_share(batch, pass->lane, pass->lanes, &me->n0, &me->n1);
    for (uint32_t n = 0; n < batch && me->lengths; n++)
        total += lrt_valid_steps(pass, me->axis, n);
    if (total == 0)
        return;
    me->n0 = me->n1 = batch;
    for (uint32_t n = 0; n < batch; n++) {
        uint32_t lane = lrt_smaller((uint32_t)(before * pass->lanes / total), pass->lanes - 1); /* also without steps */
        me->n0 = lane >= pass->lane && n < me->n0 ? n : me->n0;
        me->n1 = lane > pass->lane && n < me->n1 ? n : me->n1;
        before += lrt_valid_steps(pass, me->axis, n);
    }
}

#define BLOCK_WORK (64ull * LRT_STOP_WORK) /* multiply-adds of a step: some milliseconds */
#define BLOCK_ROWS 64u                     /* rows that make reading all weights worth it */

/* ---- a pass ------------------------------------------------------------------------------------------- */

static void load_vector(const lrt_pass *pass, uint32_t value, uint32_t row, uint32_t d, uint32_t size, float *to)
{
    if (value != LRT_NONE)
        memcpy(to, lrt_row(pass, value, row) + (size_t)d * size, size * sizeof(float));
    else
        memset(to, 0, size * sizeof(float));
}

/* The initial states that are values of the graph. */
static void load_state(const lrt_pass *pass, const lrt_node *n, lrt_recurrent *rec)
{
    for (uint32_t d = 0; d < rec->n_dir; d++) {
        lrt_direction *dir = &rec->dir[d];
        for (uint32_t row = 0; row < pass->s->batch; row++) {
            load_vector(pass, n->in[1], row, d, rec->h_size, lrt_now(&dir->h, row));
            if (dir->c)
                load_vector(pass, n->in[2], row, d, rec->hidden, dir->c + (size_t)row * rec->c_stride);
        }
        memset(dir->started, 0, pass->s->batch);
    }
}

static void store_state(const lrt_pass *pass, const lrt_node *n, const lrt_recurrent *rec)
{
    const lrt_view *views = pass->s->views;
    for (uint32_t d = 0; d < rec->n_dir; d++) {
        const lrt_direction *dir = &rec->dir[d];
        for (uint32_t row = 0; row < pass->s->batch; row++) {
            if (views[n->out[1]].data)
                memcpy(lrt_row(pass, n->out[1], row) + (size_t)d * rec->h_size, lrt_now(&dir->h, row),
                       rec->h_size * sizeof(float));
            if (dir->c && views[n->out[2]].data)
                memcpy(lrt_row(pass, n->out[2], row) + (size_t)d * rec->hidden,
                       dir->c + (size_t)row * rec->c_stride, rec->hidden * sizeof(float));
        }
    }
}

/* All steps of the lane's rows; of very many rows, of so many at a time that the caller is asked soon enough whether
 * to stop. */
static void run_blocks(lrt_steps *me, const lrt_direction *dir)
{
    const uint32_t first = me->n0, end = me->n1;
    uint32_t block = BLOCK_ROWS;
    if (me->shares > 1 || end - first <= BLOCK_ROWS) {
        block = end - first;
    } else {
        const uint64_t fit = BLOCK_WORK / (step_work(me->rec) + input_work(me->rec, dir));
        block = fit > end ? end : fit > block ? (uint32_t)fit : block;
    }
    for (; me->n0 < end && !me->pass->stopping; me->n0 = me->n1) {
        me->n1 = end - me->n0 > block ? me->n0 + block : end;
        me->dir = dir;
        lrt_run_steps(me);
    }
    me->n0 = first;
    me->n1 = end;
}

static void run_recurrent(lrt_pass *pass, const lrt_plan_node *at)
{
    const lrt_node *n = &at->node;
    const lrt_session *s = pass->s;
    lrt_recurrent *rec = (lrt_recurrent *)at->own;
    enum lrt_mode mode = mode_of(s, rec, pass->lanes);
    lrt_steps me;
    memset(&me, 0, offsetof(lrt_steps, first)); /* lrt_run_steps sets the arguments of the phases */
    me.pass = pass;
    me.n = n;
    me.number = (uint32_t)(at - s->nodes);
    me.rec = rec;
    me.axis = s->values[n->in[0]].axis;
    me.lengths = s->lengths[me.axis];
    me.mask = n->in[3];
    me.seq = s->views[n->out[0]].data ? n->out[0] : LRT_NONE;
    me.n1 = s->batch;
    me.shares = 1;
    if (mode == LRT_BY_ROWS) {
        share_rows(&me);
    } else if (mode == LRT_BY_PANELS) {
        me.share = pass->lane;
        me.shares = pass->lanes;
    }
    lrt_share(rec->panels, me.share, me.shares, &me.p0, &me.p1);
    if (rec->explicit_state && pass->first) {
        if (pass->lane == 0)
            load_state(pass, n, rec);
        lrt_wait_for_all(pass);
    }
    for (me.d = 0; me.d < rec->n_dir; me.d++) {
        int mine = mode == LRT_ALONE ? pass->lane == 0 : mode == LRT_BY_DIRECTIONS ? pass->lane == me.d : 1;
        me.scratch = pass->piped ? pass->own_lane : me.d;
        if (mine)
            run_blocks(&me, &rec->dir[me.d]);
    }
    lrt_wait_for_all(pass);
    if (pass->lane == 0) {
        for (uint32_t d = 0; d < rec->n_dir; d++)
            rec->dir[d].h.turn ^= pass->steps[me.axis] & 1u;
        store_state(pass, n, rec);
    }
}

#define LRT_RECURRENT_ROW(op_code)                                                                         \
    {.code = op_code, .check = check_recurrent, .hinders = recurrent_hinders, .plan = plan_recurrent,      \
     .work = work_of_recurrent, .is_shared = recurrent_is_shared, .when = LRT_ALWAYS, .run = run_recurrent}

const lrt_op lrt_ops_recurrent[] = {
    LRT_RECURRENT_ROW(LRT_OP_LSTM),
    LRT_RECURRENT_ROW(LRT_OP_GRU),
    LRT_RECURRENT_ROW(LRT_OP_RNN),
    {.code = LRT_OP_NONE},
};
