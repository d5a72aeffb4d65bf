/* lstm-rt: runs trained recurrent networks. The C API.
 *
 *   lrt_model model;
 *   lrt_model_open(&model, blob, size);                       the blob stays where it is, read-only
 *   size_t need = lrt_session_size(&model, &limits);
 *   lrt_session_init(&s, &model, lrt_kernels_best(), &limits, memory, need);
 *   lrt_call(s, &call);                                       as often as you like
 *
 * C99, no malloc, no I/O, no globals that change. Functions return LRT_OK or an error code, and
 * leave their outputs alone on error unless they say otherwise.
 *
 * Threads: a model is read-only and may be shared by any number of threads. A session belongs to
 * one call at a time; several threads may work on that call together through lrt_run(). */
#ifndef LSTM_RT_H
#define LSTM_RT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default) /* all that a shared library of this gives */
#endif

#define LRT_FIRST_VERSION 1u  /* format versions that this runtime reads: from here */
#define LRT_FORMAT_VERSION 5u /* to here */
#define LRT_ALIGN 64     /* of blobs and session memory; 16 is enough on CPUs without 64-byte lines */

/* Limits of a model: docs/format.md, section 10. Writers take them from here too. */
#define LRT_MAX_AXES 32          /* time axes; before version 4 of the format 8 */
#define LRT_MAX_COUNT 4096u      /* values, nodes, tensors; rows of the self-test */
#define LRT_MAX_IO 64u           /* inputs, outputs */
#define LRT_MAX_SIZE (1u << 20)  /* features, hidden units */
#define LRT_MAX_ROWS 0x7fffffffu /* of an embedding, of an array of the self-test */
#define LRT_NODE_INPUTS 6u
#define LRT_NODE_OUTPUTS 3u
#define LRT_NODE_TENSORS 12u
#define LRT_MAX_DIMS 16          /* of a shaped port */
#define LRT_MAX_RTOL 0.01f       /* relative tolerance of the self-test */
#define LRT_MAX_ACTIVATION 32639u /* limit of integer weights: 127 * 256 + 127, a signed byte 256 times and a signed byte */

/* ---- errors ---------------------------------------------------------------------------------- */

typedef enum {
    LRT_OK = 0,
    /* A blob is not a valid model; one code for each way it can be wrong. */
    LRT_E_SHORT = 1,      /* shorter than a header */
    LRT_E_MAGIC = 2,      /* does not begin with the magic number */
    LRT_E_VERSION = 3,    /* a format version that this runtime does not read */
    LRT_E_SIZE = 4,       /* the header's file size is not the blob's */
    LRT_E_ALIGNMENT = 5,  /* the blob's address is not aligned to LRT_ALIGN */
    LRT_E_ENDIAN = 6,     /* this machine is big-endian */
    LRT_E_COUNTS = 7,     /* a count in the header is zero where it must not be, or over its limit */
    LRT_E_TABLES = 8,     /* the tables do not fit in the blob, or a reserved field is not zero */
    LRT_E_TENSOR = 9,     /* a tensor lies outside the blob, is misaligned, or its size does not fit its shape */
    LRT_E_VALUE = 10,     /* a value has an unknown kind, or a size or time axis that does not fit its kind */
    LRT_E_OP = 11,        /* an op that this runtime does not know */
    LRT_E_NODE_INPUT = 12,  /* a node reads a value that is not there yet, or is of the wrong kind or size */
    LRT_E_NODE_OUTPUT = 13, /* a node writes a value twice, or of the wrong kind or size */
    LRT_E_NODE_ATTR = 14,   /* a node's attribute is out of range */
    LRT_E_NODE_TENSOR = 15, /* a node's weight is missing, unexpected, or of the wrong shape */
    LRT_E_INTERFACE = 16,   /* the lists of inputs or outputs are wrong */
    LRT_E_STRING = 17,      /* a name lies outside the table of names */
    LRT_E_SELFTEST = 18,    /* the self-test record is wrong */
    LRT_E_CHECKSUM = 19,    /* the checksum does not match (lrt_model_check only) */
    LRT_E_OP_LEFT_OUT = 20, /* an op that this build leaves out (LRT_WITH_...): lrt_refused_op names it */
    LRT_E_AXIS = 21,        /* the rule of a time axis is out of range */
    /* A call is wrong. */
    LRT_E_ARGUMENT = 32,  /* a NULL or out-of-range argument */
    LRT_E_MEMORY = 33,    /* session memory is too small or not aligned to LRT_ALIGN */
    LRT_E_TOO_LARGE = 34, /* the session would need more memory than the machine can address */
    LRT_E_BATCH = 35,     /* more rows than the session was made for */
    LRT_E_STEPS = 36,     /* more time steps than the session was made for */
    LRT_E_LENGTH = 37,    /* a length is negative or larger than the number of steps */
    LRT_E_TOKEN = 38,     /* a token id is outside the embedding's table */
    LRT_E_STREAM = 39,    /* the model cannot run step by step: it needs the end of the sequence */
    LRT_E_STOPPED = 40,   /* the call's `stop` has ended it: its outputs and the state of its rows are undefined */
    LRT_E_STEP_COUNT = 41, /* a sequence has not the number of steps that a node takes (flatten, align, cut) */
    LRT_E_TRACE = 42      /* the call has a `trace`, which this build leaves out (LRT_WITH_TRACE) */
} lrt_error;

