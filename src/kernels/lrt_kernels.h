/* What one instruction set provides: a table of functions over float32 rows.
 *
 * Every output is one sum that starts at the bias (or at a given value) and adds its products in
 * the order of k with fused multiply-adds, whatever the ISA, block of rows or range of panels:
 * that is what makes results bit-identical. */
#ifndef LRT_KERNELS_H
#define LRT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/lrt_panels.h"
#include "lstm_rt.h"

/* May calls be traced? A build leaves the code of it out by defining this as 0. */
#ifndef LRT_WITH_TRACE
#define LRT_WITH_TRACE 1
#endif

typedef struct lrt_integers lrt_integers;

/* Numbers are part of the file format. */
enum lrt_act_kind {
    LRT_ACT_LINEAR = 0,
    LRT_ACT_SIGMOID = 1,
    LRT_ACT_TANH = 2,
    LRT_ACT_RELU = 3,
    LRT_ACT_HARD_SIGMOID = 4,
    LRT_ACT_LEAKY_RELU = 5,
    LRT_ACT_ELU = 6,
    LRT_ACT_SELU = 7,
    LRT_ACT_SOFTPLUS = 8,
    LRT_ACT_SOFTSIGN = 9,
    LRT_ACT_SWISH = 10,
    LRT_ACT_GELU = 11,
    LRT_ACT_GELU_TANH = 12,
    LRT_ACT_SOFTMAX = 13,     /* these two mix features: not for gates */
    LRT_ACT_LOG_SOFTMAX = 14,
    LRT_ACT_EXP = 15,         /* from here on: since version 4 */
    LRT_ACT_LOG = 16,
    LRT_ACT_SQRT = 17,
    LRT_ACT_ABS = 18,
    LRT_ACT_SQUARE = 19,
    LRT_ACT_RECIPROCAL = 20,
    LRT_ACT_CLIP = 21,
    LRT_ACT_HARD_SWISH = 22,
    LRT_ACT_MISH = 23,
    LRT_ACT_ERF = 24,
    LRT_ACT_SIN = 25,
    LRT_ACT_COS = 26,
    LRT_ACT_SIGN = 27,
    LRT_ACT_FLOOR = 28,
    LRT_ACT_AFFINE = 29,
    LRT_ACT_SCALED_TANH = 30,
    LRT_ACT_THRESHOLDED_RELU = 31,
    LRT_ACT_CELU = 32,
    LRT_ACT_POWER = 33,
    LRT_ACT_COUNT = 34
};

/* Does it act on each feature for itself? */
static inline int lrt_is_elementwise(uint32_t kind) { return kind != LRT_ACT_SOFTMAX && kind != LRT_ACT_LOG_SOFTMAX; }

typedef struct {
    uint32_t kind;
    float alpha, beta;
} lrt_act;

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

/* y[r] = init[r] + x[r] * W for some rows and panels p0 <= p < p1 of a matrix that is not plain. init and y are where panel
 * p0 begins; init is NULL for zeros. Of a row of y no more than `floats` are written. */
typedef struct {
    const lrt_matrix *m;
    const float *const *x;  /* of a matrix of floats; of one of integers */
    const uint32_t *packed; /* the rows as these were packed, one after the other (lrt_integers.h) */
    const float *const *init;
    float *const *y;
    uint32_t rows, p0, p1;
    size_t floats;
} lrt_product_args;

/* y[r] = bias + x[r] * W for rows r and panels p0 <= p < p1, and the same for `outer` more groups of
 * rows (0 for none; rows is then at least 2), each x_outer and y_outer after the one before: so that weights
 * are read once for all steps of all rows of a batch. With padded, y rows are in panel order, padding included; else,
 * gates being 1, only the units that exist are written. With x_at and y_at the rows are wherever these
 * say, and x, y, their strides and outer play no part. */
typedef struct {
    lrt_matrix m;
    const float *bias; /* in panel order, padded */
    const float *x;
    ptrdiff_t x_row;
    float *y;
    ptrdiff_t y_row;
    const float *const *x_at;
    float *const *y_at;
    uint32_t rows, p0, p1;
    uint32_t outer;
    ptrdiff_t x_outer, y_outer;
    int padded;
    uint32_t *packed; /* room for rows of an integer matrix, which lrt_linear multiplies with */
} lrt_linear_args;

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
    int traced; /* of one step, from pre: leaves the gates there, in the places of their pre-activations */
} lrt_step_args;

/* How a step of a sequence is joined to those before it. */
enum lrt_join { LRT_JOIN_ADD, LRT_JOIN_ADD_SQUARE, LRT_JOIN_MAX, LRT_JOIN_MIN, LRT_JOIN_MUL };

/* Steps of n features, x_step apart, joined one after the other; of those that count. Sums keep what rounding has
 * taken from them and give it to the next step, so that they are as good after many steps as after few. */
