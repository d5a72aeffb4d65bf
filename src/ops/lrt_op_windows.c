/* Convolutions and pooling. A convolution is the matrix product of windows, which are rows of inputs where they lie in
 * one piece, and copied where not; that of each channel by itself has a kernel of its own. */
#include <string.h>

#include "integers/lrt_integers.h"
#include "lrt_share.h"
#include "ops/lrt_ops.h"
#include "ops/lrt_window.h"
#include "ops/lrt_winograd.h"

/* ---- conv: checks and plan --------------------------------------------------------------------------------- */

#define A_GROUPS 12 /* attribute */

typedef struct {
    lrt_window w;
    lrt_past past;
    uint32_t units, inputs, k; /* channels of the output; channels that one of them reads, and its weights */
    uint32_t groups;
    lrt_matrix m; /* of one group: the first, if it is of integers */
    int by_channel;    /* each has one input of its own */
    int in_one_piece;  /* is a window that lies inside one? */
    uint32_t rows;     /* windows at a time */
    float *nothing;    /* by_channel: zeros in place of what is not inside */
    int is_winograd;
    lrt_winograd winograd;
} lrt_conv;

static int is_by_channel(uint32_t units, uint32_t channels, uint32_t groups)
{
    return groups > 1 && units == groups && channels == groups;
}

/* Of integers: one matrix of the units of all groups, each group a number of whole panels. */
static int check_integers(const lrt_checker *c, const lrt_window *w, const lrt_tensor *t, uint32_t *units)
{
    const uint32_t groups = c->n.attr[A_GROUPS];
    *units = t->units;
    if (groups > 1 && (t->units % groups || t->units / groups % LRT_PANEL))
        return LRT_E_NODE_TENSOR;
    LRT_TRY(lrt_want_panels(c, 0, 1, t->units, w->kernel[0] * w->kernel[1] * w->kernel[2] * (w->channels / groups)));
    return lrt_want_optional_weight(c, 1, LRT_PANELS, 1, t->units, 1);
}

/* The weight has the place of the units in one of its sizes. */
static int check_weights(const lrt_checker *c, const lrt_window *w, uint32_t *units)
{
    const uint32_t groups = c->n.attr[A_GROUPS];
    const uint32_t places = w->kernel[0] * w->kernel[1] * w->kernel[2]; /* at most 2^20 */
    const uint64_t inputs = (uint64_t)places * (w->channels / groups) * groups;
    lrt_tensor t;
    LRT_TRY(lrt_want_tensor(c, 0, &t));
    if (inputs > LRT_MAX_SIZE)
        return LRT_E_NODE_ATTR;
    if (t.dtype == LRT_I8 || t.dtype == LRT_I16)
        return check_integers(c, w, &t, units);
    if (t.layout == LRT_PLAIN) {
        *units = groups;
        if (!is_by_channel(t.k, w->channels, groups))
            return LRT_E_NODE_TENSOR;
        LRT_TRY(lrt_want_weight(c, 0, LRT_PLAIN, 1, places, groups));
        return lrt_want_optional_weight(c, 1, LRT_PLAIN, 1, 1, groups);
    }
    if (t.units > LRT_MAX_SIZE / groups || is_by_channel(t.units * groups, w->channels, groups))
        return LRT_E_NODE_TENSOR;
    *units = t.units * groups;
    LRT_TRY(lrt_want_weight(c, 0, LRT_PANELS, 1, t.units, (uint32_t)inputs));
    return lrt_want_optional_weight(c, 1, LRT_PANELS, 1, t.units, groups);
}

static int check_conv(lrt_checker *c)
{
    const uint32_t groups = c->n.attr[A_GROUPS];
    uint32_t units;
    lrt_value x;
    lrt_window w;
    LRT_TRY(lrt_want_counts(c, 1, 1, 2));
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &x));
    LRT_TRY(lrt_read_window(c, x.size, &w));
    if (groups < 1 || groups > w.channels || w.channels % groups)
        return LRT_E_NODE_ATTR;
    LRT_TRY(check_weights(c, &w, &units));
    return lrt_want_windows(c, &x, &w, units);
}

