/* A weight matrix, and the steps of a recurrent layer. */
#ifndef LRT_STEP_ARGS_H
#define LRT_STEP_ARGS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/lrt_acts.h"

typedef struct lrt_integers lrt_integers;

/* Numbers of a tensor; the codes are part of the file format. */
enum lrt_dtype { LRT_F32 = 1, LRT_I32 = 2, LRT_I8 = 3, LRT_I16 = 4 };

typedef struct {
    const void *w;  /* panels: of float32, or of words of integer weights (lrt_integers.h) */
    uint32_t gates; /* 1 to LRT_MAX_GATES */
    uint32_t units;
    uint32_t k;     /* inputs */
    uint32_t dtype; /* LRT_F32, LRT_I8 or LRT_I16; the last two have */
    uint32_t limit; /* the largest activation, and */
    const uint16_t *scale; /* the upper halves of floats, in panel order, padded */
    const uint32_t *starts; /* of strips: their first blocks in w, and where the last ends; NULL: all of w is there */
    const uint16_t *index;  /* of blocks: the inputs, or words of inputs, ascending in each strip */
} lrt_matrix;
static inline int lrt_is_integer(const lrt_matrix *m) { return m->dtype != LRT_F32; }
static inline int lrt_is_sparse(const lrt_matrix *m) { return m->starts != NULL; }
/* Floats, and all of them? */
static inline int lrt_is_plain(const lrt_matrix *m) { return !lrt_is_integer(m) && !lrt_is_sparse(m); }

/* Time steps of one direction of a recurrent layer: the listed rows of the batch, panels p0 <= p < p1.
 * h_prev is read whole; h_next, c and out get the units of these panels only. With more than one step,
 * h_prev and h_next swap after each, and what the step reads and writes of pre and out lies pre_step and
 * out_step further. */
typedef struct {
    lrt_matrix m;         /* recurrent weights; k is the size of h_prev */
    const float *bias_hh; /* gru: recurrent bias, panel order */
    const float *x;       /* lstm, rnn of one row: if not NULL, the input (x_step from step to step), its */
    ptrdiff_t x_step;     /* weights and bias, in place of pre: sums then start there */
    lrt_matrix w_in;
    const float *bias_in;
    float *pre;           /* bias + input product, panel order; gru_reset keeps r*h's gate z in it */
    ptrdiff_t pre_row;
    float *h_prev;        /* written only when it becomes h_next */
    ptrdiff_t h_prev_row;
    float *h_next;
    ptrdiff_t h_next_row;
    float *c; /* lstm: cell state, read and written */
    ptrdiff_t c_row;
    const float *h_old; /* gru_candidate: h before the step (h_prev is r * h there) */
    ptrdiff_t h_old_row;
    float *const *out; /* per row: where h also goes, out_at floats from there, or NULL */
    ptrdiff_t out_at;
    const float *peephole; /* lstm: i, f, o in panel order, or NULL */
    lrt_act act[3];
    float clip; /* > 0: clip gate pre-activations */
    const uint32_t *row; /* numbers of the rows that take the step */
    uint32_t rows, p0, p1;
    uint32_t steps;
    ptrdiff_t pre_step, out_step;
    int backward; /* of the first step: walk the panels from the last to the first: a hint, results are
                     the same */
    const lrt_integers *integers; /* where m is one of integers: its products, */
    uint32_t *packed;             /* and room for rows */
} lrt_step_args;

#endif
