/* Cases: models, inputs, sessions for the tests of the core. */
#include "helpers/cases.h"

#include <math.h>
#include <pthread.h>

unsigned long check_count, check_failures;
const char *check_context;

int model_from_bytes(lrt_model *m, walled *blob, const void *bytes, size_t size)
{
    *blob = walled_new(size);
    memcpy(blob->data, bytes, size);
    return CHECK(lrt_model_open(m, blob->data, size) == LRT_OK);
}

int model_from_file(lrt_model *m, walled *blob, const char *path)
{
    static unsigned char bytes[1 << 16];
    FILE *f = fopen(path, "rb");
    size_t size = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    if (!CHECK(f && feof(f)))
        return 0;
    fclose(f);
    return model_from_bytes(m, blob, bytes, size);
}

/* ---- cases ----------------------------------------------------------------------------------------- */

/* Elements per row and step of a value, steps of it in c, bytes of an element. */
static size_t width_of(const lrt_io *io) { return io->size ? io->size : 1; }
static int is_timed(const lrt_io *io) { return io->axis < LRT_MAX_AXES && io->kind != LRT_LENGTHS; }
static size_t steps_of(const lrt_io *io, const test_case *c)
{
    return is_timed(io) ? c->steps[io->axis] : 1;
}
static size_t port_bytes(const lrt_io *io, const test_case *c) { return 4 * c->batch * width_of(io) * steps_of(io, c); }

/* Numbers that lie side by side: all of a step of a row, or a group of them. */
static size_t groups_of(const lrt_io *io) { return io->order == LRT_GROUPS_FIRST ? io->groups : 1; }

/* Where group i of row n is at step t, in elements. */
static size_t place_of(const lrt_io *io, const test_case *c, size_t n, size_t t, size_t i)
{
    const size_t width = width_of(io);
    if (io->order == LRT_TIME_FIRST)
        return (t * c->batch + n) * width;
    if (io->order == LRT_GROUPS_FIRST)
        return (i * c->batch + n) * (width / io->groups);
    return (n * steps_of(io, c) + t) * width;
}

/* Steps of every axis before step t0 of those of the inputs. Only streams are cut: none has steps before the first. */
static void steps_before(const test_case *c, uint32_t t0, uint32_t *before)
{
    for (unsigned a = 0; a < LRT_MAX_AXES; a++)
        before[a] = t0;
    CHECK(t0 == 0 || lrt_model_steps(c->m, before));
}

port_at port_of(const test_case *c, int output, uint32_t i, uint32_t row, uint32_t step)
{
    uint32_t before[LRT_MAX_AXES + 1] = {0}; /* the last for what has no time axis */
    port_at at;
    at.c = c;
    at.io = output ? lrt_model_output(c->m, i) : lrt_model_input(c->m, i);
    at.data = output ? c->out[i].data : c->in[i].data;
    at.row = row;
    steps_before(c, step, before);
    at.step = is_timed(&at.io) ? before[at.io.axis] : 0;
    return at;
}

/* Some numbers that lie side by side, counted as if the row were whole. */
static unsigned char *numbers_at(const port_at *at, size_t row, size_t step, size_t group, size_t size)
{
    const size_t place = place_of(&at->io, at->c, at->row + row, at->step + step, group);
    return at->data + 4 * (place + (groups_of(&at->io) == 1 ? group * size : 0));
}

int port_same(port_at a, port_at b, uint32_t rows, int copy)
{
    const size_t groups = groups_of(&a.io) > groups_of(&b.io) ? groups_of(&a.io) : groups_of(&b.io);
    const size_t size = width_of(&a.io) / groups;
    int equal = 1;
    for (size_t n = 0; n < rows; n++)
        for (size_t s = 0; s < steps_of(&a.io, a.c); s++)
            for (size_t i = 0; i < groups; i++) {
                unsigned char *x = numbers_at(&a, n, s, i, size), *y = numbers_at(&b, n, s, i, size);
                if (copy)
                    memcpy(x, y, 4 * size);
                equal &= memcmp(x, y, 4 * size) == 0;
            }
    return equal;
}

