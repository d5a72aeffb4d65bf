/* Walks the graph: passes over time, nodes, rows. Knows no op and no ISA. */
#include <string.h>

#include "lrt_pass.h"
#include "lrt_share.h"
#include "ops/lrt_ops.h"

void lrt_ask(lrt_pass *pass)
{
    pass->work = 0;
    if (!pass->s->stop || pass->stopping)
        return;
    lrt_restore_mode(pass->mode);
    pass->stopping = pass->s->stop(pass->s->stop_context, pass->own_lane) != 0;
    lrt_flush_denormals(pass->mode);
}

/* What a lane has written of itself the others read before the next meeting, and it is written over after that. */
int lrt_meet_others(lrt_pass *pass)
{
    unsigned char *told = pass->s->stopping + (pass->meetings++ & 1u) * pass->s->limits.lanes;
    told[pass->own_lane] = (unsigned char)pass->stopping;
    lrt_wait_for_all(pass);
    for (uint32_t i = 0; i < pass->lanes; i++)
        pass->stopping |= told[i];
    return pass->stopping;
}

/* Do the steps of all values of the node follow each other? */
static int has_no_gaps(const lrt_session *s, const lrt_node *n)
{
    const uint32_t *lists[2] = {n->in, n->out}, counts[2] = {n->n_in, n->n_out};
    for (unsigned l = 0; l < 2 && s->gaps; l++)
        for (uint32_t i = 0; i < counts[l]; i++) {
            const uint32_t v = lists[l][i];
            if (v == LRT_NONE || !lrt_is_timed(&s->values[v]))
                continue;
            if (s->views[v].step != (ptrdiff_t)lrt_per_step(&s->values[v]))
                return 0;
        }
    return 1;
}

void lrt_for_steps(lrt_pass *pass, const lrt_plan_node *at, lrt_each_fn *each)
{
    const uint64_t work = lrt_work_of(pass->s, at).all;
    const uint32_t piece = has_no_gaps(pass->s, &at->node) ? lrt_piece_rows(work) : 1;
    uint32_t row = 0, rows = pass->s->batch, from = 0, to = lrt_value_steps(pass, at->node.out[0]);
    /* Share rows when there are enough of them, else steps. */
    if (rows >= pass->lanes)
        lrt_share(rows, pass->lane, pass->lanes, &row, &rows);
    else
        lrt_share(to, pass->lane, pass->lanes, &from, &to);
    for (; row < rows; row++) {
        for (uint32_t step = from, count; step < to; step += count) {
            count = lrt_smaller(piece, to - step);
            each(pass, &at->node, row, step, count);
            if (lrt_told_to_stop(pass, work * count))
                return;
        }
    }
}

/* Does the node run in this pass? */
static int is_due(const lrt_pass *pass, const lrt_plan_node *at)
{
    const uint32_t value = at->node.out[0];
    if (at->op->when == LRT_ALWAYS)
        return 1;
    if (!pass->s->views[value].data)
        return 0; /* nobody reads it */
    return at->op->when == LRT_EVERY_PASS || pass->last || pass->s->values[value].kind != LRT_VEC;
}

static void run_node(lrt_pass *pass, const lrt_plan_node *at)
{
    if (!is_due(pass, at))
        return;
    if (at->op->run)
        at->op->run(pass, at);
    else
        lrt_for_steps(pass, at, at->op->each);
}

static void run_pass(lrt_pass *pass)
{
    for (uint32_t i = 0; i < pass->s->model->n_nodes; i++) {
        run_node(pass, &pass->s->nodes[i]);
        if (lrt_meet(pass))
            return;
    }
}

/* The steps of axis i, if it is derived, that those of the pass on the axis it comes from give rise to. */
static void derive_stretch(lrt_pass *pass, uint32_t i)
{
    const lrt_axis a = lrt_read_axis(pass->s->model, i);
    uint32_t from = 0, to = 0;
    if (lrt_is_root(&a))
        return;
    if (a.parent != LRT_NONE) {
        from = pass->t0[a.parent];
        to = from + pass->steps[a.parent];
    }
    pass->t0[i] = pass->first ? 0 : lrt_derived_steps(&a, from);
    pass->steps[i] = (pass->last ? pass->s->steps[i] : lrt_derived_steps(&a, to)) - pass->t0[i];
}

/* Which steps a pass takes: all, on every axis, where the model does not run in chunks; else steps `from` to
 * from + count of axis 0, which all others are derived from, and what these have given rise to by then. */
static void set_stretch(lrt_pass *pass, uint32_t from, uint32_t count)
{
    const lrt_session *s = pass->s;
    pass->first = !s->chunk || from == 0;
    pass->last = !s->chunk || from + count == s->steps[0];
    for (uint32_t i = 0; i < s->model->n_axes; i++) {
        pass->t0[i] = s->chunk ? from : 0;
        pass->steps[i] = s->chunk ? count : s->steps[i];
        if (s->chunk && s->derived)
            derive_stretch(pass, i);
    }
}

/* Each lane runs its stage of the nodes, on the pass that the stage before it has just done. */
static void run_pipe(lrt_pass *pass, uint32_t pass_steps)
{
    const lrt_session *s = pass->s;
    const uint32_t steps = s->steps[0], passes = steps / pass_steps + (steps % pass_steps != 0);
    lrt_pass mine = *pass;
    uint32_t from, to;
    uint64_t total;
    lrt_stage_nodes(s, pass->lane, pass->lanes, &from, &to, &total);
    mine.piped = 1;
    mine.lane = 0;
    mine.lanes = 1;
    for (uint32_t wave = 0; wave < passes + pass->lanes - 1; wave++) {
        uint32_t p = wave - pass->lane;
        if (wave >= pass->lane && p < passes) {
            set_stretch(&mine, p * pass_steps, lrt_smaller(pass_steps, steps - p * pass_steps));
            mine.buffer = p % s->stages;
            for (uint32_t i = from; i < to; i++)
                run_node(&mine, &s->nodes[i]);
        }
        pass->stopping = mine.stopping;
        if (lrt_meet(pass))
            return;
    }
}

int lrt_run(lrt_session *s, uint32_t lane, uint32_t lanes, lrt_barrier *barrier, void *context)
{
    const uint32_t pipe = lanes > 1 ? lrt_pipe_pass(s, lanes) : 0;
    lrt_pass pass;
    memset(&pass, 0, offsetof(lrt_pass, t0)); /* set_stretch sets the others */
    pass.s = s;
    pass.lane = pass.own_lane = lane;
    pass.lanes = lanes;
    pass.barrier = barrier;
    pass.context = context;
    pass.last = pipe != 0;
    pass.mode = lrt_get_mode();
    lrt_flush_denormals(pass.mode);
    if (pipe)
        run_pipe(&pass, pipe);
    for (uint32_t from = 0, count; !pass.last && !pass.stopping; from += count) {
        count = lrt_smaller(lrt_pass_steps(s, 0), s->steps[0] - from);
        set_stretch(&pass, from, count);
        run_pass(&pass);
    }
    lrt_restore_mode(pass.mode);
    if (pass.stopping)
        return LRT_E_STOPPED;
    if (lane == 0 && s->any_grouped)
        lrt_finish_call(s);
    return LRT_OK;
}
