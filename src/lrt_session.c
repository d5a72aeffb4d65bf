/* The memory plan and the state of one running model, inside memory that the caller gives. */
#include <string.h>

#include "lrt_internal.h"

/* ---- layout: one function both measures and lays out ---------------------------------------------- */

/* Hands out aligned pieces of memory; with base NULL it only counts. */
typedef struct {
    unsigned char *base;
    uint64_t used;
    int overflow;
} arena;

static uint64_t times(arena *a, uint64_t x, uint64_t y)
{
    if (y != 0 && x > UINT64_MAX / 2 / y) {
        a->overflow = 1;
        return 0;
    }
    return x * y;
}

static void *take(arena *a, uint64_t count, uint64_t size)
{
    uint64_t bytes = times(a, count, size);
    void *p = a->base ? a->base + a->used : NULL;
    if (bytes > (uint64_t)SIZE_MAX / 2 || a->used > (uint64_t)SIZE_MAX / 2 - bytes) {
        a->overflow = 1;
        return NULL;
    }
    a->used += (bytes + LRT_ALIGN - 1) / LRT_ALIGN * LRT_ALIGN;
    return p;
}

static float *take_floats(arena *a, uint64_t rows, uint64_t per_row)
{
    return (float *)take(a, times(a, rows, per_row), sizeof(float));
}

static uint32_t round_up(uint32_t n, uint32_t to) { return (n + to - 1) / to * to; }

/* Steps of one pass of a causal model: enough to fill the projection's blocks, small enough that
 * what flows between layers stays in cache. */
static uint32_t default_chunk(uint32_t batch)
{
    uint32_t steps = 2 * LRT_PROJECT_ROWS / (batch ? batch : 1);
    return steps < 16 ? 16 : steps;
}

static uint32_t chunk_of(const lrt_model *m, const lrt_limits *limits)
{
    uint32_t chunk = default_chunk(limits->batch);
    if (!(m->flags & LRT_FLAG_CAUSAL))
        return 0;
    return limits->steps[0] && limits->steps[0] < chunk ? limits->steps[0] : chunk;
}

static int is_output(const lrt_model *m, uint32_t value)
{
    for (uint32_t i = 0; i < m->n_outputs; i++)
        if (lrt_u32(m->blob + m->outputs + 4 * i) == value)
            return 1;
    return 0;
}

static int is_read(const lrt_model *m, uint32_t value)
{
    lrt_node n;
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        lrt_read_node(m, i, &n);
        for (uint32_t j = 0; j < n.n_in; j++)
            if (n.in[j] == value)
                return 1;
    }
    return 0;
}

/* Lanes that can each run a part of the layers: of models that run in passes, one for each recurrent layer. */
static uint32_t stages_of(const lrt_model *m, const lrt_limits *limits)
{
    uint32_t layers = 0;
    lrt_node n;
    for (uint32_t i = 0; i < m->n_nodes && (m->flags & LRT_FLAG_CAUSAL); i++) {
        lrt_read_node(m, i, &n);
        layers += lrt_is_recurrent(n.op) ? 1 : 0;
    }
    layers = layers < limits->lanes ? layers : limits->lanes;
    return layers ? layers : 1;
}

static uint64_t value_rows(arena *a, const lrt_model *m, const lrt_limits *limits, uint32_t stages, const lrt_value *v)
{
    uint32_t chunk = chunk_of(m, limits);
    if (v->kind == LRT_VEC)
        return limits->batch;
    return times(a, (uint64_t)limits->batch * (chunk ? chunk : limits->steps[v->axis]), stages);
}

static void *value_buffer(arena *a, const lrt_model *m, const lrt_limits *limits, uint32_t stages, uint32_t i,
                          const lrt_value *v)
{
    if (i < m->n_inputs || is_output(m, i) || !is_read(m, i))
        return NULL;
    if (v->kind == LRT_MASK)
        return take(a, value_rows(a, m, limits, stages, v), 1);
    return take_floats(a, value_rows(a, m, limits, stages, v), v->size);
}

static lrt_matrix matrix(const lrt_model *m, uint32_t tensor, uint32_t gates, uint32_t units, uint32_t k)
{
    lrt_matrix w;
    w.w = lrt_tensor_data(m, tensor);
    w.gates = gates;
    w.units = units;
    w.k = k;
    return w;
}

