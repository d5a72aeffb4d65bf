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

/* So much work in every row and step of a value, or more than can be counted. */
static uint64_t times_rows(const lrt_session *s, uint64_t work, uint32_t value)
{
    const lrt_value *v = &s->values[value];
    const uint64_t rows = (uint64_t)s->batch * (v->kind == LRT_VEC ? 1 : s->steps[v->axis]);
    return rows && work > UINT64_MAX / rows ? UINT64_MAX : work * rows;
}

static uint64_t plus(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

/* Multiply-adds of the call, of a node that lanes can share: those that must wait for steps before them, or all of a
 * node in pieces. */
static uint64_t call_work(const lrt_session *s, const lrt_plan_node *at)
{
    if (at->op->pieces)
        return times_rows(s, lrt_work_of(s, at).all, at->node.out[0]);
    return at->op->is_shared ? times_rows(s, lrt_work_of(s, at).recurrent, at->node.in[0]) : 0;
}

/* Multiply-adds of the call that so many lanes share. */
static uint64_t shared_work(const lrt_session *s, uint32_t lanes)
{
    const int piped = lrt_pipe_pass(s, lanes) != 0;
    uint64_t shared = 0;
    for (uint32_t i = 0; i < s->model->n_nodes; i++) {
        const lrt_plan_node *at = &s->nodes[i];
        const int in_pieces = at->op->pieces && at->op->pieces(s, at) >= lanes;
        if (in_pieces || (at->op->is_shared && (piped || at->op->is_shared(s, at, lanes))))
            shared = plus(shared, call_work(s, at));
    }
    return shared;
}

void lrt_set_work(lrt_session *s)
{
    s->work = s->shareable = 0;
    for (uint32_t i = 0; i < s->model->n_nodes; i++) {
        const lrt_plan_node *at = &s->nodes[i];
        s->work = plus(s->work, times_rows(s, lrt_work_of(s, at).all, at->node.out[0]));
        s->shareable = plus(s->shareable, call_work(s, at));
    }
}

uint64_t lrt_prepared_work(const lrt_session *s) { return s->work; }

uint32_t lrt_worthwhile_lanes(const lrt_session *s, uint32_t most, int awake)
{
    const uint64_t enough = (awake ? AWAKE_WORK : ASLEEP_WORK) / 2;
    uint32_t lanes = lrt_smaller(most, s->limits.lanes);
    if (s->shareable < 2 * enough) /* most calls of small models end here */
        return 1;
    for (lanes = s->shareable / enough < lanes ? (uint32_t)(s->shareable / enough) : lanes; lanes > 1; lanes--)
        if (shared_work(s, lanes) >= enough * lanes)
            return lanes;
    return 1;
}