/* Is a window one piece of memory? It is if it goes over whole lines of all dimensions after the first that it is
 * longer than one place in. */
static int is_in_one_piece(const lrt_window *w)
{
    unsigned first = 0;
    while (first < 3 && w->kernel[first] == 1)
        first++;
    if (first < 3 && w->dilation[first] != 1)
        return 0;
    for (unsigned d = first + 1; d < 3; d++)
        if (w->kernel[d] != w->size[d] || w->out[d] != 1 || w->before[d] || (w->kernel[d] > 1 && w->dilation[d] != 1))
            return 0;
    return 1;
}

static void plan_conv(lrt_planner *p, lrt_plan_node *at)
{
    const lrt_node *n = &at->node;
    const lrt_value x = lrt_read_value(p->m, n->in[0]), y = lrt_read_value(p->m, n->out[0]);
    lrt_conv measured, *conv = (lrt_conv *)lrt_take(p, 1, sizeof *conv);
    lrt_checker c;
    at->own = conv;
    conv = conv ? conv : &measured;
    memset(conv, 0, sizeof *conv);
    memset(&c, 0, sizeof c);
    c.n = *n;
    lrt_read_window(&c, x.size, &conv->w);
    conv->groups = n->attr[A_GROUPS];
    conv->units = y.size / (conv->w.out[1] * conv->w.out[2]);
    conv->inputs = conv->w.channels / conv->groups;
    conv->k = conv->w.kernel[0] * conv->w.kernel[1] * conv->w.kernel[2] * conv->inputs;
    conv->by_channel = is_by_channel(conv->units, conv->w.channels, conv->groups);
    conv->in_one_piece = conv->groups == 1 && is_in_one_piece(&conv->w);
    lrt_plan_past(p, &conv->past, &x, &conv->w, 0);
    conv->m = lrt_tensor_matrix(p->m, n->tensor[0]);
    conv->m.units = conv->units / conv->groups;
    conv->m.k = conv->k;
    conv->is_winograd = conv->groups == 1 && !lrt_is_integer(&conv->m) && lrt_winograd_fits(p->m, &conv->w, conv->units);
    if (conv->is_winograd) {
        lrt_plan_winograd(p, &conv->winograd, &conv->w, conv->units, lrt_tensor_data(p->m, n->tensor[0]));
    } else if (conv->by_channel) {
        conv->nothing = lrt_take_floats(p, 1, conv->groups + LRT_OVERREAD);
        if (conv->nothing)
            memset(conv->nothing, 0, (conv->groups + LRT_OVERREAD) * sizeof(float));
    } else {
        conv->rows = lrt_need_gather(p, conv->k);
        lrt_need_packed(p, &conv->m, conv->rows);
    }
}

static void work_of_conv(const lrt_session *s, const lrt_plan_node *at, lrt_work *work)
{
    const lrt_conv *conv = (const lrt_conv *)at->own;
    work->all = (uint64_t)s->values[at->node.out[0]].size * conv->k;
    work->recurrent = 0;
}

static uint64_t lines_of_conv(const lrt_session *s, const lrt_plan_node *at)
{
    const lrt_value *y = &s->values[at->node.out[0]];
    const uint64_t rows = (uint64_t)s->batch * (y->kind == LRT_VEC ? 1 : s->steps[y->axis]);
    return rows * ((const lrt_conv *)at->own)->w.out[1];
}

/* ---- conv: a matrix product --------------------------------------------------------------------------------- */

/* Windows that go through the product together. */
typedef struct {
    const float *x[LRT_GATHER_ROWS];
    float *y[LRT_GATHER_ROWS];
    uint32_t rows;
} lrt_block;

/* The panels of one group of the units. Of each panel, the float32 weights of all groups lie one after the other; of
 * integers, each group lies by itself. */