static void plan_direction(arena *a, const lrt_model *m, const lrt_limits *limits, const lrt_node *n,
                           lrt_recurrent *rec, uint32_t d)
{
    const uint32_t *t = n->tensor + d * LRT_W_COUNT;
    lrt_direction *dir = &rec->dir[d];
    uint32_t gates = lrt_gates(n->op), hidden = rec->hidden;
    uint32_t after = rec->flags & LRT_RESET_AFTER;

    dir->w_ih = matrix(m, t[LRT_W_IH], gates, hidden, n->attr[LRT_A_INPUT]);
    dir->bias = lrt_tensor_data(m, t[LRT_W_BIAS]);
    dir->w_hh = matrix(m, t[LRT_W_HH], n->op == LRT_OP_GRU && !after ? 2 : gates, hidden, rec->h_size);
    dir->bias_hh = lrt_tensor_data(m, t[LRT_W_BIAS_HH]);
    if (n->op == LRT_OP_LSTM) {
        dir->w_extra = matrix(m, t[LRT_W_EXTRA], 1, rec->h_size, hidden);
        dir->peephole = lrt_tensor_data(m, t[LRT_W_EXTRA2]);
    } else {
        dir->w_extra = matrix(m, t[LRT_W_EXTRA], 1, hidden, hidden);
        dir->bias_extra = lrt_tensor_data(m, t[LRT_W_EXTRA2]);
    }
    dir->reverse = d == 1 || (rec->flags & LRT_REVERSE) != 0;
    dir->h[0] = take_floats(a, limits->batch, rec->h_stride);
    dir->h[1] = take_floats(a, limits->batch, rec->h_stride);
    if (n->op == LRT_OP_LSTM)
        dir->c = take_floats(a, limits->batch, rec->c_stride);
    dir->started = (unsigned char *)take(a, limits->batch, 1);
}

static void plan_recurrent(arena *a, const lrt_model *m, const lrt_limits *limits, const lrt_node *n,
                           lrt_recurrent *rec)
{
    memset(rec, 0, sizeof *rec);
    rec->op = n->op;
    rec->hidden = n->attr[LRT_A_HIDDEN];
    rec->h_size = n->attr[LRT_A_PROJ] ? n->attr[LRT_A_PROJ] : rec->hidden;
    rec->h_stride = round_up(rec->h_size, LRT_PANEL);
    rec->c_stride = round_up(rec->hidden, LRT_PANEL);
    rec->flags = n->attr[LRT_A_FLAGS];
    rec->n_dir = rec->flags & LRT_BIDIRECTIONAL ? 2 : 1;
    rec->explicit_state = n->in[1] != LRT_NONE || n->in[2] != LRT_NONE;
    rec->clip = lrt_attr_float(n, LRT_A_CLIP);
    for (uint32_t i = 0; i < 3; i++)
        rec->act[i] = lrt_attr_act(n, LRT_A_ACT + 3 * i);
    for (uint32_t d = 0; d < rec->n_dir; d++)
        plan_direction(a, m, limits, n, rec, d);
}

/* Scratch is shared by all recurrent layers: as much as the largest needs. */
typedef struct {
    uint64_t pre, extra;
    uint32_t n_dir;
} scratch;

/* Rows of projection that any batch up to the session's has at once: few rows take more steps. */
static uint64_t project_rows(const lrt_limits *limits, uint32_t steps, size_t per_row)
{
    uint64_t rows = lrt_project_rows(limits->batch, per_row);
    uint64_t most = limits->batch > rows ? limits->batch : rows;
    uint64_t all = (uint64_t)limits->batch * (steps ? steps : 1);
    return all < most ? all : most;
}

static void need_scratch(arena *a, scratch *need, const lrt_limits *limits, const lrt_recurrent *rec, uint32_t steps)
{
    size_t per_row = (size_t)lrt_gates(rec->op) * lrt_padded_units(rec->hidden);
    uint64_t pre = times(a, project_rows(limits, steps, per_row), per_row);
    uint64_t extra = times(a, limits->batch, rec->dir[0].w_extra.w ? rec->c_stride : 0);
    need->pre = pre > need->pre ? pre : need->pre;
    need->extra = extra > need->extra ? extra : need->extra;
    need->n_dir = rec->n_dir > need->n_dir ? rec->n_dir : need->n_dir;
}

