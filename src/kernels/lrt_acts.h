/* Which activations there are. */
#ifndef LRT_ACTS_H
#define LRT_ACTS_H

#include <stdint.h>

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

#endif
