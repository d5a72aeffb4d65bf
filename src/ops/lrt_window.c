/* Windows over time, height and width. */
#include "ops/lrt_window.h"

#include <string.h>

#include "lrt_share.h"

/* ---- checks ------------------------------------------------------------------------------------------------ */

int lrt_fit_window(lrt_window *w, uint32_t features)
{
    const uint64_t places = (uint64_t)w->size[1] * w->size[2];
    uint64_t kernel = 1;
    if (places == 0 || places > features || features % places)
        return LRT_E_NODE_ATTR;
    w->channels = (uint32_t)(features / places);
    for (unsigned d = 0; d < 3; d++) {
        if (w->kernel[d] < 1 || w->stride[d] < 1 || w->dilation[d] < 1)
            return LRT_E_NODE_ATTR;
        if (w->kernel[d] > LRT_MAX_SIZE / kernel) /* of all three together: a bound of the work of one window */
            return LRT_E_NODE_ATTR;
        kernel *= w->kernel[d];
    }
    for (unsigned d = 1; d < 3; d++) {
        const uint64_t all = (uint64_t)w->size[d] + w->before[d] + w->after[d];
        const uint64_t reach = (uint64_t)w->dilation[d] * (w->kernel[d] - 1) + 1;
        if (reach > all || (all - reach) / w->stride[d] + 1 > LRT_MAX_SIZE)
            return LRT_E_NODE_ATTR;
        w->out[d] = (uint32_t)((all - reach) / w->stride[d] + 1);
    }
    return (uint64_t)w->dilation[0] * (w->kernel[0] - 1) <= LRT_MAX_SIZE ? LRT_OK : LRT_E_NODE_ATTR;
}

int lrt_read_window(const lrt_checker *c, uint32_t features, lrt_window *w)
{
    const uint32_t *a = c->n.attr;
    memset(w, 0, sizeof *w);
    w->size[1] = a[0];
    w->size[2] = a[1];
    w->kernel[0] = a[2];
    lrt_read_pair(a[3], &w->kernel[1], &w->kernel[2]);
    w->stride[0] = a[4];
    lrt_read_pair(a[5], &w->stride[1], &w->stride[2]);
    w->dilation[0] = a[6];
    lrt_read_pair(a[7], &w->dilation[1], &w->dilation[2]);
    w->before[0] = a[8];
    w->after[0] = a[9];
    lrt_read_pair(a[10], &w->before[1], &w->after[1]);
    lrt_read_pair(a[11], &w->before[2], &w->after[2]);
    w->whole = a[13] != 0;
    if (a[13] > 1 || w->stride[0] > LRT_WINDOW_TIME || w->before[0] > LRT_WINDOW_TIME || w->after[0] > LRT_WINDOW_TIME)
        return LRT_E_NODE_ATTR;
    return lrt_fit_window(w, features);
}

/* Of n steps there are (n + add) / stride windows. */
static int32_t window_add(const lrt_window *w)
{
    return (int32_t)(w->before[0] + w->after[0]) - (int32_t)lrt_window_span(w) - 1 + (int32_t)w->stride[0];
}

static int has_each_step(const lrt_window *w) { return w->stride[0] == 1 && window_add(w) == 0; }

int lrt_window_streams(const lrt_window *w) { return has_each_step(w) && w->after[0] == 0; }

int lrt_want_windows(lrt_checker *c, const lrt_value *x, const lrt_window *w, uint32_t channels)
{
    const uint64_t size = (uint64_t)w->out[1] * w->out[2] * channels;
    uint32_t axis = x->axis;
    if (size > LRT_MAX_SIZE)
        return LRT_E_NODE_OUTPUT;
    if (x->kind == LRT_VEC && (w->kernel[0] != 1 || w->stride[0] != 1 || w->before[0] || w->after[0]))
        return LRT_E_NODE_ATTR;
    if (lrt_window_streams(w) && (uint64_t)lrt_window_span(w) * x->size > 0x7ffffffeu)
        return LRT_E_NODE_ATTR;
    if (!has_each_step(w))
        LRT_TRY(lrt_want_derived(c, x->axis, 1, window_add(w), w->stride[0], &axis));
    return lrt_want_output(c, 0, x->kind, (uint32_t)size, axis);
}

uint32_t lrt_window_hinders(const lrt_checker *c)
{
    const lrt_value x = lrt_read_value(c->m, c->n.in[0]);
    const int other_axis = lrt_read_value(c->m, c->n.out[0]).axis != x.axis; /* it depends on the steps before */
    return c->n.attr[9] > 0 ? LRT_FLAG_CAUSAL | LRT_FLAG_STREAMS : other_axis ? LRT_FLAG_STREAMS : 0;
}