/* s is NULL when only measuring. */
static void lay_out(arena *a, lrt_session *s, const lrt_model *m, const lrt_limits *limits)
{
    scratch need = {0, 0, 0};
    const uint32_t chunk = chunk_of(m, limits);
    lrt_session *at = (lrt_session *)take(a, 1, sizeof *at);
    lrt_session dummy;
    if (!s)
        at = &dummy;
    memset(at, 0, sizeof *at);
    at->stages = stages_of(m, limits);
    at->nodes = (lrt_plan_node *)take(a, m->n_nodes, sizeof *at->nodes);
    at->values = (lrt_value *)take(a, m->n_values, sizeof *at->values);
    at->buffers = (void **)take(a, m->n_values, sizeof *at->buffers);
    at->views = (lrt_view *)take(a, m->n_values, sizeof *at->views);
    for (uint32_t i = 0; i < m->n_values; i++) {
        lrt_value v = lrt_read_value(m, i);
        void *buffer = value_buffer(a, m, limits, at->stages, i, &v);
        if (s) {
            s->values[i] = v;
            s->buffers[i] = buffer;
        }
    }
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        lrt_node n;
        lrt_recurrent rec, *place = NULL;
        lrt_read_node(m, i, &n);
        if (lrt_is_recurrent(n.op)) {
            place = (lrt_recurrent *)take(a, 1, sizeof *place);
            place = s ? place : &rec;
            plan_recurrent(a, m, limits, &n, place);
            need_scratch(a, &need, limits, place, chunk ? chunk : limits->steps[lrt_read_value(m, n.in[0]).axis]);
            at->n_slots += place->explicit_state ? 0 : n.op == LRT_OP_LSTM ? 2 : 1;
        }
        if (s) {
            s->nodes[i].node = n;
            s->nodes[i].rec = place;
        }
    }
    need.n_dir = need.n_dir < at->stages ? at->stages : need.n_dir;
    at->pre_direction = (size_t)((need.pre + LRT_PANEL - 1) / LRT_PANEL * LRT_PANEL);
    at->pre_floats = need.n_dir * at->pre_direction + LRT_OVERREAD;
    at->pre = take_floats(a, at->pre_floats, 1);
    at->extra_direction = (size_t)need.extra;
    at->extra = take_floats(a, need.n_dir * need.extra, 1);
    at->out_rows = (float **)take(a, times(a, limits->lanes, limits->batch), 2 * sizeof(float *));
    at->row_lists = (uint32_t *)take(a, times(a, limits->lanes, limits->batch), 2 * sizeof(uint32_t));
    at->stopping = (unsigned char *)take(a, limits->lanes, 2);
}

static int limits_ok(const lrt_limits *limits)
{
    return limits && limits->batch >= 1 && limits->lanes >= 1 && limits->lanes <= 1024;
}

size_t lrt_session_size(const lrt_model *model, const lrt_limits *limits)
{
    arena a = {NULL, 0, 0};
    if (!model || !model->blob || !limits_ok(limits))
        return 0;
    lay_out(&a, NULL, model, limits);
    return a.overflow ? 0 : (size_t)a.used;
}

int lrt_session_init(lrt_session **session, const lrt_model *model, const lrt_kernels *kernels,
                     const lrt_limits *limits, void *memory, size_t size)
{
    arena a = {(unsigned char *)memory, 0, 0};
    size_t need;
    if (!session || !model || !model->blob || !kernels || !limits_ok(limits) || !memory)
        return LRT_E_ARGUMENT;
    need = lrt_session_size(model, limits);
    if (need == 0)
        return LRT_E_TOO_LARGE;
    if (size < need || (uintptr_t)memory % LRT_ALIGN)
        return LRT_E_MEMORY;
    *session = (lrt_session *)memory;
    lay_out(&a, *session, model, limits);
    (*session)->model = model;
    (*session)->k = kernels;
    (*session)->limits = *limits;
    (*session)->chunk = chunk_of(model, limits);
    /* Scratch is read before it is written only in lanes that are thrown away; zero is the one
     * content that is cheap there whatever the CPU makes of denormals. */
    memset((*session)->pre, 0, (*session)->pre_floats * sizeof(float));
    lrt_session_reset(*session);
    return LRT_OK;
}

/* ---- state ------------------------------------------------------------------------------------------ */

static void clear_rows(lrt_recurrent *rec, uint32_t row, uint32_t rows)
{
    size_t h = (size_t)row * rec->h_stride, c = (size_t)row * rec->c_stride;
    for (uint32_t d = 0; d < rec->n_dir; d++) {
        lrt_direction *dir = &rec->dir[d];
        memset(dir->h[0] + h, 0, (size_t)rows * rec->h_stride * sizeof(float));
        memset(dir->h[1] + h, 0, (size_t)rows * rec->h_stride * sizeof(float));
        if (dir->c)
            memset(dir->c + c, 0, (size_t)rows * rec->c_stride * sizeof(float));
        memset(dir->started + row, 0, rows);
    }
}

