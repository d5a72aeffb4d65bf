/* Ops that look along time: one step of a sequence, and a sequence backwards. */
#include <string.h>

#include "lrt_share.h"
#include "ops/lrt_ops.h"

static int check_select(lrt_checker *c)
{
    lrt_value x;
    LRT_TRY(lrt_want_counts(c, 1, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_KIND(LRT_SEQ), &x));
    if (c->n.attr[0] > 1)
        return LRT_E_NODE_ATTR;
    return lrt_want_output(c, 0, LRT_VEC, x.size, LRT_MAX_AXES);
}

/* The first step: a stream could not tell where it began. */
static uint32_t select_hinders(const lrt_checker *c) { return c->n.attr[0] == 0 ? LRT_FLAG_STREAMS : 0; }

/* The last valid step (or the first): whichever pass holds it writes the output; the first pass
 * writes zeros for rows that have none. */
static void run_select(lrt_pass *pass, const lrt_plan_node *at)
{
    const lrt_node *n = &at->node;
    uint32_t axis = pass->s->values[n->in[0]].axis, size = pass->s->values[n->in[0]].size, from, to;
    const uint32_t t0 = pass->t0[axis];
    const int32_t *lengths = pass->s->lengths[axis];
    lrt_share(pass->s->batch, pass->lane, pass->lanes, &from, &to);
    for (uint32_t row = from; row < to; row++) {
        uint32_t length = lengths ? (uint32_t)lengths[row] : pass->s->steps[axis];
        uint32_t wanted = n->attr[0] == 0 ? 0 : length - 1;
        float *y = lrt_row(pass, n->out[0], row);
        if (length == 0 && pass->first)
            memset(y, 0, size * sizeof(float));
        else if (length > 0 && wanted >= t0 && wanted - t0 < pass->steps[axis])
            memcpy(y, lrt_row_at(pass, n->in[0], row, wanted - t0), size * sizeof(float));
    }
}

static int check_reverse(lrt_checker *c)
{
    lrt_value x;
    LRT_TRY(lrt_want_counts(c, 1, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_KIND(LRT_SEQ), &x));
    return lrt_want_output(c, 0, LRT_SEQ, x.size, x.axis);
}

static uint32_t reverse_hinders(const lrt_checker *c)
{
    (void)c;
    return LRT_FLAG_CAUSAL | LRT_FLAG_STREAMS;
}

static void each_reverse(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t size = pass->s->values[n->out[0]].size;
    uint32_t valid = lrt_valid_steps(pass, pass->s->values[n->in[0]].axis, row);
    const float *x = lrt_row(pass, n->in[0], row);
    const ptrdiff_t x_step = pass->s->views[n->in[0]].step;
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (uint32_t t = step; t < step + count; t++, y += size) {
        if (t < valid)
            memcpy(y, x + (ptrdiff_t)(valid - 1 - t) * x_step, size * sizeof(float));
        else
            memset(y, 0, size * sizeof(float));
    }
}

/* ---- some of the steps ---------------------------------------------------------------------------------- */

/* y[t] = x[start + t * stride]: the output's axis has as many steps as there are such, or fewer. */
static int check_take(lrt_checker *c)
{
    const uint32_t start = c->n.attr[0], stride = c->n.attr[1];
    lrt_value x;
    lrt_axis a;
    uint32_t axis;
    LRT_TRY(lrt_want_counts(c, 1, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_KIND(LRT_SEQ), &x));
    if (start > 0x3fffffffu || stride < 1 || stride > 0x3fffffffu)
        return LRT_E_NODE_ATTR;
    LRT_TRY(lrt_output_axis(c, &axis));
    a = lrt_read_axis(c->m, axis);
    if (a.parent != x.axis || a.mul != 1 || a.div != stride || a.add > (int32_t)stride - 1 - (int32_t)start)
        return LRT_E_NODE_OUTPUT;
    return lrt_want_output(c, 0, LRT_SEQ, x.size, axis);
}

/* Steps that the end drops come into a pass later than the steps they are; not where each step that an input brings is
 * a whole number of strides. */
