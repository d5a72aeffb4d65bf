/* A call of a session: what it must be like, and where everything is during it. */
#include <string.h>

#include "lrt_session.h"
#include "ops/lrt_ops.h"

static int check_shape(const lrt_session *s, const lrt_call_args *call)
{
    if (call->batch > s->limits.batch)
        return LRT_E_BATCH;
    for (uint32_t a = 0; a < s->model->n_axes; a++)
        if (!s->chunk && call->steps[a] > s->limits.steps[a])
            return LRT_E_STEPS;
    return LRT_OK;
}

static int check_pointers(const lrt_session *s, const lrt_call_args *call)
{
    if (!call->inputs || !call->outputs)
        return LRT_E_ARGUMENT;
    for (uint32_t i = 0; i < s->model->n_inputs; i++)
        if (!call->inputs[i])
            return LRT_E_ARGUMENT;
    for (uint32_t i = 0; i < s->model->n_outputs; i++)
        if (!call->outputs[i])
            return LRT_E_ARGUMENT;
    return LRT_OK;
}

static int check_lengths(const int32_t *lengths, uint32_t batch, uint32_t steps)
{
    for (uint32_t n = 0; lengths && n < batch; n++)
        if (lengths[n] < 0 || (uint32_t)lengths[n] > steps)
            return LRT_E_LENGTH;
    return LRT_OK;
}

/* Do the nodes take what the call gives? */
static int check_nodes(const lrt_session *s, const lrt_call_args *call)
{
    for (uint32_t i = 0; i < s->model->n_nodes; i++) {
        const lrt_plan_node *at = &s->nodes[i];
        if (at->op->accepts)
            LRT_TRY(at->op->accepts(s, at, call));
    }
    return LRT_OK;
}

/* Where every value is during this call. */
static void set_views(lrt_session *s, const lrt_call_args *call)
{
    const lrt_model *m = s->model;
    for (uint32_t i = 0; i < m->n_values; i++) {
        const lrt_value *v = &s->values[i];
        ptrdiff_t per_step = v->kind == LRT_SEQ || v->kind == LRT_VEC ? (ptrdiff_t)v->size : 1;
        ptrdiff_t steps = v->kind == LRT_VEC || v->kind == LRT_LENGTHS
                              ? 1
                              : (ptrdiff_t)(i < m->n_inputs ? call->steps[v->axis] : lrt_pass_steps(s, v->axis));
        s->views[i].data = s->buffers[i];
        s->views[i].row = per_step * steps;
        if (i < m->n_inputs) /* inputs are only read; the view's type serves both */
            memcpy(&s->views[i].data, &call->inputs[i], sizeof(void *));
    }
    for (uint32_t i = 0; i < m->n_outputs; i++) {
        uint32_t o = lrt_output_value(m, i);
        const lrt_value *v = &s->values[o];
        s->views[o].data = call->outputs[i];
        s->views[o].row = (ptrdiff_t)v->size * (v->kind == LRT_SEQ ? (ptrdiff_t)call->steps[v->axis] : 1);
    }
}

/* The lengths of every axis: an input's, or the caller's. */
static int take_lengths(const lrt_session *s, const lrt_call_args *call, const int32_t **lengths)
{
    for (uint32_t a = 0; a < LRT_MAX_AXES; a++)
        lengths[a] = call->lengths && a < s->model->n_axes ? call->lengths[a] : NULL;
    for (uint32_t i = 0; i < s->model->n_inputs; i++)
        if (s->values[i].kind == LRT_LENGTHS)
            lengths[s->values[i].axis] = (const int32_t *)call->inputs[i];
    for (uint32_t a = 0; a < s->model->n_axes; a++)
        LRT_TRY(check_lengths(lengths[a], call->batch, call->steps[a]));
    return LRT_OK;
}

int lrt_prepare(lrt_session *s, const lrt_call_args *call)
{
    const int32_t *lengths[LRT_MAX_AXES];
    if (!s || !call)
        return LRT_E_ARGUMENT;
    LRT_TRY(check_shape(s, call));
    LRT_TRY(check_pointers(s, call));
    LRT_TRY(take_lengths(s, call, lengths));
    LRT_TRY(check_nodes(s, call));
    if (call->keep_state)
        lrt_state_hold(s, call->batch);
    else
        lrt_session_reset(s);
    s->stepped = call->batch;
    s->batch = call->batch;
    memcpy(s->steps, call->steps, sizeof s->steps);
    memcpy(s->lengths, lengths, sizeof lengths);
    set_views(s, call);
    return LRT_OK;
}

int lrt_call(lrt_session *s, const lrt_call_args *call)
{
    int e = lrt_prepare(s, call);
    if (e == LRT_OK)
        lrt_run(s, 0, 1, NULL, NULL);
    return e;
}