/* A short English sentence for an error code. Never NULL. */
const char *lrt_error_text(int error);

/* ---- kernels ---------------------------------------------------------------------------------- */

typedef struct lrt_kernels lrt_kernels;

/* The fastest table that this CPU can run; the table called `name`, or NULL if this build has none
 * of that name or this CPU cannot run it; the i-th table of this build, best first, or NULL. */
const lrt_kernels *lrt_kernels_best(void);
const lrt_kernels *lrt_kernels_by_name(const char *name);
const lrt_kernels *lrt_kernels_at(unsigned i);
const char *lrt_kernels_name(const lrt_kernels *k);
int lrt_kernels_usable(const lrt_kernels *k);
/* 1 if multiply-adds round once: such tables give the same bits as each other. */
int lrt_kernels_fused(const lrt_kernels *k);
/* y = act(x) for n floats (one row, for softmax): for tests of the activations. act: docs/format.md. */
int lrt_activate(const lrt_kernels *k, uint32_t act, float alpha, float beta, const float *x, float *y, size_t n);

/* ---- models ------------------------------------------------------------------------------------ */

typedef enum { LRT_SEQ = 1, LRT_VEC = 2, LRT_IDS = 3, LRT_MASK = 4, LRT_LENGTHS = 5 } lrt_kind;

/* One model, opened in place. Read-only after lrt_model_open; fields are private. */
typedef struct {
    const unsigned char *blob;
    size_t size;
    uint32_t n_axes, n_values, n_nodes, n_tensors, n_inputs, n_outputs;
    uint32_t values, nodes, tensors, outputs, axes, selftest; /* offsets of the tables */
    uint32_t flags;
} lrt_model;

/* Validates `size` bytes at `blob`, all of them but weights and checksum, and opens them in place.
 * The blob must stay valid and unchanged while the model is used, and be aligned to LRT_ALIGN. */
int lrt_model_open(lrt_model *model, const void *blob, size_t size);

/* After LRT_E_OP_LEFT_OUT: the name of the first op of the blob that this build does not have. Else NULL. */
const char *lrt_refused_op(const void *blob, size_t size);

/* LRT_OK or LRT_E_CHECKSUM: reads the whole blob. */
int lrt_model_check(const lrt_model *model);

/* The order of a port's axes, as its model has it: batch first; time first, (T, N, size); without a batch, (T, size),
 * of which a call has one row (or several, as if batch first: streams that step together); or, for LRT_VEC, in groups:
 * (groups, N, size / groups), as PyTorch gives states. Of a shaped one the model's source has other dims; a call gives and
 * takes it batch first all the same. */
typedef enum {
    LRT_BATCH_FIRST = 0,
    LRT_TIME_FIRST = 1,
    LRT_UNBATCHED = 2,
    LRT_GROUPS_FIRST = 3,
    LRT_SHAPED = 4
} lrt_order;
#define LRT_DIM_BATCH -1 /* of the dims of a shaped port; others are sizes */
#define LRT_DIM_STEPS -2
#define LRT_DIM_JOINED -3 /* between two dims of an output that are one axis of its array */

