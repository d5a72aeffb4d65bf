/* Ops that join the steps of a sequence: their sum, mean, largest..., running sums, and softmax over steps. */
#include <math.h>
#include <string.h>

#include "lrt_share.h"
#include "ops/lrt_ops.h"

/* Attributes of a reduce; softmax_steps has `whole` as its first. */
enum { A_KIND = 0, A_WHOLE = 1 };

/* What is kept of a row between passes and calls: `size` totals, what rounding has taken from each; of a reduce also how
 * many steps have counted, c, as c % COUNT and c / COUNT: a float alone would stop at COUNT. */
#define COUNT 16777216.0f /* 2^24 */
typedef struct {
    float *rows;
    size_t stride; /* floats from row to row */
} sums;

static float *row_of(const lrt_plan_node *at, uint32_t row)
{
    const sums *own = (const sums *)at->own;
    return own->rows + (size_t)row * own->stride;
}

static void plan_sums(lrt_planner *p, lrt_plan_node *at)
{
    const uint32_t size = lrt_read_value(p->m, at->node.in[0]).size;
    sums measured, *own = (sums *)lrt_take(p, 1, sizeof *own);
    lrt_slot slot;
    at->own = own;
    own = own ? own : &measured;
    slot.layer = p->n_layers++;
    slot.directions = 1;
    slot.is_cell = 0;
    slot.size = 2 * size + (at->node.op == LRT_OP_REDUCE ? 2 : 0);
    own->stride = (slot.size + LRT_PANEL - 1) / LRT_PANEL * LRT_PANEL;
    own->rows = (float *)(void *)lrt_take_rows(p, own->stride * sizeof(float), p->n_slots++, &slot);
}

static uint32_t axis_of(const lrt_pass *pass, const lrt_node *n) { return pass->s->values[n->in[0]].axis; }

/* Steps of the pass that may count. */
static uint32_t steps_of(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t whole)
{
    return whole ? pass->steps[axis_of(pass, n)] : lrt_valid_steps(pass, axis_of(pass, n), row);
}

static const unsigned char *counts_of(const lrt_pass *pass, uint32_t mask, uint32_t row)
{
    return mask == LRT_NONE ? NULL : lrt_mask_at(pass, mask, row, 0);
}

/* ---- reduce --------------------------------------------------------------------------------------------- */

/* A seq, and which of its steps count, or all. */
static int check_counting(lrt_checker *c, lrt_value *x)
{
    LRT_TRY(lrt_want_counts(c, 2, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_KIND(LRT_SEQ), x));
    return lrt_is_absent(c, 1) ? LRT_OK : lrt_want_input_like(c, 1, LRT_KIND(LRT_MASK), 0, x->axis);
}

static int check_reduce(lrt_checker *c)
{
    lrt_value x;
    LRT_TRY(check_counting(c, &x));
    if (c->n.attr[A_KIND] >= LRT_REDUCE_COUNT || c->n.attr[A_WHOLE] > 1)
        return LRT_E_NODE_ATTR;
    return lrt_want_output(c, 0, LRT_VEC, x.size, LRT_MAX_AXES);
}

static enum lrt_join join_of(uint32_t kind)
{
    static const enum lrt_join of[LRT_REDUCE_COUNT] = {LRT_JOIN_ADD, LRT_JOIN_ADD, LRT_JOIN_MAX,
                                                       LRT_JOIN_MIN, LRT_JOIN_MUL, LRT_JOIN_ADD_SQUARE};
    return of[kind];
}

static uint32_t count_steps(const unsigned char *counts, uint32_t steps)
{
    uint32_t n = counts ? 0 : steps;
    for (uint32_t t = 0; counts && t < steps; t++)
        n += counts[t] != 0;
    return n;
}

/* Adds n steps to those that have counted. */
static void count_more(float *count, uint32_t n)
{
    for (uint32_t left = n, some; left > 0; left -= some) {
        const float room = COUNT - count[0]; /* whatever a caller has set: the loop ends */
        some = room >= 1.0f && room < (float)left ? (uint32_t)room : left;
        count[0] += (float)some;
        if (count[0] >= COUNT) {
            count[0] -= COUNT;
            count[1] += 1.0f;
        }
    }
}

static void reduce_row(const lrt_pass *pass, const lrt_plan_node *at, uint32_t row)
{
    const lrt_node *n = &at->node;
    const uint32_t size = pass->s->values[n->in[0]].size, kind = n->attr[A_KIND];
    float *kept = row_of(at, row), *count = kept + 2 * (size_t)size;
    lrt_join_args a;
    memset(&a, 0, sizeof a);
    a.op = join_of(kind);
    a.x = lrt_row(pass, n->in[0], row);
    a.x_step = pass->s->views[n->in[0]].step;
    a.counts = counts_of(pass, n->in[1], row);
    a.steps = steps_of(pass, n, row, n->attr[A_WHOLE]);
    a.begun = count[0] > 0.0f || count[1] > 0.0f;
    a.total = kept;
    a.lost = kept + size;
    a.n = size;
    pass->s->kernels->join(&a);
    count_more(count, count_steps(a.counts, a.steps));
}

/* What has been summed up so far. */
static void store_row(const lrt_pass *pass, const lrt_plan_node *at, uint32_t row)
{
    const lrt_node *n = &at->node;
    const uint32_t size = pass->s->values[n->in[0]].size, kind = n->attr[A_KIND];
    const float *kept = row_of(at, row), *count = kept + 2 * (size_t)size;
    const float steps = count[1] * COUNT + count[0];
    float *y = lrt_row(pass, n->out[0], row);
    for (uint32_t i = 0; i < size; i++)
        y[i] = kind == LRT_REDUCE_MEAN && steps > 0.0f ? kept[i] / steps
               : kind == LRT_REDUCE_L2                 ? sqrtf(kept[i])
                                                       : kept[i];
}

