/* Who of several lanes does what, and how many lanes are worth it. */
#include "lrt_share.h"

#include "lrt_pass.h"
#include "ops/lrt_ops.h"

/* Multiply-adds of a call that make a second thread worth it: one that spins, and one that sleeps. */
#define AWAKE_WORK 196608u
#define ASLEEP_WORK (1u << 24)
#define STEP_WORK 98304u  /* multiply-adds per step that make a barrier per step worth it */
#define LANE_ROWS 4u      /* rows of a lane that make reading all weights worth it */

enum lrt_mode lrt_choose_mode(uint32_t lanes, uint32_t batch, uint32_t n_dir, uint64_t step_work, uint32_t panels)
{
    if (lanes == 1)
        return LRT_ALONE;
    if (batch >= LANE_ROWS * lanes)
        return LRT_BY_ROWS;
    if (n_dir == 2 && lanes == 2)
        return LRT_BY_DIRECTIONS;
    if (step_work * batch >= STEP_WORK && panels >= 2 * lanes)
        return LRT_BY_PANELS;
    return batch >= 2 * lanes ? LRT_BY_ROWS : LRT_ALONE;
}

lrt_work lrt_work_of(const lrt_session *s, const lrt_plan_node *at)
{
    lrt_work work = {0, 0};
    if (at->op->work)
        at->op->work(s, at, &work);
    else
        work.all = s->values[at->node.out[0]].size;
    return work;
}

/* Nodes stand in a line, each as long as its work; the line is cut into `stages` equal lengths, and a node
 * belongs to the one in which its middle lies. So stages are runs of nodes in order, of about equal work. */
uint64_t lrt_stage_nodes(const lrt_session *s, uint32_t stage, uint32_t stages, uint32_t *from, uint32_t *to,
                         uint64_t *total)
{
    const uint32_t n = s->model->n_nodes;
    uint64_t before = 0, mine = 0;
    *total = 0;
    for (uint32_t i = 0; i < n; i++)
        *total += lrt_work_of(s, &s->nodes[i]).all;
    *from = *to = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t work = lrt_work_of(s, &s->nodes[i]).all, at = (2 * before + work) * stages / (2 * *total + 1);
        *from += at < stage;
        *to += at <= stage;
        mine += at == stage ? work : 0;
        before += work;
    }
    return mine;
}

#define PIPE_PASSES 8u /* so few that they do not wait for each other often, so many that the ends cost little */
#define PIPE_STEPS 12u /* of a pass, at least */

static int any_is_shared(const lrt_session *s, uint32_t lanes)
{
    for (uint32_t i = 0; i < s->model->n_nodes; i++)
        if (s->nodes[i].op->is_shared && s->nodes[i].op->is_shared(s, &s->nodes[i], lanes))
            return 1;
    return 0;
}

/* For layers too small to be shared. */
uint32_t lrt_pipe_pass(const lrt_session *s, uint32_t lanes)
{
    const uint32_t steps = s->steps[0], pass = steps / PIPE_PASSES + (steps % PIPE_PASSES != 0);
    if (lanes == 1 || s->stages < lanes || steps < 4 * PIPE_STEPS || any_is_shared(s, lanes))
        return 0;
    for (uint32_t stage = 0; stage < lanes; stage++) {
        uint32_t from, to;
        uint64_t total, work = lrt_stage_nodes(s, stage, lanes, &from, &to, &total);
        if (work * 4 > total * 3)
            return 0;
    }
    return lrt_smaller(pass > PIPE_STEPS ? pass : PIPE_STEPS, s->chunk);
}

/* Multiply-adds of the call that must wait for steps before them, of a node that lanes can share. */
static uint64_t call_work(const lrt_session *s, const lrt_plan_node *at)
{
    if (!at->op->is_shared)
        return 0;
    return lrt_work_of(s, at).recurrent * s->batch * s->steps[s->values[at->node.in[0]].axis];
}

/* Multiply-adds of the call that so many lanes share. */
static uint64_t shared_work(const lrt_session *s, uint32_t lanes)
{
    const int piped = lrt_pipe_pass(s, lanes) != 0;
    uint64_t shared = 0;
    for (uint32_t i = 0; i < s->model->n_nodes; i++) {
        const lrt_plan_node *at = &s->nodes[i];
        if (at->op->is_shared && (piped || at->op->is_shared(s, at, lanes)))
            shared += call_work(s, at);
    }
    return shared;
}

/* Multiply-adds of the call that lanes could share, were they few enough. */
static uint64_t recurrent_work(const lrt_session *s)
{
    uint64_t work = 0;
    for (uint32_t i = 0; i < s->model->n_nodes; i++)
        work += call_work(s, &s->nodes[i]);
    return work;
}

uint32_t lrt_worthwhile_lanes(const lrt_session *s, uint32_t most, int awake)
{
    const uint64_t enough = (awake ? AWAKE_WORK : ASLEEP_WORK) / 2;
    const uint64_t could = recurrent_work(s) / enough; /* small calls need not look at every number */
    uint32_t lanes = lrt_smaller(most, s->limits.lanes);
    for (lanes = could < lanes ? (uint32_t)could : lanes; lanes > 1; lanes--) {
        if (shared_work(s, lanes) >= enough * lanes)
            return lanes;
    }
    return 1;
}