/* An input or output. Shapes, batch first: LRT_SEQ (N, T, size), LRT_VEC (N, size), LRT_IDS (N, T) of int32, or
 * where size is not 0 (N, T, size), each without T if they have no time axis, LRT_LENGTHS (N,) of int32. `name` is not zero-terminated. */
typedef struct {
    const char *name;
    size_t name_size;
    lrt_kind kind;
    uint32_t size;
    uint32_t axis; /* time axis, or LRT_MAX_AXES: it has no steps */
    lrt_order order;
    uint32_t groups; /* LRT_GROUPS_FIRST, LRT_UNBATCHED: how many a vec is cut into; 0: not at all */
    uint32_t n_dims; /* LRT_SHAPED: how many, up to LRT_MAX_DIMS, and which; their features are in row-major order */
    const int32_t *dims;
} lrt_io;
lrt_io lrt_model_input(const lrt_model *model, uint32_t i);   /* i < model->n_inputs */
lrt_io lrt_model_output(const lrt_model *model, uint32_t i);  /* i < model->n_outputs */

/* Time axes may be derived from others by a rule (every second step, each step three times). Fills in the steps of
 * those, given the steps of the axes that inputs bring. 0 if one of them would have more than 2^31 - 1. */
int lrt_model_steps(const lrt_model *model, uint32_t steps[LRT_MAX_AXES]);

/* Does no node look at later steps? Then long calls go through in chunks of time, and the memory of
 * a session does not grow with the number of steps. And can it run step by step as well? */
int lrt_model_is_causal(const lrt_model *model);
int lrt_model_streams(const lrt_model *model);

/* Why not: the name of the op of the first node that cannot go step by step, its number in *node. NULL if no node
 * hinders it (then it is its time axes: inputs on several, or on none, or derived ones that depend on the steps before). */
const char *lrt_stream_obstacle(const lrt_model *model, uint32_t *node);

/* ---- sessions ----------------------------------------------------------------------------------- */

typedef struct lrt_session lrt_session;

/* What a session must hold. Models that stream need only as many steps as they shall take at
 * once (steps 0: a good number); longer calls go through in chunks. */
typedef struct {
    uint32_t batch;
    uint32_t lanes; /* threads that will share a call */
    uint32_t steps[LRT_MAX_AXES];
} lrt_limits;

/* Bytes of memory a session takes, or 0 when that cannot be addressed. */
size_t lrt_session_size(const lrt_model *model, const lrt_limits *limits);

/* Lays a session out in `size` bytes at `memory`, which must be aligned to LRT_ALIGN, and sets its
 * state to zero. */
int lrt_session_init(lrt_session **session, const lrt_model *model, const lrt_kernels *kernels,
                     const lrt_limits *limits, void *memory, size_t size);

/* Shall the call end early? Not 0: yes. Long calls ask on each of their lanes, every few million
 * multiply-adds, in the caller's floating-point mode; all lanes leave when one of them has been told to. */
typedef int lrt_stop(void *context, uint32_t lane);

/* What nodes compute on their way from step to step, which outputs do not show: of recurrent layers the gates after their
 * activations, the cell state and the hidden state, as the cell has them after the step; of attention the weights. */
typedef enum {
    LRT_TRACED_I = 0, /* lstm, convlstm: input gate, */
    LRT_TRACED_F = 1, /* forget gate, */
    LRT_TRACED_G = 2, /* candidate, */
    LRT_TRACED_O = 3, /* output gate */
    LRT_TRACED_R = 4, /* gru: reset gate, */
    LRT_TRACED_Z = 5, /* update gate, */
    LRT_TRACED_N = 6, /* candidate */
    LRT_TRACED_C = 7, /* cell state of an lstm, a convlstm */
    LRT_TRACED_H = 8, /* hidden state of every recurrent layer, after its projection if it has one */
    LRT_TRACED_WEIGHTS = 9, /* attention: of a query, over the steps of the keys */
    LRT_TRACED_COUNT = 10
} lrt_traced_kind;

/* A piece of that: `count` floats at `values`, which belong to the units (of weights: the steps) from `from` on. */
typedef struct {
    lrt_traced_kind what;
    uint32_t node;      /* its number in the model, from 0 */
    uint32_t direction; /* of a layer in both directions 1 for the one backwards; of weights the head */
    uint32_t row, step; /* of the call, whatever the order of the layer; of weights, step is the query's */
    int held;           /* a mask leaves the step out: these are states that stay */
    uint32_t from, count;
    const float *values; /* only until the callback returns */
} lrt_traced;