/* Steps of the axes of inputs are `steps`; those of the others follow. */
static void set_steps(test_case *c, const uint32_t *steps)
{
    memcpy(c->steps, steps, sizeof c->steps);
    CHECK(lrt_model_steps(c->m, c->steps));
}

static int is_root(const lrt_model *m, uint32_t axis)
{
    const lrt_axis a = lrt_read_axis(m, axis);
    return lrt_is_root(&a);
}

/* Rows of the smallest table that looks up input i. */
static uint32_t smallest_table(const lrt_model *m, uint32_t i)
{
    uint32_t rows = 0x7fffffffu;
    for (uint32_t j = 0; j < m->n_nodes; j++) {
        lrt_node n;
        uint32_t have;
        lrt_read_node(m, j, &n);
        if (n.op != LRT_OP_EMBEDDING || n.in[0] != i)
            continue;
        have = lrt_u32(m->blob + m->tensors + (size_t)n.tensor[0] * LRT_TENSOR_SIZE + 20);
        rows = have < rows ? have : rows;
    }
    return rows;
}

static void fill_floats(float *x, size_t rows, size_t width, uint32_t *seed)
{
    for (size_t r = 0; r < rows; r++) {
        int zero = next_random(seed) % 4 == 0; /* a step that a mask may skip */
        for (size_t i = 0; i < width; i++)
            x[r * width + i] = zero ? 0.0f : next_float(seed);
    }
}

/* Rows of a port, the first third as they are and then less and less, down to denormals and zeros; over and over, every
 * `period` rows. */
static void fade(float *x, size_t rows, size_t width, size_t period)
{
    for (size_t r = 0; r < rows; r++) {
        const long all = (long)period, at = (long)(r % period);
        const float scale = ldexpf(1.0f, (int)(at * 3 < all ? 0 : (at * 3 - all) * -80 / all));
        for (size_t i = 0; i < width; i++)
            x[r * width + i] *= scale;
    }
}

static void fill_ints(int32_t *x, size_t n, uint32_t limit, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (int32_t)(next_random(seed) % limit);
}

static void alloc_outputs(test_case *c)
{
    for (uint32_t i = 0; i < c->m->n_outputs; i++) {
        lrt_io io = lrt_model_output(c->m, i);
        c->out[i] = walled_new(port_bytes(&io, c));
    }
}

void case_init(test_case *c, const lrt_model *m, uint32_t batch, const uint32_t *steps, int with_lengths, uint32_t seed)
{
    const int fades = (seed & CASE_FADES) != 0;
    memset(c, 0, sizeof *c);
    c->m = m;
    c->batch = batch;
    set_steps(c, steps);
    for (uint32_t i = 0; i < m->n_inputs; i++) {
        lrt_io io = lrt_model_input(m, i);
        c->in[i] = walled_new(port_bytes(&io, c));
        if (io.kind == LRT_IDS)
            fill_ints((int32_t *)(void *)c->in[i].data, batch * steps_of(&io, c) * width_of(&io), smallest_table(m, i),
                      &seed);
        else if (io.kind == LRT_LENGTHS)
            fill_ints((int32_t *)(void *)c->in[i].data, batch, steps[io.axis] + 1, &seed);
        else
            fill_floats((float *)(void *)c->in[i].data, batch * steps_of(&io, c), width_of(&io), &seed);
        if (fades && (io.kind == LRT_SEQ || io.kind == LRT_VEC))
            fade((float *)(void *)c->in[i].data, batch * steps_of(&io, c), width_of(&io),
                 io.kind == LRT_SEQ && steps_of(&io, c) ? steps_of(&io, c) : 5);
    }
    for (uint32_t a = 0; a < m->n_axes && with_lengths; a++) {
        if (!is_root(m, a))
            continue;
        c->lengths[a] = walled_new(batch * sizeof(int32_t));
        fill_ints((int32_t *)(void *)c->lengths[a].data, batch, steps[a] + 1, &seed);
    }
    alloc_outputs(c);
}

