/* Token ids and masks: which steps count. */
#include <string.h>

#include "integers/lrt_integers.h"
#include "ops/lrt_ops.h"

/* ---- embedding --------------------------------------------------------------------------------------- */

/* Of the ids at a step, those that a node looks up. */
static uint32_t ids_read(const lrt_node *n, const lrt_value *ids)
{
    return n->attr[1] ? n->attr[1] : lrt_per_step(ids) - n->attr[0];
}

static int check_embedding(lrt_checker *c)
{
    lrt_value v;
    lrt_tensor t;
    uint32_t count;
    LRT_TRY(lrt_want_counts(c, 1, 1, 1));
    LRT_TRY(lrt_want_input(c, 0, LRT_KIND(LRT_IDS), &v));
    LRT_TRY(lrt_want_tensor(c, 0, &t));
    if (t.dtype == LRT_I32 || t.units > LRT_MAX_ROWS || t.k > LRT_MAX_SIZE)
        return LRT_E_NODE_TENSOR;
    if (t.layout != LRT_PLAIN && (t.layout != LRT_PANELS || t.gates != 1 || lrt_version(c->m) < LRT_VERSION_TIED))
        return LRT_E_NODE_TENSOR;
    if (c->n.attr[0] >= lrt_per_step(&v) || c->n.attr[1] > lrt_per_step(&v) - c->n.attr[0])
        return LRT_E_NODE_ATTR;
    count = ids_read(&c->n, &v);
    if ((uint64_t)t.k * count > LRT_MAX_SIZE)
        return LRT_E_NODE_TENSOR;
    return lrt_want_output(c, 0, lrt_is_timed(&v) ? LRT_SEQ : LRT_VEC, t.k * count, v.axis);
}

static int accepts_ids(const lrt_session *s, const lrt_plan_node *at, const lrt_call_args *call)
{
    const uint32_t value = at->node.in[0]; /* ids are always inputs of the model */
    const int32_t *ids = (const int32_t *)call->inputs[value];
    const lrt_value *v = &s->values[value];
    const size_t n = (size_t)call->batch * (lrt_is_timed(v) ? call->steps[v->axis] : 1);
    const uint32_t first = at->node.attr[0], end = first + ids_read(&at->node, v);
    uint32_t worst = 0;
    for (size_t i = 0; i < n; i++, ids += lrt_per_step(v))
        for (uint32_t j = first; j < end; j++) {
            uint32_t id = (uint32_t)ids[j]; /* negative ids become huge */
            worst = id > worst ? id : worst;
        }
    return n == 0 || worst < lrt_read_tensor(s->model, at->node.tensor[0]).units ? LRT_OK : LRT_E_TOKEN;
}

/* Row `id` of a table in panels, which a dense layer may multiply with. */
static void copy_unit(const lrt_matrix *m, uint32_t id, float *y)
{
    const uint32_t all = lrt_full_panels(m->units), full = id / LRT_PANEL, words = lrt_words(m->dtype, m->k);
    const uint32_t *at;
    uint32_t p = full < all ? full : all, start, width;
    while (lrt_panel_start(m->units, p + 1) <= id)
        p++;
    start = lrt_panel_start(m->units, p);
    width = lrt_panel_width(m->units, p);
    at = (const uint32_t *)m->w + (size_t)start * words + (id - start);
    for (uint32_t i = 0; i < m->k && !lrt_is_integer(m); i++)
        memcpy(&y[i], &at[(size_t)i * width], sizeof *y);
    for (uint32_t i = 0; i < m->k && lrt_is_integer(m); i++)
        y[i] = (float)lrt_number(m->dtype, at[(size_t)(i / lrt_per_word(m->dtype)) * width], i) * lrt_scale(m, id);
}

