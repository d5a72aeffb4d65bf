/* Ops over rows of features, each step for itself: activations, normalisations, ops on two, features side by side,
 * and some of them. */
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
    LRT_TRY(lrt_want_act(c, 0));
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

static int check_prelu(lrt_checker *c) { return check_same(c, 1, 1); }

static void each_prelu(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t size = pass->s->values[n->out[0]].size;
    const float *alpha = lrt_tensor_data(pass->s->model, n->tensor[0]);
    const float *x = lrt_row_at(pass, n->in[0], row, step);
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (uint32_t t = 0; t < count; t++, x += size, y += size)
        pass->s->kernels->prelu(x, alpha, y, size);
}

/* ---- equal parts of the features ------------------------------------------------------------------------ */

/* Attribute 1 says how many parts there are of input 0. */
static int check_parts(const lrt_checker *c)
{
    lrt_value x;
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &x));
    return c->n.attr[1] >= 1 && x.size % c->n.attr[1] == 0 ? LRT_OK : LRT_E_NODE_ATTR;
}

static int check_l2norm(lrt_checker *c)
{
    LRT_TRY(lrt_want_not_negative(c, 0));
    LRT_TRY(check_parts(c));
    return check_same(c, 0, 0);
}

static int check_groupnorm(lrt_checker *c)
{
    LRT_TRY(lrt_want_not_negative(c, 0));
    LRT_TRY(check_parts(c));
    return check_same(c, 2, 0);
}

/* Both: of so many steps, and so of so many times as many parts. */
static void each_norm(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    const uint32_t groups = n->attr[1], size = pass->s->values[n->out[0]].size / groups;
    const lrt_kernels *k = pass->s->kernels;
    const float *gamma = lrt_tensor_data(pass->s->model, n->n_tensors ? n->tensor[0] : LRT_NONE);
    const float *beta = lrt_tensor_data(pass->s->model, n->n_tensors ? n->tensor[1] : LRT_NONE);
    const float *x = lrt_row_at(pass, n->in[0], row, step);
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (uint32_t t = 0; t < count; t++)
        for (uint32_t g = 0; g < groups; g++, x += size, y += size) {
            const size_t at = (size_t)g * size;
            if (n->op == LRT_OP_L2NORM)
                k->l2norm(x, lrt_attr_float(n, 0), y, size);
            else
                k->layernorm(x, gamma ? gamma + at : NULL, beta ? beta + at : NULL, lrt_attr_float(n, 0), y, size);
        }
}

static int check_reduce_features(lrt_checker *c)
{
    lrt_value x;
    LRT_TRY(lrt_want_counts(c, 1, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &x));
    if (c->n.attr[0] >= LRT_REDUCE_COUNT)
        return LRT_E_NODE_ATTR;
    LRT_TRY(check_parts(c));
    return lrt_want_output(c, 0, x.kind, c->n.attr[1], x.axis);
}

static void work_of_reduce(const lrt_session *s, const lrt_plan_node *at, lrt_work *work)
{
    work->all = s->values[at->node.in[0]].size;
    work->recurrent = 0;
}

static void each_reduce(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    const uint32_t groups = n->attr[1], size = pass->s->values[n->in[0]].size / groups;
    const float *x = lrt_row_at(pass, n->in[0], row, step);
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (size_t i = 0; i < (size_t)count * groups; i++, x += size)
        y[i] = pass->s->kernels->reduce((enum lrt_reduction)n->attr[0], x, size);
}

/* ---- ops on two ------------------------------------------------------------------------------------------ */

/* From version 4 on, but for the average: a vector stands at every step of a sequence, and one feature for any number. */
static int check_binary(lrt_checker *c)
{
    const int broadcasts = lrt_version(c->m) >= LRT_VERSION_ROWS && c->n.op != LRT_OP_AVERAGE;
    lrt_value a, b;
    LRT_TRY(lrt_want_counts(c, 2, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &a));
    LRT_TRY(lrt_want_input(c, 1, LRT_FEATURES, &b));
    if ((a.kind != b.kind || a.size != b.size) && !broadcasts)
        return LRT_E_NODE_INPUT;
    if (a.kind == b.kind && a.axis != b.axis)
        return LRT_E_NODE_INPUT;
    if (a.size != b.size && a.size != 1 && b.size != 1)
        return LRT_E_NODE_INPUT;
    return lrt_want_output(c, 0, a.kind == LRT_SEQ ? a.kind : b.kind, a.size > b.size ? a.size : b.size,
                           a.kind == LRT_SEQ ? a.axis : b.axis);
}

static uint32_t binary_hinders(const lrt_checker *c)
{
    const int steps = lrt_read_value(c->m, c->n.out[0]).kind == LRT_SEQ;
    return steps ? lrt_hinders_spread(c, 0) | lrt_hinders_spread(c, 1) : 0;
}

static enum lrt_binary binary_of(uint32_t op)
{
    switch (op) {
    case LRT_OP_SUB: return LRT_SUB;
    case LRT_OP_MUL: return LRT_MUL;
    case LRT_OP_DIV: return LRT_DIV;
    case LRT_OP_MAXIMUM: return LRT_MAXIMUM;
    case LRT_OP_MINIMUM: return LRT_MINIMUM;
    case LRT_OP_POW: return LRT_POW;
    case LRT_OP_AVERAGE: return LRT_AVERAGE;
    default: return LRT_ADD;
    }
}