void case_free(test_case *c)
{
    for (unsigned i = 0; i < LRT_MAX_IO; i++) {
        walled_free(&c->in[i]);
        walled_free(&c->out[i]);
    }
    for (unsigned a = 0; a < LRT_MAX_AXES; a++)
        walled_free(&c->lengths[a]);
}

void case_part(test_case *part, const test_case *c, uint32_t n0, uint32_t rows, uint32_t t0, uint32_t count)
{
    uint32_t steps[LRT_MAX_AXES];
    memset(part, 0, sizeof *part);
    part->m = c->m;
    part->batch = rows;
    for (unsigned a = 0; a < LRT_MAX_AXES; a++)
        steps[a] = count < c->steps[a] ? count : c->steps[a];
    set_steps(part, steps);
    for (uint32_t i = 0; i < c->m->n_inputs; i++) {
        lrt_io io = lrt_model_input(c->m, i);
        part->in[i] = walled_new(port_bytes(&io, part));
        port_same(port_of(part, 0, i, 0, 0), port_of(c, 0, i, n0, t0), rows, 1);
    }
    for (uint32_t a = 0; a < c->m->n_axes && t0 == 0; a++) {
        if (!c->lengths[a].base)
            continue;
        part->lengths[a] = walled_new(rows * sizeof(int32_t));
        memcpy(part->lengths[a].data, c->lengths[a].data + n0 * sizeof(int32_t), rows * sizeof(int32_t));
    }
    alloc_outputs(part);
}

int part_equal(const test_case *part, const test_case *c, uint32_t i, uint32_t n0, uint32_t t0)
{
    return port_same(port_of(part, 1, i, 0, 0), port_of(c, 1, i, n0, t0), part->batch, 0);
}

void case_in_order(test_case *c, const lrt_model *m, const test_case *of)
{
    memset(c, 0, sizeof *c);
    c->m = m;
    c->batch = of->batch;
    set_steps(c, of->steps);
    for (uint32_t i = 0; i < m->n_inputs; i++) {
        lrt_io io = lrt_model_input(m, i);
        c->in[i] = walled_new(port_bytes(&io, c));
        port_same(port_of(c, 0, i, 0, 0), port_of(of, 0, i, 0, 0), c->batch, 1);
    }
    for (uint32_t a = 0; a < m->n_axes; a++) {
        if (!of->lengths[a].base)
            continue;
        c->lengths[a] = walled_new(of->lengths[a].size);
        memcpy(c->lengths[a].data, of->lengths[a].data, of->lengths[a].size);
    }
    alloc_outputs(c);
}

int same_in_order(const test_case *c, const test_case *of)
{
    int equal = 1;
    for (uint32_t i = 0; i < c->m->n_outputs; i++)
        equal &= port_same(port_of(c, 1, i, 0, 0), port_of(of, 1, i, 0, 0), c->batch, 0);
    return equal;
}

int outputs_equal(const test_case *a, const test_case *b)
{
    for (uint32_t i = 0; i < a->m->n_outputs; i++)
        if (memcmp(a->out[i].data, b->out[i].data, a->out[i].size) != 0)
            return 0;
    return 1;
}

const lrt_call_args *case_call(const test_case *c, call_pointers *p, int keep_state)
{
    memset(p, 0, sizeof *p);
    p->args.batch = c->batch;
    memcpy(p->args.steps, c->steps, sizeof c->steps);
    for (uint32_t i = 0; i < c->m->n_inputs; i++)
        p->in[i] = c->in[i].data;
    for (uint32_t i = 0; i < c->m->n_outputs; i++)
        p->out[i] = (float *)(void *)c->out[i].data;
    for (unsigned a = 0; a < LRT_MAX_AXES; a++) {
        p->lengths[a] = (const int32_t *)(const void *)c->lengths[a].data;
        if (c->lengths[a].base)
            p->args.lengths = p->lengths;
    }
    p->args.inputs = p->in;
    p->args.outputs = p->out;
    p->args.keep_state = keep_state;
    return &p->args;
}

/* ---- sessions -------------------------------------------------------------------------------------- */