/* ---- steps that are kept ------------------------------------------------------------------------------------ */

/* A slot of the caller's: so many floats of each row. */
static float *take_state(lrt_planner *p, const lrt_past *past, size_t floats)
{
    lrt_slot slot;
    slot.layer = p->n_layers++;
    slot.is_cell = 0;
    slot.directions = 1;
    slot.size = (uint32_t)floats;
    return (float *)(void *)lrt_take_sliding_rows(p, past->stride * sizeof(float), (past->stride - 1) * sizeof(float),
                                                  past->features * sizeof(float), p->n_slots++, &slot);
}

void lrt_plan_past(lrt_planner *p, lrt_past *past, const lrt_value *x, const lrt_window *w, int counted)
{
    const uint64_t floats = (uint64_t)lrt_window_span(w) * x->size; /* at most 2^40 */
    memset(past, 0, sizeof *past);
    past->features = x->size;
    past->is_state = x->kind == LRT_SEQ && lrt_window_streams(w);
    past->depth = past->is_state || p->chunk ? lrt_window_span(w) : 0;
    if (past->depth == 0)
        return;
    past->counted = counted && past->is_state;
    if (floats > SIZE_MAX / 32) {
        p->overflow = 1;
        return;
    }
    past->stride = 2 * (size_t)floats + 2; /* and the two numbers behind */
    if (past->is_state)
        past->rows = take_state(p, past, (size_t)floats + (past->counted ? 1 : 0));
    else
        past->rows = lrt_take_floats(p, p->limits->batch, past->stride);
    if (past->rows) /* steps of the caller's are cleared with all state */
        for (uint32_t row = 0; row < p->limits->batch; row++)
            memset(past->rows + (size_t)row * past->stride + past->stride - 1, 0, sizeof(float));
}

static uint32_t steps_slid(const lrt_past *past, const float *row)
{
    uint32_t slid;
    memcpy(&slid, row + past->stride - 1, sizeof slid);
    return slid;
}

/* How many of the steps that are kept there have been, as the caller's state has it: any number. */
static uint32_t steps_seen(const lrt_past *past, const float *kept)
{
    const float seen = kept[(size_t)past->depth * past->features];
    if (!(seen > 0.0f))
        return 0;
    return seen < (float)past->depth ? (uint32_t)seen : past->depth;
}

void lrt_look_at(const lrt_pass *pass, uint32_t value, const lrt_window *w, const lrt_past *past, uint32_t row,
                 lrt_look *look)
{
    const lrt_session *s = pass->s;
    const lrt_value *v = &s->values[value];
    const int32_t *lengths = v->kind == LRT_VEC || w->whole ? NULL : s->lengths[v->axis];
    int64_t oldest;
    look->x = lrt_row_at(pass, value, row, 0);
    look->step = s->views[value].step;
    look->features = v->size;
    look->from = v->kind == LRT_VEC ? 0 : pass->t0[v->axis];
    look->to = look->from + lrt_value_steps(pass, value);
    look->end = look->from;
    if (lengths) {
        look->to = lengths[row] < look->to ? lengths[row] : look->to;
        look->end = lengths[row] < look->end ? lengths[row] : look->end;
        look->to = look->to < look->from ? look->from : look->to;
    }
    look->kept = past->depth ? past->rows + (size_t)row * past->stride : NULL;
    if (look->kept)
        look->kept += (size_t)steps_slid(past, look->kept) * past->features;
    look->first = look->end - past->depth;
    if (past->counted)
        oldest = look->end - steps_seen(past, look->kept);
    else
        oldest = past->is_state || look->first > 0 ? look->first : 0;
    if (oldest > look->end)
        oldest = look->end;
    if (look->kept)
        look->kept += (size_t)(oldest - look->first) * look->features;
    look->first = oldest;
}

static void keep_row(const lrt_past *past, const lrt_look *look, float *row)
{
    const size_t features = past->features;
    const uint64_t steps = (uint64_t)(look->to - look->from);
    const uint32_t new_steps = steps < past->depth ? (uint32_t)steps : past->depth, old = past->depth - new_steps;
    uint32_t slid = steps_slid(past, row);
    const float *kept = row + slid * features;
    const uint64_t seen = past->counted ? steps_seen(past, kept) + steps : 0;
    if (new_steps == 0)
        return;
    slid += new_steps;
    if (slid > past->depth) { /* there is no room for what comes after */
        memmove(row, kept + new_steps * features, old * features * sizeof(float));
        slid = 0;
    }
    for (uint32_t i = 0; i < new_steps; i++)
        memcpy(row + (slid + old + (size_t)i) * features, lrt_look_step(look, look->to - new_steps + i),
               features * sizeof(float));
    if (past->counted)
        row[(slid + (size_t)past->depth) * features] = (float)(seen < past->depth ? seen : past->depth);
    memcpy(row + past->stride - 1, &slid, sizeof slid);
}

