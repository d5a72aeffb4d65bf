/* A call of a session: what it must be like, and where everything is during it. */
#include <string.h>

#include "lrt_session.h"
#include "ops/lrt_ops.h"

static int is_root(const lrt_session *s, uint32_t axis)
{
    const lrt_axis a = s->derived ? lrt_read_axis(s->model, axis) : (lrt_axis){LRT_NONE, 1, 1, 0, 0};
    return lrt_is_root(&a);
}

static int check_shape(const lrt_session *s, const lrt_call_args *call, const uint32_t *steps)
{
    if (call->batch > s->limits.batch)
        return LRT_E_BATCH;
    for (uint32_t a = 0; a < s->model->n_axes; a++)
        if (!s->chunk && is_root(s, a) && steps[a] > s->limits.steps[a])
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

/* The strides of a port of `steps` steps, as the caller's array has them. */
static void set_port(lrt_view *view, const lrt_value *v, void *data, uint32_t batch, uint32_t steps)
{
    const ptrdiff_t per_step = (ptrdiff_t)lrt_per_step(v);
    const int time_first = v->order == LRT_TIME_FIRST;
    view->data = data;
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

/* Where every value is during this call: inside the session, or in an array of the caller. */
static void set_views(lrt_session *s, const lrt_call_args *call)
{
    const lrt_model *m = s->model;
    s->gaps = s->any_grouped = 0;
    for (uint32_t i = m->n_inputs; i < m->n_values; i++) {
        const lrt_value *v = &s->values[i];
        s->views[i].data = s->buffers[i];
        s->views[i].step = (ptrdiff_t)lrt_per_step(v);
        s->views[i].row = s->views[i].step * (ptrdiff_t)(v->kind == LRT_VEC ? 1 : lrt_pass_steps(s, v->axis));
    }
    for (uint32_t i = 0; i < m->n_inputs + m->n_outputs; i++) {
        const uint32_t value = i < m->n_inputs ? i : lrt_output_value(m, i - m->n_inputs);
        const lrt_value *v = &s->values[value];
        const uint32_t steps = v->kind == LRT_VEC || v->kind == LRT_LENGTHS ? 1 : s->steps[v->axis];
        void *data; /* inputs are only read; the view's type serves both */
        if (i < m->n_inputs)
            memcpy(&data, &call->inputs[i], sizeof data);
        else
            data = call->outputs[i - m->n_inputs];
        set_port(&s->views[value], v, lrt_is_grouped(v) ? s->buffers[value] : data, s->batch, steps);
        s->gaps |= v->order == LRT_TIME_FIRST && s->batch > 1;
        s->any_grouped |= lrt_is_grouped(v);
        if (i >= m->n_inputs)
            s->grouped[i - m->n_inputs] = (float *)data;
        else if (lrt_is_grouped(v))
            copy_groups(v, (float *)s->buffers[value], (float *)data, s->batch, 0);
    }
}

void lrt_finish_call(const lrt_session *s)
{
    for (uint32_t i = 0; i < s->model->n_outputs && s->any_grouped; i++) {
        const uint32_t value = lrt_output_value(s->model, i);
        if (lrt_is_grouped(&s->values[value]))
            copy_groups(&s->values[value], (float *)s->buffers[value], s->grouped[i], s->batch, 1);
    }
}

/* The lengths of every axis: an input's, or the caller's, or what follows from those of the axis it is derived from. */
static int take_lengths(const lrt_session *s, const lrt_call_args *call, const uint32_t *steps,
                        const int32_t **lengths)
{
    for (uint32_t a = 0; a < LRT_MAX_AXES; a++)
        lengths[a] = call->lengths && a < s->model->n_axes ? call->lengths[a] : NULL;
    for (uint32_t i = 0; i < s->model->n_inputs; i++)
        if (s->values[i].kind == LRT_LENGTHS)
            lengths[s->values[i].axis] = (const int32_t *)call->inputs[i];
    for (uint32_t a = 0; a < s->model->n_axes; a++) {
        lrt_axis axis;
        const int32_t *from;
        int32_t *to;
        if (is_root(s, a)) {
            LRT_TRY(check_lengths(lengths[a], call->batch, steps[a]));
            continue;
        }
        axis = lrt_read_axis(s->model, a);
        from = axis.parent != LRT_NONE ? lengths[axis.parent] : NULL;
        to = s->derived_lengths + (size_t)a * s->limits.batch;
        lengths[a] = from ? to : NULL;
        for (uint32_t n = 0; from && n < call->batch; n++)
            to[n] = (int32_t)lrt_derived_steps(&axis, (uint32_t)from[n]);
    }
    return LRT_OK;
}

int lrt_prepare(lrt_session *s, const lrt_call_args *call)
{
    const int32_t *lengths[LRT_MAX_AXES];
    uint32_t steps[LRT_MAX_AXES];
    if (!s || !call)
        return LRT_E_ARGUMENT;
    memcpy(steps, call->steps, sizeof steps);
    if (s->derived && !lrt_model_steps(s->model, steps))
        return LRT_E_STEPS;
    LRT_TRY(check_shape(s, call, steps));
    LRT_TRY(check_pointers(s, call));
    LRT_TRY(take_lengths(s, call, steps, lengths));
    LRT_TRY(check_nodes(s, call));
    if (call->keep_state)
        lrt_state_hold(s, call->batch);
    else
        lrt_session_reset(s);
    s->stepped = call->batch;
    s->stop = call->stop;
    s->stop_context = call->stop_context;
    s->batch = call->batch;
    memcpy(s->steps, steps, sizeof s->steps);
    memcpy(s->lengths, lengths, sizeof lengths);
    set_views(s, call);
    return LRT_OK;
}

int lrt_call(lrt_session *s, const lrt_call_args *call)
{
    int e = lrt_prepare(s, call);
    return e == LRT_OK ? lrt_run(s, 0, 1, NULL, NULL) : e;
}