void lrt_session_reset(lrt_session *s)
{
    for (uint32_t i = 0; i < s->model->n_nodes; i++)
        if (s->nodes[i].rec)
            clear_rows(s->nodes[i].rec, 0, s->limits.batch);
    s->moved = 0;
}

int lrt_row_reset(lrt_session *s, uint32_t row)
{
    if (!s || row >= s->limits.batch)
        return LRT_E_ARGUMENT;
    for (uint32_t i = 0; i < s->model->n_nodes; i++)
        if (s->nodes[i].rec)
            clear_rows(s->nodes[i].rec, row, 1);
    return LRT_OK;
}

/* n: a multiple of LRT_PANEL. */
static void swap_floats(float *a, float *b, size_t n)
{
    float t[LRT_PANEL];
    for (size_t i = 0; i < n; i += LRT_PANEL) {
        memcpy(t, a + i, sizeof t);
        memcpy(a + i, b + i, sizeof t);
        memcpy(b + i, t, sizeof t);
    }
}

/* A call moves the current h of its rows from one half to the other. A row that it leaves out has
 * its h in both, and keeps it without being touched. */
static void settle_rows(const lrt_recurrent *rec, const lrt_direction *dir, uint32_t row, uint32_t rows)
{
    size_t at = (size_t)row * rec->h_stride;
    memcpy(dir->h[!dir->parity] + at, dir->h[dir->parity] + at, (size_t)rows * rec->h_stride * sizeof(float));
}

static void swap_rows(lrt_recurrent *rec, uint32_t a, uint32_t b)
{
    for (uint32_t d = 0; d < rec->n_dir; d++) {
        lrt_direction *dir = &rec->dir[d];
        float *h = dir->h[dir->parity];
        unsigned char started = dir->started[a];
        swap_floats(h + (size_t)a * rec->h_stride, h + (size_t)b * rec->h_stride, rec->h_stride);
        settle_rows(rec, dir, a, 1);
        settle_rows(rec, dir, b, 1);
        if (dir->c)
            swap_floats(dir->c + (size_t)a * rec->c_stride, dir->c + (size_t)b * rec->c_stride, rec->c_stride);
        dir->started[a] = dir->started[b];
        dir->started[b] = started;
    }
}

int lrt_row_swap(lrt_session *s, uint32_t a, uint32_t b)
{
    if (!s || a >= s->limits.batch || b >= s->limits.batch)
        return LRT_E_ARGUMENT;
    if (a == b)
        return LRT_OK;
    for (uint32_t i = 0; i < s->model->n_nodes; i++)
        if (s->nodes[i].rec)
            swap_rows(s->nodes[i].rec, a, b);
    return LRT_OK;
}

/* Before a call of `batch` rows that keeps state: the rows that the last call stepped and this one does not. */
static void hold_rows(const lrt_session *s, uint32_t batch)
{
    for (uint32_t i = 0; i < s->model->n_nodes && batch < s->moved; i++) {
        const lrt_recurrent *rec = s->nodes[i].rec;
        for (uint32_t d = 0; rec && d < rec->n_dir; d++)
            settle_rows(rec, &rec->dir[d], batch, s->moved - batch);
    }
}

uint32_t lrt_slot_count(const lrt_session *s) { return s->n_slots; }

/* The recurrent layer of slot i, or NULL; slot says the rest. */
static lrt_recurrent *find_slot(const lrt_session *s, uint32_t i, lrt_slot *slot)
{
    uint32_t layer = 0, first = 0;
    for (uint32_t n = 0; n < s->model->n_nodes; n++) {
        lrt_recurrent *rec = s->nodes[n].rec;
        uint32_t slots;
        if (!rec || rec->explicit_state)
            continue;
        slots = rec->op == LRT_OP_LSTM ? 2 : 1;
        if (i < first + slots) {
            slot->layer = layer;
            slot->is_cell = i != first;
            slot->directions = rec->n_dir;
            slot->size = slot->is_cell ? rec->hidden : rec->h_size;
            return rec;
        }
        first += slots;
        layer++;
    }
    return NULL;
}

int lrt_slot_info(const lrt_session *s, uint32_t i, lrt_slot *slot)
{
    return s && slot && find_slot(s, i, slot) ? LRT_OK : LRT_E_ARGUMENT;
}

static float *state_row(lrt_recurrent *rec, const lrt_slot *slot, uint32_t d, uint32_t row)
{
    lrt_direction *dir = &rec->dir[d];
    return slot->is_cell ? dir->c + (size_t)row * rec->c_stride
                         : dir->h[dir->parity] + (size_t)row * rec->h_stride;
}

