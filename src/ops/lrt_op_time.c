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

/* The axis on which output 0 is to be, which the op derives from that of its input. */
static int output_axis(const lrt_checker *c, uint32_t *axis)
{
    if (c->next >= c->m->n_values)
        return LRT_E_NODE_OUTPUT;
    *axis = lrt_read_value(c->m, c->next).axis;
    return *axis < c->m->n_axes ? LRT_OK : LRT_E_NODE_OUTPUT;
}

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
    LRT_TRY(output_axis(c, &axis));
    a = lrt_read_axis(c->m, axis);
    if (a.parent != x.axis || a.mul != 1 || a.div != stride || a.add > (int32_t)stride - 1 - (int32_t)start)
        return LRT_E_NODE_OUTPUT;
    return lrt_want_output(c, 0, LRT_SEQ, x.size, axis);
}

/* Steps that the end drops come into a pass later than the steps they are. */
static uint32_t take_hinders(const lrt_checker *c)
{
    const lrt_axis a = lrt_read_axis(c->m, lrt_read_value(c->m, c->n.out[0]).axis);
    const int drops = a.add < (int32_t)c->n.attr[1] - 1 - (int32_t)c->n.attr[0];
    return drops ? LRT_FLAG_CAUSAL | LRT_FLAG_STREAMS : 0;
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
    LRT_TRY(output_axis(c, &axis));
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

const lrt_op lrt_ops_time[] = {
    {.code = LRT_OP_SELECT, .check = check_select, .hinders = select_hinders, .when = LRT_EVERY_PASS,
     .run = run_select},
    {.code = LRT_OP_TAKE, .since = 3, .check = check_take, .hinders = take_hinders, .each = each_take},
    {.code = LRT_OP_REPEAT, .since = 3, .check = check_repeat, .hinders = repeat_hinders, .each = each_repeat},
    {.code = LRT_OP_REVERSE, .check = check_reverse, .hinders = reverse_hinders, .each = each_reverse},
    {.code = LRT_OP_NONE},
};
