/* A libFuzzer target: any bytes are opened as a model; what opens is run.
 *
 * The last CONTROL bytes choose how: kernel table, rows, steps, lengths. The size in the header is
 * set right beforehand, or nearly every mutation would end there. Work and memory have limits:
 * nobody promises that a hostile model is a fast one. */
#include <stdlib.h>
#include <string.h>

#include "ops/lrt_recurrent.h"
#include "lstm_rt.h"

#define CONTROL 8u
#define MAX_MEMORY (32u << 20)
#define MAX_ARRAY (1u << 20)   /* bytes of one input or output */
#define MAX_WORK (1u << 22)    /* weights times rows times steps */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    const uint8_t *at, *end; /* the source of numbers; starts again at its end */
    const uint8_t *start;
} source;

static uint8_t next_byte(source *s)
{
    if (s->at == s->end)
        s->at = s->start;
    return s->at == s->end ? 0 : *s->at++;
}

static void *allocate(size_t size)
{
    void *p = NULL;
    if (posix_memalign(&p, LRT_ALIGN, size ? size : 1) != 0)
        abort();
    return p;
}

/* Rows of the input's smallest table; 0 when one is empty. */
static uint32_t table_rows(const lrt_model *m, uint32_t input)
{
    uint32_t rows = 0x7fffffffu;
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        lrt_node n;
        lrt_read_node(m, i, &n);
        if (n.op == LRT_OP_EMBEDDING && n.in[0] == input) {
            uint32_t have = lrt_u32(m->blob + m->tensors + (size_t)n.tensor[0] * LRT_TENSOR_SIZE + 20);
            rows = have < rows ? have : rows;
        }
    }
    return rows;
}

static size_t array_floats(const lrt_io *io, const lrt_limits *shape)
{
    size_t n = shape->batch;
    if (io->axis < LRT_MAX_AXES && io->kind != LRT_LENGTHS)
        n *= shape->steps[io->axis];
    return io->size ? n * io->size : n;
}

/* Mostly numbers that fit, now and then one that the core must refuse. */
static int32_t number_below(source *s, uint32_t limit)
{
    uint32_t b = next_byte(s);
    if (b == 255)
        return (int32_t)((uint32_t)next_byte(s) << 24);
    return limit ? (int32_t)((b * 2654435761u >> 7) % limit) : 0;
}

static void fill(const lrt_model *m, uint32_t i, const lrt_io *io, const lrt_limits *shape, source *s, void *to)
{
    size_t n = array_floats(io, shape);
    if (io->kind == LRT_SEQ || io->kind == LRT_VEC) {
        unsigned char *p = (unsigned char *)to;
        for (size_t j = 0; j < 4 * n; j++) /* any bits: NaN, infinities, denormals */
            p[j] = next_byte(s);
        return;
    }
    uint32_t limit = io->kind == LRT_IDS ? table_rows(m, i) : shape->steps[io->axis] + 1;
    for (size_t j = 0; j < n; j++)
        ((int32_t *)to)[j] = number_below(s, limit);
}

/* Arrays of one call, each of exactly its size so that a step beside it is seen. */
typedef struct {
    const void *in[LRT_MAX_IO];
    float *out[LRT_MAX_IO];
    const int32_t *lengths[LRT_MAX_AXES];
    void *owned[2 * LRT_MAX_IO + LRT_MAX_AXES];
    unsigned n_owned;
} arrays;

static void *own(arrays *a, size_t size) { return a->owned[a->n_owned++] = allocate(size); }

static int make_arrays(arrays *a, const lrt_model *m, const lrt_limits *shape, source *s, int with_lengths)
{
    memset(a, 0, sizeof *a);
    for (uint32_t i = 0; i < m->n_inputs; i++) {
        lrt_io io = lrt_model_input(m, i);
        size_t bytes = 4 * array_floats(&io, shape);
        void *p;
        if (bytes > MAX_ARRAY)
            return 0;
        p = own(a, bytes);
        fill(m, i, &io, shape, s, p);
        a->in[i] = p;
    }
    for (uint32_t i = 0; i < m->n_outputs; i++) {
        lrt_io io = lrt_model_output(m, i);
        size_t bytes = 4 * array_floats(&io, shape);
        if (bytes > MAX_ARRAY)
            return 0;
        a->out[i] = (float *)own(a, bytes);
    }
    for (uint32_t x = 0; x < m->n_axes && with_lengths; x++) {
        int32_t *p = (int32_t *)own(a, 4 * (size_t)shape->batch);
        for (uint32_t n = 0; n < shape->batch; n++)
            p[n] = number_below(s, shape->steps[x] + 1);
        a->lengths[x] = p;
    }
    return 1;
}

static void free_arrays(arrays *a)
{
    while (a->n_owned > 0)
        free(a->owned[--a->n_owned]);
}

