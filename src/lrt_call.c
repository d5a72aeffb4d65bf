/* A call of a session: what it must be like, and where everything is during it. */
#include <string.h>

#include "lrt_share.h"
#include "lrt_trace.h"
#include "ops/lrt_ops.h"

static int check_shape(const lrt_session *s, const lrt_call_args *call, const uint32_t *steps)
{
    if (call->batch > s->limits.batch)
        return LRT_E_BATCH;
    for (uint32_t a = 0; a < s->model->n_axes && !s->chunk; a++) {
        const lrt_axis axis = lrt_read_axis(s->model, a);
        if (lrt_is_root(&axis) && steps[a] > s->limits.steps[a])
            return LRT_E_STEPS;
    }
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

/* The strides of a port of `steps` steps, as the caller's array has them. */
static void set_port(lrt_view *view, const lrt_value *v, uint32_t batch, uint32_t steps)
{
    const ptrdiff_t per_step = (ptrdiff_t)lrt_per_step(v);
    const int time_first = v->order == LRT_TIME_FIRST;
    view->row = time_first ? per_step : per_step * (ptrdiff_t)steps;
    view->step = time_first ? per_step * (ptrdiff_t)batch : per_step;
}

/* Rows of a vector that the caller has in groups, (groups, N, size / groups), into one row each, or back. */
static void copy_groups(const lrt_value *v, float *rows, float *grouped, uint32_t batch, int back)
{
    const size_t size = v->size / v->groups;
    for (uint32_t g = 0; g < v->groups; g++)
        for (uint32_t n = 0; n < batch; n++, grouped += size) {
            float *row = rows + (size_t)n * v->size + g * size;
            memcpy(back ? grouped : row, back ? row : grouped, size * sizeof(float));
        }
}

static uint32_t port_value(const lrt_session *s, uint32_t i)
{
    return i < s->model->n_inputs ? i : lrt_output_value(s->model, i - s->model->n_inputs);
}

/* Where all values are that are no arrays of the caller, and the strides of all. */
static void set_strides(lrt_session *s)
{
    const lrt_model *m = s->model;
    s->gaps = 0;
    for (uint32_t i = m->n_inputs; i < m->n_values; i++) {
        const lrt_value *v = &s->values[i];
        s->views[i].data = s->buffers[i];
        s->views[i].step = (ptrdiff_t)lrt_per_step(v);
        s->views[i].row = s->views[i].step * (ptrdiff_t)(lrt_is_timed(v) ? lrt_pass_steps(s, v->axis) : 1);
    }
    for (uint32_t i = 0; i < m->n_inputs + m->n_outputs; i++) {
        const uint32_t value = port_value(s, i);
        const lrt_value *v = &s->values[value];
        set_port(&s->views[value], v, s->batch, lrt_is_timed(v) ? s->steps[v->axis] : 1);
        s->gaps |= v->order == LRT_TIME_FIRST && s->batch > 1;
    }
}

/* Ports in groups come from the caller's array, or go there, by way of a buffer. */
static void set_grouped(lrt_session *s, const lrt_call_args *call)
{
    for (uint32_t i = 0; i < s->model->n_inputs + s->model->n_outputs; i++) {
        const uint32_t value = port_value(s, i);
        const lrt_value *v = &s->values[value];
        if (!lrt_is_grouped(v))
            continue;
        if (i < s->model->n_inputs)
            copy_groups(v, (float *)s->buffers[value], (float *)s->views[value].data, s->batch, 0);
        else
            s->grouped[i - s->model->n_inputs] = call->outputs[i - s->model->n_inputs];
        s->views[value].data = s->buffers[value];
    }
}

/* The arrays of the caller. */
static void set_arrays(lrt_session *s, const lrt_call_args *call)
{
    for (uint32_t i = 0; i < s->model->n_inputs; i++) /* only read; the view's type serves both */
        memcpy(&s->views[i].data, &call->inputs[i], sizeof s->views[i].data);
    for (uint32_t i = 0; i < s->model->n_outputs; i++)
        s->views[lrt_output_value(s->model, i)].data = call->outputs[i];
    if (s->any_grouped)
        set_grouped(s, call);
}

void lrt_finish_call(const lrt_session *s)
{
    for (uint32_t i = 0; i < s->model->n_outputs; i++) {
        const uint32_t value = lrt_output_value(s->model, i);
        if (lrt_is_grouped(&s->values[value]))
            copy_groups(&s->values[value], (float *)s->buffers[value], s->grouped[i], s->batch, 1);
    }
}

/* The lengths of every axis: an input's, or the caller's, or what follows from those of the axis it is derived from. */
static int take_lengths(lrt_session *s, const lrt_call_args *call)
{
    const int32_t **lengths = s->lengths;
    for (uint32_t a = 0; a < s->model->n_axes; a++)
        lengths[a] = call->lengths ? call->lengths[a] : NULL;
    for (uint32_t i = 0; i < s->model->n_inputs; i++)
        if (s->values[i].kind == LRT_LENGTHS)
            lengths[s->values[i].axis] = (const int32_t *)call->inputs[i];
    for (uint32_t a = 0; a < s->model->n_axes; a++) {
        const lrt_axis axis = lrt_read_axis(s->model, a);
        int32_t *derived = s->derived_lengths + (size_t)a * s->limits.batch;
        const int32_t *from;
        if (lrt_is_root(&axis)) {
            LRT_TRY(check_lengths(lengths[a], s->batch, s->steps[a]));
            continue;
        }
        from = axis.parent != LRT_NONE ? lengths[axis.parent] : NULL;
        lengths[a] = from ? derived : NULL;
        for (uint32_t n = 0; from && n < s->batch; n++)
            derived[n] = (int32_t)lrt_derived_steps(&axis, (uint32_t)from[n]);
    }
    return LRT_OK;
}

static int take_shape(lrt_session *s, const lrt_call_args *call)
{
    uint32_t steps[LRT_MAX_AXES];
    memcpy(steps, call->steps, sizeof steps);
    if (s->derived && !lrt_model_steps(s->model, steps))
        return LRT_E_STEPS;
    LRT_TRY(check_shape(s, call, steps));
    memcpy(s->given, call->steps, sizeof s->given);
    memcpy(s->steps, steps, sizeof s->steps);
    s->batch = call->batch;
    s->shaped = 1;
    set_strides(s);
    lrt_set_work(s);
    return LRT_OK;
}

/* What a call shares with the one before it is not looked at again: of the smallest models, a step takes little
 * longer than that would. A call that is refused leaves no state changed. */
int lrt_prepare(lrt_session *s, const lrt_call_args *call)
{
    if (!s || !call)
        return LRT_E_ARGUMENT;
    if (!LRT_WITH_TRACE && call->trace)
        return LRT_E_TRACE;
    if (!s->shaped || call->batch != s->batch || memcmp(call->steps, s->given, s->model->n_axes * sizeof s->given[0]) != 0)
        LRT_TRY(take_shape(s, call));
    LRT_TRY(check_pointers(s, call));
    memset(s->lengths, 0, s->model->n_axes * sizeof s->lengths[0]);
    if (call->lengths || s->any_lengths)
        LRT_TRY(take_lengths(s, call));
    if (s->any_accepts)
        LRT_TRY(check_nodes(s, call));
    if (!call->keep_state)
        lrt_session_reset(s);
    else if (call->batch < s->stepped)
        lrt_state_hold(s, call->batch);
    s->stepped = call->batch;
    s->stop = call->stop;
    s->stop_context = call->stop_context;
    s->trace = call->trace;
    s->trace_context = call->trace_context;
    set_arrays(s, call);
    return LRT_OK;
}

int lrt_call(lrt_session *s, const lrt_call_args *call)
{
    int e = lrt_prepare(s, call);
    return e == LRT_OK ? lrt_run(s, 0, 1, NULL, NULL) : e;
}