static uint32_t take_hinders(const lrt_checker *c)
{
    const uint32_t axis = lrt_read_value(c->m, c->n.out[0]).axis;
    const int drops = lrt_read_axis(c->m, axis).add < (int32_t)c->n.attr[1] - 1 - (int32_t)c->n.attr[0];
    return drops && !lrt_steps_each(c->m, axis) ? LRT_FLAG_CAUSAL | LRT_FLAG_STREAMS : 0;
}

static void each_take(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    const uint32_t size = pass->s->values[n->out[0]].size;
    const uint32_t from = pass->t0[pass->s->values[n->in[0]].axis], to = pass->t0[pass->s->values[n->out[0]].axis];
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (uint32_t t = to + step; t < to + step + count; t++, y += size)
        memcpy(y, lrt_row_at(pass, n->in[0], row, n->attr[0] + t * n->attr[1] - from), size * sizeof(float));
}

/* ---- each step several times ------------------------------------------------------------------------------ */

/* A vector at every step of an axis, whichever; or each step of a sequence so many times, on the axis that
 * has so many times its steps. */
static int check_repeat(lrt_checker *c)
{
    lrt_value x;
    lrt_axis a;
    uint32_t axis;
    LRT_TRY(lrt_want_counts(c, 1, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &x));
    LRT_TRY(lrt_output_axis(c, &axis));
    a = lrt_read_axis(c->m, axis);
    if (x.kind == LRT_VEC ? c->n.attr[0] != 0 : c->n.attr[0] < 1 || c->n.attr[0] > LRT_MAX_SIZE)
        return LRT_E_NODE_ATTR;
    if (x.kind == LRT_SEQ && (a.parent != x.axis || a.mul != c->n.attr[0] || a.add != 0 || a.div != 1))
        return LRT_E_NODE_OUTPUT;
    return lrt_want_output(c, 0, LRT_SEQ, x.size, axis);
}

static uint32_t repeat_hinders(const lrt_checker *c) { return lrt_hinders_spread(c, 0); }

static void each_repeat(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    const lrt_value *x = &pass->s->values[n->in[0]];
    const uint32_t times = n->attr[0], to = pass->t0[pass->s->values[n->out[0]].axis];
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (uint32_t t = to + step; t < to + step + count; t++, y += x->size)
        memcpy(y, x->kind == LRT_VEC ? lrt_row(pass, n->in[0], row)
                                     : lrt_row_at(pass, n->in[0], row, t / times - pass->t0[x->axis]),
               x->size * sizeof(float));
}

/* ---- steps regrouped ---------------------------------------------------------------------------------------- */

static int check_flatten(lrt_checker *c)
{
    const uint32_t steps = c->n.attr[0];
    lrt_value x;
    LRT_TRY(lrt_want_counts(c, 1, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_KIND(LRT_SEQ), &x));
    if (steps < 1 || steps > LRT_MAX_SIZE / x.size)
        return LRT_E_NODE_ATTR;
    return lrt_want_output(c, 0, LRT_VEC, steps * x.size, LRT_MAX_AXES);
}

/* A stream has no number of steps. */
static uint32_t flatten_hinders(const lrt_checker *c)
{
    (void)c;
    return LRT_FLAG_STREAMS;
}

static int flatten_accepts(const lrt_session *s, const lrt_plan_node *at, const lrt_call_args *call)
{
    (void)call;
    return s->steps[s->values[at->node.in[0]].axis] == at->node.attr[0] ? LRT_OK : LRT_E_STEP_COUNT;
}

/* Every pass writes its steps. */
static void run_flatten(lrt_pass *pass, const lrt_plan_node *at)
{
    const lrt_value *x = &pass->s->values[at->node.in[0]];
    uint32_t from, to;
    lrt_share(pass->s->batch, pass->lane, pass->lanes, &from, &to);
    for (uint32_t row = from; row < to; row++) {
        float *y = lrt_row(pass, at->node.out[0], row) + (size_t)pass->t0[x->axis] * x->size;
        for (uint32_t t = 0; t < pass->steps[x->axis]; t++, y += x->size)
            memcpy(y, lrt_row_at(pass, at->node.in[0], row, t), x->size * sizeof(float));
    }
}