void lrt_keep_steps(lrt_pass *pass, uint32_t value, const lrt_window *w, const lrt_past *past)
{
    uint32_t from, to;
    lrt_look look;
    if (past->depth == 0)
        return;
    lrt_wait_for_all(pass);
    lrt_share(pass->s->batch, pass->lane, pass->lanes, &from, &to);
    for (uint32_t row = from; row < to; row++) {
        lrt_look_at(pass, value, w, past, row, &look);
        keep_row(past, &look, past->rows + (size_t)row * past->stride);
    }
}

/* ---- places ------------------------------------------------------------------------------------------------- */

void lrt_window_places(const lrt_window *w, const lrt_look *look, lrt_corner at, uint32_t first, uint32_t count,
                       const float **places)
{
    uint32_t c = first % w->kernel[2], b = first / w->kernel[2] % w->kernel[1];
    uint32_t a = first / w->kernel[2] / w->kernel[1];
    const float *step = lrt_look_step(look, at.t + (int64_t)a * w->dilation[0]);
    for (uint32_t i = 0; i < count; i++) {
        const int64_t y = at.y + (int64_t)b * w->dilation[1], x = at.x + (int64_t)c * w->dilation[2];
        const int inside = step && y >= 0 && y < w->size[1] && x >= 0 && x < w->size[2];
        places[i] = inside ? step + ((size_t)y * w->size[2] + (size_t)x) * w->channels : NULL;
        if (++c < w->kernel[2])
            continue;
        c = 0;
        if (++b < w->kernel[1])
            continue;
        b = 0;
        step = lrt_look_step(look, at.t + (int64_t)++a * w->dilation[0]);
    }
}

/* Few floats, of which most are copied in pieces of a few, without a call for each. */
static void copy_floats(float *to, const float *from, size_t count)
{
    if (count > 16) {
        memcpy(to, from, count * sizeof(float));
        return;
    }
    for (; count >= 4; count -= 4, to += 4, from += 4)
        memcpy(to, from, 4 * sizeof(float));
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

/* One row of a window's places. */
static void copy_line(const lrt_window *w, const float *image_row, int64_t x, uint32_t from, uint32_t count, float *to)
{
    const uint32_t width = w->size[2], kernel = w->kernel[2];
    if (w->dilation[2] == 1 && count == w->channels) { /* places follow each other */
        const size_t left = x >= 0 ? 0 : -x < kernel ? (size_t)-x : kernel;
        const int64_t room = (int64_t)width - (x + (int64_t)left);
        const size_t there = room <= 0 ? 0 : room < (int64_t)(kernel - left) ? (size_t)room : kernel - left;
        if (there == kernel) {
            copy_floats(to, image_row + (size_t)x * count, (size_t)kernel * count);
            return;
        }
        memset(to, 0, left * count * sizeof(float));
        if (there)
            memcpy(to + left * count, image_row + (size_t)(x + (int64_t)left) * count, there * count * sizeof(float));
        memset(to + (left + there) * count, 0, (kernel - left - there) * count * sizeof(float));
        return;
    }
    for (uint32_t c = 0; c < kernel; c++, x += w->dilation[2], to += count) {
        if (x >= 0 && x < width)
            copy_floats(to, image_row + (size_t)x * w->channels + from, count);
        else
            memset(to, 0, count * sizeof(float));
    }
}

void lrt_copy_window(const lrt_window *w, const lrt_look *look, lrt_corner at, uint32_t from, uint32_t count, float *to)
{
    const size_t line = (size_t)w->kernel[2] * count;
    for (uint32_t a = 0; a < w->kernel[0]; a++) {
        const float *step = lrt_look_step(look, at.t + (int64_t)a * w->dilation[0]);
        for (uint32_t b = 0; b < w->kernel[1]; b++, to += line) {
            const int64_t y = at.y + (int64_t)b * w->dilation[1];
            if (step && y >= 0 && y < w->size[1])
                copy_line(w, step + (size_t)y * w->size[2] * w->channels, at.x, from, count, to);
            else
                memset(to, 0, line * sizeof(float));
        }
    }
}