typedef struct {
    enum lrt_join op;
    const float *x;
    ptrdiff_t x_step;
    const unsigned char *counts; /* of each step: 0 if it does not; NULL: all do */
    uint32_t steps;
    int begun;           /* has a step counted before? If not, the first is the total of all but sums */
    float *total, *lost; /* n each, in and out; lost: of sums */
    float *y;            /* if not NULL: where the total goes after each step, y_step apart */
    ptrdiff_t y_step;
    size_t n;
} lrt_join_args;

/* Softmax of each of n features over the steps that count; 0 at the others. */
typedef struct {
    const float *x;
    ptrdiff_t x_step;
    const unsigned char *counts; /* as above */
    uint32_t steps;
    float *y;
    ptrdiff_t y_step;
    size_t n;
} lrt_softmax_args;

/* How well each of the listed steps of k fits q: y[i] = scale * sum(q * k[step[i]]), or with `additive`
 * scale * sum(weight * tanh(q + k[step[i]])). */
typedef struct {
    int additive;
    const float *q, *k, *weight; /* weight: NULL for ones */
    ptrdiff_t k_step;
    const uint32_t *step;
    uint32_t steps;
    float scale;
    float *y;
    size_t n;
} lrt_fits_args;

/* y = the sum of w[i] * v[step[i]]: rows of n features, v_step apart. */
typedef struct {
    const float *w, *v;
    ptrdiff_t v_step;
    const uint32_t *step;
    uint32_t steps;
    float *y;
    size_t n;
} lrt_weigh_args;

enum lrt_binary { LRT_ADD, LRT_SUB, LRT_MUL, LRT_DIV, LRT_MAXIMUM, LRT_MINIMUM, LRT_POW, LRT_AVERAGE };

/* Numbers are part of the file format. */
enum lrt_reduction {
    LRT_REDUCE_SUM = 0,
    LRT_REDUCE_MEAN = 1,
    LRT_REDUCE_MAX = 2,
    LRT_REDUCE_MIN = 3,
    LRT_REDUCE_PROD = 4,
    LRT_REDUCE_L2 = 5,
    LRT_REDUCE_COUNT = 6
};

/* Two rows for an op: n features each, or one that stands for all. */
typedef struct {
    enum lrt_binary op;
    const float *a, *b;
    int one_a, one_b;
} lrt_two;

struct lrt_kernels {
    const char *name;
    unsigned width;    /* floats per vector */
    int fused;         /* multiply-adds round once: bit-identical to every other such table */
    int (*usable)(void); /* does this CPU run it? */

    const lrt_integers *integers; /* products with integer weights: lrt_linear and the steps call them */

    void (*linear)(const lrt_linear_args *a); /* of float32 weights that are all there, */
    void (*blocks)(const lrt_product_args *a); /* ... and of blocks of them */
    void (*lstm_step)(const lrt_step_args *a);
    void (*gru_step)(const lrt_step_args *a);      /* reset after the product */
    void (*gru_reset_step)(const lrt_step_args *a); /* reset before: r and z; h_next = r * h */
    void (*gru_candidate_step)(const lrt_step_args *a); /* ... then n and the new h */
    void (*rnn_step)(const lrt_step_args *a);

    /* Rows of n features; y may be x. */
    void (*activate)(const lrt_act *act, const float *x, float *y, size_t n);
    void (*binary)(const lrt_two *two, float *y, size_t n);
    void (*prelu)(const float *x, const float *alpha, float *y, size_t n);
    void (*l2norm)(const float *x, float eps, float *y, size_t n);
    float (*reduce)(enum lrt_reduction kind, const float *x, size_t n);
    void (*layernorm)(const float *x, const float *gamma, const float *beta, float eps, float *y, size_t n);
    void (*batchnorm)(const float *x, const float *mean, const float *scale, const float *beta, float *y, size_t n);

    /* Along time. */
    void (*join)(const lrt_join_args *a);
    void (*softmax_steps)(const lrt_softmax_args *a);
    void (*fits)(const lrt_fits_args *a);
    void (*weigh)(const lrt_weigh_args *a);

    /* Rows of n features at k places. y = init + the sum of x[i] * w[i], in the order of i; y may be init. */
    void (*by_channel)(const float *const *x, const float *w, const float *init, float *y, size_t k, size_t n);
    /* The largest of init and all x[i], a NaN staying; or their sum, in order. Without init it begins with x[0]; k >= 1. */
    void (*fold)(int largest, const float *const *x, const float *init, float *y, size_t k, size_t n);
    void (*divide)(float *y, float by, size_t n);
    /* Before and after the products of F(2 x 2, 3 x 3): n channels at 4 x 4 places into 16 rows of v, and n units of 16
     * rows of m, both `apart` floats from each other, into 2 x 2 windows; y[i] is NULL where there is none. */
    void (*winograd_in)(const float *const *x, float *v, size_t apart, size_t n);
    void (*winograd_out)(const float *m, size_t apart, const float *bias, float *const *y, size_t n);
};

#endif
