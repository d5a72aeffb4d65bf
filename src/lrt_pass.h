/* Private to the core: one lane's view of the pass under way, and where the rows of a value are in it. */
#ifndef LRT_PASS_H
#define LRT_PASS_H

#include "lrt_mode.h"
#include "lrt_session.h"

/* A call goes over the nodes in passes, each over the next steps of time: one, or of a model that runs in
 * chunks several. Several threads may walk a pass together; each is a lane. */
typedef struct {
    lrt_session *s;
    uint32_t lane, lanes;
    lrt_barrier *barrier;
    void *context;
    int first, last;              /* is it the first pass, the last? */
    int piped;                    /* runs a part of the nodes alone, while other lanes run the others */
    uint32_t own_lane;            /* number among all lanes, also where it is piped: for scratch of its own */
    uint32_t buffer;              /* which of the passes that buffers hold */
    uint64_t work;                /* since the lane last asked whether to stop, in multiply-adds */
    lrt_mode mode;                /* the caller's, who asked whether to stop gets it back */
    uint32_t meetings;            /* at which lanes told each other whether to stop */
    int stopping;
    uint32_t t0[LRT_MAX_AXES];    /* first step of the pass, by axis */
    uint32_t steps[LRT_MAX_AXES]; /* and its steps */
} lrt_pass;

/* The lane's room for rows that are multiplied with integer weights. */
static inline uint32_t *lrt_packed(const lrt_pass *pass) { return pass->s->packed + pass->own_lane * pass->s->packed_part; }

static inline uint32_t lrt_smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

static inline void lrt_wait_for_all(const lrt_pass *pass)
{
    if (pass->lanes > 1)
        pass->barrier(pass->context);
}

/* ---- meeting, and stopping early (lrt_run.c)
 *
 * A lane that has been told to stop leaves its piece of work, but not alone: it goes on to the next
 * meeting, where the others learn of it and all leave the call together. */

#define LRT_STOP_WORK (1u << 22) /* multiply-adds between questions: a tenth of a millisecond, more or less */

/* Asks the caller, if it wants to be asked. */
void lrt_ask(lrt_pass *pass);

/* All lanes meet; do they stop? */
int lrt_meet_others(lrt_pass *pass);
static inline int lrt_meet(lrt_pass *pass) { return pass->lanes > 1 ? lrt_meet_others(pass) : pass->stopping; }

/* After a piece of work: shall the lane leave the rest? */
static inline int lrt_told_to_stop(lrt_pass *pass, uint64_t work)
{
    pass->work += work;
    if (pass->work >= LRT_STOP_WORK)
        lrt_ask(pass);
    return pass->stopping;
}

/* Rows, each of so much work, that are computed between two questions, or without being asked: so many that
 * reading the weights costs little. */
static inline uint32_t lrt_piece_rows(uint64_t work)
{
    return 2 * LRT_PROJECT_ROWS + (uint32_t)(LRT_STOP_WORK / (work + 1)) / LRT_PROJECT_ROWS * LRT_PROJECT_ROWS;
}

/* Time steps of a value in this pass: 1 for one without. */
static inline uint32_t lrt_value_steps(const lrt_pass *pass, uint32_t value)
{
    const lrt_value *v = &pass->s->values[value];
    return lrt_is_timed(v) ? pass->steps[v->axis] : 1;
}

/* Steps of all rows that a buffer holds before those of this pass. */
static inline size_t lrt_buffer_start(const lrt_pass *pass, uint32_t axis)
{
    return (size_t)pass->buffer * pass->s->limits.batch * pass->s->planned[axis];
}

/* Row n of a float value at a step of the pass. */
static inline float *lrt_row(const lrt_pass *pass, uint32_t value, uint32_t n)
{
    const lrt_view *view = &pass->s->views[value];
    const lrt_value *v = &pass->s->values[value];
    float *row = (float *)view->data + (ptrdiff_t)n * view->row;
    if (v->kind == LRT_VEC)
        return row;
    return row + (pass->s->buffers[value] ? (ptrdiff_t)(lrt_buffer_start(pass, v->axis) * v->size)
                                          : (ptrdiff_t)pass->t0[v->axis] * view->step);
}
static inline float *lrt_row_at(const lrt_pass *pass, uint32_t value, uint32_t n, uint32_t step)
{
    return lrt_row(pass, value, n) + (ptrdiff_t)step * pass->s->views[value].step;
}

/* The same for ids, which are always inputs, and masks, which never are. */
static inline const int32_t *lrt_ids_at(const lrt_pass *pass, uint32_t value, uint32_t n, uint32_t step)
{
    const lrt_view *view = &pass->s->views[value];
    const lrt_value *v = &pass->s->values[value];
    const ptrdiff_t t0 = lrt_is_timed(v) ? (ptrdiff_t)pass->t0[v->axis] : 0;
    return (const int32_t *)view->data + (ptrdiff_t)n * view->row + (t0 + (ptrdiff_t)step) * view->step;
}
static inline unsigned char *lrt_mask_at(const lrt_pass *pass, uint32_t value, uint32_t n, uint32_t step)
{
    const lrt_view *view = &pass->s->views[value];
    const size_t start = lrt_buffer_start(pass, pass->s->values[value].axis);
    return (unsigned char *)view->data + (ptrdiff_t)n * view->row + start + step;
}

/* Steps of row n that lie in this pass, given the lengths of the axis. */
static inline uint32_t lrt_valid_steps(const lrt_pass *pass, uint32_t axis, uint32_t n)
{
    const int32_t *lengths = pass->s->lengths[axis];
    uint32_t left;
    if (!lengths)
        return pass->steps[axis];
    left = (uint32_t)lengths[n] > pass->t0[axis] ? (uint32_t)lengths[n] - pass->t0[axis] : 0;
    return lrt_smaller(left, pass->steps[axis]);
}

#endif