static void each_embedding(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    const lrt_value *v = &pass->s->values[n->in[0]];
    const uint32_t read = ids_read(n, v), size = pass->s->values[n->out[0]].size / read;
    const lrt_tensor from = lrt_read_tensor(pass->s->model, n->tensor[0]);
    const lrt_matrix panels = lrt_tensor_matrix(pass->s->model, n->tensor[0]);
    const float *table = (const float *)panels.w;
    const int32_t *ids = lrt_ids_at(pass, n->in[0], row, step) + n->attr[0];
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (uint32_t t = 0; t < count; t++, ids += lrt_per_step(v))
        for (uint32_t j = 0; j < read; j++, y += size) {
            if (from.layout == LRT_PANELS)
                copy_unit(&panels, (uint32_t)ids[j], y);
            else
                memcpy(y, table + (size_t)ids[j] * size, size * sizeof(float));
        }
}

/* ---- masks ------------------------------------------------------------------------------------------- */

static int check_mask(lrt_checker *c)
{
    lrt_value v;
    LRT_TRY(lrt_want_counts(c, 1, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, c->n.op == LRT_OP_MASK_IDS ? LRT_KIND(LRT_IDS) : LRT_KIND(LRT_SEQ), &v));
    if (v.kind == LRT_IDS && (!lrt_is_timed(&v) || lrt_per_step(&v) != 1))
        return LRT_E_NODE_INPUT;
    return lrt_want_output(c, 0, LRT_MASK, 0, v.axis);
}

static void each_mask_ids(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    const int32_t *ids = lrt_ids_at(pass, n->in[0], row, step);
    unsigned char *y = lrt_mask_at(pass, n->out[0], row, step);
    int32_t skip;
    memcpy(&skip, &n->attr[0], sizeof skip);
    for (uint32_t t = 0; t < count; t++)
        y[t] = ids[t] != skip;
}

static void each_mask_values(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t size = pass->s->values[n->in[0]].size;
    const float *x = lrt_row_at(pass, n->in[0], row, step);
    unsigned char *y = lrt_mask_at(pass, n->out[0], row, step);
    float skip = lrt_attr_float(n, 0);
    for (uint32_t t = 0; t < count; t++, x += size) {
        y[t] = 0;
        for (uint32_t i = 0; i < size && !y[t]; i++)
            y[t] = !(x[i] == skip);
    }
}

static int check_apply_mask(lrt_checker *c)
{
    lrt_value v;
    LRT_TRY(lrt_want_counts(c, 2, 1, 0));
    LRT_TRY(lrt_want_input(c, 0, LRT_KIND(LRT_SEQ), &v));
    LRT_TRY(lrt_want_input_like(c, 1, LRT_KIND(LRT_MASK), 0, v.axis));
    return lrt_want_output(c, 0, LRT_SEQ, v.size, v.axis);
}

static void each_apply_mask(const lrt_pass *pass, const lrt_node *n, uint32_t row, uint32_t step, uint32_t count)
{
    uint32_t size = pass->s->values[n->out[0]].size;
    const float *x = lrt_row_at(pass, n->in[0], row, step);
    const unsigned char *mask = lrt_mask_at(pass, n->in[1], row, step);
    float *y = lrt_row_at(pass, n->out[0], row, step);
    for (uint32_t t = 0; t < count; t++, x += size, y += size) {
        if (mask[t])
            memcpy(y, x, size * sizeof(float));
        else
            memset(y, 0, size * sizeof(float));
    }
}

const lrt_op lrt_ops_masks[] = {
    {.code = LRT_OP_EMBEDDING, .check = check_embedding, .accepts = accepts_ids, .each = each_embedding},
    {.code = LRT_OP_MASK_IDS, .check = check_mask, .each = each_mask_ids},
    {.code = LRT_OP_MASK_VALUES, .check = check_mask, .each = each_mask_values},
    {.code = LRT_OP_APPLY_MASK, .check = check_apply_mask, .each = each_apply_mask},
    {.code = LRT_OP_NONE},
};