static void multiply_group(const lrt_pass *pass, const lrt_node *n, const lrt_conv *conv, uint32_t group, lrt_block *block)
{
    const float *weight = lrt_tensor_data(pass->s->model, n->tensor[0]);
    const float *bias = lrt_tensor_data(pass->s->model, n->tensor[1]);
    lrt_linear_args a;
    memset(&a, 0, sizeof a);
    a.m = conv->m;
    a.x_at = block->x;
    a.y_at = block->y;
    a.rows = block->rows;
    a.packed = lrt_packed(pass);
    if (conv->groups == 1 || lrt_is_integer(&a.m)) {
        const size_t before = (size_t)group * a.m.units;
        a.m.w = (const uint32_t *)a.m.w + before * lrt_words(a.m.dtype, a.m.k);
        a.m.scale = a.m.scale ? a.m.scale + before : NULL;
        a.bias = bias ? bias + before : NULL;
        a.p1 = lrt_panel_count(a.m.units);
        lrt_linear(pass->s->kernels, &a);
        return;
    }
    for (a.p0 = 0, a.p1 = 1; a.p0 < lrt_panel_count(a.m.units); a.p0++, a.p1++) {
        const size_t start = lrt_panel_start(a.m.units, a.p0), width = lrt_panel_width(a.m.units, a.p0);
        const size_t at = start * (conv->groups - 1) + group * width; /* from where it is if there is one group */
        a.m.w = weight + at * conv->k;
        a.bias = bias ? bias + at : NULL;
        pass->s->kernels->linear(&a);
    }
}

/* The window's inputs, where they lie, or copied to `copy`. */
static const float *inputs_of(const lrt_conv *conv, const lrt_look *look, lrt_corner at, uint32_t group, float *copy)
{
    const lrt_window *w = &conv->w;
    if (conv->in_one_piece && at.y >= 0 && at.x >= 0 && at.y + w->kernel[1] <= w->size[1] &&
        at.x + w->kernel[2] <= w->size[2] && (w->kernel[0] == 1 || look->step == (ptrdiff_t)look->features)) {
        const float *first = lrt_look_step(look, at.t);
        const int64_t last = at.t + w->kernel[0] - 1;
        const int same = at.t >= look->from ? last < look->to : last < look->end;
        if (first && same)
            return first + ((size_t)at.y * w->size[2] + (size_t)at.x) * w->channels;
    }
    lrt_copy_window(w, look, at, group * conv->inputs, conv->inputs, copy);
    return copy;
}

/* Lines [from, to) of one group. */
static void convolve(lrt_pass *pass, const lrt_node *n, const lrt_conv *conv, uint32_t group, uint64_t from, uint64_t to)
{
    const lrt_window *w = &conv->w;
    const uint32_t out = n->out[0], each = conv->units / conv->groups;
    float *copies = lrt_gather(pass);
    lrt_block block;
    lrt_look look;
    uint32_t looks_at = LRT_NONE;
    lrt_line line = lrt_line_at(pass, out, w, from);
    block.rows = 0;
    for (; from < to; from++, lrt_next_line(pass, out, w, &line)) {
        const uint64_t t = lrt_step_of_call(pass, out, line.step);
        float *y = lrt_row_at(pass, out, line.row, line.step) + (size_t)line.y * w->out[2] * conv->units + group * each;
        if (line.row != looks_at)
            lrt_look_at(pass, n->in[0], w, &conv->past, line.row, &look);
        looks_at = line.row;
        for (uint32_t x = 0; x < w->out[2]; x++, y += conv->units) {
            float *copy = copies + (size_t)block.rows * conv->k;
            block.x[block.rows] = inputs_of(conv, &look, lrt_corner_of(w, t, line.y, x), group, copy);
            block.y[block.rows] = y;
            if (++block.rows < conv->rows)
                continue;
            multiply_group(pass, n, conv, group, &block);
            block.rows = 0;
            if (lrt_told_to_stop(pass, (uint64_t)conv->rows * conv->k * each))
                return;
        }
    }
    if (block.rows)
        multiply_group(pass, n, conv, group, &block);
}