/* Weights that one row and step meets. Tensors may be shared by many nodes, so nodes are counted. */
static uint64_t weights_met(const lrt_model *m)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        lrt_node n;
        lrt_read_node(m, i, &n);
        for (uint32_t j = 0; j < n.n_tensors; j++)
            if (n.tensor[j] != LRT_NONE)
                sum += lrt_u64(m->blob + m->tensors + (size_t)n.tensor[j] * LRT_TENSOR_SIZE + 8) / 4;
        sum += 64;
        for (uint32_t j = 0; j < n.n_out; j++)
            sum += n.out[j] != LRT_NONE ? lrt_read_value(m, n.out[j]).size : 0;
    }
    return sum;
}

static const lrt_kernels *choose_kernels(uint8_t choice)
{
    unsigned n = 0;
    while (lrt_kernels_at(n))
        n++;
    const lrt_kernels *k = lrt_kernels_at(choice % n);
    return lrt_kernels_usable(k) ? k : lrt_kernels_best();
}

/* Reads all that a trace tells. */
static void see(void *context, const lrt_traced *piece)
{
    for (uint32_t i = 0; i < piece->count; i++)
        *(volatile float *)context += piece->values[i];
}

static void call_twice(lrt_session *s, const lrt_model *m, const lrt_limits *shape, source *numbers, int options)
{
    arrays a;
    lrt_call_args call;
    float seen = 0.0f;
    if (make_arrays(&a, m, shape, numbers, options & 1)) {
        memset(&call, 0, sizeof call);
        call.batch = shape->batch;
        memcpy(call.steps, shape->steps, sizeof call.steps);
        call.inputs = a.in;
        call.outputs = a.out;
        call.lengths = a.lengths;
        lrt_call(s, &call);
        call.keep_state = 1;
        call.trace = see;
        call.trace_context = &seen;
        lrt_call(s, &call);
    }
    free_arrays(&a);
}

static void touch_slots(lrt_session *s, uint32_t batch)
{
    for (uint32_t i = 0; i < lrt_slot_count(s); i++) {
        lrt_slot slot;
        float *p;
        if (lrt_slot_info(s, i, &slot) != LRT_OK)
            abort();
        p = (float *)allocate((size_t)slot.directions * batch * slot.size * sizeof(float));
        if (lrt_slot_get(s, i, 0, batch, p) != LRT_OK || lrt_slot_set(s, i, 0, batch, p) != LRT_OK)
            abort();
        free(p);
    }
}

static void run_model(const lrt_model *m, const uint8_t *control, source *numbers)
{
    lrt_limits limits, shape;
    lrt_session *s;
    void *memory;
    size_t size;
    uint64_t most = 1;
    memset(&limits, 0, sizeof limits);
    memset(&shape, 0, sizeof shape);
    limits.lanes = 1;
    limits.batch = 1 + control[1] % 80u;
    shape.batch = control[2] % 9u < limits.batch ? control[2] % 9u : 1;
    for (unsigned a = 0; a < LRT_MAX_AXES; a++) {
        shape.steps[a] = a == 0 ? control[3] : (control[4] >> a & 1u) + control[5] % 5u;
        limits.steps[a] = control[6] & 1u ? shape.steps[a] : shape.steps[a] + control[6] % 7u;
    }
    if (!lrt_model_steps(m, shape.steps))
        return;
    for (unsigned a = 0; a < LRT_MAX_AXES; a++)
        most = shape.steps[a] > most ? shape.steps[a] : most;
    size = lrt_session_size(m, &limits);
    if (size == 0 || size > MAX_MEMORY || weights_met(m) * shape.batch * most > MAX_WORK)
        return;
    memory = allocate(size);
    memset(memory, 0xcc, size);
    if (lrt_session_init(&s, m, choose_kernels(control[0]), &limits, memory, size) != LRT_OK)
        abort();
    call_twice(s, m, &shape, numbers, control[7]);
    touch_slots(s, shape.batch);
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t control[CONTROL] = {0};
    size_t blob_size = size;
    unsigned char *blob;
    lrt_model m;
    if (size % 64 >= CONTROL) { /* files are multiples of 64: what is beyond is not of the file */
        blob_size = size - CONTROL;
        memcpy(control, data + blob_size, CONTROL);
    } else { /* a plain file: any choice that does some work */
        const uint8_t plain[CONTROL] = {(uint8_t)(size / 64), 30, 7, 33, 0x5a, 3, 3, (uint8_t)(size / 128)};
        memcpy(control, plain, CONTROL);
    }
    blob = (unsigned char *)allocate(blob_size);
    memcpy(blob, data, blob_size);
    for (unsigned i = 0; i < 8 && blob_size >= LRT_HEADER_SIZE; i++)
        blob[16 + i] = (unsigned char)((uint64_t)blob_size >> 8 * i & 255u);
    if (lrt_model_open(&m, blob, blob_size) == LRT_OK) {
        source numbers = {data, data + size, data};
        lrt_model_check(&m);
        run_model(&m, control, &numbers);
    }
    free(blob);
    return 0;
}
