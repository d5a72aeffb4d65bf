/* Private to the core: the layout of a blob, read byte by byte, and the session. */
#ifndef LRT_INTERNAL_H
#define LRT_INTERNAL_H

#include "lrt_kernels.h"
#include "lstm_rt.h"

/* ---- the blob: docs/format.md is the text that this follows ----------------------------------- */

#define LRT_HEADER_SIZE 128u
#define LRT_VALUE_SIZE 32u
#define LRT_NODE_SIZE 160u
#define LRT_TENSOR_SIZE 32u
#define LRT_NONE 0xffffffffu
#define LRT_NODE_INPUTS 6u
#define LRT_NODE_OUTPUTS 3u
#define LRT_NODE_TENSORS 12u
#define LRT_NODE_ATTRS 17u

#define LRT_MAX_COUNT 4096u      /* values, nodes, tensors */
#define LRT_MAX_IO 64u
#define LRT_MAX_SIZE (1u << 20)  /* features */

enum lrt_op {
    LRT_OP_EMBEDDING = 1,
    LRT_OP_MASK_IDS = 2,
    LRT_OP_MASK_VALUES = 3,
    LRT_OP_APPLY_MASK = 4,
    LRT_OP_LSTM = 5,
    LRT_OP_GRU = 6,
    LRT_OP_RNN = 7,
    LRT_OP_DENSE = 8,
    LRT_OP_ACTIVATION = 9,
    LRT_OP_LAYERNORM = 10,
    LRT_OP_BATCHNORM = 11,
    LRT_OP_ADD = 12,
    LRT_OP_MUL = 13,
    LRT_OP_AVERAGE = 14,
    LRT_OP_CONCAT = 15,
    LRT_OP_SLICE = 16,
    LRT_OP_SELECT = 17,
    LRT_OP_REVERSE = 18
};

enum lrt_layout { LRT_PLAIN = 0, LRT_PANELS = 1, LRT_LANES = 2 };

/* Attributes of recurrent nodes, and their flags. */
enum { LRT_A_HIDDEN = 0, LRT_A_INPUT = 1, LRT_A_PROJ = 2, LRT_A_FLAGS = 3, LRT_A_CLIP = 4, LRT_A_ACT = 5 };
#define LRT_REVERSE 1u      /* one direction, backwards */
#define LRT_BIDIRECTIONAL 2u
#define LRT_RESET_AFTER 4u
#define LRT_ZERO_MASKED 8u
#define LRT_RECURRENT_FLAGS 15u

/* Weights of one direction of a recurrent node; the second direction's follow. */
enum { LRT_W_IH = 0, LRT_W_BIAS = 1, LRT_W_HH = 2, LRT_W_BIAS_HH = 3, LRT_W_EXTRA = 4, LRT_W_EXTRA2 = 5, LRT_W_COUNT = 6 };

static inline uint32_t lrt_u16(const unsigned char *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }
static inline uint32_t lrt_u32(const unsigned char *p) { return lrt_u16(p) | lrt_u16(p + 2) << 16; }
static inline uint64_t lrt_u64(const unsigned char *p) { return lrt_u32(p) | (uint64_t)lrt_u32(p + 4) << 32; }

typedef struct {
    lrt_kind kind;
    uint32_t size, axis, name, name_size;
} lrt_value;
lrt_value lrt_read_value(const lrt_model *m, uint32_t i);

typedef struct {
    enum lrt_op op;
    uint32_t n_in, n_out, n_tensors;
    uint32_t in[LRT_NODE_INPUTS], out[LRT_NODE_OUTPUTS], tensor[LRT_NODE_TENSORS];
    uint32_t attr[LRT_NODE_ATTRS];
} lrt_node;
void lrt_read_node(const lrt_model *m, uint32_t i, lrt_node *node);
float lrt_attr_float(const lrt_node *node, uint32_t i);
lrt_act lrt_attr_act(const lrt_node *node, uint32_t i); /* three attributes: kind, alpha, beta */

/* NULL for LRT_NONE. */
const float *lrt_tensor_data(const lrt_model *m, uint32_t i);