/* ---- conv: each channel by itself ----------------------------------------------------------------------------- */

static void convolve_window(const lrt_pass *pass, const lrt_node *n, const lrt_conv *conv, const lrt_look *look,
                            lrt_corner at, float *y)
{
    const float *weight = lrt_tensor_data(pass->s->model, n->tensor[0]);
    const float *init = lrt_tensor_data(pass->s->model, n->tensor[1]);
    const float *places[LRT_PLACES];
    for (uint32_t first = 0, count; first < conv->k; first += count) {
        count = lrt_smaller(LRT_PLACES, conv->k - first);
        lrt_window_places(&conv->w, look, at, first, count, places);
        for (uint32_t i = 0; i < count; i++)
            places[i] = places[i] ? places[i] : conv->nothing;
        pass->s->kernels->by_channel(places, weight + (size_t)first * conv->units, first ? y : init ? init : conv->nothing,
                                     y, count, conv->units);
    }
}

static void convolve_channels(lrt_pass *pass, const lrt_node *n, const lrt_conv *conv, uint64_t from, uint64_t to)
{
    const lrt_window *w = &conv->w;
    const uint32_t out = n->out[0];
    lrt_line line = lrt_line_at(pass, out, w, from);
    lrt_look look;
    for (; from < to; from++, lrt_next_line(pass, out, w, &line)) {
        const uint64_t t = lrt_step_of_call(pass, out, line.step);
        float *y = lrt_row_at(pass, out, line.row, line.step) + (size_t)line.y * w->out[2] * conv->units;
        lrt_look_at(pass, n->in[0], w, &conv->past, line.row, &look);
        for (uint32_t x = 0; x < w->out[2]; x++, y += conv->units)
            convolve_window(pass, n, conv, &look, lrt_corner_of(w, t, line.y, x), y);
        if (lrt_told_to_stop(pass, (uint64_t)w->out[2] * conv->k * conv->units))
            return;
    }
}

/* Does the node write in this pass? A vector is whole in the last. */
static int writes(const lrt_pass *pass, uint32_t value)
{
    return pass->s->views[value].data && (pass->last || pass->s->values[value].kind != LRT_VEC);
}

static void run_conv(lrt_pass *pass, const lrt_plan_node *at)
{
    const lrt_node *n = &at->node;
    const lrt_conv *conv = (const lrt_conv *)at->own;
    uint64_t from, to;
    if (writes(pass, n->out[0]) && conv->is_winograd) {
        lrt_run_winograd(pass, n, &conv->winograd, &conv->w, &conv->past);
    } else if (writes(pass, n->out[0])) {
        lrt_share_many(lrt_lines(pass, n->out[0], &conv->w), pass->lane, pass->lanes, &from, &to);
        if (conv->by_channel)
            convolve_channels(pass, n, conv, from, to);
        for (uint32_t group = 0; group < conv->groups && !conv->by_channel && !pass->stopping; group++)
            convolve(pass, n, conv, group, from, to);
    }
    lrt_keep_steps(pass, n->in[0], &conv->w, &conv->past);
}

/* ---- pool ----------------------------------------------------------------------------------------------------- */

enum { A_KIND = 12, MAX = 0, MEAN = 1, MEAN_WITH_PADDING = 2 };

typedef struct {
    lrt_window w;
    lrt_past past;
    uint32_t places;
} lrt_pool;

static int check_pool(lrt_checker *c)
{
    lrt_value x;
    lrt_window w;
    LRT_TRY(lrt_want_counts(c, 1, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &x));
    LRT_TRY(lrt_read_window(c, x.size, &w));
    if (c->n.attr[A_KIND] > MEAN_WITH_PADDING)
        return LRT_E_NODE_ATTR;
    return lrt_want_windows(c, &x, &w, w.channels);
}