/* The same for rows row to row + rows, which must be there. */
static lrt_recurrent *find_rows(const lrt_session *s, uint32_t i, uint32_t row, uint32_t rows, lrt_slot *slot)
{
    return rows <= s->limits.batch && row <= s->limits.batch - rows ? find_slot(s, i, slot) : NULL;
}

int lrt_slot_get(const lrt_session *s, uint32_t i, uint32_t row, uint32_t rows, float *to)
{
    lrt_slot slot;
    lrt_recurrent *rec = s && to ? find_rows(s, i, row, rows, &slot) : NULL;
    if (!rec)
        return LRT_E_ARGUMENT;
    for (uint32_t d = 0; d < slot.directions; d++)
        for (uint32_t n = 0; n < rows; n++, to += slot.size)
            memcpy(to, state_row(rec, &slot, d, row + n), slot.size * sizeof(float));
    return LRT_OK;
}

int lrt_slot_set(lrt_session *s, uint32_t i, uint32_t row, uint32_t rows, const float *from)
{
    lrt_slot slot;
    lrt_recurrent *rec = s && from ? find_rows(s, i, row, rows, &slot) : NULL;
    if (!rec)
        return LRT_E_ARGUMENT;
    for (uint32_t d = 0; d < slot.directions; d++)
        for (uint32_t n = 0; n < rows; n++, from += slot.size)
            memcpy(state_row(rec, &slot, d, row + n), from, slot.size * sizeof(float));
    for (uint32_t d = 0; d < slot.directions && !slot.is_cell; d++)
        settle_rows(rec, &rec->dir[d], row, rows);
    return LRT_OK;
}

/* ---- preparing a call ----------------------------------------------------------------------------------- */

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

static int check_ids(const int32_t *ids, size_t n, uint32_t table)
{
    uint32_t worst = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = (uint32_t)ids[i]; /* negative ids become huge */
        worst = id > worst ? id : worst;
    }
    return n == 0 || worst < table ? LRT_OK : LRT_E_TOKEN;
}

static uint32_t table_rows(const lrt_model *m, uint32_t tensor)
{
    return lrt_u32(m->blob + m->tensors + (size_t)tensor * LRT_TENSOR_SIZE + 20);
}

static int check_tokens(const lrt_session *s, const lrt_call_args *call)
{
    for (uint32_t i = 0; i < s->model->n_nodes; i++) {
        const lrt_node *n = &s->nodes[i].node;
        int e;
        if (n->op != LRT_OP_EMBEDDING) /* ids are always graph inputs */
            continue;
        e = check_ids((const int32_t *)call->inputs[n->in[0]],
                      (size_t)call->batch * call->steps[s->values[n->in[0]].axis],
                      table_rows(s->model, n->tensor[0]));
        if (e)
            return e;
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
        uint32_t o = lrt_u32(m->blob + m->outputs + 4 * i);
        const lrt_value *v = &s->values[o];
        s->views[o].data = call->outputs[i];
        s->views[o].row = (ptrdiff_t)v->size * (v->kind == LRT_SEQ ? (ptrdiff_t)call->steps[v->axis] : 1);
    }
}

int lrt_prepare(lrt_session *s, const lrt_call_args *call)
{
    const int32_t *lengths[LRT_MAX_AXES] = {NULL};
    int e;
    if (!s || !call)
        return LRT_E_ARGUMENT;
    if ((e = check_shape(s, call)) != LRT_OK || (e = check_pointers(s, call)) != LRT_OK)
        return e;
    for (uint32_t a = 0; call->lengths && a < s->model->n_axes; a++)
        lengths[a] = call->lengths[a];
    for (uint32_t i = 0; i < s->model->n_inputs; i++)
        if (s->values[i].kind == LRT_LENGTHS)
            lengths[s->values[i].axis] = (const int32_t *)call->inputs[i];
    for (uint32_t a = 0; a < s->model->n_axes; a++)
        if ((e = check_lengths(lengths[a], call->batch, call->steps[a])) != LRT_OK)
            return e;
    if ((e = check_tokens(s, call)) != LRT_OK)
        return e;
    if (call->keep_state)
        hold_rows(s, call->batch);
    else
        lrt_session_reset(s);
    s->moved = call->batch;
    s->batch = call->batch;
    memcpy(s->steps, call->steps, sizeof s->steps);
    memcpy(s->lengths, lengths, sizeof lengths);
    s->stop = call->stop;
    s->stop_context = call->stop_context;
    set_views(s, call);
    return LRT_OK;
}