/* Gets all pieces of a call, each once, in an order that is not specified: of steps that a layer takes all of the above; of
 * steps that a mask leaves out the states, which stay; of steps beyond a row's length nothing; of attention the steps
 * that count. Called on each lane of the call, on several at the same time; it must not change the session, and is in the
 * mode without denormals that lrt_call sets. */
typedef void lrt_trace(void *context, const lrt_traced *piece);

/* One run of a model: rows are contiguous arrays in the shapes of lrt_model_input/output. Set to zero what you do not use. */
typedef struct {
    uint32_t batch;
    uint32_t steps[LRT_MAX_AXES]; /* of axes that inputs bring; those of derived axes follow */
    const void *const *inputs;  /* n_inputs pointers; ids and lengths must not change during the call */
    float *const *outputs;      /* n_outputs pointers; they must not overlap the inputs */
    const int32_t *const *lengths; /* per axis: `batch` lengths or NULL; NULL for none. An input of
                                      kind LRT_LENGTHS takes precedence on its axis; derived axes follow theirs. */
    int keep_state;             /* 0: all state starts from zero; 1: rows 0 to `batch` go on from theirs,
                                   and the session's other rows keep theirs */
    lrt_stop *stop;             /* NULL: the call runs to its end */
    void *stop_context;
    lrt_trace *trace;           /* NULL: none. Results are the same bits with one */
    void *trace_context;
} lrt_call_args;

/* Runs on the calling thread. It rounds as that does, and is in the CPU's mode without denormals meanwhile, where there
 * is one (docs/numerics.md). After LRT_E_STOPPED the rows of the call need lrt_session_reset, lrt_row_reset or
 * lrt_slot_set of all slots before a call that keeps state. */
int lrt_call(lrt_session *session, const lrt_call_args *call);

/* The same with several threads: lrt_prepare on one of them; then, if it returned LRT_OK, lrt_run on
 * each with its own lane < lanes <= limits.lanes; `barrier` must return only when all of them have
 * called it. All get the same result, LRT_OK or LRT_E_STOPPED. lrt_worthwhile_lanes says how many threads,
 * up to `most`, do not make it slower: if they are awake, that is, spinning for work, or if they have to be woken,
 * which takes tens of microseconds. lrt_prepared_work says how much there is to do, in multiply-adds, more or less. */
typedef void lrt_barrier(void *context);
int lrt_prepare(lrt_session *session, const lrt_call_args *call);
uint32_t lrt_worthwhile_lanes(const lrt_session *session, uint32_t most, int awake);
uint64_t lrt_prepared_work(const lrt_session *session);
int lrt_run(lrt_session *session, uint32_t lane, uint32_t lanes, lrt_barrier *barrier, void *context);

/* State: one slot per h or c of a recurrent layer without explicit initial states, and per op that sums up over time
 * (reduce, cumsum: what it has summed up, of a form of its own) or looks back (conv, pool: the last steps), in the order
 * of the nodes, h before c. Arrays are (directions, rows, size): those of `rows` rows from `row` on. */
typedef struct {
    uint32_t layer;      /* counts nodes that have slots */
    int is_cell;         /* 0: h, 1: c */
    uint32_t directions;
    uint32_t size;
} lrt_slot;
uint32_t lrt_slot_count(const lrt_session *session);
int lrt_slot_info(const lrt_session *session, uint32_t i, lrt_slot *slot);
int lrt_slot_get(const lrt_session *session, uint32_t i, uint32_t row, uint32_t rows, float *to);
int lrt_slot_set(lrt_session *session, uint32_t i, uint32_t row, uint32_t rows, const float *from);
void lrt_session_reset(lrt_session *session); /* all state to zero */

/* Rows as streams of their own, of which a call steps the first `batch`: the state of one to zero;
 * the states of two exchanged. LRT_E_ARGUMENT for a row that the session does not have. */
int lrt_row_reset(lrt_session *session, uint32_t row);
int lrt_row_swap(lrt_session *session, uint32_t a, uint32_t b);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