/* Where an operand is, and how far on at the next step; does one feature of it stand for all of the output's? */
static const float *operand(const lrt_pass *pass, uint32_t value, const lrt_value *out, uint32_t row, uint32_t step,
                            uint32_t *apart, int *one)
{
    const lrt_value *v = &pass->s->values[value];
    const int steps = v->kind == LRT_SEQ;
    *apart = steps ? v->size : 0;
    *one = v->size == 1 && (out->size != 1 || v->kind != out->kind);
    return steps ? lrt_row_at(pass, value, row, step) : lrt_row(pass, value, row);
}

/* All steps at once, where each operand goes on as the output does, or is one number. */
static void each_binary(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    const lrt_value *out = &pass->s->values[n->out[0]];
    uint32_t apart_a, apart_b, at_once;
    float *y = lrt_row_at(pass, n->out[0], row, step);
    lrt_two two;
    two.op = binary_of(n->op);
    two.a = operand(pass, n->in[0], out, row, step, &apart_a, &two.one_a);
    two.b = operand(pass, n->in[1], out, row, step, &apart_b, &two.one_b);
    at_once = apart_a == (two.one_a ? 0 : out->size) && apart_b == (two.one_b ? 0 : out->size) ? count : 1;
    for (uint32_t t = 0; t < count; t += at_once, two.a += apart_a, two.b += apart_b, y += out->size)
        pass->s->kernels->binary(&two, y, (size_t)at_once * out->size);
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

static int check_gather(lrt_checker *c)
{
    lrt_value x;
    uint32_t count;
    LRT_TRY(lrt_want_counts(c, 1, 1, 1));
    LRT_TRY(lrt_want_input(c, 0, LRT_FEATURES, &x));
    LRT_TRY(lrt_want_index(c, 0, x.size, &count));
    return lrt_want_output(c, 0, x.kind, count, x.axis);
}

static void each_gather(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    const uint32_t width = pass->s->values[n->in[0]].size, size = pass->s->values[n->out[0]].size;
    const int32_t *index = lrt_tensor_integers(pass->s->model, n->tensor[0]);
    const float *x = lrt_row_at(pass, n->in[0], row, step);
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (uint32_t t = 0; t < count; t++, x += width, y += size)
        for (uint32_t j = 0; j < size; j++)
            y[j] = x[index[j]];
}

/* ---- numbers that depend on no input ------------------------------------------------------------------------ */

static int check_constant(lrt_checker *c)
{
    lrt_tensor t;
    LRT_TRY(lrt_want_counts(c, 0, 1, 1));
    LRT_TRY(lrt_want_tensor(c, 0, &t));
    LRT_TRY(lrt_want_weight(c, 0, LRT_PLAIN, 1, 1, t.k));
    if (t.k < 1)
        return LRT_E_NODE_TENSOR;
    return lrt_want_output(c, 0, LRT_VEC, t.k, LRT_MAX_AXES);
}

static void each_constant(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    (void)step;
    (void)count; /* a vector is one step */
    memcpy(lrt_row(pass, n->out[0], row), lrt_tensor_data(pass->s->model, n->tensor[0]),
           pass->s->values[n->out[0]].size * sizeof(float));
}

const lrt_op lrt_ops_features[] = {
    {.code = LRT_OP_ACTIVATION, .check = check_activation, .each = each_activation},
    {.code = LRT_OP_LAYERNORM, .check = check_layernorm, .each = each_layernorm},
    {.code = LRT_OP_BATCHNORM, .check = check_batchnorm, .each = each_batchnorm},
    {.code = LRT_OP_PRELU, .since = 4, .check = check_prelu, .each = each_prelu},
    {.code = LRT_OP_L2NORM, .since = 4, .check = check_l2norm, .each = each_norm},
    {.code = LRT_OP_GROUPNORM, .since = 4, .check = check_groupnorm, .each = each_norm},
    {.code = LRT_OP_REDUCE_FEATURES, .since = 4, .check = check_reduce_features, .work = work_of_reduce,
     .each = each_reduce},
    {.code = LRT_OP_ADD, .check = check_binary, .hinders = binary_hinders, .each = each_binary},
    {.code = LRT_OP_MUL, .check = check_binary, .hinders = binary_hinders, .each = each_binary},
    {.code = LRT_OP_AVERAGE, .check = check_binary, .each = each_binary},
    {.code = LRT_OP_SUB, .since = 4, .check = check_binary, .hinders = binary_hinders, .each = each_binary},
    {.code = LRT_OP_DIV, .since = 4, .check = check_binary, .hinders = binary_hinders, .each = each_binary},
    {.code = LRT_OP_MAXIMUM, .since = 4, .check = check_binary, .hinders = binary_hinders, .each = each_binary},
    {.code = LRT_OP_MINIMUM, .since = 4, .check = check_binary, .hinders = binary_hinders, .each = each_binary},
    {.code = LRT_OP_POW, .since = 4, .check = check_binary, .hinders = binary_hinders, .each = each_binary},
    {.code = LRT_OP_CONCAT, .check = check_concat, .each = each_concat},
    {.code = LRT_OP_SLICE, .check = check_slice, .each = each_slice},
    {.code = LRT_OP_GATHER, .since = 4, .check = check_gather, .each = each_gather},
    {.code = LRT_OP_CONSTANT, .since = 4, .check = check_constant, .when = LRT_EVERY_PASS, .each = each_constant},
    {.code = LRT_OP_NONE},
};