/* ---- the steps of another axis, of which there are as many, or no more ------------------------------------------- */

static int check_align(lrt_checker *c)
{
    lrt_value x;
    uint32_t axis;
    LRT_TRY(lrt_want_counts(c, 1, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_KIND(LRT_SEQ), &x));
    LRT_TRY(lrt_output_axis(c, &axis));
    return lrt_want_output(c, 0, LRT_SEQ, x.size, axis);
}

/* Both axes go on alike, where each step that an input brings is as many on the one as on the other. */
static uint32_t align_hinders(const lrt_checker *c)
{
    const uint32_t each = lrt_steps_each(c->m, lrt_read_value(c->m, c->n.in[0]).axis);
    const int alike = each > 0 && each == lrt_steps_each(c->m, lrt_read_value(c->m, c->n.out[0]).axis);
    return alike ? 0 : LRT_FLAG_CAUSAL | LRT_FLAG_STREAMS;
}

static int align_accepts(const lrt_session *s, const lrt_plan_node *at, const lrt_call_args *call)
{
    (void)call;
    return s->steps[s->values[at->node.in[0]].axis] == s->steps[s->values[at->node.out[0]].axis] ? LRT_OK
                                                                                               : LRT_E_STEP_COUNT;
}

static int cut_accepts(const lrt_session *s, const lrt_plan_node *at, const lrt_call_args *call)
{
    (void)call;
    return s->steps[s->values[at->node.in[0]].axis] >= s->steps[s->values[at->node.out[0]].axis] ? LRT_OK
                                                                                               : LRT_E_STEP_COUNT;
}

static void each_align(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    const size_t bytes = pass->s->values[n->out[0]].size * sizeof(float);
    for (uint32_t t = step; t < step + count; t++)
        memcpy(lrt_row_at(pass, n->out[0], row, t), lrt_row_at(pass, n->in[0], row, t), bytes);
}

static int check_unflatten(lrt_checker *c)
{
    const uint32_t times = c->n.attr[0];
    lrt_value x;
    uint32_t axis;
    LRT_TRY(lrt_want_counts(c, 1, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &x));
    if (times < 1 || times > x.size || x.size % times)
        return LRT_E_NODE_ATTR;
    if (x.kind == LRT_SEQ)
        LRT_TRY(lrt_want_derived(c, x.axis, times, 0, 1, &axis));
    else
        LRT_TRY(lrt_want_derived(c, LRT_NONE, 0, (int32_t)times, 1, &axis));
    return lrt_want_output(c, 0, LRT_SEQ, x.size / times, axis);
}

static void each_unflatten(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    const lrt_value *x = &pass->s->values[n->in[0]];
    const uint32_t times = n->attr[0], size = x->size / times, to = pass->t0[pass->s->values[n->out[0]].axis];
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (uint32_t t = to + step; t < to + step + count; t++, y += size) {
        const float *from = x->kind == LRT_VEC ? lrt_row(pass, n->in[0], row)
                                               : lrt_row_at(pass, n->in[0], row, t / times - pass->t0[x->axis]);
        memcpy(y, from + (size_t)(t % times) * size, size * sizeof(float));
    }
}

/* ---- more steps before and after ------------------------------------------------------------------------------- */

enum { A_BEFORE = 0, A_AFTER = 1, A_VALUE = 2, A_MODE = 3, CONSTANT = 0, EDGE = 1, REFLECT = 2, MAX_PADDING = 1 << 28 };