static void run_reduce(lrt_pass *pass, const lrt_plan_node *at)
{
    const uint64_t work = lrt_work_of(pass->s, at).all * (pass->steps[axis_of(pass, &at->node)] + 1u);
    const int store = pass->last && pass->s->views[at->node.out[0]].data;
    uint32_t row, end;
    lrt_share(pass->s->batch, pass->lane, pass->lanes, &row, &end);
    for (; row < end; row++) {
        reduce_row(pass, at, row);
        if (store)
            store_row(pass, at, row);
        if (lrt_told_to_stop(pass, work))
            return;
    }
}

/* ---- running sums ----------------------------------------------------------------------------------------- */

static int check_cumsum(lrt_checker *c)
{
    lrt_value x;
    LRT_TRY(lrt_want_counts(c, 1, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_KIND(LRT_SEQ), &x));
    return lrt_want_output(c, 0, LRT_SEQ, x.size, x.axis);
}

/* Some steps of one row; those beyond its length add nothing. */
static void sum_steps(const lrt_pass *pass, const lrt_plan_node *at, uint32_t row, uint32_t step, uint32_t count)
{
    const lrt_node *n = &at->node;
    const uint32_t size = pass->s->values[n->in[0]].size, valid = steps_of(pass, n, row, 0);
    const lrt_view *view = &pass->s->views[n->out[0]];
    float *kept = row_of(at, row), *y = view->data ? lrt_row_at(pass, n->out[0], row, step) : NULL;
    lrt_join_args a;
    memset(&a, 0, sizeof a);
    a.op = LRT_JOIN_ADD;
    a.x = lrt_row_at(pass, n->in[0], row, step);
    a.x_step = pass->s->views[n->in[0]].step;
    a.steps = step >= valid ? 0 : lrt_smaller(count, valid - step);
    a.total = kept;
    a.lost = kept + size;
    a.y = y;
    a.y_step = view->step;
    a.n = size;
    pass->s->kernels->join(&a);
    for (uint32_t t = a.steps; y && t < count; t++)
        memcpy(y + (ptrdiff_t)t * view->step, kept, size * sizeof(float));
}

static void run_cumsum(lrt_pass *pass, const lrt_plan_node *at)
{
    const uint64_t work = lrt_work_of(pass->s, at).all;
    const uint32_t steps = pass->steps[axis_of(pass, &at->node)], piece = lrt_piece_rows(work);
    uint32_t row, end;
    lrt_share(pass->s->batch, pass->lane, pass->lanes, &row, &end);
    for (; row < end; row++) {
        for (uint32_t step = 0, count; step < steps; step += count) {
            count = lrt_smaller(piece, steps - step);
            sum_steps(pass, at, row, step, count);
            if (lrt_told_to_stop(pass, work * count))
                return;
        }
    }
}

/* ---- softmax over steps ------------------------------------------------------------------------------------ */

static int check_softmax_steps(lrt_checker *c)
{
    lrt_value x;
    LRT_TRY(check_counting(c, &x));
    if (c->n.attr[0] > 1)
        return LRT_E_NODE_ATTR;
    return lrt_want_output(c, 0, LRT_SEQ, x.size, x.axis);
}

static uint32_t softmax_hinders(const lrt_checker *c)
{
    (void)c;
    return LRT_FLAG_CAUSAL | LRT_FLAG_STREAMS;
}

/* The largest, the exponentials and their quotients: what an activation costs, some times over. */
static void work_of_softmax(const lrt_session *s, const lrt_plan_node *at, lrt_work *work)
{
    work->all = 3 * (uint64_t)s->values[at->node.out[0]].size;
    work->recurrent = 0;
}

static void softmax_row(const lrt_pass *pass, const lrt_node *n, uint32_t row)
{
    const uint32_t all = pass->steps[axis_of(pass, n)];
    lrt_softmax_args a;
    a.x = lrt_row(pass, n->in[0], row);
    a.x_step = pass->s->views[n->in[0]].step;
    a.counts = counts_of(pass, n->in[1], row);
    a.steps = steps_of(pass, n, row, n->attr[0]);
    a.y = lrt_row(pass, n->out[0], row);
    a.y_step = pass->s->views[n->out[0]].step;
    a.n = pass->s->values[n->in[0]].size;
    pass->s->kernels->softmax_steps(&a);
    for (uint32_t t = a.steps; t < all; t++)
        memset(a.y + (ptrdiff_t)t * a.y_step, 0, a.n * sizeof(float));
}

static void run_softmax_steps(lrt_pass *pass, const lrt_plan_node *at)
{
    const uint64_t work = lrt_work_of(pass->s, at).all * (pass->steps[axis_of(pass, &at->node)] + 1u);
    uint32_t row, end;
    lrt_share(pass->s->batch, pass->lane, pass->lanes, &row, &end);
    for (; row < end; row++) {
        softmax_row(pass, &at->node, row);
        if (lrt_told_to_stop(pass, work))
            return;
    }
}

const lrt_op lrt_ops_reduce[] = {
    {.code = LRT_OP_REDUCE, .since = 4, .check = check_reduce, .plan = plan_sums, .when = LRT_ALWAYS,
     .run = run_reduce},
    {.code = LRT_OP_CUMSUM, .since = 4, .check = check_cumsum, .plan = plan_sums, .when = LRT_ALWAYS,
     .run = run_cumsum},
    {.code = LRT_OP_SOFTMAX_STEPS, .since = 4, .check = check_softmax_steps,
     .hinders = softmax_hinders, .work = work_of_softmax, .run = run_softmax_steps},
    {.code = LRT_OP_NONE},
};
