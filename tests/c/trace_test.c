/* Traced calls: the outputs of calls that are not, and pieces that tell all, once, whatever the lanes. */
#include <pthread.h>

#include "ops/lrt_recurrent.h"
#include "suites.h"

/* All floats of a trace, by where they belong. */
typedef struct {
    uint64_t *key; /* 0: free */
    uint32_t *bits;
    size_t room, count;
    unsigned long twice;
    pthread_mutex_t lock;
} trace_log;

static void log_init(trace_log *log, size_t room)
{
    memset(log, 0, sizeof *log);
    log->room = room;
    log->key = calloc(room, sizeof *log->key);
    log->bits = calloc(room, sizeof *log->bits);
    pthread_mutex_init(&log->lock, NULL);
    if (!log->key || !log->bits)
        abort();
}

static void log_free(trace_log *log)
{
    free(log->key);
    free(log->bits);
    pthread_mutex_destroy(&log->lock);
}

/* Where the key is, or could be. */
static size_t log_find(const trace_log *log, uint64_t key)
{
    size_t i = (size_t)((key * 0x9e3779b97f4a7c15ull >> 20) % log->room);
    while (log->key[i] && log->key[i] != key)
        i = (i + 1) % log->room;
    return i;
}

static void log_grow(trace_log *log)
{
    trace_log larger;
    log_init(&larger, 2 * log->room);
    for (size_t i = 0; i < log->room; i++)
        if (log->key[i]) {
            const size_t to = log_find(&larger, log->key[i]);
            larger.key[to] = log->key[i];
            larger.bits[to] = log->bits[i];
        }
    free(log->key);
    free(log->bits);
    log->key = larger.key;
    log->bits = larger.bits;
    log->room = larger.room;
    pthread_mutex_destroy(&larger.lock);
}

static uint64_t key_of(const lrt_traced *t, uint32_t unit)
{
    const uint64_t at = ((uint64_t)t->node << 6 | t->direction) << 4 | (uint64_t)t->what;
    return ((at << 10 | t->row) << 12 | t->step) << 18 | unit | 1ull << 63;
}

static void log_piece(void *context, const lrt_traced *t)
{
    trace_log *log = (trace_log *)context;
    pthread_mutex_lock(&log->lock);
    for (uint32_t i = 0; i < t->count; i++) {
        const uint64_t key = key_of(t, t->from + i);
        size_t at;
        if (2 * log->count > log->room)
            log_grow(log);
        at = log_find(log, key);
        log->twice += log->key[at] != 0;
        log->count += log->key[at] == 0;
        log->key[at] = key;
        memcpy(&log->bits[at], &t->values[i], sizeof log->bits[at]);
    }
    pthread_mutex_unlock(&log->lock);
}

static int logs_equal(const trace_log *a, const trace_log *b)
{
    if (a->count != b->count)
        return 0;
    for (size_t i = 0; i < a->room; i++) {
        const size_t at = a->key[i] ? log_find(b, a->key[i]) : 0;
        if (a->key[i] && (!b->key[at] || a->bits[i] != b->bits[at]))
            return 0;
    }
    return 1;
}

static size_t count_of(const trace_log *log, uint32_t node, lrt_traced_kind what)
{
    size_t count = 0;
    for (size_t i = 0; i < log->room; i++) {
        const uint64_t key = log->key[i] & ~(1ull << 63);
        count += log->key[i] && key >> 50 == node && (lrt_traced_kind)(key >> 40 & 15u) == what;
    }
    return count;
}

static void run_traced(const test_case *want, const lrt_kernels *k, uint32_t lanes, trace_log *log)
{
    test_session t;
    test_case c;
    call_pointers p;
    lrt_call_args call;
    case_part(&c, want, 0, want->batch, 0, UINT32_MAX);
    session_new(&t, want->m, k, want->batch, want->steps, lanes);
    call = *case_call(&c, &p, 0);
    call.trace = log_piece;
    call.trace_context = log;
    if (lanes == 1)
        CHECK(lrt_call(t.s, &call) == LRT_OK);
    else
        CHECK(session_call_lanes(&t, &call, lanes) == LRT_OK);
    CHECK(outputs_equal(&c, want));
    CHECK(walls_stand(&t.memory));
    CHECK(log->twice == 0);
    session_free(&t);
    case_free(&c);
}

/* Every unit of every valid step. */
static void tells_all(const test_case *c, const trace_log *log)
{
    size_t steps = 0;
    for (uint32_t row = 0; row < c->batch; row++)
        steps += c->lengths[0].base ? (uint32_t)((const int32_t *)(const void *)c->lengths[0].data)[row] : c->steps[0];
    for (uint32_t i = 0; i < c->m->n_nodes && c->m->n_axes == 1 && !takes_lengths(c->m); i++) {
        lrt_node n;
        size_t gates, h;
        lrt_read_node(c->m, i, &n);
        if ((n.op != LRT_OP_LSTM && n.op != LRT_OP_GRU && n.op != LRT_OP_RNN) || n.in[3] != LRT_NONE)
            continue;
        gates = steps * n.attr[LRT_A_HIDDEN] * (n.attr[LRT_A_FLAGS] & LRT_BIDIRECTIONAL ? 2 : 1);
        h = n.attr[LRT_A_PROJ] ? gates / n.attr[LRT_A_HIDDEN] * n.attr[LRT_A_PROJ] : gates;
        for (unsigned what = 0; what < LRT_TRACED_COUNT; what++) {
            const int is_its = what == LRT_TRACED_H || (n.op == LRT_OP_LSTM && (what <= LRT_TRACED_O || what == LRT_TRACED_C)) ||
                               (n.op == LRT_OP_GRU && what >= LRT_TRACED_R && what <= LRT_TRACED_N);
            CHECK(count_of(log, i, (lrt_traced_kind)what) == (!is_its ? 0 : what == LRT_TRACED_H ? h : gates));
        }
    }
}

void traces_tell_all(const test_case *want, const lrt_kernels *k)
{
    trace_log alone, together;
    log_init(&alone, 1024);
    log_init(&together, 1024);
    run_traced(want, k, 1, &alone);
    tells_all(want, &alone);
    run_traced(want, k, 3, &together);
    CHECK(logs_equal(&alone, &together));
    log_free(&alone);
    log_free(&together);
}
