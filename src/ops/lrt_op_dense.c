/* Dense layers: a product and an activation, each step for itself. */
#include <string.h>

#include "integers/lrt_integers.h"
#include "lrt_share.h"
#include "ops/lrt_activate.h"
#include "ops/lrt_ops.h"

static int check_dense(lrt_checker *c)
{
    lrt_value x;
    lrt_tensor t;
    LRT_TRY(lrt_want_counts(c, 1, 1, 2));
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &x));
    LRT_TRY(lrt_want_act(c, 0));
    LRT_TRY(lrt_want_tensor(c, 0, &t));
    LRT_TRY(lrt_want_matrix(c, 0, 1, t.units, x.size));
    LRT_TRY(lrt_want_optional_weight(c, 1, LRT_PANELS, 1, t.units, 1));
    return lrt_want_output(c, 0, x.kind, t.units, x.axis);
}

static void work_of_dense(const lrt_session *s, const lrt_plan_node *at, lrt_work *work)
{
    const lrt_matrix m = lrt_tensor_matrix(s->model, at->node.tensor[0]);
    work->all = lrt_work_there(&m, (uint64_t)m.units * m.k);
    work->recurrent = 0;
}

static void plan_dense(lrt_planner *p, lrt_plan_node *at)
{
    const lrt_matrix m = lrt_tensor_matrix(p->m, at->node.tensor[0]);
    const lrt_value x = lrt_read_value(p->m, at->node.in[0]);
    lrt_need_packed(p, &m, lrt_planned_rows(p, &x));
}

static lrt_linear_args linear_of(const lrt_pass *pass, const lrt_node *n)
{
    lrt_linear_args a;
    memset(&a, 0, sizeof a);
    a.m = lrt_tensor_matrix(pass->s->model, n->tensor[0]);
    a.packed = lrt_packed(pass);
    a.bias = lrt_tensor_data(pass->s->model, n->tensor[1]);
    a.p1 = lrt_panel_count(a.m.units);
    return a;
}

static void dense_rows(const lrt_pass *pass, const lrt_node *n, const lrt_linear_args *a)
{
    const lrt_kernels *kernels = pass->s->kernels;
    const lrt_act act = lrt_attr_act(n, 0);
    float *y = a->y;
    lrt_linear(kernels, a);
    if (act.kind == LRT_ACT_LINEAR)
        return;
    if (a->y_row == (ptrdiff_t)a->m.units) {
        lrt_activate_rows(kernels, &act, y, y, a->rows, a->m.units);
        return;
    }
    for (uint32_t i = 0; i < a->rows; i++, y += a->y_row)
        lrt_activate_rows(kernels, &act, y, y, 1, a->m.units);
}

static void each_dense(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    lrt_linear_args a = linear_of(pass, n);
    a.x = lrt_row_at(pass, n->in[0], row, step);
    a.x_row = pass->s->views[n->in[0]].step;
    a.y = lrt_row_at(pass, n->out[0], row, step);
    a.y_row = pass->s->views[n->out[0]].step;
    a.rows = count;
    dense_rows(pass, n, &a);
}

/* Are all rows of all steps equally far apart, taken row after row (or step after step, by_step)? Sets how far. */
static int is_even(const lrt_view *v, uint32_t batch, uint32_t steps, int by_step, ptrdiff_t *apart)
{
    if (steps == 1 || batch == 1) {
        *apart = steps == 1 ? v->row : v->step;
        return 1;
    }
    *apart = by_step ? v->row : v->step;
    return by_step ? v->step == (ptrdiff_t)batch * v->row : v->row == (ptrdiff_t)steps * v->step;
}

/* One product of all rows of all steps, where they are equally far apart in input and output; else one of each row. */
static void run_dense(lrt_pass *pass, const lrt_plan_node *at)
{
    const lrt_node *n = &at->node;
    const lrt_session *s = pass->s;
    const lrt_view *x = &s->views[n->in[0]], *y = &s->views[n->out[0]];
    const uint32_t batch = s->batch, steps = lrt_value_steps(pass, n->out[0]);
    const uint64_t work = lrt_work_of(s, at).all;
    const uint32_t piece = lrt_piece_rows(work);
    lrt_linear_args a = linear_of(pass, n);
    uint32_t from, to;
    int even = 0;
    for (int by_step = 0; by_step < 2 && !even; by_step++)
        even = is_even(x, batch, steps, by_step, &a.x_row) && is_even(y, batch, steps, by_step, &a.y_row);
    if (!even || (uint64_t)batch * steps > UINT32_MAX) {
        lrt_for_steps(pass, at, each_dense);
        return;
    }
    lrt_share(batch * steps, pass->lane, pass->lanes, &from, &to);
    a.x = lrt_row(pass, n->in[0], 0) + (ptrdiff_t)from * a.x_row;
    a.y = lrt_row(pass, n->out[0], 0) + (ptrdiff_t)from * a.y_row;
    for (; from < to; from += a.rows, a.x += (ptrdiff_t)a.rows * a.x_row, a.y += (ptrdiff_t)a.rows * a.y_row) {
        a.rows = lrt_smaller(piece, to - from);
        dense_rows(pass, n, &a);
        if (lrt_told_to_stop(pass, work * a.rows))
            return;
    }
}

const lrt_op lrt_ops_dense[] = {
    {.code = LRT_OP_DENSE, .check = check_dense, .plan = plan_dense, .work = work_of_dense, .run = run_dense},
    {.code = LRT_OP_NONE},
};