static int check_pad(lrt_checker *c)
{
    const uint32_t *a = c->n.attr;
    lrt_value x;
    uint32_t axis;
    LRT_TRY(lrt_want_counts(c, 1, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_KIND(LRT_SEQ), &x));
    LRT_TRY(lrt_want_finite(c, A_VALUE));
    if (a[A_BEFORE] > MAX_PADDING || a[A_AFTER] > MAX_PADDING || a[A_MODE] > REFLECT)
        return LRT_E_NODE_ATTR;
    axis = x.axis;
    if (a[A_BEFORE] + a[A_AFTER] > 0)
        LRT_TRY(lrt_want_derived(c, x.axis, 1, (int32_t)(a[A_BEFORE] + a[A_AFTER]), 1, &axis));
    return lrt_want_output(c, 0, LRT_SEQ, x.size, axis);
}

/* What comes after is known at the end, and a mirror shows what is to come. */
static uint32_t pad_hinders(const lrt_checker *c)
{
    const uint32_t *a = c->n.attr;
    const int looks_ahead = a[A_AFTER] > 0 || (a[A_MODE] == REFLECT && a[A_BEFORE] > 0);
    return looks_ahead ? LRT_FLAG_CAUSAL | LRT_FLAG_STREAMS : a[A_BEFORE] > 0 ? LRT_FLAG_STREAMS : 0;
}

/* The step of x that stands at step i of x and its padding, there being n > 0 of them. */
static uint32_t padded_step(uint32_t mode, int64_t i, int64_t n)
{
    const int64_t period = 2 * (n - 1);
    if (mode == EDGE || n == 1)
        return (uint32_t)(i < 0 ? 0 : i < n ? i : n - 1);
    i = (i % period + period) % period;
    return (uint32_t)(i < n ? i : period - i);
}

static void each_pad(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    const lrt_value *x = &pass->s->values[n->in[0]];
    const int32_t *lengths = pass->s->lengths[x->axis];
    const int64_t valid = lengths ? lengths[row] : (int64_t)pass->s->steps[x->axis];
    const int64_t first = (int64_t)pass->t0[pass->s->values[n->out[0]].axis] + step - n->attr[A_BEFORE];
    const float value = lrt_attr_float(n, A_VALUE);
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (int64_t i = first; i < first + count; i++, y += x->size) {
        const int inside = i >= 0 && i < valid;
        if (i >= valid + n->attr[A_AFTER] || (valid == 0 && n->attr[A_MODE] != CONSTANT)) {
            memset(y, 0, x->size * sizeof(float));
        } else if (!inside && n->attr[A_MODE] == CONSTANT) {
            for (uint32_t j = 0; j < x->size; j++)
                y[j] = value;
        } else {
            const uint32_t t = inside ? (uint32_t)i : padded_step(n->attr[A_MODE], i, valid);
            memcpy(y, lrt_row_at(pass, n->in[0], row, t - pass->t0[x->axis]), x->size * sizeof(float));
        }
    }
}

const lrt_op lrt_ops_time[] = {
    {.code = LRT_OP_PAD, .since = 4, .check = check_pad, .hinders = pad_hinders, .each = each_pad},
    {.code = LRT_OP_FLATTEN, .since = 4, .check = check_flatten, .hinders = flatten_hinders, .accepts = flatten_accepts,
     .when = LRT_EVERY_PASS, .run = run_flatten},
    {.code = LRT_OP_ALIGN, .since = 4, .check = check_align, .hinders = align_hinders, .accepts = align_accepts,
     .each = each_align},
    {.code = LRT_OP_CUT, .since = 5, .check = check_align, .hinders = reverse_hinders, .accepts = cut_accepts,
     .each = each_align},
    {.code = LRT_OP_UNFLATTEN, .since = 4, .check = check_unflatten, .hinders = repeat_hinders, .each = each_unflatten},
    {.code = LRT_OP_SELECT, .check = check_select, .hinders = select_hinders, .when = LRT_EVERY_PASS,
     .run = run_select},
    {.code = LRT_OP_TAKE, .since = 3, .check = check_take, .hinders = take_hinders, .each = each_take},
    {.code = LRT_OP_REPEAT, .since = 3, .check = check_repeat, .hinders = repeat_hinders, .each = each_repeat},
    {.code = LRT_OP_REVERSE, .check = check_reverse, .hinders = reverse_hinders, .each = each_reverse},
    {.code = LRT_OP_NONE},
};