static void plan_pool(lrt_planner *p, lrt_plan_node *at)
{
    const lrt_value x = lrt_read_value(p->m, at->node.in[0]);
    lrt_pool measured, *pool = (lrt_pool *)lrt_take(p, 1, sizeof *pool);
    lrt_checker c;
    at->own = pool;
    pool = pool ? pool : &measured;
    memset(pool, 0, sizeof *pool);
    memset(&c, 0, sizeof c);
    c.n = at->node;
    lrt_read_window(&c, x.size, &pool->w);
    pool->places = pool->w.kernel[0] * pool->w.kernel[1] * pool->w.kernel[2];
    lrt_plan_past(p, &pool->past, &x, &pool->w, 1);
}

static void work_of_pool(const lrt_session *s, const lrt_plan_node *at, lrt_work *work)
{
    work->all = (uint64_t)s->values[at->node.out[0]].size * ((const lrt_pool *)at->own)->places;
    work->recurrent = 0;
}

static void pool_window(const lrt_pass *pass, uint32_t kind, const lrt_pool *pool, const lrt_look *look, lrt_corner at,
                        float *y)
{
    const uint32_t channels = pool->w.channels;
    const float *places[LRT_PLACES];
    uint32_t inside = 0;
    for (uint32_t first = 0, count; first < pool->places; first += count) {
        uint32_t found = 0;
        count = lrt_smaller(LRT_PLACES, pool->places - first);
        lrt_window_places(&pool->w, look, at, first, count, places);
        for (uint32_t i = 0; i < count; i++)
            if (places[i])
                places[found++] = places[i];
        if (found)
            pass->s->kernels->fold(kind == MAX, places, inside ? y : NULL, y, found, channels);
        inside += found;
    }
    if (inside == 0)
        memset(y, 0, channels * sizeof(float));
    else if (kind != MAX)
        pass->s->kernels->divide(y, (float)(kind == MEAN ? inside : pool->places), channels);
}

static void run_pool(lrt_pass *pass, const lrt_plan_node *at)
{
    const lrt_node *n = &at->node;
    const lrt_pool *pool = (const lrt_pool *)at->own;
    const lrt_window *w = &pool->w;
    const uint32_t out = n->out[0];
    uint64_t from = 0, to = 0;
    lrt_line line;
    lrt_look look;
    if (writes(pass, out))
        lrt_share_many(lrt_lines(pass, out, w), pass->lane, pass->lanes, &from, &to);
    line = lrt_line_at(pass, out, w, from);
    for (; from < to; from++, lrt_next_line(pass, out, w, &line)) {
        const uint64_t t = lrt_step_of_call(pass, out, line.step);
        float *y = lrt_row_at(pass, out, line.row, line.step) + (size_t)line.y * w->out[2] * w->channels;
        lrt_look_at(pass, n->in[0], w, &pool->past, line.row, &look);
        for (uint32_t x = 0; x < w->out[2]; x++, y += w->channels)
            pool_window(pass, n->attr[A_KIND], pool, &look, lrt_corner_of(w, t, line.y, x), y);
        if (lrt_told_to_stop(pass, (uint64_t)w->out[2] * pool->places * w->channels))
            break;
    }
    lrt_keep_steps(pass, n->in[0], w, &pool->past);
}

const lrt_op lrt_ops_windows[] = {
    {.code = LRT_OP_CONV, .since = 4, .check = check_conv, .hinders = lrt_window_hinders, .plan = plan_conv,
     .work = work_of_conv, .pieces = lines_of_conv, .when = LRT_ALWAYS, .run = run_conv},
    {.code = LRT_OP_POOL, .since = 4, .check = check_pool, .hinders = lrt_window_hinders, .plan = plan_pool,
     .work = work_of_pool, .when = LRT_ALWAYS, .run = run_pool},
    {.code = LRT_OP_NONE},
};