static inline uint32_t lrt_gates(enum lrt_op op) { return op == LRT_OP_LSTM ? 4 : op == LRT_OP_GRU ? 3 : 1; }
static inline int lrt_is_recurrent(enum lrt_op op) { return op >= LRT_OP_LSTM && op <= LRT_OP_RNN; }

#define LRT_FLAG_CAUSAL 1u  /* no node looks at later steps, one time axis: runs in chunks */
#define LRT_FLAG_STREAMS 2u /* ... and nothing asks for the first step either */

/* ---- the session -------------------------------------------------------------------------------- */

/* The state of one direction of a recurrent layer, and its weights. */
typedef struct {
    lrt_matrix w_ih, w_hh, w_extra; /* w_extra: projection (lstm), candidate (gru, reset before) */
    const float *bias, *bias_hh, *bias_extra, *peephole;
    float *h[2]; /* double-buffered rows; h[parity] is current */
    float *c;
    unsigned char *started; /* per row, with explicit state and a mask: has a step counted yet? */
    uint32_t parity;
    int reverse;
} lrt_direction;

typedef struct {
    enum lrt_op op;
    uint32_t n_dir, hidden, h_size; /* h_size: projection's size, or hidden */
    uint32_t h_stride, c_stride;    /* floats per row of state */
    uint32_t flags;
    int explicit_state;             /* initial states are values of the graph */
    lrt_act act[3];
    float clip;
    lrt_direction dir[2];
} lrt_recurrent;

/* Where a value's rows are during a run. */
typedef struct {
    void *data;
    ptrdiff_t row; /* elements from one batch row to the next */
} lrt_view;

typedef struct {
    lrt_node node;
    lrt_recurrent *rec; /* NULL unless recurrent */
} lrt_plan_node;

struct lrt_session {
    const lrt_model *model;
    const lrt_kernels *k;
    lrt_limits limits;
    uint32_t chunk; /* steps per pass of a causal model; 0: one pass takes all */
    lrt_plan_node *nodes;
    lrt_value *values;
    void **buffers;    /* per value: storage inside the session, or NULL */
    lrt_view *views;   /* per value, set for each call; no data: nobody reads it */
    uint32_t stages;   /* lanes that may each run a part of the layers, a pass apart: buffers hold so many passes */
    float *pre;        /* input projections: [direction or stage][step][row][panel order] */
    size_t pre_direction, pre_floats;
    float *extra;      /* r * h or unprojected h: [direction or stage][row][stride] */
    size_t extra_direction;
    float **out_rows;  /* [lane][direction][row] */
    uint32_t *row_lists; /* likewise */
    uint32_t n_slots;
    uint32_t moved;    /* rows that the last call stepped; those after them have their h in both halves */
    unsigned char *stopping; /* [2][lane]: at this meeting or the one after it, has the lane been told to stop? */
    /* The call under way. */
    uint32_t batch, steps[LRT_MAX_AXES];
    const int32_t *lengths[LRT_MAX_AXES];
    lrt_stop *stop;
    void *stop_context;
};

/* Steps of one pass over the nodes: all, or a chunk where the model allows it. */
static inline uint32_t lrt_pass_steps(const lrt_session *s, uint32_t axis)
{
    return s->chunk && s->steps[axis] > s->chunk ? s->chunk : s->steps[axis];
}

/* Rows of input projection computed at a time: enough for blocks of rows, and for batches so many
 * that reading the weights costs little, while the results (`per_row` floats each) stay in cache:
 * those of small layers beside the recurrent weights in the first one. */
#define LRT_PROJECT_ROWS 60u
static inline uint32_t lrt_project_rows(uint32_t batch, size_t per_row)
{
    size_t fit = (1u << 18) / per_row;
    if (per_row <= 256)
        return LRT_PROJECT_ROWS * 2 / 5;
    if (batch < 8 || fit <= LRT_PROJECT_ROWS)
        return LRT_PROJECT_ROWS;
    return fit > 4 * LRT_PROJECT_ROWS ? 4 * LRT_PROJECT_ROWS : (uint32_t)fit;
}
static inline uint32_t lrt_project_steps(uint32_t batch, size_t per_row)
{
    uint32_t rows = lrt_project_rows(batch, per_row);
    return batch < rows ? rows / (batch ? batch : 1) : 1;
}

#endif