void session_new(test_session *t, const lrt_model *m, const lrt_kernels *k, uint32_t batch, const uint32_t *steps,
                 uint32_t lanes)
{
    lrt_limits limits;
    size_t size;
    limits.batch = batch;
    limits.lanes = lanes;
    memcpy(limits.steps, steps, sizeof limits.steps);
    size = lrt_session_size(m, &limits);
    t->s = NULL;
    t->memory = walled_new(size);
    CHECK(size > 0 && lrt_session_init(&t->s, m, k, &limits, t->memory.data, size) == LRT_OK);
}

void session_free(test_session *t) { walled_free(&t->memory); }

static void check_walls(const test_session *t, const test_case *c)
{
    CHECK(walls_stand(&t->memory));
    for (uint32_t i = 0; i < c->m->n_outputs; i++)
        CHECK(walls_stand(&c->out[i]));
}

void session_run(test_session *t, const test_case *c)
{
    call_pointers p;
    CHECK(lrt_call(t->s, case_call(c, &p, 0)) == LRT_OK);
    check_walls(t, c);
}

typedef struct {
    lrt_session *s;
    uint32_t lane, lanes;
    pthread_barrier_t *barrier;
    int result;
} lane_args;

static void wait_for_all(void *context) { pthread_barrier_wait((pthread_barrier_t *)context); }

static void run_lane(lane_args *l) { l->result = lrt_run(l->s, l->lane, l->lanes, wait_for_all, l->barrier); }

/* Threads that wait for lanes: emulators never forget one that has ended. */
#define MOST_LANES 8
static struct {
    lane_args *lane;
    int started;
} workers[MOST_LANES];
static pthread_mutex_t workers_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t workers_changed = PTHREAD_COND_INITIALIZER;

static void *work(void *context)
{
    lane_args **mine = (lane_args **)context;
    pthread_mutex_lock(&workers_lock);
    for (;;) {
        lane_args *lane = *mine;
        if (!lane) {
            pthread_cond_wait(&workers_changed, &workers_lock);
            continue;
        }
        pthread_mutex_unlock(&workers_lock);
        run_lane(lane);
        pthread_mutex_lock(&workers_lock);
        *mine = NULL;
        pthread_cond_broadcast(&workers_changed);
    }
    return NULL;
}

static void begin_lane(unsigned worker, lane_args *lane)
{
    pthread_t thread;
    pthread_mutex_lock(&workers_lock);
    workers[worker].lane = lane;
    if (!workers[worker].started && (pthread_create(&thread, NULL, work, &workers[worker].lane) != 0 || pthread_detach(thread) != 0))
        abort();
    workers[worker].started = 1;
    pthread_cond_broadcast(&workers_changed);
    pthread_mutex_unlock(&workers_lock);
}

static void end_lane(unsigned worker)
{
    pthread_mutex_lock(&workers_lock);
    while (workers[worker].lane)
        pthread_cond_wait(&workers_changed, &workers_lock);
    pthread_mutex_unlock(&workers_lock);
}

int session_call_lanes(test_session *t, const lrt_call_args *call, uint32_t lanes)
{
    lane_args args[MOST_LANES];
    pthread_barrier_t barrier;
    if (!CHECK(lanes <= MOST_LANES && lrt_prepare(t->s, call) == LRT_OK))
        return LRT_E_ARGUMENT;
    pthread_barrier_init(&barrier, NULL, lanes);
    for (uint32_t i = 0; i < lanes; i++) {
        args[i].s = t->s;
        args[i].lane = i;
        args[i].lanes = lanes;
        args[i].barrier = &barrier;
        if (i > 0)
            begin_lane(i, &args[i]);
    }
    run_lane(&args[0]);
    for (uint32_t i = 1; i < lanes; i++) {
        end_lane(i);
        CHECK(args[i].result == args[0].result);
    }
    pthread_barrier_destroy(&barrier);
    return args[0].result;
}

void session_run_lanes(test_session *t, const test_case *c, uint32_t lanes)
{
    call_pointers p;
    CHECK(session_call_lanes(t, case_call(c, &p, 0), lanes) == LRT_OK);
    check_walls(t, c);
}
