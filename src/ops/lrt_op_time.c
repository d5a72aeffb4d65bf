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
static void run_select(const lrt_pass *pass, const lrt_plan_node *at)
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

const lrt_op lrt_ops_time[] = {
    {.code = LRT_OP_SELECT, .check = check_select, .hinders = select_hinders, .when = LRT_EVERY_PASS, .run = run_select},
    {.code = LRT_OP_REVERSE, .check = check_reverse, .hinders = reverse_hinders, .each = each_reverse},
    {.code = LRT_OP_NONE},
};
