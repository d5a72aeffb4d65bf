/* Private to the core: a session, and how its memory is planned. */
#ifndef LRT_SESSION_H
#define LRT_SESSION_H

#include "lrt_blob.h"
#include "lrt_state.h"

typedef struct lrt_op lrt_op;

/* Where a value's rows are during a run. */
typedef struct {
    void *data;
    ptrdiff_t row;  /* elements from one batch row to the next */
    ptrdiff_t step; /* and from one step to the next */
} lrt_view;

/* A node of the session. */
typedef struct {
    lrt_node node;
    const lrt_op *op;
    void *own; /* what the op's plan has taken, or NULL */
} lrt_plan_node;

struct lrt_session {
    const lrt_model *model;
    const lrt_kernels *kernels;
    lrt_limits limits;
    uint32_t chunk; /* steps per pass of a causal model; 0: one pass takes all */
    int derived;       /* has it derived axes? */
    int any_lengths;   /* inputs that are lengths? */
    int any_accepts;   /* nodes that do not take whatever a call gives? */
    int any_grouped;   /* ports in groups? */
    uint32_t planned[LRT_MAX_AXES]; /* most steps of a pass, by axis: what buffers have room for */
    lrt_plan_node *nodes;
    lrt_value *values;
    void **buffers;    /* per value: storage inside the session, or NULL */
    lrt_view *views;   /* per value, set for each call; no data: nobody reads it */
    uint32_t stages;   /* lanes that may each run a part of the nodes, a pass apart: buffers hold so many passes */
    /* Scratch that nodes with steps share, as much as the largest needs; parts of it for each direction or stage. */
    float *pre;        /* input products: [part][step][row][panel order] */
    size_t pre_part, pre_floats;
    float *between;    /* what stands between the two phases of a step: [part][row][stride] */
    size_t between_part;
    float *gather;     /* [lane][gather_part]: what nodes over windows copy together */
    size_t gather_part;
    uint32_t *packed;  /* [lane][packed_part]: rows that are multiplied with integer weights */
    size_t packed_part;
    float **out_rows;  /* [lane][direction][row] */
    uint32_t *row_lists; /* likewise */
    lrt_state *states; /* every node's */
    uint32_t n_slots;
    uint32_t stepped;  /* rows that the last call stepped; those after them are settled */
    unsigned char *stopping; /* [2][lane]: at this meeting or the one after it, has the lane been told to stop? */
    /* The call under way. */
    lrt_stop *stop;
    void *stop_context;
    lrt_trace *trace;
    void *trace_context;
    float **grouped; /* per output: the caller's array, where it is in groups */
    int gaps; /* do the steps of some port not follow each other? */
    int shaped; /* has there been a call that set what follows, and the strides of the views? */
    uint32_t batch, steps[LRT_MAX_AXES];
    uint32_t given[LRT_MAX_AXES]; /* steps as the call has them, those of derived axes not filled in */
    uint64_t work, shareable; /* multiply-adds, and those that lanes could share, were they few enough */
    const int32_t *lengths[LRT_MAX_AXES];
    int32_t *derived_lengths; /* lengths on derived axes: [axis][row] */
};

/* Rows of input products that are made at a time, and half of the rows of a pass: enough for blocks of rows. */
#define LRT_PROJECT_ROWS 60u

/* Most steps of one pass over the nodes: all, or those of a chunk. */
static inline uint32_t lrt_pass_steps(const lrt_session *s, uint32_t axis)
{
    return s->chunk && s->steps[0] > s->chunk ? s->planned[axis] : s->steps[axis];
}

/* After the last pass: what callers want in an order of its own goes there. */
void lrt_finish_call(const lrt_session *s);

/* ---- planning: one walk both measures and lays out ------------------------------------------------ */

typedef struct {
    unsigned char *base; /* NULL: only counts */
    uint64_t used;
    int overflow;
    const lrt_model *m;
    const lrt_limits *limits;
    uint32_t chunk;
    /* Of the scratch that nodes share: floats of a part, and parts. */
    uint64_t pre, between, gather;
    uint64_t packed; /* words of a lane */
    uint32_t parts;
    lrt_state **last; /* where the next state is to be linked */
    uint32_t n_slots, n_layers; /* so far; layers that have slots */
} lrt_planner;

/* x * y, or 0 and overflow. */
uint64_t lrt_times(lrt_planner *p, uint64_t x, uint64_t y);

/* An aligned piece of the session's memory; NULL if the planner only counts. */
void *lrt_take(lrt_planner *p, uint64_t count, uint64_t size);
float *lrt_take_floats(lrt_planner *p, uint64_t rows, uint64_t per_row);

/* State of the node: rows in halves of `size` floats that callers see in slot `number` (LRT_NONE: in none),
 * or rows in one place. Of a slot, every direction comes in turn. */
void lrt_take_halves(lrt_planner *p, lrt_halves *h, uint32_t size, uint32_t number, const lrt_slot *slot);
unsigned char *lrt_take_rows(lrt_planner *p, size_t stride, uint32_t number, const lrt_slot *slot);
/* The same of state that begins further on in its row from step to step: `slide` bytes, times the uint32_t that stands
 * slides_at bytes into the row. */
unsigned char *lrt_take_sliding_rows(lrt_planner *p, size_t stride, size_t slides_at, size_t slide, uint32_t number,
                                     const lrt_slot *slot);

/* Room for so many rows that are multiplied with this matrix in one call, if it is one of integers. */
void lrt_need_packed(lrt_planner *p, const lrt_matrix *m, uint64_t rows);

/* Rows that a pass has of a value, at most: of every step, where it has steps. */
uint64_t lrt_planned_rows(const lrt_planner *p, const lrt_value *v);

/* Steps of a pass over this axis, at most. */
uint32_t lrt_planned_steps(const lrt_planner *p, uint32_t axis);

#endif
