/* Recurrent layers: what a session keeps of one, and a lane's steps through it. */
#ifndef LRT_RECURRENT_H
#define LRT_RECURRENT_H

#include "integers/lrt_integers.h"
#include "lrt_pass.h"
#include "ops/lrt_ops.h"

/* Attributes of recurrent nodes, and their flags. */
enum { LRT_A_HIDDEN = 0, LRT_A_INPUT = 1, LRT_A_PROJ = 2, LRT_A_FLAGS = 3, LRT_A_CLIP = 4, LRT_A_ACT = 5 };
#define LRT_REVERSE 1u      /* one direction, backwards */
#define LRT_BIDIRECTIONAL 2u
#define LRT_RESET_AFTER 4u
#define LRT_ZERO_MASKED 8u
#define LRT_RECURRENT_FLAGS 15u

/* Weights of one direction of a recurrent node; the second direction's follow. The second phase of a step is
 * the projection of an LSTM, or the candidate of a GRU that resets before the product. */
enum {
    LRT_W_IH = 0,
    LRT_W_BIAS = 1,
    LRT_W_HH = 2,
    LRT_W_BIAS_HH = 3,
    LRT_W_SECOND = 4,
    LRT_W_PEEPHOLE = 5, /* lstm */
    LRT_W_BIAS_SECOND = 5, /* gru */
    LRT_W_COUNT = 6
};

/* The state of one direction of a recurrent layer, and its weights. */
typedef struct {
    lrt_matrix w_ih, w_hh, w_second;
    const float *bias, *bias_hh, *bias_second, *peephole;
    lrt_halves h;
    float *c;
    unsigned char *started; /* per row: has a step counted yet? Asked where initial states are values and steps masked */
    int reverse;
} lrt_direction;

typedef struct {
    uint32_t op;
    uint32_t n_dir, hidden, h_size; /* h_size: projection's size, or hidden */
    uint32_t c_stride;              /* floats per row of c, and of what stands between two phases */
    uint32_t panels;                /* of hidden units */
    size_t pre_row;                 /* floats of one row of pre-activations */
    uint32_t flags;
    int explicit_state;             /* initial states are values of the graph */
    lrt_act act[3];
    float clip;
    lrt_direction dir[2];
} lrt_recurrent;

static inline uint32_t lrt_gates(uint32_t op) { return op == LRT_OP_LSTM ? 4 : op == LRT_OP_GRU ? 3 : 1; }

/* Rows of input products made at a time: enough for blocks of rows, and for batches so many
 * that reading the weights costs little, while the results (`per_row` floats each) stay in cache:
 * those of small layers beside the recurrent weights in the first one. Of integers the product is so quick that reading
 * the weights counts for more. */
static inline uint32_t lrt_project_rows(const lrt_recurrent *rec, uint32_t batch, size_t per_row)
{
    size_t fit = (1u << 18) / per_row;
    if (per_row <= 256)
        return LRT_PROJECT_ROWS * 2 / 5;
    if (batch >= 8 && lrt_is_integer(&rec->dir[0].w_ih))
        return LRT_MOST_PACKED;
    if (batch < 8 || fit <= LRT_PROJECT_ROWS)
        return LRT_PROJECT_ROWS;
    return fit > 4 * LRT_PROJECT_ROWS ? 4 * LRT_PROJECT_ROWS : (uint32_t)fit;
}
static inline uint32_t lrt_project_steps(const lrt_recurrent *rec, uint32_t batch, size_t per_row)
{
    uint32_t rows = lrt_project_rows(rec, batch, per_row);
    return batch < rows ? rows / (batch ? batch : 1) : 1;
}

/* A lane's share of one direction in one pass. */
typedef struct {
    lrt_pass *pass;
    const lrt_node *n;
    const lrt_recurrent *rec;
    const lrt_direction *dir;
    lrt_halves h;         /* the direction's, whose turns the lane counts for itself */
    uint32_t number;      /* of the node */
    uint32_t d;
    uint32_t scratch;     /* which part of the session's scratch: by direction, or by stage */
    uint32_t n0, n1;      /* batch rows */
    uint32_t share, shares; /* of the panels; shares > 1: a barrier ends each phase of a step */
    uint32_t p0, p1;      /* panels of hidden units */
    uint32_t axis;
    const int32_t *lengths; /* or NULL */
    uint32_t mask;          /* value or LRT_NONE */
    uint32_t seq;           /* value or LRT_NONE when nobody reads it */
    uint32_t *row, rows;    /* the batch rows that take the step under way */
    int input_in_step;      /* the step makes the input product too */
    uint64_t work;          /* where lanes share the panels: since they last asked whether to stop */
    float **out;            /* per batch row: where its output of the step goes */
    lrt_step_args first, second; /* of the phases of a step; what changes from step to step is set there */
} lrt_steps;

/* All steps of the pass. */
void lrt_run_steps(lrt_steps *steps);

#endif
