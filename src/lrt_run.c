/* Walks the graph: passes over time, nodes, rows. Knows no op and no ISA. */
#include <string.h>

#include "lrt_pass.h"
#include "lrt_share.h"
#include "ops/lrt_ops.h"

void lrt_for_steps(const lrt_pass *pass, const lrt_node *n, lrt_each_fn *each)
{
    const uint32_t batch = pass->s->batch, steps = lrt_value_steps(pass, n->out[0]);
    uint32_t from, to;
    if (batch == 0 || steps == 0)
        return;
    /* Share rows when there are enough of them, else steps. */
    if (batch >= pass->lanes) {
        lrt_share(batch, pass->lane, pass->lanes, &from, &to);
        for (uint32_t row = from; row < to; row++)
            each(pass, n, row, 0, steps);
    } else {
        lrt_share(steps, pass->lane, pass->lanes, &from, &to);
        for (uint32_t row = 0; row < batch && from < to; row++)
            each(pass, n, row, from, to - from);
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

static void run_node(const lrt_pass *pass, const lrt_plan_node *at)
{
    if (!is_due(pass, at))
        return;
    if (at->op->run)
        at->op->run(pass, at);
    else
        lrt_for_steps(pass, &at->node, at->op->each);
}

static void run_pass(const lrt_pass *pass)
{
    for (uint32_t i = 0; i < pass->s->model->n_nodes; i++) {
        run_node(pass, &pass->s->nodes[i]);
        lrt_meet(pass);
    }
}

/* Each lane runs its stage of the nodes, on the pass that the stage before it has just done. */
static void run_pipe(const lrt_pass *pass, uint32_t pass_steps)
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
            mine.t0 = p * pass_steps;
            mine.steps[0] = lrt_smaller(pass_steps, steps - mine.t0);
            mine.last = p == passes - 1;
            mine.buffer = p % s->stages;
            for (uint32_t i = from; i < to; i++)
                run_node(&mine, &s->nodes[i]);
        }
        lrt_meet(pass);
    }
}

void lrt_run(lrt_session *s, uint32_t lane, uint32_t lanes, lrt_barrier *barrier, void *context)
{
    const uint32_t pipe = lrt_pipe_pass(s, lanes);
    lrt_pass pass;
    memset(&pass, 0, sizeof pass);
    pass.s = s;
    pass.lane = pass.own_lane = lane;
    pass.lanes = lanes;
    pass.barrier = barrier;
    pass.context = context;
    if (pipe) {
        run_pipe(&pass, pipe);
        return;
    }
    do {
        pass.last = 1;
        for (uint32_t a = 0; a < s->model->n_axes; a++) {
            pass.steps[a] = lrt_smaller(lrt_pass_steps(s, a), s->steps[a] - pass.t0);
            pass.last = !s->chunk || pass.t0 + pass.steps[a] == s->steps[a]; /* more than one pass: a single axis */
        }
        run_pass(&pass);
        pass.t0 += pass.steps[0];
    } while (!pass.last);
}
