/* Ops over rows of features, each step for itself: activations, normalisations, sums and products of two,
 * features side by side. */
#include <string.h>

#include "ops/lrt_activate.h"
#include "ops/lrt_ops.h"

/* One input, one output of the same shape, optional vectors of its size. */
static int check_same(lrt_checker *c, uint32_t n_vectors, int all_needed)
{
    lrt_value x;
    LRT_TRY(lrt_want_counts(c, 1, 1, n_vectors));
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &x));
    for (uint32_t i = 0; i < n_vectors; i++) {
        if (all_needed)
            LRT_TRY(lrt_want_weight(c, i, LRT_PLAIN, 1, 1, x.size));
        else
            LRT_TRY(lrt_want_optional_weight(c, i, LRT_PLAIN, 1, 1, x.size));
    }
    return lrt_want_output(c, 0, x.kind, x.size, x.axis);
}

/* ---- activations and normalisations ------------------------------------------------------------------- */

static int check_activation(lrt_checker *c)
{
    LRT_TRY(lrt_want_act(c, 0, LRT_ACT_COUNT));
    return check_same(c, 0, 0);
}

static void each_activation(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    lrt_act act = lrt_attr_act(n, 0);
    lrt_activate_rows(pass->s->kernels, &act, lrt_row_at(pass, n->in[0], row, step),
                      lrt_row_at(pass, n->out[0], row, step), count, pass->s->values[n->out[0]].size);
}

static int check_layernorm(lrt_checker *c)
{
    LRT_TRY(lrt_want_not_negative(c, 0));
    return check_same(c, 2, 0);
}

static void each_layernorm(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t size = pass->s->values[n->out[0]].size;
    const float *gamma = lrt_tensor_data(pass->s->model, n->tensor[0]);
    const float *beta = lrt_tensor_data(pass->s->model, n->tensor[1]);
    const float *x = lrt_row_at(pass, n->in[0], row, step);
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (uint32_t t = 0; t < count; t++, x += size, y += size)
        pass->s->kernels->layernorm(x, gamma, beta, lrt_attr_float(n, 0), y, size);
}

static int check_batchnorm(lrt_checker *c) { return check_same(c, 3, 1); }

static void each_batchnorm(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t size = pass->s->values[n->out[0]].size;
    const lrt_model *m = pass->s->model;
    const float *mean = lrt_tensor_data(m, n->tensor[0]), *scale = lrt_tensor_data(m, n->tensor[1]);
    const float *beta = lrt_tensor_data(m, n->tensor[2]);
    const float *x = lrt_row_at(pass, n->in[0], row, step);
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (uint32_t t = 0; t < count; t++, x += size, y += size)
        pass->s->kernels->batchnorm(x, mean, scale, beta, y, size);
}

/* ---- two of one shape ----------------------------------------------------------------------------------- */

static int check_binary(lrt_checker *c)
{
    lrt_value a;
    LRT_TRY(lrt_want_counts(c, 2, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &a));
    LRT_TRY(lrt_want_input_like(c, 1, LRT_KIND(a.kind), a.size, a.axis));
    return lrt_want_output(c, 0, a.kind, a.size, a.axis);
}

static void each_binary(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    enum lrt_binary op = n->op == LRT_OP_ADD ? LRT_ADD : n->op == LRT_OP_MUL ? LRT_MUL : LRT_AVERAGE;
    pass->s->kernels->binary(op, lrt_row_at(pass, n->in[0], row, step), lrt_row_at(pass, n->in[1], row, step),
                       lrt_row_at(pass, n->out[0], row, step), (size_t)count * pass->s->values[n->out[0]].size);
}

/* ---- features side by side, and some of them ------------------------------------------------------------- */

static int check_concat(lrt_checker *c)
{
    lrt_value first, v;
    uint32_t total = 0;
    if (c->n.n_in < 2)
        return LRT_E_NODE_INPUT;
    LRT_TRY(lrt_want_counts(c, c->n.n_in, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &first));
    for (uint32_t i = 0; i < c->n.n_in; i++) {
        LRT_TRY(lrt_want_input(c, i, LRT_KIND(first.kind), &v));
        if (v.axis != first.axis)
            return LRT_E_NODE_INPUT;
        total += v.size;
    }
    return lrt_want_output(c, 0, first.kind, total, first.axis);
}

static void each_concat(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t width = pass->s->values[n->out[0]].size, at = 0;
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (uint32_t i = 0; i < n->n_in; i++) {
        uint32_t size = pass->s->values[n->in[i]].size;
        const float *x = lrt_row_at(pass, n->in[i], row, step);
        for (uint32_t t = 0; t < count; t++)
            memcpy(y + (size_t)t * width + at, x + (size_t)t * size, size * sizeof(float));
        at += size;
    }
}

static int check_slice(lrt_checker *c)
{
    lrt_value x;
    uint32_t start = c->n.attr[0], size = c->n.attr[1];
    LRT_TRY(lrt_want_counts(c, 1, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &x));
    if (size < 1 || size > x.size || start > x.size - size)
        return LRT_E_NODE_ATTR;
    return lrt_want_output(c, 0, x.kind, size, x.axis);
}

static void each_slice(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t from = n->attr[0], size = n->attr[1], width = pass->s->values[n->in[0]].size;
    const float *x = lrt_row_at(pass, n->in[0], row, step) + from;
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (uint32_t t = 0; t < count; t++)
        memcpy(y + (size_t)t * size, x + (size_t)t * width, size * sizeof(float));
}

const lrt_op lrt_ops_features[] = {
    {.code = LRT_OP_ACTIVATION, .check = check_activation, .each = each_activation},
    {.code = LRT_OP_LAYERNORM, .check = check_layernorm, .each = each_layernorm},
    {.code = LRT_OP_BATCHNORM, .check = check_batchnorm, .each = each_batchnorm},
    {.code = LRT_OP_ADD, .check = check_binary, .each = each_binary},
    {.code = LRT_OP_MUL, .check = check_binary, .each = each_binary},
    {.code = LRT_OP_AVERAGE, .check = check_binary, .each = each_binary},
    {.code = LRT_OP_CONCAT, .check = check_concat, .each = each_concat},
    {.code = LRT_OP_SLICE, .check = check_slice, .each = each_slice},
    {.code = LRT_OP_NONE},
};
