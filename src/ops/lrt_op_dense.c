/* Dense layers: a product and an activation, each step for itself. */
#include <string.h>

#include "lrt_share.h"
#include "ops/lrt_activate.h"
#include "ops/lrt_ops.h"

static int check_dense(lrt_checker *c)
{
    lrt_value x;
    lrt_tensor t;
    LRT_TRY(lrt_want_counts(c, 1, 1, 2));
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &x));
    LRT_TRY(lrt_want_act(c, 0, LRT_ACT_COUNT));
    LRT_TRY(lrt_want_tensor(c, 0, &t));
    LRT_TRY(lrt_want_weight(c, 0, LRT_PANELS, 1, t.units, x.size));
    LRT_TRY(lrt_want_optional_weight(c, 1, LRT_PANELS, 1, t.units, 1));
    return lrt_want_output(c, 0, x.kind, t.units, x.axis);
}

static void work_of_dense(const lrt_session *s, const lrt_plan_node *at, lrt_work *work)
{
    work->all = (uint64_t)s->values[at->node.out[0]].size * s->values[at->node.in[0]].size;
    work->recurrent = 0;
}

static void dense_rows(const lrt_pass *pass, const lrt_linear_args *args, const lrt_act *act)
{
    const lrt_kernels *k = pass->s->kernels;
    k->linear(args);
    if (act->kind != LRT_ACT_LINEAR)
        lrt_activate_rows(k, act, args->y, args->y, args->rows, args->m.units);
}

static void linear_of(const lrt_pass *pass, const lrt_node *n, lrt_linear_args *a)
{
    memset(a, 0, sizeof *a);
    a->m.w = lrt_tensor_data(pass->s->model, n->tensor[0]);
    a->m.gates = 1;
    a->m.units = pass->s->values[n->out[0]].size;
    a->m.k = pass->s->values[n->in[0]].size;
    a->bias = lrt_tensor_data(pass->s->model, n->tensor[1]);
    a->x_row = (ptrdiff_t)a->m.k;
    a->y_row = (ptrdiff_t)a->m.units;
    a->p1 = lrt_panel_count(a->m.units);
}

static void each_dense(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    lrt_linear_args a;
    lrt_act act = lrt_attr_act(n, 0);
    linear_of(pass, n, &a);
    a.x = lrt_row_at(pass, n->in[0], row, step);
    a.y = lrt_row_at(pass, n->out[0], row, step);
    a.rows = count;
    dense_rows(pass, &a, &act);
}

/* Where the rows of all steps, or of the whole batch, follow each other without a gap: one product. */
static void run_dense(const lrt_pass *pass, const lrt_plan_node *at)
{
    const lrt_node *n = &at->node;
    const lrt_session *s = pass->s;
    const lrt_view *x = &s->views[n->in[0]], *y = &s->views[n->out[0]];
    uint32_t steps = lrt_value_steps(pass, n->out[0]), from, to;
    lrt_linear_args a;
    lrt_act act = lrt_attr_act(n, 0);
    linear_of(pass, n, &a);
    if ((uint64_t)s->batch * steps > UINT32_MAX ||
        (steps != 1 && (x->row != (ptrdiff_t)steps * a.x_row || y->row != (ptrdiff_t)steps * a.y_row))) {
        lrt_for_steps(pass, n, each_dense);
        return;
    }
    if (steps == 1) {
        a.x_row = x->row;
        a.y_row = y->row;
    }
    lrt_share(s->batch * steps, pass->lane, pass->lanes, &from, &to);
    if (from == to)
        return;
    a.x = lrt_row(pass, n->in[0], 0) + (ptrdiff_t)from * a.x_row;
    a.y = lrt_row(pass, n->out[0], 0) + (ptrdiff_t)from * a.y_row;
    a.rows = to - from;
    if (steps == 1 && a.y_row != (ptrdiff_t)a.m.units) { /* one step of a longer output: row by row */
        for (; a.rows > 0; a.x += a.x_row, a.y += a.y_row, from++, a.rows = to - from) {
            a.rows = 1;
            dense_rows(pass, &a, &act);
        }
        return;
    }
    dense_rows(pass, &a, &act);
}

const lrt_op lrt_ops_dense[] = {
    {.code = LRT_OP_DENSE, .check = check_dense, .work = work_of_dense, .run = run_dense},
    {.code = LRT_OP_NONE},
};
